"""Reading COCO data sets: what was written comes back, from folders and archives."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import StateError
from evoopt_bench.coco_data import merge_parts, write_part
from evoopt_bench.coco_read import read_data
from evoopt_bench.suites import CocoProblem, select
from evoopt_bench.targets import hitting_times

pytest.importorskip("cocoex", reason="needs the extra bench")

PROBLEMS = select("bbob:f1,8:d2,3:i1-3").problems()
OLD = """\
funcId = 9, DIM = 2, Precision = 1.000e-08, algId = 'OLD'
% a comment, with commas: 1:200|5.4e-01
data_f9\\bbobexp_f9_DIM2.dat, 1:200|5.4e-01, 31:150|-9.9e-09
"""
OLD_DATA = """\
% function evaluation | noise-free fitness - Fopt (7.9e+01) | best noise-free fitness - Fopt | x1
1 +4.8e+01 +4.8e+01 +1.2e+02 +1.2e+02 -6.0e-01
200 +9.9e+01 +5.4e-01 +1.2e+02 +1.2e+02 -6.0e-01
% function evaluation | noise-free fitness - Fopt (7.9e+01) | best noise-free fitness - Fopt | x1
3 +1.0e+00 +1.0e+00 +1.2e+02 +1.2e+02 -6.0e-01
150 -9.9e-09 -9.9e-09 +1.2e+02 +1.2e+02 -6.0e-01
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of random points that come closer and closer to f8's and f1's optima."""
    base = tmp_path_factory.mktemp("parts")
    parts = []
    for problem in PROBLEMS:
        X = _points(problem.dim, problem.instance)
        write_part(problem, X, base / problem.name, "ALG")
        parts.append(base / problem.name)
    return merge_parts(parts, base / "merged")


def _points(dim: int, instance: int) -> np.ndarray:
    generator = np.random.default_rng(instance)
    return generator.normal(size=(100 + instance, dim)) * 3


def test_times_to_targets_are_those_of_the_points_that_were_logged(folder: Path) -> None:
    data = read_data(folder)
    assert data.name == "ALG"
    read = {(run.dim, run.function, run.instance): run for run in data.runs}
    assert len(read) == len(data.runs) == len(PROBLEMS)
    for problem in PROBLEMS:
        run = read[problem.dim, problem.function, problem.instance]
        coco = CocoProblem(problem)
        F = coco.evaluate(_points(problem.dim, problem.instance)).F
        expected = hitting_times(np.arange(1, len(F) + 1), F, coco.f_opt)
        assert run.times().tolist() == expected.tolist()
        assert run.evaluations == 100 + problem.instance


def test_an_archive_reads_as_its_folder_and_nothing_is_unpacked(
    folder: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "data.tgz", "w:gz") as archive:
        archive.add(folder, "somewhere/ALG")
    found, expected = read_data(tmp_path / "data.tgz"), read_data(folder)
    assert [run.at.tolist() for run in found.runs] == [run.at.tolist() for run in expected.runs]
    assert [path.name for path in tmp_path.iterdir()] == ["data.tgz"]


def test_data_of_older_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "data_f9").mkdir()
    (tmp_path / "bbobexp_f9.info").write_text(OLD)
    (tmp_path / "data_f9" / "bbobexp_f9_DIM2.dat").write_text(OLD_DATA)
    data = read_data(tmp_path)
    first, second = data.runs
    assert data.name == "OLD"
    assert (first.function, first.dim, first.instance, first.evaluations) == (9, 2, 1, 200)
    assert (first.at.tolist(), first.f.tolist()) == ([1, 200], [48.0, 0.54])
    assert (second.instance, second.evaluations, second.solved) == (31, 150, True)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"no \.info file with runs"):
        read_data(tmp_path)
    (tmp_path / "a.tgz").write_bytes(b"no archive")
    for name in ("a.tgz", "nothere.tgz"):
        with pytest.raises(StateError, match="cannot be read as a COCO data set"):
            read_data(tmp_path / name)
    (tmp_path / "bbobexp_f9.info").write_text(OLD)
    with pytest.raises(StateError, match=r"tells of data_f9.bbobexp_f9_DIM2.dat, which is not"):
        read_data(tmp_path)

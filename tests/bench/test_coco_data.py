"""COCO's data format: parts merged are what one undisturbed cocoex run writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import StateError
from evoopt.result import Array
from evoopt_bench.coco_data import (
    OBSERVED,
    CocoRecorder,
    merge_parts,
    recorded_evaluations,
    write_part,
)
from evoopt_bench.suites import SUITES, ProblemId, select

cocoex = pytest.importorskip("cocoex", reason="needs the extra bench")

PROBLEMS = select("bbob", function="1,8,15", dim="2,3", instance="1-3").problems()
INFO = "evoopt test, seed 1"


def _points(problem: ProblemId) -> Array:
    """Between 1 and 300 points; on f1 the last but one is the optimum."""
    rng = np.random.default_rng(problem.function * 100 + problem.dim * 10 + problem.instance)
    X = rng.normal(0, 2, (int(rng.integers(1, 300)), problem.dim))
    if (problem.suite, problem.function) == ("bbob", 1) and len(X) > 2:
        X[-2] = cocoex.BareProblem("bbob", 1, problem.dim, problem.instance).best_parameter()
    return X


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that cocoex itself writes in one sequential run."""
    base = tmp_path_factory.mktemp("direct")
    before, level = Path.cwd(), cocoex.log_level("error")
    os.chdir(base)
    try:
        suite = cocoex.Suite("bbob", "instances: 1-3", "dimensions: 2,3 function_indices: 1,8,15")
        observer = cocoex.Observer(
            "bbob", f'result_folder: run algorithm_name: cma-es algorithm_info: "{INFO}"'
        )
        for problem, ours in zip(suite, PROBLEMS, strict=True):
            problem.observe_with(observer)
            for x in _points(ours):
                problem(x)
            problem.free()
    finally:
        os.chdir(before)
        cocoex.log_level(level)
    return _files(base / "exdata" / "run")


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """A part per problem, written in the reverse of the suite's order."""
    for problem in reversed(PROBLEMS):
        write_part(problem, _points(problem), tmp_path / problem.name, "cma-es", INFO)
    return [tmp_path / problem.name for problem in PROBLEMS]


def test_merged_parts_equal_one_sequential_cocoex_run_byte_for_byte(
    parts: list[Path], direct: dict[str, bytes], tmp_path: Path
) -> None:
    merged = _files(merge_parts(parts, tmp_path / "merged"))
    assert len(direct) == 3 + 3 * 2 * 4  # .info per function; four data files per dimension
    assert merged == direct


@pytest.mark.parametrize("name", [name for name in SUITES if name != "bbob"])
def test_merged_parts_of_every_suite_equal_one_sequential_cocoex_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SUITES[name]
    dims, first = spec.dimensions[:2], spec.functions[0]
    numbers = {"dim": f"{dims[0]},{dims[1]}", "instance": "1,2"}
    problems = select(name, function=f"{first},{first + 7}", **numbers).problems()
    monkeypatch.chdir(tmp_path)
    level = cocoex.log_level("error")
    chosen = f"dimensions: {dims[0]},{dims[1]} function_indices: 1,8"
    # with two objectives COCO's files name a problem by its place in the suite: it must be whole
    whole = (
        ("instances: 1,2", chosen) if spec.n_obj == 1 else ("", f"{chosen} instance_indices: 1,2")
    )
    options = "" if spec.n_obj == 1 else OBSERVED
    try:
        suite = cocoex.Suite(name, *whole)
        observer = cocoex.Observer(name, f'result_folder: run {options} algorithm_info: "{INFO}"')
        for problem, ours in zip(suite, problems, strict=True):
            problem.observe_with(observer)
            for x in _points(ours):
                problem(x)
            problem.free()
    finally:
        cocoex.log_level(level)
    for problem in problems:
        write_part(problem, _points(problem), tmp_path / problem.name, "ALG", INFO)
    merged = merge_parts([tmp_path / problem.name for problem in problems], tmp_path / "merged")
    assert _files(merged) == _files(tmp_path / "exdata" / "run")


def test_merging_again_gives_the_same_files_and_leaves_nothing_beside_them(
    parts: list[Path], tmp_path: Path
) -> None:
    first = _files(merge_parts(parts, tmp_path / "coco" / "merged"))
    (tmp_path / "coco" / ".merged.merging").mkdir()  # as a killed merge leaves it
    (tmp_path / "coco" / ".merged.merging" / "bbobexp_f1.info").write_text("torn")
    assert _files(merge_parts(parts, tmp_path / "coco" / "merged")) == first
    assert [path.name for path in (tmp_path / "coco").iterdir()] == ["merged"]


def test_a_part_depends_on_its_points_alone_not_on_how_they_came_in_blocks(
    parts: list[Path], tmp_path: Path
) -> None:
    problem = PROBLEMS[-1]
    recorder = CocoRecorder(problem, tmp_path / "blocks", "cma-es", INFO)
    for block in np.array_split(_points(problem), 7):
        recorder.record(block)
    recorder.close()
    assert _files(tmp_path / "blocks") == _files(parts[-1])


def test_a_part_exists_only_once_it_is_closed_and_an_abandoned_one_is_cleared(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "part"
    abandoned = CocoRecorder(PROBLEMS[0], folder, "cma-es")
    abandoned.record(np.ones((50, 2)))
    assert not folder.exists()
    recorder = CocoRecorder(PROBLEMS[0], folder, "cma-es")
    recorder.record(np.ones((3, 2)))
    recorder.close()
    assert recorded_evaluations(folder) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_discarding_leaves_nothing(tmp_path: Path) -> None:
    recorder = CocoRecorder(PROBLEMS[0], tmp_path / "part", "cma-es")
    recorder.record(np.ones((3, 2)))
    recorder.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["info", "dat", "tdat"])
def test_a_torn_file_makes_a_part_incomplete_and_the_merge_refuses_it(
    parts: list[Path], tmp_path: Path, suffix: str
) -> None:
    torn = next(parts[4].rglob(f"*.{suffix}"))
    torn.write_bytes(torn.read_bytes()[:-9])
    assert recorded_evaluations(parts[4]) == 0
    with pytest.raises(StateError, match="not complete") as caught:
        merge_parts(parts, tmp_path / "merged")
    assert str(parts[4]) in str(caught.value)
    assert not (tmp_path / "merged").exists()


def test_parts_of_different_settings_are_not_mixed(parts: list[Path], tmp_path: Path) -> None:
    write_part(PROBLEMS[1], _points(PROBLEMS[1]), parts[1], "another")
    with pytest.raises(StateError, match="other settings"):
        merge_parts(parts, tmp_path / "merged")


def test_any_folder_name_is_taken_and_nothing_is_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    # a space, a colon, no ASCII, the name of one of cocoex's keys; longer than its messages expect
    folder = tmp_path / 'a b:c "ü" result_folder' / ("algorithm_name" * 10) / "part"
    write_part(PROBLEMS[0], _points(PROBLEMS[0]), folder, 'my "cma:es"', "seed 1\nx ü")
    assert recorded_evaluations(folder) == len(_points(PROBLEMS[0]))
    assert list(elsewhere.iterdir()) == []
    info = next(folder.glob("*.info")).read_text("ascii")
    assert "algId = 'my  cma es '" in info


def test_cocoex_stays_silent_and_its_log_level_stays_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = cocoex.log_level("info")
    try:
        write_part(PROBLEMS[0], _points(PROBLEMS[0]), tmp_path / "part", "cma-es")
        assert capfd.readouterr() == ("", "")
        assert cocoex.log_level() == "info"
    finally:
        cocoex.log_level(before)


def test_recorders_hold_no_file_open_once_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for k in range(5):
        write_part(PROBLEMS[k], _points(PROBLEMS[k]), tmp_path / str(k), "cma-es")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.slow
def test_cocopp_accepts_the_merged_folder(parts: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    pytest.importorskip("six", reason="needs the extra bench")
    merged = merge_parts(parts, tmp_path / "coco" / "cma-es")
    done = subprocess.run(
        [sys.executable, "-m", "cocopp", "-o", str(tmp_path / "ppdata"), str(merged)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ALL done" in done.stdout
    assert list((tmp_path / "ppdata").rglob("pprldmany*.svg"))

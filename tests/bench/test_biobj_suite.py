"""A run on the bi-objective suite: its log, traces, tables and pictures say the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from evoopt.cli import main
from evoopt_bench import plots
from evoopt_bench.coco_read import read_data
from evoopt_bench.measure import SHARE
from evoopt_bench.records import read_runs
from evoopt_bench.suites import SUITES
from evoopt_bench.targets import BIOBJ_TARGETS, Run

pytest.importorskip("cocoex", reason="needs the extra bench")
pytest.importorskip("matplotlib", reason="needs the extra plot")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("biobj") / "run"
    words = "bbob-biobj --algorithm random --dim 2,3 --function 1,20 --instance 1-2 --budget 40*D"
    assert main(["minimize", *words.split(), "--seed", "1", "--quiet", "--out", str(out)]) == 0
    return out


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(words) == 0
    return capsys.readouterr().out


def test_traces_and_coco_s_data_have_the_same_run_times(folder: Path) -> None:
    traces = {(r.dim, r.function, r.instance): r for r in read_runs(folder)}
    logged = read_data(folder / "coco" / "random").runs
    assert len(traces) == len(logged) == 8
    for run in logged:
        trace = traces[run.dim, run.function, run.instance]
        assert trace.n_obj == 2
        assert trace.evaluations == run.evaluations == 40 * run.dim
        assert trace.times().tolist() == run.times().tolist()
    assert any(np.isfinite(run.times()).any() for run in logged)


def test_the_table_is_of_shares_beside_the_best_of_2016(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    runs = [run for run in read_runs(folder) if run.dim == 3]
    lines = said(capsys, "show", str(folder)).splitlines()
    (mine,) = (line for line in lines if line.startswith("3") and "random" in line)
    assert mine.split()[2:] == ["4", *(f"{SHARE.mean(runs, b):.3f}" for b in (3, 10, 32))]
    assert any(line.startswith("3    best 2016") for line in lines)
    document = json.loads(said(capsys, "show", str(folder), "--json"))
    assert [line["name"] for line in document["shares"]] == ["random", "best 2016"] * 2
    stored = json.loads((folder / "table.json").read_text())
    assert stored["shares"] == document["shares"]


@pytest.mark.parametrize("words", ["ecdf", "ecdf --groups", "ert", "anytime"])
def test_every_picture_of_suites_is_drawn_of_two_objectives(
    words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    said(capsys, "plot", *words.split(), str(folder), "-o", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


def drawn(functions: tuple[int, ...]) -> Figure:
    """Runs that meet ten targets at 20 evaluations, in 2-D."""
    at, f = np.array([20]), BIOBJ_TARGETS[9:10]
    runs = {"one": [Run(function, 2, 1, 100, 0.0, at, f, 2) for function in functions]}
    return plots._figure(plots._by_dimension(runs), runs, "bbob-biobj", seed=1)


def test_the_published_curves_are_drawn_behind_runs_on_all_functions() -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    figure = drawn(SUITES["bbob-biobj"].functions)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["best 2016", "HMO-CMA-ES 2016", "UP-MO-CMA-ES 2016", "one"]
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    x, y = (np.asarray(v) for v in lines["HMO-CMA-ES 2016"].get_data())
    assert np.interp(2, np.log10(x), y) == pytest.approx(0.2826, abs=1e-3)
    mine = np.asarray(lines["one"].get_ydata())
    # of ten targets the seventh and eighth count one step further: see docs/decisions
    reached = (BIOBJ_TARGETS >= BIOBJ_TARGETS[9]).sum()
    assert mine[-1] == pytest.approx(reached / 58)
    assert figure.get_suptitle().startswith("bbob-biobj f1-55, 1 instance, 58 targets 1 to -1e-4")


def test_a_part_of_the_functions_has_the_best_of_2016_alone_behind_it() -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    names = [text.get_text() for text in drawn((1, 2)).legends[0].get_texts()]
    assert names == ["best 2016", "one"]


def test_a_legend_of_long_names_stays_inside_the_picture() -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    figure = drawn(SUITES["bbob-biobj"].functions)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_what_one_objective_needs_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "minimize",
        "bbob-biobj",
        "--dim",
        "2",
        "--instance",
        "1",
        "--out",
        str(tmp_path / "r"),
    )
    assert main([*words, "--algorithm", "cma-es", "--budget", "9"]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "2 objectives; got 'cma-es'" in error
    assert not (tmp_path / "r").exists()

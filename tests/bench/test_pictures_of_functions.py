"""Pictures with a panel for each function: expected run time, and course."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt_bench import anytime_plot, ert_plot
from evoopt_bench.best2009 import best2009
from evoopt_bench.compare import compare
from evoopt_bench.gallery import read_exhibits
from evoopt_bench.runtime import ert, run_times
from evoopt_bench.suites import select
from evoopt_bench.targets import Run

pytest.importorskip("matplotlib", reason="needs the extra plot")
pytest.importorskip("cocoex", reason="needs the extra bench")


def run(function: int, dim: int, instance: int, hits: dict[float, int], spent: int = 500) -> Run:
    """hits: precision -> the evaluation that reached it."""
    at, f = np.array(list(hits.values()), dtype=np.int64), np.array(list(hits))
    return Run(function, dim, instance, spent, 0.0, at, f)


def lines(axis: object, label: str | None = None) -> list[tuple[list[float], list[float]]]:
    """Lines, not marks, with something in them."""
    found = [x for x in axis.get_lines() if len(x.get_xdata()) and x.get_linestyle() != "None"]  # type: ignore[attr-defined]
    return [(list(map(float, x.get_xdata())), list(map(float, x.get_ydata()))) for x in found]


RUNS = [
    run(1, 2, 1, {1e3: 1, 1e-2: 40}),
    run(1, 2, 2, {1e3: 1, 1e-2: 80}),
    run(1, 5, 1, {1e3: 1, 1e-2: 250}),
    run(1, 5, 2, {1e3: 1}),
    run(8, 2, 1, {1e3: 1}),
    run(8, 5, 1, {1e3: 1}),
]


def test_expected_run_times_over_dimension_are_drawn_for_each_function() -> None:
    figure = ert_plot._figure({"a": RUNS, "b": RUNS}, "bbob-boxed", np.array([1e-1]))
    panels = {axis.get_title(): axis for axis in figure.axes if axis.get_visible()}
    assert list(panels) == ["f1", "f8", "median of the functions"]
    (x, y), _ = lines(panels["f1"])
    expected = [
        ert(*run_times([r for r in RUNS if (r.function, r.dim) == (1, d)], np.array([0.1])))[0] / d
        for d in (2, 5)
    ]
    assert (x, y) == ([2.0, 5.0], expected)
    assert expected == [30.0, 150.0]  # (250 + 500) / 1 success / 5
    assert np.isnan(lines(panels["f8"])[0][1]).all()
    assert panels["f1"].get_xscale() == panels["f1"].get_yscale() == "log"
    assert panels["median of the functions"].get_xlabel() == "dimension"
    assert "hollow: reached by some of the runs only" in figure.get_suptitle()


def test_marks_are_filled_where_all_runs_reached_the_target() -> None:
    figure = ert_plot._figure({"a": RUNS, "b": RUNS}, "bbob-boxed", np.array([1e-1]))
    marks = [
        (list(map(float, x.get_xdata())), x.get_markerfacecolor() == "white")
        for x in figure.axes[0].get_lines()
        if x.get_linestyle() == "None" and len(x.get_xdata())
    ]
    assert ([2.0], False) in marks
    assert ([5.0], True) in marks


def test_a_single_algorithm_is_drawn_to_several_targets_beside_the_best_of_2009() -> None:
    figure = ert_plot._figure({"a": RUNS}, "bbob", np.array([1e2, 1e-8]))
    (reference, *_) = lines(figure.axes[0])
    expected = [float(best2009(1, d, np.array([1e-8]))[0]) / d for d in (2, 5)]
    assert reference == ([2.0, 5.0], expected)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["best 2009, 1e-08", "1e+02", "1e-08"]
    assert ", a\n" in figure.get_suptitle()


def test_the_median_counts_a_function_never_solved_as_infinite() -> None:
    three = [run(f, 2, 1, {1e3: 1, 1e-2: hit}) for f, hit in ((1, 20), (2, 60))]
    curve = ert_plot._medians(
        ert_plot._times([*three, run(3, 2, 1, {1e3: 1})], np.array([0.1])), [1, 2, 3]
    )
    assert curve[2][0].tolist() == [30.0]
    assert ert_plot._medians(ert_plot._times(three, np.array([0.1])), [1, 2, 3]) == {}


def test_the_target_of_several_algorithms_is_one_that_half_of_the_functions_know() -> None:
    assert ert_plot._reachable({"a": RUNS}, ert_plot.OF_ONE) == 1e-1
    assert ert_plot._reachable({"a": [run(8, 2, 1, {1e3: 1})]}, ert_plot.OF_ONE) == 1e1


@pytest.mark.parametrize("targets", [(1e-1, 1e-8), (0.0,), (-1.0,), (float("nan"),)])
def test_targets_that_cannot_be_drawn_are_refused(
    targets: tuple[float, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"ert\(targets=...\) must be"):
        ert_plot.draw_ert({"a": RUNS, "b": RUNS}, tmp_path / "a.svg", targets=targets)


def test_quartiles_are_those_of_the_best_values_at_each_number_of_evaluations() -> None:
    runs = [run(1, 2, i, {100.0 * i: 1, 1.0 * i: 10 * i}) for i in (1, 2, 3, 4)]
    low, middle, high = anytime_plot.quartiles(runs, np.array([1, 10, 25, 500]))
    table = np.array(
        [[100, 1, 1, 1], [200, 200, 2, 2], [300, 300, 300, 3], [400, 400, 400, 4]], dtype=float
    )
    expected = np.percentile(table, (25, 50, 75), axis=0, method="nearest")
    assert np.array([low, middle, high]).tolist() == expected.tolist()


def test_before_the_first_value_there_is_nothing_to_draw() -> None:
    runs = [run(1, 2, i, {1.0: 10}) for i in (1, 2, 3)]
    assert np.isnan(anytime_plot.quartiles(runs, np.array([5, 10]))).tolist() == [[True, False]] * 3


def test_the_course_has_a_panel_per_function_a_line_and_a_band_per_algorithm() -> None:
    runs = [r for r in RUNS if r.dim == 2]
    figure = anytime_plot._figure({"a": runs, "b": runs}, "bbob", 2)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in panels] == ["f1", "f8"]
    assert len(panels[0].collections) == 2  # bands; f8 has one run: no band
    assert len(panels[1].collections) == 0
    assert [axis.get_xlabel() for axis in panels] == ["evaluations / dimension"] * 2


def test_the_labels_of_the_axes_are_above_the_legend() -> None:
    figure = anytime_plot._figure({"a": RUNS, "b": RUNS}, "bbob", 2)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    for axis in figure.axes:
        assert axis.xaxis.label.get_window_extent().y0 > legend.get_window_extent().y1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pictures") / "c"
    compare(select("bbob:f1,5:d2,3:i1-2"), ["ma-es", "random"], out, budget="20D", seed=1)
    return out


def test_all_are_drawn_of_a_comparison_with_the_same_bytes_each_time(
    folder: Path, tmp_path: Path
) -> None:
    for draw in (ert_plot.ert_against_dimension, anytime_plot.anytime_of_suites):
        one, two = (draw([folder], tmp_path / f"{name}.svg").read_bytes() for name in "ab")
        assert one == two
        assert one.startswith(b"<?xml")


def test_a_dimension_that_was_not_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"anytime\(dim=...\) must be among 2,3; got 5"):
        anytime_plot.anytime_of_suites([folder], tmp_path / "a.svg", dim=5)
    assert {r.dim for runs in read_exhibits([folder], "x").in_dimension(None, "x")[1].values()
            for r in runs} == {3}  # fmt: skip


def test_the_same_name_twice_is_told_apart_by_the_folder(folder: Path) -> None:
    names = list(read_exhibits([folder, folder], "x").algorithms)
    assert names == ["ma-es", "random", "ma-es (c)", "random (c)"]


def test_chosen_algorithms_are_drawn_in_the_order_named(folder: Path) -> None:
    assert list(read_exhibits([folder], "x", ["random", "ma-es"]).algorithms) == ["random", "ma-es"]
    with pytest.raises(
        ConfigurationError, match=r"x\(algorithms=...\) must be among ma-es, random"
    ):
        read_exhibits([folder], "x", ["cma"])

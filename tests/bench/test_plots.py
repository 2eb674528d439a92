"""The picture of run-time distributions: what is in it, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from evoopt.errors import ConfigurationError
from evoopt_bench import best2009, plots
from evoopt_bench.gallery import look
from evoopt_bench.targets import Run

pytest.importorskip("matplotlib", reason="needs the extra plot")
pytest.importorskip("cocoex", reason="needs the extra bench")


def _runs(dims: tuple[int, ...], solved_at: int, budget: int = 100) -> list[Run]:
    """Two functions, one instance: f1 solved at once, f2 never below 1e-3."""
    at, f = np.array([solved_at], dtype=np.int64), np.array([0.0])
    return [
        run
        for dim in dims
        for run in (
            Run(1, dim, 1, solved_at * dim, 0.0, at * dim, f),
            Run(2, dim, 1, budget * dim, 0.0, at * dim, f + 1e-3),
        )
    ]


def drawn(algorithms: dict[str, list[Run]], suite: str = "bbob") -> Figure:
    return plots._figure(plots._by_dimension(algorithms), algorithms, suite, seed=1)


def test_there_is_a_panel_per_dimension_with_all_algorithms_and_the_reference() -> None:
    figure = drawn({"one": _runs((2, 5), 10), "two": _runs((2, 5), 20)})
    assert [axis.get_title() for axis in figure.axes] == ["2-D", "5-D"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["best 2009", "one", "two"]
    assert figure.axes[0].get_ylabel() == "share of (function, target) pairs"
    assert figure.axes[1].get_xlabel() == "log10(evaluations / dimension)"
    title = figure.get_suptitle()
    assert title.startswith("bbob f1,2, 1 instance, 51 targets 1e2 to 1e-8; cross")


def test_a_curve_is_the_share_of_targets_reached_and_its_cross_is_where_runs_ended() -> None:
    figure = drawn({"one": _runs((2,), 10)})
    _reference, run, simulated, cross = figure.axes[0].get_lines()
    x, y = np.asarray(run.get_xdata()), np.asarray(run.get_ydata())
    reached = (51 + 26) / 102  # all targets of f1, those down to 1e-3 of f2
    assert (y[x < 10] == 0).all()
    assert y[x >= 10] == pytest.approx(reached)
    assert (np.asarray(cross.get_xdata()).item(), np.asarray(cross.get_ydata()).item()) == (
        100,
        pytest.approx(reached),
    )
    assert np.asarray(simulated.get_xdata()).min() >= 100
    assert x.max() == 100


def test_the_reference_is_drawn_from_the_run_times_of_best_2009_on_the_functions_shown() -> None:
    figure = drawn({"one": _runs((5,), 10)})
    line = figure.axes[0].get_lines()[0]
    times = np.concatenate([best2009.best2009(f, 5) for f in (1, 2)]) / 5
    expected = [(times <= x).mean() for x in np.asarray(line.get_xdata())]
    np.testing.assert_allclose(np.asarray(line.get_ydata()), expected)


def test_colours_styles_and_marks_tell_algorithms_apart_each_by_itself() -> None:
    algorithms = {f"a{k}": _runs((2,), 10 + k) for k in range(4)}
    figure = drawn(algorithms)
    lines = [x for x in figure.axes[0].get_lines() if str(x.get_label()).startswith("a")]
    assert len({line.get_color() for line in lines}) == 4
    assert len({line.get_marker() for line in lines}) == 4
    dashes = {str(line._unscaled_dash_pattern) for line in lines}  # no public name tells them apart
    assert len(dashes) == 4


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_suffix_is_the_format_and_nothing_else_is_left(tmp_path: Path, suffix: str) -> None:
    out = plots.draw_ecdf({"one": _runs((2,), 10)}, tmp_path / f"ecdf.{suffix}")
    start = out.read_bytes()[:300]
    assert {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix] in start
    assert [path.name for path in tmp_path.iterdir()] == [f"ecdf.{suffix}"]


def test_the_same_runs_give_the_same_file(tmp_path: Path) -> None:
    files = [
        plots.draw_ecdf({"one": _runs((2,), 10)}, tmp_path / name).read_bytes()
        for name in ("a.svg", "b.svg")
    ]
    assert files[0] == files[1]


def test_another_format_or_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"must end in .svg, .png, .pdf; got 'a.txt'"):
        plots.draw_ecdf({"one": _runs((2,), 10)}, tmp_path / "a.txt")
    with pytest.raises(ConfigurationError, match=r"finished problems; got none in .'one'"):
        plots.draw_ecdf({"one": []}, tmp_path / "a.svg")
    with pytest.raises(ConfigurationError, match="finished problems"):
        plots.draw_ecdf({}, tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []


def test_only_bbob_has_the_best_of_2009_beside_it() -> None:
    (legend,) = drawn({"one": _runs((5,), 10)}, "bbob-boxed").legends
    assert [text.get_text() for text in legend.get_texts()] == ["one"]


def test_groups_have_a_panel_each_and_all_functions_the_last() -> None:
    algorithms = {"one": [*_runs((2,), 10), Run(8, 2, 1, 50, 0.0, np.array([9]), np.array([1.0]))]}
    panels = plots._by_group(algorithms, "bbob")
    assert list(panels) == ["separable, f1-5", "moderate, f6-9", "all functions"]
    assert [run.function for run in panels["moderate, f6-9"]["one"]] == [8]
    figure = plots._figure(panels, algorithms, "bbob", seed=1, prefix="2-D, ")
    assert [axis.get_title() for axis in figure.axes if axis.get_visible()] == list(panels)
    assert figure.get_suptitle().startswith("2-D, bbob f1,2,8")


def test_no_two_of_twenty_lines_look_the_same() -> None:
    looks = [look(k) for k in range(20)]
    seen = {(str(x["color"]), str(x["linestyle"]), x["marker"]) for x in looks}
    assert len(seen) == 20
    for k, one in enumerate(looks):  # of one colour: other dashes and another mark
        for other in looks[:k]:
            if one["color"] == other["color"]:
                assert one["marker"] != other["marker"]


def test_many_algorithms_have_their_legend_at_the_side_with_every_name() -> None:
    algorithms = {f"a{k}": _runs((2,), 10 + k) for k in range(8)}
    algorithms["best"] = [Run(1, 2, 1, 20, 0.0, np.array([20]), np.array([0.0]))]
    (legend,) = drawn(algorithms).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["best 2009", "best", *(f"a{k}" for k in range(8))]  # the highest first
    assert legend.get_window_extent().x0 > 300


def test_different_numbers_of_instances_are_told() -> None:
    more = [Run(1, 2, i, 20, 0.0, np.array([20]), np.array([0.0])) for i in (1, 2, 3)]
    title = drawn({"a": _runs((2,), 10), "b": more}).get_suptitle()
    assert "bbob f1,2 (not all by each), 1 to 3 instances" in title
    assert "bbob f1,2, 1 instance," in drawn({"a": _runs((2,), 10)}).get_suptitle()

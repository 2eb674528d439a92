"""The picture of a course shows the numbers of the run, and can be read."""

import itertools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

import evoopt
from evoopt.errors import ConfigurationError, MissingDependencyError, StateError
from evoopt.plots import KINDS, style
from evoopt.plots.anytime import choose_values, draw, figure
from evoopt.plots.course import Course, read_course
from evoopt.result import History, Result

Array = Any
SIZES = itertools.count()


def sphere(x: Array) -> float:
    return float(x @ x)


def rastrigin(x: Array) -> float:
    return float(10 * len(x) + (x * x - 10 * np.cos(2 * np.pi * x)).sum())


def run(
    folder: Path, fun: Callable[[Array], float] = sphere, dim: int = 2, **words: Any
) -> tuple[Path, Result]:
    """A finished run in a folder of its own."""
    path = folder / f"run{next(SIZES)}"
    words = {"bounds": ([-5.0] * dim, [5.0] * dim), "seed": 1, "budget": 400, **words}
    if "algorithm" not in words:
        words |= {"algorithm": "cma-es", "restarts": "bipop"}
    return path, evoopt.minimize(fun, run_dir=path, **words)


def drawn(*paths: Path) -> Figure:
    with rc_context(style.RC):
        return figure([read_course(path) for path in paths])


def titles(picture: Figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in picture.axes if axis.get_visible()]


def without_gaps(y: Array) -> Array:
    return np.asarray(y, dtype=float)[np.isfinite(np.asarray(y, dtype=float))]


def test_the_lines_are_the_numbers_of_the_run(tmp_path: Path) -> None:
    path, result = run(tmp_path)
    values, sigma, ratio, axes = drawn(path).axes
    history = result.history
    (line,) = values.get_lines()
    assert (line.get_xdata() == history.evaluations).all()
    assert (line.get_ydata() == history.f).all()
    assert (without_gaps(sigma.get_lines()[0].get_ydata()) == history.sigma).all()
    assert (without_gaps(ratio.get_lines()[0].get_ydata()) == history.axis_ratio).all()
    for j, each in enumerate(axes.get_lines()):
        assert (without_gaps(each.get_ydata()) == history.axes[:, j]).all()


def test_the_panels_say_what_they_show(tmp_path: Path) -> None:
    picture = drawn(run(tmp_path)[0])
    assert titles(picture) == [
        "best f",
        "step size sigma",
        "axis ratio (its square: condition number)",
        "axes in units of sigma",
    ]
    assert [axis.get_xlabel() for axis in picture.axes] == ["", "", "evaluations", "evaluations"]
    assert all(axis.get_yscale() == "log" for axis in picture.axes)
    assert picture.get_suptitle().startswith("sphere, 2-D; cma-es with BIPOP")


@pytest.mark.parametrize("maximize", [False, True])
def test_a_killed_run_gives_the_picture_of_the_finished_one(maximize: bool, tmp_path: Path) -> None:
    sign = -1.0 if maximize else 1.0
    path, result = run(tmp_path, lambda x: sign * rastrigin(x), budget=1500, maximize=maximize)
    killed = tmp_path / "killed"
    shutil.copytree(path, killed)
    (killed / "result.json").unlink()
    courses = [read_course(path), read_course(killed)]
    for name in ("evaluations", "f", "sigma", "axes"):
        one, two = (getattr(course.history, name) for course in courses)
        assert (one == two).all()
    assert [course.finished for course in courses] == [True, False]
    assert result.restarts == len(courses[0].restarts) == len(courses[1].restarts) > 0


def test_a_start_by_another_method_is_part_of_the_course(tmp_path: Path) -> None:
    path, result = run(tmp_path, rastrigin, algorithm="auto", budget=1500)
    picture = drawn(path)
    assert "best f" in titles(picture)
    (line,) = picture.axes[0].get_lines()[:1]
    assert (line.get_xdata() == result.history.evaluations).all()


def test_restarts_break_the_lines_of_the_distribution(tmp_path: Path) -> None:
    path, result = run(tmp_path, rastrigin, budget=1500)
    values, sigma, *_ = drawn(path).axes
    gaps = np.flatnonzero(np.isnan(sigma.get_lines()[0].get_ydata()))
    course = read_course(path)
    assert len(gaps) == result.restarts
    assert (np.asarray(sigma.get_lines()[0].get_xdata())[gaps] >= course.restarts).all()
    marks = [line for line in values.get_lines() if line.get_linestyle() == ":"]
    assert [mark.get_xdata()[0] for mark in marks] == course.restarts.tolist()
    assert "dotted: restarts" in drawn(path).get_suptitle()


def test_a_method_without_distribution_has_one_panel(tmp_path: Path) -> None:
    path, _ = run(tmp_path, algorithm="random")
    assert titles(drawn(path)) == ["best f"]


def test_several_runs_differ_in_colour_dashes_and_marks(tmp_path: Path) -> None:
    paths = [run(tmp_path, algorithm=name)[0] for name in ("cma-es", "ma-es", "random")]
    picture = drawn(*paths)
    lines = picture.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["cma-es", "ma-es", "random"]
    for looks in zip(
        *((ln.get_color(), str(ln.get_linestyle()) + str(ln._dash_pattern), ln.get_marker())
          for ln in lines),
        strict=True,
    ):  # fmt: skip
        assert len(set(looks)) == 3
    assert [text.get_text() for text in picture.legends[0].get_texts()] == [
        "cma-es",
        "ma-es",
        "random",
    ]


def test_runs_that_share_method_and_problem_are_told_apart_by_their_folders(
    tmp_path: Path,
) -> None:
    paths = [run(tmp_path, seed=seed)[0] for seed in (1, 2)]
    labels = [line.get_label() for line in drawn(*paths).axes[0].get_lines()]
    assert labels == [path.name for path in paths]


def course(f: list[float], **words: Any) -> Course:
    """A made-up course with these best values."""
    n = len(f)
    history = History(
        10 * np.arange(1, n + 1), np.array(f), np.full(n, np.nan), np.full((n, 1), np.nan)
    )
    known = {"target": np.nan, "f_opt": np.nan, "maximize": False, "finished": True}
    known |= {"name": "name", "problem": "f, 2-D", "label": "random", **words}
    return Course(history=history, restarts=np.array([], dtype=np.int64), **known)


def test_the_distance_to_a_known_optimum_is_shown(tmp_path: Path) -> None:
    one = course([110.0, 100.5, 100.25], f_opt=100.0)
    values = choose_values([one])
    assert (values.title, values.scale, values.bar) == ("best f - f_opt", "log", 1e-8)
    assert values.shown(one).tolist() == [10.0, 0.5, 0.25]


def test_positive_values_over_decades_are_shown_with_their_target() -> None:
    values = choose_values([course([1e3, 1.0, 1e-5], target=1e-9)])
    assert (values.title, values.scale, values.bar) == ("best f", "log", 1e-9)


def test_an_optimum_of_exactly_zero_leaves_the_axis_logarithmic() -> None:
    values = choose_values([course([1.0, 1e-9, 0.0]), course([np.inf, np.inf])])
    assert (values.title, values.scale) == ("best f", "log")
    assert np.isnan(values.shown(course([1.0, 0.0]))[1])


def test_a_fall_without_bound_is_shown_on_both_sides_of_zero() -> None:
    values = choose_values([course([1.0, -3.0, -1e6, -1e12])])
    assert (values.title, values.scale) == ("best f", "symlog")


def test_convergence_to_a_negative_value_is_shown_as_the_distance_to_it() -> None:
    one = course([-1.0, -1.9, -1.99, -1.999])
    values = choose_values([one])
    assert (values.title, values.scale) == ("best f + 1.999 (final value)", "log")
    shown = values.shown(one)
    assert shown[:3] == pytest.approx([0.999, 0.099, 0.009])
    assert np.isnan(shown[3])


def test_maximized_values_count_downwards_to_the_best() -> None:
    one = course([1.0, 1.9, 1.99, 1.999], maximize=True)
    values = choose_values([one])
    assert values.title == "1.999 - best f (final value)"
    assert values.shown(one)[:2] == pytest.approx([0.999, 0.099])


def test_values_close_together_are_shown_as_they_are() -> None:
    values = choose_values([course([50.0, 48.0, 30.0])])
    assert (values.title, values.scale) == ("best f", "linear")


def test_a_run_in_which_everything_failed_is_drawn_empty(tmp_path: Path) -> None:
    path, _ = run(tmp_path, lambda x: float("nan"), algorithm="cma-es")
    assert titles(drawn(path))[0] == "best f: no evaluation succeeded"
    assert draw([path], tmp_path / "a.png").stat().st_size > 0


def test_a_problem_of_coco_is_shown_with_its_optimum(tmp_path: Path) -> None:
    from evoopt.api import Settings, solve
    from evoopt_bench.suites import CocoProblem, ProblemId

    coco = CocoProblem(ProblemId("bbob", 2, 1, 1))
    solve(coco, Settings(budget=60, target=coco.target, seed=1), run_dir=tmp_path / "c")
    assert read_course(tmp_path / "c").f_opt == pytest.approx(coco.f_opt, abs=1e-12)


@pytest.mark.parametrize("suffix", style.FORMATS)
def test_the_same_runs_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    path, _ = run(tmp_path, rastrigin, budget=900)
    one, two = (draw([path], tmp_path / f"{name}{suffix}") for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_an_svg_is_valid_and_scalable(tmp_path: Path) -> None:
    out = draw([run(tmp_path)[0]], str(tmp_path / "a.svg"))
    root = ElementTree.parse(out).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("viewBox")


@pytest.mark.parametrize("count", [0, 8])
def test_runs_that_cannot_be_told_apart_are_refused(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = (course([3.0, 1.0], problem=f"f{k}, 2-D") for k in range(count))
    monkeypatch.setattr("evoopt.plots.anytime.read_course", lambda path: next(made_up))
    with pytest.raises(ConfigurationError, match="must be 1 to 7 runs, or at least 3 of each"):
        draw([tmp_path] * count, tmp_path / "a.svg")


def test_an_unknown_format_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"must end in .svg, .png, .pdf; got 'a.jpg'"):
        draw([tmp_path / "nothere"], tmp_path / "a.jpg")


def test_a_missing_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"\.\[plot\]"):
        draw([tmp_path], tmp_path / "a.svg")


def test_a_run_without_a_generation_has_nothing_to_draw(tmp_path: Path) -> None:
    from evoopt.rundir import RunDirectory

    with RunDirectory.create(tmp_path / "new", {"kind": "minimize"}):
        pass
    with pytest.raises(StateError, match="no complete generation yet"):
        draw([tmp_path / "new"], tmp_path / "a.svg")


def test_a_folder_that_is_not_there_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    path, _ = run(tmp_path)
    with pytest.raises(StateError, match="cannot be written: No such file or directory"):
        draw([path], tmp_path / "nothere" / "a.svg")


def test_all_kinds_can_be_loaded() -> None:
    import importlib

    for place in KINDS.values():
        module, _, attribute = place.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))

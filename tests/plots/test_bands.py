"""Many runs of several algorithms become medians and quartile bands."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

import evoopt
from evoopt.plots import bands, style
from evoopt.plots.anytime import draw, figure
from evoopt.plots.course import Course
from evoopt.result import History


def course(f: list[float], label: str = "cma-es", **words: Any) -> Course:
    """A made-up course: a row every ten evaluations."""
    n = len(f)
    history = History(
        10 * np.arange(1, n + 1), np.array(f), np.array(f) / 2, np.full((n, 1), np.nan)
    )
    known = {"target": np.nan, "f_opt": np.nan, "maximize": False, "finished": True}
    known |= {"name": "name", "problem": "f, 2-D", **words}
    return Course(label=label, history=history, restarts=np.array([], dtype=np.int64), **known)


def drawn(courses: list[Course]) -> Figure:
    with rc_context(style.RC):
        return figure(courses)


SEVERAL = [course([8.0, 4.0 / k, 1.0 / k]) for k in (1, 2, 3, 4)]


def test_quartiles_are_those_of_the_runs_at_each_number_of_evaluations() -> None:
    found = bands.quartiles(SEVERAL, lambda c: c.history.f, np.array([10.0, 19.0, 20.0, 99.0]))
    table = np.array([[8, 8, 4 / k, 1 / k] for k in (1, 2, 3, 4)])
    expected = np.percentile(table, (25, 50, 75), axis=0, method="nearest")
    assert found.tolist() == expected.tolist()


def test_a_run_that_has_not_begun_counts_as_the_worst() -> None:
    late = course([1.0])
    late.history.evaluations[:] = 50
    found = bands.quartiles([late, *SEVERAL[:2]], lambda c: c.history.f, np.array([10.0, 60.0]))
    assert found[:, 0].tolist()[:2] == [8.0, 8.0]
    assert np.isnan(found[2, 0])  # a third of the runs has nothing yet
    assert np.isfinite(found[:, 1]).all()
    nothing = bands.quartiles([late, late, *SEVERAL[:1]], lambda c: c.history.f, np.array([10.0]))
    assert np.isnan(nothing[:, 0]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("courses", "comparable"),
    [
        (SEVERAL, True),
        (SEVERAL[:2], False),
        ([*SEVERAL, *(course([1.0], "ma-es") for _ in range(2))], False),
        ([*SEVERAL, *(course([1.0], "ma-es") for _ in range(3))], True),
        ([*SEVERAL, course([1.0], problem="g, 2-D")], False),
        ([course([1.0], problem=f"g{k}, 2-D", f_opt=0.5) for k in range(3)], True),
    ],
)
def test_medians_need_three_runs_of_each_algorithm_and_one_problem_or_known_optima(
    courses: list[Course], comparable: bool
) -> None:
    assert bands.are_comparable(courses) == comparable


def test_each_algorithm_has_a_line_a_band_and_a_name_with_its_number_of_runs() -> None:
    others = [course([9.0, 9.0, 5.0 * k], "ma-es") for k in (1, 2, 3)]
    picture = drawn([*SEVERAL, *others])
    values, sigma = (axis for axis in picture.axes if axis.get_visible())
    for axis in (values, sigma):
        assert len(axis.get_lines()) == len(axis.collections) == 2
    names = [text.get_text() for text in picture.legends[0].get_texts()]
    assert names == ["cma-es (4 runs)", "ma-es (3 runs)"]
    assert picture.get_suptitle() == "f, 2-D; medians and quartiles"
    at, y = sigma.get_lines()[0].get_data()
    expected = bands.quartiles(SEVERAL, lambda c: c.history.sigma, np.asarray(at, dtype=float))
    assert (at[0], at[-1]) == (10, 30)
    assert list(y) == expected[1].tolist()


def test_the_run_that_ends_best_is_not_taken_for_one_without_value() -> None:
    runs = [course([900.0, 10.0, f]) for f in (-1.0, 0.0, 5.0)]  # distances: none, 1, 6
    values = drawn(runs).axes[0]
    assert values.get_title(loc="left") == "best f + 1 (best of all)"
    assert values.get_lines()[0].get_ydata()[-1] == 1


def test_an_algorithm_without_step_size_is_left_out_of_that_panel_only() -> None:
    runs = [course([3.0, 2.0], "random") for _ in range(3)]
    for run in runs:
        run.history.sigma[:] = np.nan
    values, sigma = (axis for axis in drawn([*SEVERAL, *runs]).axes if axis.get_visible())
    assert len(values.get_lines()) == 2
    assert len(sigma.get_lines()) == 1


def test_more_runs_than_can_be_told_apart_are_drawn_as_bands(tmp_path: Path) -> None:
    runs = []
    for algorithm in ("ma-es", "random"):
        for seed in range(4):
            runs.append(tmp_path / f"{algorithm}-{seed}")
            evoopt.minimize(
                lambda x: float(x @ x),
                bounds=([-5.0] * 2, [5.0] * 2),
                algorithm=algorithm,
                seed=seed,
                budget=60,
                run_dir=runs[-1],
            )
    one, two = (draw(runs, tmp_path / f"{name}.svg").read_bytes() for name in "ab")
    assert one == two

"""What may be given as bounds, and how it is read."""

from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.bounds import check_bounds

INF = np.inf
FORMS: list[tuple[Any, int | None, list[float], list[float]]] = [
    ((-5, 5), 3, [-5, -5, -5], [5, 5, 5]),
    ([-5.0, 5.0], 2, [-5, -5], [5, 5]),
    (np.array([-5, 5]), 2, [-5, -5], [5, 5]),
    (([-1, -2, -3], [1, 2, 3]), None, [-1, -2, -3], [1, 2, 3]),
    (([-1, -2, -3], 4), None, [-1, -2, -3], [4, 4, 4]),
    ((0, [1, 2]), 2, [0, 0], [1, 2]),
    ([(-1, 1), (-2, 2), (-3, 3)], None, [-1, -2, -3], [1, 2, 3]),
    (np.array([[-1, 1], [-2, 2], [-3, 3]]), None, [-1, -2, -3], [1, 2, 3]),
    ([(0, 1)], None, [0], [1]),
    ([(0, 1)], 1, [0], [1]),
    (((0, 0), (1, 2)), None, [0, 0], [1, 2]),
    ((None, 5), 2, [-INF, -INF], [5, 5]),
    ((-5, None), 2, [-5, -5], [INF, INF]),
    ([(0, None), (None, 1), (None, None)], None, [0, -INF, -INF], [INF, 1, INF]),
    (([0, -INF], [INF, 1]), None, [0, -INF], [INF, 1]),
    (None, 2, [-INF, -INF], [INF, INF]),
    (((1, 2, 3), (1, 5, 6)), None, [1, 2, 3], [1, 5, 6]),
    # of two variables: the way that leaves room, and two arrays are always lower and upper
    ([(-5, 5), (-5, 5)], None, [-5, -5], [5, 5]),
    ([(0, 1), (0, 2)], 2, [0, 0], [1, 2]),
    (([0, 0], [1, 2]), 2, [0, 0], [1, 2]),
    (([-5, -3], [5, 3]), 2, [-5, -3], [5, 3]),
    (np.array([[-5, 5], [-5, 5]]), 2, [-5, -5], [5, 5]),
    ((np.array([0, 1]), np.array([2, 3])), 2, [0, 1], [2, 3]),
    ((np.array([0, 2]), np.array([1, 2])), 2, [0, 2], [1, 2]),
    (zip([-1, -2, -3], [1, 2, 3], strict=True), None, [-1, -2, -3], [1, 2, 3]),
]


@pytest.mark.parametrize(("given", "dim", "lower", "upper"), FORMS)
def test_every_form_is_read_as_documented(
    given: Any, dim: int | None, lower: list[float], upper: list[float]
) -> None:
    low, high = check_bounds(given, dim)
    assert low.tolist() == lower
    assert high.tolist() == upper
    assert low.dtype == high.dtype == np.float64


REFUSED: list[tuple[Any, int | None, str]] = [
    (None, None, "needs x0 or bounds"),
    ((5, -5), 2, "lower <= upper; got lower[0]=5 > upper[0]=-5"),
    (([0, 0, 6], [1, 1, 5]), 3, "got lower[2]=6 > upper[2]=5"),
    ((np.nan, 1), 2, "must not contain NaN"),
    (([0, 0], [1, np.nan]), 2, "must not contain NaN"),
    (([0, 0, 0], [1, 1]), None, "one entry per variable (3); got 2"),
    (([0, 0], [1, 1]), 3, "one entry per variable (3); got 2"),
    ((-1e308, 1e308), 2, "no wider than 1e+150"),
    ((INF, INF), 2, "no wider than"),
    ((-INF, -INF), 2, "no wider than"),
    (5, 2, "(lower, upper) or one such pair per variable; got 5"),
    ((1, 2, 3), 3, "(lower, upper) or one such pair"),
    ([(1, 2, 3), (1, 2)], None, "one entry per variable (3); got 2"),
    ("ab", 2, "(lower, upper) or one such pair"),
    (("0", "1"), 2, "(lower, upper) or one such pair"),
    ((["0"], ["1"]), 1, "(lower, upper) or one such pair"),
    ((1j, 2), 1, "(lower, upper) or one such pair"),
    (([[0]], [[1]]), 1, "(lower, upper) or one such pair"),
    ((), 2, "(lower, upper) or one such pair"),
    ({}, 2, "(lower, upper) or one such pair"),
    (([0, 1], [2, 3]), 2, "can be read in two ways"),
    (np.array([[0, 1], [2, 3]]), 2, "can be read in two ways"),
    (np.zeros((2, 3, 4)), 3, "(lower, upper) or one such pair"),
    (np.full((2, 40), np.nan), 40, "must not contain NaN"),
]


@pytest.mark.parametrize(("given", "dim", "says"), REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(given: Any, dim: int | None, says: str) -> None:
    with pytest.raises(evoopt.ConfigurationError) as raised:
        check_bounds(given, dim, "call")
    message = str(raised.value)
    assert message.startswith("call(")
    assert says in message
    assert "\n" not in message
    assert len(message) < 200


def test_the_callers_arrays_are_neither_kept_nor_changed() -> None:
    lower, upper = np.array([-1.0, -2.0]), np.array([1.0, 2.0])
    low, high = check_bounds((lower, upper), 2)
    lower[0] = upper[0] = 77.0
    assert low.tolist() == [-1, -2]
    assert high.tolist() == [1, 2]


def test_a_box_as_wide_as_is_taken_is_searched_without_leaving_it() -> None:
    seen = []
    bound = 4.9e149
    result = evoopt.minimize(
        lambda x: seen.append(x) or float(np.abs(x / bound).max()),  # type: ignore[func-returns-value]
        bounds=([-bound] * 2, [bound] * 2),
        budget=200,
        seed=1,
    )
    assert result.evaluations == 200
    assert np.abs(seen).max() <= bound


@pytest.mark.parametrize("side", [0, 1])
def test_a_one_sided_bound_is_never_passed_and_can_be_reached(side: int) -> None:
    seen = []
    sign = 1 - 2 * side

    def slope(x: np.ndarray) -> float:
        seen.append(x)
        return float(sign * x.sum())

    bounds = ((0.5, None), (None, -0.5))[side]
    r = evoopt.minimize(slope, [sign * 3.0] * 3, bounds=bounds, sigma0=1.0, budget=2000, seed=1)
    assert (sign * np.array(seen) >= 0.5).all()
    assert r.x == pytest.approx([sign * 0.5] * 3, abs=1e-6)  # the optimum lies on the bound


def test_a_fixed_coordinate_keeps_its_value_and_the_others_find_the_optimum() -> None:
    seen = []

    def sphere(x: np.ndarray) -> float:
        seen.append(x)
        return float(((x - 1) ** 2).sum())

    r = evoopt.minimize(
        sphere, bounds=([-5, 2, -5], [5, 2, 5]), budget=3000, seed=1, target=1 + 1e-9
    )
    assert {x[1] for x in seen} == {2.0}
    assert r.reason.criterion == "ftarget"
    assert r.mean[1] == 2.0

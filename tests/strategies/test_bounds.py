"""The C1 transform of boxes against its literal form, and what it may never do: leave the box."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import bounds_literal, driving

from evoopt.bounds import Transform
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.compose.bounds import Bounded

INF = math.inf
BOXES = [
    (0.0, 1.0), (-5.0, 5.0), (-5.0, 7.0), (3.0, 3.5), (-1e3, 2e3), (100.0, 101.0), (-101.0, -100.0),
    (0.0, 0.02), (1.0, 1.0 + 1e-15), (-1e-15, 1e-15), (1e6, 1e6 + 1.0), (0.0, 1e99), (-1e99, 1e-3),
    (0.0, 5e-324), (-1e-310, 1e-310),
]  # fmt: skip
OPEN = [(0.0, INF), (-50.0, INF), (-INF, 2.0), (-INF, -300.0), (-INF, INF)]
TINY_OR_HUGE = [0.0, 5e-324, -5e-324, 1e-300, 1e99, -1e99, 1e300, -1e300]


def transform(x, lower, upper):
    """One coordinate through the transform of its one-dimensional box."""
    box = Transform.of(np.array([lower]), np.array([upper]))
    return float(box.to_box(np.array([[x]]))[0, 0])


def inverse(y, lower, upper):
    box = Transform.of(np.array([lower]), np.array([upper]))
    return float(box.from_box(np.array([[y]]))[0, 0])


def landmarks(lower, upper):
    """Points in, on and beside every piece, over two periods to either side."""
    if lower == -INF and upper == INF:
        return np.linspace(-1e3, 1e3, 21)
    a, b = bounds_literal.margins(lower, upper)
    low, high = max(lower, -1e99), min(upper, 1e99)
    if lower == -INF:
        return high + b * np.linspace(-40, 40, 321)
    if upper == INF:
        return low + a * np.linspace(-40, 40, 321)
    width = high - low + a + b
    grid = (low - a) + width * np.linspace(-4.1, 5.1, 369)
    ends = np.array([low - a, low, low + a, high - b, high, high + b, low + width / 2])
    return np.concatenate([grid, ends])


def resolution(x, lower, upper):
    """How far rounding of x may move its image: some ulps of the largest number involved."""
    finite = [abs(v) for v in (x, lower, upper) if abs(v) < INF]
    return 8 * np.spacing(max(finite))


@pytest.mark.parametrize(("lower", "upper"), BOXES + OPEN)
def test_transform_equals_the_literal_form_case_by_case(lower, upper):
    for x in landmarks(lower, upper):
        expected = bounds_literal.transform(x, lower, upper)
        assert abs(transform(x, lower, upper) - expected) <= resolution(x, lower, upper)


def test_transform_of_many_coordinates_equals_that_of_each():
    lower, upper = np.array([b[0] for b in BOXES + OPEN]), np.array([b[1] for b in BOXES + OPEN])
    box = Transform.of(lower, upper)
    X = np.random.default_rng(1).standard_cauchy((50, len(lower)))
    for row, image in zip(X, box.to_box(X), strict=True):
        alone = [transform(*case) for case in zip(row, lower, upper, strict=True)]
        assert image.tolist() == alone


@pytest.mark.parametrize(("lower", "upper"), [(-5.0, 7.0), (100.0, 101.0), (3.0, 3.05), (0.0, INF)])
def test_transform_and_its_slope_are_continuous(lower, upper):
    """The slope changes by at most 1/(2a) per unit of x, so by h/a between points 2h apart."""
    a = min(m for m in bounds_literal.margins(lower, upper) if m > 0)
    h = a / 64
    x = np.arange(lower - 4 * a, min(upper, lower + 3) + 4 * a, h)
    y = np.array([transform(v, lower, upper) for v in x])
    slope = np.diff(y) / h
    assert (np.abs(slope) <= 1 + 1e-9).all()
    assert (np.abs(np.diff(slope)) <= h / (2 * a) * (1 + 1e-6)).all()
    assert slope.max() > 0.99
    assert slope.min() < -0.99  # turned back beyond the bound


@pytest.mark.parametrize(("lower", "upper"), [(-5.0, 7.0), (0.0, 1.0), (-50.0, INF), (-INF, 2.0)])
def test_transform_is_the_identity_away_from_the_bounds(lower, upper):
    a, b = bounds_literal.margins(lower, upper)
    for x in np.linspace(max(lower, -1e3) + a, min(upper, 1e3) - b, 50)[1:-1]:
        assert transform(x, lower, upper) == x
        assert inverse(x, lower, upper) == x


@pytest.mark.parametrize(
    ("lower", "upper", "a", "b"),
    [
        (-5.0, 7.0, 0.25, 0.35),
        (0.0, 1.0, 0.05, 0.05),
        (100.0, 101.0, 0.5, 0.5),
        (0.0, INF, 0.05, 0),
    ],
)
def test_the_bounds_themselves_are_reached_at_the_end_of_the_margins(lower, upper, a, b):
    assert transform(lower - a, lower, upper) == lower
    assert transform(lower, lower, upper) == pytest.approx(lower + a / 4, rel=1e-12)
    assert transform(lower + a, lower, upper) == pytest.approx(lower + a, rel=1e-12)
    if upper < INF:
        assert transform(upper + b, lower, upper) == upper
        assert transform(upper, lower, upper) == pytest.approx(upper - b / 4, rel=1e-12)


any_finite = st.floats(allow_nan=False, allow_infinity=False)


@given(x=any_finite | st.sampled_from(TINY_OR_HUGE))
@pytest.mark.parametrize(("lower", "upper"), BOXES)
def test_no_finite_point_leaves_the_box(lower, upper, x):
    assert lower <= transform(x, lower, upper) <= upper


@given(x=st.floats(-1e300, 1e300))
@pytest.mark.parametrize(("lower", "upper"), OPEN)
def test_no_finite_point_leaves_a_half_open_box(lower, upper, x):
    image = transform(x, lower, upper)
    assert math.isfinite(image)
    assert lower <= image <= upper


@given(x=any_finite, bounds=st.tuples(*[st.floats(-1e300, 1e300)] * 2).map(sorted))
def test_no_finite_point_leaves_any_box_at_all(x, bounds):
    lower, upper = bounds
    assume(lower < upper)
    assert lower <= transform(x, lower, upper) <= upper


@pytest.mark.parametrize(("lower", "upper"), BOXES + OPEN)
def test_repair_after_inverse_after_repair_is_repair(lower, upper):
    for x in landmarks(lower, upper):
        image = transform(x, lower, upper)
        origin = inverse(image, lower, upper)
        # the inverse takes a square root: near a bound its rounding of order sqrt(eps a) in x
        # comes back squared, as a few ulps of the bound
        assert abs(transform(origin, lower, upper) - image) <= 4 * resolution(image, lower, upper)


@pytest.mark.parametrize(
    ("lower", "upper"), [(-5.0, 7.0), (100.0, 101.0), (-50.0, INF), (-INF, 2.0)]
)
def test_inverse_equals_the_literal_form(lower, upper):
    top = upper if upper < INF else lower + 10
    bottom = lower if lower > -INF else upper - 10
    for y in np.linspace(bottom, top, 101):
        expected = bounds_literal.inverse(y, lower, upper)
        # a square root near the bound: eps of the bound becomes sqrt(eps)
        assert inverse(y, lower, upper) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_to_box_leaves_its_argument_alone():
    box = Transform.of(np.zeros(2), np.ones(2))
    for X in (np.full((3, 2), 0.5), np.full((3, 2), 7.3)):
        before = X.copy()
        image = box.to_box(X)
        image[:] = np.nan
        np.testing.assert_array_equal(X, before)


def corner(x):
    """Falls towards the corner (-1, -1, ...): the optimum is on the bounds."""
    return float(((x + 2) ** 2).sum())


def boxed(dim, lower, upper, **settings):
    lower, upper = np.array(lower, float), np.array(upper, float)
    inner = CMAES.default(int((lower < upper).sum()), **settings)
    return Bounded.around(inner, lower, upper)


def test_every_point_asked_lies_in_the_box_and_an_optimum_on_its_corner_is_reached():
    strategy = boxed(4, [-1.0] * 4, [3.0, 3.0, INF, 1e9])
    state = strategy.init(np.array([1.0, 2.9, 5.0, -1.0]), 0.5, 5)
    best = INF
    for _ in range(250):
        population, F, state = driving.generation(strategy, state, corner)
        assert (population.X >= strategy.lower).all()
        assert (population.X <= strategy.upper).all()
        best = min(best, F.min())
    assert best - 4.0 < 1e-9
    np.testing.assert_allclose(strategy.portrait(state).mean, -1.0, atol=1e-8)


def test_the_search_starts_at_x0_even_on_a_bound():
    strategy = boxed(3, [-1.0, 0.0, -INF], [3.0, 1.0, 2.0])
    for x0 in ([-1.0, 1.0, 2.0], [0.3, 0.001, 1.999], [2.0, 0.5, -70.0]):
        p = strategy.portrait(strategy.init(np.array(x0), 0.3, 5))
        np.testing.assert_allclose(p.mean, x0, rtol=1e-12, atol=1e-12)


def test_coordinates_without_width_are_held_and_the_inner_search_does_not_see_them():
    strategy = boxed(3, [0.0, 7.0, -1.0], [1.0, 7.0, 1.0])
    assert strategy.dim == 3
    assert strategy.inner.dim == 2
    state = strategy.init(np.array([0.5, 7.0, 0.0]), 0.2, 5)
    for _ in range(20):
        population, _, state = driving.generation(strategy, state, lambda x: float((x**2).sum()))
        assert population.X.shape == (strategy.popsize, 3)
        assert (population.X[:, 1] == 7.0).all()
    assert strategy.portrait(state).mean.shape == (3,)
    assert strategy.portrait(state).mean[1] == 7.0


def test_an_injected_point_enters_at_its_own_place():
    """With one parent the mean moves onto the best row, here in the curved margin of a bound."""
    strategy = boxed(2, [0.0, 0.0], [1.0, 1.0], popsize=2)
    state = strategy.init(np.array([0.5, 0.01]), 0.05, 5)
    X = np.array([[0.52, 1e-4], [0.52, 0.02]])
    ids = np.full(2, INJECTED)
    told = strategy.tell(state, Population(ids, ids, X), driving.values_of([0.0, 1.0]))
    np.testing.assert_allclose(strategy.portrait(told).mean, X[0], rtol=1e-9)


def test_points_well_inside_are_those_of_the_search_without_bounds():
    inner = CMAES.default(3)
    strategy = Bounded.around(inner, np.full(3, -1e3), np.full(3, 1e3))
    x0 = np.array([1.0, 2.0, 3.0])
    free, bounded = inner.init(x0, 0.5, 9), strategy.init(x0, 0.5, 9)
    for _ in range(30):
        a, _, free = driving.generation(inner, free, lambda x: float((x**2).sum()))
        b, _, bounded = driving.generation(strategy, bounded, lambda x: float((x**2).sum()))
        np.testing.assert_array_equal(a.X, b.X)


@pytest.mark.parametrize("on_bound", [False, True])
def test_a_scale_stretches_the_steps_of_its_coordinate(on_bound):
    lower, upper = np.array([-9.0, 4.0, -1e6]), np.array([9.0, 4.0, 1e6])
    inner = CMAES.default(2)
    scale = np.array([0.5, 99.0, 1e4])
    strategy = Bounded.around(inner, lower, upper, scale)
    x0 = np.array([-9.0 if on_bound else 1.0, 4.0, 2e4])
    state = strategy.init(x0, 0.1, 5)
    np.testing.assert_allclose(strategy.portrait(state).mean, x0, rtol=1e-12)
    population, _ = strategy.ask(state, 6)
    assert (population.X[:, 1] == 4.0).all()
    z = population.inner.Z
    np.testing.assert_allclose(population.X[:, 2], 2e4 + 0.1 * 1e4 * z[:, 1], rtol=1e-12)
    if not on_bound:
        np.testing.assert_allclose(population.X[:, 0], 1.0 + 0.1 * 0.5 * z[:, 0], rtol=1e-12)

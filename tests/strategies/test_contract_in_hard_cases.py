"""The contract where things go wrong: failed evaluations, odd sizes, late and foreign rows, any
float64 at all. Over the whole registry and the compositions.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import driving, objectives
from reference.cases import CASES, SEED, asked, assert_healthy, injected, look, prepared, tilted

from evoopt.errors import ConfigurationError
from evoopt.result import Values
from evoopt.strategies.base import Population

pytestmark = pytest.mark.parametrize("name", CASES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_rank_last(name, bad):
    strategy, state = prepared(name, 5)
    population, F, state = asked(strategy, state)
    rows = [0, 3, 4]
    worst, failed = F.copy(), F.copy()
    worst[rows] = 1e300
    failed[rows] = bad
    expected = strategy.tell(state, population, Values(worst))
    bare = strategy.tell(state, population, Values(failed))
    reported = strategy.tell(state, population, driving.values_of(failed))
    assert look(strategy, bare) == look(strategy, expected)
    assert look(strategy, reported) == look(strategy, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_generation_that_failed_whole_leaves_the_distribution_as_it_was(name, bad):
    strategy, state = prepared(name, 3)
    population, F, state = asked(strategy, state)
    failed = np.full(len(F), bad)
    for values in (Values(failed), driving.values_of(failed)):
        after = strategy.tell(state, population, values)
        assert look(strategy, after) == look(strategy, state)
        again, _ = strategy.ask(after, strategy.popsize)
        assert not np.array_equal(again.X, population.X)  # new points are tried
        assert_healthy(strategy, driving.run(strategy, after, tilted, 3))


def test_minus_infinity_is_never_taken_as_an_improvement(name):
    strategy, state = prepared(name, 3)
    lowest = np.inf
    for _ in range(30):
        population, F, state = asked(strategy, state)
        lowest = min(lowest, F.min())
        F[0] = -np.inf
        state = strategy.tell(state, population, Values(F))
        reason = strategy.stop(state)
        assert reason is None or np.isfinite(reason.value)
    assert not any(
        (array == -np.inf).any() for label, array in driving.floats_in(state) if "best" in label
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_failed_rows_do_not_make_the_values_look_flat(name, bad):
    """Always the best is 0 and the rest differs: no reason to stop, whatever else fails."""
    strategy, state = prepared(name, 3, generations=0)
    for g in range(8):
        population, F, state = asked(strategy, state)
        F = np.arange(float(len(F)))
        F[-2:] = bad if g else 99.0
        state = strategy.tell(state, population, Values(F))
        assert strategy.stop(state) is None


@pytest.mark.parametrize(("successes", "patience"), [(0, 5), (3, 20)])
def test_failures_everywhere_end_the_search_with_a_reason_that_says_so(name, successes, patience):
    strategy, state = prepared(name, 3, generations=successes)
    for _ in range(patience):
        assert strategy.stop(state) is None
        population, F, state = asked(strategy, state)
        state = strategy.tell(state, population, driving.values_of(np.full(len(F), np.nan)))
    reason = strategy.stop(state)
    if name == "random" and successes:  # learns nothing, so that nothing tells a storm from the end
        assert reason is None
    else:
        assert reason.criterion == "allfailed"
        assert reason.value == patience
        assert not reason.converged


@pytest.mark.parametrize("popsize", [2, 3, 5, 7, 20, 200])
@pytest.mark.parametrize("dim", [1, 3])
def test_any_popsize_keeps_the_state_healthy_and_improves(name, dim, popsize):
    strategy = CASES[name](dim, popsize=popsize)
    assert strategy.popsize == popsize
    state = strategy.init(np.full(dim, 2.0), 0.5, SEED)
    best = []
    for _ in range(60):
        _, F, state = driving.generation(strategy, state, objectives.sphere)
        best.append(F.min())
        assert_healthy(strategy, state)
    assert min(best) < 0.6 * objectives.sphere(np.full(dim, 2.0))


@pytest.mark.parametrize("popsize", [1, 0, -3, 2.5, True, "8", float("nan")])
def test_an_unusable_popsize_is_refused_in_one_line_that_names_it(name, popsize):
    with pytest.raises(ConfigurationError, match=r"popsize=\.\.\.") as caught:
        CASES[name](3, popsize=popsize)
    assert str(popsize) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dim", [1, 4])
def test_late_rows_of_an_earlier_distribution_are_accepted(name, dim):
    strategy, state = prepared(name, dim)
    late, state = strategy.ask(state, strategy.popsize)
    state = driving.run(strategy, state, tilted, 5)
    F = np.array([tilted(x) for x in late.X])
    for rows in (np.arange(2), np.arange(2, len(F))):
        state = strategy.tell(state, late.take(rows), Values(F[rows]))
    assert_healthy(strategy, state)
    population, F, state = asked(strategy, state)
    mixed = Population(  # half of this epoch, half late
        np.concatenate([late.id[::2], population.id[::2]]),
        np.concatenate([late.epoch[::2], population.epoch[::2]]),
        np.concatenate([late.X[::2], population.X[::2]]),
        *(
            None if a is None or b is None else np.concatenate([a[::2], b[::2]])
            for a, b in ((late.Z, population.Z), (late.Y, population.Y))
        ),
    )
    state = strategy.tell(state, mixed, Values(np.array([tilted(x) for x in mixed.X])))
    assert_healthy(strategy, driving.run(strategy, state, tilted, 3))


@pytest.mark.parametrize("distance", [0.0, 1.0, 1e6, 1e150, 1e308])
def test_injected_rows_move_the_mean_by_a_bounded_number_of_steps(name, distance):
    dim = 4
    strategy, state = prepared(name, dim)
    before = strategy.portrait(state)
    _, F, state = asked(strategy, state)
    X = np.tile(before.mean, (strategy.popsize, 1))
    X[:, 1] += distance
    foreign = injected(name, X)
    told = strategy.tell(state, foreign, Values(F))
    assert_healthy(strategy, told)
    after = strategy.portrait(told)
    if np.isfinite(before.sigma) and len(before.axes):
        # clipped at sqrt(n) + 2n/(n+2) = 3.33 standard deviations (arXiv:1110.4181), times c_m = 1
        # (the mean of a box is seen through its transform, whose slope is at most 1)
        most = (np.sqrt(dim) + 2 * dim / (dim + 2)) * before.sigma * before.axes.max()
        assert np.linalg.norm(after.mean - before.mean) <= most * (1 + 1e-12)
    assert_healthy(strategy, driving.run(strategy, told, tilted, 3))


def test_one_injected_row_among_asked_ones_counts_by_its_rank(name):
    strategy, state = prepared(name, 3)
    population, F, state = asked(strategy, state)
    foreign = injected(name, strategy.portrait(state).mean[None, :] + 0.1)
    first = strategy.tell(state, foreign, Values(np.array([F.min() - 1])))
    told = strategy.tell(first, population.take(np.arange(len(F) - 1)), Values(F[:-1]))
    assert_healthy(strategy, told)
    assert strategy.portrait(told).generation == strategy.portrait(state).generation + 1


any_float = st.floats(width=64, allow_nan=True, allow_infinity=True, allow_subnormal=True)


@given(data=st.data(), dim=st.integers(1, 3))
def test_tell_survives_arbitrary_float64_values(name, dim, data):
    strategy = CASES[name](dim, popsize=5)
    state = strategy.init(np.zeros(dim), 1.0, SEED)
    for F in data.draw(st.lists(st.lists(any_float, min_size=5, max_size=5), max_size=6)):
        population, state = strategy.ask(state, 5)
        state = strategy.tell(state, population, Values(np.array(F)))
        assert_healthy(strategy, state)
        reason = strategy.stop(state)
        assert reason is None or not np.isnan(reason.value)


finite_float = st.floats(width=64, allow_nan=False, allow_infinity=False)


@given(X=st.lists(st.lists(finite_float, min_size=2, max_size=2), min_size=1, max_size=12))
def test_tell_survives_arbitrary_injected_points(name, X):
    strategy, state = prepared(name, 2, generations=1, popsize=6)
    F = np.linspace(-1.0, 1.0, len(X))
    state = strategy.tell(state, injected(name, X), Values(F))
    assert_healthy(strategy, driving.run(strategy, state, tilted, 2))

"""The contract for several objectives where things go wrong: failed evaluations, late and foreign
rows, any float64 at all. Over the whole registry and some compositions.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import driving
from reference.cases import SEED, assert_healthy, injected
from reference.several import asked, each_of_several, kept, made, objectives, prepared, several

from evoopt.result import Values
from evoopt.strategies.base import Population

pytestmark = each_of_several
BAD = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("bad", BAD)
def test_a_failure_in_one_objective_is_a_failure_of_the_row(name, bad):
    strategy, state = prepared(name, 3)
    population, F, state = asked(name, strategy, state)
    F[0] = np.nan
    expected = strategy.tell(kept(strategy, state), population, driving.values_of(F))
    F[0] = -1e9
    F[0, -1] = bad
    for given_values in (Values(F), driving.values_of(F)):
        after = strategy.tell(kept(strategy, state), population, given_values)
        assert driving.fingerprint(after) == driving.fingerprint(expected)


@pytest.mark.parametrize("bad", BAD)
def test_failed_rows_are_nobodys_parents(name, bad):
    """Failures in most rows, always, from the first on: what is left makes a search."""
    strategy, fun = made(name, 2), several(objectives(name))
    state, random = strategy.init(np.ones(2), 0.5, SEED), np.random.default_rng(5)
    for _ in range(25):
        population, F, state = asked(name, strategy, state, strategy.batch(state))
        F[random.random(len(F)) < 0.7] = bad
        state = strategy.tell(state, population, driving.values_of(F))
        assert_healthy(strategy, state)
    assert not any(
        (array == -np.inf).any() for label, array in driving.floats_in(state) if ".F" in label
    )
    assert_healthy(strategy, driving.run(strategy, state, fun, 3))


def test_failures_everywhere_end_the_search_with_a_reason_that_says_so(name):
    strategy = made(name, 3)
    state, seen = strategy.init(np.ones(3), 0.5, SEED), []
    for _ in range(200 * strategy.popsize):
        reason = strategy.stop(state)
        if reason is not None:
            break
        population, F, state = asked(name, strategy, state, strategy.batch(state))
        seen += [x.tobytes() for x in population.X]
        state = strategy.tell(state, population, driving.values_of(np.full(F.shape, np.nan)))
    assert len(set(seen)) > 0.8 * len(seen)  # new points are tried
    assert reason.criterion == "allfailed"
    assert not reason.converged


@pytest.mark.parametrize("dim", [1, 4])
def test_late_rows_are_accepted_in_any_number(name, dim):
    strategy, state = prepared(name, dim)
    late, F, state = asked(name, strategy, state)
    state = driving.run(strategy, state, several(objectives(name)), 4)
    first = np.arange(min(2, len(F)))
    rest = np.arange(len(first), len(F))
    for rows in (first, rest):
        state = strategy.tell(state, late.take(rows), Values(F[rows]))
        assert_healthy(strategy, state)
    assert_healthy(strategy, driving.run(strategy, state, several(objectives(name)), 3))


def test_results_that_come_one_by_one_out_of_order_make_a_search(name):
    """Five open at a time, told in a random order; rows that never come back hold up nothing."""
    strategy, fun = made(name, 2), several(objectives(name))
    state, random = strategy.init(np.full(2, 3.0), 0.5, SEED), np.random.default_rng(6)
    flying, told = [], []
    for _ in range(400):
        while len(flying) < 5:
            row, state = strategy.ask(state, 1)
            if not len(row):
                break
            flying.append(row)
        row = flying.pop(int(random.integers(len(flying))))
        if random.random() < 0.02:
            continue
        told.append(fun(row.X[0]))
        state = strategy.tell(state, row, Values(told[-1][None]))
        assert_healthy(strategy, state)
    sums = np.sum(told, axis=1)
    assert name == "random" or sums[200:].min() < sums[:40].min()


@pytest.mark.parametrize("distance", [0.0, 1.0, 1e6, 1e150, 1e308])
def test_injected_rows_from_anywhere_leave_the_search_healthy(name, distance):
    strategy, state = prepared(name, 4)
    X = np.tile(strategy.portrait(state).mean, (strategy.popsize, 1))
    X[:, 1] += distance
    foreign = injected(name, X)
    F = np.linspace(0, 1, len(X))[:, None] * np.ones(objectives(name))
    F[:, 0] *= -1  # a front
    state = strategy.tell(state, foreign, Values(F))
    assert_healthy(strategy, state)
    assert_healthy(strategy, driving.run(strategy, state, several(objectives(name)), 3))


def test_injected_rows_before_the_first_ask_and_among_asked_ones_are_accepted(name):
    strategy, fun = made(name, 3), several(objectives(name))
    state = strategy.init(np.ones(3), 0.5, SEED)
    X = np.random.default_rng(7).uniform(0, 2, (25, 3))
    known = np.array([fun(x) for x in X])
    state = strategy.tell(state, injected(name, X), Values(known))
    assert_healthy(strategy, state)
    for k in range(4):
        population, F, state = asked(name, strategy, state)
        state = strategy.tell(state, injected(name, X[k : k + 1] + 0.01), Values(known[k : k + 1]))
        some = np.arange(len(F))[: -1 if len(F) > 1 else None]
        state = strategy.tell(state, population.take(some), Values(F[some]))
        assert_healthy(strategy, state)


def test_rows_that_lost_what_they_were_drawn_with_are_accepted_as_injected_ones(name):
    strategy, state = prepared(name, 3)
    population, F, state = asked(name, strategy, state)
    bare = Population(population.id, np.full(len(F), -1), population.X)
    state = strategy.tell(state, bare, Values(F))
    assert_healthy(strategy, driving.run(strategy, state, several(objectives(name)), 2))


any_float = st.floats(width=64, allow_nan=True, allow_infinity=True, allow_subnormal=True)
finite_float = st.floats(width=64, allow_nan=False, allow_infinity=False)


@settings(max_examples=20)
@given(data=st.data(), dim=st.integers(1, 3))
def test_tell_survives_arbitrary_float64_values(name, dim, data):
    strategy, m = made(name, dim), objectives(name)
    state = strategy.init(np.zeros(dim), 1.0, SEED)
    row = st.lists(any_float, min_size=m, max_size=m)
    for F in data.draw(st.lists(st.lists(row, min_size=6, max_size=6), max_size=5)):
        population, state = strategy.ask(state, 6)
        told = Values(np.array(F[: len(population)]).reshape(len(population), m))
        state = strategy.tell(state, population, told)
        assert_healthy(strategy, state)
        reason = strategy.stop(state)
        assert reason is None or not np.isnan(reason.value)


@settings(max_examples=20)
@given(X=st.lists(st.lists(finite_float, min_size=2, max_size=2), min_size=1, max_size=12))
def test_tell_survives_arbitrary_injected_points(name, X):
    strategy, state = prepared(name, 2, generations=1)
    F = np.linspace(-1.0, 1.0, len(X))[:, None] * np.linspace(-1.0, 1.0, objectives(name))
    state = strategy.tell(state, injected(name, X), Values(F))
    assert_healthy(strategy, driving.run(strategy, state, several(objectives(name)), 2))

"""The laws of the contract for strategies of several objectives, over the whole registry and some
compositions: a new entry that takes two objectives is tested unasked. (Failures,
late rows, odd numbers: test_contract_objectives_in_hard_cases.)

What each candidate teaches by itself depends on the order in which results come; so here the law of
permutation is for the rows of one tell, and none says that rows told one by one are one tell.
"""

import copy

import numpy as np
import pytest
from reference import driving
from reference.cases import LOWER, SEED, UPPER
from reference.several import (
    asked,
    each_of_several,
    kept,
    made,
    objectives,
    prepared,
    several,
    values,
)

from evoopt.hypervolume import hypervolume
from evoopt.result import Values
from evoopt.strategies import STRATEGIES

pytestmark = each_of_several
DIMS = (1, 2, 5)


@pytest.mark.parametrize("dim", DIMS)
def test_ask_gives_finite_float64_rows_with_ids_in_sequence(name, dim):
    strategy, state = prepared(name, dim)
    k = strategy.popsize
    first, state = strategy.ask(state, k)
    second, _ = strategy.ask(state, k)
    for population in (first, second):
        assert population.X.shape == (len(population), dim)
        assert len(population) <= k
        assert population.X.dtype == np.float64
        assert np.isfinite(population.X).all()
        assert population.id.dtype == population.epoch.dtype == np.int64
    assert len(first) > 0
    ids = np.concatenate([first.id, second.id])
    assert ids.tolist() == list(range(ids[0], ids[0] + len(ids)))
    assert not np.array_equal(first.X, second.X)
    assert strategy.dim == dim
    assert name not in STRATEGIES or strategy.name == name


@pytest.mark.parametrize("dim", DIMS)
def test_ask_twice_on_one_state_gives_equal_points(name, dim):
    strategy, state = prepared(name, dim)
    twin = kept(strategy, state)
    once, twice = strategy.ask(state, strategy.popsize), strategy.ask(twin, strategy.popsize)
    assert driving.fingerprint(once) == driving.fingerprint(twice)


@pytest.mark.parametrize("dim", DIMS)
def test_points_do_not_depend_on_how_many_are_asked_at_a_time(name, dim):
    strategy, state = prepared(name, dim)
    together, _ = strategy.ask(kept(strategy, state), 12)
    apart = []
    for k in (1, 4, 2, 5):
        rows, state = strategy.ask(state, k)
        apart.append(rows)
    ids, X = (np.concatenate([getattr(rows, field) for rows in apart]) for field in ("id", "X"))
    assert ids.tolist()[: len(together)] == together.id.tolist()
    assert len(ids) == len(together) or len(together) < 12  # who waits in between gives fewer
    # the same normal numbers; BLAS may sum the products of a row in another order
    np.testing.assert_allclose(X[: len(together)], together.X, rtol=1e-12, atol=1e-12)


def test_other_seed_or_other_path_gives_other_searches(name):
    fun, ends = several(objectives(name)), set()
    for key in [(1, ()), (2, ()), (1, (0,)), (1, (1,))]:
        strategy = made(name, 3)
        state = driving.run(strategy, strategy.init(np.ones(3), 1.0, *key), fun, 6)
        ends.add(strategy.ask(state, 4)[0].X.tobytes())
    assert len(ends) == 4


@pytest.mark.parametrize("dim", DIMS)
def test_ask_and_tell_leave_their_arguments_bit_identical(name, dim):
    """Of a strategy that consumes its states, a copy of one is as good as the one."""
    strategy = made(name, dim)
    x0 = np.linspace(1.0, 2.0, dim)
    state = strategy.init(x0, 0.7, SEED)
    pure = not strategy.claims.consumes
    for _ in range(4):
        before = driving.fingerprint((state if pure else 0, x0))
        population, state_asked = strategy.ask(state, strategy.popsize)
        assert driving.fingerprint((state if pure else 0, x0)) == before
        given_values = driving.values_of(values(name, population))
        before = driving.fingerprint((state_asked if pure else 0, population, given_values))
        twin = copy.deepcopy(state_asked)
        state_told = strategy.tell(state_asked, population, given_values)
        again = strategy.tell(twin, population, given_values)
        strategy.stop(state_told)
        strategy.portrait(state_told)
        told = (state_asked if pure else 0, population, given_values)
        assert driving.fingerprint(told) == before
        assert driving.fingerprint(again) == driving.fingerprint(state_told)
        state = state_told


def test_the_state_keeps_nothing_of_the_callers_arrays(name):
    strategy = made(name, 3)
    x0 = np.ones(3)
    state = strategy.init(x0, 0.7, SEED)
    population, F, state = asked(name, strategy, state)
    half = np.arange(len(population) - 1)
    told = Values(F[half])
    state = strategy.tell(state, population.take(half), told)
    before = driving.fingerprint(state)
    x0[:] = np.nan
    told.F[:] = np.nan
    assert driving.fingerprint(state) == before


@pytest.mark.parametrize("dim", DIMS)
def test_tell_is_invariant_under_row_permutation(name, dim):
    strategy, state = prepared(name, dim)
    assert strategy.claims.permutation
    population, F, state = asked(name, strategy, state)
    F[-1] = F[0]  # a tie, which only the ids can break
    told = driving.fingerprint(strategy.tell(kept(strategy, state), population, Values(F)))
    random = np.random.default_rng(1)
    for _ in range(5):
        p = random.permutation(len(F))
        permuted = strategy.tell(kept(strategy, state), population.take(p), Values(F[p]))
        assert driving.fingerprint(permuted) == told


def test_tell_of_several_generations_at_once_is_invariant_under_row_permutation(name):
    strategy, state = prepared(name, 3)
    population, F, state = asked(name, strategy, state, 2 * strategy.popsize + 3)
    told = driving.fingerprint(strategy.tell(kept(strategy, state), population, Values(F)))
    p = np.random.default_rng(2).permutation(len(F))
    permuted = strategy.tell(kept(strategy, state), population.take(p), Values(F[p]))
    assert driving.fingerprint(permuted) == told


def test_an_empty_tell_changes_nothing(name):
    strategy, state = prepared(name, 2)
    population, F, state = asked(name, strategy, state)
    part = np.arange(len(F) // 2)
    state = strategy.tell(state, population.take(part), Values(F[part]))  # some may wait
    before = driving.fingerprint(state)
    nobody = population.take(np.arange(0))
    after = strategy.tell(state, nobody, Values(np.empty((0, objectives(name)))))
    assert driving.fingerprint(after) == before


@pytest.mark.parametrize("dim", DIMS)
def test_a_translated_objective_gives_the_translated_search(name, dim):
    strategy, fun = made(name, dim), several(objectives(name))
    if not strategy.claims.translation:
        pytest.skip(f"{name} does not claim translation invariance")
    t = 4.0 * np.arange(1, dim + 1)
    x0 = np.full(dim, 0.25)
    here = driving.run(strategy, strategy.init(x0, 0.5, SEED), fun, 8)
    there = driving.run(strategy, strategy.init(x0 + t, 0.5, SEED), lambda x: fun(x - t), 8)
    X, shifted = strategy.ask(here, 10)[0].X, strategy.ask(there, 10)[0].X
    # x - t loses up to eps |t| ~ 4e-15 of a step of size ~ 0.1; no comparison changes by that
    np.testing.assert_allclose(shifted - t, X, rtol=0, atol=1e-12)
    p, q = strategy.portrait(here), strategy.portrait(there)
    np.testing.assert_allclose(q.mean - t, p.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(q.sigma, p.sigma, rtol=1e-10)


@pytest.mark.parametrize("dim", DIMS)
def test_rescaled_variables_give_the_rescaled_search(name, dim):
    strategy, fun = made(name, dim), several(objectives(name))
    if not strategy.claims.translation:
        pytest.skip(f"{name} does not claim that units do not matter")
    scale = 2.0**40  # a power of two: every product is exact
    x0 = np.full(dim, 0.25)
    here = driving.run(strategy, strategy.init(x0, 0.5, SEED), fun, 8)
    there = strategy.init(x0 * scale, 0.5 * scale, SEED)
    there = driving.run(strategy, there, lambda x: fun(x / scale), 8)
    X, scaled = strategy.ask(here, 10)[0].X, strategy.ask(there, 10)[0].X
    np.testing.assert_array_equal(scaled, X * scale)


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("told", ["nothing", "some rows", "whole generations"])
def test_a_state_restored_from_disk_continues_bit_identically(name, told, dim):
    strategy, state = prepared(name, dim, generations=0 if told == "nothing" else 8)
    if told == "some rows":
        population, F, state = asked(name, strategy, state)
        rows = np.arange(0, len(F), 2)
        state = strategy.tell(state, population.take(rows), Values(F[rows]))
    restored = driving.restored(state)
    assert driving.fingerprint(restored) == driving.fingerprint(state)
    for _ in range(6):
        a, _, state = driving.generation(strategy, state, several(objectives(name)))
        b, _, restored = driving.generation(strategy, restored, several(objectives(name)))
        assert driving.fingerprint(a) == driving.fingerprint(b)
        assert driving.fingerprint(restored) == driving.fingerprint(state)
        assert strategy.stop(restored) == strategy.stop(state)


def test_numpys_global_generator_is_neither_read_nor_written(name):
    def points(global_seed):
        np.random.seed(global_seed)  # noqa: NPY002 # the very thing under test
        before = driving.fingerprint(np.random.get_state())  # noqa: NPY002  # the same
        _, state = prepared(name, 3)
        assert driving.fingerprint(np.random.get_state()) == before  # noqa: NPY002  # the same
        return driving.fingerprint(state)

    assert points(1) == points(2)


def test_generations_are_counted_as_batches_are_told(name):
    strategy = made(name, 3)
    state, counted = strategy.init(np.ones(3), 0.5, SEED), []
    for _ in range(30):
        k = strategy.batch(state)
        assert k >= 1
        counted.append(strategy.generation(state))
        assert strategy.portrait(state).generation == counted[-1]
        population, F, state = asked(name, strategy, state, k)
        assert 1 <= len(population) <= k
        state = strategy.tell(state, population, Values(F))
    assert counted[0] == 0
    assert counted == sorted(counted)
    assert counted[-1] > 0


def test_stop_is_silent_before_the_first_evaluation(name):
    strategy = made(name, 3)
    state = strategy.init(np.zeros(3), 1.0, SEED)
    assert strategy.stop(state) is None
    assert strategy.stop(strategy.ask(state, strategy.popsize)[1]) is None


def test_the_portrait_of_a_fresh_state_is_the_start(name):
    strategy = made(name, 3)
    p = strategy.portrait(strategy.init(np.array([1.0, 2.0, 3.0]), 0.7, SEED))
    assert p.mean.tolist() == [1.0, 2.0, 3.0]
    assert p.generation == p.restarts == 0
    assert np.isnan(p.sigma) or p.sigma == 0.7
    assert set(p.axes.tolist()) <= {1.0}


def test_the_hypervolume_of_what_was_evaluated_grows(name):
    """Half of what dominates the reference point, or so, is dominated after 1000 evaluations."""
    m, strategy = objectives(name), made(name, 3)
    if name == "random":
        pytest.skip("random search learns nothing")
    state, told = strategy.init(np.full(3, 2.5), 0.5, SEED), []

    def fun(x):
        return ((x - np.eye(3)[:m]) ** 2).sum(axis=1) / 2

    while len(told) < 1000 and strategy.stop(state) is None:
        _, F, state = driving.generation(strategy, state, fun)
        told.extend(F)
    # two: 1.21 less the 1/6 below the front
    assert hypervolume(np.array(told), np.full(m, 1.1)) > 0.5


def test_points_of_a_box_lie_in_it(name):
    if "box" not in name:
        pytest.skip(f"{name} has no box")
    strategy, state = prepared(name, 3)
    for _ in range(10):
        population, F, state = asked(name, strategy, state)
        assert (population.X >= LOWER).all()
        assert (population.X <= UPPER).all()
        state = strategy.tell(state, population, Values(-F))  # drives the search to the border


def test_strategy_and_state_are_frozen(name):
    strategy, state = prepared(name, 2)
    for thing in (strategy, state):
        field = next(iter(getattr(thing, "_fields", None) or thing.__dataclass_fields__))
        with pytest.raises(AttributeError):
            setattr(thing, field, getattr(thing, field))

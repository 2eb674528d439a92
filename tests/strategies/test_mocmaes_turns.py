"""MO-CMA-ES: how rows are counted, whose offspring they are, and when the search gives up."""

import numpy as np
import pytest
from reference import driving

from evoopt.result import Values
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.mocmaes import MOCMAES

SEED = 20260801
MODES = pytest.mark.parametrize("steady", [True, False])


def spheres(x):
    return ((x - np.eye(len(x))[:2]) ** 2).sum(axis=1)


def told(strategy, state, F):
    """The state once the next rows have these values; NaN for a failure. F: (k, 2)."""
    rows, state = strategy.ask(state, len(F))
    return strategy.tell(state, rows, driving.values_of(F))


def failing(k):
    return np.full((k, 2), np.nan)


@MODES
def test_a_batch_is_what_is_missing_to_a_multiple_of_popsize_told(steady):
    strategy = MOCMAES.default(3, popsize=5, steady=steady)
    state, count = strategy.init(np.ones(3), 0.5, SEED), 0
    for k in (1, 3, 1, 2, 3, 7, 5):
        assert strategy.batch(state) == 5 - count % 5
        assert strategy.generation(state) == strategy.portrait(state).generation == count // 5
        rows, state = strategy.ask(state, k)
        state = strategy.tell(state, rows, Values(np.array([spheres(x) for x in rows.X])))
        count += k


@MODES
@pytest.mark.parametrize(("succeeded", "patience"), [(False, 5), (True, 20)])
def test_failures_end_the_search_after_so_many_generations(steady, succeeded, patience):
    strategy = MOCMAES.default(3, popsize=6, steady=steady)
    state = strategy.init(np.ones(3), 0.5, SEED)
    if succeeded:
        state = told(strategy, state, np.ones((6, 2)))
    for _ in range(6 * patience - 1):
        state = told(strategy, state, failing(1))
        assert strategy.stop(state) is None
    reason = strategy.stop(told(strategy, state, failing(1)))
    assert (reason.criterion, reason.value) == ("allfailed", patience)


@MODES
def test_the_first_generation_is_drawn_around_the_start_whatever_of_it_is_told_already(steady):
    strategy = MOCMAES.default(3, popsize=8, steady=steady)
    start = strategy.init(np.zeros(3), 1e-3, SEED)
    together, _ = strategy.ask(start, 8)
    first, state = strategy.ask(start, 4)
    state = strategy.tell(state, first, Values(np.array([spheres(x) for x in first.X])))
    rest, _ = strategy.ask(state, 4)
    assert np.concatenate([first.X, rest.X]).tobytes() == together.X.tobytes()


def test_one_parent_of_several_offspring_learns_from_each_of_them():
    """Two of four first points failed: two offspring for each of the others."""
    strategy = MOCMAES.default(3, popsize=4, steady=False)
    state = strategy.init(np.zeros(3), 1.0, SEED)
    state = told(strategy, state, np.array([[0.0, 1.0], [1.0, 0.0], [np.nan] * 2, [np.nan] * 2]))
    assert len(state.points.X) == 2
    F = np.array([[2.0, 2.0], [np.nan] * 2, [2.0, 2.0], [-1.0, -1.0]])  # of 0, 1, 0, 1
    state = told(strategy, state, F)
    c, p = strategy.c_p, strategy.p_target
    parents = [(1 - c) ** 2 * p, (1 - c) ** 2 * p + c]  # the failure first, by its id
    at = [int(np.flatnonzero((state.points.F == f).all(axis=1))[0]) for f in ([0, 1], [1, 0])]
    np.testing.assert_allclose(state.points.p[at], parents, rtol=1e-14)
    first = np.exp(-c * p / strategy.d / (1 - p))
    second = np.exp((np.array(parents) - p) / strategy.d / (1 - p))
    np.testing.assert_allclose(state.points.sigma[at], first * second, rtol=1e-12)


def test_an_injected_row_that_waits_among_asked_ones_has_no_parent():
    strategy = MOCMAES.default(3, popsize=4, steady=False)
    state = strategy.init(np.full(3, 2.0), 0.3, SEED)
    state = driving.run(strategy, state, spheres, 6)
    nobody = np.full(1, INJECTED)
    X = np.array([[0.5, 0.5, 0.0]])
    state = strategy.tell(state, Population(nobody, nobody, X), Values(np.full((1, 2), -1.0)))
    assert len(state.waiting.F) == 1
    state = told(strategy, state, np.full((3, 2), 9.0))
    i = int(np.flatnonzero((state.points.X == X).all(axis=1))[0])
    assert state.points.sigma[i] == 0.3
    assert state.points.p[i] == strategy.p_target
    assert state.points.A[i].tolist() == np.eye(3).tolist()


def test_of_a_row_too_old_to_be_remembered_the_parent_is_guessed():
    strategy = MOCMAES.default(3, popsize=4)
    state = strategy.init(np.full(3, 2.0), 0.3, SEED)
    state = driving.run(strategy, state, spheres, 6)
    late, state = strategy.ask(state, 1)
    _, state = strategy.ask(state, 2000)
    assert len(state.slots) < 2000
    state = strategy.tell(state, late, Values(np.full((1, 2), -1.0)))
    i = int(np.flatnonzero((state.points.X == late.X).all(axis=1))[0])
    assert state.points.p[i] != strategy.p_target
    assert state.points.A[i].tolist() != np.eye(3).tolist()


def test_step_sizes_stay_between_bars_that_keep_every_product_finite():
    strategy = MOCMAES.default(2)
    one = np.ones(1)
    assert strategy._rated(0.5, 0 * one, 0.5e-20 * one, 0 * one)[1].tolist() == [0.5e-20]
    assert strategy._rated(0.5, one, 0.5e20 * one, one)[1].tolist() == [0.5e20]


def test_the_state_survives_a_storm_of_failures_and_goes_on():
    strategy = MOCMAES.default(2, popsize=4)
    state = driving.run(strategy, strategy.init(np.full(2, 9.0), 0.5, SEED), spheres, 5)
    for _ in range(19):
        state = told(strategy, state, failing(4))
    assert strategy.stop(state) is None
    before = state.points.F.sum(axis=1).min()
    state = driving.run(strategy, state, spheres, 40)
    assert state.points.F.sum(axis=1).min() < before
    assert state.failed == 0


def test_in_steady_state_parents_are_drawn_uniformly_among_those_that_none_dominates():
    """600 draws of 3: each count is binomial with mean 200 and deviation 11.5, so that one leaves
    [140, 260] by chance with probability below 1e-6."""
    strategy = MOCMAES.default(3, popsize=6)
    state = strategy.init(np.zeros(3), 1.0, SEED)
    F = np.array([[0.0, 2.0], [3.0, 3.0], [1.0, 1.0], [4.0, 1.5], [2.0, 0.0], [9.0, 9.0]])
    state = told(strategy, state, F)
    _, state = strategy.ask(state, 600)
    counts = np.bincount(state.slots[-600:], minlength=6)
    assert (counts[[1, 3, 5]] == 0).all()
    assert (counts[[0, 2, 4]] > 140).all()


def test_in_generations_each_point_has_one_offspring():
    strategy = MOCMAES.default(3, popsize=6, steady=False)
    state = driving.run(strategy, strategy.init(np.zeros(3), 1.0, SEED), spheres, 3)
    for _ in range(3):
        _, state = strategy.ask(state, 6)
        assert sorted(state.slots[-6:].tolist()) == list(range(6))

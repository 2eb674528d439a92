"""Runs on weighted sums: their weights, what values are measured by, and who is told what."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from reference import driving, fronts

from evoopt.result import Values
from evoopt.strategies.base import INJECTED, Claims, Population, Portrait, new_rows
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.compose.restarts import Restarts
from evoopt.strategies.compose.scalarised import Scalarised

SEED = 20260801


class Heard(NamedTuple):
    asked: int
    told: tuple


class Listener:
    """A strategy that notes what it is told, and begins a new run after every three rows."""

    name, dim, popsize, claims = "listener", 2, 3, Claims()

    def init(self, x0, sigma0, seed, path=()):
        return Heard(0, ())

    def ask(self, state, k):
        rows = Population(*new_rows(state.asked, k, 0), np.full((k, 2), 1.0))
        return rows, state._replace(asked=state.asked + k)

    def tell(self, state, population, values):
        rows = zip(population.id.tolist(), values.F.tolist(), strict=True)
        return state._replace(told=state.told + tuple(rows))

    def portrait(self, state):
        return Portrait(np.zeros(2), 1.0, np.ones(2), 0, len(state.told) // 3)


def listening():
    strategy = Scalarised(Listener())
    return strategy, strategy.init(np.zeros(2), 1.0, SEED)


def answered(strategy, state, F):
    rows, state = strategy.ask(state, len(F))
    return strategy.tell(state, rows, Values(np.array(F, dtype=float)))


def heard(state):
    return [f for _, f in state.inner.told]


def test_the_first_runs_have_both_alike_then_each_alone_then_between():
    strategy, state = listening()
    weights = []
    for _ in range(5):
        weights.append(state.weight)
        state = answered(strategy, state, [[1.0, 2.0]] * 3)
    assert weights == [0.5, 0.0, 1.0, 0.25, 0.75]
    assert state.run == 5


def test_of_the_later_runs_a_quarter_is_for_each_alone_and_the_others_are_uniform():
    """Standard deviations of shares: 0.007; the Kolmogorov distance is above 0.048 with a
    probability of 2e-4."""
    strategy, state = listening()
    weights = np.array([strategy._begun(state, run).weight for run in range(5, 4005)])
    between = np.sort(weights[(weights > 0) & (weights < 1)])
    assert abs((weights == 0).mean() - 0.25) < 0.03
    assert abs((weights == 1).mean() - 0.25) < 0.03
    assert np.abs(between - np.arange(len(between)) / len(between)).max() < 0.048


def test_weights_are_those_of_the_seed_and_of_the_run():
    strategy, state = listening()
    weights = [strategy._begun(state, run).weight for run in range(5, 30)]
    assert weights == [strategy._begun(state._replace(run=3), run).weight for run in range(5, 30)]
    for other in (strategy.init(np.zeros(2), 1.0, 1), strategy.init(np.zeros(2), 1.0, SEED, (1,))):
        assert weights != [strategy._begun(other, run).weight for run in range(5, 30)]


def test_a_run_hears_weighted_sums_in_units_of_the_box_between_ideal_and_nadir():
    strategy, state = listening()
    state = strategy.informed(state, np.array([[0.0, 90.0], [5.0, 50.0], [10.0, 40.0]]))
    state = strategy.measured(state)
    assert state.origin.tolist() == [0.0, 40.0]
    assert state.unit.tolist() == [10.0, 50.0]
    state = answered(strategy, state, [[0.0, 90.0], [5.0, 50.0], [12.0, 39.0]])
    assert heard(state) == pytest.approx([0.5, 0.35, 0.59])


def test_units_are_those_of_the_front_when_the_run_begins():
    strategy, state = listening()
    state = answered(strategy, state, [[1.0, 7.0], [3.0, 3.0]])
    state = strategy.informed(state, np.array([[2.0, 4.0]]))  # not at an end
    assert (state.origin.tolist(), state.unit.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    state = answered(strategy, state, [[3.0, 2.0]])
    assert state.run == 1
    assert (state.origin.tolist(), state.unit.tolist()) == ([1.0, 2.0], [2.0, 5.0])
    state = answered(strategy, state, [[0.0, 7.0], [9.0, 0.0]])  # the front has moved
    assert (state.origin.tolist(), state.unit.tolist()) == ([1.0, 2.0], [2.0, 5.0])
    assert heard(state)[3:] == pytest.approx([1.0, -0.4])  # of f2 alone


def test_of_equals_in_one_objective_the_better_in_the_other_is_the_end_of_the_front():
    strategy, state = listening()
    F = np.array([[0.0, 9.0], [0.0, 7.0], [0.0, 8.0], [6.0, 0.0], [4.0, 0.0], [5.0, 0.0]])
    for order in (F, F[::-1], F[[1, 0, 2, 4, 3, 5]]):
        state = strategy.measured(strategy.informed(listening()[1], order))
        assert (state.origin.tolist(), state.unit.tolist()) == ([0.0, 0.0], [4.0, 7.0])


@pytest.mark.parametrize(
    ("F", "origin", "unit"),
    [
        (np.empty((0, 2)), [0.0, 0.0], [1.0, 1.0]),
        ([[np.nan, 1.0], [np.inf, 0.0], [0.0, np.nan], [0.0, -np.inf]], [0.0, 0.0], [1.0, 1.0]),
        ([[3.0, 4.0]], [3.0, 4.0], [1.0, 1.0]),
        ([[-1.7e308, 1.0], [1.7e308, 0.0]], [-1.7e308, 0.0], [1.0, 1.0]),
    ],
)
def test_where_the_front_has_no_width_its_unit_is_one(F, origin, unit):
    strategy, state = listening()
    state = strategy.measured(strategy.informed(state, np.array(F, dtype=float)))
    assert (state.origin.tolist(), state.unit.tolist()) == (origin, unit)


def test_a_failed_row_and_one_beyond_all_numbers_have_failed():
    strategy, state = listening()
    state = answered(strategy, state, [[np.nan, np.nan], [1.7e308, 1.7e308]])
    state = answered(strategy, state._replace(unit=np.array([1e-9, 1.0])), [[1.7e308, 1.0]])
    assert math.isnan(heard(state)[0])
    assert heard(state)[2] == math.inf


def test_injected_rows_say_where_the_front_is_and_nothing_to_the_run():
    strategy, state = listening()
    rows, state = strategy.ask(state, 2)
    mixed = Population(
        np.array([0, INJECTED, 1]), np.array([0, INJECTED, 0]), np.concatenate([rows.X, [[9, 9]]])
    )
    told = Values(np.array([[1.0, 1.0], [0.0, 8.0], [3.0, 3.0]]))
    state = strategy.tell(state, mixed, told)
    assert state.inner.told == ((0, 1.0), (1, 3.0))
    assert state.least1.tolist() == [0.0, 8.0]
    nobody = np.full(1, INJECTED)
    before = state.inner
    state = strategy.tell(
        state, Population(nobody, nobody, np.ones((1, 2))), Values(told.F[:1] - 9)
    )
    assert state.inner is before
    assert state.least1.tolist() == [-8.0, -8.0]


def test_the_runs_find_the_compromise_of_their_weight():
    """Both alike: the middle of the segment; f2 alone, f1 alone: its ends."""
    strategy = Scalarised(Restarts(CMAES.default(2), lambda k: CMAES.default(2, popsize=k), "ipop"))
    state, fun = strategy.init(np.full(2, 3.0), 1.0, SEED), fronts.double(np.eye(2))
    last = {}
    for _ in range(600):
        run = state.run
        rows, _, state = driving.generation(strategy, state, fun)
        last[run] = rows.X[0]
        if state.run == 3:
            break
    for run, t in enumerate((0.5, 1.0, 0.0)):
        np.testing.assert_allclose(last[run], np.full(2, t), atol=1e-3)

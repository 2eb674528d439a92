"""IPOP and BIPOP: the schedule beside its simulation, fresh starts, and resumption in any run."""

import dataclasses

import numpy as np
import pytest
from reference import bipop_literal, driving

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.compose.restarts import MOST_DOUBLINGS, Restarts
from evoopt.strategies.maes import MAES
from evoopt.strategies.stopping import Tolerances

SEED = 11


@dataclasses.dataclass(frozen=True)
class Scripted:
    """CMA-ES whose runs end after a given number of generations, run by run."""

    inner: CMAES
    lengths: tuple[int, ...]

    @property
    def name(self):
        return "scripted"

    @property
    def dim(self):
        return self.inner.dim

    @property
    def popsize(self):
        return self.inner.popsize

    @property
    def claims(self):
        return self.inner.claims

    def __getattr__(self, attribute):  # all else as the strategy inside
        return getattr(object.__getattribute__(self, "inner"), attribute)

    def stop(self, state):
        g = state.distribution.generation
        run = state.path[-1]
        most = self.lengths[run] if run < len(self.lengths) else self.lengths[-1]
        return StopReason("scripted", g, most, "as told") if g >= most else None


def scripted(policy, lengths, dim=2, popsize=None):
    def build(lam):
        return Scripted(CMAES.default(dim, popsize=lam, tolerances=Tolerances.off()), lengths)

    return Restarts(build(popsize), build, policy)


def bowl(x):
    return float((x**2).sum())


def runs_of(strategy, state, evaluations):
    """States at the start of each run, and evaluations of each finished run."""
    starts, spent, told = [state], [], 0
    while told < evaluations:
        k = strategy.batch(state)
        population, state = strategy.ask(state, k)
        F = np.array([bowl(x) for x in population.X])
        before = state
        state = strategy.tell(state, population, Values(F))
        told += k
        if state.run != before.run:
            spent.append(before.told + k)
            starts.append(state)
    return starts, spent


def test_ipop_doubles_the_population_at_each_restart():
    strategy = scripted("ipop", (3, 2, 5, 1, 2, 999))
    starts, spent = runs_of(strategy, strategy.init(np.ones(2), 0.5, SEED), 500)
    popsizes = [s.popsize for s in starts]
    assert popsizes == bipop_literal.ipop(6, len(starts)) == [6, 12, 24, 48, 96, 192]
    assert spent == [3 * 6, 2 * 12, 5 * 24, 48, 2 * 96]
    assert all(s.limit == 0 and s.inner.sigma0 == 0.5 for s in starts)


LENGTHS = {
    "long first run": (60, 3, 2, 2, 2, 50, 1, 1, 40, 2),
    "short first run": (2, 8, 1, 1, 9, 30, 1, 1, 1, 1, 5, 1, 1, 1, 5, 5, 5, 5, 1),
    "small runs meet their limit": (2, 20, 40, 40, 20, 40),
}


@pytest.mark.parametrize("script", LENGTHS)
def test_bipop_follows_the_simulation_of_its_two_budgets(script):
    strategy = scripted("bipop", LENGTHS[script])
    starts, spent = runs_of(strategy, strategy.init(np.ones(2), 0.5, SEED, path=(4,)), 6000)
    draws = [rng.uniforms(SEED, (4, run), 0, 1, 4)[0, :2] for run in range(1, len(starts))]
    schedule = bipop_literal.bipop(6, spent, draws)
    assert len(schedule) == len(starts) - 1 >= 6
    assert {run.regime for run in schedule} == {"small", "large"}
    met = 0
    for state, expected in zip(starts[1:], schedule, strict=True):
        assert ("small" if state.small else "large") == expected.regime
        assert state.popsize == expected.popsize
        assert state.inner.distribution.sigma == pytest.approx(0.5 * expected.sigma_factor)
        assert (state.limit or np.inf) == pytest.approx(expected.most, abs=0.5)
    for state, evaluations in zip(starts, spent, strict=False):
        assert not state.limit or evaluations <= state.limit
        met += evaluations == state.limit
    assert met > 1 or "limit" not in script


def test_small_populations_and_steps_are_drawn_over_their_whole_range():
    """2000 small runs of a search whose population doubled four times: lam = floor(6 * 8^(u^2))."""
    strategy = scripted("bipop", (1,) * 9999)
    state = strategy.init(np.ones(2), 1.0, SEED)
    popsizes, sigmas = [], []
    for run in range(2000):
        due = state._replace(
            run=run, doublings=4, small=False, told=6, small_budget=0, large_budget=100
        )
        population, due = strategy.ask(due._replace(inner=state.inner), 6)
        after = strategy.tell(due, population, Values(np.arange(6.0)))
        assert after.run == run + 1
        assert after.small
        popsizes.append(after.popsize)
        sigmas.append(np.log10(after.inner.sigma0))
    assert min(popsizes) == 6
    assert 45 <= max(popsizes) <= 48
    # P(lam < 2 * 6) = P(u^2 < 1/3) = 0.577, standard error 0.011
    assert 0.52 < np.mean(np.array(popsizes) < 12) < 0.63
    assert -2 <= min(sigmas) < -1.95
    assert -0.05 < max(sigmas) <= 0
    assert np.mean(sigmas) == pytest.approx(-1, abs=0.07)  # standard error 0.013
    assert abs(np.corrcoef(popsizes, sigmas)[0, 1]) < 0.12  # two draws, not one


def test_the_first_run_is_that_of_the_strategy_alone_but_for_its_stream():
    first = CMAES.default(3)
    strategy = Restarts(first, lambda lam: CMAES.default(3, popsize=lam), "bipop")
    alone = first.init(np.ones(3), 0.5, SEED, (0,))
    state = strategy.init(np.ones(3), 0.5, SEED)
    for _ in range(20):
        a, _, alone = driving.generation(first, alone, bowl)
        b, _, state = driving.generation(strategy, state, bowl)
        np.testing.assert_array_equal(a.X, b.X)
    assert driving.fingerprint(state.inner) == driving.fingerprint(alone)


def test_ids_run_on_over_restarts_and_no_two_runs_share_points():
    strategy = scripted("ipop", (2, 2, 2, 99))
    state = strategy.init(np.ones(2), 0.5, SEED)
    ids, points = [], []
    while state.run < 3:
        population, state = strategy.ask(state, strategy.batch(state))
        ids += population.id.tolist()
        points += [x.tobytes() for x in population.X]
        state = strategy.tell(state, population, Values(np.array([bowl(x) for x in population.X])))
    assert ids == list(range(len(ids)))
    assert len(set(points)) == len(points)


def starts_of(strategy, count):
    state = strategy.init(np.full(3, 2.0), 0.5, SEED)
    means = []
    while state.run < count:
        run = state.run
        _, _, state = driving.generation(strategy, state, bowl)
        if state.run != run:
            means.append(strategy.portrait(state).mean)
    return np.array(means)


def test_each_restart_begins_at_a_new_point_of_the_start_box():
    strategy = dataclasses.replace(
        scripted("bipop", (1,) * 99, dim=3, popsize=2),
        start_lower=np.array([-1.0, 0.0, 10.0]),
        start_upper=np.array([1.0, 1.0, 14.0]),
    )
    means = starts_of(strategy, 7)
    assert len(np.unique(means, axis=0)) == 7
    unit = (means - strategy.start_lower) / (strategy.start_upper - strategy.start_lower)
    assert (unit >= 0).all()
    assert (unit <= 1).all()
    assert (np.ptp(unit, axis=0) > 0.4).all()


def test_without_a_start_box_restarts_begin_at_normal_draws_around_x0():
    means = starts_of(scripted("bipop", (1,) * 99, dim=3, popsize=2), 7)
    assert len(np.unique(means, axis=0)) == 7
    z = (means - 2.0) / 0.5
    assert 0.5 < z.std() < 1.6
    assert np.abs(z).max() < 4


def test_runs_that_converged_restart_and_are_counted_by_what_ended_them():
    strategy = Restarts(MAES.default(2), lambda lam: MAES.default(2, popsize=lam), "ipop")
    state = strategy.init(np.ones(2), 0.5, SEED)
    generations = 0
    while state.run < 2:
        assert strategy.stop(state) is None
        _, _, state = driving.generation(strategy, state, bowl)
        generations += 1  # a batch is an update
    assert state.converged == sum(state.stops.values()) == 2
    p = strategy.portrait(state)
    assert p.restarts == 2
    assert p.generation == generations
    assert (p.axes == 1).all()


def test_wholly_failed_generations_end_the_search_instead_of_restarting_it():
    strategy = Restarts(CMAES.default(2), lambda lam: CMAES.default(2, popsize=lam), "bipop")
    state = strategy.init(np.ones(2), 0.5, SEED)
    for _ in range(20):
        _, _, state = driving.generation(strategy, state, lambda x: np.nan)
    assert state.run == 0
    assert strategy.stop(state).criterion == "allfailed"


def test_the_search_ends_when_the_population_has_doubled_often_enough():
    strategy = scripted("ipop", (1,) * 99, dim=1, popsize=2)
    state = strategy.init(np.ones(1), 0.5, SEED)
    popsizes = []
    while strategy.stop(state) is None:
        popsizes.append(state.popsize)
        k = strategy.batch(state)
        population, state = strategy.ask(state, k)
        state = strategy.tell(state, population, Values(np.arange(float(k))))
    assert popsizes == [2 * 2**d for d in range(MOST_DOUBLINGS + 1)]
    reason = strategy.stop(state)
    assert (reason.criterion, reason.value) == ("maxrestarts", MOST_DOUBLINGS)


def test_rows_of_a_finished_run_that_arrive_late_change_nothing():
    strategy = scripted("ipop", (1, 99))
    state = strategy.init(np.ones(2), 0.5, SEED)
    late, state = strategy.ask(state, 4)
    _, _, state = driving.generation(strategy, state, bowl)
    assert state.run == 1
    after = strategy.tell(state, late, Values(np.zeros(4)))
    assert driving.fingerprint(after) == driving.fingerprint(state)
    fresh, state = strategy.ask(state, 12)
    assert fresh.id[0] == 10  # 4 and 6 were asked before: no id is given twice
    mixed = Population(
        np.concatenate([late.id, fresh.id]),
        np.concatenate([late.epoch, fresh.epoch]),
        np.concatenate([late.X, fresh.X]),
        inner=Population(
            *(
                np.concatenate([getattr(late.inner, f), getattr(fresh.inner, f)])
                for f in ("id", "epoch", "X", "Z", "Y")
            )
        ),
    )
    F = np.array([bowl(x) for x in mixed.X])
    told = strategy.tell(state, mixed, Values(F))
    only = strategy.tell(state, fresh, Values(F[4:]))
    assert driving.fingerprint(told) == driving.fingerprint(only)


@pytest.mark.parametrize("run", [0, 1, 2])
def test_injected_rows_are_learnt_from_in_every_run(run):
    strategy = scripted("ipop", (2, 2, 99))
    state = strategy.init(np.ones(2), 0.5, SEED)
    while state.run < run:
        population, state = strategy.ask(state, strategy.batch(state))
        state = strategy.tell(state, population, Values(np.array([bowl(x) for x in population.X])))
    k = strategy.batch(state)
    before = strategy.portrait(state)
    place = before.mean + 0.1 * np.eye(2)[0]
    X = np.tile(place, (k, 1))
    ids = np.full(k, INJECTED)
    told = strategy.tell(state, Population(ids, ids, X), Values(np.arange(float(k))))
    after = strategy.portrait(told)
    assert after.generation == before.generation + 1
    np.testing.assert_allclose(after.mean, place, rtol=1e-12)
    assert told.run == run


def test_a_state_restored_from_disk_continues_bit_identically_in_any_run():
    """Restored after every single tell, over large and small runs, within generations too."""
    strategy = scripted("bipop", (4, 3, 2, 9, 9, 2, 3, 4, 9, 9))
    state = strategy.init(np.ones(2), 0.5, SEED)
    regimes = set()
    for step in range(150):
        back = driving.restored(state)
        assert driving.fingerprint(back) == driving.fingerprint(state)
        k = max(1, strategy.batch(state) - step % 3)
        told = []
        for s in (state, back):
            population, s = strategy.ask(s, k)
            F = np.array([bowl(x) for x in population.X])
            told.append(strategy.tell(s, population, Values(F)))
        assert driving.fingerprint(told[0]) == driving.fingerprint(told[1])
        state = told[1]
        regimes.add((state.small, state.run > 0))
    assert regimes == {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("method", [CMAES, MAES])
def test_bipop_solves_what_one_run_does_not(method):
    """Rastrigin's function in two variables, 3 seeds; one run alone misses some of them."""

    def rastrigin(x):
        return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())

    first = method.default(2)
    strategy = Restarts(
        first,
        lambda lam: method.default(2, popsize=lam),
        "bipop",
        np.full(2, -5.0),
        np.full(2, 5.0),
    )

    def solved(search, seed):
        state = search.init(np.full(2, 3.3), 0.5, seed)
        return driving.evaluations_to(search, state, rastrigin, 1e-6, 20_000) < np.inf

    assert all(solved(strategy, seed) for seed in range(3))
    assert not all(solved(first, seed) for seed in range(3))

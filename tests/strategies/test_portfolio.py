"""A local search, then restarts: what is handed over, and that nothing else differs."""

import numpy as np
import pytest
from reference import driving, objectives

import evoopt
from evoopt.result import Values
from evoopt.strategies import strategy_class
from evoopt.strategies.compose.bounds import Bounded
from evoopt.strategies.compose.portfolio import Portfolio
from evoopt.strategies.compose.restarts import Restarts
from evoopt.strategies.quadratic import Quadratic
from evoopt.strategies.valley import Valley, distribution

CMAES = strategy_class("cma-es")


def rastrigin(x):
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


def portfolio(dim, limit=None, box=None):
    first = Quadratic.default(dim)
    second = CMAES.default(dim)
    if box is not None:
        low, high = np.full(dim, box[0]), np.full(dim, box[1])
        first, second = Bounded.around(first, low, high), Bounded.around(second, low, high)
    restarts = Restarts(second, lambda popsize: second, "bipop")
    return Portfolio(first, restarts, 100 * dim if limit is None else limit)


def run_until_changed(strategy, fun, x0=1.5):
    state = strategy.init(np.full(strategy.dim, x0), 1.0, 7)
    while state.second is None:
        _, _, state = driving.generation(strategy, state, fun)
    return state


def test_the_covariance_handed_over_is_the_inverse_curvature_of_determinant_one():
    H = np.diag([1.0, 4.0, 100.0])
    shape, sigma = distribution(Valley(H, 0.5, 1.0), 10.0)
    np.testing.assert_allclose(shape * np.linalg.det(H) ** (-1 / 3), np.linalg.inv(H), rtol=1e-12)
    assert np.linalg.det(shape) == pytest.approx(1.0)
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(3), sigma**2 * shape, 100_000)
    change = 0.5 * np.einsum("ij,jk,ik->i", draws, H, draws)
    assert change.mean() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    "H",
    [
        np.zeros((2, 2)),
        np.diag([-1.0, 2.0]),
        np.diag([1.0, 1e-300]),
        np.diag([1e-310, 2e-310]),
        np.diag([1e307, 2e307]),
    ],
)
def test_any_curvature_makes_a_proper_distribution(H):
    shape, sigma = distribution(Valley(H, 1e-3, 1.0), 2.0)
    assert (np.linalg.eigvalsh(shape) > 0).all()
    assert 0 < sigma <= 2.0


def test_a_settled_model_hands_over_its_place_and_the_full_step_size():
    state = run_until_changed(portfolio(4), rastrigin)
    inner = state.second.inner.distribution
    np.testing.assert_array_equal(inner.mean, state.best_x)
    np.testing.assert_array_equal(inner.C, np.eye(4))
    assert inner.sigma == 1.0
    assert "tolradius" in state.story[0]
    assert state.converged  # so that a search that only runs out of budget is a success


@pytest.mark.parametrize("box", [None, (-5.0, 5.0)])
def test_a_model_still_at_work_hands_over_its_curvature(box):
    strategy = portfolio(4, limit=16, box=box)
    state = run_until_changed(strategy, objectives.ellipsoid)
    inner = state.second.inner if box is None else state.second.inner.inner
    D = inner.distribution.D
    assert D[-1] / D[0] > 10  # the ellipsoid has a condition of 1e6, axes of 1e3
    assert inner.distribution.sigma < 1.0
    assert state.second.sigma0 == 1.0  # later starts are as wide as ever
    assert "curvature" in state.story[1]


def test_candidates_are_numbered_on_and_the_limit_is_kept():
    strategy = portfolio(3, limit=20)
    state, ids = strategy.init(np.ones(3), 1.0, 7), []
    for _ in range(30):
        rows, _, state = driving.generation(strategy, state, objectives.ellipsoid)
        ids += rows.id.tolist()
    assert ids == list(range(len(ids)))
    assert state.told == 20


def test_a_row_of_the_model_that_comes_late_is_injected():
    strategy = portfolio(3, limit=10)
    state = strategy.init(np.ones(3), 1.0, 7)
    first, state = strategy.ask(state, 1)
    state = strategy.tell(state, first, Values(np.array([3.0])))
    late, asked = strategy.ask(state, 3)
    early = late.take(np.arange(2))
    told = strategy.tell(asked, early, Values(np.array([2.0, 2.5])))
    told = told._replace(told=10)
    told = strategy._changed(told, evoopt.result.StopReason("maxevals", 10, 10, "", "", False))
    after = strategy.tell(told, late.take(np.array([2])), Values(np.array([1.0])))
    assert len(after.second.inner.waiting.F) == 1


def test_a_state_restored_from_disk_continues_bit_identically():
    strategy = portfolio(3, limit=30, box=(-5.0, 5.0))
    state = restored = strategy.init(np.ones(3), 1.0, 7)
    for _ in range(40):
        restored = driving.restored(restored)
        _, _, state = driving.generation(strategy, state, objectives.rosenbrock)
        _, _, restored = driving.generation(strategy, restored, objectives.rosenbrock)
        assert driving.fingerprint(restored) == driving.fingerprint(state)


def test_a_local_search_that_fails_everywhere_leaves_the_strategy_to_its_own_start():
    state = run_until_changed(portfolio(3), lambda x: np.nan, x0=2.0)
    np.testing.assert_array_equal(state.second.x0, np.full(3, 2.0))
    assert state.best_f == np.inf


def test_auto_solves_what_a_valley_and_what_restarts_are_for_and_says_how():
    valley = evoopt.minimize(
        objectives.rosenbrock, bounds=([-5] * 5, [5] * 5), seed=1, target=1e-8, budget=2000
    )
    assert valley.success
    assert valley.evaluations < 600
    assert any(note.startswith("quadratic: ") for note in valley.notes)
    rugged = evoopt.minimize(
        rastrigin, bounds=([-5] * 3, [6] * 3), seed=1, target=1e-8, budget=20_000
    )
    assert rugged.success
    assert any(note.startswith("then cma-es") for note in rugged.notes)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"popsize": 20}, "a popsize was given"),
        ({"asynchronous": True, "workers": 2}, "it would leave workers idle"),
        ({"warm_start": (np.eye(3), np.arange(3.0))}, "earlier evaluations"),
    ],
)
def test_auto_says_why_it_leaves_the_model_out(words, why):
    words = {"seed": 1, "budget": 100, "bounds": ([-5] * 3, [5] * 3)} | words
    result = evoopt.minimize(objectives.sphere, **words)
    assert any(why in note for note in result.notes)
    assert "quadratic" not in result.algorithm

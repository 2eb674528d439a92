"""Where restarted runs begin, as a user meets it."""

import numpy as np

import evoopt
from evoopt.plan import build, resolve
from evoopt.problem import FunctionProblem
from evoopt.result import Values
from evoopt.settings import Settings

INF = np.inf


def flat(x: np.ndarray) -> float:
    return 0.0


def test_restarts_under_a_one_sided_bound_stay_inside_and_finite() -> None:
    seen = []

    def f(x: np.ndarray) -> float:
        seen.append(x.copy())
        return 0.0  # flat: each run ends after two generations

    evoopt.minimize(f, [0.1, 0.1], bounds=([0, 0], [INF, INF]), sigma0=3.0, seed=1, budget=600)
    points = np.array(seen)
    assert len(points) == 600
    assert np.isfinite(points).all()
    assert (points >= 0).all()


def test_restarts_begin_at_the_scale_of_each_variable() -> None:
    problem = FunctionProblem(flat, 2, np.full(2, -INF), np.full(2, INF))
    plan = resolve(
        problem,
        Settings("cma-es", x0=[0, 0], sigma0=[1e-6, 1e6], seed=1, restarts="ipop", budget=10**6),
    )
    strategy = build(plan)
    state = strategy.init(plan.x0, plan.sigma0, plan.seed)
    starts = []
    while len(starts) < 8:
        run = strategy.portrait(state).restarts
        rows, state = strategy.ask(state, strategy.batch(state))
        state = strategy.tell(state, rows, Values(np.zeros(len(rows))))
        if strategy.portrait(state).restarts > run:
            starts.append(strategy.portrait(state).mean)
    spread = np.abs(np.array(starts)).max(axis=0)
    assert 1e-7 < spread[0] < 1e-5
    assert 1e5 < spread[1] < 1e7


def test_a_search_by_id_that_always_keeps_points_open_learns() -> None:
    es = evoopt.AskTell("cma-es", [3.0, 3.0], 1.0, seed=1)
    open_points = es.ask_ids(8)
    for _ in range(600):
        i, x = open_points.pop(0)
        open_points += es.ask_ids(1)  # before the value is told: something is always open
        es.tell(i, float(x @ x))
    assert es.result.generations > 50
    assert es.result.f < 1e-3

"""Objectives that fail in places, and what a search makes of them."""

import threading
from pathlib import Path

import numpy as np
import pytest

import evoopt
from evoopt.api import Settings, solve
from evoopt.problem import FunctionProblem
from evoopt.result import Values


def half_rastrigin(x: np.ndarray) -> float:
    """Undefined on half of the box; its optimum is on the other half."""
    if x[0] > 0:
        return float("nan")
    y = x + 2
    return float(10 * len(y) + (y**2 - 10 * np.cos(2 * np.pi * y)).sum())


@pytest.mark.parametrize("seed", range(4))
def test_bad_starts_of_restarts_do_not_end_a_search_that_finds_values(seed: int) -> None:
    result = evoopt.minimize(
        half_rastrigin, [-1.5, -1.0], bounds=(-5, 5), sigma0=0.3, seed=seed, budget=6000
    )
    assert result.reason.criterion == "maxfevals"
    assert result.evaluations == 6000


@pytest.mark.parametrize("seed", range(4))
def test_a_constant_that_fails_in_places_is_no_success(seed: int) -> None:
    def constant(x: np.ndarray) -> float:
        return float("nan") if x.sum() > -0.3 else 1.0

    result = evoopt.minimize(
        constant, [0.0, 0.0], sigma0=1.0, seed=seed, algorithm="cma-es", budget=5000
    )
    assert result.reason.criterion == "tolflatfitness"
    assert not result.success


def test_a_point_told_twice_is_refused_where_rows_are_told_one_by_one() -> None:
    es = evoopt.AskTell("cma-es", [3.0] * 10, 1.0, seed=1, popsize=20)
    X = es.ask()
    for x in X:
        es.tell(x, float(x @ x))
    best = es.result.f
    with pytest.raises(evoopt.ConfigurationError, match="once"):
        es.tell(X[0], 0.0)
    assert es.result.f == best


def test_a_refused_objective_leaves_no_run_directory(tmp_path: Path) -> None:
    lock = threading.Lock()

    def unsendable(x: np.ndarray) -> float:
        with lock:
            return float(x @ x)

    with pytest.raises(evoopt.ConfigurationError):
        evoopt.minimize(
            unsendable, [1.0, 1.0], sigma0=1.0, budget=50, workers=2, run_dir=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_rows_that_an_end_of_time_cut_off_reach_the_observers() -> None:
    class Seen:
        wants_replay = False
        rows = 0

        def started(self, search: object) -> None: ...

        def told(self, search: object, ids: np.ndarray, X: np.ndarray, values: Values) -> None:
            self.rows += len(ids)

        def finished(self, result: object) -> None: ...

    def slow(x: np.ndarray) -> float:
        threading.Event().wait(0.005)
        return float(x @ x)

    seen = Seen()
    problem = FunctionProblem(slow, 2, np.full(2, -5.0), np.full(2, 5.0))
    settings = Settings(seed=1, time_limit=0.15, popsize=20)
    result = solve(problem, settings, observers=(seen,))
    assert result.evaluations == seen.rows > 0

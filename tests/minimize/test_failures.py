"""Failed evaluations, and what the result says."""

import time
import warnings
from typing import Any

import numpy as np
import pytest
from spheres import BOX, Counting, assert_same, failing, rastrigin, sphere

import evoopt
from evoopt.api import solve
from evoopt.settings import Settings


def test_the_result_says_what_the_first_failure_was() -> None:
    r = evoopt.minimize(failing, [2.0] * 4, sigma0=0.01, seed=1)
    assert r.x is None
    assert np.isnan(r.f)
    assert r.reason.criterion == "allfailed"
    assert not r.success
    assert "ValueError: too far" in str(r)


def test_a_failed_evaluation_counts_and_ranks_last() -> None:
    r = evoopt.minimize(failing, bounds=BOX, budget=500, seed=1)
    assert r.f < 1e-3
    assert r.evaluations == 500
    assert r.failures["raised"] > 0
    assert r.failures["nan"] > 0


def test_an_error_carries_what_was_found_before_it() -> None:
    f = Counting(lambda x: None if len(f.seen) == 50 else sphere(x))
    with pytest.raises(evoopt.ObjectiveError, match=r"one real number.*got None at x = ") as raised:
        evoopt.minimize(f, bounds=BOX, seed=1)
    result = raised.value.result
    assert result is not None
    assert result.evaluations == len(f.seen) - 1
    assert result.f == min(sphere(x) for i, x in enumerate(f.seen) if i != 49)


def test_an_evaluation_that_hangs_costs_its_time_and_no_more() -> None:
    words: dict[str, Any] = {"bounds": BOX, "algorithm": "random", "budget": 20, "seed": 1}
    f = Counting()
    smooth = evoopt.minimize(f, **words)
    there = f.seen[7][0]

    def sleepy(x: np.ndarray) -> float:
        if x[0] == there:
            time.sleep(60)
        return sphere(x)

    r = evoopt.minimize(sleepy, eval_timeout=0.5, **words)
    assert r.evaluations == 20
    assert dict(r.failures) == {"timeout": 1}
    assert "did not end within 0.5 s" in str(r)
    assert r.f == smooth.f


def test_the_history_ends_with_the_result_and_never_rises() -> None:
    r = evoopt.minimize(rastrigin, bounds=BOX, budget=2000, seed=1)
    assert r.history.evaluations[-1] == r.evaluations
    assert r.history.f[-1] == r.f
    assert (np.diff(r.history.f) <= 0).all()
    assert (np.diff(r.history.evaluations) > 0).all()
    assert len(r.history) == len(r.history.sigma) == len(r.history.axes)


def test_no_warning_is_left(recwarn: pytest.WarningsRecorder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fun in (sphere, rastrigin, lambda x: 1e300 * sphere(x), lambda x: 0.0, failing):
            evoopt.minimize(fun, bounds=BOX, budget=600, seed=1)
    assert not recwarn.list


def test_solve_is_minimize_for_a_problem() -> None:
    problem = evoopt.FunctionProblem(sphere, 4, *BOX)
    assert_same(
        solve(problem, Settings(budget=100, seed=1)),
        evoopt.minimize(sphere, bounds=BOX, budget=100, seed=1),
    )

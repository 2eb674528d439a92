"""When `minimize` ends: budget, target, callback, time, failures."""

import numpy as np
import pytest
from spheres import BOX, CASES, Counting, assert_same, rastrigin, sphere

import evoopt
from evoopt.api import Intermediate
from evoopt.plan import resolve
from evoopt.settings import Settings


@pytest.mark.parametrize(("algorithm", "popsize"), CASES)
@pytest.mark.parametrize("budget", [1, 2, 7, 8, 9, 101])
def test_the_budget_is_spent_and_never_exceeded(
    algorithm: str, budget: int, popsize: int | None
) -> None:
    f = Counting(rastrigin)
    r = evoopt.minimize(f, bounds=BOX, budget=budget, popsize=popsize, algorithm=algorithm, seed=1)
    assert r.evaluations == len(f.seen)
    if not r.reason.converged:  # as a local search may have, before the budget is spent
        assert r.evaluations == budget
        assert r.reason.criterion == "maxfevals"
    assert r.f == min(map(rastrigin, f.seen))
    assert r.x is not None
    assert rastrigin(r.x) == r.f


@pytest.mark.parametrize("restarts", ["ipop", "bipop"])
def test_the_budget_holds_across_restarts(restarts: str) -> None:
    f = Counting(rastrigin)
    r = evoopt.minimize(f, bounds=BOX, budget=3001, restarts=restarts, algorithm="cma-es", seed=1)
    assert r.evaluations == len(f.seen) == 3001
    assert r.restarts >= 1


@pytest.mark.parametrize(
    ("text", "count"),
    [("10*D", 40), ("10D", 40), ("1e2", 100), ("0.5D", 2), ("37", 37), (1e2, 100)],
)
def test_a_budget_may_be_text_that_counts_in_dimensions(text: str, count: int) -> None:
    assert evoopt.minimize(sphere, bounds=BOX, budget=text, seed=1).evaluations == count


def test_without_budget_a_run_has_ten_thousand_evaluations_per_variable() -> None:
    problem = evoopt.FunctionProblem(sphere, 4, *BOX)
    assert resolve(problem, Settings()).budget == 40_000
    assert resolve(problem, Settings(time_limit=1.0)).budget == np.inf


@pytest.mark.parametrize("algorithm", ["auto", "cma-es", "ma-es"])
def test_the_target_stops_the_run_with_the_generation_that_reaches_it(algorithm: str) -> None:
    f = Counting()
    r = evoopt.minimize(f, [3.0] * 4, sigma0=1.0, target=1e-6, algorithm=algorithm, seed=1)
    assert r.f <= 1e-6
    assert r.reason.criterion == "ftarget"
    assert (r.reason.value, r.reason.threshold) == (r.f, 1e-6)
    assert r.success
    reached = next(i for i, x in enumerate(f.seen) if sphere(x) <= 1e-6)
    assert len(f.seen) - reached <= 8  # popsize


def test_a_missed_target_is_no_success_even_if_the_run_converged() -> None:
    r = evoopt.minimize(sphere, [3.0] * 4, target=-1.0, algorithm="cma-es", seed=1)
    assert r.reason.converged
    assert not r.success


def test_without_target_convergence_is_success_and_a_spent_budget_is_none() -> None:
    assert evoopt.minimize(sphere, [3.0] * 4, algorithm="cma-es", seed=1).success
    assert not evoopt.minimize(sphere, [3.0] * 4, algorithm="cma-es", seed=1, budget=50).success


def test_an_objective_without_differences_is_no_success() -> None:
    r = evoopt.minimize(lambda x: 7.0, [3.0] * 4, algorithm="cma-es", seed=1)
    assert r.f == 7.0
    assert r.reason.criterion == "tolflatfitness"
    assert not r.success


@pytest.mark.parametrize("way", ["true", "stop iteration"])
def test_the_callback_sees_each_generation_and_may_stop(way: str) -> None:
    seen: list[Intermediate] = []

    def callback(now: Intermediate) -> bool:
        seen.append(now)
        if len(seen) == 5 and way == "stop iteration":
            raise StopIteration
        return len(seen) == 5

    r = evoopt.minimize(sphere, bounds=BOX, popsize=10, seed=1, callback=callback)
    assert r.reason.criterion == "callback"
    assert not r.success
    assert [now.evaluations for now in seen] == [10, 20, 30, 40, 50]
    assert [now.generations for now in seen] == [1, 2, 3, 4, 5]
    assert [now.f for now in seen] == r.history.f.tolist()
    assert seen[-1].x is not None
    assert sphere(seen[-1].x) == seen[-1].f


def test_what_a_callback_writes_into_its_argument_changes_nothing() -> None:
    def callback(now: Intermediate) -> None:
        assert now.x is not None
        now.x[:] = now.mean[:] = np.nan

    assert_same(
        evoopt.minimize(sphere, bounds=BOX, budget=200, seed=1, callback=callback),
        evoopt.minimize(sphere, bounds=BOX, budget=200, seed=1),
    )


def test_an_exception_of_the_callback_is_the_callers() -> None:
    def callback(now: Intermediate) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        evoopt.minimize(sphere, bounds=BOX, budget=200, seed=1, callback=callback)


def test_a_time_limit_ends_the_run() -> None:
    r = evoopt.minimize(rastrigin, bounds=BOX, time_limit=0.05, seed=1)
    assert r.reason.criterion == "timeout"
    assert r.evaluations > 0


@pytest.mark.parametrize("most", [0, 3, 10])
def test_more_failures_than_tolerated_end_the_run(most: int) -> None:
    f = Counting(lambda x: np.nan if x[0] > 0 else sphere(x))
    r = evoopt.minimize(f, bounds=BOX, max_failures=most, popsize=4, seed=1)
    assert r.reason.criterion == "maxfailures"
    assert most < r.failures["nan"] <= most + 4
    assert r.evaluations == len(f.seen)

"""`evoopt.minimize`: what each argument means, and what the result says."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.api import Intermediate, Settings, solve
from evoopt.plan import resolve

BOX = ([-5.0] * 4, [5.0] * 4)
ALGORITHMS = ("auto", "cma-es", "ma-es", "random")


def sphere(x: np.ndarray) -> float:
    return float(((x - 0.5) ** 2).sum())


def spheres(X: np.ndarray) -> np.ndarray:
    return np.array([sphere(x) for x in X])


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


class Counting:
    """An objective that counts its calls and keeps their points."""

    def __init__(self, fun: Any = sphere) -> None:
        self.fun, self.seen = fun, list[np.ndarray]()
        self.__name__ = "counting"

    def __call__(self, x: np.ndarray) -> Any:
        self.seen.append(x.copy())
        return self.fun(x)


def assert_same(a: evoopt.Result, b: evoopt.Result) -> None:
    """Two results agree in every bit."""
    assert a.x is not None
    assert b.x is not None
    assert a.x.tobytes() == b.x.tobytes()
    assert (a.f, a.evaluations, a.generations, a.sigma) == (
        b.f,
        b.evaluations,
        b.generations,
        b.sigma,
    )
    assert a.history.f.tobytes() == b.history.f.tobytes()
    assert a.history.axes.tobytes() == b.history.axes.tobytes()
    assert a.mean.tobytes() == b.mean.tobytes()
    assert a.failures == b.failures


# the budget and other ends


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("budget", [1, 2, 7, 8, 9, 100, 101])
@pytest.mark.parametrize("popsize", [None, 2, 13])
def test_the_budget_is_spent_and_never_exceeded(
    algorithm: str, budget: int, popsize: int | None
) -> None:
    f = Counting(rastrigin)
    r = evoopt.minimize(f, bounds=BOX, budget=budget, popsize=popsize, algorithm=algorithm, seed=1)
    assert r.evaluations == len(f.seen) == budget
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


# the sign


@pytest.mark.parametrize("isolate", [False, True])
def test_maximizing_is_minimizing_the_negative_with_all_signs_turned(isolate: bool) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 300, "seed": 1}
    low = evoopt.minimize(sphere, **words)
    high = evoopt.minimize(lambda x: -sphere(x), maximize=True, isolate=isolate, **words)
    assert low.x is not None
    assert high.x is not None
    assert high.x.tobytes() == low.x.tobytes()
    assert high.f == -low.f
    assert (high.history.f == -low.history.f).all()


def test_a_target_and_a_callback_of_a_maximization_are_in_the_users_sign(tmp_path: Path) -> None:
    seen: list[float] = []

    def run(folder: Path | None) -> evoopt.Result:
        return evoopt.minimize(
            lambda x: 3 - sphere(x),
            bounds=BOX,
            maximize=True,
            target=2.9,
            seed=1,
            callback=lambda now: seen.append(now.f),
            run_dir=folder,
        )

    r = run(None)
    assert r.reason.criterion == "ftarget"
    assert r.success
    assert r.f >= 2.9
    assert (r.reason.value, r.reason.threshold) == (r.f, 2.9)
    assert seen[-1] == r.f
    assert sorted(seen) == seen
    run(tmp_path / "run")
    assert_same(run(tmp_path / "run"), r)  # as it was stored


@pytest.mark.parametrize(("value", "kind"), [(np.inf, "neginf"), (-np.inf, "posinf")])
def test_infinite_values_of_a_maximization_are_never_optima(value: float, kind: str) -> None:
    f = Counting(lambda x: value if len(f.seen) == 9 else -sphere(x))
    r = evoopt.minimize(f, bounds=BOX, budget=100, maximize=True, seed=1)
    assert np.isfinite(r.f)
    assert dict(r.failures) == {kind: 1}


# reproducibility


def test_a_seed_reproduces_the_run_and_another_one_does_not() -> None:
    a, b, c = (evoopt.minimize(sphere, bounds=BOX, budget=100, seed=s) for s in (0, 0, 1))
    assert_same(a, b)
    assert a.f != c.f
    assert a.seed == 0  # a seed like any other


def test_a_drawn_seed_is_reported_and_reproduces_the_run() -> None:
    drawn = [evoopt.minimize(sphere, bounds=BOX, budget=50) for _ in range(2)]
    assert drawn[0].seed != drawn[1].seed  # false alarm: 2**-32
    assert_same(drawn[0], evoopt.minimize(sphere, bounds=BOX, budget=50, seed=drawn[0].seed))


def test_numpys_global_generator_is_neither_used_nor_moved() -> None:
    def noisy(x: np.ndarray) -> float:
        np.random.rand()  # noqa: NPY002  # what a user may do
        return sphere(x)

    np.random.seed(5)  # noqa: NPY002  # the global generator is what is watched
    a = evoopt.minimize(sphere, bounds=BOX, budget=100, seed=1)
    assert np.random.rand() == np.random.RandomState(5).rand()  # noqa: NPY002  # the global generator is what is watched
    assert_same(a, evoopt.minimize(noisy, bounds=BOX, budget=100, seed=1))


def noisy(x: np.ndarray, seed: int) -> float:
    return sphere(x) + 0.1 * float(np.random.default_rng(seed).standard_normal())


def failing(x: np.ndarray) -> float:
    if x[0] > 1:
        raise ValueError("too far")
    return np.nan if x[1] > 1 else sphere(x)


@pytest.mark.parametrize("fun", [sphere, noisy, failing])
def test_the_result_does_not_depend_on_the_workers(fun: Any) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 200, "seed": 3}
    alone = evoopt.minimize(fun, **words)
    for more in ({"isolate": True}, {"workers": 2}):
        assert_same(evoopt.minimize(fun, **words, **more), alone)


def test_a_vectorized_objective_gives_the_same_as_row_by_row() -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 205, "seed": 3}
    shapes: list[tuple[int, ...]] = []

    def at_once(X: np.ndarray) -> np.ndarray:
        shapes.append(X.shape)
        return spheres(X)

    assert_same(
        evoopt.minimize(at_once, vectorized=True, **words), evoopt.minimize(sphere, **words)
    )
    assert set(shapes) == {(8, 4), (5, 4)}  # whole generations, and what the budget leaves
    assert_same(
        evoopt.minimize(spheres, vectorized=True, isolate=True, **words),
        evoopt.minimize(sphere, **words),
    )


def test_each_evaluation_gets_a_seed_of_its_own_that_the_run_reproduces() -> None:
    def run(seed: int) -> list[int]:
        seeds: list[int] = []

        def objective(x: np.ndarray, seed: int) -> float:
            seeds.append(seed)
            return sphere(x)

        evoopt.minimize(objective, bounds=BOX, budget=60, seed=seed)
        return seeds

    first = run(1)
    assert len(set(first)) == 60
    assert run(1) == first
    assert not set(run(2)) & set(first)


# the defaults


def test_without_x0_the_search_starts_at_the_centre_with_a_fifth_of_the_width() -> None:
    bounds = np.array([0, 10]), np.array([1, 30])
    r = evoopt.minimize(sphere, bounds=bounds, algorithm="cma-es", popsize=10, budget=9, seed=1)
    assert r.mean.tolist() == [0.5, 20.0]  # no generation is complete
    problem = evoopt.FunctionProblem(sphere, 2, [0, 10], [1, 30])
    plan = resolve(problem, Settings())
    assert plan.x0.tolist() == [0.5, 20.0]
    assert plan.scale is not None
    assert (plan.sigma0 * plan.scale).tolist() == [0.2, 4.0]
    assert any("centre" in note for note in r.notes)
    assert any("sigma0" in note for note in r.notes)


def test_without_bounds_sigma0_is_a_fifth_of_the_size_of_x0_and_at_least_a_fifth() -> None:
    problem = evoopt.FunctionProblem(sphere, 2, [-np.inf] * 2, [np.inf] * 2)
    plan = resolve(problem, Settings(x0=[100.0, 0.01]))
    assert plan.scale is not None
    assert (plan.sigma0 * plan.scale).tolist() == [20.0, 0.2]


def test_a_sigma0_for_each_variable_scales_its_steps() -> None:
    f = Counting()
    sigma = np.array([1e-3, 1.0, 1e3])
    evoopt.minimize(
        f, [0.0] * 3, sigma0=sigma, algorithm="cma-es", popsize=1000, budget=1000, seed=1
    )
    assert np.std(f.seen, axis=0) == pytest.approx(sigma, rel=0.1)  # 1000 draws: sd 2 %


def test_scaled_variables_are_searched_as_if_they_were_equal() -> None:
    scale = np.array([1e-3, 1.0, 1e3])
    words: dict[str, Any] = {"algorithm": "cma-es", "budget": 400, "seed": 1}
    even = evoopt.minimize(sphere, [2.0] * 3, sigma0=1.0, **words)
    uneven = evoopt.minimize(lambda x: sphere(x / scale), 2.0 * scale, sigma0=scale, **words)
    assert uneven.f == pytest.approx(even.f, rel=1e-6)  # the same search, up to rounding


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "needs x0 or bounds"),
        ({"bounds": (-5, None), "x0": None}, "x0=...) must be given"),
        ({"x0": [1.0], "algorithm": "cmaes"}, "did you mean 'cma-es'"),
        ({"x0": [1.0], "restarts": "often"}, "restarts=...) must be one of none, ipop, bipop"),
        ({"x0": [1.0], "restarts": "ipop", "algorithm": "random"}, "never stops by itself"),
        ({"x0": [1.0], "workers": 0}, "workers=...) must be a whole number >= 1; got 0"),
        ({"x0": [1.0], "workers": 2, "isolate": False}, "isolate=...) must be true"),
        ({"x0": [1.0], "eval_timeout": 1.0, "isolate": False}, "isolate=...) must be true"),
        ({"x0": [1.0], "eval_timeout": 0}, "eval_timeout=...) must be a positive finite number"),
        ({"x0": [1.0], "time_limit": -1}, "time_limit=...) must be a positive finite number"),
        ({"x0": [1.0], "time_limit": np.nan}, "time_limit=...) must be"),
        ({"x0": [1.0], "max_failures": -1}, "max_failures=...) must be a whole number >= 0"),
        ({"x0": [1.0], "target": np.nan}, "target=...) must be a finite number; got nan"),
        ({"x0": [1.0], "target": "low"}, "target=...) must be a finite number; got 'low'"),
        ({"x0": [1.0, 2.0], "sigma0": [1.0, -1.0]}, "sigma0=...) must be a positive finite"),
        ({"x0": [1.0, 2.0], "sigma0": [1.0]}, "sigma0=...) must be a positive finite"),
        ({"x0": [1e17], "sigma0": 1.0}, "sigma0=...) must be large enough to change x0"),
        ({"x0": [1.0], "budget": "many"}, "budget=...) must be a whole number >= 1, or text"),
        ({"x0": [1.0], "budget": "0.3D"}, "budget=...) must be a whole number >= 1, or text"),
        ({"x0": [1.0], "seed": True}, "seed=...) must be a whole number from 0"),
        ({"x0": [1.0], "seed": 2**64}, "seed=...) must be a whole number from 0"),
        ({"x0": [1.0], "popsize": 1}, "popsize=...) must be a whole number >= 2; got 1"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named_in_one_line(
    words: dict[str, Any], says: str
) -> None:
    f = Counting()
    with pytest.raises(evoopt.ConfigurationError) as raised:
        evoopt.minimize(f, **words)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not f.seen


@pytest.mark.parametrize("fun", [None, 3, [sphere]])
def test_what_cannot_be_called_is_no_objective(fun: Any) -> None:
    with pytest.raises(evoopt.ConfigurationError, match=r"minimize\(fun=\.\.\.\) must be callable"):
        evoopt.minimize(fun, [1.0])


def test_an_objective_may_be_named_by_file_and_function(tmp_path: Path) -> None:
    file = tmp_path / "my_objective.py"
    file.write_text("def f1(x):\n    return float(((x - 0.5) ** 2).sum())\n")
    words: dict[str, Any] = {"bounds": BOX, "budget": 100, "seed": 1}
    by_name = evoopt.minimize(f"{file}:f1", **words)
    assert by_name.f == pytest.approx(evoopt.minimize(sphere, **words).f, rel=1e-12)


# failures


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
        import time

        if x[0] == there:
            time.sleep(60)
        return sphere(x)

    r = evoopt.minimize(sleepy, eval_timeout=0.5, **words)
    assert r.evaluations == 20
    assert dict(r.failures) == {"timeout": 1}
    assert "did not end within 0.5 s" in str(r)
    assert r.f == smooth.f


# the run directory


def test_a_run_that_has_ended_is_read_and_not_evaluated_again(tmp_path: Path) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 100, "seed": 1, "run_dir": tmp_path / "run"}
    first, again = Counting(), Counting()
    a = evoopt.minimize(first, **words)
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    b = evoopt.minimize(again, **words)
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log
    assert (len(first.seen), len(again.seen)) == (100, 0)
    assert_same(a, b)
    assert a.reason == b.reason
    assert (a.notes, a.success, a.algorithm, a.seed) == (b.notes, b.success, b.algorithm, b.seed)
    assert a.run_dir == b.run_dir == str(tmp_path / "run")


def test_a_log_changes_nothing_in_the_search(tmp_path: Path) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 500, "seed": 1}
    assert_same(
        evoopt.minimize(rastrigin, run_dir=tmp_path / "run", **words),
        evoopt.minimize(rastrigin, **words),
    )


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"budget": 101},
        {"algorithm": "ma-es"},
        {"popsize": 9},
        {"sigma0": 1.0},
        {"maximize": True},
        {"bounds": (-4, 4)},
        {"target": 1.0},
    ],
)
def test_a_folder_with_another_run_is_refused_and_left_alone(
    other: dict[str, Any], tmp_path: Path
) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 100, "seed": 1, "run_dir": tmp_path / "run"}
    evoopt.minimize(sphere, **words)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.*")}
    f = Counting()
    f.__name__ = "sphere"
    with pytest.raises(evoopt.StateError, match="holds another run"):
        evoopt.minimize(f, **{**words, **other})
    assert not f.seen
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.*")} == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(evoopt.EvooptError, match=str(tmp_path)):
        evoopt.minimize(sphere, bounds=BOX, budget=10, run_dir=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_refused_call_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(evoopt.ConfigurationError):
        evoopt.minimize(sphere, bounds=BOX, budget=0, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_without_seed_is_taken_up_with_the_seed_that_was_drawn(tmp_path: Path) -> None:
    def run(stop_at: int) -> evoopt.Result:
        f = Counting()

        def objective(x: np.ndarray) -> Any:
            if len(f.seen) == stop_at:
                raise KeyboardInterrupt
            return f(x)

        return evoopt.minimize(objective, bounds=BOX, budget=100, run_dir=tmp_path / "run")

    with pytest.raises(evoopt.Interrupted):
        run(42)
    r = run(-1)
    assert_same(r, evoopt.minimize(sphere, bounds=BOX, budget=100, seed=r.seed))


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

"""The loop: what it asks, when it tells, and how it ends, whatever the evaluator does."""

import math
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.api import Settings, solve
from evoopt.evaluators import Batch
from evoopt.evaluators.base import guarded
from evoopt.journal import resume
from evoopt.plan import build, resolve
from evoopt.problem import FunctionProblem
from evoopt.result import Values
from evoopt.rundir import RunDirectory
from evoopt.runner import Limits, Runner
from evoopt.search import Search
from evoopt.signals import StopRequest

BOX = ([-5.0] * 3, [5.0] * 3)
ALGORITHMS = ("auto", "cma-es", "ma-es", "random")


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


def problem(fun: Any = rastrigin) -> FunctionProblem:
    return FunctionProblem(fun, 3, *BOX, name="f")


class Disorderly:
    """An evaluator that hands rows over in any order and in pieces of any size.

    Attributes:
        submitted: the ids of each call of `submit`. most: rows that were queued at any time.
    """

    def __init__(self, fun: Any = rastrigin, seed: int = 0, capacity: int = 1) -> None:
        self.problem = problem(fun)
        self.rng = np.random.default_rng(seed)
        self.capacity = capacity
        self.queue: list[tuple[int, np.ndarray, int | None]] = []
        self.submitted: list[list[int]] = []
        self.seeds: list[int | None] = []
        self.deadlines: set[float | None] = set()
        self.most = self.cancelled = 0
        self.closed = False

    def submit(
        self, ids: Any, X: np.ndarray, seeds: Sequence[int] | None, deadline: float | None
    ) -> None:
        self.submitted.append(ids.tolist())
        each: Iterable[int | None] = [None] * len(ids) if seeds is None else seeds
        self.seeds += each
        self.deadlines.add(deadline)
        self.queue += zip(ids.tolist(), X, each, strict=True)
        self.most = max(self.most, len(self.queue))

    def poll(self, timeout: float) -> Batch | None:
        if not self.queue or self.rng.random() < 0.2:
            return None  # nothing is ready yet
        self.rng.shuffle(self.queue)  # type: ignore[arg-type]  # a list is a sequence
        k = int(self.rng.integers(1, len(self.queue) + 1))
        rows, self.queue = self.queue[:k], self.queue[k:]
        values = guarded(self.problem, np.array([x for _, x, _ in rows]), None)
        return Batch(np.array([i for i, _, _ in rows]), values, 0.0)

    def cancel(self) -> None:
        self.cancelled += len(self.queue)
        self.queue = []

    def close(self) -> None:
        self.closed = True


def run(evaluator: Any, run_dir: Path | None = None, **words: Any) -> evoopt.Result:
    settings = Settings(**{"seed": 1, "budget": 200, **words})
    return solve(problem(), settings, evaluator=evaluator, run_dir=run_dir)


def parts(r: evoopt.Result) -> tuple[Any, ...]:
    assert r.x is not None
    return (r.x.tobytes(), r.f, r.mean.tobytes(), r.history.f.tobytes(), r.evaluations, r.failures)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("logged", [False, True])
def test_the_order_and_the_pieces_in_which_rows_come_back_change_nothing(
    algorithm: str, logged: bool, tmp_path: Path
) -> None:
    expected = run(None, algorithm=algorithm)
    for seed in range(3):
        folder = tmp_path / f"{seed}" if logged else None
        disorderly = run(Disorderly(seed=seed), folder, algorithm=algorithm)
        assert parts(disorderly) == parts(expected)


def test_nothing_is_asked_before_a_generation_is_complete() -> None:
    evaluator = Disorderly()
    run(evaluator, algorithm="cma-es", popsize=9)
    assert evaluator.submitted == [list(range(i, min(i + 9, 200))) for i in range(0, 200, 9)]
    assert evaluator.most == 9


def test_no_row_is_submitted_twice_and_all_are_told() -> None:
    evaluator = Disorderly()
    r = run(evaluator, algorithm="auto", budget=333)
    ids = [i for block in evaluator.submitted for i in block]
    assert ids == list(range(333))
    assert r.evaluations == 333
    assert evaluator.closed


@pytest.mark.parametrize("fun", ["fails", "invalid"])
def test_the_evaluator_is_closed_and_what_is_paid_for_is_kept_at_an_error(fun: str) -> None:
    calls: list[np.ndarray] = []

    def objective(x: np.ndarray) -> Any:
        calls.append(x)
        if len(calls) == 50:
            if fun == "invalid":
                return "text"
            raise KeyboardInterrupt
        return rastrigin(x)

    evaluator = Disorderly(objective)
    kind = evoopt.ObjectiveError if fun == "invalid" else evoopt.Interrupted
    with pytest.raises(kind) as raised:
        run(evaluator)
    result = raised.value.result  # type: ignore[attr-defined]
    assert evaluator.closed
    # an interrupted call leaves the rest of its piece, an invalid one does not
    assert result.evaluations == len(calls) - 1
    assert result.f == min(rastrigin(x) for i, x in enumerate(calls) if i != 49)


def test_seeds_and_deadlines_reach_the_evaluator() -> None:
    def stochastic(x: np.ndarray, seed: int) -> float:
        return rastrigin(x)

    evaluator = Disorderly()
    settings = Settings(budget=50, seed=1, eval_timeout=7.0, isolate=True)
    solve(problem(stochastic), settings, evaluator=evaluator)
    assert evaluator.deadlines == {7.0}
    assert len(set(evaluator.seeds)) == 50
    assert None not in evaluator.seeds


def test_a_time_limit_keeps_what_has_come_back() -> None:
    class Slow(Disorderly):
        def poll(self, timeout: float) -> Batch | None:
            if sum(map(len, self.submitted)) - len(self.queue) >= 5:
                threading.Event().wait(min(timeout, 0.05))
                return None  # and no more comes back
            return super().poll(timeout)

    evaluator = Slow(seed=5)
    r = run(evaluator, algorithm="cma-es", popsize=30, time_limit=0.15)
    assert r.reason.criterion == "timeout"
    assert r.evaluations == 30 - evaluator.cancelled >= 5


# asynchronous: no barrier


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("capacity", [1, 5])
def test_without_barrier_every_result_is_used_once_and_all_slots_are_kept_busy(
    algorithm: str, capacity: int, tmp_path: Path
) -> None:
    evaluator = Disorderly(capacity=capacity)
    r = run(evaluator, tmp_path / "run", algorithm=algorithm, asynchronous=True, budget=201)
    ids = [i for block in evaluator.submitted for i in block]
    assert ids == list(range(201))
    assert r.evaluations == 201
    assert evaluator.most == capacity
    records = list(RunDirectory.read(tmp_path / "run").records())
    told = [i for record in records if record["t"] == "tell" for i in record["i"]]
    assert sorted(told) == ids
    assert (told == ids) == (capacity == 1)  # in the order in which they were completed
    if algorithm != "random":
        assert r.generations >= 201 // 14  # popsize 7, or 14 after a restart
        assert r.f < 10


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_log_of_an_asynchronous_run_folds_into_its_end(algorithm: str, tmp_path: Path) -> None:
    words: dict[str, Any] = {"algorithm": algorithm, "asynchronous": True, "budget": 300}
    r = run(Disorderly(capacity=4), tmp_path / "run", **words)
    plan = resolve(problem(), Settings(seed=1, **words))
    search = Search(build(plan), plan.x0, plan.sigma0, plan.seed)
    directory = RunDirectory.read(tmp_path / "run")
    for snapshot in (tmp_path / "run" / "snapshots").iterdir():
        snapshot.unlink()
    assert resume(directory, search, ()) == {}
    assert search.evaluations == 300
    assert search.best_f == r.f
    assert search.best_x is not None
    assert r.x is not None
    assert search.best_x.tobytes() == r.x.tobytes()
    portrait = search.strategy.portrait(search.state)
    assert portrait.mean.tobytes() == r.mean.tobytes()
    assert search.history().f.tobytes() == r.history.f.tobytes()


def test_a_pool_without_barrier_spends_its_budget_and_finds_the_optimum(tmp_path: Path) -> None:
    settings = Settings(
        algorithm="cma-es", seed=1, budget=400, workers=2, asynchronous=True, target=1e-3
    )
    sphere = FunctionProblem(lambda x: float(x @ x), 2, [-5, -5], [5, 5], name="sphere")
    r = solve(sphere, settings, run_dir=tmp_path / "run")
    assert r.reason.criterion == "ftarget"
    assert r.evaluations <= 400


# signals


def at_call(number: int, act: Any) -> Any:
    calls = []

    def objective(x: np.ndarray) -> float:
        calls.append(x)
        if len(calls) == number:
            act()
        return rastrigin(x)

    return objective


def test_ctrl_c_during_an_evaluation_gives_the_result_so_far_and_restores_the_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    objective = at_call(40, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(evoopt.Interrupted) as raised:
        evoopt.minimize(objective, bounds=BOX, seed=1)
    assert raised.value.exit_code == 130
    assert isinstance(raised.value, KeyboardInterrupt)
    assert raised.value.result is not None
    assert raised.value.result.evaluations == 39
    assert raised.value.result.reason.criterion == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_is_caught_where_there_is_a_log_and_not_elsewhere(tmp_path: Path) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        objective = at_call(40, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert evoopt.minimize(objective, bounds=BOX, seed=1, budget=60).evaluations == 60
        assert got == [signal.SIGTERM]
        objective = at_call(40, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(evoopt.Interrupted) as raised:
            evoopt.minimize(objective, bounds=BOX, seed=1, budget=60, run_dir=tmp_path / "run")
        assert raised.value.exit_code == 143
        assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_does_what_it_would_without_us() -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    try:
        with StopRequest((signal.SIGINT,)) as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert (request.signum, got) == (signal.SIGINT, [])
            os.kill(os.getpid(), signal.SIGINT)
            assert got == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_keyboard_interrupt_while_waiting_for_workers_ends_the_run() -> None:
    class Interrupted(Disorderly):
        def poll(self, timeout: float) -> Batch | None:
            if len(self.submitted) == 3:
                raise KeyboardInterrupt  # from whoever has a handler of his own
            return super().poll(timeout)

    plan = resolve(problem(), Settings("cma-es", seed=1))
    search = Search(build(plan), plan.x0, plan.sigma0, plan.seed)
    with pytest.raises(evoopt.Interrupted):
        Runner(search, Interrupted(), Limits(budget=100)).run()
    assert search.evaluations >= 14  # two generations


def test_a_search_runs_in_any_thread() -> None:
    found: list[evoopt.Result] = []
    thread = threading.Thread(
        target=lambda: found.append(evoopt.minimize(rastrigin, bounds=BOX, seed=1, budget=200))
    )
    thread.start()
    thread.join()
    assert parts(found[0]) == parts(evoopt.minimize(rastrigin, bounds=BOX, seed=1, budget=200))


def test_two_searches_at_the_same_time_do_not_disturb_each_other() -> None:
    inner: list[evoopt.Result] = []

    def objective(x: np.ndarray) -> float:
        if len(inner) < 3:
            inner.append(evoopt.minimize(rastrigin, bounds=BOX, seed=2, budget=100))
        return rastrigin(x)

    outer = evoopt.minimize(objective, bounds=BOX, seed=1, budget=200)
    assert parts(outer) == parts(evoopt.minimize(rastrigin, bounds=BOX, seed=1, budget=200))
    alone = evoopt.minimize(rastrigin, bounds=BOX, seed=2, budget=100)
    assert {parts(r)[:4] for r in inner} == {parts(alone)[:4]}


# observers


class Onlooker:
    """Notes all that it is told."""

    wants_replay = False

    def __init__(self) -> None:
        self.started_with: list[int] = []
        self.F: list[float] = []
        self.X: list[np.ndarray] = []
        self.results: list[evoopt.Result] = []

    def started(self, search: Search) -> None:
        self.started_with.append(search.evaluations)

    def told(self, search: Search, ids: Any, X: np.ndarray, values: Values) -> None:
        self.F += values.F.tolist()
        self.X += list(X)

    def finished(self, result: evoopt.Result) -> None:
        self.results.append(result)


def test_an_observer_sees_every_row_once_and_the_result() -> None:
    onlooker = Onlooker()
    r = solve(problem(), Settings(seed=1, budget=101), observers=(onlooker,))
    assert [rastrigin(x) for x in onlooker.X] == onlooker.F
    assert len(onlooker.F) == 101
    assert onlooker.results == [r]
    assert min(onlooker.F) == r.f


@pytest.mark.parametrize("replay", [False, True])
def test_an_observer_of_a_resumed_run_sees_the_old_rows_if_it_wants_them(
    replay: bool, tmp_path: Path
) -> None:
    settings = Settings("cma-es", seed=1, budget=101)
    stopping = at_call(60, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(evoopt.Interrupted):
        solve(problem(stopping), settings, run_dir=tmp_path / "run")
    onlooker = Onlooker()
    onlooker.wants_replay = replay
    solve(problem(), settings, run_dir=tmp_path / "run", observers=(onlooker,))
    whole = Onlooker()
    solve(problem(), settings, observers=(whole,))
    start = 0 if replay else 56  # whole generations of 7 before the interruption
    assert onlooker.F == whole.F[start:]


def test_a_budget_without_end_is_ended_by_the_strategy() -> None:
    plan = resolve(problem(), Settings(seed=1, algorithm="cma-es"))
    search = Search(build(plan), plan.x0, plan.sigma0, plan.seed)
    reason = Runner(search, Disorderly(), Limits(budget=math.inf)).run()
    assert reason.converged

"""Without barrier: every result is used, however late, and nobody waits for anybody."""

import heapq
import math
import random
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt import stragglers
from evoopt.api import solve
from evoopt.evaluators import Batch
from evoopt.evaluators.base import guarded
from evoopt.lateness import Lateness
from evoopt.options import is_for, takes
from evoopt.plan import build, resolve
from evoopt.problem import FunctionProblem
from evoopt.rundir import RunDirectory
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.strategies import STRATEGIES

WORKERS = (1, 4, 10, 16, 32, 64)
ONE = [name for name in STRATEGIES if is_for(name, 1)]  # objective
METHODS = [name for name in ONE if takes(name, "asynchronous")]
DIM = 5
BOX = ([-5.0] * DIM, [5.0] * DIM)


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


def problem(fun: Any = rastrigin) -> FunctionProblem:
    return FunctionProblem(fun, DIM, *BOX, name="f")


class Crew:
    """Workers on a virtual clock with log-normal durations; some rows may never come back.

    Attributes:
        submitted: ids, in order. most: rows that were under way at any time.
        cancelled: how often all work was dropped.
    """

    def __init__(self, workers: int, fun: Any = rastrigin, lost: tuple[int, ...] = ()) -> None:
        self.capacity, self.problem, self.lost = workers, problem(fun), lost
        self.random = random.Random(workers)
        self.now, self.busy = 0.0, list[tuple[float, int, np.ndarray]]()
        self.submitted: list[int] = []
        self.most = self.cancelled = 0

    def submit(self, ids: Any, X: np.ndarray, seeds: object, deadline: object) -> None:
        for i, x in zip(ids.tolist(), X, strict=True):
            takes = math.inf if i in self.lost else self.random.lognormvariate(0, 0.8)
            heapq.heappush(self.busy, (self.now + takes, i, x))
            self.submitted.append(i)
        self.most = max(self.most, len(self.busy))

    def poll(self, timeout: float) -> Batch | None:
        if not self.busy or self.busy[0][0] == math.inf:
            return None
        self.now, i, x = heapq.heappop(self.busy)
        return Batch(np.array([i]), guarded(self.problem, x[None], None), 0.0)

    def cancel(self) -> None:
        self.busy, self.cancelled = [], self.cancelled + 1

    def close(self) -> None: ...


def run(crew: Crew, run_dir: Path | None = None, **words: Any) -> evoopt.Result:
    given = {"seed": 1, "budget": 400, "asynchronous": True, "workers": crew.capacity, **words}
    return solve(problem(), Settings(**given), evaluator=crew, run_dir=run_dir)


def told(run_dir: Path) -> list[int]:
    """Ids in the order in which the search learnt their values."""
    records = RunDirectory.read(run_dir).records()
    return [i for record in records if record["t"] == "tell" for i in record["i"]]


@pytest.mark.parametrize(
    ("algorithm", "workers"),
    [*product(["cma-es", "auto"], WORKERS), *product(sorted({*METHODS} - {"cma-es"}), (4, 64))],
)
def test_every_result_is_used_once_and_no_worker_waits(
    algorithm: str, workers: int, tmp_path: Path
) -> None:
    crew = Crew(workers)
    r = run(crew, tmp_path / "run", algorithm=algorithm)
    assert crew.submitted == list(range(400))
    assert sorted(told(tmp_path / "run")) == crew.submitted
    assert r.evaluations == 400
    assert crew.most == workers
    assert any("all 400 results used" in note for note in r.notes)


@pytest.mark.parametrize(("workers", "popsize"), [(1, 8), (4, 8), (16, 8), (17, 9), (64, 32)])
def test_the_population_grows_with_the_workers(workers: int, popsize: int) -> None:
    plan = resolve(problem(), Settings("cma-es", workers=workers, asynchronous=True))
    assert build(plan).popsize == popsize
    assert (f"popsize={popsize} (0.5 per worker)" in plan.notes) == (popsize > 8)


def test_a_population_that_is_given_stays_and_a_barrier_needs_none() -> None:
    given = resolve(problem(), Settings("cma-es", workers=64, asynchronous=True, popsize=12))
    assert build(given).popsize == 12
    assert build(resolve(problem(), Settings("cma-es", workers=64))).popsize == 8


def test_the_search_gets_further_with_late_results_than_it_would_without_barrier_and_them() -> None:
    """A naive bound: 16 workers need no more than three times the evaluations of one."""
    alone = run(Crew(1, sphere), algorithm="cma-es", target=1e-6, budget=5000)
    many = run(Crew(16, sphere), algorithm="cma-es", target=1e-6, budget=5000)
    assert many.reason.criterion == alone.reason.criterion == "ftarget"
    assert many.evaluations < 3 * alone.evaluations


def sphere(x: np.ndarray) -> float:
    return float(x @ x)


# how late


def test_lateness_is_counted_in_generations_between_ask_and_tell() -> None:
    late = Lateness()
    assert late.note() == "asynchronous: no result came"
    late.asked(np.array([0, 1, 2, 3]), 0)
    late.told(np.array([1]), 0)
    late.asked(np.array([4]), 2)
    late.told(np.array([4, 0]), 2)
    late.told(np.array([2, 3]), 9)
    assert late.counts == {0: 2, 2: 1, 9: 2}
    assert late.note() == (
        "asynchronous: all 5 results used (40% at once, 20% 2 late, 40% up to 9 late; "
        "in generations)"
    )
    assert Lateness.unpack(late.pack()).counts == late.counts


@pytest.mark.parametrize("algorithm", METHODS)
def test_one_worker_is_never_late_and_many_are(algorithm: str) -> None:
    def late(workers: int) -> Counter[int]:
        settings = Settings(algorithm, seed=1, workers=workers, asynchronous=True)
        plan, crew = resolve(problem(), settings), Crew(workers)
        search = Search(build(plan), plan.x0, plan.sigma0, plan.seed, asynchronous=True)
        ask = search.ask(workers)
        crew.submit(ask.id, ask.X, None, None)
        for _ in range(300):
            batch = crew.poll(0.0)
            assert batch is not None
            search.tell(batch.ids, batch.values)
            ask = search.ask(1)
            crew.submit(ask.id, ask.X, None, None)
        assert search.lateness is not None
        return search.lateness.counts

    assert late(1) == {0: 300}
    assert late(32).total() == 300
    assert late(32)[0] < 150


def test_a_search_with_a_barrier_says_nothing_of_late_results() -> None:
    r = run(Crew(3), asynchronous=False, algorithm="cma-es")
    assert not any("asynchronous" in note for note in r.notes)


# what goes wrong costs only itself


def test_a_worker_that_never_returns_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stragglers, "SECONDS", 0.0)
    monkeypatch.setattr(stragglers, "TIMES", 0.0)
    crew = Crew(4, lost=(7, 150))
    r = run(crew, tmp_path / "run", algorithm="cma-es")
    assert r.reason.criterion == "maxfevals"
    assert r.evaluations == 400
    assert r.failures == {"timeout": 2}
    assert "did not come back" in r.first_failure
    assert told(tmp_path / "run")[-2:] == [7, 150]  # all others were in long before
    again = solve(problem(), Settings("cma-es", seed=1, budget=400, workers=4, asynchronous=True),
                  run_dir=tmp_path / "run")  # fmt: skip
    assert again.failures == r.failures


def test_the_last_evaluations_of_a_budget_are_waited_for() -> None:
    class Hesitant(Crew):
        def poll(self, timeout: float) -> Batch | None:
            self.now += 0.5
            return None if self.busy and self.busy[0][0] > self.now else super().poll(timeout)

    crew = Hesitant(4)
    r = run(crew, algorithm="cma-es", budget=40)
    assert (r.evaluations, r.failures) == (40, {})


def test_the_last_evaluations_of_a_budget_get_ten_times_the_time_of_the_longest_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(stragglers.time, "monotonic", lambda: clock[0])
    waiting = stragglers.Stragglers()
    waiting.submitted(np.array([1, 2, 3]))
    clock[0] += 1e6
    assert not waiting.past_hope  # nothing is known of how long one takes
    clock[0] = 140.0
    waiting.returned(np.array([1, 3]))  # took 40 s
    clock[0] = 140.0 + 399
    assert not waiting.past_hope
    clock[0] = 140.0 + 401
    assert waiting.past_hope
    waiting.returned(np.array([2]))
    clock[0] += 1e6
    assert not waiting.past_hope  # nothing to wait for


def test_a_target_that_is_reached_ends_the_search_while_others_are_under_way() -> None:
    crew = Crew(16, sphere)
    r = run(crew, algorithm="cma-es", target=1e-3, budget=5000)
    assert r.reason.criterion == "ftarget"
    assert r.evaluations == len(crew.submitted) - 15  # all but those under way
    assert crew.cancelled


@pytest.mark.parametrize("budget", [1, 3, 16, 17, 50])
def test_a_budget_is_spent_to_the_last_evaluation_and_never_exceeded(budget: int) -> None:
    crew = Crew(16)
    assert run(crew, budget=budget).evaluations == len(crew.submitted) == budget


def test_failed_evaluations_are_used_and_counted() -> None:
    def holey(x: np.ndarray) -> float:
        return math.nan if x[0] < -1 else sphere(x)

    r = run(Crew(8, holey), algorithm="cma-es", budget=900)
    assert r.failures["nan"] > 10
    assert r.f < 1e-3
    assert r.evaluations == 900


def test_rows_of_a_run_that_has_ended_count_but_do_not_teach_the_next_one() -> None:
    plan = resolve(problem(), Settings(seed=1, workers=4, asynchronous=True))
    search = Search(build(plan), plan.x0, plan.sigma0, plan.seed, asynchronous=True)
    late = search.ask(2)
    while search.state.run == 0:
        rows = search.ask(1)
        values = guarded(problem(sphere), rows.X, None)
        search.tell(rows.id, values)
    before = search.state
    search.tell(late.id, guarded(problem(lambda x: -1.0), late.X, None))
    assert search.best_f == -1.0
    assert search.state == before


def test_the_callback_sees_each_generation_once() -> None:
    seen: list[int] = []
    crew, settings = Crew(8), Settings("cma-es", seed=1, budget=300, workers=8, asynchronous=True)
    solve(problem(), settings, evaluator=crew, callback=lambda s: seen.append(s.generations))
    assert seen == list(range(1, 300 // 8 + 1))


@pytest.mark.parametrize("algorithm", sorted(set(ONE) - set(METHODS)))
def test_a_strategy_that_needs_its_rows_together_refuses_in_one_line(algorithm: str) -> None:
    with pytest.raises(evoopt.ConfigurationError, match=r"asynchronous=\.\.\.") as caught:
        run(Crew(1), algorithm=algorithm)
    assert "cma-es" in str(caught.value)
    assert "\n" not in str(caught.value)


# logs


def test_a_run_is_taken_up_with_other_workers_and_keeps_its_population(tmp_path: Path) -> None:
    def interrupted(x: np.ndarray) -> float:
        calls.append(x)
        if len(calls) == 200:
            raise KeyboardInterrupt
        return rastrigin(x)

    calls: list[np.ndarray] = []
    with pytest.raises(evoopt.Interrupted):
        run(Crew(32, interrupted), tmp_path / "run", algorithm="cma-es")
    before = len(told(tmp_path / "run"))
    assert before == 199
    r = run(Crew(3), tmp_path / "run", algorithm="cma-es")
    assert r.evaluations == 400
    assert "popsize=16 (0.5 per worker)" in r.notes
    assert r.generations == 400 // 16
    assert any("all 400 results used" in note for note in r.notes)
    again = run(Crew(3), tmp_path / "run", algorithm="cma-es")
    assert (again.f, again.notes) == (r.f, r.notes)


# by hand


def test_ask_and_tell_one_by_one_in_any_order_is_the_same_search() -> None:
    es = evoopt.AskTell("cma-es", [2.0] * DIM, 1.0, seed=1, workers=40)
    assert es.popsize == 20
    chance, open_points = random.Random(1), es.ask_ids(40)
    for _ in range(3000):
        i, x = open_points.pop(chance.randrange(len(open_points)))
        es.tell(i, sphere(x))
        open_points += es.ask_ids(1)
    assert es.evaluations == 3000
    assert es.result.f < 1e-6
    assert any("all 3000 results used" in note for note in es.result.notes)
    again = evoopt.AskTell("cma-es", [2.0] * DIM, 1.0, seed=1, workers=40)
    again.load_state_dict(es.state_dict())
    assert again.ask(2).tobytes() == es.ask(2).tobytes()
    assert again.result.notes == es.result.notes


@pytest.mark.parametrize("workers", [0, -1, 2.5, "4", None])
def test_ask_and_tell_refuses_workers_that_are_no_number(workers: Any) -> None:
    with pytest.raises(evoopt.ConfigurationError, match=r"AskTell\(workers=\.\.\.\)"):
        evoopt.AskTell("cma-es", [2.0], 1.0, workers=workers)

"""A log that ends after any of its records is gone on with, and can be folded again."""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.api import Settings, solve
from evoopt.evaluators import Batch
from evoopt.evaluators.base import guarded
from evoopt.options import is_for
from evoopt.problem import FunctionProblem
from evoopt.result import Result
from evoopt.strategies import STRATEGIES

BOX = (np.full(2, -5.0), np.full(2, 5.0))


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


class Shuffled:
    """An evaluator of several slots that returns what it has in any order, a few rows at a time."""

    def __init__(self, problem: FunctionProblem, capacity: int, seed: int) -> None:
        self.problem, self.capacity = problem, capacity
        self.queue: list[tuple[int, np.ndarray]] = []
        self.random = random.Random(seed)

    def submit(self, ids: np.ndarray, X: np.ndarray, seeds: object, deadline: object) -> None:
        self.queue += zip(ids.tolist(), X, strict=True)

    def poll(self, timeout: float) -> Batch | None:
        self.random.shuffle(self.queue)
        k = self.random.randint(1, 3)
        rows, self.queue = self.queue[:k], self.queue[k:]
        if not rows:
            return None
        X = np.array([x for _, x in rows])
        return Batch(np.array([i for i, _ in rows]), guarded(self.problem, X, None), 0.1)

    def cancel(self) -> None:
        self.queue.clear()

    def close(self) -> None:
        self.queue.clear()


def searched(
    folder: Path, seed: int, *, asynchronous: bool, algorithm: str = "auto", dim: int = 2
) -> Result:
    side = np.inf if algorithm in ("canonical-es", "openai-es") else 5.0  # a box makes all points
    problem = FunctionProblem(rastrigin, dim, np.full(dim, -side), np.full(dim, side))
    x0 = None if np.isfinite(side) else [1.0] * dim
    settings = Settings(algorithm, x0=x0, seed=3, budget=120, asynchronous=asynchronous)
    evaluator = Shuffled(problem, 3, seed)
    return solve(problem, settings, run_dir=folder, evaluator=evaluator)


def cut(source: Path, folder: Path, records: int) -> None:
    """A copy of the run whose log ends after so many records, without snapshots and result."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "snapshots")
    (folder / "result.json").unlink(missing_ok=True)
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "log.jsonl").write_bytes(b"".join(lines[:records]))


def same(a: Result, b: Result) -> bool:
    return (
        a.f == b.f
        and a.x is not None
        and a.x.tolist() == np.asarray(b.x).tolist()
        and a.mean.tolist() == b.mean.tolist()
        and a.sigma == b.sigma
        and a.evaluations == b.evaluations
        and a.history.f.tolist() == b.history.f.tolist()
    )


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_log_cut_after_any_record_is_gone_on_with_and_folds_again(
    tmp_path: Path, asynchronous: bool
) -> None:
    whole = searched(tmp_path / "whole", 1, asynchronous=asynchronous)
    records = len((tmp_path / "whole" / "log.jsonl").read_bytes().splitlines())
    for n in range(1, records + 1, 7):
        cut(tmp_path / "whole", tmp_path / "cut", n)
        resumed = searched(tmp_path / "cut", n, asynchronous=asynchronous)
        assert resumed.evaluations == whole.evaluations
        if not asynchronous:
            assert same(resumed, whole)
        cut(tmp_path / "cut", tmp_path / "again", 10**9)
        assert same(searched(tmp_path / "again", n, asynchronous=asynchronous), resumed)
    assert records > 100


@pytest.mark.parametrize(
    ("algorithm", "dim"),
    [("lm-ma-es", 70), ("sep-cma-es", 3), ("canonical-es", 4), ("openai-es", 4)],
)
def test_the_log_of_a_strategy_for_many_variables_cut_anywhere_folds_again(
    tmp_path: Path, algorithm: str, dim: int
) -> None:
    for asynchronous in (False, True):
        words: dict[str, Any] = {"asynchronous": asynchronous, "algorithm": algorithm, "dim": dim}
        folder = tmp_path / f"whole-{asynchronous}"
        whole = searched(folder, 1, **words)
        records = len((folder / "log.jsonl").read_bytes().splitlines())
        for n in range(1, records + 1, 29):
            cut(folder, tmp_path / "cut", n)
            resumed = searched(tmp_path / "cut", n, **words)
            assert asynchronous or same(resumed, whole)
            cut(tmp_path / "cut", tmp_path / "again", 10**9)
            assert same(searched(tmp_path / "again", n, **words), resumed)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("algorithm", [n for n in STRATEGIES if is_for(n, 2) and n != "random"])
def test_the_log_of_several_objectives_cut_anywhere_folds_again(
    tmp_path: Path, algorithm: str, asynchronous: bool
) -> None:
    def searched_for_both(folder: Path, seed: int) -> list[list[float]]:
        problem = FunctionProblem(lambda x: (rastrigin(x), float(x[0])), 2, *BOX, n_obj=2)
        settings = Settings(algorithm, seed=3, budget=90, asynchronous=asynchronous)
        r = solve(problem, settings, run_dir=folder, evaluator=Shuffled(problem, 3, seed))
        assert r.evaluations == 90
        return [*r.front_x.tolist(), *r.front_f.tolist(), r.history.f.tolist()]

    whole = searched_for_both(tmp_path / "whole", 1)
    records = len((tmp_path / "whole" / "log.jsonl").read_bytes().splitlines())
    for n in range(1, records + 1, 23):
        cut(tmp_path / "whole", tmp_path / "cut", n)
        resumed = searched_for_both(tmp_path / "cut", n)
        assert asynchronous or resumed == whole
        cut(tmp_path / "cut", tmp_path / "again", 10**9)
        assert searched_for_both(tmp_path / "again", n) == resumed


def test_a_run_that_ran_out_of_time_goes_on_exactly_when_it_is_given_more(tmp_path: Path) -> None:
    def slow(x: np.ndarray) -> float:
        time.sleep(0.001)
        return rastrigin(x)

    words = {"bounds": BOX, "seed": 1, "budget": 150}
    stops = []
    while not stops or stops[-1] == "timeout":
        result = evoopt.minimize(slow, time_limit=0.05, run_dir=tmp_path / "run", **words)
        stops.append(result.reason.criterion)
    assert len(stops) > 2
    assert same(result, evoopt.minimize(slow, **words))

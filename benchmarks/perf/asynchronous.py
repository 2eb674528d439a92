"""What late results are worth: every result used, beside dropping late ones, beside a barrier.

A queue of events stands for the workers: an evaluation takes a log-normal time (sigma 0.8, median
1), nobody sleeps, and each of the W workers always has a candidate. Three ways to treat what comes
back, all with `cma-es` of this package, the same starts and the same durations:

    every    every result is told when it comes; the plan of `minimize(asynchronous=True)`
    drop     a result of an older generation is thrown away, as Optuna's CmaEsSampler does; its
             popsize, the default one
    barrier  nothing is asked before a generation is complete; popsize at least W, so that no worker
             is without work from the start

Compared are the best values after 2000 and 5000 evaluations, those thrown away included, since they
were paid for, and the mean of log10 of the best value over the evaluations up to there, "anytime".

    python benchmarks/perf/asynchronous.py --seeds 15 -o asynchronous.json
    python benchmarks/perf/asynchronous.py --pool --seeds 5 -o pool.json

The second one runs the real pool of 2 and of 8 worker processes on an objective that sleeps a
log-normal time of median 50 ms, with and without barrier.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import heapq
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

sys.path.insert(0, str(Path(__file__).parents[1]))

import evoopt
from evoopt.plan import build, resolve
from evoopt.problem import FunctionProblem
from evoopt.result import Values
from evoopt.settings import Settings
from evoopt.strategies.base import Population, Strategy
from evoopt.strategies.weights import default_popsize

DIM, BUDGET = 10, 5000
LOOKS = (2000, 5000)  # evaluations
SPREAD = 0.8  # sigma of the log-normal durations
WORKERS = (1, 4, 10, 16, 32, 64)
WAYS = ("every", "drop", "barrier")
POOL = (2, 8)  # real workers; they sleep, so that two cores are enough
SLEEP_MS = 50.0  # median duration of an evaluation in the real pool

Function = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Task:
    """What is searched: f, from a start that may depend on the seed."""

    name: str
    f: Function
    start: Callable[[int], np.ndarray]
    sigma0: float


@dataclass
class Outcome:
    """One search.

    Attributes:
        best: value after each of `LOOKS`. area: mean of log10 of the best value up to each.
        used: evaluations that the strategy learnt from. time: of the virtual clock, at the end.
        staleness: generations between ask and tell -> how many results.
    """

    problem: str
    workers: int
    way: str
    seed: int
    popsize: int = 0
    best: list[float] = field(default_factory=list)
    area: list[float] = field(default_factory=list)
    used: int = 0
    time: float = 0.0
    staleness: dict[int, int] = field(default_factory=dict)


def tasks(names: list[str]) -> Iterator[Task]:
    """The two classical functions, and functions of bbob (instance 1) above their optimal value."""
    scale = 1e3 ** (np.arange(DIM) / (DIM - 1))
    for name in names:
        if name == "ellipsoid":
            yield Task(name, lambda x: float(scale @ (x * x)), lambda _: np.full(DIM, 2.0), 1.0)
        elif name == "rosenbrock":
            yield Task(name, rosenbrock, lambda _: np.zeros(DIM), 0.5)
        else:
            yield Task(name, bbob(int(name[1:])), anywhere, 2.0)


def rosenbrock(x: np.ndarray) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def anywhere(seed: int) -> np.ndarray:
    """A start in [-4, 4]^DIM."""
    return np.random.default_rng((seed, 1)).uniform(-4, 4, DIM)


def bbob(function: int) -> Function:
    from evoopt_bench.suites import CocoProblem, ProblemId

    problem = CocoProblem(ProblemId("bbob", DIM, function, 1))
    return lambda x: float(problem.evaluate(x[None]).F[0]) - problem.f_opt


def durations(seed: int) -> np.ndarray:
    """(BUDGET,) of the evaluations, by number."""
    return np.exp(SPREAD * np.random.default_rng((seed, 2)).standard_normal(BUDGET))


def strategy_for(way: str, workers: int) -> Strategy:
    """cma-es with the popsize of that way."""
    everywhere = [-np.inf] * DIM, [np.inf] * DIM
    settings = Settings(
        "cma-es",
        x0=[0.0] * DIM,
        seed=1,
        popsize=max(default_popsize(DIM), workers) if way == "barrier" else None,
        workers=workers,
        asynchronous=way == "every",
    )
    return build(resolve(FunctionProblem(len, DIM, *everywhere, name="f"), settings))


def search(task: Task, workers: int, way: str, seed: int) -> Outcome:
    """One search on the virtual clock."""
    strategy = strategy_for(way, workers)
    outcome = Outcome(task.name, workers, way, seed, popsize=strategy.popsize)
    state = strategy.init(task.start(seed), task.sigma0, seed)
    if way == "barrier":
        F = in_step(strategy, state, task.f, outcome)
    else:
        F, _ = out_of_step(strategy, state, task.f, outcome)
    best = np.minimum.accumulate(F)
    outcome.best = [float(best[look - 1]) for look in LOOKS]
    outcome.area = [float(logarithms(best[:look]).mean()) for look in LOOKS]
    return outcome


def out_of_step(
    strategy: Strategy, state: Any, f: Function, outcome: Outcome
) -> tuple[list[float], Any]:
    """Each worker gets a new candidate as soon as it is free. Returns: the values, as they came,
    and the last state."""
    takes, F, staleness = durations(outcome.seed).tolist(), list[float](), Counter[int]()
    busy: list[tuple[float, int, Population]] = []
    now, given = 0.0, 0
    while len(F) < BUDGET:
        while given < BUDGET and len(busy) < outcome.workers:
            row, state = strategy.ask(state, 1)
            heapq.heappush(busy, (now + takes[given], given, row))
            given += 1
        now, _, row = heapq.heappop(busy)
        F.append(f(row.X[0]))
        age = strategy.generation(state) - int(row.epoch[0])
        if age == 0 or outcome.way == "every":
            state = strategy.tell(state, row, Values(np.array(F[-1:])))
            outcome.used += 1
            staleness[age] += 1
    outcome.time, outcome.staleness = now, dict(sorted(staleness.items()))
    return F, state


def in_step(strategy: Strategy, state: Any, f: Function, outcome: Outcome) -> list[float]:
    """Workers take the rows of one generation in turn, and wait for its end."""
    takes, F, now = durations(outcome.seed).tolist(), list[float](), 0.0
    while len(F) < BUDGET:
        rows, state = strategy.ask(state, min(strategy.popsize, BUDGET - len(F)))
        free = [now] * outcome.workers
        for i in range(len(F), len(F) + len(rows)):
            heapq.heapreplace(free, free[0] + takes[i])
        now = max(free)
        values = [f(x) for x in rows.X]
        state = strategy.tell(state, rows, Values(np.array(values)))
        F += values
    outcome.used, outcome.time, outcome.staleness = len(F), now, {0: len(F)}
    return F


def logarithms(best: Any) -> np.ndarray:
    """log10 of values above the optimum, 0 as the smallest number that is worth a difference."""
    return np.log10(np.maximum(np.array(best), 1e-12))


def compared(outcomes: list[Outcome], way: str, measure: Callable[[Outcome], float]) -> float:
    """p of Wilcoxon's signed rank test, one-sided: `every` is better than that way. Pairs have the
    same seed: the same start and durations."""
    pairs = {
        w: [measure(o) for o in sorted(outcomes, key=lambda o: o.seed) if o.way == w]
        for w in ("every", way)
    }
    if pairs["every"] == pairs[way]:
        return 1.0
    return float(wilcoxon(pairs["every"], pairs[way], alternative="less").pvalue)


def shown(outcomes: list[Outcome]) -> str:
    """One line for a problem and a number of workers."""
    o = outcomes[0]
    of = {way: [x for x in outcomes if x.way == way] for way in WAYS}
    ages = sum((Counter(x.staleness) for x in of["every"]), Counter())
    mean_age = sum(age * n for age, n in ages.items()) / ages.total()
    parts = [f"{o.problem:10s} W={o.workers:2d} popsize {of['every'][0].popsize:2d} "]
    for i, look in enumerate(LOOKS):
        best = [f"{way} {statistics.median(x.best[i] for x in of[way]):.1e}" for way in WAYS]
        p = compared(outcomes, "drop", lambda x, i=i: float(logarithms(x.best[i])))
        anytime = compared(outcomes, "drop", lambda x, i=i: x.area[i])
        parts.append(f"{look}: {' '.join(best)} p={p:.4f}, anytime {anytime:.4f} ")
    parts.append(f"used {share(of['every']):.0%} / {share(of['drop']):.0%} ")
    parts.append(f"late {1 - ages[0] / ages.total():.0%} by {mean_age:.1f} ")
    parts.append(f"time {ends(of['every']):.0f} / {ends(of['barrier']):.0f}")
    return " ".join(parts)


def share(outcomes: list[Outcome]) -> float:
    """Of the results that were used."""
    return sum(o.used for o in outcomes) / (BUDGET * len(outcomes))


def ends(outcomes: list[Outcome]) -> float:
    """Median of the virtual time."""
    return statistics.median(o.time for o in outcomes)


def on_the_virtual_clock(names: list[str], workers: list[int], seeds: int) -> list[Outcome]:
    everything = []
    for task in tasks(names):
        for w in workers:
            outcomes = [search(task, w, way, s) for way in WAYS for s in range(seeds)]
            print(shown(outcomes), flush=True)
            everything += outcomes
    return everything


def plain(outcome: Outcome) -> dict[str, Any]:
    """As JSON values of few digits."""
    row = asdict(outcome)
    row["best"] = [float(f"{f:.4g}") for f in outcome.best]
    row["area"] = [round(a, 5) for a in outcome.area]
    row["time"] = round(outcome.time, 1)
    return row


def sleeper(x: np.ndarray, seed: int) -> float:
    """The ellipsoid, slowly: a time that depends on the evaluation alone."""
    rng = np.random.default_rng(seed)
    time.sleep(SLEEP_MS / 1000 * np.exp(SPREAD * rng.standard_normal()))
    return float(1e3 ** (np.arange(len(x)) / (len(x) - 1)) @ (x * x))


def in_the_pool(workers: int, seeds: int, budget: int = 200) -> list[dict[str, Any]]:
    """Evaluations a second by real workers, with and without barrier, in turn."""
    rows = []
    for seed in range(seeds):
        for asynchronous in (False, True):
            seen: list[tuple[float, int]] = []
            r = evoopt.minimize(
                sleeper,
                [2.0] * DIM,
                sigma0=1.0,
                algorithm="cma-es",
                seed=seed,
                budget=budget,
                workers=workers,
                asynchronous=asynchronous,
                callback=lambda s, seen=seen: seen.append((time.perf_counter(), s.evaluations)),
            )
            (first, had), (last, has) = seen[0], seen[-1]  # the start of the workers left out
            rate = (has - had) / (last - first)
            rows.append({"workers": workers, "seed": seed, "asynchronous": asynchronous,
                         "rate": rate, "f": r.f, "notes": r.notes})  # fmt: skip
    rates = {a: [float(r["rate"]) for r in rows if r["asynchronous"] == a] for a in (False, True)}
    medians = {a: statistics.median(rate) for a, rate in rates.items()}
    shown = {a: f"{medians[a]:.1f} [{min(rates[a]):.1f}-{max(rates[a]):.1f}]" for a in rates}
    print(
        f"{workers} workers, evaluations a second: every result {shown[True]}, "
        f"barrier {shown[False]}, ratio {medians[True] / medians[False]:.2f}",
        flush=True,
    )
    return rows


def main() -> None:
    """Runs, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", action="store_true", help="real worker processes")
    parser.add_argument(
        "--problems", nargs="+", default=["ellipsoid", "rosenbrock", "f8", "f10", "f15"]
    )
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.pool:
        rows = [row for w in POOL for row in in_the_pool(w, arguments.seeds)]
    else:
        outcomes = on_the_virtual_clock(arguments.problems, arguments.workers, arguments.seeds)
        rows = [plain(o) for o in outcomes]
    if arguments.output:
        document = {"evoopt": evoopt.__version__, "numpy": np.__version__, "rows": rows}
        arguments.output.write_text(json.dumps(document, separators=(",", ":")))


if __name__ == "__main__":
    main()

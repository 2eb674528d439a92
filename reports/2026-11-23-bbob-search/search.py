"""Search quality on bbob: our BIPOP-CMA-ES beside pycma's, on the same problems from the same
starts, by the area under the run-time distribution over COCO's 51 targets.

Both start from one point drawn uniformly in [-4, 4]^D with step size 2, restart from fresh draws,
and stop at the final target 1e-8 or at the budget. Pairs are (function, instance, seed); the
interval is a paired bootstrap of the difference of the mean areas.

    python reports/2026-11-23-bbob-search/search.py --dims 5 20 -o search.json --figure ecdf.png

Later comparisons are made by `evoopt bench compare`, with other starts and seeds.
Runs that stand beside the output already (.runs.jsonl) are not repeated: an interrupted call can be
taken up. The .npz has the run times to all targets, evaluations, inf where a target was missed.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import evoopt
from evoopt import rng
from evoopt.api import Settings, solve
from evoopt.result import Values
from evoopt_bench.plots import draw_ecdf
from evoopt_bench.runtime import compare_areas
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import Improvements, Run

BUDGETS = (10, 100, 1000)  # evaluations per dimension at which areas are taken
_PAIRS = 1000  # above all instance numbers

Task = tuple[str, int, int, int, int, int]  # engine, dim, function, instance, budget / dim, seed


class Recorded:
    """A COCO problem that records its improvements."""

    n_obj = 1

    def __init__(self, problem: CocoProblem) -> None:
        self.inner = problem
        self.name, self.dim = problem.name, problem.dim
        self.lower, self.upper = problem.lower, problem.upper
        self.improvements = Improvements()

    def evaluate(self, X: np.ndarray) -> Values:
        """As the problem inside."""
        values = self.inner.evaluate(X)
        self.improvements.add(values.F)
        return values

    def run(self) -> Run:
        """What was recorded."""
        at, f = self.improvements.arrays()
        p = self.inner.id
        spent = self.improvements.evaluations
        return Run(p.function, p.dim, p.instance, spent, self.inner.f_opt, at, f)


def ours(algorithm: str, problem: Recorded, start: np.ndarray, budget: int, seed: int) -> None:
    """A strategy of ours with BIPOP restarts."""
    box = problem.inner
    settings = Settings(
        algorithm=algorithm,
        restarts="bipop",
        x0=start.tolist(),
        sigma0=box.sigma0,
        start_lower=box.start_lower.tolist(),
        start_upper=box.start_upper.tolist(),
        ignore_bounds=True,
        budget=budget,
        target=box.target,
        seed=seed,
    )
    solve(problem, settings)


def pycma(problem: Recorded, start: np.ndarray, budget: int, seed: int) -> None:
    """pycma's fmin2 with bipop=True and its nine restarts."""
    import cma

    box = problem.inner
    starts = iter([start])
    draws = np.random.Generator(np.random.Philox(seed))

    def x0() -> np.ndarray:
        drawn = draws.uniform(box.start_lower, box.start_upper)
        return next(starts, drawn)

    cma.fmin2(
        lambda x: float(problem.evaluate(np.asarray(x)[None]).F[0]),
        x0,
        box.sigma0,
        {"maxfevals": budget, "ftarget": box.target, "verbose": -9, "seed": seed % 2**31 + 1},
        restarts=9,
        bipop=True,
    )


ENGINES: dict[str, Callable[[Recorded, np.ndarray, int, int], None]] = {
    "cma-es bipop": lambda *a: ours("cma-es", *a),
    "ma-es bipop": lambda *a: ours("ma-es", *a),
    "pycma bipop": pycma,
}


def one(task: Task) -> dict[str, Any]:
    """One run."""
    engine, dim, function, instance, budget, number = task
    warnings.filterwarnings("ignore")  # of the peers
    problem = Recorded(CocoProblem(ProblemId("bbob", dim, function, instance)))
    seed = 100_000 * number + 1000 * function + instance
    low, high = problem.inner.start_lower, problem.inner.start_upper
    start = low + (high - low) * rng.uniforms(seed, (), 0, 1, dim)[0]
    began = time.process_time()
    ENGINES[engine](problem, start, budget * dim, seed)
    run = problem.run()
    kept = run.at <= budget * dim  # pycma may finish a generation beyond its budget
    return {
        "task": list(task),
        "seconds": round(time.process_time() - began, 3),
        "evaluations": run.evaluations,
        "f_opt": run.f_opt,
        "at": run.at[kept].tolist(),
        "f": run.f[kept].tolist(),
    }


def as_run(record: dict[str, Any]) -> Run:
    """A record as the run-time code takes it."""
    _, dim, function, instance, _, number = record["task"]
    at, f = np.array(record["at"], dtype=np.int64), np.array(record["f"], dtype=np.float64)
    pair = instance + _PAIRS * number  # each seed on an instance makes a pair of its own
    return Run(function, dim, pair, record["evaluations"], record["f_opt"], at, f)


def report(records: list[dict[str, Any]], dims: list[int], budget: int) -> list[dict[str, Any]]:
    """Areas, ratios and intervals, printed and returned."""
    rows = []
    for dim in dims:
        runs: dict[str, list[Run]] = {}
        seconds: dict[str, float] = {}
        for record in records:
            engine, its_dim = record["task"][:2]
            if its_dim == dim:
                runs.setdefault(engine, []).append(as_run(record))
                seconds[engine] = seconds.get(engine, 0.0) + record["seconds"]
        for engine in runs:
            spent = sum(run.evaluations for run in runs[engine])
            solved = sum(run.solved for run in runs[engine])
            print(
                f"\n{dim}-D  {engine}: {len(runs[engine])} runs, {solved} solved, "
                f"{1e6 * seconds[engine] / spent:.1f} us an evaluation"
            )
            for b in BUDGETS:
                if b > budget or engine == "pycma bipop" or "pycma bipop" not in runs:
                    continue
                d = compare_areas(runs[engine], runs["pycma bipop"], b)
                rows.append(
                    {
                        "dim": dim,
                        "engine": engine,
                        "b": b,
                        "ratio": d.first / d.second,
                        **asdict(d),
                        "solved": solved,
                    }
                )
                print(
                    f"   b = {b:5d}: area {d.first:.4f}, pycma {d.second:.4f}, ratio "
                    f"{d.first / d.second:.3f}, difference {d.difference:+.4f} "
                    f"[{d.low:+.4f}, {d.high:+.4f}]"
                )
    return rows


def main() -> None:
    """Runs what is missing, reports, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5])
    parser.add_argument("--functions", type=int, nargs="+", default=list(range(1, 25)))
    parser.add_argument("--instances", type=int, nargs="+", default=list(range(1, 16)))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run each")
    parser.add_argument("--budget", type=int, default=1000, help="evaluations per dimension")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--figure", type=Path, help="run-time distributions of all engines")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tasks = [
        (engine, dim, function, instance, arguments.budget, number)
        for dim in arguments.dims
        for function in arguments.functions
        for instance in arguments.instances
        for number in arguments.seeds
        for engine in arguments.engines
    ]
    lines = arguments.output.with_suffix(".runs.jsonl")
    records = [json.loads(line) for line in lines.open()] if lines.exists() else []
    done = {tuple(record["task"]) for record in records}
    missing = [task for task in tasks if task not in done]
    context = multiprocessing.get_context("spawn")
    with lines.open("a") as file, ProcessPoolExecutor(arguments.workers, context) as pool:
        for record in pool.map(one, missing):
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
    chosen = [record for record in records if tuple(record["task"]) in set(tasks)]
    rows = report(chosen, arguments.dims, arguments.budget)
    np.savez_compressed(
        arguments.output.with_suffix(".npz"),
        tasks=np.array([json.dumps(record["task"]) for record in chosen]),
        times=np.array([as_run(record).times() for record in chosen]),
        evaluations=np.array([record["evaluations"] for record in chosen]),
    )
    if arguments.figure:
        runs: dict[str, list[Run]] = {engine: [] for engine in arguments.engines}
        first = arguments.seeds[0]  # one run per instance, as the picture says
        for record in (r for r in chosen if r["task"][5] == first):
            runs[record["task"][0]].append(as_run(record))
        draw_ecdf(runs, arguments.figure)
    names = ("numpy", "cma", "coco-experiment")
    versions = {"evoopt": evoopt.__version__, **{name: version(name) for name in names}}
    arguments.output.write_text(json.dumps({"versions": versions, "areas": rows}, indent=1))


if __name__ == "__main__":
    main()

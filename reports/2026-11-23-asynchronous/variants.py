"""What becomes of a late row, in several ways, and how many rows make a generation.

    python reports/2026-11-23-asynchronous/variants.py --seeds 7 -o variants.json

Each way stands in for `latent_rows` of evoopt/strategies/collect.py in cma-es. All run on the clock
of benchmarks/perf/asynchronous.py. The best value after 2000 evaluations is shown, on the noisy
sphere (f + 5 N(0, 1), 4000 evaluations) the squared distance of the mean from the optimum, and for
random values the change of ln sigma a generation (0 would be unbiased).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "perf"))

import asynchronous as clock

from evoopt.strategies import cmaes
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.collect import latent_rows

DIM = clock.DIM
Whiten = Callable[[np.ndarray], np.ndarray]


def way(*, pull: float, length: str, path: float | None = None) -> Callable[..., Any]:
    """A stand-in for `latent_rows`.

    Args:
        pull: share of the present in the direction; 0: the step as drawn, 1: (x - mean) / sigma.
        length: "drawn": of z as it was drawn; "clipped": at most sqrt(n) + 2n / (n + 2); "free".
        path: another `pull` for the rows that the path of the step size adds up.
    """

    def rows_of_now(rows, order, generation, mean, sigma, whiten: Whiten):
        fresh = rows.epoch == generation
        present = (rows.X - mean) / sigma
        drawn = np.linalg.norm(rows.Z, axis=1)

        def between(share: float) -> tuple[np.ndarray, np.ndarray]:
            Y = (1 - share) * rows.Y + share * present
            Z = whiten(Y)
            now = np.maximum(np.linalg.norm(Z, axis=1), 1e-150)
            most = math.sqrt(DIM) + 2 * DIM / (DIM + 2)
            change = {
                "drawn": drawn / now,
                "clipped": np.minimum(1, most / now),
                "free": 1 + 0 * now,
            }
            Z, Y = Z * change[length][:, None], Y * change[length][:, None]
            Z[fresh], Y[fresh] = rows.Z[fresh], rows.Y[fresh]
            return Z, Y

        Z, Y = between(pull)
        if path is not None:
            Z = between(path)[0]
        return Z[order], Y[order]

    return rows_of_now


WAYS: dict[str, Callable[..., Any]] = {
    "present, clipped (of injection)": way(pull=1.0, length="clipped"),
    "as drawn": way(pull=0.0, length="drawn"),
    "pull 0.1": way(pull=0.1, length="drawn"),
    "pull 0.3 (chosen)": latent_rows,
    "pull 0.5": way(pull=0.5, length="drawn"),
    "pull 1": way(pull=1.0, length="drawn"),
    "pull 0.3, path as drawn": way(pull=0.3, length="drawn", path=0.0),
}
SHARES = (None, 0.25, 0.5, 1.0)  # of the workers: popsize, at least the default; None: the default


def tasks() -> list[clock.Task]:
    """Those of the benchmark, a noisy sphere, and random values."""
    random = np.random.default_rng(5)
    return [
        *clock.tasks(["ellipsoid", "rosenbrock", "f10"]),
        clock.Task(
            "noisy", lambda x: float(x @ x + 5 * random.standard_normal()),
            lambda _: np.full(DIM, 3.0), 1.0,
        ),
        clock.Task("random", lambda x: random.random(), lambda _: np.zeros(DIM), 1.0),
    ]  # fmt: skip


def measured(task: clock.Task, workers: int, popsize: int, seed: int) -> float:
    """What is shown of one search."""
    clock.BUDGET = 4000 if task.name == "noisy" else 2000
    strategy = CMAES.default(DIM, popsize=popsize)
    state = strategy.init(task.start(seed), task.sigma0, seed)
    outcome = clock.Outcome(task.name, workers, "every", seed)
    F, state = clock.out_of_step(strategy, state, task.f, outcome)
    p = strategy.portrait(state)
    if task.name == "noisy":
        return float(p.mean @ p.mean)
    if task.name == "random":
        return math.log(p.sigma * np.exp(np.log(p.axes).mean())) / p.generation
    return min(F)


def main() -> None:
    """Runs, prints two tables, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def line(
        task: clock.Task, label: str, popsize: Callable[[int], int], workers: list[int]
    ) -> None:
        parts = []
        for w in workers:
            values = [measured(task, w, popsize(w), s) for s in range(arguments.seeds)]
            rows.append({"problem": task.name, "way": label, "workers": w, "popsize": popsize(w),
                         "values": values})  # fmt: skip
            parts.append(f"W={w} {popsize(w):2d}: {statistics.median(values):9.2g}")
        print(f"{task.name:10s} {label:32s} {'  '.join(parts)}", flush=True)

    for task in tasks():
        for label, stand_in in WAYS.items():
            cmaes.latent_rows = stand_in  # type: ignore[assignment]  # of the same form
            line(task, label, lambda w: max(10, math.ceil(w / 2)), [4, 16, 64])
    cmaes.latent_rows = latent_rows
    for task in clock.tasks(["ellipsoid", "rosenbrock", "f15"]):
        for share in SHARES:
            label = "default popsize" if share is None else f"at least {share:g} a worker"
            line(task, label, lambda w, s=share: max(10, math.ceil(w * (s or 0))), [16, 32, 64])
    if arguments.output:
        arguments.output.write_text(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()

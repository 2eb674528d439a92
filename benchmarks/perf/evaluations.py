"""Evaluations to a target on six classical functions, beside the medians of the field.

Start 3 in every variable with step size 1 (Rosenbrock: 0 and 0.1), target 1e-9, default population
size, no stopping criteria; the evaluation that reaches the target is counted exactly. Ellipsoid,
cigar and tablet have condition 1e6, the exponents of diffpow run from 2 to 6. The reference column
holds medians of pycma 4.4 with active weights in the same setting.

    python benchmarks/perf/evaluations.py --dims 10 20 40 --seeds 7 -o evaluations.json
    python benchmarks/perf/evaluations.py --gaps --dims 2 10 40 --seeds 15 -o gaps.json

With --gaps, cma-es with its gap between eigendecompositions beside cma-es with the tutorial's.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import evoopt
from evoopt.result import Values
from evoopt.strategies import strategy_class
from evoopt.strategies.base import Strategy
from evoopt.strategies.cmaes import CMAES

TARGET = 1e-9
MOST = 500_000  # evaluations, then the run has failed
TUTORIAL_GAP = 10.0  # generations between decompositions: 1 / (10 n (c_1 + c_mu)), Sec. B.2

# medians of pycma 4.4, 7 seeds (3 at n = 40): dim -> function -> evaluations
REFERENCE: dict[int, dict[str, int]] = {
    10: {"sphere": 1640, "cigar": 4220, "tablet": 3240, "ellipsoid": 4320, "diffpow": 2030,
         "rosenbrock": 5010},
    20: {"sphere": 3036, "cigar": 8472, "tablet": 7632, "ellipsoid": 13356, "diffpow": 5376,
         "rosenbrock": 16404},
    40: {"sphere": 5745, "cigar": 16995, "tablet": 21120, "ellipsoid": 49065, "diffpow": 16365,
         "rosenbrock": 61740},
}  # fmt: skip


def functions(dim: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> rows to values."""
    share = np.arange(dim) / max(1, dim - 1)
    return {
        "sphere": lambda X: (X**2).sum(1),
        "cigar": lambda X: X[:, 0] ** 2 + 1e6 * (X[:, 1:] ** 2).sum(1),
        "tablet": lambda X: 1e6 * X[:, 0] ** 2 + (X[:, 1:] ** 2).sum(1),
        "ellipsoid": lambda X: (10 ** (6 * share) * X**2).sum(1),
        "diffpow": lambda X: (np.abs(X) ** (2 + 4 * share)).sum(1),
        "rosenbrock": lambda X: (100 * (X[:, :-1] ** 2 - X[:, 1:]) ** 2 + (X[:, :-1] - 1) ** 2).sum(
            1
        ),
    }


def evaluations(strategy: Strategy, name: str, seed: int) -> float:
    """Evaluations of one run until the target; inf if it was not reached."""
    f = functions(strategy.dim)[name]
    x0, sigma0 = (0.0, 0.1) if name == "rosenbrock" else (3.0, 1.0)
    state = strategy.init(np.full(strategy.dim, x0), sigma0, seed)
    spent = 0
    while spent < MOST:
        population, state = strategy.ask(state, strategy.popsize)
        F = f(population.X)
        hits = np.flatnonzero(F <= TARGET)
        if hits.size:
            return spent + int(hits[0]) + 1
        state = strategy.tell(state, population, Values(F))
        spent += len(F)
    return float("inf")


def strategies(dim: int, gaps: bool) -> dict[str, Strategy]:
    """What is compared."""
    if not gaps:
        return {name: strategy_class(name).default(dim) for name in ("cma-es", "ma-es")}
    lazy = CMAES.default(dim)
    eager = replace(lazy, eigen_gap=1 / ((lazy.c_1 + lazy.c_mu) * dim * TUTORIAL_GAP))
    return {"cma-es": lazy, "tutorial's gap": eager}


def main() -> None:
    """Runs, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--gaps", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for dim in arguments.dims:
        compared = strategies(dim, arguments.gaps)
        for name in functions(dim):
            if dim < 10 and name == "cigar":
                continue  # with two variables it is the tablet again
            runs = {
                label: sorted(evaluations(s, name, seed) for seed in range(arguments.seeds))
                for label, s in compared.items()
            }
            medians = {label: statistics.median(spent) for label, spent in runs.items()}
            reference = REFERENCE.get(dim, {}).get(name)
            if arguments.gaps:
                reference = medians["tutorial's gap"]
            rows.append({"dim": dim, "function": name, "reference": reference, "runs": runs})
            shown = "".join(
                f"  {label} {median:8.0f} [{runs[label][0]:.0f}-{runs[label][-1]:.0f}]"
                + (f" {median / reference:.3f}" if reference else "")
                for label, median in medians.items()
            )
            print(f"n={dim:3d} {name:10s} reference {reference or '-'!s:>7}{shown}", flush=True)
    if arguments.output:
        document = {"evoopt": evoopt.__version__, "numpy": np.__version__, "rows": rows}
        arguments.output.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

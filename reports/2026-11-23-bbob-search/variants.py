"""Variants of cma-es with BIPOP on bbob, beside the pycma runs of this report.

    python reports/2026-11-23-bbob-search/variants.py VARIANT... --dim 20 --budget 1000 --seed 0

Variants: base, rate3 (pycma's rate of the step size), eager (a decomposition every generation),
loose (tolfun and tolfunhist 100 times larger), flat3 (tolflatfitness 3), patient (no stagnation
criteria), wide (pycma's popsize of small runs); several at once are combined. The pycma areas are
those of the same seed in 5d.npz or 20d.npz.
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import search

from evoopt import rng
from evoopt.strategies import cmaes, weights
from evoopt.strategies.compose import restarts
from evoopt.strategies.stopping import Tolerances
from evoopt_bench.runtime import area
from evoopt_bench.suites import CocoProblem, ProblemId

TUTORIAL = weights.recombination
DEFAULT = Tolerances.default
BARS: dict[str, dict[str, Any]] = {
    "loose": {"tolfun": 1e-9, "tolfunhist": 1e-10},
    "flat3": {"tolflatfitness": 3},
    "patient": {"tolstagnation": None, "tolxstagnation": None},
}


def faster(dim: int, popsize: int, *, active: bool) -> weights.Recombination:
    """c_sigma = (mueff + 2) / (n + mueff + 3)."""
    r = TUTORIAL(dim, popsize, active=active)
    c = (r.mueff + 2) / (dim + r.mueff + 3)
    damping = 1 + 2 * max(0.0, math.sqrt((r.mueff - 1) / (dim + 1)) - 1) + c
    return replace(r, c_sigma=c, d_sigma=damping)


def apply(variants: list[str]) -> None:
    """Changes the constants of the running program."""
    if "rate3" in variants:
        cmaes.recombination = faster  # type: ignore[attr-defined]  # replaced for this run
    if "eager" in variants:
        cmaes._LAZY = 10.0
    if "wide" in variants:
        restarts._SMALL_SHARE = 1.0  # also lets a small run take all of the large budget
    bars = {k: v for name in variants for k, v in BARS.get(name, {}).items()}
    Tolerances.default = staticmethod(  # type: ignore[method-assign]  # replaced for this run
        lambda dim, popsize: replace(DEFAULT(dim, popsize), **bars)
    )


def main() -> None:
    """Runs all functions and instances once, and prints areas and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--dim", type=int, default=20, choices=[5, 20])
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--functions", type=int, nargs="+", default=list(range(1, 25)))
    a = parser.parse_args()
    apply(a.variants)
    data = np.load(HERE / f"{a.dim}d.npz")
    pycma = {
        tuple(task[2:4]): times
        for task, times in zip(map(json.loads, data["tasks"]), data["times"], strict=True)
        if task[0] == "pycma bipop" and task[5] == a.seed
    }
    times = {}
    for f in a.functions:
        for i in range(1, 16):
            problem = search.Recorded(CocoProblem(ProblemId("bbob", a.dim, f, i)))
            seed = 100_000 * a.seed + 1000 * f + i
            low, high = problem.inner.start_lower, problem.inner.start_upper
            start = low + (high - low) * rng.uniforms(seed, (), 0, 1, a.dim)[0]
            search.ours("cma-es", problem, start, a.budget * a.dim, seed)
            times[f, i] = problem.run().times()
    for b in (b for b in search.BUDGETS if b <= a.budget):
        ours, theirs = (
            float(np.mean([area(t[key], a.dim, b) for key in times])) for t in (times, pycma)
        )
        print(f"{'+'.join(a.variants)} {a.dim}-D seed {a.seed} b = {b}: {ours:.4f}, ", end="")
        print(f"pycma {theirs:.4f}, ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()

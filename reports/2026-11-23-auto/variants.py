"""What each part of `auto` brings: its area on bbob with one part changed at a time.

python reports/2026-11-23-auto/variants.py --dim 5 --instances 5 --budget 1000 -o variants-5d.json
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
from pathlib import Path

import numpy as np

from evoopt import plan, rng
from evoopt.api import Settings, solve
from evoopt.strategies import quadratic
from evoopt.strategies.compose import portfolio
from evoopt.strategies.quadratic import Quadratic
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import hitting_times

VARIANTS = {  # name -> (object, attribute, value)
    "as it is": (),
    "no centre": ((plan, "_centre_for_variants", None),),
    "no longer steps": ((quadratic, "_LONGEST", 0.0),),
    "3 dim + 1 points": ((quadratic, "_points_for_variants", 3),),
    "limit 20 D": ((plan, "MOST_PER_VARIABLE", 20),),
    "limit 50 D": ((plan, "MOST_PER_VARIABLE", 50),),
    "limit 200 D": ((plan, "MOST_PER_VARIABLE", 200),),
    "curvature always": ((portfolio, "_LOCAL", 0.0),),
    "curvature never": ((portfolio, "_LOCAL", np.inf),),
    "region shrinks by 0.3": ((quadratic, "_SHRINK", 0.3),),
}


class Recorded:
    """A problem that keeps its values."""

    n_obj = 1

    def __init__(self, problem):
        self.inner, self.name, self.dim = problem, problem.name, problem.dim
        self.lower, self.upper = problem.lower, problem.upper
        self.F = []

    def evaluate(self, X):
        values = self.inner.evaluate(X)
        self.F.extend(values.F.tolist())
        return values


def area(times, dim, b):
    with np.errstate(divide="ignore"):
        return float(np.clip(1 - np.log10(times / dim) / np.log10(b), 0, 1).mean())


def one(dim, function, instance, budget):
    problem = Recorded(CocoProblem(ProblemId("bbob", dim, function, instance)))
    inner, seed = problem.inner, 1000 * function + instance
    u = rng.uniforms(seed, (), 0, 1, dim)[0]
    x0 = inner.start_lower + (inner.start_upper - inner.start_lower) * u
    solve(problem, Settings(
        x0=x0.tolist(), sigma0=inner.sigma0, start_lower=inner.start_lower.tolist(),
        start_upper=inner.start_upper.tolist(), ignore_bounds=True, budget=budget * dim,
        target=inner.target, seed=seed,
    ))  # fmt: skip
    F = np.array(problem.F)
    return hitting_times(np.arange(1, len(F) + 1), F, inner.f_opt)


def changed(name):
    """Apply a variant. Returns: what undoes it."""
    undo = []
    for place, attribute, value in VARIANTS[name]:
        if attribute == "_centre_for_variants":
            place, attribute = Quadratic, "default"
            value = staticmethod(lambda dim, **k: Quadratic(dim, 2 * dim + 1))
        elif attribute == "_points_for_variants":
            place, attribute = Quadratic, "default"
            value = staticmethod(
                lambda dim, centre=None, **k: Quadratic(
                    dim, min(3 * dim + 1, (dim + 1) * (dim + 2) // 2), centre
                )
            )
        undo.append((place, attribute, place.__dict__[attribute]))
        setattr(place, attribute, value)
    return undo


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=5)
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--budget", type=int, default=1000, help="evaluations per dimension")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    dim, budget = arguments.dim, arguments.budget
    budgets = [b for b in (10, 100, 1000) if b <= budget]
    rows = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for name in arguments.variants:
        if name in rows:
            continue
        undo = changed(name)
        times = [
            one(dim, function, instance, budget)
            for function in range(1, 25)
            for instance in range(1, arguments.instances + 1)
        ]
        for place, attribute, value in undo:
            setattr(place, attribute, value)
        rows[name] = {b: float(np.mean([area(t, dim, b) for t in times])) for b in budgets}
        print(f"{dim}-D {name:22s}", *(f"{b}: {a:.4f}" for b, a in rows[name].items()), flush=True)
        arguments.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

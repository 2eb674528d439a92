"""Whether `auto` knows more than f, bounds and dimension: its area on bbob, and on copies of bbob
that are shifted, rotated, rescaled, or in a box whose middle is elsewhere, from the same starts.

    python reports/2026-11-23-auto/copies.py --dim 5 --instances 15 --budget 100 -o copies-5d.json
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json

import numpy as np

from evoopt import rng
from evoopt.api import Settings, solve
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import hitting_times


class Copy:
    """x -> f(A x + b), in a box of starts of its own; records its values."""

    n_obj = 1

    def __init__(self, problem, A, b, low, high):
        self.inner, self.A, self.b = problem, A, b
        self.name, self.dim = problem.name, problem.dim
        self.lower, self.upper = low, high
        self.F = []

    def evaluate(self, X):
        values = self.inner.evaluate(X @ self.A.T + self.b)
        self.F.extend(values.F.tolist())
        return values


def rotation(dim, seed):
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return Q * np.sign(np.diag(R))


def copies(dim, seed):
    """name -> A, b, unit of length, lower and upper end of the box of starts."""
    same, zero, ones = np.eye(dim), np.zeros(dim), np.ones(dim)
    draw = np.random.default_rng(seed)
    shift = draw.uniform(-1e3, 1e3, dim)
    R = rotation(dim, seed)
    low, high = -4 * ones, 4 * ones
    off = draw.uniform(-1, 1, dim)  # the box is an eighth of its width aside, and a quarter wider
    wide = low - 1 + off, high + 1 + off
    return {
        "plain": (same, zero, 1.0, low, high),
        "shifted": (same, -shift, 1.0, shift + low, shift + high),
        "rescaled": (same / 1e3, zero, 1e3, 1e3 * low, 1e3 * high),
        "rotated": (R, zero, 1.0, low, high),
        "another box": (same, zero, 1.0, *wide),
        "all": (
            R / 1e3,
            -R @ shift,
            1e3,
            1e3 * (shift + low - 1 + off),
            1e3 * (shift + high + 1 + off),
        ),
    }


def area(times, dim, b):
    with np.errstate(divide="ignore"):
        return float(np.clip(1 - np.log10(times / dim) / np.log10(b), 0, 1).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=5)
    parser.add_argument("--instances", type=int, default=15)
    parser.add_argument("--budget", type=int, default=100, help="evaluations per dimension")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    dim, budget = arguments.dim, arguments.budget
    budgets = [b for b in (10, 100, 1000) if b <= budget]
    areas = {}
    for function in range(1, 25):
        for instance in range(1, arguments.instances + 1):
            seed = 1000 * function + instance
            start = -4 + 8 * rng.uniforms(seed, (), 0, 1, dim)[0]
            for name, (A, b, unit, low, high) in copies(dim, seed).items():
                problem = CocoProblem(ProblemId("bbob", dim, function, instance))
                copy = Copy(problem, A, b, low, high)
                x0 = np.linalg.solve(A, start - b)
                solve(copy, Settings(
                    x0=x0.tolist(), sigma0=problem.sigma0 * unit,
                    start_lower=low.tolist(), start_upper=high.tolist(), ignore_bounds=True,
                    budget=budget * dim, target=problem.target, seed=seed,
                ))  # fmt: skip
                F = np.array(copy.F)
                times = hitting_times(np.arange(1, len(F) + 1), F, problem.f_opt)
                for width in budgets:
                    areas.setdefault(name, {}).setdefault(width, []).append(area(times, dim, width))
    rows = {name: {b: float(np.mean(a)) for b, a in by.items()} for name, by in areas.items()}
    for name, by in rows.items():
        print(f"{dim}-D {name:12s}", *(
            f"b={b}: {a:.4f} ({a / rows['plain'][b] - 1:+.1%})" for b, a in by.items()
        ))  # fmt: skip
    with open(arguments.output, "w") as file:
        json.dump({"dim": dim, "instances": arguments.instances, "areas": rows}, file, indent=1)


if __name__ == "__main__":
    main()

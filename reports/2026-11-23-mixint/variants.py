"""Which handling of integers: six ways of it around the same CMA-ES in the same IPOP loop, on
bbob-mixint. Each is the published rule on its own or with another one, and differs in nothing else.

    python reports/2026-11-23-mixint/variants.py --dims 5 10 --instances 1 2 3 4 5 --budget 300

rounding   nothing but rounding
margin     CMA-ES with Margin, margin 1 / (n popsize) (Hamano et al. 2022)
lb         lower bound on the standard deviations (Marty et al. 2024, as in pycma 4.5)
lb+ic      the same with integer centering: LB+IC-CMA-ES
catcmawm   integer handling of CatCMA with margin (Hamano et al. 2025, as in cmaes 0.13)
margin+ic  margin 1 / (n popsize) with integer centering: what evoopt does
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import itertools
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np

from evoopt import rng
from evoopt.grid import Grid
from evoopt.result import Values
from evoopt.strategies.base import Population
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.compose.bounds import Bounded
from evoopt.strategies.compose.integers import Integers, with_margin
from evoopt.strategies.stopping import Tolerances
from evoopt_bench.runtime import area, compare_areas
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import Improvements, Run

NORMAL = NormalDist()
VARIANTS = ("rounding", "margin", "lb", "lb+ic", "catcmawm", "margin+ic")
EPS = 1e-8


def quantile(p):
    return -NORMAL.inv_cdf(p)


def lower_bound(A, std, n, m, mueff):
    """pycma's integer_std_lower_bound."""
    tail = 1 / (2 + n + m)
    return np.maximum(A, min(0.2, mueff / n, 0.5 / quantile(tail)) / std)


def catcmawm(mean, std, A, cells, alpha, mutation, succeeded, grid):
    """cmaes.CatCMAwM._margin_correction, one variable at a time."""
    mean, A, mutation = mean.copy(), A.copy(), mutation.copy()
    below, above = cells
    middle = grid.values(grid.numbers(mean))
    for j in range(len(mean)):
        s = A[j] * std[j]
        if math.isinf(below[j]) or math.isinf(above[j]):
            end, sign = (above[j], -1) if math.isinf(below[j]) else (below[j], 1)
            p = max(NORMAL.cdf(-abs(end - mean[j]) / s), alpha)
            p = p if succeeded[j] else min(p, mutation[j])
            p = min(max(p, EPS), 0.5 - EPS)
            A[j] = max(A[j], abs(middle[j] - end) / (std[j] * quantile(alpha)))
            mean[j] = end + sign * A[j] * std[j] * quantile(p)
            mutation[j] = p
            continue
        low, up = NORMAL.cdf((below[j] - mean[j]) / s), NORMAL.cdf((mean[j] - above[j]) / s)
        mid = 1 - low - up
        low, up = max(low, alpha / 2), max(up, alpha / 2)
        rest = low + mid + up - 1.5 * alpha
        if not succeeded[j]:
            mid = max(mid, 1 - mutation[j])
            rest = low + up + mid - alpha - (1 - mutation[j])
        share = (1 - low - up - mid) / (rest or 1)
        low = min(max(low + share * (low - alpha / 2), EPS), 0.5 - EPS)
        up = min(max(up + share * (up - alpha / 2), EPS), 0.5 - EPS)
        q_low, q_up = quantile(low), quantile(up)
        A[j] = (above[j] - below[j]) / ((q_low + q_up) * std[j])
        mean[j] = (below[j] * q_up + above[j] * q_low) / (q_low + q_up)
        mutation[j] = low + up
    return mean, A, mutation


def one(variant, problem_id, budget, seed):
    """One run with restarts; the population doubles each time."""
    problem = CocoProblem(problem_id)
    n, where = problem.dim, problem.integers
    m = int(where.sum())
    grid = Grid.whole(where, problem.lower, problem.upper)
    scale = np.asarray(problem.sigma0) * np.ones(n)
    lower = np.where(where, -np.inf, problem.lower)
    upper = np.where(where, np.inf, problem.upper)
    seen, most, spent, runs = Improvements(), budget * n, 0, 0
    centering = variant.endswith("ic") or variant == "catcmawm"
    while spent < most:
        lam = (4 + int(3 * math.log(n))) * 2 ** min(runs, 6)
        tolerances = replace(Tolerances.default(n, lam), tolflatfitness=int(3 + 30 * m / n))
        cma = CMAES.default(n, popsize=lam, tolerances=tolerances)
        to_box = Bounded.around(cma, lower, upper, scale).transform.to_box
        u = rng.uniforms(seed, (runs,), 0, 1, n)[0]
        start = problem.start_lower * (1 - u) + problem.start_upper * u
        state = cma.init(start / scale, 1.0, seed, (runs,))
        A, mutation, runs = np.ones(m), np.full(m, 0.5 - EPS), runs + 1
        while spent < most and cma.stop(state) is None:
            rows, state = cma.ask(state, lam)
            d = state.distribution
            mean = d.mean[where] * scale[where]
            V = rows.X * scale
            V[:, where] = mean + A * (V[:, where] - mean)
            F = problem.evaluate(grid.nearest(to_box(V))).F
            seen.add(F)
            spent += lam
            succeeded = np.ones(m, dtype=bool)
            if centering:
                order = np.argsort(F, kind="stable")
                parents = V[order[: cma.mu]][:, where]
                succeeded = (grid.numbers(parents) != grid.numbers(mean)).any(axis=0)
                U, Y = rows.X[order].copy(), rows.Y[order].copy()
                centred = Integers(cma, grid, 0.1)._centred(parents, mean)
                U[: cma.mu, where] = (mean + (centred - mean) / A) / scale[where]
                Y[: cma.mu] = (U[: cma.mu] - d.mean) / d.sigma
                Z = Y.dot(d.B) / d.D
                rows, F = Population(rows.id[order], rows.epoch[order], U, Z, Y), F[order]
            state = cma.tell(state, rows, Values(F))
            raw, std = cma.marginals(state, where)
            mean, std = raw * scale[where], std * scale[where]
            cells = grid.cells(mean)
            if variant.startswith("margin"):
                mean, widened = with_margin(mean, A * std, *cells, 1 / (n * lam))
                A = np.where(widened > 0, widened / std, A)
            elif variant.startswith("lb"):
                A = lower_bound(A, std, n, m, cma.mueff)
            elif variant == "catcmawm":
                alpha = 1 - 0.73 ** (1 / m)
                mean, A, mutation = catcmawm(mean, std, A, cells, alpha, mutation, succeeded, grid)
            state = cma.moved(state, where, mean / scale[where])
            if seen.arrays()[1][-1] <= problem.target:
                spent = most
    at, f = seen.arrays()
    kept = at <= most
    p = problem_id
    return Run(p.function, n, p.instance, seen.evaluations, problem.f_opt, at[kept], f[kept])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for dim in arguments.dims:
        b, runs = arguments.budget, {}
        for variant in VARIANTS:
            began = time.process_time()
            runs[variant] = [
                one(variant, ProblemId("bbob-mixint", dim, function, i), b, 100 * i + function)
                for function, i in itertools.product(range(1, 25), arguments.instances)
            ]
            areas = [
                float(np.mean([area(r.times(), dim, c) for r in runs[variant]])) for c in (100, b)
            ]
            solved = sum(r.solved for r in runs[variant])
            print(
                f"{dim}-D {variant:10s} area(100) {areas[0]:.4f}  area({b}) {areas[1]:.4f}  "
                f"solved {solved} of {len(runs[variant])}  {time.process_time() - began:.0f} s",
                flush=True,
            )
            rows.append({"dim": dim, "variant": variant, "areas": areas, "solved": solved})
        for variant in VARIANTS[:-1]:
            d = compare_areas(runs["margin+ic"], runs[variant], b)
            ends = f"[{d.low:+.4f}, {d.high:+.4f}]"
            print(f"     margin+ic less {variant:10s} {d.difference:+.4f} {ends}")
            rows.append({"dim": dim, "less": variant, "interval": [d.difference, d.low, d.high]})
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

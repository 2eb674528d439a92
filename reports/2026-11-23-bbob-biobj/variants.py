"""What each part of `hmo-cma-es` brings: shares of the targets with one part changed at a time.

python reports/2026-11-23-bbob-biobj/variants.py --dim 5 --budget 316 -o variants-5d.json
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import dataclasses
import json
import time
from pathlib import Path

from evoopt.result import Values
from evoopt.strategies import frontmodel
from evoopt.strategies.compose import hmo
from evoopt.strategies.frontmodel import FrontModel
from evoopt.strategies.upmo import UPMOCMAES
from evoopt_bench.measure import measure_of
from evoopt_bench.suites import CocoProblem, ProblemId

SUITE = "bbob-biobj"
SEED = 1
HYBRID = hmo.HMOCMAES.default
SHARES = hmo.HMOCMAES._shares
MODEL, UP, RUNS = range(3)


def without(part):
    """Shares in which one part has none."""

    def shares(self, told, gained, counted):
        kept = [0.0 if i == part else s for i, s in enumerate(SHARES(self, told, gained, counted))]
        return tuple(s / sum(kept) for s in kept)

    return ((hmo.HMOCMAES, "_shares", shares),)


def full(dim, **words):
    """A model of half as many points again as it has coefficients."""
    points = 3 * (dim + 1) * (dim + 2) // 4
    return dataclasses.replace(HYBRID(dim, **words), model=FrontModel(dim, 1, points))


VARIANTS = {  # name -> what makes the strategy, and (object, attribute, value) that are changed
    "as it is": (HYBRID, ()),
    "front-model alone": (lambda dim, **_: FrontModel.default(dim), ()),
    "up-mo-cma-es alone": (lambda dim, **_: UPMOCMAES.default(dim), ()),
    "without up-mo-cma-es": (HYBRID, without(UP)),
    "without runs": (HYBRID, without(RUNS)),
    "cobyqa first": (lambda dim, **w: HYBRID(dim, start="cobyqa", **w), ()),
    "bobyqa first": (lambda dim, **w: HYBRID(dim, start="bobyqa", **w), ()),
    "larger models": (full, ()),
    "one candidate of a model": (HYBRID, ((frontmodel, "_MOST", 1),)),
    "all parts alike at first": (HYBRID, ((hmo, "_MODEL_BEGINS", 0),)),
}


def run(make, problem, budget, seed):
    """The run of one strategy on one problem."""
    box = problem.start_lower, problem.start_upper
    strategy = make(problem.dim, start_lower=box[0], start_upper=box[1])
    state = strategy.init(problem.start, problem.sigma0, seed)
    course, left = problem.course(), int(budget * problem.dim)
    while left:
        rows, state = strategy.ask(state, min(left, strategy.batch(state)))
        values = problem.evaluate(rows.X)
        course.add(values.F)
        state = strategy.tell(state, rows, Values(values.F, None, values.failures))
        left -= len(rows)
    return problem.run(course)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dim", type=int, default=5)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--budget", type=float, default=316)
    parser.add_argument("--only", nargs="*", choices=VARIANTS)
    parser.add_argument("-o", "--out", type=Path, required=True)
    words = parser.parse_args()
    measure = measure_of(SUITE)
    budgets = [b for b in measure.budgets if b <= words.budget]
    print(f"{'':28}" + "".join(f"{b:>8}" for b in budgets) + "   us/evaluation")
    found = {}
    for name in words.only or VARIANTS:
        make, changes = VARIANTS[name]
        kept = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in changes]
        for owner, attribute, value in changes:
            setattr(owner, attribute, value)
        began, runs = time.process_time(), []
        for function in range(1, 56):
            for instance in range(1, words.instances + 1):
                problem = CocoProblem(ProblemId(SUITE, words.dim, function, instance))
                seed = (SEED * 100 + function) * 100 + instance
                runs.append(run(make, problem, words.budget, seed))
        spent = (time.process_time() - began) / len(runs) / words.budget / words.dim * 1e6
        for owner, attribute, value in kept:
            setattr(owner, attribute, value)
        shares = {b: round(measure.mean(runs, b), 4) for b in budgets}
        found[name] = {"shares": shares, "microseconds": round(spent, 1)}
        print(
            f"{name:28}" + "".join(f"{s:8.4f}" for s in shares.values()) + f"{spent:12.0f}",
            flush=True,
        )
        words.out.write_text(json.dumps({"words": str(words), "variants": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()

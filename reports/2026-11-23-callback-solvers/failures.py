"""What a solver is told of a failed evaluation: four rules compared; see README.md.
Usage: failures.py OUT.json"""

import json
import math
import sys

import numpy as np

from evoopt.result import Values
from evoopt.strategies import strategy_class
from evoopt.strategies.conversation import Told

TARGET, MOST, RUNS = 1e-6, 600, 9
RULES = {  # values of the window, newest first -> what stands for the failure
    "worst of the window": max,
    "worst of the window + its range": lambda known: 2 * max(known) - min(known),
    "barrier 1e30": lambda known: 1e30,
}


def sphere(x):
    return float(x @ x)


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


CASES = {
    "sphere, fails at x1 < 0": (sphere, lambda x: x[0] < 0),
    "Rosenbrock, fails at x1 > 1.05": (rosenbrock, lambda x: x[0] > 1.05),
    "Rosenbrock, fails in spots": (rosenbrock, lambda x: np.sin(5 * x).sum() > 1.2),
}


def answering(rule):
    """`Told.answer` with another rule."""

    def answer(self, window):
        values = self._F[: self._length]
        if math.isfinite(values[-1]):
            return values[-1]
        known = [f for f in reversed(values) if math.isfinite(f)][:window]
        return rule(known)

    return answer


def evaluations(name, fun, fails, seed):
    """Until the target, or None."""
    strategy = strategy_class(name).default(3)
    x0 = np.random.default_rng(seed).uniform(0.1, 1.0, 3)
    state = strategy.init(x0, 0.5, seed)
    for i in range(MOST):
        if strategy.stop(state) is not None:
            return None
        rows, state = strategy.ask(state, 1)
        x = rows.X[0]
        f = math.nan if fails(x) else fun(x)
        if f <= TARGET:
            return i + 1
        state = strategy.tell(state, rows, Values(np.array([f])))
    return None


def main():
    found = {}
    for name in ("cobyqa", "bobyqa"):
        for label, (fun, fails) in CASES.items():
            for rule_name, rule in RULES.items():
                Told.answer = answering(rule)
                ns = [evaluations(name, fun, fails, seed) for seed in range(RUNS)]
                reached = sorted(n for n in ns if n is not None)
                median = reached[len(reached) // 2] if reached else None
                found[f"{name}; {label}; {rule_name}"] = {"reached": len(reached), "median": median}
                print(name, label, rule_name, len(reached), "of", RUNS, median, flush=True)
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()

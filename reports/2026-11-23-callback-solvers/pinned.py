"""CPU time an evaluation of `cobyqa` on Rosenbrock's function, n = 10, directly and through ask and
tell; see README.md. Usage: taskset -c 0 pinned.py, and without taskset"""

import measure
import numpy as np

from evoopt.strategies import strategy_class

X0 = np.linspace(-1.0, 1.0, 10) + 0.3


def milliseconds(points_and_seconds):
    X, seconds = points_and_seconds
    return f"{seconds / len(X) * 1e3:.2f}"


def main():
    measure.direct("cobyqa", measure.sphere, X0)  # imports
    strategy = strategy_class("cobyqa").default(10)
    direct = [milliseconds(measure.direct("cobyqa", measure.rosenbrock, X0)) for _ in range(5)]
    ours = [milliseconds(measure.asked(strategy, measure.rosenbrock, X0)) for _ in range(5)]
    print("direct", *direct, "ours", *ours)


if __name__ == "__main__":
    main()

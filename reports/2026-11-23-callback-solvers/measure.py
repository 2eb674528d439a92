"""Evaluations to 1e-8 and the cost of the bridge; see README.md. Usage: measure.py OUT.json"""

import contextlib
import json
import sys
import time
from dataclasses import dataclass

import numpy as np

from evoopt.result import Values
from evoopt.strategies import strategy_class
from evoopt.strategies.base import Claims
from evoopt.strategies.callback import CallbackSolver
from evoopt.strategies.stopping import reason

TARGET, RADIUS, MOST = 1e-8, 0.5, 1000
DIMS = (2, 5, 10, 20)


def sphere(x):
    return float(x @ x)


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def ellipsoid(x):
    return float((1e6 ** (np.arange(len(x)) / (len(x) - 1)) * x**2).sum())


class Reached(Exception):
    pass


def recorded(fun, X):
    """The objective, which notes its points and ends the solver at the target or after MOST."""

    def f(x):
        X.append(np.array(x))
        value = fun(x)
        if value <= TARGET or len(X) >= MOST:
            raise Reached
        return value

    return f


def direct(name, fun, x0):
    """Points and seconds of the solver called without us."""
    X = []
    start = time.process_time()
    try:
        if name == "cobyqa":
            from scipy.optimize import minimize

            options = {"initial_tr_radius": RADIUS, "final_tr_radius": 1e-8 * RADIUS}
            options |= {"maxfev": 10**6, "maxiter": 10**6}
            minimize(recorded(fun, X), x0, method="COBYQA", options=options)
        else:
            import pybobyqa

            words = {"rhobeg": RADIUS, "rhoend": 1e-8 * RADIUS, "maxfun": 10**6}
            pybobyqa.solve(recorded(fun, X), x0, do_logging=False, **words)
    except Reached:
        pass
    return np.array(X), time.process_time() - start


def asked(strategy, fun, x0):
    """Points and seconds through ask and tell."""
    X = []
    f = recorded(fun, X)
    start = time.process_time()
    state = strategy.init(x0, RADIUS, 1)
    try:
        while strategy.stop(state) is None:
            rows, state = strategy.ask(state, 1)
            state = strategy.tell(state, rows, Values(np.array([f(rows.X[0])])))
    except Reached:
        pass
    return np.array(X), time.process_time() - start


@dataclass(frozen=True, slots=True)
class Walk(CallbackSolver):
    """A solver that costs nothing: all that remains is the bridge."""

    dim: int
    lower: None = None
    upper: None = None
    popsize: int = 1
    name: str = "walk"
    claims: Claims = Claims(sequential=True)

    @property
    def window(self):
        return 3

    def solve(self, fun, start, radius):
        for _ in range(MOST):
            fun(start)
        return reason("tolradius", radius, radius)


def bridge(dim):
    """Median microseconds an evaluation over 9 runs: through ask and tell, and called directly."""
    strategy, ours, theirs = Walk(dim), [], []
    for _ in range(9):
        X, seconds = asked(strategy, lambda x: 1.0, np.ones(dim))
        ours.append(seconds / len(X) * 1e6)
        start = time.process_time()
        with contextlib.suppress(Reached):
            strategy.solve(recorded(lambda x: 1.0, []), np.ones(dim), 1.0)
        theirs.append((time.process_time() - start) / MOST * 1e6)
    return float(np.median(ours)), float(np.median(theirs))


def main():
    rows = []
    for name in ("cobyqa", "bobyqa"):
        direct(name, sphere, np.ones(2))  # imports
        for fun in (sphere, rosenbrock, ellipsoid):
            for dim in DIMS:
                x0 = np.linspace(-1.0, 1.0, dim) + 0.3
                X, seconds = direct(name, fun, x0)
                Y, seconds_ours = asked(strategy_class(name).default(dim), fun, x0)
                row = {
                    "solver": name,
                    "function": fun.__name__,
                    "dim": dim,
                    "evaluations": len(Y),
                    "reached": bool(fun(Y[-1]) <= TARGET),
                    "equal": X.tobytes() == Y.tobytes(),
                    "ms_direct": seconds / len(X) * 1e3,
                    "ms_ours": seconds_ours / len(Y) * 1e3,
                }
                print(row, flush=True)
                rows.append(row)
    cost = {str(dim): bridge(dim) for dim in (2, 20, 200)}
    print(cost)
    with open(sys.argv[1], "w") as file:
        json.dump({"runs": rows, "bridge_us_ours_and_direct": cost}, file, indent=1)


if __name__ == "__main__":
    main()

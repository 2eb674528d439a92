"""What strategies with a fixed step size reach, beside those that learn one and a covariance.

    python benchmarks/perf/fixed_steps.py -o fixed_steps.json

Functions: sphere, ellipsoid of condition 1e6, Rastrigin of 3.5 x, and the weights of a network that
balances a pole on a cart (noisy: each evaluation starts elsewhere; flat: it counts steps). x0 = 1
or, for the network, 0. What counts is f at the mean of the distribution after a budget of
evaluations; that of the network over 200 starts that no search has seen.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.problem import classified
from evoopt.strategies import strategy_class

Array = NDArray[np.float64]

STEPS = 200  # of a tenth of a second at most until the pole has fallen
TESTS = 200  # starts


def sphere(X: Array, _: int) -> Array:
    """X: (k, n). Returns: (k,)."""
    return (X**2).sum(axis=1)


def ellipsoid(X: Array, _: int) -> Array:
    """Condition 1e6. X: (k, n)."""
    n = X.shape[1]
    return (X**2) @ 10.0 ** (6 * np.arange(n) / max(1, n - 1))


def rastrigin(X: Array, _: int) -> Array:
    """X: (k, n)."""
    X = 3.5 * X  # so that x0 is no local minimum, and sigma0 = 0.3 reaches the next ones
    return (10 + X**2 - 10 * np.cos(2 * math.pi * X)).sum(axis=1)


def pole(X: Array, first: int) -> Array:
    """Share of the steps for which the pole had fallen. X: (k, 6 h + 1) weights of a network of h
    hidden units; first: number of the first start. Constants: Barto, Sutton & Anderson 1983."""
    k, h = len(X), (X.shape[1] - 1) // 6
    W = X[:, : 4 * h].reshape(k, 4, h)
    b, v, c = X[:, 4 * h : 5 * h], X[:, 5 * h : 6 * h], X[:, -1]
    state = 0.2 * (rng.uniforms(0, (7,), first, k, 4) - 0.5)  # place, speed, angle, its speed
    alive, stood = np.ones(k, dtype=bool), np.zeros(k)
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            hidden = np.tanh(np.einsum("ki,kih->kh", state, W) + b)
            force = 10 * np.tanh((hidden * v).sum(axis=1) + c)
            _, speed, angle, turn = state.T
            sine, cosine = np.sin(angle), np.cos(angle)
            push = (force + 0.05 * turn**2 * sine) / 1.1
            bend = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
            pull = push - 0.05 * bend * cosine / 1.1
            state = state + 0.02 * np.column_stack([speed, pull, turn, bend])
            alive &= (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.21)
            stood += alive
            if not alive.any():
                break
    return 1 - stood / STEPS


FUNCTIONS = {"sphere": sphere, "ellipsoid": ellipsoid, "rastrigin": rastrigin, "pole": pole}
SEARCHES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "cma-es": ("cma-es", 0.3, {}),
    "cma-es, popsize 40": ("cma-es", 0.3, {"popsize": 40}),
    "lm-ma-es": ("lm-ma-es", 0.3, {}),
    "lm-ma-es, popsize 40": ("lm-ma-es", 0.3, {"popsize": 40}),
    "canonical-es, sigma 0.3": ("canonical-es", 0.3, {"popsize": 40}),
    "canonical-es, sigma 0.03": ("canonical-es", 0.03, {"popsize": 40}),
    "canonical-es, csa": ("canonical-es", 0.3, {"popsize": 40, "csa": True}),
    "openai-es, sigma 0.3": ("openai-es", 0.3, {"popsize": 40}),
    "openai-es, sigma 0.03": ("openai-es", 0.03, {"popsize": 40}),
}


def reached(search: str, function: str, dim: int, budget: int, seed: int) -> float:
    """f at the mean after the budget."""
    name, sigma0, options = SEARCHES[search]
    fun = FUNCTIONS[function]
    strategy = strategy_class(name).default(dim, **options)
    x0 = np.zeros(dim) if fun is pole else np.ones(dim)
    state, spent = strategy.init(x0, sigma0, seed), 0
    while spent < budget and strategy.stop(state) is None:
        rows, state = strategy.ask(state, strategy.popsize)
        start = seed * budget + spent
        state = strategy.tell(state, rows, classified(fun(np.asarray(rows.X), start), None, {}))
        spent += len(rows)
    mean = strategy.portrait(state).mean
    if fun is pole:
        return float(pole(np.tile(mean, (TESTS, 1)), -TESTS + 2**40).mean())
    return float(fun(mean[None], 0)[0])


def main() -> None:
    """Measures, prints a table for each function, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[2, 16, 166], help="n = 6 h + 1")
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--budget", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--slow", type=int, default=400, help="no cma-es for more variables")
    parser.add_argument("-o", "--output", type=Path)
    a = parser.parse_args()
    rows = []
    for function in a.functions:
        for hidden in a.hidden:
            for search in SEARCHES:
                dim = 6 * hidden + 1
                if search.startswith("cma-es") and dim > a.slow:
                    continue
                start = time.process_time()
                ends = [reached(search, function, dim, a.budget, s) for s in range(1, a.seeds + 1)]
                seconds = time.process_time() - start
                rows.append(
                    {"function": function, "dim": dim, "search": search, "ends": ends,
                     "budget": a.budget, "seconds": seconds}
                )  # fmt: skip
                middle = float(np.median(ends))
                span = f"[{min(ends):.2e}, {max(ends):.2e}]"
                print(
                    f"{function:10s} n {dim:5d} {search:26s} {middle:9.2e} {span} {seconds:6.1f} s",
                    flush=True,
                )
    if a.output:
        a.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What one generation costs an optimizer, the objective excluded: ours beside the Python peers.

All engines take turns in one process, ten generations each or as many as hold two of our lazy
eigendecompositions (the first two, which meet cold caches, are not counted), so that whatever else
the machine does hits all of them alike; the median over the turns of the mean generation counts,
and the ratio of the medians is quoted. Ellipsoid of condition 1e6, default population size, one
BLAS thread. Engines are made anew before they converge.

    python benchmarks/perf/overhead.py --dims 2 10 40 --turns 300 -o overhead.json

Columns: microseconds per generation (median of the turns), ask and tell together; for `*+stop` the
test of all stopping criteria is part of it; `asktell` is the interactive shell with its checks.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import evoopt
from evoopt.result import Values
from evoopt.strategies import strategy_class
from evoopt.strategies.cmaes import CMAES

Step = Callable[[], float]  # one generation; returns the seconds of ask and tell

_LIFE = 5  # turns of one engine
_GENERATIONS = 10  # of one turn, at least
_COLD = 2  # of them not counted


def objective(dim: int) -> Callable[[np.ndarray], np.ndarray]:
    """The ellipsoid, for rows."""
    scale = 10.0 ** (6 * np.arange(dim) / max(1, dim - 1))
    return lambda X: (scale * np.asarray(X) ** 2).sum(axis=1)


def ours(name: str, dim: int, seed: int, with_stop: bool = False) -> Step:
    """A strategy of ours, through the contract that the loop uses."""
    f = objective(dim)
    strategy = strategy_class(name).default(dim)
    state = strategy.init(np.full(dim, 3.0), 1.0, seed)
    popsize = strategy.popsize

    def step() -> float:
        nonlocal state
        start = time.perf_counter()
        population, asked = strategy.ask(state, popsize)
        between = time.perf_counter()
        values = Values(f(population.X))
        again = time.perf_counter()
        state = strategy.tell(asked, population, values)
        if with_stop:
            strategy.stop(state)
        return between - start + time.perf_counter() - again

    return step


def shell(name: str, dim: int, seed: int) -> Step:
    """A strategy of ours, through evoopt.AskTell."""
    f = objective(dim)
    es = evoopt.AskTell(name, np.full(dim, 3.0), 1.0, seed=seed)

    def step() -> float:
        start = time.perf_counter()
        X = es.ask()
        between = time.perf_counter()
        F = f(X)
        again = time.perf_counter()
        es.tell(X, F)
        return between - start + time.perf_counter() - again

    return step


def pycma(dim: int, seed: int, with_stop: bool = False) -> Step:
    """pycma, ask and tell."""
    import cma

    f = objective(dim)
    es = cma.CMAEvolutionStrategy(np.full(dim, 3.0), 1.0, {"verbose": -9, "seed": seed + 1})

    def step() -> float:
        start = time.perf_counter()
        X = es.ask()
        between = time.perf_counter()
        F = f(X).tolist()
        again = time.perf_counter()
        es.tell(X, F)
        if with_stop:
            es.stop()
        return between - start + time.perf_counter() - again

    return step


def cyberagent(dim: int, seed: int) -> Step:
    """cmaes, ask one by one and tell."""
    import cmaes

    f = objective(dim)
    es = cmaes.CMA(mean=np.full(dim, 3.0), sigma=1.0, seed=seed)
    popsize = es.population_size

    def step() -> float:
        start = time.perf_counter()
        X = [es.ask() for _ in range(popsize)]
        between = time.perf_counter()
        F = f(X).tolist()
        again = time.perf_counter()
        es.tell(list(zip(X, F, strict=True)))
        return between - start + time.perf_counter() - again

    return step


def fcmaes(dim: int, seed: int, native: bool) -> Step:
    """fcmaes: the C++ code or the Python code."""
    rg = np.random.Generator(np.random.PCG64(seed))
    popsize = strategy_class("cma-es").default(dim).popsize
    common: dict[str, Any] = {"x0": np.full(dim, 3.0), "input_sigma": 1.0, "popsize": popsize}
    if native:
        from fcmaes.cmaescpp import ACMA_C

        es = ACMA_C(dim, None, rg=rg, normalize=False, **common)
    else:
        from fcmaes.cmaes import Cmaes

        es = Cmaes(None, rg=rg, normalize=False, randn=lambda *s: rg.standard_normal(s), **common)
    f = objective(dim)

    def step() -> float:
        start = time.perf_counter()
        X = es.ask()
        between = time.perf_counter()
        F = f(X)
        again = time.perf_counter()
        es.tell(F)
        return between - start + time.perf_counter() - again

    return step


def engines(dim: int) -> dict[str, Callable[[int], Step]]:
    """Name -> maker of a fresh engine from a seed."""
    table: dict[str, Callable[[int], Step]] = {
        "cma-es": lambda seed: ours("cma-es", dim, seed),
        "ma-es": lambda seed: ours("ma-es", dim, seed),
        "cma-es+stop": lambda seed: ours("cma-es", dim, seed, with_stop=True),
        "ma-es+stop": lambda seed: ours("ma-es", dim, seed, with_stop=True),
        "cma-es asktell": lambda seed: shell("cma-es", dim, seed),
        "pycma": lambda seed: pycma(dim, seed),
        "pycma+stop": lambda seed: pycma(dim, seed, with_stop=True),
        "fcmaes C++": lambda seed: fcmaes(dim, seed, native=True),
        "fcmaes Python": lambda seed: fcmaes(dim, seed, native=False),
    }
    if dim <= 200:  # above, one generation of cmaes takes seconds: its sampling is O(n^3) a row
        table["cmaes"] = lambda seed: cyberagent(dim, seed)
    return table


def measure(dim: int, turns: int) -> dict[str, list[float]]:
    """Mean seconds of a generation in each turn, by engine."""
    makers = engines(dim)
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    steps: dict[str, Step] = {}
    generations = max(_GENERATIONS, 2 * math.ceil(CMAES.default(dim).eigen_gap) + _COLD)
    for turn in range(turns):
        if turn % _LIFE == 0:
            steps = {name: make(turn) for name, make in makers.items()}
        for name, step in steps.items():
            spent = [step() for _ in range(generations)]
            seconds[name].append(statistics.mean(spent[_COLD:]))
    return seconds


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10, 40])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of the peers
    report: dict[str, Any] = {"versions": versions(), "microseconds": {}}
    for dim in arguments.dims:
        turns = arguments.turns if dim <= 100 else max(5, arguments.turns // 10)
        seconds = measure(dim, turns)
        micros = {name: 1e6 * statistics.median(s) for name, s in seconds.items()}
        report["microseconds"][dim] = {
            name: {
                "median": micros[name],
                "quartiles": [1e6 * q for q in statistics.quantiles(s, n=4)],
            }
            for name, s in seconds.items()
        }
        best = min(micros[name] for name in ("pycma", "cmaes") if name in micros)
        print(
            f"\nn = {dim}: microseconds a generation, and how many times less than "
            f"the better of pycma and cmaes ({turns} turns)"
        )
        for name, value in sorted(micros.items(), key=lambda item: item[1]):
            print(f"  {name:16s} {value:12.1f} {best / value:8.2f}")
        sys.stdout.flush()
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)


def versions() -> dict[str, str]:
    """Of all that is compared."""
    from importlib.metadata import version

    names = ("numpy", "cma", "cmaes", "fcmaes")
    return {"evoopt": evoopt.__version__, **{name: version(name) for name in names}}


if __name__ == "__main__":
    main()

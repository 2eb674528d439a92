"""What one generation costs an optimizer, the objective excluded: ours beside the Python peers.

All engines take turns in one process, ten generations each or as many as hold two of our lazy
eigendecompositions (the first two, which meet cold caches, are not counted), so that whatever else
the machine does hits all of them alike; the median over the turns of the mean generation counts.
Processor time of this process, so that other programs do not count. Ellipsoid of condition 1e6,
default population size, one BLAS thread. Engines are made anew before they converge.

    python benchmarks/perf/overhead.py --dims 2 10 40 --turns 300 -o overhead.json
    python benchmarks/perf/overhead.py --dims 10000 --turns 50 --engines sep-cma-es "pycma sep"

Columns: microseconds per generation (median of the turns), ask and tell together; for `*+stop` the
test of all stopping criteria is part of it; `asktell` is the interactive shell with its checks. The
figures of one evaluation are those of a generation over its population size, which differs.
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
from evoopt.strategies import STRATEGIES, claims_of, strategy_class
from evoopt.strategies.cmaes import CMAES

Step = Callable[[], tuple[float, int]]  # one generation: seconds of ask and tell, evaluations

_LIFE = 5  # turns of one engine
_GENERATIONS = 10  # of one turn, at least
_COLD = 2  # of them not counted
_DENSE = 1000  # variables up to which methods with n x n matrices are measured
_TARGET = 1.0  # seconds that a turn of one engine should not exceed by much


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

    def step() -> tuple[float, int]:
        nonlocal state
        start = time.process_time()
        population, asked = strategy.ask(state, popsize)
        X = population.X  # seeds-only strategies make their points when they are wanted
        between = time.process_time()
        values = Values(f(X))
        again = time.process_time()
        state = strategy.tell(asked, population, values)
        if with_stop:
            strategy.stop(state)
        return between - start + time.process_time() - again, popsize

    return step


def shell(name: str, dim: int, seed: int) -> Step:
    """A strategy of ours, through evoopt.AskTell."""
    f = objective(dim)
    es = evoopt.AskTell(name, np.full(dim, 3.0), 1.0, seed=seed)

    def step() -> tuple[float, int]:
        start = time.process_time()
        X = es.ask()
        between = time.process_time()
        F = f(X)
        again = time.process_time()
        es.tell(X, F)
        return between - start + time.process_time() - again, len(X)

    return step


def pycma(dim: int, seed: int, with_stop: bool = False, variant: str = "") -> Step:
    """pycma, ask and tell. variant: "", "sep", "vd" or "vkd"."""
    import cma
    from cma.restricted_gaussian_sampler import GaussVDSampler, GaussVkDSampler

    f = objective(dim)
    options: dict[str, Any] = {"verbose": -9, "seed": seed + 1}
    if variant == "sep":
        options["CMA_diagonal"] = True
    elif variant:
        sampler = {"vd": GaussVDSampler, "vkd": GaussVkDSampler}[variant]
        options = sampler.extend_cma_options(options)
    es = cma.CMAEvolutionStrategy(np.full(dim, 3.0), 1.0, options)

    def step() -> tuple[float, int]:
        start = time.process_time()
        X = es.ask()
        between = time.process_time()
        F = f(X).tolist()
        again = time.process_time()
        es.tell(X, F)
        if with_stop:
            es.stop()
        return between - start + time.process_time() - again, len(X)

    return step


def cyberagent(dim: int, seed: int, name: str = "CMA") -> Step:
    """cmaes, ask one by one and tell. name: CMA or SepCMA."""
    import cmaes

    f = objective(dim)
    es = getattr(cmaes, name)(mean=np.full(dim, 3.0), sigma=1.0, seed=seed)
    popsize = es.population_size

    def step() -> tuple[float, int]:
        start = time.process_time()
        X = [es.ask() for _ in range(popsize)]
        between = time.process_time()
        F = f(X).tolist()
        again = time.process_time()
        es.tell(list(zip(X, F, strict=True)))
        return between - start + time.process_time() - again, len(X)

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

    def step() -> tuple[float, int]:
        start = time.process_time()
        X = es.ask()
        between = time.process_time()
        F = f(X)
        again = time.process_time()
        es.tell(F)
        return between - start + time.process_time() - again, len(X)

    return step


def strategies(dim: int) -> list[str]:
    """Those of ours that ask for generations, and make sense in this many variables."""
    claims = {name: claims_of(name) for name in STRATEGIES}
    names = [n for n in STRATEGIES if not claims[n].sequential and claims[n].least_obj == 1]
    dense = {"cma-es", "ma-es"} if dim > _DENSE else set()
    small = {"lm-ma-es"} if dim < 64 else set()  # there it is ma-es
    return [name for name in names if name not in dense | small]


def engines(dim: int) -> dict[str, Callable[[int], Step]]:
    """Name -> maker of a fresh engine from a seed."""
    table: dict[str, Callable[[int], Step]] = {
        name: lambda seed, name=name: ours(name, dim, seed)  # type: ignore[misc]  # bound now
        for name in strategies(dim)
    }
    table |= {
        "pycma sep": lambda seed: pycma(dim, seed, variant="sep"),
        "pycma VkD": lambda seed: pycma(dim, seed, variant="vkd"),
        "cmaes sep": lambda seed: cyberagent(dim, seed, "SepCMA"),
    }
    if dim <= _DENSE:
        table |= {
            "cma-es+stop": lambda seed: ours("cma-es", dim, seed, with_stop=True),
            "ma-es+stop": lambda seed: ours("ma-es", dim, seed, with_stop=True),
            "cma-es asktell": lambda seed: shell("cma-es", dim, seed),
            "pycma": lambda seed: pycma(dim, seed),
            "pycma+stop": lambda seed: pycma(dim, seed, with_stop=True),
            "pycma VD": lambda seed: pycma(dim, seed, variant="vd"),
            "fcmaes C++": lambda seed: fcmaes(dim, seed, native=True),
            "fcmaes Python": lambda seed: fcmaes(dim, seed, native=False),
        }
    if dim <= 200:  # above, one generation of cmaes takes seconds: its sampling is O(n^3) a row
        table["cmaes"] = lambda seed: cyberagent(dim, seed)
    return table


def measure(dim: int, turns: int, only: list[str]) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Mean seconds of a generation in each turn, and evaluations of one, by engine."""
    makers = {name: make for name, make in engines(dim).items() if not only or name in only}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    popsizes: dict[str, int] = {}
    steps: dict[str, Step] = {}
    for turn in range(turns):
        if turn % _LIFE == 0:
            steps = {name: make(turn) for name, make in makers.items()}
        for name, step in steps.items():
            generations = _generations(dim, seconds[name])
            spent = [step() for _ in range(generations)]
            seconds[name].append(statistics.mean(s for s, _ in spent[_COLD:]))
            popsizes[name] = spent[-1][1]
    return seconds, popsizes


def _generations(dim: int, before: list[float]) -> int:
    """Of one turn: two decompositions of ours, unless a generation takes long."""
    wanted = _GENERATIONS
    if dim <= _DENSE:
        wanted = max(wanted, 2 * math.ceil(CMAES.default(dim).eigen_gap) + _COLD)
    if before and before[-1] * wanted > _TARGET and dim > _DENSE:
        return _COLD + 2
    return wanted


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 10, 40])
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--engines", nargs="+", default=[], help="default: all")
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of the peers
    report: dict[str, Any] = {"versions": versions(), "microseconds": {}}
    for dim in arguments.dims:
        turns = arguments.turns if dim <= 100 else max(5, arguments.turns // 10)
        seconds, popsizes = measure(dim, turns, arguments.engines)
        micros = {name: 1e6 * statistics.median(s) for name, s in seconds.items()}
        report["microseconds"][dim] = {
            name: {
                "median": micros[name],
                "popsize": popsizes[name],
                "quartiles": [1e6 * q for q in statistics.quantiles(s, n=4)],
            }
            for name, s in seconds.items()
        }
        print(
            f"\nn = {dim}: microseconds a generation, evaluations of one, microseconds an "
            f"evaluation ({turns} turns)"
        )
        for name, value in sorted(micros.items(), key=lambda item: item[1]):
            print(f"  {name:16s} {value:12.1f} {popsizes[name]:6d} {value / popsizes[name]:10.2f}")
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

"""LM-MA-ES on the set-up of its authors, and what it costs beside pypop7 up to a million variables.

    python benchmarks/perf/lmmaes.py runs --dims 128 --seeds 5 -o runs.jsonl
    python benchmarks/perf/lmmaes.py table -o runs.jsonl
    python benchmarks/perf/lmmaes.py cost --dims 100 1000 10000 100000 1000000 -o cost.json
    python benchmarks/perf/lmmaes.py memory

`runs`: start uniform in [-5, 5]^n with step size 3, target 1e-10, tested on every candidate, within
50000 n evaluations; a step size below 1e-20 ends a run, as in the authors' driver. Variant "ref" is
mirrored with d_sigma = 1, "plain" neither. A run that stands in the output is not made again, so
that the program may be stopped at any moment and started once more.

`cost`: CPU time of ask and tell, in turns of a few generations in one process with LMMAES of
pypop7, one thread; the median over the turns counts. The objective is left out: random values.

`memory`: what a generation at a million variables adds to the resident set, in a fresh process.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import evoopt
from evoopt import rng
from evoopt.result import Values
from evoopt.strategies.lmmaes import LMMAES

Step = Callable[[], float]  # one generation; returns the seconds of ask and tell

TARGET, BUDGET, SIGMA0, LEAST_SIGMA = 1e-10, 50_000, 3.0, 1e-20
VARIANTS: dict[str, dict[str, Any]] = {
    "ref": {"mirrored": True, "damping": 1.0},
    "plain": {"mirrored": False, "damping": 2.0},
}
_CHECK = 1000  # generations between two looks at the step size

# Medians of an independent re-implementation in C of the authors' program, same set-up
REFERENCE: dict[tuple[str, str], dict[int, int]] = {
    ("sphere", "ref"): {128: 10_278, 512: 39_732, 1024: 80_808, 2048: 162_110},
    ("cigar", "ref"): {128: 316_350, 512: 1_050_192, 1024: 1_899_696},
    ("diffpow", "ref"): {128: 157_788, 512: 888_602},
    ("discus", "ref"): {128: 1_534_968, 512: 3_340_348},
    ("ellipsoid", "ref"): {128: 1_981_008},
    ("rosenbrock", "ref"): {128: 378_800},
    ("sphere", "plain"): {128: 15_700},
    ("cigar", "plain"): {128: 386_000},
    ("diffpow", "plain"): {128: 440_000},
    ("ellipsoid", "plain"): {128: 3_199_086},
    ("rosenbrock", "plain"): {128: 436_800},
}


def functions(dim: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> rows to values."""
    share = np.arange(dim) / (dim - 1)
    scale, power = 10 ** (6 * share), 2 + 4 * share
    cigar, discus = np.full(dim, 1e6), np.ones(dim)
    cigar[0], discus[0] = 1.0, 1e6

    def rosenbrock(X: np.ndarray) -> np.ndarray:
        a, b = X[:, :-1], X[:, 1:]
        c, d = a * a - b, a - 1
        return 100 * np.einsum("ij,ij->i", c, c) + np.einsum("ij,ij->i", d, d)

    return {
        "sphere": lambda X: np.einsum("ij,ij->i", X, X),
        "cigar": lambda X: (X * X).dot(cigar),
        "diffpow": lambda X: (np.abs(X) ** power).sum(1),
        "rosenbrock": rosenbrock,
        "discus": lambda X: (X * X).dot(discus),
        "ellipsoid": lambda X: (X * X).dot(scale),
    }


def one_run(dim: int, name: str, variant: str, seed: int) -> dict[str, Any]:
    """Evaluations until the target, or what was reached without it."""
    strategy, f = LMMAES.default(dim, **VARIANTS[variant]), functions(dim)[name]
    x0 = 10 * rng.uniforms(seed, (-1,), 0, 1, dim)[0] - 5
    state, start = strategy.init(x0, SIGMA0, seed), time.process_time()
    spent, best, generations = 0, np.inf, 0
    while spent < BUDGET * dim:
        population, state = strategy.ask(state, strategy.popsize)
        F = f(population.X)
        hits = np.flatnonzero(F <= TARGET)
        if hits.size:
            spent, best = spent + int(hits[0]) + 1, float(F[hits[0]])
            break
        spent, generations = spent + len(F), generations + 1
        state = strategy.tell(state, population, Values(F))
        if generations % _CHECK == 0:
            best = float(F.min())
            if state.distribution.sigma < LEAST_SIGMA:
                break
    return {
        "dim": dim,
        "function": name,
        "variant": variant,
        "seed": seed,
        "evaluations": spent,
        "f": best,
        "reached": best <= TARGET,
        "micros": 1e6 * (time.process_time() - start) / spent,
    }


def key(run: dict[str, Any]) -> tuple[int, str, str, int]:
    """What names a run."""
    return run["dim"], run["function"], run["variant"], run["seed"]


def stored(path: Path) -> list[dict[str, Any]]:
    """The runs made so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def runs(arguments: argparse.Namespace) -> None:
    """Makes what is not there yet, seed by seed."""
    path = Path(arguments.output)
    done = {key(run) for run in stored(path)}
    for seed in range(1, arguments.seeds + 1):
        for dim in arguments.dims:
            for name in arguments.functions or functions(dim):
                if (dim, name, arguments.variant, seed) in done:
                    continue
                run = one_run(dim, name, arguments.variant, seed)
                with path.open("a") as file:
                    file.write(json.dumps(run) + "\n")
                print(*run.values())
                sys.stdout.flush()


def table(arguments: argparse.Namespace) -> None:
    """Medians of the runs that reached the target, beside the reference."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for run in stored(Path(arguments.output)):
        groups.setdefault((run["variant"], run["dim"], run["function"]), []).append(run)
    print("| variant | n | function | reached | evaluations: median (least - most) | / n ", end="")
    print("| reference | ratio | us / evaluation |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (variant, dim, name), group in sorted(groups.items(), key=lambda g: (g[0][0] < "r", g[0])):
        spent = sorted(run["evaluations"] for run in group if run["reached"])
        micros = statistics.median(run["micros"] for run in group)
        known = REFERENCE.get((name, variant), {}).get(dim)
        reached = f"{len(spent)} of {len(group)}"
        if not spent:
            f = statistics.median(run["f"] for run in group)
            figures = f"f = {f:.1e} after {group[0]['evaluations']} | - | {known or '-'} | -"
        else:
            median = statistics.median(spent)
            ratio = f"{median / known:.3f}" if known else "-"
            figures = f"{median:.0f} ({spent[0]} - {spent[-1]}) | {median / dim:.0f} "
            figures += f"| {known or '-'} | {ratio}"
        print(f"| {variant} | {dim} | {name} | {reached} | {figures} | {micros:.1f} |")


def ours(dim: int, dtype: Any, *, mirrored: bool = True) -> Step:
    """LM-MA-ES of this package."""
    strategy = LMMAES.default(dim, dtype=dtype, mirrored=mirrored)
    state: Any = strategy.init(np.full(dim, 3.0), 1.0, 1)
    values = np.random.default_rng(1)
    d = state.distribution  # all directions are in use from the start
    K = strategy.reflections.matrix(d.G, strategy.m)
    state = state._replace(distribution=d._replace(updates=strategy.m, K=K))

    def step() -> float:
        nonlocal state
        start = time.process_time()
        population, state = strategy.ask(state, strategy.popsize)
        between = time.process_time()
        F = values.random(strategy.popsize)
        again = time.process_time()
        state = strategy.tell(state, population, Values(F))
        return between - start + time.process_time() - again

    return step


def pypop7(dim: int) -> Step:
    """LMMAES of pypop7: its iterate and update; asking includes its call of the objective, which
    returns a number that is there already."""
    from pypop7.optimizers.es import lmmaes

    values = np.random.default_rng(1)
    problem = {
        "fitness_function": lambda x: values.random(),
        "ndim_problem": dim,
        "lower_boundary": np.full(dim, -5.0),
        "upper_boundary": np.full(dim, 5.0),
    }
    options = {
        "seed_rng": 1,
        "sigma": 1.0,
        "mean": np.full(dim, 3.0),
        "max_function_evaluations": 10**9,
        "verbose": 0,
    }
    es = lmmaes.LMMAES(problem, options)
    z, d, mean, s, tm, y = es.initialize()
    es.start_time = time.time()
    es._n_generations = es.n_evolution_paths  # all directions are in use from the start

    def step() -> float:
        nonlocal z, d, mean, s, tm, y
        start = time.process_time()
        z, d, y = es.iterate(z, d, mean, tm, y, None)
        mean, s, tm = es._update_distribution(z, d, mean, s, tm, y)
        es._n_generations += 1
        return time.process_time() - start

    return step


def cost(arguments: argparse.Namespace) -> None:
    """Microseconds per evaluation by dimension, ours and theirs in turns."""
    path = Path(arguments.output)
    report: dict[str, Any] = {"versions": versions(), "microseconds": {}}
    if path.exists():
        report = json.loads(path.read_text())
    for dim in arguments.dims:
        if str(dim) in report["microseconds"]:
            continue
        popsize = LMMAES.default(dim).popsize
        steps: dict[str, Step] = {
            "lm-ma-es float32": ours(dim, "float32"),
            "lm-ma-es float64": ours(dim, "float64"),
            "lm-ma-es float64, plain": ours(dim, "float64", mirrored=False),
            "pypop7": pypop7(dim),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        turns = max(3, int(arguments.turns * min(1.0, 2e4 / dim)))
        generations = max(2, min(10, 20_000 // dim))  # of a turn; the first meets cold caches
        for _ in range(turns):
            for name, step in steps.items():
                spent = [step() for _ in range(generations)]
                seconds[name].append(statistics.mean(spent[1:]))
        micros = {n: 1e6 * statistics.median(s) / popsize for n, s in seconds.items()}
        report["microseconds"][str(dim)] = {
            name: {
                "median": micros[name],
                "quartiles": [1e6 * q / popsize for q in statistics.quantiles(s, n=4)],
                "times_less": micros["pypop7"] / micros[name],
            }
            for name, s in seconds.items()
        }
        print(f"\nn = {dim}, popsize {popsize}: us per evaluation, and how many times less")
        for name, value in micros.items():
            print(f"  {name:32s} {value:12.2f} {micros['pypop7'] / value:8.1f}")
        sys.stdout.flush()
        path.write_text(json.dumps(report, indent=1))


def versions() -> dict[str, str]:
    """Of all that is compared."""
    from importlib.metadata import version

    return {"evoopt": evoopt.__version__, **{name: version(name) for name in ("numpy", "pypop7")}}


def memory(arguments: argparse.Namespace) -> None:
    """Peak of the resident set over what is there before the first state."""
    dim = 10**6
    strategy = LMMAES.default(dim, dtype="float32")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = ours(dim, "float32")
    for _ in range(8):
        step()
    numbers = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 4
    bound = (strategy.m + strategy.popsize) * dim
    print(f"{numbers * 4 / 2**20:.0f} MB: {numbers / bound:.3f} times (m + popsize) n numbers")


def main() -> None:
    """One of the commands of the module's docstring."""
    commands = {"runs": runs, "table": table, "cost": cost, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=commands)
    parser.add_argument("--dims", type=int, nargs="+", default=[128])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variant", choices=VARIANTS, default="ref")
    parser.add_argument("--functions", nargs="+")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("-o", "--output", default="lmmaes.json")
    arguments = parser.parse_args()
    commands[arguments.command](arguments)


if __name__ == "__main__":
    main()

"""Search quality on mixed spaces: reals, integers and categories together, beside CatCMA with
margin of `cmaes`, Optuna's TPE, and random search, on the same functions of a dict and budget.

    python benchmarks/perf/mixint.py --evaluations 300 --seeds 0 1 2 -o mixed.json

Runs that stand beside the output already (.runs.jsonl) are not repeated: an interrupted call can be
taken up, and later calls may add seeds, to some engines alone. Printed and written: median and
quartiles over the seeds of the best f after a quarter, half and all of the evaluations, and how
many runs had the category of each variable right.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import evoopt
from evoopt.space import Categorical, Float, Integer, Parameter, Point, Space

LETTERS = ["a", "b", "c", "d", "e"]
_RELU, _ADAM = "relu", "adam"


class Case(NamedTuple):
    """A function of a dict whose smallest value is 0.

    Attributes:
        space: its parameters.
        fun: the function.
        best: the categories at the minimum.
    """

    space: Space
    fun: Callable[[Point], float]
    best: Point


class Stop(Exception):
    """The evaluations are spent."""


def _onemax() -> Case:
    """Sphere, and a point for each wrong category (SphereCOM of the CatCMA paper)."""
    best = {f"c{i}": LETTERS[i] for i in range(5)}
    numbers: dict[str, Any] = {f"x{i}": Float(-5, 5) for i in range(5)}

    def fun(p: Point) -> float:
        sphere = sum((p[name] - 1.7) ** 2 for name in numbers)
        return sphere + sum(p[name] != value for name, value in best.items())

    return Case(Space({**numbers, **dict.fromkeys(best, LETTERS)}), fun, best)


def _leading_ones() -> Case:
    """Ellipsoid of condition 1e4, and categories that count only up to the first wrong one
    (EllipsoidCLO of the CatCMA paper)."""
    best = {f"c{i}": LETTERS[i] for i in range(5)}
    numbers: dict[str, Any] = {f"x{i}": Float(-5, 5) for i in range(5)}

    def fun(p: Point) -> float:
        ellipsoid = sum(10 ** (4 * i / 4) * (p[f"x{i}"] + 0.9) ** 2 for i in range(5))
        right = 0
        while right < 5 and p[f"c{right}"] == LETTERS[right]:
            right += 1
        return ellipsoid / 1e4 + 5 - right

    return Case(Space({**numbers, **dict.fromkeys(best, LETTERS)}), fun, best)


def _proximity() -> Case:
    """Each category sets where its number should be (as MCProximity of the CatCMA paper)."""
    best = {f"c{i}": "a" for i in range(4)}
    numbers: dict[str, Any] = {f"x{i}": Float(-1, 2) for i in range(4)}

    def fun(p: Point) -> float:
        places = [LETTERS.index(p[f"c{i}"]) / 5 for i in range(4)]
        off = sum((p[f"x{i}"] - place) ** 2 for i, place in enumerate(places))
        return float(off + sum(places))

    return Case(Space({**numbers, **dict.fromkeys(best, LETTERS)}), fun, best)


def _three_kinds() -> Case:
    """A sphere of reals and integers that lean on one another, and categories."""
    best = {"c0": "b", "c1": "e"}
    whole = {"k0": 3, "k1": 12, "k2": 1}
    space = Space(
        {
            **{f"x{i}": Float(-5, 5) for i in range(3)},
            "k0": Integer(0, 7),
            "k1": Integer(0, 15),
            "k2": Integer(0, 1),
            "c0": LETTERS,
            "c1": LETTERS,
        }
    )

    def fun(p: Point) -> float:
        off = [p[f"x{i}"] - 0.5 for i in range(3)]
        off += [p[k] - value for k, value in whole.items()]
        total = sum(d * d for d in off) + 0.3 * sum(off) ** 2
        return total + sum(p[name] != value for name, value in best.items())

    return Case(space, fun, best)


def _training() -> Case:
    """Shaped like tuning a network: scales are logarithmic, the rate belongs to the optimizer, the
    depth to the activation."""
    best = {"act": _RELU, "optimizer": _ADAM, "bias": True}
    space = Space(
        {
            "rate": Float(1e-6, 1, log=True),
            "decay": Float(1e-6, 0.1, log=True),
            "dropout": Float(0, 0.6, step=0.1),
            "batch": Integer(8, 1024, log=True),
            "layers": Integer(1, 12),
            "act": [_RELU, "gelu", "tanh", "silu"],
            "optimizer": [_ADAM, "sgd", "lion"],
            "bias": [True, False],
        }
    )
    rates = {_ADAM: 1e-3, "sgd": 0.1, "lion": 1e-4}
    depths = {_RELU: 4, "gelu": 6, "tanh": 2, "silu": 8}

    def fun(p: Point) -> float:
        off = math.log10(p["rate"] / rates[p["optimizer"]]) ** 2
        off += 0.3 * math.log10(p["decay"] / 1e-3) ** 2 + (p["dropout"] - 0.2) ** 2
        off += 0.1 * math.log2(p["batch"] / 64) ** 2 + 0.1 * (p["layers"] - depths[p["act"]]) ** 2
        off += {_ADAM: 0.0, "lion": 0.2, "sgd": 0.4}[p["optimizer"]]
        off += 0.0 if p["act"] == _RELU else 0.3
        return off + 0.1 * (not p["bias"])

    return Case(space, fun, best)


CASES = {
    "sphere + one-max": _onemax,
    "ellipsoid + leading ones": _leading_ones,
    "proximity": _proximity,
    "three kinds": _three_kinds,
    "training": _training,
}


class Recorded:
    """Counts, and remembers when a better point came."""

    def __init__(self, case: Case, most: int) -> None:
        self._case, self._most = case, most
        self.at: list[int] = []
        self.f: list[float] = []
        self.spent = 0
        self.point: Point = {}

    def __call__(self, point: Point) -> float:
        """The value. Raises: Stop, once the evaluations are spent."""
        if self.spent == self._most:
            raise Stop
        self.spent += 1
        f = float(self._case.fun(point))
        if not self.f or f < self.f[-1]:
            self.at.append(self.spent)
            self.f.append(f)
            self.point = dict(point)
        return f


def ours(algorithm: str, case: Case, fun: Recorded, most: int, seed: int) -> None:
    """`evoopt.minimize`."""
    evoopt.minimize(fun, space=case.space, algorithm=algorithm, budget=most, seed=seed)


def catcmawm(case: Case, fun: Recorded, seed: int) -> None:
    """cmaes.CatCMAwM on the unit box of the numbers, restarted with its defaults."""
    from cmaes import CatCMAwM

    kinds: dict[str, list[tuple[str, Any]]] = {"x": [], "z": [], "c": []}
    for name, p in case.space.parameters.items():
        kinds[_kind(p)].append((name, p))
    reals, grids, choices = kinds["x"], kinds["z"], kinds["c"]
    run = 0
    while True:
        es = CatCMAwM(
            x_space=[[0.0, 1.0]] * len(reals) or None,
            z_space=[_grid(p) for _, p in grids] or None,
            c_space=[len(p.choices) for _, p in choices] or None,
            seed=seed + 1000 * run,
        )
        while not es.should_stop():
            told = []
            for _ in range(es.population_size):
                s = es.ask()
                point = {name: p.decode(t) for (name, p), t in zip(reals, s.x, strict=True)}
                for (name, p), t in zip(grids, () if s.z is None else s.z, strict=True):
                    point[name] = p.decode(t)
                for (name, p), row in zip(choices, s.c, strict=True):
                    point[name] = p.choices[int(np.argmax(row))]
                told.append((s, fun(point)))
            es.tell(told)
        run += 1


def _kind(p: Parameter) -> str:
    if isinstance(p, Categorical):
        return "c"
    return "x" if p.levels is None else "z"


def _grid(p: Any) -> list[float]:
    """All coordinates of a discrete number."""
    k, levels = np.arange(p.levels.high + 1), p.levels
    t = np.log1p(levels.curve * k) if levels.curve else k
    return np.minimum(t / levels.rate, 1.0).tolist()


def tpe(case: Case, fun: Recorded, most: int, seed: int) -> None:
    """Optuna's TPESampler with its defaults."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

    def suggested(trial: Any, name: str, p: Parameter) -> Any:
        if isinstance(p, Categorical):
            return trial.suggest_categorical(name, list(p.choices))
        suggest = trial.suggest_int if isinstance(p, Integer) else trial.suggest_float
        if p.log:
            return suggest(name, p.low, p.high, log=True)
        return suggest(name, p.low, p.high, step=p.step)

    def objective(trial: Any) -> float:
        return fun({name: suggested(trial, name, p) for name, p in case.space.parameters.items()})

    study.optimize(objective, n_trials=most)


ENGINES: dict[str, Callable[[Case, Recorded, int, int], None]] = {
    "cma-es": lambda *a: ours("cma-es", *a),
    "auto": lambda *a: ours("auto", *a),
    "random": lambda *a: ours("random", *a),
    "cmaes CatCMAwM": lambda case, fun, most, seed: catcmawm(case, fun, seed),
    "Optuna TPE": tpe,
}


def one(engine: str, name: str, most: int, seed: int) -> dict[str, Any]:
    """One run."""
    case = CASES[name]()
    fun = Recorded(case, most)
    began = time.process_time()
    with contextlib.suppress(Stop):
        ENGINES[engine](case, fun, most, seed)
    right = all(fun.point[key] == value for key, value in case.best.items())
    return {
        "task": [engine, name, most, seed],
        "seconds": round(time.process_time() - began, 3),
        "evaluations": fun.spent,
        "at": fun.at,
        "f": fun.f,
        "right": right,
    }


def report(records: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Medians and quartiles, printed and returned."""
    rows = []
    stages = (most // 4, most // 2, most)
    for name in CASES:
        print(f"\n{name:26s} best f after {', '.join(map(str, stages))}; [quartiles]; all right")
        for engine in ENGINES:
            runs = [r for r in records if r["task"][:2] == [engine, name]]
            if not runs:
                continue
            best = [
                [min((f for at, f in zip(r["at"], r["f"], strict=True) if at <= k)) for r in runs]
                for k in stages
            ]
            low, _, high = np.percentile(best[-1], (25, 50, 75))
            medians = [float(np.median(b)) for b in best]
            right = sum(r["right"] for r in runs)
            spent = sum(r["evaluations"] for r in runs)
            micro = 1e6 * sum(r["seconds"] for r in runs) / spent
            shown = "  ".join(f"{m:9.2e}" for m in medians)
            print(
                f"  {engine:16s} {shown}  [{low:.1e}, {high:.1e}]  {right:2d} of {len(runs)}  "
                f"{micro:8.0f} us"
            )
            rows.append(
                {
                    "function": name,
                    "engine": engine,
                    "evaluations": stages,
                    "median": medians,
                    "quartiles": [low, high],
                    "right": right,
                    "runs": len(runs),
                    "us": micro,
                }
            )
    return rows


def main() -> None:
    """Runs what is missing, reports, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(7)))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of the peers
    most = arguments.evaluations
    tasks = [
        (engine, name, most, seed)
        for seed in arguments.seeds
        for name in CASES
        for engine in arguments.engines
    ]
    lines = arguments.output.with_suffix(".runs.jsonl")
    records = [json.loads(line) for line in lines.open()] if lines.exists() else []
    done = {tuple(record["task"]) for record in records}
    with lines.open("a") as file:
        for task in tasks:
            if task not in done:
                records.append(one(*task))
                file.write(json.dumps(records[-1]) + "\n")
                file.flush()
    rows = report([r for r in records if r["task"][2] == most], most)
    names = ("numpy", "cmaes", "optuna")
    versions = {"evoopt": evoopt.__version__, **{name: version(name) for name in names}}
    arguments.output.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

"""What the archive of two objectives costs, beside moarchiving.

Mutually non-dominated points of a convex front in random order, the hypervolume current after each.
Ours keeps the contributions current, too, and the sums for drawing by them; moarchiving computes
contributions when it is asked. It runs with exact fractions, as it comes, and with floats, up to a
number of members where it begins to write a long warning about lost digits for each small gain.

    python benchmarks/perf/archive.py --sizes 1000 10000 100000 --turns 5 -o archive.json

Microseconds of processor time of this process for one operation, the median of the turns; engines
take turns. `insert`: from empty to N members; `reject`: a dominated point; `draw`: a parent by the
cube of its contribution; `gain`: the uncrowded hypervolume improvement of a point near the front.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from moarchiving import BiobjectiveNondominatedSortedList

from evoopt.archive import BiobjectiveArchive

_REFERENCE = (1.1, 1.1)
_OPERATIONS = 2000  # of the other kinds than insertions
_MOST_FLOATS = 10_000  # members up to which moarchiving is measured with floats
_NEAR = 1e-3  # how far offered points are from the front

Rows = list[list[float]]


def ours(rows: Rows, spent: dict[str, float], offered: Rows, beaten: Rows) -> float:
    """Adds seconds per operation to `spent`. Returns: the hypervolume."""
    archive = BiobjectiveArchive(np.array(_REFERENCE))
    tags = iter(range(10 * len(rows) + 10 * _OPERATIONS))
    spent["insert"] = timed(lambda f: archive.add(f, next(tags)), rows)
    spent["reject"] = timed(lambda f: archive.add(f, next(tags)), beaten)
    spent["draw"] = timed(archive.draw, np.random.default_rng(2).random(_OPERATIONS).tolist())
    spent["gain"] = timed(archive.improvement, offered)
    return archive.hypervolume


def moarchiving(rows: Rows, spent: dict[str, float], offered: Rows, beaten: Rows) -> float:
    """The same with moarchiving, of which the types are set."""
    archive = BiobjectiveNondominatedSortedList(reference_point=list(_REFERENCE))
    spent["insert"] = timed(archive.add, rows)
    spent["reject"] = timed(archive.add, beaten)
    spent["gain"] = timed(archive.hypervolume_improvement, offered)
    return float(archive.hypervolume)


def timed(call: Callable[[Any], Any], arguments: list[Any]) -> float:
    """Seconds a call."""
    start = time.process_time()
    for argument in arguments:
        call(argument)
    return (time.process_time() - start) / len(arguments)


def measure(engine: str, size: int, turn: int) -> dict[str, float]:
    """Seconds per operation of one turn, and the hypervolume."""
    rng = np.random.default_rng([size, turn])
    f1 = rng.permutation(np.linspace(0, 1, size) ** 1.5)
    F = np.column_stack((f1, 1 - np.sqrt(f1)))
    some = F[rng.integers(size, size=_OPERATIONS)]
    offered = (some + _NEAR * rng.normal(size=some.shape)).tolist()
    beaten = (some + _NEAR).tolist()
    spent: dict[str, float] = {}
    if engine == "evoopt":
        return {"hypervolume": ours(F.tolist(), spent, offered, beaten), **spent}
    kind = float if engine.endswith("floats") else _FRACTION
    BiobjectiveNondominatedSortedList.hypervolume_final_float_type = kind
    BiobjectiveNondominatedSortedList.hypervolume_computation_float_type = kind
    return {"hypervolume": moarchiving(F.tolist(), spent, offered, beaten), **spent}


_FRACTION = BiobjectiveNondominatedSortedList.hypervolume_final_float_type


def main() -> None:
    """Measures all engines in turns, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="_add_HV")
    found = []
    for size in arguments.sizes:
        engines = ["evoopt", "moarchiving"]
        engines += ["moarchiving, floats"] if size <= _MOST_FLOATS else []
        turns = {engine: [] for engine in engines}
        for turn in range(arguments.turns):
            for engine in engines:
                turns[engine].append(measure(engine, size, turn))
        for engine, own in turns.items():
            cells = {key: statistics.median(row[key] for row in own) for key in own[0]}
            found.append({"engine": engine, "members": size, "turns": own})
            line = "  ".join(f"{k} {1e6 * v:8.2f}" for k, v in cells.items() if k != "hypervolume")
            print(f"{size:7d}  {engine:20s} {line}  us; hypervolume {cells['hypervolume']:.15g}")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

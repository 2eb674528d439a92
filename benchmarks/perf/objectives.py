"""What a candidate costs the strategies for two objectives, with a front of many members.

Two spheres, optima at a distance of sqrt(dim). A strategy runs until its front has so many members,
then ask and tell are timed, the function and the log are not. `mo-cma-es` has its popsize of points
whatever was evaluated.

    python benchmarks/perf/objectives.py --dims 5 20 --sizes 100 1000 10000 -o objectives.json

Microseconds of processor time of this process for one evaluation, the median of blocks of
candidates; strategies take turns.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from evoopt.result import Values
from evoopt.strategies import strategy_class

NAMES = ("hmo-cma-es", "up-mo-cma-es", "front-model", "mo-cma-es")
_BLOCK = 500  # evaluations timed together
_BLOCKS = 7
_MOST = 100_000  # evaluations to grow a front


class Search:
    """One strategy on two spheres."""

    def __init__(self, name: str, dim: int) -> None:
        self.strategy = strategy_class(name).default(dim)
        self.state: Any = self.strategy.init(np.full(dim, 3.0), 1.0, 1)
        self.evaluations = 0

    @property
    def members(self) -> int:
        """Of the front; of mo-cma-es, its points."""
        state = getattr(self.state, "up", self.state)
        return len(state.front) if hasattr(state, "front") else len(state.points.X)

    def run(self, evaluations: int) -> float:
        """Seconds of ask and tell an evaluation."""
        spent, done = 0.0, 0
        while done < evaluations:
            start = time.process_time()
            rows, self.state = self.strategy.ask(self.state, self.strategy.batch(self.state))
            spent += time.process_time() - start
            X = rows.X
            F = np.column_stack(((X**2).sum(axis=1), ((X - 1) ** 2).sum(axis=1)))
            start = time.process_time()
            self.state = self.strategy.tell(self.state, rows, Values(F))
            spent += time.process_time() - start
            done += len(rows)
        self.evaluations += done
        return spent / done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[5])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("-o", "--out", type=Path, required=True)
    words = parser.parse_args()
    found = []
    for dim in words.dims:
        searches = {name: Search(name, dim) for name in NAMES}
        for size in sorted(words.sizes):
            for name, search in searches.items():
                if name == "mo-cma-es" and size > min(words.sizes):
                    continue
                while search.members < size and search.evaluations < _MOST:
                    if name == "mo-cma-es" and search.evaluations > _BLOCK:
                        break
                    search.run(_BLOCK)
            blocks: dict[str, list[float]] = {}
            for _ in range(_BLOCKS):
                for name, search in searches.items():
                    if name != "mo-cma-es" or size == min(words.sizes):
                        blocks.setdefault(name, []).append(search.run(_BLOCK) * 1e6)
            for name, micros in blocks.items():
                row = {
                    "strategy": name,
                    "dim": dim,
                    "members": searches[name].members,
                    "evaluations": searches[name].evaluations,
                    "microseconds": round(statistics.median(micros), 1),
                    "blocks": [round(m, 1) for m in micros],
                }
                found.append(row)
                print(
                    f"{dim:4} {size:7} {name:14} {row['members']:7} {row['microseconds']:8.1f} us",
                    flush=True,
                )
    words.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

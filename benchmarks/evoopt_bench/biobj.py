"""What is known of the problems of COCO's bi-objective suites: extremes, references, groups."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from evoopt_bench.coco_c import cocoex

REFERENCES = "biobj_references.csv"
INSTANCES = range(1, 11)  # those that have references, and that COCO shows
UNKNOWN = 1.0  # what COCO takes for a reference hypervolume that it does not know
_HALF = re.compile(r"bbob_f(\d+)_i(\d+)_d(\d+)")


@dataclass(frozen=True, slots=True)
class Extremes:
    """Where the indicator of a problem begins and ends.

    Attributes:
        ideal: (2,) the least value of each objective.
        nadir: (2,) the value of each at the optimum of the other.
        reference: the best hypervolume known, in units of nadir - ideal; `UNKNOWN` if none is.
    """

    ideal: tuple[float, float]
    nadir: tuple[float, float]
    reference: float


def extremes(problem: Any, function: int, instance: int) -> Extremes:
    """What COCO's logger knows of a problem.

    Args:
        problem: of cocoex, with two objectives.
        function, instance: its numbers in the suite.
    """
    # optimal *values* may be asked for; asking for their places would taint the problems
    halves = [tuple(map(int, match.groups())) for match in _HALF.finditer(problem.name)]
    first, second = (
        float(cocoex().BareProblem("bbob", f, dim, i).best_value()) for f, i, dim in halves
    )
    worst1, worst2 = map(float, problem.largest_fvalues_of_interest)
    known = references().get((function, instance, halves[0][2]), UNKNOWN)
    return Extremes((first, second), (worst1, worst2), known)


@lru_cache(maxsize=1)
def references() -> dict[tuple[int, int, int], float]:
    """(function, instance, dim) -> the best hypervolume known."""
    head, *rows = table(REFERENCES)
    dims = [int(name[1:]) for name in head[2:]]
    return {
        (int(function), int(instance), dim): float(value)
        for function, instance, *values in rows
        for dim, value in zip(dims, values, strict=True)
    }


def table(name: str) -> Iterator[list[str]]:
    """The lines of one of the package's CSV files, split; comments are left out."""
    text = (resources.files("evoopt_bench") / "data" / name).read_text(encoding="utf-8")
    yield from csv.reader(line for line in text.splitlines() if not line.startswith("#"))

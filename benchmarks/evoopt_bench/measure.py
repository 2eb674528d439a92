"""How a run is judged at a budget: by the area under its run-time distribution, or by its height.

With one objective, area(b) looks at all of the run up to b evaluations per dimension; see
`runtime.area`. With two, share(b) is the share of COCO's 58 targets met by then: that is how curves
on the bi-objective suites were published. Its budgets lie half a decade apart, and are exact: what
reads 3, 32, 316 is 10 to the power of 0.5, 1.5, 2.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evoopt_bench.catalogue import SUITES
from evoopt_bench.runtime import area
from evoopt_bench.targets import Run


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a run, between 0 and 1, the more the better.

    Attributes:
        name: in tables, as in area(100).
        budgets: in evaluations per dimension, at which it is taken.
        of: run, budget -> the figure.
    """

    name: str
    budgets: tuple[int, ...]
    of: Callable[[Run, int], float]

    def at(self, b: int) -> Callable[[Run], float]:
        """The figure at one budget."""
        return lambda run: self.of(run, b)

    def mean(self, runs: Sequence[Run], b: int) -> float:
        """Over functions and instances."""
        return float(np.mean([self.of(run, b) for run in runs]))


def per_dimension(b: int) -> float:
    """The exact budget of a share: the power of the root of 10 that b rounds."""
    return float(10 ** (round(2 * math.log10(b)) / 2))


def covers(evaluations: int, dim: int, b: int) -> bool:
    """Whether so many evaluations are the whole of a budget, whichever way it was rounded."""
    return evaluations >= math.floor(min(b, per_dimension(b)) * dim)


def _area(run: Run, b: int) -> float:
    return float(area(run.times(), run.dim, b))


def _share(run: Run, b: int) -> float:
    return float(np.mean(run.times() <= per_dimension(b) * run.dim))


AREA = Measure("area", (10, 100, 1000, 10_000), _area)
SHARE = Measure("share", (3, 10, 32, 100, 316, 1000, 3162, 10_000), _share)


def measure_of(suite: str) -> Measure:
    """What runs on the suite are judged by."""
    return AREA if SUITES[suite].n_obj == 1 else SHARE

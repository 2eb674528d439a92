"""Curves that pictures and tables of a suite show beside runs: what the world has reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evoopt.result import Array
from evoopt_bench import best2009, published

BEST_COLOUR, BEST_WIDTH = "#C4C4C4", 4.0
_COLOURS = ("#F2B6A0", "#A9CBE8")  # of published algorithms: pale, behind the lines of runs
_WIDTH = 2.8


@dataclass(frozen=True, slots=True)
class Reference:
    """A run-time distribution that was not run here.

    Attributes:
        name: in the legend.
        colour, width: of its line.
        at, share: (r,) evaluations per dimension, and share of targets reached by then.
    """

    name: str
    colour: str
    width: float
    at: Array
    share: Array

    def on(self, points: Array) -> Array:
        """The share at each of the points; constant beyond the ends."""
        return np.interp(np.log10(points), np.log10(self.at), self.share)


def references(suite: str, dim: int, functions: Sequence[int], points: Array) -> list[Reference]:
    """What there is for the functions in that dimension, the best first.

    Args:
        suite, dim, functions: what runs were made on.
        points: (p,) evaluations per dimension that are to be shown.
    """
    best = published.best_times(suite, dim, functions)
    name = published.BEST
    if suite == "bbob" and dim in best2009.DIMENSIONS:
        best = np.sort(np.ravel([best2009.best2009(f, dim) for f in functions]) / dim)
        name = best2009.NAME
    found = []
    if best is not None:
        reached = np.searchsorted(best, points, side="right") / best.size
        found.append(Reference(name, BEST_COLOUR, BEST_WIDTH, points, reached))
    if published.is_comparable(suite, functions):
        for algorithm, colour in zip(published.SHOWN, _COLOURS, strict=True):
            if (algorithm, dim) in published.curves():
                curve = published.curves()[algorithm, dim]
                name = f"{algorithm} {published.YEAR}"
                found.append(Reference(name, colour, _WIDTH, *curve))
    return found

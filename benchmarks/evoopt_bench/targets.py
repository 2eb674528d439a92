"""COCO's targets, and when a run reached them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoopt.result import Array

TARGETS: Array = 10.0 ** ((10 - np.arange(51)) / 5)  # 1e2 .. 1e-8, five a decade
TARGETS.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run on one problem, reduced to its improvements.

    Attributes:
        function, dim, instance: the problem in its suite.
        evaluations: how many were spent.
        f_opt: the optimal value of the problem.
        at: (r,) evaluation numbers, from 1, at which a new best value was found.
        f: (r,) these best values, decreasing.
    """

    function: int
    dim: int
    instance: int
    evaluations: int
    f_opt: float
    at: NDArray[np.int64]
    f: Array

    @property
    def precision(self) -> float:
        """Distance of the best value to the optimal one; inf without any."""
        return float(self.f[-1] - self.f_opt) if self.f.size else np.inf

    @property
    def solved(self) -> bool:
        """Whether the last target was reached."""
        return bool(self.f.size) and bool(self.f[-1] <= self.f_opt + TARGETS[-1])

    def times(self, targets: Array = TARGETS) -> Array:
        """(t,) evaluations until each of the (t,) targets was reached; inf where it was not."""
        return hitting_times(self.at, self.f, self.f_opt, targets)


def hitting_times(at: NDArray[np.int64], f: Array, f_opt: float, targets: Array = TARGETS) -> Array:
    """Evaluations until f - f_opt fell to each target.

    Args:
        at: (r,) evaluation numbers, ascending.
        f: (r,) the values found there, NaN where there was none; they need not improve.
        f_opt: the optimal value.
        targets: (t,) precisions.

    Returns:
        (t,) evaluation numbers; inf where the target was not reached.
    """
    if f.size == 0:
        return np.full(targets.shape, np.inf)
    best = np.fmin.accumulate(f)
    # f <= f_opt + target and not f - f_opt <= target: the former is how COCO decides on success
    first = np.searchsorted(-best, -(f_opt + targets), side="left")
    reached = first < f.size
    return np.where(reached, at[np.minimum(first, f.size - 1)].astype(np.float64), np.inf)


class Improvements:
    """Collects the improvements of a run, block by block."""

    def __init__(self) -> None:
        self.evaluations = 0
        self._best = np.inf
        self._at: list[int] = []
        self._f: list[float] = []

    def add(self, F: Array) -> None:
        """Take the next values F: (k,), in the order of evaluation; NaN where it failed."""
        with np.errstate(invalid="ignore"):
            before = np.concatenate(([self._best], F))
            best = np.fmin.accumulate(before)
            better = np.flatnonzero(best[1:] < best[:-1])
        self._at += (better + self.evaluations + 1).tolist()
        self._f += best[1:][better].tolist()
        self._best = float(best[-1])
        self.evaluations += len(F)

    def arrays(self) -> tuple[NDArray[np.int64], Array]:
        """Evaluation numbers and best values, both (r,)."""
        return np.array(self._at, dtype=np.int64), np.array(self._f, dtype=np.float64)

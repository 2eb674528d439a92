"""COCO's targets, and when a run reached them.

With one objective they are precisions f - f_opt, with two the hypervolume that is missing to COCO's
reference (see `indicator`); a `Run` says which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoopt.result import Array

TARGETS: Array = 10.0 ** ((10 - np.arange(51)) / 5)  # 1e2 .. 1e-8, five a decade
TARGETS.flags.writeable = False

# 10^0 .. 10^-5, ten a decade, 0, and -10^-5 .. -10^-4: references can be surpassed. The 58 of
# Brockhoff et al., arXiv:1605.01746, in the digits of cocopp's BiobjectiveTestbed.
BIOBJ_NOMINAL: Array = np.concatenate(
    [10.0 ** np.arange(0, -5.1, -0.1), [0.0], -(10.0 ** np.arange(-5, -3.9, 0.2))]
)
_GRID = np.power(10.0, np.arange(-60, 1) / 10)  # HMultiReader of cocopp's readalign.py


def _counted(target: float) -> float:
    """What has to be met for a target to count.

    cocopp first thins a run to powers of 10^0.1, and takes for a target the largest of them that is
    not above it. In 17 cases the digits are such that this is the next one. All curves that COCO
    has published are counted so.
    """
    if target > 0:
        return float(_GRID[_GRID <= target][-1])
    return float(-_GRID[_GRID >= -target][0]) if target < 0 else 0.0


BIOBJ_TARGETS: Array = np.array([_counted(target) for target in BIOBJ_NOMINAL.tolist()])
BIOBJ_TARGETS.flags.writeable = False
_POSITIVE = int((BIOBJ_TARGETS > 0).sum())


def targets_of(n_obj: int) -> Array:
    """(t,) the targets with that many objectives, descending."""
    return TARGETS if n_obj == 1 else BIOBJ_TARGETS


def common_targets(n_obj: int) -> Array:
    """(t,) those that any run may reach; the last of them, 1e-8 or 1e-5, is called solved."""
    return TARGETS if n_obj == 1 else BIOBJ_TARGETS[:_POSITIVE]


@dataclass(frozen=True, slots=True)
class Run:
    """One run on one problem, reduced to its improvements.

    Attributes:
        function, dim, instance: the problem in its suite.
        evaluations: how many were spent.
        f_opt: the optimal value of the problem; 0 with two objectives.
        at: (r,) evaluation numbers, from 1, at which a new best value was found.
        f: (r,) these best values, decreasing; with two objectives of the missing hypervolume.
        n_obj: number of objectives.
    """

    function: int
    dim: int
    instance: int
    evaluations: int
    f_opt: float
    at: NDArray[np.int64]
    f: Array
    n_obj: int = 1

    @property
    def targets(self) -> Array:
        """(t,) COCO's targets for the problem, descending."""
        return targets_of(self.n_obj)

    @property
    def precision(self) -> float:
        """Distance of the best value to the optimal one; inf without any."""
        return float(self.f[-1] - self.f_opt) if self.f.size else np.inf

    @property
    def solved(self) -> bool:
        """Whether the final target was reached: 1e-8, with two objectives 1e-5."""
        return self._reached(float(common_targets(self.n_obj)[-1]))

    @property
    def is_complete(self) -> bool:
        """Whether all targets were reached, so that more budget would change nothing."""
        return self._reached(float(self.targets[-1]))

    def times(self, targets: Array | None = None) -> Array:
        """(t,) evaluations until each of the (t,) targets was reached; inf where it was not.

        targets: default: those of COCO.
        """
        wanted = self.targets if targets is None else targets
        return hitting_times(self.at, self.f, self.f_opt, wanted)

    def _reached(self, target: float) -> bool:
        return bool(self.f.size) and bool(self.f[-1] <= self.f_opt + target)


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

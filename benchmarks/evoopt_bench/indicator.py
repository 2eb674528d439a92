"""COCO's indicator of two objectives: the hypervolume that is missing to a reference.

An objective vector is counted in units of nadir - ideal from the ideal point. All evaluated points
form an archive. Where some lie in the region of interest [0, 1]^2, the indicator is the reference
hypervolume less that of the archive (reference point (1, 1)); before that, the reference plus the
least distance of a point to the region. A target is met at the first evaluation whose indicator is
at most the target. Cost: O(log N) an evaluation, and moving some of N numbers where the archive
grows; about 1.5 us, 4 us where it does.

Source: Brockhoff, Tran, Hansen (2016), arXiv:1605.01746; logger_biobj.c and mo_utilities.c of COCO,
whose rounding and order of operations are kept: the values are COCO's, bit for bit.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from evoopt.result import Array
from evoopt_bench.targets import BIOBJ_TARGETS

_GRAIN = 5e-13  # mo_discretization: to multiples of it objectives are rounded
_EQUAL = 1e-13  # mo_precision: numbers closer than that are taken for equal

# Improvements to a new one of these are kept: 20 steps a decade with all targets among them.
_STEPS = np.unique(
    np.concatenate(
        [10.0 ** (np.arange(-160, 241) / 20), BIOBJ_TARGETS, -(10.0 ** (np.arange(-160, -40) / 20))]
    )
)[::-1].tolist()


class Indicator:
    """The course of the indicator over the evaluations of one run.

    Attributes:
        evaluations: how many were added.
        value: the indicator after them; inf before the first.
    """

    def __init__(self, ideal: Sequence[float], nadir: Sequence[float], reference: float) -> None:
        """ideal, nadir: (2,) objective values. reference: the best known hypervolume."""
        self.evaluations = 0
        self.value = math.inf
        self._reference = reference
        (self._low1, self._low2), (high1, high2) = map(float, ideal), map(float, nadir)
        self._width1, self._width2 = high1 - self._low1, high2 - self._low2
        self._volume = 0.0
        # the archive inside the region: second objectives ascending, first descending
        self._y2: list[float] = []
        self._y1: list[float] = []
        self._parts: list[float] = []  # of the volume, one per point
        self._at: list[int] = []
        self._values: list[float] = []
        self._step = 0  # the first of _STEPS that was not met
        self._last = 0  # evaluation of the last improvement

    def add(self, F: Array | Iterable[Sequence[float]]) -> None:
        """Take the next objective vectors F: (k, 2), in the order of evaluation; NaN where it
        failed."""
        for f1, f2 in F.tolist() if isinstance(F, np.ndarray) else F:
            self.add_one(f1, f2)

    def add_one(self, f1: float, f2: float) -> None:
        """Take the objective vector of the next evaluation."""
        self.evaluations += 1
        a = (f1 - self._low1) / self._width1
        b = (f2 - self._low2) / self._width2
        if not (math.isfinite(a) and math.isfinite(b)):  # failed
            return
        y1 = max(math.floor(a / _GRAIN + 0.5) * _GRAIN, 0.0)
        y2 = max(math.floor(b / _GRAIN + 0.5) * _GRAIN, 0.0)
        if y1 < _EQUAL and y2 < 1.0:  # as mo_normalize: nothing is better than the extremes
            y2 = 1.0
        if y2 < _EQUAL and y1 < 1.0:
            y1 = 1.0
        inside = y1 < 1.0 + _EQUAL and y2 < 1.0 + _EQUAL
        if inside and not self._insert(y1, y2):
            return
        if self._volume >= _EQUAL:
            if inside:
                self._note(self._reference - self._volume)
            return
        over1, over2 = max(y1 - 1.0, 0.0), max(y2 - 1.0, 0.0)
        away = 0.0 if inside else math.sqrt(over1 * over1 + over2 * over2)
        self._note(self._reference - self._volume + away)

    def _insert(self, y1: float, y2: float) -> bool:
        """Put a point of the region into the archive; False if it is not better than all there."""
        seconds, firsts, parts = self._y2, self._y1, self._parts
        at = bisect_right(seconds, y2)
        if at and firsts[at - 1] <= y1:
            return False
        begin = end = bisect_left(seconds, y2, 0, at)  # an equal y2 is dominated, too
        volume = self._volume
        while end < len(firsts) and firsts[end] >= y1:
            volume -= parts[end]
            end += 1
        if end < len(firsts):
            volume -= parts[end]
            parts[end] = (y1 - firsts[end]) * (1 - seconds[end])
            volume += parts[end]
        part = ((firsts[begin - 1] if begin else 1.0) - y1) * (1 - y2)
        seconds[begin:end], firsts[begin:end], parts[begin:end] = [y2], [y1], [part]
        self._volume = volume + part
        return True

    def _note(self, value: float) -> None:
        """Keep an improvement if it meets another step."""
        if value >= self.value:
            return
        self.value, self._last = value, self.evaluations
        step = self._step
        while step < len(_STEPS) and value <= _STEPS[step]:
            step += 1
        if step > self._step:
            self._step = step
            self._at.append(self.evaluations)
            self._values.append(value)

    def arrays(self) -> tuple[NDArray[np.int64], Array]:
        """Evaluation numbers and indicators of the improvements kept and of the last, both (r,)."""
        at, values = self._at, self._values
        if self._last > (at[-1] if at else 0):
            at, values = [*at, self._last], [*values, self.value]
        return np.array(at, dtype=np.int64), np.array(values, dtype=np.float64)

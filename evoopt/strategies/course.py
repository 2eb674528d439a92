"""The course of a search in values: what the stopping criteria remember of past generations.

Failed evaluations are no evidence: ranges are taken over finite values only, and a generation that
failed whole changes nothing but its own counter.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MOST_ROWS = 40_000  # of the trail that are kept: the stagnation criterion looks no further back
_FLAT_QUANTILE = 0.75
_LOOK = 5  # generations between two looks at how far the mean has come (tolxstagnation)


class Growing:
    """Rows that are only ever appended; older values of it stay valid and share its memory.

    Appending to the newest one is O(1) on average, to an older one it copies. Nothing that a holder
    can see ever changes. Only the newest rows are kept, at least half of `_MOST_ROWS`.
    """

    __slots__ = ("_length", "_rows")

    def __init__(self, rows: list[tuple[float, ...]], length: int) -> None:
        self._rows = rows
        self._length = length  # rows beyond it belong to a newer value that shares the list

    def __len__(self) -> int:
        return self._length

    def append(self, row: tuple[float, ...]) -> Growing:
        """These rows and one more."""
        rows, length = self._rows, self._length
        if length != len(rows) or length >= _MOST_ROWS:
            rows = rows[length // 2 if length >= _MOST_ROWS else 0 : length]
            length = len(rows)
        rows.append(row)
        return Growing(rows, length + 1)

    def last(self, rows: int) -> list[tuple[float, ...]]:
        """The newest `rows` rows (fewer if there are fewer), oldest first."""
        return self._rows[max(0, self._length - rows) : self._length]

    def __pack__(self) -> Array:
        return np.array(self._rows[: self._length], dtype=np.float64)

    @classmethod
    def __unpack__(cls, plain: Any) -> Growing:
        rows = [tuple(row) for row in plain.tolist()]
        return cls(rows, len(rows))


class Course(NamedTuple):
    """What the criteria remember of the generations so far.

    Attributes:
        trail: (g, 2) best and median f of each generation, oldest first.
        generations: how many, wholly failed ones left out.
        best_f, best_generation: the best value, and in which generation it came.
        spread: range of the finite f of the last generation; inf where fewer than two are finite.
        spread_first: the same of the first generation that had one.
        flat: successive generations whose best equals their 75 % quantile.
        failed: successive generations that failed whole.
        anchor, anchor_generation: (dim,) where, and since when, the mean has hardly moved.
    """

    trail: Growing
    generations: int
    best_f: float
    best_generation: int
    spread: float
    spread_first: float
    flat: int
    failed: int
    anchor: Array
    anchor_generation: int

    @staticmethod
    def start(mean: Array) -> Course:
        """Before the first generation. mean: (dim,)."""
        return Course(Growing([], 0), 0, math.inf, 0, math.inf, math.inf, 0, 0, mean, 0)

    @property
    def flat_so_far(self) -> bool:
        """Whether all finite values so far were equal, as far as the trail goes back."""
        if self.spread_first != 0 or self.spread not in (0, math.inf):
            return False
        rows = self.trail.last(len(self.trail))
        return all(best == median == self.best_f for best, median in rows)

    def after_failed(self) -> Course:
        """After a generation without one finite value."""
        return self._replace(failed=self.failed + 1)

    def after(self, f: list[float], mean: Array, bar: tuple[float, float, float] | None) -> Course:
        """After a generation with the values f, best first, failed ones last, and its new mean."""
        g = self.generations + 1
        best, worst = f[0], f[-1]
        if not -math.inf < worst < math.inf:  # failed rows are no evidence
            f = [v for v in f if -math.inf < v < math.inf]
            worst = f[-1] if len(f) > 1 else math.inf
        anchor, anchor_generation = self.anchor, self.anchor_generation
        if bar is not None and g % _LOOK == 0:
            moved = mean - anchor
            with np.errstate(over="ignore"):  # inf is as good: it is far
                square = moved.dot(moved)
            distance, offset, share = bar
            age = (g - anchor_generation) / (offset + share * g)
            if not (square <= distance * distance or square <= distance * distance * age):
                anchor, anchor_generation = mean, g
        improved = best < self.best_f
        is_flat = len(f) > 1 and best == f[int(_FLAT_QUANTILE * len(f))]
        first = self.spread_first
        return Course(
            self.trail.append((best, f[len(f) // 2])),
            g,
            best if improved else self.best_f,
            g if improved else self.best_generation,
            worst - best,
            worst - best if first == math.inf else first,
            self.flat + 1 if is_flat else 0,
            0,
            anchor,
            anchor_generation,
        )

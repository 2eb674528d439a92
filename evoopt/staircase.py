"""Mutually non-dominated points of two objectives in sorted blocks, with the weights of a lottery.

From left to right f1 rises and f2 falls. The points lie in blocks of up to `_MOST`, each a few
parallel lists, so that an insertion moves the pointers of one block and sums its weights anew; a
sum that is made anew keeps no rounding of weights that have gone. A place is a pair (block, index).

`archive.py` says what it is for, and from where.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain
from math import inf
from operator import neg

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Place = tuple[int, int]
Span = tuple[int, int, int]

_MOST = 256  # points of a block, which is then halved: reports/2026-11-23-archive


class _Block:
    """Points next to one another: values, tags, and the weights with which they are drawn."""

    __slots__ = ("f1", "f2", "tags", "weights")

    def __init__(
        self, f1: list[float], f2: list[float], tags: list[int], weights: list[float]
    ) -> None:
        self.f1, self.f2, self.tags, self.weights = f1, f2, tags, weights

    def part(self, start: int, stop: int) -> _Block:
        """A copy of some points."""
        at = slice(start, stop)
        return _Block(self.f1[at], self.f2[at], self.tags[at], self.weights[at])

    def delete(self, start: int, stop: int) -> None:
        del self.f1[start:stop], self.f2[start:stop]
        del self.tags[start:stop], self.weights[start:stop]


class Staircase:
    """The points.

    Attributes:
        r1, r2: the reference point, beyond which nothing contributes; inf for none.
        power: a point that has two neighbours is drawn with weight contribution ** power.
    """

    def __init__(self, reference: Array | None, power: float) -> None:
        """Without points. reference: (2,) or None."""
        self.r1, self.r2 = (inf, inf) if reference is None else map(float, reference)
        self.power = power
        self._blocks: list[_Block] = []
        self._firsts: list[float] = []  # f1 of the first point of each block
        self._totals: list[float] = []  # sum of the weights of each block

    def values(self) -> Array:
        """(N, 2)."""
        columns = [
            list(chain.from_iterable(block.f1 for block in self._blocks)),
            list(chain.from_iterable(block.f2 for block in self._blocks)),
        ]
        return np.ascontiguousarray(np.array(columns, dtype=np.float64).T)

    def tags(self) -> NDArray[np.int64]:
        """(N,)."""
        listed = chain.from_iterable(block.tags for block in self._blocks)
        return np.fromiter(listed, dtype=np.int64)

    def sizes(self) -> list[int]:
        """How many points each block has."""
        return [len(block.f1) for block in self._blocks]

    def fill(self, F: Array, tags: NDArray[np.int64], sizes: Sequence[int]) -> None:
        """All points at once, in the blocks that they had. F: (N, 2); tags: (N,)."""
        columns = [*F.T.tolist(), tags.tolist()]
        start = 0
        for size in sizes:
            f1, f2, own = (column[start : start + size] for column in columns)
            self._blocks.append(_Block(f1, f2, own, [0.0] * size))
            self._firsts.append(f1[0])
            start += size
        for b, block in enumerate(self._blocks):
            block.weights = [self._weight(b, i) for i in range(len(block.f1))]
        self._totals = [sum(block.weights) for block in self._blocks]

    def copy(self) -> Staircase:
        """That shares nothing with this one."""
        twin = Staircase(np.array([self.r1, self.r2]), self.power)
        twin._blocks = [block.part(0, len(block.f1)) for block in self._blocks]
        twin._firsts, twin._totals = self._firsts.copy(), self._totals.copy()
        return twin

    @property
    def first(self) -> Place:
        """Of the leftmost point."""
        return 0, 0

    @property
    def last(self) -> Place:
        """Of the rightmost point, or of nothing."""
        return len(self._blocks) - 1, -1

    def tag(self, place: Place) -> int:
        """Of the point at a place."""
        return self._blocks[place[0]].tags[place[1]]

    def value(self, place: Place) -> tuple[float, float]:
        """f1 and f2 of the point at a place."""
        block = self._blocks[place[0]]
        return block.f1[place[1]], block.f2[place[1]]

    def place(self, f1: float) -> Place:
        """Of the point with this f1."""
        b = bisect_right(self._firsts, f1) - 1
        return b, bisect_left(self._blocks[b].f1, f1)

    def before(self, b: int, i: int) -> Place | None:
        """Place of the point to the left of a place."""
        if i:
            return b, i - 1
        return (b - 1, len(self._blocks[b - 1].f1) - 1) if b else None

    def here(self, b: int, i: int) -> Place | None:
        """The same place, or where it is the end of a block the beginning of the next."""
        if b < len(self._blocks) and i < len(self._blocks[b].f1):
            return b, i
        return (b + 1, 0) if b + 1 < len(self._blocks) else None

    def window(self, b: int, i: int, most: int) -> list[tuple[int, float, float]]:
        """Tag, f1 and f2 of the points from `most` to the left of a place to as many right."""
        start, stop = i - most, i + most + 1
        blocks = [self._blocks[b]]
        first = last = b
        while start < 0 and first > 0:
            first -= 1
            blocks.insert(0, self._blocks[first])
            size = len(blocks[0].f1)
            start, stop = start + size, stop + size
        held = sum(len(block.f1) for block in blocks)
        while stop > held and last + 1 < len(self._blocks):
            last += 1
            blocks.append(self._blocks[last])
            held += len(blocks[-1].f1)
        start = max(start, 0)
        rows: list[tuple[int, float, float]] = []
        for block in blocks:
            size = len(block.f1)
            if start < size and stop > 0:
                at = slice(max(start, 0), max(stop, 0))
                rows += zip(block.tags[at], block.f1[at], block.f2[at], strict=True)
            start, stop = start - size, stop - size
        return rows

    def entrance(self, f1: float, f2: float) -> Place | None:
        """Where a point belongs, before those that it dominates; None if one dominates or equals
        it."""
        b = bisect_right(self._firsts, f1) - 1
        if b < 0:
            return 0, 0
        block = self._blocks[b]
        i = bisect_right(block.f1, f1)
        if block.f2[i - 1] <= f2:
            return None
        return (b, i - 1) if block.f1[i - 1] == f1 else (b, i)

    def dominated(self, place: Place, f2: float) -> list[Span]:
        """(block, start, stop) of the points from a place on that have no better f2."""
        spans = []
        b, i = place
        while b < len(self._blocks):
            column = self._blocks[b].f2
            j, n = i, len(column)
            while j < n and column[j] >= f2:
                j += 1
            if j > i:
                spans.append((b, i, j))
            if j < n:
                break
            b, i = b + 1, 0
        return spans

    def dominating(self, f1: float, f2: float) -> Array:
        """(k, 2) points that are no worse than this one in any objective."""
        rows: list[tuple[float, float]] = []
        for b in range(bisect_right(self._firsts, f1) - 1, -1, -1):
            block = self._blocks[b]
            start = bisect_left(block.f2, -f2, key=neg)
            stop = bisect_right(block.f1, f1)
            rows += zip(block.f1[start:stop], block.f2[start:stop], strict=True)
            if start:
                break
        return np.array(rows).reshape(-1, 2)

    def gain(
        self,
        place: Place,
        f1: float,
        f2: float,
        spans: Sequence[Span],
        corner: tuple[float, float] | None = None,
    ) -> float:
        """What a point at a place adds to the hypervolume: strips from point to point, all of them
        positive, so that nothing cancels. spans: what it dominates; corner: the reference
        point, if not the own one."""
        r1, r2 = corner or (self.r1, self.r2)
        if f1 >= r1 or f2 >= r2:
            return 0.0
        left, after = self.before(*place), self.here(*place)
        level = r2 if left is None else min(self.value(left)[1], r2)
        at, gain = f1, 0.0
        for b, start, stop in spans:
            block = self._blocks[b]
            for j in range(start, stop):
                right = min(block.f1[j], r1)
                gain += (right - at) * (level - f2)
                at, level = right, min(block.f2[j], r2)
            after = self.here(b, stop)
        right = r1 if after is None else min(self.value(after)[0], r1)
        return gain + (right - at) * (level - f2) if right > at else gain

    def remove(self, place: Place, spans: Sequence[Span]) -> list[int]:
        """Takes points out, and blocks that are left empty, but that of the place."""
        removed: list[int] = []
        for b, start, stop in reversed(spans):
            block = self._blocks[b]
            removed[:0] = block.tags[start:stop]
            block.delete(start, stop)
            if block.f1:
                self._firsts[b] = block.f1[0]  # its total follows when neighbours are weighed
            elif b != place[0]:
                del self._blocks[b], self._firsts[b], self._totals[b]
        return removed

    def insert(self, place: Place, f1: float, f2: float, tag: int) -> None:
        """Puts a point at a place, and weighs it and its neighbours."""
        b, i = place
        if not self._blocks:
            self._blocks, self._firsts, self._totals = [_Block([], [], [], [])], [f1], [0.0]
        block = self._blocks[b]
        block.f1.insert(i, f1)
        block.f2.insert(i, f2)
        block.tags.insert(i, tag)
        block.weights.insert(i, 0.0)
        if not i:
            self._firsts[b] = f1
        self._weigh_around(b, i)
        if len(block.f1) > _MOST:
            self._halve(b)

    def contribution(self, b: int, i: int) -> float:
        """What the hypervolume would lose without the point at a place."""
        block, right, above = self._blocks[b], self.r1, self.r2
        if 0 < i < len(block.f1) - 1:
            after1, before2 = block.f1[i + 1], block.f2[i - 1]
        else:
            left, after = self.before(b, i), self.here(b, i + 1)
            before2 = inf if left is None else self.value(left)[1]
            after1 = inf if after is None else self.value(after)[0]
        width = (after1 if after1 < right else right) - block.f1[i]
        height = (before2 if before2 < above else above) - block.f2[i]
        return width * height if width > 0 and height > 0 else 0.0

    def draw(self, u: float, members: int) -> int:
        """Tag of a point with two neighbours: `u` of all weights lie to the left of it."""
        sums = list(accumulate(self._totals))
        if not 0.0 < sums[-1] < inf:
            return self._tag_of(1 + int(u * (members - 2)))
        b = min(bisect_right(sums, u * sums[-1]), len(sums) - 1)
        while not self._totals[b]:  # rounded beyond the last block with weight
            b -= 1
        weights = self._blocks[b].weights
        inner = list(accumulate(weights))
        i = min(bisect_right(inner, u * sums[-1] - (sums[b - 1] if b else 0.0)), len(inner) - 1)
        while not weights[i]:  # likewise
            i -= 1
        return self._blocks[b].tags[i]

    def _tag_of(self, index: int) -> int:
        for block in self._blocks:
            if index < len(block.tags):
                return block.tags[index]
            index -= len(block.tags)
        raise IndexError(index)

    def _weigh_around(self, b: int, i: int) -> None:
        """Brings the weights of a point and of its neighbours up to date."""
        block = self._blocks[b]
        if 0 < i < len(block.f1) - 1:
            block.weights[i - 1 : i + 2] = [self._weight(b, j) for j in (i - 1, i, i + 1)]
            self._totals[b] = sum(block.weights)
            return
        for place in (self.before(b, i), (b, i), self.here(b, i + 1)):
            if place is not None:
                c, j = place
                self._blocks[c].weights[j] = self._weight(c, j)
                self._totals[c] = sum(self._blocks[c].weights)

    def _weight(self, b: int, i: int) -> float:
        """Nothing for the two extremes."""
        last = len(self._blocks) - 1
        if (b == 0 and i == 0) or (b == last and i == len(self._blocks[b].f1) - 1):
            return 0.0
        try:
            return float(self.contribution(b, i) ** self.power)
        except OverflowError:
            return inf

    def _halve(self, b: int) -> None:
        block = self._blocks[b]
        half = len(block.f1) // 2
        parts = [block.part(0, half), block.part(half, len(block.f1))]
        self._blocks[b : b + 1] = parts
        self._firsts[b : b + 1] = [block.f1[0], block.f1[half]]
        self._totals[b : b + 1] = [sum(part.weights) for part in parts]

"""Which of many points with several objectives stay: by non-domination level, then by hypervolume.

Of two points on different levels the one on the lower level is ahead. Within a level the point that
contributes least to the hypervolume is taken away, again and again: the later, the further ahead.

Equal rows dominate each other not, and contribute nothing while there are two of them. Where two
contributions are equal the later row goes: callers put the older points first, so that what is only
as good as what is known does not take its place.

All objectives are minimised and finite. Of two objectives the two extremes contribute infinitely
much, so that no reference point is needed. With three and more it is the worst of the level plus
its range, in each objective; the contributions then come from moocore (extra `hv`).

Cost: two objectives: O(k log k) for k points. More: a matrix of k^2 comparisons, and for each point
that is taken away all contributions of its level once more.

Source: C. Igel, N. Hansen & S. Roth, Covariance matrix adaptation for multi-objective optimization,
Evolutionary Computation 15(1), 2007, doi:10.1162/evco.2007.15.1.1, Sec. 3.1; M. T. Jensen, Reducing
the run-time complexity of multiobjective EAs, IEEE TEVC 7(5), 2003, doi:10.1109/TEVC.2003.817234,
for the levels of two objectives.
Differences from the source: the reference point of three and more objectives, which the source
leaves to the user; ties.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from evoopt.hypervolume import contributions

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_NONE: frozenset[int] = frozenset()
_SMALL, _LARGE = 1e-100, 1e100  # ranges between them need no scaling: the result is the same


def levels(F: Array) -> Ids:
    """How often the non-dominated points have to be taken away until a row is among them.

    F: (k, m). Returns: (k,), 0 for what no row dominates.
    """
    return _levels_of_two(F) if F.shape[1] == 2 else _levels_of_many(F)


def survivors(F: Array, most: int, level: Ids) -> NDArray[np.bool_]:
    """The `most` foremost rows. F: (k, m); level: (k,) as `levels` says. Returns: (k,)."""
    kept = np.ones(len(F), dtype=bool)
    if len(F) <= most:
        return kept
    room, last = most, 0
    for count in np.bincount(level).tolist():
        if count > room:
            break
        room, last = room - count, last + 1  # in the end the first level that has not place enough
    kept[level > last] = False
    rows = np.flatnonzero(level == last)
    kept[rows[list(islice(_taken(F[rows]), len(rows) - room))]] = False
    return kept


def ahead(F: Array, level: Ids, rows: Ids, others: Ids) -> NDArray[np.bool_]:
    """Whether each of `rows` is ahead of its partner in `others`: on a lower level, or later taken
    away from the same one. F: (k, m); level: (k,); rows, others: (r,), no row with itself.
    Returns: (r,)."""
    own, other = level[rows], level[others]
    won = own < other
    tied = own == other
    for number in set(own[tied].tolist()):
        pairs = np.flatnonzero(tied & (own == number))
        members = np.flatnonzero(level == number)
        won[pairs] = _later(F[members], members, rows[pairs].tolist(), others[pairs].tolist())
    return won


def _later(F: Array, members: Ids, rows: list[int], others: list[int]) -> list[bool]:
    """Which of `rows` are taken away from a level after their partners. F: (l, m) its rows,
    members: (l,) their numbers."""
    pairs: dict[int, set[int]] = {}  # that a row is in
    for pair, both in enumerate(zip(rows, others, strict=True)):
        for row in both:
            pairs.setdefault(row, set()).add(pair)
    won, undecided = [False] * len(rows), set(range(len(rows)))
    for place in _taken(F):
        row = int(members[place])
        for pair in pairs.get(row, _NONE) & undecided:
            won[pair] = row == others[pair]
            undecided.remove(pair)
        if not undecided:
            break
    return won


def _levels_of_two(F: Array) -> Ids:
    """A level ends at its least f2: sorted by f1, a row belongs to the first that ends above it."""
    order = np.lexsort((F[:, 1], F[:, 0]))
    level = np.zeros(len(F), dtype=np.int64)
    ends: list[float] = []
    before: object = None
    found = 0
    for row, f in zip(order.tolist(), F[order].tolist(), strict=True):
        if f != before:  # an equal row is on the same level
            found = bisect_right(ends, f[1])
            ends[found : found + 1] = [f[1]]
            before = f
        level[row] = found
    return level


def _levels_of_many(F: Array) -> Ids:
    """Takes the non-dominated rows away, level by level."""
    below = np.asarray((F[:, None] <= F).all(axis=2))
    dominates = below & ~below.T
    above = dominates.sum(axis=0)  # of a row: how many that are left dominate it
    level, number = np.full(len(F), -1, dtype=np.int64), 0
    while (level < 0).any():
        rows = (level < 0) & (above == 0)
        level[rows] = number
        above = above - dominates[rows].sum(axis=0)
        number += 1
    return level


def _taken(F: Array) -> Iterator[int]:
    """The rows of one level in the order in which they are taken away. F: (k, m)."""
    return _taken_of_two(F) if F.shape[1] == 2 else _taken_of_many(_scaled(F))


def _scaled(F: Array) -> Array:
    """Each objective divided by a power of two near its range: products of ranges neither overflow
    nor vanish, and not one bit of a result depends on such a factor. F: (k, m)."""
    half = F.max(axis=0) / 2 - F.min(axis=0) / 2  # the range itself may overflow
    scaled: Array = np.ldexp(F, -np.frexp(half)[1])
    return scaled


def _taken_of_two(F: Array) -> Iterator[int]:
    """A heap of contributions; those of the two neighbours change with each row taken away."""
    order = np.lexsort((F[:, 1], F[:, 0]))  # stable: of equal rows the first leads
    rows: list[int] = order.tolist()
    f1, f2 = F[order].T.tolist()
    if not (_SMALL < f1[-1] - f1[0] < _LARGE and _SMALL < f2[0] - f2[-1] < _LARGE):
        f1, f2 = _scaled(F)[order].T.tolist()
    again = [i for i in range(1, len(rows)) if f1[i] == f1[i - 1] and f2[i] == f2[i - 1]]
    yield from sorted((rows[i] for i in again), reverse=True)  # they contribute nothing
    for i in reversed(again):
        del rows[i], f1[i], f2[i]
    end = len(rows)
    left, right = list(range(-1, end)), list(range(1, end + 2))  # neighbours by index
    now = [math.inf] * end
    for i in range(1, end - 1):
        now[i] = (f1[i + 1] - f1[i]) * (f2[i - 1] - f2[i])
    heap = [(c, -row, i) for i, (c, row) in enumerate(zip(now, rows, strict=True))]
    heapq.heapify(heap)
    while heap:
        c, row, i = heapq.heappop(heap)
        if c != now[i]:
            continue  # it has changed since
        yield -row
        a, b = left[i], right[i]
        now[i], right[a], left[b] = math.nan, b, a  # left[end] is nobody's, as right[-1]
        for j in (a, b):
            if 0 <= j < end:
                is_inner = left[j] >= 0 and right[j] < end
                area = (f1[right[j]] - f1[j]) * (f2[left[j]] - f2[j]) if is_inner else math.inf
                now[j] = area
                heapq.heappush(heap, (area, -rows[j], j))


def _taken_of_many(F: Array) -> Iterator[int]:
    """The contributions of all that are left, for each row taken away."""
    worst = F.max(axis=0)
    width = worst - F.min(axis=0)
    reference = worst + np.where(width > 0, width, 1.0)
    left = list(range(len(F)))
    while left:
        now = contributions(F[left], reference)
        yield left.pop(int(np.flatnonzero(now == now.min())[-1]))

"""Which asked point a told one is: by its coordinates, also after a rounding to float32.

Rounded points are common where an objective works in single precision and returns what it got. They
are recognised, and the search learns from the points that it drew.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.strategies.base import Population

Array = NDArray[np.float64]

_MOST_WAITING = 1 << 16  # numbers: half a megabyte


def recognised(X: Array, rows: Population | None, told: Collection[int]) -> NDArray[np.int64]:
    """Ids of the rows with these coordinates, -1 where there is none; each row is found once.

    X: (k, dim). rows: those that are open. told: ids among them that are no longer looked for.
    """
    if rows is None:
        return np.full(len(X), -1)
    if not told and np.array_equal(rows.X, X):
        return rows.id
    known = np.asarray(rows.X)
    exact, coarse = _places(known, rows, told), _places(rounded(known), rows, told)
    taken: set[int] = set()
    ids = []
    for x in X:
        key = x.tobytes()
        same = [i for i in (*exact.get(key, ()), *coarse.get(key, ())) if i not in taken]
        ids.append(same[0] if same else -1)
        taken.update(same[:1])
    return np.array(ids, dtype=np.int64)


def rounded(X: Array) -> Array:
    """The nearest numbers of float32."""
    with np.errstate(over="ignore"):
        return X.astype(np.float32).astype(np.float64)


def digests(X: Array) -> list[int]:
    """One number per row, the same for equal rows and, but for chance, no others. X: (k, dim)."""
    words = np.ascontiguousarray(X).view(np.uint64)
    mixed: list[int] = ((words ^ (words >> 29)) * _mixers(X.shape[1])).sum(axis=1).tolist()
    return mixed


class Memory:
    """The points told lately, by their marks; these are made when somebody asks for them.

    Args:
        rows: how many points are remembered.
        known: marks to begin with.
    """

    def __init__(self, rows: int, known: Iterable[int] = ()) -> None:
        self._marks = deque(known, maxlen=2 * rows)
        self._waiting: list[Array] = []  # points without marks yet
        self._size = 0  # numbers in them

    def add(self, X: Any) -> None:
        """Points that were told. X: (k, dim)."""
        points = np.array(X)
        self._waiting.append(points)
        self._size += points.size
        if self._size > _MOST_WAITING:
            self.marks()

    def marks(self) -> list[int]:
        """Of all points remembered, the oldest first."""
        for points in self._waiting:
            self._marks.extend(marks(points))
        self._waiting.clear()
        self._size = 0
        return list(self._marks)


def marks(X: Any) -> list[int]:
    """The digests of the rows and of their roundings, two a row. X: (k, dim)."""
    points = np.asarray(X)
    return digests(np.concatenate([points, rounded(points)]))


def _places(X: Array, rows: Population, told: Collection[int]) -> dict[bytes, list[int]]:
    """Coordinates -> ids of the rows that have them."""
    places: dict[bytes, list[int]] = {}
    for i, x in zip(rows.id.tolist(), X, strict=True):
        if i not in told:
            places.setdefault(x.tobytes(), []).append(i)
    return places


@functools.cache
def _mixers(dim: int) -> NDArray[np.uint64]:
    """(dim,) odd numbers of 64 random bits, always the same."""
    bits = rng.uniforms(0, (), 0, 2, dim) * 2.0**32
    high, low = bits.astype(np.uint64)
    mixers: NDArray[np.uint64] = (high << np.uint64(32)) | low | np.uint64(1)
    return mixers

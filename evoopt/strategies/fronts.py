"""What strategies with a front of their own share: who asked for a row, and rows in a fixed order.

Their states hold mutable parts, the archive above all, which `tell` changes in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.archive import BiobjectiveArchive
from evoopt.errors import ConfigurationError
from evoopt.result import StopReason
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.stopping import MOST_FAILED, reason

Array = NDArray[np.float64]


PATIENCE = 20  # times `MOST_FAILED` failures in a row end a search in which something succeeded


class Row(NamedTuple):
    """One evaluated point. id: of the candidate, or -1; x: (dim,); f1, f2: NaN if it failed."""

    id: int
    x: Array
    f1: float
    f2: float


class OpenRows:
    """What was noted of candidates that are being evaluated: id -> a tuple of plain data."""

    def __init__(self, noted: dict[int, Any] | None = None) -> None:
        self._noted = {} if noted is None else noted

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, i: int, what: Any) -> None:
        """Something about candidate i."""
        self._noted[i] = what

    def close(self, i: int) -> Any:
        """What was noted of candidate i, which is forgotten with this; None if nothing was."""
        return self._noted.pop(i, None)

    def noted(self) -> Iterator[Any]:
        """What was noted of all of them."""
        return iter(self._noted.values())

    def __pack__(self) -> list[Any]:
        return [list(self._noted), list(self._noted.values())]

    @classmethod
    def __unpack__(cls, plain: Any) -> OpenRows:
        return cls(dict(zip(*plain, strict=True)))


def told_rows(population: Population, F: Array) -> Iterator[Row]:
    """The rows by id, injected ones first and by their values: in this order they are learnt, in
    whatever order they were told. F: (k, 2)."""
    k = len(population)
    X = np.asarray(population.X)
    if k == 1:
        i = int(population.id[0]) if population.epoch[0] != INJECTED else INJECTED
        yield Row(i, X[0], float(F[0, 0]), float(F[0, 1]))
        return
    ids = np.where(population.epoch == INJECTED, INJECTED, population.id)
    order = np.lexsort((*X.T[::-1], F[:, 1], F[:, 0], ids))
    for row in order.tolist():
        yield Row(int(ids[row]), X[row], float(F[row, 0]), float(F[row, 1]))


def given_up(failed: int, popsize: int, front: BiobjectiveArchive) -> StopReason | None:
    """Why a search ends where nothing but failures comes; it waits longer once a front is there."""
    bar = MOST_FAILED * max(popsize, 10) * (PATIENCE if len(front) else 1)
    return reason("allfailed", failed, bar) if failed >= bar else None


def beside(front: BiobjectiveArchive, tag: int) -> list[int]:
    """The one or two members next to one, of its two sides; of an extreme, the next two."""
    left, right = front.neighbours(tag)
    if left is None:
        left = None if right is None else front.neighbours(right)[1]
    elif right is None:
        right = front.neighbours(left)[0]
    return [t for t in (left, right) if t is not None]


def middle(front: BiobjectiveArchive) -> int:
    """A member in the midst of the front: half of the weights of the lottery lie on each side."""
    if len(front) > 2:  # two extremes and something between
        return front.draw(0.5)
    return front.extremes[0]


def uniform(z: float) -> float:
    """In [0, 1): what share of normal numbers lies below z."""
    return min(0.5 * math.erfc(-z * math.sqrt(0.5)), 1 - 2**-53)


def stacked(rows: Sequence[Population]) -> Population:
    """Rows of one strategy, each a population of its own, as one."""
    if len(rows) == 1:
        return rows[0]
    Z = None if rows[0].Z is None else np.concatenate([r.Z for r in rows if r.Z is not None])
    Y = None if rows[0].Y is None else np.concatenate([r.Y for r in rows if r.Y is not None])
    inner = [r.inner for r in rows if r.inner is not None]
    return Population(
        np.concatenate([r.id for r in rows]),
        np.concatenate([r.epoch for r in rows]),
        np.concatenate([r.X for r in rows]),
        Z,
        Y,
        stacked(inner) if inner else None,
    )


def two_objectives(objectives: int, name: str) -> None:
    """Raises: ConfigurationError for other than two."""
    if objectives != 2:  # its front is a line
        raise ConfigurationError(
            f"{name}(objectives=...) must be 2; got {objectives}: take 'mo-cma-es'"
        )

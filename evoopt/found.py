"""What a search with several objectives has found: its front, and how that grew."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evoopt.archive import Archive

Array = NDArray[np.float64]

# of a history: with three objectives and more, each looks at the whole front
_MOST_VOLUMES = 100


class Found:
    """The rows told that no other row dominates, and their points. Values are as minimised.

    Attributes:
        archive: of the values; its tags count all rows told.
        reference: (n_obj,) the user's reference point of the hypervolume, or None.
    """

    def __init__(self, n_obj: int, reference: Array | None, *, watched: bool) -> None:
        """watched: the hypervolume is wanted after every tell."""
        self.archive = Archive.empty(n_obj, reference)
        self.reference = reference
        self._n_obj = n_obj
        self._watched = reference is not None and (watched or n_obj == 2)
        self._X: dict[int, Array] = {}  # tag of a member -> its point
        self._rows = 0  # told: the next tag
        # of all rows that ever entered: evaluations told by then, and values
        self._when: list[int] = []
        self._entered: list[list[float]] = []
        self._worst = [-math.inf] * n_obj  # of them all

    def __len__(self) -> int:
        return len(self.archive)

    def add(self, X: Array, F: Array, before: int, counted: bool) -> None:
        """Rows were told.

        Args:
            X: (k, dim) points. F: (k, n_obj) values, NaN in rows that failed.
            before: evaluations told before these.
            counted: they are evaluations of the search.
        """
        for row, f in enumerate(F.tolist()):
            tag, self._rows = self._rows, self._rows + 1
            removed = self.archive.add(f, tag)
            if removed is None:
                continue
            for gone in removed:
                del self._X[gone]
            self._X[tag] = np.array(X[row], dtype=np.float64)
            self._when.append(before + row + 1 if counted else before)
            self._entered.append(f)
            self._worst = list(map(max, self._worst, f))

    @property
    def volume(self) -> float:
        """The hypervolume for the user's reference; NaN where nobody watches it."""
        return self.archive.hypervolume if self._watched else math.nan

    @property
    def worst(self) -> Array:
        """(n_obj,) the worst nadir of the front so far, which is the worst of all rows that ever
        entered it: the reference where the user gave none; -inf before there is one."""
        return np.array(self._worst)

    @property
    def rows(self) -> tuple[Array, Array]:
        """X (N, dim) and F (N, n_obj) of the front, by the first objective."""
        X = [self._X[tag] for tag in self.archive.tags.tolist()]
        return np.array(X), self.archive.F

    def volumes(self, evaluations: NDArray[np.int64], reference: Array) -> Array:
        """(r,) the hypervolume after so many evaluations each, which ascend; NaN for all but a
        hundred of them with three objectives and more.

        evaluations: (r,). reference: (n_obj,).
        """
        again, at = Archive.empty(self._n_obj, reference), 0
        every = 1 if self._n_obj == 2 else -(-len(evaluations) // _MOST_VOLUMES)
        found = np.full(len(evaluations), math.nan)
        for row, told in enumerate(evaluations.tolist()):
            while at < len(self._when) and self._when[at] <= told:
                again.add(self._entered[at], at)
                at += 1
            if (len(evaluations) - 1 - row) % every == 0:
                found[row] = again.hypervolume
        return found

    def pack(self) -> dict[str, Any]:
        """All that changes, for `evoopt.rundir.codec`."""
        return {
            "archive": self.archive,
            "X": self.rows[0],
            "rows": self._rows,
            "when": np.array(self._when, dtype=np.int64),
            "entered": np.array(self._entered).reshape(-1, self._n_obj),
        }

    def restore(self, packed: dict[str, Any]) -> None:
        """The inverse of `pack`, into one made by the same arguments."""
        self.archive = packed["archive"]
        self._X = dict(zip(self.archive.tags.tolist(), packed["X"], strict=True))
        self._rows = packed["rows"]
        self._when, self._entered = packed["when"].tolist(), packed["entered"].tolist()
        self._worst = packed["entered"].max(axis=0, initial=-math.inf).tolist()

    def copy(self) -> Self:
        """One that goes its own way."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.archive, other._X = deepcopy(self.archive), dict(self._X)
        other._when, other._entered = list(self._when), list(self._entered)
        return other

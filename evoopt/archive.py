"""The archive: all points found that no other dominates, however many, and what each contributes.

All objectives are minimised. A member is a row of values and a tag, a whole number that the caller
gives it. A point that a member dominates or equals does not enter; one that enters removes those
that it dominates. Rows with NaN or inf never enter.

`BiobjectiveArchive` keeps two objectives sorted (`staircase.py`), so that an insertion costs a
search and the contributions of three members. `ManyObjectiveArchive` keeps any number of them in an
array, O(N m) an insertion, and asks moocore (extra `hv`) for volumes.

Source: the archive of UP-MO-CMA-ES, Krause, Glasmachers, Hansen & Igel, hal-01381653, where
interior points are drawn by contribution to the power of 3; Hupkens & Emmerich (2013) for local
updates of contributions; Toure et al., arXiv:1904.08823, for the uncrowded improvement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt import hypervolume as volumes
from evoopt.errors import ConfigurationError
from evoopt.staircase import Staircase

Array = NDArray[np.float64]

POWER = 3.0  # of the contributions when a parent is drawn: alpha of UP-MO-CMA-ES


class Archive(ABC):
    """What archives of all numbers of objectives do."""

    @staticmethod
    def empty(n_obj: int, reference: Array | None = None) -> Archive:
        """An archive without members.

        Args:
            n_obj: number of objectives, at least 2.
            reference: (n_obj,) the point up to which hypervolume counts; None for no hypervolume.
        """
        if n_obj == 2:
            return BiobjectiveArchive(reference)
        return ManyObjectiveArchive(n_obj, reference)

    @abstractmethod
    def add(self, f: Sequence[float] | Array, tag: int) -> list[int] | None:
        """Offer a point.

        Args:
            f: m values.
            tag: its name, of no member so far.

        Returns:
            The tags of the members that it removed; None where it did not enter: a member
            dominates or equals it, or it is not finite.
        """

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def reference(self) -> Array | None:
        """(m,) or None."""

    @property
    @abstractmethod
    def F(self) -> Array:  # noqa: N802  # the field's name
        """(N, m) the members by their first objective. O(N)."""

    @property
    @abstractmethod
    def tags(self) -> NDArray[np.int64]:
        """(N,) in the order of `F`."""

    @property
    @abstractmethod
    def ideal(self) -> Array:
        """(m,) least value of each objective; inf while there is no member."""

    @property
    @abstractmethod
    def nadir(self) -> Array:
        """(m,) largest value of each objective among the members; -inf while there is none."""

    @property
    @abstractmethod
    def worst(self) -> Array:
        """(m,) largest value of each objective among all finite rows ever offered; -inf before."""

    @property
    @abstractmethod
    def hypervolume(self) -> float:
        """Up to the reference point; NaN without one."""

    @property
    def contributions(self) -> Array:
        """(N,) what the hypervolume would lose without each member; without a reference inf for
        the extremes of two objectives, and NaN for all of more. O(N) and more."""
        return volumes.contributions(self.F, self.reference)

    def hypervolume_for(self, reference: Array) -> float:
        """Up to another reference point. reference: (m,). O(N) and more."""
        return volumes.hypervolume(self.F, np.asarray(reference, dtype=np.float64))

    @abstractmethod
    def improvement(self, f: Sequence[float] | Array) -> float:
        """Uncrowded hypervolume improvement: what f would add to the hypervolume if no member
        dominates it and it is inside the reference point, else minus its distance to there.

        -inf for a row that is not finite. Without a reference a new extreme of two objectives
        improves by inf, and everything non-dominated of more by NaN.
        """


class BiobjectiveArchive(Archive):
    """Two objectives, sorted by the first, hence falling in the second.

    The sum of the hypervolume is compensated, so that 1e5 gains lose no more than one does.
    """

    def __init__(self, reference: Array | None = None, power: float = POWER) -> None:
        """An archive without members.

        Args:
            reference: (2,) or None.
            power: members are drawn with probabilities proportional to contribution ** power.
        """
        self._reference = _checked(reference, 2)
        self._steps = Staircase(self._reference, power)
        self._f1_of: dict[int, float] = {}  # tag -> f1
        self._volume, self._lost = 0.0, 0.0  # hypervolume, and what rounding took from it
        self._worst1, self._worst2 = -inf, -inf

    def __len__(self) -> int:
        return len(self._f1_of)

    @property
    def reference(self) -> Array | None:
        return self._reference

    @property
    def worst(self) -> Array:
        return np.array([self._worst1, self._worst2])

    @property
    def F(self) -> Array:  # noqa: N802  # the field's name
        return self._steps.values()

    @property
    def tags(self) -> NDArray[np.int64]:
        return self._steps.tags()

    @property
    def ideal(self) -> Array:
        if not self._f1_of:
            return np.full(2, inf)
        return np.array(
            [self._steps.value(self._steps.first)[0], self._steps.value(self._steps.last)[1]]
        )

    @property
    def nadir(self) -> Array:
        if not self._f1_of:
            return np.full(2, -inf)
        return np.array(
            [self._steps.value(self._steps.last)[0], self._steps.value(self._steps.first)[1]]
        )

    @property
    def hypervolume(self) -> float:
        if self._reference is None:
            return nan
        return self._volume + self._lost if isfinite(self._volume) else self._volume

    @property
    def extremes(self) -> tuple[int, int]:
        """Tags of the least f1 and of the least f2.

        Raises:
            IndexError: there is no member.
        """
        return self._steps.tag(self._steps.first), self._steps.tag(self._steps.last)

    def neighbours(self, tag: int) -> tuple[int | None, int | None]:
        """Tags of the members to the left and right of one; None beyond the extremes.

        Raises:
            KeyError: no such member.
        """
        steps = self._steps
        b, i = steps.place(self._f1_of[tag])
        left, right = steps.before(b, i), steps.here(b, i + 1)
        return left and steps.tag(left), right and steps.tag(right)

    def around(self, tag: int, most: int) -> list[tuple[int, float, float]]:
        """Tag, f1 and f2 of a member and of up to `most` ones to each side, from left to right.

        Raises:
            KeyError: no such member.
        """
        b, i = self._steps.place(self._f1_of[tag])
        return self._steps.window(b, i, most)

    def value(self, tag: int) -> tuple[float, float]:
        """f1 and f2 of a member.

        Raises:
            KeyError: no such member.
        """
        return self._steps.value(self._steps.place(self._f1_of[tag]))

    def gain(self, f: Sequence[float] | Array, corner: tuple[float, float]) -> float:
        """What f would add to the hypervolume up to `corner`; 0 where a member dominates it."""
        f1, f2 = float(f[0]), float(f[1])
        place = self._steps.entrance(f1, f2) if isfinite(f1) and isfinite(f2) else None
        if place is None:
            return 0.0
        return self._steps.gain(place, f1, f2, self._steps.dominated(place, f2), corner)

    def contribution(self, tag: int) -> float:
        """What the hypervolume would lose without a member; inf for extremes with no reference.

        Raises:
            KeyError: no such member.
        """
        return self._steps.contribution(*self._steps.place(self._f1_of[tag]))

    def draw(self, u: float) -> int:
        """Tag of an interior member, neither of the extremes, with probability proportional to
        contribution ** power; all alike where these sum up to nothing, or overflow.

        Args:
            u: uniform in [0, 1).

        Raises:
            ConfigurationError: fewer than three members.
        """
        if len(self) < 3:
            raise ConfigurationError(
                f"BiobjectiveArchive.draw(...) needs an interior member; it has {len(self)} members"
            )
        return self._steps.draw(u, len(self))

    def add(self, f: Sequence[float] | Array, tag: int) -> list[int] | None:
        f1, f2 = float(f[0]), float(f[1])
        if not (isfinite(f1) and isfinite(f2)):
            return None
        if tag in self._f1_of:
            raise _known(tag)
        if f1 > self._worst1:
            self._worst1 = f1
        if f2 > self._worst2:
            self._worst2 = f2
        steps = self._steps
        place = steps.entrance(f1, f2)
        if place is None:
            return None
        spans = steps.dominated(place, f2)
        if self._reference is not None:
            self._grow(steps.gain(place, f1, f2, spans))
        removed = steps.remove(place, spans) if spans else []
        for gone in removed:
            del self._f1_of[gone]
        steps.insert(place, f1, f2, tag)
        self._f1_of[tag] = f1
        return removed

    def improvement(self, f: Sequence[float] | Array) -> float:
        f1, f2 = float(f[0]), float(f[1])
        if not (isfinite(f1) and isfinite(f2)):
            return -inf
        steps = self._steps
        place = steps.entrance(f1, f2)
        if place is not None and f1 < steps.r1 and f2 < steps.r2:
            return steps.gain(place, f1, f2, steps.dominated(place, f2))
        near = steps.dominating(f1, f2)
        return -volumes.distance(np.array([f1, f2]), near, self._reference)

    def _grow(self, gain: float) -> None:
        """Adds to the hypervolume, and keeps what rounding loses (Neumaier)."""
        volume = self._volume + gain
        if self._volume >= gain:
            self._lost += (self._volume - volume) + gain
        else:
            self._lost += (gain - volume) + self._volume
        self._volume = volume

    def __deepcopy__(self, memo: dict[int, Any]) -> BiobjectiveArchive:
        twin = BiobjectiveArchive(self._reference)
        twin._steps = self._steps.copy()
        twin._f1_of = self._f1_of.copy()
        twin._volume, twin._lost = self._volume, self._lost
        twin._worst1, twin._worst2 = self._worst1, self._worst2
        return twin

    def __pack__(self) -> dict[str, Any]:
        return {
            "reference": self._reference,
            "power": self._steps.power,
            "F": self.F,
            "tags": self.tags,
            "sizes": self._steps.sizes(),
            "volume": (self._volume, self._lost),
            "worst": (self._worst1, self._worst2),
        }

    @classmethod
    def __unpack__(cls, plain: Any) -> BiobjectiveArchive:
        found = cls(plain["reference"], plain["power"])
        F, tags = plain["F"], plain["tags"]
        found._steps.fill(F, tags, plain["sizes"])
        found._f1_of = dict(zip(tags.tolist(), F[:, 0].tolist(), strict=True))
        found._volume, found._lost = plain["volume"]
        found._worst1, found._worst2 = plain["worst"]
        return found


class ManyObjectiveArchive(Archive):
    """Any number of objectives in an array; volumes by moocore (extra `hv`), when asked for."""

    def __init__(self, n_obj: int, reference: Array | None = None) -> None:
        """An archive without members. reference: (n_obj,) or None."""
        self._reference = _checked(reference, n_obj)
        self._F = np.empty((0, n_obj))
        self._tags: list[int] = []
        self._volume: float | None = None  # None: to be asked for
        self._worst = np.full(n_obj, -inf)

    def __len__(self) -> int:
        return len(self._tags)

    @property
    def reference(self) -> Array | None:
        return self._reference

    @property
    def worst(self) -> Array:
        return self._worst.copy()

    @property
    def F(self) -> Array:  # noqa: N802  # the field's name
        return self._F[self._order()]

    @property
    def tags(self) -> NDArray[np.int64]:
        return np.array(self._tags, dtype=np.int64)[self._order()]

    @property
    def ideal(self) -> Array:
        low: Array = self._F.min(axis=0, initial=inf)
        return low

    @property
    def nadir(self) -> Array:
        high: Array = self._F.max(axis=0, initial=-inf)
        return high

    @property
    def hypervolume(self) -> float:
        if self._reference is None:
            return nan
        if self._volume is None:
            self._volume = volumes.hypervolume(self._F, self._reference)
        return self._volume

    def add(self, f: Sequence[float] | Array, tag: int) -> list[int] | None:
        row = np.asarray(f, dtype=np.float64)
        if not np.isfinite(row).all():
            return None
        if tag in self._tags:
            raise _known(tag)
        self._worst = np.maximum(self._worst, row)
        if (self._F <= row).all(axis=1).any():
            return None
        beaten = (self._F >= row).all(axis=1)
        removed = [self._tags[i] for i in np.flatnonzero(beaten)]
        if removed:
            gone = set(removed)
            self._tags = [kept for kept in self._tags if kept not in gone]
        self._F = np.vstack((self._F[~beaten], row))
        self._tags.append(tag)
        self._volume = None
        return removed

    def improvement(self, f: Sequence[float] | Array) -> float:
        row = np.asarray(f, dtype=np.float64)
        if not np.isfinite(row).all():
            return -inf
        away = volumes.distance(row, self._F, self._reference)
        if away > 0 or (self._F <= row).all(axis=1).any():
            return -away
        if self._reference is None:
            return nan
        taken = volumes.hypervolume(np.maximum(self._F, row), self._reference)
        return float(np.prod(np.maximum(self._reference - row, 0.0))) - taken

    def _order(self) -> NDArray[np.intp]:
        return np.lexsort(self._F.T[::-1])

    def __pack__(self) -> dict[str, Any]:
        return {
            "reference": self._reference,
            "F": self._F,
            "tags": np.array(self._tags, dtype=np.int64),
            "worst": self._worst,
        }

    @classmethod
    def __unpack__(cls, plain: Any) -> ManyObjectiveArchive:
        found = cls(plain["F"].shape[1], plain["reference"])
        found._F, found._worst = plain["F"], plain["worst"]
        found._tags = plain["tags"].tolist()
        return found


def _known(tag: int) -> ConfigurationError:
    return ConfigurationError(f"Archive.add(tag=...) must be the tag of no member; got {tag} again")


def _checked(reference: Array | None, n_obj: int) -> Array | None:
    """A copy of a reference point.

    Raises:
        ConfigurationError: it is not a row of n_obj finite numbers.
    """
    if reference is None:
        return None
    point = np.array(reference, dtype=np.float64)
    if point.shape != (n_obj,) or not np.isfinite(point).all():
        raise ConfigurationError(
            f"Archive(reference=...) must be {n_obj} finite numbers; got {reference!r}"
        )
    return point

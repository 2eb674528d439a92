"""The front that a search with several objectives has found, and ways to choose from it.

Sources: Yu (1973), doi:10.1287/mnsc.19.8.936, for the compromise that `knee` is; Steuer & Choo
(1983), doi:10.1007/BF02591870, for `best_for`; Guerreiro, Fonseca & Paquete (2016),
doi:10.1162/EVCO_a_00188, for `subset`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt import hypervolume as volumes
from evoopt.errors import ConfigurationError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Points that do not dominate one another, from the best in the first objective to the worst.

    Attributes:
        X: (k, n) points.
        F: (k, m) their values, as the user's function gave them.
        reference: (m,) the point up to which hypervolume counts, in the same terms.
        maximize: (m,) which objectives are maximised; () for none.
    """

    X: Array
    F: Array
    reference: Array
    maximize: tuple[bool, ...] = ()

    @classmethod
    def of(cls, X: Array, F: Array, reference: ArrayLike, maximize: Sequence[bool] = ()) -> Front:
        """The front of any points, in order; of equal values the first point stays.

        Args:
            X: (k, n) points.
            F: (k, m) values in the user's terms; rows with NaN or inf are left out.
            reference: (m,).
            maximize: (m,) which objectives are maximised; () for none.
        """
        flags = tuple(bool(flag) for flag in maximize)
        G = F * _signs(flags, F.shape[1])
        rows = np.flatnonzero(volumes.nondominated(G))
        rows = rows[np.lexsort(G[rows].T[::-1])]
        return cls(X[rows], F[rows], np.asarray(reference, dtype=np.float64), flags)

    def __len__(self) -> int:
        return len(self.F)

    @property
    def ideal(self) -> Array:
        """(m,) the best value of each objective."""
        return self._of_minimized(self._minimized.min(axis=0))

    @property
    def nadir(self) -> Array:
        """(m,) the worst value of each objective on the front."""
        return self._of_minimized(self._minimized.max(axis=0))

    @property
    def hypervolume(self) -> float:
        """Of the part of the front that is better than the reference point in all objectives.

        Raises:
            MissingDependencyError: three objectives or more, and moocore is not installed.
        """
        return volumes.hypervolume(self._minimized, self._minimized_reference)

    @property
    def knee(self) -> int:
        """Index of the point nearest to the ideal, each objective scaled to its range on the front.

        It exists on every front; where the front has a bulge towards the ideal, it is there.
        """
        return int(np.argmin((self._scaled**2).sum(axis=1)))

    @property
    def extremes(self) -> tuple[int, ...]:
        """Index of the best point for each objective; of equals the one better in the others."""
        G = self._scaled
        return tuple(int(np.lexsort((G.sum(axis=1), column))[0]) for column in G.T)

    def best_for(self, weights: ArrayLike) -> int:
        """Index of the best point for a user to whom the objectives matter by these weights.

        It is the point whose largest weighted distance from the ideal in one objective is least, of
        equal ones that with the least sum: each point, in a hollow, too, is best for some weights.

        Args:
            weights: (m,) not negative, not all zero; objectives count by their range on the front.

        Raises:
            ConfigurationError: other weights.
        """
        w = np.asarray(weights, dtype=np.float64)
        m = self.F.shape[1]
        if w.shape != (m,) or not np.isfinite(w).all() or w.min() < 0 or w.max() == 0:
            raise ConfigurationError(
                f"best_for(weights=...) must be {m} numbers, none negative and not all 0; "
                f"got {weights!r}"
            )
        G = self._scaled
        largest = (G * (w / w.max())).max(axis=1)
        return int(np.lexsort((G.sum(axis=1), largest))[0])

    def subset(self, k: int) -> Front:
        """At most k points, chosen one by one, each for the hypervolume that it adds most.

        What they have together is at least 1 - 1/e of the best k points' hypervolume.

        Raises:
            ConfigurationError: k is not a positive whole number.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ConfigurationError(f"subset(k=...) must be a positive whole number; got {k!r}")
        if k >= len(self):
            return self
        choose = _greedy_pairs if self.F.shape[1] == 2 else _greedy
        rows = sorted(choose(*_evened(self._minimized, self._minimized_reference), int(k)))
        return Front(self.X[rows], self.F[rows], self.reference, self.maximize)

    @property
    def _minimized(self) -> Array:
        return self._of_minimized(self.F)

    @property
    def _minimized_reference(self) -> Array:
        return self._of_minimized(self.reference)

    def _of_minimized(self, F: Array) -> Array:
        """Values in the user's terms as minimised ones, or the other way round. F: (..., m)."""
        return F * _signs(self.maximize, self.F.shape[1])

    @property
    def _scaled(self) -> Array:
        """(k, m) minimised, 0 at the ideal and 1 at the nadir point."""
        G = self._minimized
        low = G.min(axis=0)
        width = G.max(axis=0) - low
        scaled: Array = (G - low) / np.where(width > 0, width, 1.0)
        return scaled


def _signs(maximize: tuple[bool, ...], m: int) -> Array:
    return np.where(maximize, -1.0, 1.0) if maximize else np.ones(m)


def _evened(F: Array, reference: Array) -> tuple[Array, Array]:
    """Values and reference in units, powers of 2, in which volumes neither overflow nor vanish; the
    order of all volumes stays as it is. F: (N, m), reference: (m,)."""
    _, exponent = np.frexp(reference / 2 - F.min(axis=0) / 2)
    with np.errstate(over="ignore"):  # far beyond the reference: inf, which adds nothing
        return np.ldexp(F, -exponent), np.ldexp(reference, -exponent)


def _greedy_pairs(F: Array, reference: Array, k: int) -> list[int]:
    """Two objectives: what a point adds depends on the chosen ones next to it. F: (N, 2) by f1."""
    f1, f2 = F.T
    right, above = np.full(len(F), reference[0]), np.full(len(F), reference[1])
    chosen: list[int] = []
    for _ in range(k):
        gains = np.maximum(right - f1, 0.0) * np.maximum(above - f2, 0.0)
        gains[chosen] = -1.0
        best = int(np.argmax(gains))
        chosen.append(best)
        right[:best] = np.minimum(right[:best], f1[best])
        above[best + 1 :] = np.minimum(above[best + 1 :], f2[best])
    return chosen


def _greedy(F: Array, reference: Array, k: int) -> list[int]:
    """Gains only shrink as points are chosen, so that most need no second look. F: (N, m)."""
    boxes = np.prod(np.maximum(reference - F, 0.0), axis=1)
    best_first = [(-gain, row, 0) for row, gain in enumerate(boxes.tolist())]
    heapify(best_first)
    chosen: list[int] = []
    while len(chosen) < k:
        _, row, seen = best_first[0]
        if seen == len(chosen):
            chosen.append(row)
            heappop(best_first)
            continue
        taken = volumes.hypervolume(np.maximum(F[chosen], F[row]), reference)
        heapreplace(best_first, (taken - float(boxes[row]), row, len(chosen)))
    return chosen

"""Grids: the values that discrete variables take, and the cells of the line that stand for them.

A search works on real numbers; a variable on a grid takes the value of the cell that its number
falls into. The cells of the smallest and the largest value reach to infinity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """The discrete variables among those of a search. Arrays of shape (m,) are for these alone.

    The value of number k, a whole number from `low` to `high`, is (k - origin) / rate, or on a
    curved grid log(1 + curve k) / rate, as for whole numbers on a logarithmic scale.

    Attributes:
        where: (dim,) which variables are on the grid, m of them.
        low, high: (m,) the smallest and the largest number; -inf and inf where there is none.
        origin: (m,) number of the value 0. rate: (m,) see above. curve: (m,) 0 for even steps.
        top: (m,) the largest value, which rounding must not exceed.
    """

    where: NDArray[np.bool_]
    low: Array
    high: Array
    origin: Array
    rate: Array
    curve: Array
    top: Array

    @staticmethod
    def whole(where: NDArray[np.bool_], lower: Array, upper: Array) -> Grid:
        """Whole numbers from lower to upper, (dim,) each, where `where` says so."""
        m = int(where.sum())
        low, high = np.ceil(lower[where]), np.floor(upper[where])
        return Grid(where, low, high, np.zeros(m), np.ones(m), np.zeros(m), high)

    def only(self, kept: NDArray[np.bool_]) -> Grid:
        """The others are on the grid no more. kept: (dim,)."""
        fields = (self.low, self.high, self.origin, self.rate, self.curve, self.top)
        return Grid(self.where & kept, *(field[kept[self.where]] for field in fields))

    def among(self, kept: NDArray[np.bool_]) -> Grid:
        """The grid of a vector of some of the variables. kept: (dim,)."""
        return replace(self.only(kept), where=self.where[kept])

    def beyond(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """The box with half a cell more at each end of an even grid, so that uniform points in it
        fall into all cells alike. lower, upper: (dim,)."""
        half = np.zeros(len(lower))
        half[self.where] = np.where(self.curve > 0, 0.0, 0.5 / self.rate)
        return lower - half, upper + half

    def numbers(self, U: Array) -> Array:
        """Whose cell each real number lies in. U: (k, m). Returns: (k, m) whole numbers."""
        K = U * self.rate + self.origin
        if np.count_nonzero(self.curve):
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                curved = np.expm1(U * self.rate) / self.curve
            K = np.where(self.curve > 0, curved, K)
        numbers: Array = np.minimum(np.maximum(np.rint(K), self.low), self.high)
        return numbers

    def values(self, K: Array) -> Array:
        """The values of these numbers; also between two of them, where a cell ends. K: (k, m)."""
        U = (K - self.origin) / self.rate
        if np.count_nonzero(self.curve):
            with np.errstate(invalid="ignore", divide="ignore"):
                curved = np.log1p(self.curve * K) / self.rate
            U = np.where(self.curve > 0, curved, U)
        values: Array = np.minimum(U, self.top)
        return values

    def nearest(self, X: Array) -> Array:
        """The points with the discrete variables on the grid. X: (k, dim). Returns: (k, dim)."""
        on_grid = X.copy()
        on_grid[:, self.where] = self.values(self.numbers(X[:, self.where]))
        return on_grid

    def cells(self, u: Array) -> tuple[Array, Array]:
        """(m,) ends of the cells that the numbers u: (m,) lie in; -inf and inf at the ends."""
        k = self.numbers(u)
        below = np.where(k > self.low, self.values(k - 0.5), -np.inf)
        above = np.where(k < self.high, self.values(k + 0.5), np.inf)
        return below, above


class Kinds(NamedTuple):
    """Which variables of a problem are discrete.

    Attributes:
        grid: those that lie on a grid.
        choices: (dim,) how many choices a categorical variable has; 0 for a numeric one. Choice i
            of K is the number i / (K - 1) of the search vector.
    """

    grid: Grid
    choices: NDArray[np.int64]

    @property
    def is_discrete(self) -> bool:
        return bool(self.grid.where.any() or self.choices.any())


def kinds_of(problem: Any) -> Kinds:
    """What a problem says of its variables, by an attribute that it need not have: `space`, or
    `integers`, (dim,), which variables are whole numbers."""
    space = getattr(problem, "space", None)
    if space is not None:
        return Kinds(space.grid, space.choices)
    none = np.zeros(problem.dim, dtype=np.int64)
    whole = np.array(getattr(problem, "integers", none), dtype=bool)
    return Kinds(Grid.whole(whole, np.array(problem.lower), np.array(problem.upper)), none)

"""A strategy on R^n searching a box: points go through the C1 transform of `evoopt.bounds`.

Coordinates with lower == upper are held fixed, and the strategy inside does not see them. The
strategy inside works in units of `scale`, so that one step size fits variables of unequal ranges.
Cost: O(n) a candidate. Source and formula: see `evoopt.bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from evoopt.bounds import Transform
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Gaussian, Path, Population, Portrait, Strategy
from evoopt.strategies.valley import Local, Shaped, Valley

Array = NDArray[np.float64]


class BoundedState(NamedTuple):
    """The state of the strategy inside."""

    inner: Any


@dataclass(frozen=True, slots=True)
class Bounded:
    """A strategy, and the box that it searches.

    Attributes:
        inner: a strategy on the free coordinates.
        lower, upper: (dim,) the box; -inf and inf where there is no bound.
        free: (dim,) which coordinates are not fixed.
        scale: (free,) length of a step of 1 inside.
        transform: of the free coordinates.
    """

    inner: Strategy
    lower: Array
    upper: Array
    free: NDArray[np.bool_]
    scale: Array
    transform: Transform

    @staticmethod
    def around(
        inner: Strategy,
        lower: Array,
        upper: Array,
        scale: Array | None = None,
        *,
        margins: bool = True,
    ) -> Bounded:
        """`inner` in the box; its dim is the number of coordinates with lower < upper.

        Args:
            inner: the strategy.
            lower, upper: (dim,) the box.
            scale: (dim,) positive, or None for 1.
            margins: False for a strategy that keeps to the box by itself: all that is in the box
                stays as it is.
        """
        free = lower < upper
        assert inner.dim == free.sum()
        units = np.ones(inner.dim) if scale is None else scale[free]
        make = Transform.of if margins else Transform.without_margins
        return Bounded(inner, lower, upper, free, units, make(lower[free], upper[free]))

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dim(self) -> int:
        return len(self.lower)

    @property
    def popsize(self) -> int:
        return self.inner.popsize

    @property
    def claims(self) -> Claims:
        # the margin depends on where the bounds lie
        inner = self.inner.claims
        return Claims(translation=False, consumes=inner.consumes, sequential=inner.sequential)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> BoundedState:
        """x0: (dim,); a coordinate outside the box is reflected into it."""
        x = np.array(x0, dtype=np.float64)
        t = self.transform
        inside = (t.lower <= x[self.free]) & (t.upper >= x[self.free])
        x[self.free] = np.where(inside, x[self.free], t.to_box(x[None, self.free])[0])
        start = self._inward(x[None])[0]
        return BoundedState(self.inner.init(start, sigma0, seed, path))

    def ask(self, state: BoundedState, k: int) -> tuple[Population, BoundedState]:
        """k candidates, none outside the box."""
        rows, inner = self.inner.ask(state.inner, k)
        X = self._outward(rows.X)
        return Population(rows.id, rows.epoch, X, inner=rows), BoundedState(inner)

    def tell(self, state: BoundedState, population: Population, values: Values) -> BoundedState:
        """Hands the rows inside on; an injected one through the inverse transform."""
        rows = population.inner
        if rows is None:
            U = self._inward(population.X)
            rows = Population(population.id, np.full(len(population), INJECTED), U)
        return BoundedState(self.inner.tell(state.inner, rows, values))

    def batch(self, state: BoundedState) -> int:
        """As the strategy inside."""
        return self.inner.batch(state.inner)

    def generation(self, state: BoundedState) -> int:
        """As the strategy inside."""
        return self.inner.generation(state.inner)

    def stop(self, state: BoundedState) -> StopReason | None:
        """As the strategy inside."""
        return self.inner.stop(state.inner)

    def marginals(self, state: BoundedState, where: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Mean and standard deviation of the chosen coordinates, which have no bounds."""
        inner, chosen = cast("Gaussian", self.inner), where[self.free]
        mean, std = inner.marginals(state.inner, chosen)
        return mean * self.scale[chosen], std * self.scale[chosen]

    def moved(self, state: BoundedState, where: NDArray[np.bool_], mean: Array) -> BoundedState:
        """The state with another mean in the chosen coordinates, which have no bounds."""
        inner, chosen = cast("Gaussian", self.inner), where[self.free]
        return BoundedState(inner.moved(state.inner, chosen, mean / self.scale[chosen]))

    def valley(self, state: BoundedState) -> Valley:
        """Of the strategy inside, in its units."""
        return cast("Local", self.inner).valley(state.inner)

    def shaped(self, state: BoundedState, shape: Array, sigma: float) -> BoundedState:
        """The strategy inside with that covariance, in its units. shape: (free, free)."""
        return BoundedState(cast("Shaped", self.inner).shaped(state.inner, shape, sigma))

    def portrait(self, state: BoundedState) -> Portrait:
        """As the strategy inside, with the mean in the box."""
        p = self.inner.portrait(state.inner)
        return Portrait(self._outward(p.mean[None])[0], p.sigma, p.axes, p.generation, p.restarts)

    def _inward(self, X: Array) -> Array:
        """Points as the strategy inside sees them, those outside the box from its nearest point.
        X: (k, dim). Returns: (k, free)."""
        inside = np.clip(X, self.lower, self.upper)
        return self.transform.from_box(inside[:, self.free]) / self.scale

    def _outward(self, U: Array) -> Array:
        """Free coordinates of R^n as points of the box. U: (k, free). Returns: (k, dim)."""
        X = self.transform.to_box(U * self.scale)
        if self.free.all():
            return X
        full = np.tile(self.lower, (len(U), 1))
        full[:, self.free] = X
        return full

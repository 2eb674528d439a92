"""Random search: independent uniform points in the box of the problem, or Gaussian ones around x0.

When: as a baseline that every other method must beat. Cost: O(n) a candidate.
Source: none needed. With a box: x ~ U[lower, upper]; without: x ~ N(x0, sigma0^2 I).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies.base import Claims, Path, Population, Portrait, new_rows
from evoopt.strategies.stopping import MOST_FAILED, reason
from evoopt.strategies.weights import check_popsize

Array = NDArray[np.float64]

_POPSIZE = 10  # candidates a generation: no effect on the points, only on how often one looks


class RandomState(NamedTuple):
    """Where the random numbers stand.

    Attributes:
        x0: (dim,), sigma0: centre and width where there is no box.
        told, failed: candidates told, and how many of them failed.
        next_id: number of the next candidate asked.
        seed, path: name the stream of random numbers.
    """

    x0: Array
    sigma0: float
    told: int
    failed: int
    next_id: int
    seed: int
    path: Path


@dataclass(frozen=True, slots=True)
class RandomSearch:
    """The box, if there is one: lower, upper: (dim,) finite, or None."""

    dim: int
    popsize: int
    lower: Array | None = None
    upper: Array | None = None
    name: str = "random"
    claims: Claims = Claims(
        options=frozenset({"popsize", "bounds", "inject", "integers", "asynchronous"}),
        most_obj=None,
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,
        lower: Array | None = None,
        upper: Array | None = None,
    ) -> RandomSearch:
        """Uniform in the box if both of its sides are given and finite, else Gaussian."""
        lam = _POPSIZE if popsize is None else check_popsize(popsize, "RandomSearch")
        if lower is None or upper is None or not np.isfinite([lower, upper]).all():
            lower = upper = None
        return RandomSearch(dim, lam, lower, upper)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> RandomState:
        """x0: (dim,)."""
        return RandomState(np.array(x0, dtype=np.float64), float(sigma0), 0, 0, 0, seed, path)

    def ask(self, state: RandomState, k: int) -> tuple[Population, RandomState]:
        """k independent points."""
        seed, path, first = state.seed, state.path, state.next_id
        Z = None
        if self.lower is None or self.upper is None:
            Z = rng.normals(seed, path, first, k, self.dim)
            X = state.x0 + state.sigma0 * Z
        else:
            U = rng.uniforms(seed, path, first, k, self.dim)
            X = self.lower * (1 - U) + self.upper * U  # never overflows
            X = np.clip(X, self.lower, self.upper)  # rounding
        ids, epochs = new_rows(first, k, state.told // self.popsize)
        return Population(ids, epochs, X, Z, Z), state._replace(next_id=first + k)

    def tell(self, state: RandomState, population: Population, values: Values) -> RandomState:
        """Nothing is learnt; the rows are counted."""
        finite = np.isfinite(values.F)
        failed = len(population) - int((finite if finite.ndim == 1 else finite.all(axis=1)).sum())
        return state._replace(told=state.told + len(population), failed=state.failed + failed)

    def batch(self, state: RandomState) -> int:
        """What is missing to the next multiple of popsize."""
        return self.popsize - state.told % self.popsize

    def generation(self, state: RandomState) -> int:
        """Whole populations told."""
        return state.told // self.popsize

    def stop(self, state: RandomState) -> StopReason | None:
        """When nothing but failures came for as long as other strategies wait."""
        if state.told == state.failed >= MOST_FAILED * self.popsize:
            return reason("allfailed", state.failed // self.popsize, MOST_FAILED)
        return None

    def portrait(self, state: RandomState) -> Portrait:
        """The centre of the points asked; there is no step size that would change."""
        mean = state.x0
        if self.lower is not None and self.upper is not None:
            mean = self.lower / 2 + self.upper / 2
        return Portrait(mean, np.nan, np.empty(0), state.told // self.popsize)

"""The contract of a search strategy, and what all strategies share: populations and ranking.

A strategy holds the frozen constants of one method. All that changes lives in its state, and `ask`
and `tell` are pure: the same arguments give the same answer and the old state is left as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evoopt.result import StopReason, Values

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Path = tuple[int, ...]

_MINUS_INF = float("-inf")
INJECTED = -1  # epoch of a row that no distribution drew


@dataclass(slots=True)
class Population:
    """Rows that travel together: identity, point, and how the strategy drew it.

    Final rather than frozen: one is made per generation, and the type checker forbids assignment
    at no cost.

    Attributes:
        id: (k,) number of the candidate, counted from 0 over the whole search.
        epoch: (k,) generation of the distribution that it was drawn from; INJECTED if none.
        X: (k, dim) points in the units of the caller of `ask`: an array, or, where a strategy
            claims `drawn`, an `evoopt.strategies.drawn.Drawn`, which stands for one.
        Z: (k, dim) ~ N(0, I) that made the point, or None (injected; no Gaussian).
        Y: (k, dim) ~ N(0, C), the step X - mean in units of sigma, or None.
        inner: the rows of the strategy inside a composition, or None.
    """

    id: Final[Ids]
    epoch: Final[Ids]
    X: Final[Array]
    Z: Final[Array | None] = None
    Y: Final[Array | None] = None
    inner: Final[Population | None] = None

    def __len__(self) -> int:
        return len(self.id)

    def take(self, rows: NDArray[Any]) -> Population:
        """The given rows (indices or mask), in that order."""
        return Population(
            self.id[rows],
            self.epoch[rows],
            self.X[rows],
            None if self.Z is None else self.Z[rows],
            None if self.Y is None else self.Y[rows],
            None if self.inner is None else self.inner.take(rows),
        )


@dataclass(frozen=True, slots=True)
class Portrait:
    """A state as an observer sees it.

    Attributes:
        mean: (dim,) centre of the distribution, in the units of `Population.X`.
        sigma: step size; NaN where the method has none.
        axes: (dim,) lengths of the principal axes in units of sigma, ascending; empty if none.
        generation: updates of the distribution so far, over all restarts.
        restarts: how many times the search was started again.
    """

    mean: Array
    sigma: float
    axes: Array
    generation: int
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Claims:
    """Which laws a strategy obeys (each is tested) and which options it takes."""

    permutation: bool = True  # the order of the rows of one tell does not matter, bit for bit
    monotone: bool = True  # increasing transforms of f change nothing, bit for bit
    translation: bool = True  # f(x - t) from x0 + t is the same search, up to rounding
    rotation: bool = False  # f(R x) from R^T x0 is the same search in distribution
    options: frozenset[str] = frozenset()
    drawn: bool = False  # points are made of state and id when they are looked at (`Drawn`)
    sequential: bool = False  # one candidate at a time: a second worker would have nothing to do
    consumes: bool = False  # `tell` reuses the memory of the state it is given: copy to keep one
    starts: bool = False  # it begins anew by itself, in a box given as start_lower, start_upper
    least_dim: int = 1  # fewer variables are for the strategy named in `instead`
    instead: str = ""
    least_obj: int = 1  # objectives that it takes
    most_obj: int | None = 1  # None: any number


@runtime_checkable
class Strategy(Protocol):
    """Frozen constants of one search method. `S` below stands for its state class."""

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def popsize(self) -> int: ...
    @property
    def claims(self) -> Claims: ...

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> Any:
        """The state before the first ask. x0: (dim,) start, sigma0 > 0 in the units of x."""

    def ask(self, state: Any, k: int) -> tuple[Population, Any]:
        """Up to k candidates (fewer, even none, where the method must wait), and the next state."""

    def tell(self, state: Any, population: Population, values: Values) -> Any:
        """The state after these rows: any rows, in any order, of any earlier ask, or injected."""

    def batch(self, state: Any) -> int:
        """How many candidates, asked now and told together, make the next update."""

    def generation(self, state: Any) -> int:
        """Updates so far, over all restarts."""

    def stop(self, state: Any) -> StopReason | None:
        """Why the search should end here, or None."""

    def portrait(self, state: Any) -> Portrait:
        """Mean, step size and axes of a state, for observers and results."""


@runtime_checkable
class Gaussian(Strategy, Protocol):
    """A strategy that draws from one Gaussian, of which a composition may move the mean."""

    def marginals(self, state: Any, where: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Mean and standard deviation of the chosen coordinates. where: (dim,). Returns: (m,)."""

    def moved(self, state: Any, where: NDArray[np.bool_], mean: Array) -> Any:
        """The state with another mean in the chosen coordinates. mean: (m,)."""


def ranked(F: Array, ids: Ids) -> tuple[NDArray[np.intp], list[float]]:
    """Rows best first, failed ones (NaN, +inf, -inf) last; ties by id, so that the order in which
    rows are told never matters. F, ids: (k,). Returns: indices (k,), and F in that order."""
    order = np.lexsort((ids, F))
    f = F[order].tolist()
    if f[0] == _MINUS_INF:
        order = np.lexsort((ids, np.where(F == _MINUS_INF, np.nan, F)))
        f = F[order].tolist()
    return order, f


def new_rows(first_id: int, k: int, epoch: int) -> tuple[Ids, Ids]:
    """Ids and epochs of k freshly asked candidates."""
    epochs = np.empty(k, dtype=np.int64)
    epochs.fill(epoch)
    return np.arange(first_id, first_id + k), epochs

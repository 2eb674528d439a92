"""From a strategy of real numbers to one of a mixed problem: which composition takes which part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from evoopt.grid import Grid, Kinds
from evoopt.result import StopReason, Values
from evoopt.strategies.base import (
    Claims,
    Gaussian,
    Path,
    Population,
    Portrait,
    Strategy,
    new_rows,
)
from evoopt.strategies.compose.categories import Categories
from evoopt.strategies.compose.integers import Integers
from evoopt.strategies.stopping import MOST_FAILED, Tolerances, reason
from evoopt.strategies.weights import check_popsize, default_popsize

Array = NDArray[np.float64]

_FLAT, _FLAT_SHARE = 3, 30  # generations of equal values, and more of them the more variables are
# discrete (pycma 4.5, amend_integer_options): there they are no sign of the end
_WAIT = 100  # generations without a better value, as pycma's tolstagnation with few variables


@dataclass(frozen=True, slots=True)
class Parts:
    """The numeric and the categorical part of a problem.

    Attributes:
        lower, upper: (n,) box of the numeric variables; those on a grid have no bounds.
        numeric: (dim,) which variables these are.
        grid: of the numeric variables.
        choices: (dim,) of the categorical variables; 0 elsewhere.
    """

    lower: Array
    upper: Array
    numeric: NDArray[np.bool_]
    grid: Grid
    choices: NDArray[np.int64]

    @staticmethod
    def of(kinds: Kinds, lower: Array, upper: Array) -> Parts:
        """lower, upper: (dim,) the box of the problem."""
        numeric = kinds.choices < 2  # an only choice is a fixed number
        grid = kinds.grid.only(lower < upper)
        return Parts(
            lower=np.where(grid.where, -np.inf, lower)[numeric],
            upper=np.where(grid.where, np.inf, upper)[numeric],
            numeric=numeric,
            grid=grid.among(numeric),
            choices=np.where(numeric, 0, kinds.choices),
        )

    @property
    def dim(self) -> int:
        """How many variables are searched."""
        return int((self.lower < self.upper).sum() + (~self.numeric).sum())

    def make(self, build: Callable[[int, Tolerances], Strategy], popsize: int | None) -> Strategy:
        """The whole strategy.

        Args:
            build: popsize, tolerances -> the strategy of the numeric variables, in their box.
            popsize: None for the default for all variables together.
        """
        owner = "mixed variables"
        lam = default_popsize(self.dim) if popsize is None else check_popsize(popsize, owner)
        n = int((self.lower < self.upper).sum())
        inner = build(lam, self._tolerances(n, lam)) if n else Nothing(len(self.lower), lam)
        if self.grid.where.any():
            inner = Integers.around(cast("Gaussian", inner), self.grid)
        return inner if self.numeric.all() else Categories.around(inner, self.choices)

    def _tolerances(self, n: int, popsize: int) -> Tolerances:
        """Bars of the criteria of the numeric part, which learns only some of what changes f."""
        discrete = int(self.grid.where.sum() + (~self.numeric).sum())
        t = replace(
            Tolerances.default(n, popsize),
            tolflatfitness=int(_FLAT + _FLAT_SHARE * discrete / self.dim),
        )
        return replace(t, tolfun=None, tolfunhist=None) if discrete == self.dim else t


@dataclass(frozen=True, slots=True)
class Rounded:
    """A strategy that learns nothing of where it draws, on a grid.

    Attributes:
        inner: a strategy of real numbers.
        grid: the discrete variables.
    """

    inner: Strategy
    grid: Grid

    @staticmethod
    def around(
        build: Callable[[Array, Array], Strategy], kinds: Kinds, lower: Array, upper: Array
    ) -> Rounded:
        """The strategy that `build` makes of a box, on the grid of the numbers and the choices.

        lower, upper: (dim,) the box of the problem.
        """
        dim = len(lower)
        low, high, origin, rate, curve, top = np.zeros((6, dim))
        at, g = kinds.grid.where, kinds.grid
        low[at], high[at], origin[at] = g.low, g.high, g.origin
        rate[at], curve[at], top[at] = g.rate, g.curve, g.top
        chosen = kinds.choices > 1
        high[chosen] = rate[chosen] = kinds.choices[chosen] - 1
        top[chosen] = 1.0
        everywhere = Grid(np.ones(dim, dtype=bool), low, high, origin, rate, curve, top)
        grid = everywhere.only((at | chosen) & (lower < upper))
        return Rounded(build(*grid.beyond(lower, upper)), grid)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def popsize(self) -> int:
        return self.inner.popsize

    @property
    def claims(self) -> Claims:
        return Claims(translation=False)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> object:
        """x0: (dim,)."""
        return self.inner.init(x0, sigma0, seed, path)

    def ask(self, state: object, k: int) -> tuple[Population, object]:
        """k candidates on the grid."""
        rows, state = self.inner.ask(state, k)
        return Population(rows.id, rows.epoch, self.grid.nearest(rows.X), inner=rows), state

    def tell(self, state: object, population: Population, values: Values) -> object:
        """Hands the rows inside on."""
        rows = population if population.inner is None else population.inner
        after: object = self.inner.tell(state, rows, values)
        return after

    def batch(self, state: object) -> int:
        """As the strategy inside."""
        return self.inner.batch(state)

    def generation(self, state: object) -> int:
        """As the strategy inside."""
        return self.inner.generation(state)

    def stop(self, state: object) -> StopReason | None:
        """As the strategy inside."""
        return self.inner.stop(state)

    def portrait(self, state: object) -> Portrait:
        """As the strategy inside, with the mean on the grid."""
        p = self.inner.portrait(state)
        return replace(p, mean=self.grid.nearest(p.mean[None])[0])


class NothingState(NamedTuple):
    """What counts where there is nothing to search.

    Attributes:
        next_id: number of the next candidate.
        told: rows so far. failed: those without a value.
        best_f: the best value so far. better: generation in which it came.
        x0: (dim,) fixed values.
    """

    next_id: int
    told: int
    failed: int
    best_f: float
    better: int
    x0: Array


@dataclass(frozen=True, slots=True)
class Nothing:
    """The numeric part of a problem that has none: it only counts, and says when to stop."""

    dim: int
    popsize: int
    name: str = "categories"
    claims: Claims = Claims(translation=False)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> NothingState:
        """x0: (dim,) the values of the variables, all of them fixed."""
        return NothingState(0, 0, 0, np.inf, 0, np.array(x0, dtype=np.float64))

    def ask(self, state: NothingState, k: int) -> tuple[Population, NothingState]:
        """k rows that are all alike."""
        ids, epochs = new_rows(state.next_id, k, self.generation(state))
        X = np.tile(state.x0, (k, 1))
        return Population(ids, epochs, X), state._replace(next_id=state.next_id + k)

    def tell(self, state: NothingState, population: Population, values: Values) -> NothingState:
        """Counts the rows, whole generations at a time where they come so."""
        F = values.F[np.isfinite(values.F)]
        best_f = min(float(F.min()), state.best_f) if len(F) else state.best_f
        return state._replace(
            told=state.told + len(population),
            failed=state.failed + len(population) - len(F),
            best_f=best_f,
            better=self.generation(state) if best_f < state.best_f else state.better,
        )

    def batch(self, state: NothingState) -> int:
        """What is missing to the next multiple of popsize."""
        return self.popsize - state.told % self.popsize

    def generation(self, state: NothingState) -> int:
        """Whole populations told."""
        return state.told // self.popsize

    def stop(self, state: NothingState) -> StopReason | None:
        """When nothing but failures came, or nothing better for long."""
        if state.told == state.failed >= MOST_FAILED * self.popsize:
            return reason("allfailed", state.failed // self.popsize, MOST_FAILED)
        waited = self.generation(state) - state.better
        return reason("tolstagnation", waited, _WAIT) if waited > _WAIT else None

    def portrait(self, state: NothingState) -> Portrait:
        """The fixed values."""
        return Portrait(state.x0, np.nan, np.empty(0), self.generation(state))

"""Discrete variables by margin and centering: a Gaussian strategy whose values all stay in reach.

A variable on a grid is searched on the real line, and a candidate is what rounding makes of it:
one vector, which is evaluated, logged and told. Once the step size falls below the width of a
cell, rounding would hide all further samples. The margin keeps the probability of leaving the
present cell above a bound, by a factor on the steps of each variable and a shift of the mean;
centering lets a good candidate in another cell move the mean by a whole step.
Cost: O(popsize m) a generation for m such variables, and whitening the rows that were centred.

Source: R. Hamano, S. Saito, M. Nomura & S. Shirakawa, CMA-ES with Margin, GECCO 2022,
arXiv:2205.13482 (margin); T. Marty, N. Hansen, A. Auger, Y. Semet & S. Heron, LB+IC-CMA-ES: two
simple modifications of CMA-ES to handle mixed-integer problems, PPSN 2024 (integer centering, as in
method 2 of pycma 4.5). Literal forms: tests/reference.
Differences from the sources: both together, without the lower bound on the steps; the margin holds
from the first generation on; a candidate that the present distribution did not draw counts with the
values at which it was evaluated.
"""

from __future__ import annotations

import functools
import math
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.grid import Grid
from evoopt.result import StopReason, Values
from evoopt.strategies.base import (
    INJECTED,
    Claims,
    Gaussian,
    Ids,
    Path,
    Population,
    Portrait,
    ranked,
)
from evoopt.strategies.collect import NOTHING, Waiting, collect

Array = NDArray[np.float64]

_LEAST, _MOST = 1e-10, 0.5 - 1e-10  # of a tail: its quantile is finite, and not 0


class IntegersState(NamedTuple):
    """The state of the strategy inside, how its steps are stretched, and what waits for an update.

    Attributes:
        inner: state of the strategy inside.
        mean: (m,) its mean in the discrete variables.
        stretch: (m,) factor on its steps in them (diagonal of A in the paper), initially 1.
        drawn: rows of the present distribution, told but not used yet.
        foreign: other rows, likewise, as the strategy inside would have drawn them.
    """

    inner: Any
    mean: Array
    stretch: Array
    drawn: Waiting
    foreign: Waiting


@dataclass(frozen=True, slots=True)
class Integers:
    """A strategy, and the grid on which some of its variables lie.

    Attributes:
        inner: a strategy on R^dim, or in a box in its other variables.
        grid: the discrete variables.
        margin: least probability of leaving a cell.
    """

    inner: Gaussian
    grid: Grid
    margin: float

    @staticmethod
    def around(inner: Gaussian, grid: Grid) -> Integers:
        """`inner` on the grid, with the margin of the paper."""
        return Integers(inner, grid, 1 / (inner.dim * inner.popsize))

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
        return Claims(translation=False)  # the cells stay where they are

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> IntegersState:
        """x0: (dim,), on the grid or not."""
        inner = self.inner.init(x0, sigma0, seed, path)
        return self._corrected(inner, np.ones(int(self.grid.where.sum())))

    def ask(self, state: IntegersState, k: int) -> tuple[Population, IntegersState]:
        """k candidates on the grid."""
        rows, inner = self.inner.ask(state.inner, k)
        X = rows.X.copy()
        where = self.grid.where
        X[:, where] = state.mean + state.stretch * (X[:, where] - state.mean)
        X = self.grid.nearest(X)
        return Population(rows.id, rows.epoch, X, inner=rows), state._replace(inner=inner)

    def tell(self, state: IntegersState, population: Population, values: Values) -> IntegersState:
        """Collects rows; each popsize of them make one update of the distribution."""
        F = values.F
        if len(population) <= self.batch(state):
            return self._told(state, population, F) if len(F) else state
        order = np.argsort(population.id, kind="stable")
        while len(order):
            wanted = self.batch(state)
            rows, order = order[:wanted], order[wanted:]
            state = self._told(state, population.take(rows), F[rows])
        return state

    def _told(self, state: IntegersState, population: Population, F: Array) -> IntegersState:
        """After rows for one update at most."""
        drawn = population.epoch == self.generation(state)
        if population.inner is None:
            drawn[:] = False
        if drawn.all():
            state = state._replace(drawn=_with(state.drawn, population, F))
        elif drawn.any():
            state = state._replace(drawn=_with(state.drawn, population.take(drawn), F[drawn]))
        if not drawn.all():
            rows = population.take(~drawn)
            foreign = self._inward(state, rows.id, rows.X)
            state = state._replace(foreign=_with(state.foreign, foreign, F[~drawn]))
        if self.batch(state):
            return state
        inner = self._updated(state)
        return self._corrected(inner, state.stretch)

    def _updated(self, state: IntegersState) -> Any:
        """The strategy inside after the rows that wait, popsize of them."""
        inner = state.inner
        if state.foreign.rows is not None:
            inner = self.inner.tell(inner, state.foreign.rows, Values(state.foreign.F))
        rows, F = state.drawn.rows, state.drawn.F
        if rows is None:
            return inner
        assert rows.inner is not None
        other = state.foreign.rows
        ids = rows.id if other is None else np.concatenate([rows.id, other.id])
        order, _ = ranked(np.concatenate([F, state.foreign.F]), ids)
        parents = order[: self.popsize // 2]  # those of positive weight
        parents = parents[parents < len(rows)]
        where = self.grid.where
        V = state.mean + state.stretch * (rows.inner.X[parents][:, where] - state.mean)
        centred = self._centred(V, state.mean)
        changed = (centred != V).any(axis=1)
        if not changed.any():
            return self.inner.tell(inner, rows.inner, Values(F))
        touched = np.zeros(len(rows), dtype=bool)
        touched[parents[changed]] = True
        X = rows.inner.X.copy()
        X[np.ix_(parents, where)] = centred
        X = X[touched]
        foreign = self._inward(state, rows.id[touched], X)
        inner = self.inner.tell(inner, foreign, Values(F[touched]))
        if touched.all():
            return inner
        return self.inner.tell(inner, rows.inner.take(~touched), Values(F[~touched]))

    def _centred(self, V: Array, mean: Array) -> Array:
        """The parents with integer centering: those in another cell than the mean go to the middle
        of theirs, and the others towards the middle of that of the mean, as far as it takes to
        undo the shift of the parents' average. V: (k, m), raw."""
        K = self.grid.numbers(V)
        to_middle = self.grid.values(K) - V
        elsewhere = self.grid.numbers(mean) != K
        bias = np.where(elsewhere, to_middle, 0.0).sum(axis=0)
        against = ~elsewhere & (to_middle * bias < 0)
        room = np.abs(np.where(against, to_middle, 0.0).sum(axis=0))
        whole = np.maximum(room, np.abs(bias))
        part = np.abs(bias) / np.where(whole > 0, whole, 1.0)  # all of the room at most
        step = np.where(elsewhere, to_middle, np.where(against, part * to_middle, 0.0))
        centred: Array = V + step
        return centred

    def _inward(self, state: IntegersState, ids: Ids, X: Array) -> Population:
        """Rows as the strategy inside would have drawn them now."""
        U, where = X.copy(), self.grid.where
        U[:, where] = state.mean + (U[:, where] - state.mean) / state.stretch
        return Population(ids, np.full(len(ids), INJECTED), U)

    def _corrected(self, inner: Any, stretch: Array) -> IntegersState:
        """The state with the margin restored."""
        where = self.grid.where
        mean, std = self.inner.marginals(inner, where)
        below, above = self.grid.cells(mean)
        moved, widened = with_margin(mean, stretch * std, below, above, self.margin)
        if (moved != mean).any():
            inner = self.inner.moved(inner, where, moved)
        stretch = np.where(widened > 0, widened / std, stretch)
        return IntegersState(inner, moved, stretch, NOTHING, NOTHING)

    def batch(self, state: IntegersState) -> int:
        """popsize, less the rows that wait already."""
        return self.popsize - len(state.drawn.F) - len(state.foreign.F)

    def generation(self, state: IntegersState) -> int:
        """As the strategy inside."""
        return self.inner.generation(state.inner)

    def stop(self, state: IntegersState) -> StopReason | None:
        """As the strategy inside."""
        return self.inner.stop(state.inner)

    def portrait(self, state: IntegersState) -> Portrait:
        """As the strategy inside: the mean is not on the grid."""
        return self.inner.portrait(state.inner)


def _with(waiting: Waiting, rows: Population, F: Array) -> Waiting:
    """The rows that wait, and more of them."""
    if waiting.rows is None:
        return Waiting(rows, np.array(F))
    _, waiting = collect(waiting, rows, F, sys.maxsize)
    return waiting


def with_margin(
    mean: Array, std: Array, below: Array, above: Array, margin: float
) -> tuple[Array, Array]:
    """Mean and standard deviation with enough probability beyond the cell of the mean.

    Args:
        mean, std: (m,) of the Gaussian of each variable.
        below, above: (m,) ends of the cell that the mean lies in; -inf, inf for none.
        margin: least probability of leaving the cell; half of it to either side of an inner cell.

    Returns:
        mean: (m,), in the same cell.
        std: (m,); 0 where it is to stay as it is.
    """
    moved, widened = mean.copy(), np.zeros(len(mean))
    columns = zip(mean.tolist(), std.tolist(), below.tolist(), above.tolist(), strict=True)
    for i, (m, s, low, high) in enumerate(columns):
        if low == -math.inf or high == math.inf:
            moved[i] = _at_the_end(m, s, low, high, margin)
        else:
            moved[i], widened[i] = _inside(m, s, low, high, margin)
    return moved, widened


def _at_the_end(m: float, s: float, low: float, high: float, margin: float) -> float:
    """The mean in the cell of the smallest or largest value."""
    reach = -_quantile(margin) * s  # sqrt(chi^2_ppf(1 - 2 margin)) of one degree, times s
    if low == -math.inf:
        return max(m, high - reach)
    return min(m, low + reach)


def _inside(m: float, s: float, low: float, high: float, margin: float) -> tuple[float, float]:
    """Mean and standard deviation in a cell with two ends; 0 where enough probability lies on
    either side. What the raised tails have too much is taken from all three parts, in proportion
    to what each has above margin / 2."""
    p_low, p_high = _tail((m - low) / s), _tail((high - m) / s)
    if p_low >= margin / 2 and p_high >= margin / 2:
        return m, 0.0
    p_mid = 1 - p_low - p_high
    p_low, p_high = max(p_low, margin / 2), max(p_high, margin / 2)
    total = p_low + p_mid + p_high
    share = (1 - total) / (total - 3 * margin / 2)
    p_low = min(max(p_low + share * (p_low - margin / 2), _LEAST), _MOST)
    p_high = min(max(p_high + share * (p_high - margin / 2), _LEAST), _MOST)
    q_low, q_high = -_quantile(p_low), -_quantile(p_high)
    return (low * q_high + high * q_low) / (q_low + q_high), (high - low) / (q_low + q_high)


@functools.lru_cache(maxsize=1)
def _standard_normal() -> Any:
    """Of the standard library, whose module takes 10 ms to load: only where it is needed."""
    from statistics import NormalDist

    return NormalDist()


def _quantile(p: float) -> float:
    """The number that a standard normal one falls below with probability p."""
    return float(_standard_normal().inv_cdf(p))


def _tail(u: float) -> float:
    """Probability that a standard normal number exceeds u."""
    return 0.5 * math.erfc(u / math.sqrt(2))

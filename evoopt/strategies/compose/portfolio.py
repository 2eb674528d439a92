"""`auto`: a local search by a quadratic model first, then restarts of an evolution strategy.

When: nothing is known of the function. The model finds the bottom of the first valley in a tenth of
the evaluations that an evolution strategy takes, and solves smooth functions to the end; what it
leaves is rugged, badly conditioned or has other valleys, and that is what the strategy is for.
Cost: that of the strategies inside, one after the other.

The second strategy begins where the model stopped. Where the model was still at work, on the scale
of `_LOCAL` of its first radius or above, the valley goes on: the strategy takes over its curvature,
with a step size at which f changes as much as among the model's points. Where it had settled, there
may be better valleys: the strategy begins with the full step size.

Source: I. Loshchilov, M. Schoenauer & M. Sebag, Bi-population CMA-ES algorithms with surrogate
models and line searches, GECCO 2013 companion, doi:10.1145/2464576.2482696 (NEWUOA for the first
evaluations, then BIPOP-CMA-ES). Differences from the source: the budget of the model is its
progress, not a number; the strategy takes its place and curvature over. The constants were chosen
on bbob in 5-D and 20-D: docs/decisions/0007-auto.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, Strategy
from evoopt.strategies.stopping import reason
from evoopt.strategies.valley import Local, Shaped, distribution

Array = NDArray[np.float64]

MOST_PER_VARIABLE = 100  # evaluations of the model
_MOST_BEGUN = 4  # times, where all evaluations fail after some have succeeded
_LOCAL = 0.01  # of its first radius: below it, the model works on the bottom of a valley


class PortfolioState(NamedTuple):
    """Which strategy is at work.

    Attributes:
        first: state of the local search; None once it is over.
        second: state of the strategy after it; None before.
        asked: candidates so far. offset: number of the first one of the strategy at work.
        begun: how often the second strategy has begun.
        told: rows of the first. best_x: (dim,), best_f: the best of them.
        generations: of the first. settled: whether it ended on a settled point.
        story: what ran, and why it changed.
        x0: (dim,), sigma0, seed, path: as given to `init`.
    """

    first: Any
    second: Any
    asked: int
    offset: int
    begun: int
    told: int
    best_x: Array
    best_f: float
    generations: int
    settled: bool
    story: tuple[str, ...]
    x0: Array
    sigma0: float
    seed: int
    path: Path

    @property
    def converged(self) -> int:
        """Runs that ended on a settled point."""
        inside = self.second if self.second is not None else self.first
        return int(self.settled) + int(getattr(inside, "converged", 0))


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Two strategies in turn.

    Attributes:
        first: local, ends by itself. second: goes on as long as there is budget.
        limit: evaluations of the first.
    """

    first: Strategy
    second: Strategy
    limit: int

    @property
    def name(self) -> str:
        return f"{self.first.name}, then {self.second.name}"

    @property
    def dim(self) -> int:
        return self.first.dim

    @property
    def popsize(self) -> int:
        return self.second.popsize

    @property
    def claims(self) -> Claims:
        c = self.second.claims
        return Claims(c.permutation, False, c.translation, False, c.options)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> PortfolioState:
        """The first strategy starts at x0 with sigma0."""
        x0 = np.array(x0, dtype=np.float64)
        return PortfolioState(
            first=self.first.init(x0, sigma0, seed, (*path, 0)),
            second=None,
            asked=0,
            offset=0,
            begun=0,
            told=0,
            best_x=x0,
            best_f=math.inf,
            generations=0,
            settled=False,
            story=(),
            x0=x0,
            sigma0=float(sigma0),
            seed=seed,
            path=path,
        )

    def ask(self, state: PortfolioState, k: int) -> tuple[Population, PortfolioState]:
        """Candidates of the strategy at work."""
        if state.second is not None:
            rows, second = self.second.ask(state.second, k)
            ids, epochs = rows.id + state.offset, rows.epoch + state.generations
            population = Population(ids, epochs, rows.X, inner=rows)
            return population, state._replace(second=second, asked=state.asked + len(rows))
        rows, first = self.first.ask(state.first, k)
        population = Population(rows.id, rows.epoch, rows.X, inner=rows)
        return population, state._replace(first=first, asked=state.asked + len(rows))

    def tell(self, state: PortfolioState, population: Population, values: Values) -> PortfolioState:
        """Hands rows on to the strategy at work; what the first asked and comes late is injected
        into the second."""
        if len(population) == 0:
            return state
        if state.second is not None:
            state = state._replace(second=self._told_second(state, population, values))
            stop = self.second.stop(state.second)
            passing = stop is not None and stop.criterion == "allfailed"
            if passing and state.best_f < math.inf and state.begun < _MOST_BEGUN:
                return self._begun(state)  # it is not the function that fails, but for now
            return state
        F = values.F
        asked = int((population.epoch != INJECTED).sum())
        inner = population.inner if population.inner is not None else population
        state = state._replace(
            first=self.first.tell(state.first, inner, values), told=state.told + asked
        )
        if np.isfinite(F).any():
            best = int(np.where(np.isfinite(F), F, np.inf).argmin())
            if F[best] < state.best_f:
                state = state._replace(best_x=np.array(population.X[best]), best_f=float(F[best]))
        stop = self.first.stop(state.first)
        if stop is None and state.told >= self.limit:
            stop = reason("maxevals", state.told, self.limit)
        return state if stop is None else self._changed(state, stop)

    def _told_second(self, state: PortfolioState, population: Population, values: Values) -> Any:
        late = (population.id < state.offset) & (population.epoch != INJECTED)
        second = state.second
        if late.any():
            rows = population.take(late)
            marks = np.full(len(rows), INJECTED)
            strangers = Population(marks, marks, np.asarray(rows.X))
            second = self.second.tell(second, strangers, Values(values.F[late]))
            if late.all():
                return second
            population, values = population.take(~late), Values(values.F[~late])
        inner = population.inner
        if inner is None:
            inner = Population(population.id, population.epoch, population.X)
        return self.second.tell(second, inner, values)

    def _changed(self, state: PortfolioState, stop: StopReason) -> PortfolioState:
        """The second strategy begins."""
        generations = self.first.generation(state.first)
        portrait = self.first.portrait(state.first)
        state = self._begun(state)
        second = state.second
        how = "from the best point"
        if isinstance(self.first, Local) and isinstance(self.second, Shaped):
            valley = self.first.valley(state.first)
            if valley.radius > _LOCAL and stop.criterion != "allfailed":
                shape, sigma = distribution(valley, state.sigma0)
                second = self.second.shaped(second, shape, sigma)
                how = f"{how} with the curvature of the model"
        story = (
            f"{self.first.name}: {state.told} evaluations to f={state.best_f:.6g}, until "
            f"{stop.criterion} (radius {portrait.sigma:.2g})",
            f"then {self.second.name} {how}",
        )
        settled = stop.converged and state.best_f < math.inf
        return state._replace(
            first=None, second=second, generations=generations, settled=settled, story=story
        )

    def _begun(self, state: PortfolioState) -> PortfolioState:
        """The second strategy begins at the best point."""
        begun = state.begun + 1
        path = (*state.path, begun)
        second = self.second.init(state.best_x, state.sigma0, state.seed, path)
        return state._replace(second=second, offset=state.asked, begun=begun)

    def account(self, state: PortfolioState) -> tuple[str, ...]:
        """What ran, and why it changed."""
        if state.story:
            return state.story
        return (f"{self.first.name}: all {state.told} evaluations",)

    def batch(self, state: PortfolioState) -> int:
        """As the strategy at work."""
        if state.second is not None:
            return self.second.batch(state.second)
        return max(1, min(self.first.batch(state.first), self.limit - state.told))

    def generation(self, state: PortfolioState) -> int:
        """Of both together."""
        if state.second is None:
            return self.first.generation(state.first)
        return state.generations + self.second.generation(state.second)

    def stop(self, state: PortfolioState) -> StopReason | None:
        """As the second strategy."""
        return None if state.second is None else self.second.stop(state.second)

    def portrait(self, state: PortfolioState) -> Portrait:
        """Of the strategy at work."""
        if state.second is None:
            p = self.first.portrait(state.first)
        else:
            p = self.second.portrait(state.second)
        return Portrait(p.mean, p.sigma, p.axes, self.generation(state), p.restarts)

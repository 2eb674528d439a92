"""Restarts of a strategy: IPOP (the population doubles) and BIPOP (large and small ones in turn).

When: multimodal functions, unknown ruggedness, budgets beyond one run's convergence.
Cost: that of the strategy inside.

Source: A. Auger & N. Hansen, A restart CMA evolution strategy with increasing population size, CEC
2005, doi:10.1109/CEC.2005.1554902 (IPOP); N. Hansen, Benchmarking a BI-population CMA-ES on the
BBOB-2009 function testbed, GECCO 2009 companion, doi:10.1145/1570256.1570333 (BIPOP, Sec. 2).
Differences from the source: as in pycma, the first run counts in the small budget, and a small run
ends after half of the large budget. Each start is drawn anew: uniformly in the start box if there
is one, else ~ N(x0, sigma0^2 I).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, Strategy
from evoopt.strategies.stopping import reason
from evoopt.strategies.valley import Shaped

Array = NDArray[np.float64]

POLICIES = ("none", "ipop", "bipop")
MOST_DOUBLINGS = 9  # of the population, as in pycma's `restarts`
_INCREASE = 2  # factor of the population (IPOP)
_SMALL_SIGMA = 2  # small runs start with sigma0 * 10^(-2 u), u ~ U[0, 1] (BIPOP, Sec. 2)
_SMALL_SHARE = 0.5  # of the large budget that a small run may take, and of the large popsize
_BAD_STARTS = 20  # runs in a row that failed from their first to their last evaluation: give up


class RestartsState(NamedTuple):
    """The run that is under way, and what the ones before it cost.

    Attributes:
        inner: state of the run.
        run: its number, from 0.
        doublings: how often the population has doubled.
        popsize: of the run. small: whether it counts in the small budget.
        limit: evaluations after which the run ends; 0 for none.
        offset: number of the run's first candidate. asked, told: candidates of the run so far.
        small_budget, large_budget: evaluations of the finished runs of either kind.
        generations: of the finished runs.
        stops: criterion -> how many runs it ended. converged: runs that ended on a settled point.
        succeeded: the last run in which an evaluation succeeded; -1 for none.
        ended: why no further run begins; None while they do.
        x0, sigma0, seed, path: as given to `init`.
    """

    inner: Any
    run: int
    doublings: int
    popsize: int
    small: bool
    limit: int
    offset: int
    asked: int
    told: int
    small_budget: int
    large_budget: int
    generations: int
    stops: dict[str, int]
    converged: int
    succeeded: int
    ended: StopReason | None
    x0: Array
    sigma0: float
    seed: int
    path: Path


@dataclass(frozen=True, slots=True)
class Restarts:
    """A strategy started again and again.

    Attributes:
        first: the strategy of the first run.
        build: popsize -> the strategy with that popsize, otherwise like `first`.
        policy: "ipop" or "bipop".
        start_lower, start_upper: (dim,) box of the starts, or None.
        scale: (dim,) step sizes are multiples of it, or None for 1.
    """

    first: Strategy
    build: Callable[[int], Strategy]
    policy: str
    start_lower: Array | None = None
    start_upper: Array | None = None
    scale: Array | None = None

    @property
    def name(self) -> str:
        return f"{self.first.name} with {self.policy.upper()} restarts"

    @property
    def dim(self) -> int:
        return self.first.dim

    @property
    def popsize(self) -> int:
        return self.first.popsize

    @property
    def claims(self) -> Claims:
        c = self.first.claims
        # the criteria that end a run look at differences of f
        return replace(c, monotone=False)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> RestartsState:
        """The first run starts at x0 with sigma0 and the popsize of `first`."""
        x0 = np.array(x0, dtype=np.float64)
        return RestartsState(
            inner=self.first.init(x0, sigma0, seed, (*path, 0)),
            run=0,
            doublings=0,
            popsize=self.first.popsize,
            small=True,
            limit=0,
            offset=0,
            asked=0,
            told=0,
            small_budget=0,
            large_budget=0,
            generations=0,
            stops={},
            converged=0,
            succeeded=-1,
            ended=None,
            x0=x0,
            sigma0=float(sigma0),
            seed=seed,
            path=path,
        )

    def shaped(self, state: RestartsState, shape: Array, sigma: float) -> RestartsState:
        """A fresh state whose first run begins with that covariance; restarts do not."""
        first = cast("Shaped", self.first)
        return state._replace(inner=first.shaped(state.inner, shape, sigma))

    def ask(self, state: RestartsState, k: int) -> tuple[Population, RestartsState]:
        """k candidates of the run that is under way."""
        rows, inner = self._strategy(state).ask(state.inner, k)
        population = Population(rows.id + state.offset, rows.epoch, rows.X, inner=rows)
        return population, state._replace(inner=inner, asked=state.asked + len(rows))

    def tell(self, state: RestartsState, population: Population, values: Values) -> RestartsState:
        """Hands the rows on; rows of an earlier run came too late and teach nothing."""
        strategy = self._strategy(state)
        rows, F = self._mine(state, population, values.F)
        if len(rows) == 0:
            return state
        asked = int((rows.epoch != INJECTED).sum())
        inner = strategy.tell(state.inner, rows, Values(F))
        succeeded = state.run if np.isfinite(F).any() else state.succeeded
        state = state._replace(inner=inner, told=state.told + asked, succeeded=succeeded)
        stop = strategy.stop(state.inner)
        if stop is None and 0 < state.limit <= state.told:
            stop = reason("maxevals", state.told, state.limit)
        if stop is None:
            return state
        if stop.criterion == "allfailed" and self._is_hopeless(state):
            return state._replace(ended=stop)
        if self._is_largest(state) and not self._goes_small(state):
            ended = reason("maxrestarts", state.run, state.run)
            return state._replace(ended=ended, converged=state.converged + stop.converged)
        return self._restart(state, stop)

    @staticmethod
    def _mine(state: RestartsState, population: Population, F: Array) -> tuple[Population, Array]:
        """The rows of this run and the injected ones, as the strategy inside knows them."""
        if state.offset:
            mine = (population.id >= state.offset) | (population.epoch == INJECTED)
            if not mine.all():
                population, F = population.take(mine), F[mine]
        if population.inner is not None:
            return population.inner, F
        return Population(population.id, population.epoch, population.X), F

    def _restart(self, state: RestartsState, stop: StopReason) -> RestartsState:
        """The state at the start of the next run."""
        small_budget, large_budget = _budgets(state)
        run = state.run + 1
        small = self._goes_small(state)
        doublings = min(MOST_DOUBLINGS, state.doublings if small else state.doublings + 1)
        draw = rng.uniforms(state.seed, (*state.path, run), 0, 1, 2 + self.dim)[0]
        popsize, sigma, limit = self.popsize * _INCREASE**doublings, state.sigma0, 0
        if small:
            ratio = _SMALL_SHARE * _INCREASE**doublings
            popsize = max(self.popsize, int(self.popsize * ratio ** (draw[0] ** 2)))
            sigma = state.sigma0 * 10.0 ** (-_SMALL_SIGMA * draw[1])
            limit = max(1, int(_SMALL_SHARE * large_budget))
        path = (*state.path, run)
        strategy = self.build(popsize)
        return state._replace(
            inner=strategy.init(self._start(state, path, draw[2:]), sigma, state.seed, path),
            run=run,
            doublings=doublings,
            popsize=popsize,
            small=small,
            limit=limit,
            offset=state.offset + state.asked,
            asked=0,
            told=0,
            small_budget=small_budget,
            large_budget=large_budget,
            generations=self.generation(state),
            stops={**state.stops, stop.criterion: state.stops.get(stop.criterion, 0) + 1},
            converged=state.converged + stop.converged,
        )

    @staticmethod
    def _is_hopeless(state: RestartsState) -> bool:
        """Whether the failures of this run end the search: not if only its start was bad."""
        bad_start = 0 <= state.succeeded < state.run
        return not bad_start or state.run - state.succeeded >= _BAD_STARTS

    def _is_largest(self, state: RestartsState) -> bool:
        """Whether the population has grown as far as it may; one that asks for a single candidate
        at a time never grows, and starts again without end."""
        return state.doublings == MOST_DOUBLINGS and not self.first.claims.sequential

    def _goes_small(self, state: RestartsState) -> bool:
        """Whether the next run is a small one: the regime that has cost less is next."""
        small_budget, large_budget = _budgets(state)
        return self.policy == "bipop" and small_budget < max(1, large_budget)

    def _start(self, state: RestartsState, path: Path, uniform: Array) -> Array:
        """Where a run begins. uniform: (dim,) in [0, 1)."""
        if self.start_lower is not None and self.start_upper is not None:
            return self.start_lower * (1 - uniform) + self.start_upper * uniform
        step = state.sigma0 * rng.normals(state.seed, (*path, -1), 0, 1, self.dim)[0]
        start: Array = state.x0 + (step if self.scale is None else step * self.scale)
        return start

    def _strategy(self, state: RestartsState) -> Strategy:
        return self.first if state.popsize == self.first.popsize else self.build(state.popsize)

    def batch(self, state: RestartsState) -> int:
        """As the run that is under way, and no more than its limit leaves."""
        k = self._strategy(state).batch(state.inner)
        return min(k, state.limit - state.told) if state.limit else k

    def generation(self, state: RestartsState) -> int:
        """Of all runs together."""
        return state.generations + self._strategy(state).generation(state.inner)

    def stop(self, state: RestartsState) -> StopReason | None:
        """When the population has doubled as often as allowed, or a restart would not help."""
        return state.ended

    def portrait(self, state: RestartsState) -> Portrait:
        """Of the run that is under way."""
        p = self._strategy(state).portrait(state.inner)
        return Portrait(p.mean, p.sigma, p.axes, self.generation(state), state.run)


def _budgets(state: RestartsState) -> tuple[int, int]:
    """Evaluations of small and of large runs, the one under way included."""
    if state.small:
        return state.small_budget + state.told, state.large_budget
    return state.small_budget, state.large_budget + state.told

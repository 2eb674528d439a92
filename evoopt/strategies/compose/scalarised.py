"""A strategy for one objective, and its restarts, on weighted sums of two.

When: inside `hmo-cma-es`: basins that a search along the front does not find. Each run has a weight
of its own: first each objective alone and both alike, then drawn. Values are measured between the
ideal and the nadir point of the front as it was when the run began.
Cost: that of the strategy inside.

Source: I. Loshchilov & T. Glasmachers, Anytime bi-objective optimization with a hybrid
multi-objective CMA-ES (HMO-CMA-ES), GECCO 2016 companion, arXiv:1605.02720, which names runs on
scalarised objectives; their weights, their normalisation and their order are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, Strategy

Array = NDArray[np.float64]

_FIRST_WEIGHTS = (0.5, 0.0, 1.0, 0.25, 0.75)  # of f1, of the first runs
_ALONE = 0.25  # of the later runs are for f1 alone, and as many for f2 alone
_WEIGHT_PATH = -2  # last number of the path of the stream of weights


class ScalarisedState(NamedTuple):
    """Where the runs stand.

    Attributes:
        inner: of the strategy inside.
        run: that is under way. weight: of its f1.
        origin, unit: (2,) what its values are measured by.
        least1, least2: (2,) the values of the best point of each objective so far.
        seed, path: as given to `init`.
    """

    inner: Any
    run: int
    weight: float
    origin: Array
    unit: Array
    least1: Array
    least2: Array
    seed: int
    path: Path


@dataclass(frozen=True, slots=True)
class Scalarised:
    """The strategy inside, which says by the `restarts` of its portrait which run is under way."""

    inner: Strategy
    name: str = "scalarised"

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def popsize(self) -> int:
        return self.inner.popsize

    @property
    def claims(self) -> Claims:
        c = self.inner.claims
        return Claims(c.permutation, False, c.translation, c.rotation, least_obj=2, most_obj=2)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> ScalarisedState:
        """The first run starts at x0."""
        return ScalarisedState(
            inner=self.inner.init(x0, sigma0, seed, (*path, 0)),
            run=0,
            weight=_FIRST_WEIGHTS[0],
            origin=np.zeros(2),
            unit=np.ones(2),
            least1=np.full(2, np.inf),
            least2=np.full(2, np.inf),
            seed=seed,
            path=path,
        )

    def ask(self, state: ScalarisedState, k: int) -> tuple[Population, ScalarisedState]:
        """k candidates of the run that is under way."""
        rows, inner = self.inner.ask(state.inner, k)
        return rows, state._replace(inner=inner)

    def tell(
        self, state: ScalarisedState, population: Population, values: Values
    ) -> ScalarisedState:
        """The rows of the run, by their weighted sums; others only say where the front is."""
        state = self.informed(state, values.F.tolist())
        mine = population.epoch != INJECTED
        if not mine.any():
            return state
        F = values.F
        if not mine.all():
            population, F = population.take(mine), F[mine]
        w = state.weight
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: it has failed
            y = (F - state.origin) / state.unit @ np.array([w, 1 - w])
        inner = self.inner.tell(state.inner, population, Values(y))
        state = state._replace(inner=inner)
        run = self.inner.portrait(inner).restarts
        return state if run == state.run else self._begun(state, run)

    def informed(
        self, state: ScalarisedState, rows: Sequence[tuple[float, float]]
    ) -> ScalarisedState:
        """Knows of points that were evaluated elsewhere, by their values f1 and f2."""
        least1, least2 = state.least1, state.least2
        for f1, f2 in rows:
            if not (math.isfinite(f1) and math.isfinite(f2)):
                continue
            if (f1, f2) < (least1[0], least1[1]):
                least1 = np.array([f1, f2])
            if (f2, f1) < (least2[1], least2[0]):
                least2 = np.array([f1, f2])
        if least1 is state.least1 and least2 is state.least2:
            return state
        return state._replace(least1=least1, least2=least2)

    def _begun(self, state: ScalarisedState, run: int) -> ScalarisedState:
        """The next run has another weight, and the units of now."""
        if run < len(_FIRST_WEIGHTS):
            weight = _FIRST_WEIGHTS[run]
        else:
            path = (*state.path, _WEIGHT_PATH)
            u, v = rng.uniforms(state.seed, path, run, 1, 2)[0].tolist()
            weight = v if u >= 2 * _ALONE else float(u < _ALONE)
        return self.measured(state._replace(run=run, weight=weight))

    @staticmethod
    def measured(state: ScalarisedState) -> ScalarisedState:
        """The run under way is measured by the front as it is now."""
        origin = np.array([state.least1[0], state.least2[1]])
        if not np.isfinite(origin).all():
            return state
        with np.errstate(over="ignore"):  # infinite: no unit
            unit = np.array([state.least2[0], state.least1[1]]) - origin
        unit = np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)
        return state._replace(origin=origin, unit=unit)

    def batch(self, state: ScalarisedState) -> int:
        """As the strategy inside."""
        return self.inner.batch(state.inner)

    def generation(self, state: ScalarisedState) -> int:
        """As the strategy inside."""
        return self.inner.generation(state.inner)

    def stop(self, state: ScalarisedState) -> StopReason | None:
        """As the strategy inside."""
        return self.inner.stop(state.inner)

    def portrait(self, state: ScalarisedState) -> Portrait:
        """As the strategy inside."""
        return self.inner.portrait(state.inner)

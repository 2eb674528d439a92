"""Solvers that call the objective themselves, behind ask and tell.

The state is the list of all (x, f) that the solver was told; the live solver is a cache keyed by it
(`conversation`). So `ask` and `tell` are pure, a question answered in two ways makes two branches,
and a copy of a state, a fork or a snapshot needs no care. A list without a live solver costs what
the solver took for it so far, without one evaluation.

One candidate is open at a time: while it is, `ask` gives no row.

Failed evaluations: these solvers know no failure, so one is told as the worst of the last `window`
values plus their range: bad enough to be left, and on the scale of what the model stands on (an
extreme barrier, as 2^100 in scipy's COBYQA, would swamp it). A start that fails is moved by a step
~ N(0, sigma0^2 I), until one has a value.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, new_rows
from evoopt.strategies.conversation import Conversation, Objective, Told, live
from evoopt.strategies.stopping import MOST_FAILED, reason

Array = NDArray[np.float64]

FINAL_RADIUS = 1e-8  # times the first radius: f is then settled to rounding where it is quadratic
FINEST = 1e-15  # final radius: what rounding leaves of a step of 1
_PATIENCE = 4  # times MOST_FAILED windows, once something has succeeded, as in `stopping`


class CallbackState(NamedTuple):
    """Where a solver stands.

    Attributes:
        told: what it was told since it began at `start`; its first value is no failure.
        start: (dim,) where it began.
        question: (dim,) what it wants to know next; is_open: whether that has been asked.
        next_id: number of the next candidate asked.
        evaluations: rows told in all. failed: how many of the last ones failed in a row.
        best_x: (dim,), best_f: the best row told; before there is one, the start and inf.
        ended: why the solver asks nothing more, or None.
        x0: (dim,), sigma0, seed, path: as given to `init`.
    """

    told: Told
    start: Array
    question: Array
    is_open: bool
    next_id: int
    evaluations: int
    failed: int
    best_x: Array
    best_f: float
    ended: StopReason | None
    x0: Array
    sigma0: float
    seed: int
    path: Path


class CallbackSolver(ABC):
    """A strategy around `solve`; a final class adds constants and that method.

    Attributes:
        lower, upper: (dim,) the box that the solver keeps to, or None.
        window: how many values a failure is measured by: those that the solver's model rests on.
    """

    __slots__ = ()

    name: str
    dim: int
    popsize: int
    claims: Claims
    lower: Array | None
    upper: Array | None

    @property
    @abstractmethod
    def window(self) -> int: ...

    @abstractmethod
    def solve(self, fun: Objective, start: Array, radius: float) -> StopReason:
        """Calls `fun` until there is a reason to stop. start: (dim,) inside the box; radius: of
        the first trust region, at most half the width of the box."""

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> CallbackState:
        """x0: (dim,); sigma0: radius of the first trust region."""
        x0 = np.array(x0, dtype=np.float64)
        empty = Told.begin(b"")
        state = CallbackState(
            told=empty,
            start=x0,
            question=x0,
            is_open=False,
            next_id=0,
            evaluations=0,
            failed=0,
            best_x=x0,
            best_f=math.inf,
            ended=None,
            x0=x0,
            sigma0=float(sigma0),
            seed=seed,
            path=path,
        )
        return self._begun(state, x0)

    def ask(self, state: CallbackState, k: int) -> tuple[Population, CallbackState]:
        """The solver's question; no row while it is open, or once the solver has ended."""
        rows = 0 if state.is_open or state.ended is not None else min(k, 1)
        ids, epochs = new_rows(state.next_id, rows, state.evaluations)
        X = np.repeat(state.question[None], rows, axis=0)
        if rows:
            state = state._replace(is_open=True, next_id=state.next_id + 1)
        return Population(ids, epochs, X), state

    def tell(self, state: CallbackState, population: Population, values: Values) -> CallbackState:
        """The answer to the open question; any other row teaches nothing."""
        mine = (population.id == state.next_id - 1) & (population.epoch != INJECTED)
        if not state.is_open or not mine.any():
            return state
        f = float(values.F[mine][0])
        failed = not math.isfinite(f)
        state = state._replace(
            is_open=False,
            evaluations=state.evaluations + 1,
            failed=state.failed + 1 if failed else 0,
        )
        if f < state.best_f and not failed:
            state = state._replace(best_x=state.question, best_f=f)
        if failed and len(state.told) == 0:
            step = rng.normals(state.seed, state.path, state.evaluations, 1, self.dim)[0]
            return self._begun(state, state.x0 + state.sigma0 * step)
        told = state.told.append(state.question, math.nan if failed else f)
        return self._heard(state, told)

    def batch(self, state: CallbackState) -> int:
        """Each row is an update."""
        return 1

    def generation(self, state: CallbackState) -> int:
        """Rows told."""
        return state.evaluations

    def stop(self, state: CallbackState) -> StopReason | None:
        """When the solver has ended, or nothing but failures comes."""
        bar = MOST_FAILED * self.window * (_PATIENCE if len(state.told) else 1)
        if state.failed >= bar:
            return reason("allfailed", state.failed, bar)
        return state.ended

    def portrait(self, state: CallbackState) -> Portrait:
        """The best point; the solver's trust region is its own."""
        return Portrait(state.best_x, np.nan, np.empty(0), state.evaluations)

    def _begun(self, state: CallbackState, start: Array) -> CallbackState:
        """The solver has been started anew. start: (dim,)."""
        if self.lower is not None and self.upper is not None:
            start = np.clip(start, self.lower, self.upper)
        origin = hashlib.blake2b(repr((self._radius(state.sigma0), self.name)).encode())
        constants = fields(self)  # type: ignore[arg-type]  # a final class is a dataclass
        for constant in (getattr(self, f.name) for f in constants if f.name != "claims"):
            is_array = isinstance(constant, np.ndarray)
            origin.update(constant.tobytes() if is_array else repr(constant).encode())
        origin.update(start.tobytes())
        state = state._replace(start=start)
        return self._heard(state, Told.begin(origin.digest()[:16]))

    def _radius(self, sigma0: float) -> float:
        """sigma0, but no more than fits twice into the box, as these solvers want it."""
        if self.lower is None or self.upper is None:
            return sigma0
        with np.errstate(over="ignore"):
            return min(sigma0, float((self.upper / 2 - self.lower / 2).min()))

    def _heard(self, state: CallbackState, told: Told) -> CallbackState:
        """The state once the solver has been told all of `told`."""
        start, radius = state.start, self._radius(state.sigma0)

        def begin() -> Conversation:
            return Conversation(lambda fun: self.solve(fun, start.copy(), radius))

        question, ended = live.after(told, state.told, begin, self.window)
        if ended is not None and told.is_flat:  # nothing was ever distinguished
            ended = replace(reason("tolflatfitness", len(told), 1), converged=False)
        elif ended is not None and state.failed > self.dim:  # it gave up on failures
            ended = replace(ended, converged=False)
        return state._replace(
            told=told, question=state.best_x if question is None else question, ended=ended
        )


def check_final_radius(final_radius: float, owner: str) -> float:
    """A share of the first radius, above what rounding leaves of a step."""
    if not FINEST <= final_radius < 1:
        raise ConfigurationError(
            f"{owner}(final_radius=...) must be at least {FINEST:g}, and below 1, in units of "
            f"sigma0; got {final_radius}"
        )
    return float(final_radius)

"""HMO-CMA-ES: three ways of moving a front forward, each as often as it pays.

When: two objectives, any budget from a few evaluations on; no population size and no reference
point to be chosen. When not: three objectives and more (`mo-cma-es`).
Cost: some 190 us a candidate in 5 variables; O(N n^2) memory for a front of N points.

The parts, each a strategy of its own, all of which learn of every evaluation:
- `front-model`: quadratic models of both objectives, on which the compromises between neighbours
  of the front lie; it begins;
- `up-mo-cma-es`: offspring of the members of the front;
- `scalarised`: runs of CMA-ES with BIPOP restarts on weighted sums of the objectives, from new
  starts, for basins that the other two do not see; from 50 evaluations per variable on.
A part has a share of the evaluations in proportion to the hypervolume that its last ones have
gained, each gain measured with the ideal and nadir point of its time, and at least a few percent.

Source: I. Loshchilov & T. Glasmachers, Anytime bi-objective optimization with a hybrid
multi-objective CMA-ES (HMO-CMA-ES), GECCO 2016 companion, arXiv:1605.02720. From its abstract: a
hybrid of several variants of CMA-ES with BOBYQA as a warm start, made for any budget from n to
1e6 n. The full text was not at hand and its authors have published no code: **all else is a
reconstruction**. Differences from what the abstract says: the models of both objectives together
take the place of BOBYQA on a weighted sum, whose normalisation has to be guessed before anything is
known (`start` brings it back, as "bobyqa" or "cobyqa"); UP-MO-CMA-ES takes that of the steady-state
MO-CMA-ES with an increasing population, being one whose population is the front. The first was
measured against the models; of the second only `mo-cma-es` with a fixed population was, beside the
whole: reports/2026-11-23-bbob-biobj.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.archive import BiobjectiveArchive
from evoopt.errors import ConfigurationError
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, new_rows
from evoopt.strategies.bobyqa import BOBYQA
from evoopt.strategies.callback import CallbackSolver
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.cobyqa import COBYQA
from evoopt.strategies.compose.restarts import Restarts
from evoopt.strategies.compose.scalarised import Scalarised
from evoopt.strategies.frontmodel import FrontModel
from evoopt.strategies.fronts import OpenRows, Row, given_up, stacked, told_rows, two_objectives
from evoopt.strategies.upmo import UPMOCMAES

Array = NDArray[np.float64]
Three = tuple[float, float, float]

_PARTS = ("front-model", "up-mo-cma-es", "scalarised")
_MODEL, _UP, _RUNS = range(3)
_LOCAL = 3  # the solver that begins, where one was chosen
_NOBODY = -1  # has asked for an injected row
_NONE: Three = (0.0, 0.0, 0.0)
_LEAST_SHARE: Three = (0.1, 0.1, 0.08)  # of the evaluations, of each part
_FIRST_SHARE: Three = (0.9, 0.1, 0.0)  # of the first evaluations,
_MODEL_BEGINS = 10  # per variable
_MEMORY: Three = (20.0, 20.0, 200.0)  # evaluations per variable over which gains are averaged
_LOCAL_MOST = 5  # evaluations per variable of such a solver; more of them cost the front
_RUNS_BEGIN = 50  # evaluations per variable
_MARGIN = 0.1  # of the width of the front, by which the reference point lies beyond the nadir


class HMOState(NamedTuple):
    """Which part does what; what the parts hold, and `open`, is changed in place.

    Attributes:
        model, up, runs: states of the parts. local: of the solver that begins, or None.
        unit: (2,) what its objectives are divided by.
        open: id -> (part, its id there; of runs and the solver that begins, the row there), of
            candidates being evaluated.
        gained, counted: hypervolume that each part has gained lately, by how many evaluations.
        shares: of each part in the next evaluations.
        credit: evaluations that each part has to come. used: that it had.
        turn: the part that is asked, and how many candidates it has left.
        next_id: number of the next candidate. told: rows told that were asked. failed:
            how many of the last ones failed.
        seed, path: as given to `init`.
    """

    model: Any
    up: Any
    runs: Any
    local: Any
    unit: Array
    open: OpenRows
    gained: Three
    counted: Three
    shares: Three
    credit: Three
    used: Three
    turn: tuple[int, int]
    next_id: int
    told: int
    failed: int
    seed: int
    path: Path


@dataclass(frozen=True, slots=True)
class HMOCMAES:
    """The parts.

    Attributes:
        popsize: candidates asked together, at least.
        local: a solver that begins, on the sum of both objectives; or None.
        start_lower, start_upper: (dim,) box in which the runs begin; None: around x0.
    """

    dim: int
    popsize: int
    model: FrontModel
    up: UPMOCMAES
    runs: Scalarised
    local: CallbackSolver | None = None
    start_lower: Array | None = None
    start_upper: Array | None = None
    name: str = "hmo-cma-es"
    claims: Claims = Claims(
        monotone=False,
        translation=False,
        options=frozenset({"popsize", "inject", "asynchronous", "start"}),
        consumes=True,
        starts=True,
        least_obj=2,
        most_obj=2,
    )

    @staticmethod
    def default(
        dim: int,
        *,
        objectives: int = 2,
        popsize: int | None = None,
        start: Literal["models", "bobyqa", "cobyqa"] = "models",
        start_lower: Array | None = None,
        start_upper: Array | None = None,
    ) -> HMOCMAES:
        """BIPOP restarts of cma-es for one objective.

        Args:
            start: what has the first evaluations: the models of both objectives, or a solver on
                their sum, each divided by its absolute value at x0.

        Raises:
            ConfigurationError: other than two objectives, or an unknown start.
            MissingDependencyError: Py-BOBYQA is not installed.
        """
        two_objectives(objectives, "hmo-cma-es")

        @functools.cache
        def sized(lam: int | None) -> CMAES:
            return CMAES.default(dim, popsize=lam)

        runs = Restarts(sized(None), sized, "bipop", start_lower, start_upper)
        parts = (FrontModel.default(dim), UPMOCMAES.default(dim), Scalarised(runs))
        local: CallbackSolver | None = None
        if start == "bobyqa":
            local = BOBYQA.default(dim)
        elif start == "cobyqa":
            local = COBYQA.default(dim)
        elif start != "models":
            raise ConfigurationError(
                f"hmo-cma-es(start=...) must be models, bobyqa or cobyqa; got {start!r}"
            )
        lam = 1 if popsize is None else popsize
        return HMOCMAES(dim, lam, *parts, local, start_lower, start_upper)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> HMOState:
        """The first candidate is x0."""
        x0 = np.array(x0, dtype=np.float64)
        start = x0
        if self.start_lower is not None and self.start_upper is not None:
            u = rng.uniforms(seed, path, 0, 1, self.dim)[0]
            start = self.start_lower * (1 - u) + self.start_upper * u
        model, local = self.model.init(x0, sigma0, seed, (*path, _MODEL)), None
        if self.local is not None:
            local = self.local.init(x0, sigma0, seed, (*path, _LOCAL))
            model = self.model.designed(model)
        return HMOState(
            model=model,
            local=local,
            unit=np.ones(2),
            up=self.up.init(x0, sigma0, seed, (*path, _UP))._replace(next_id=1),  # x0: `model`
            runs=self.runs.init(start, sigma0, seed, (*path, _RUNS)),
            open=OpenRows(),
            gained=_NONE,
            counted=_NONE,
            shares=self._shares(0, _NONE, _NONE),
            credit=_NONE,
            used=_NONE,
            turn=(_MODEL, self.dim + 1) if local is None else (_LOCAL, 1),
            next_id=0,
            told=0,
            failed=0,
            seed=seed,
            path=path,
        )

    def ask(self, state: HMOState, k: int) -> tuple[Population, HMOState]:
        """k candidates, of one part after the other."""
        first, X = state.next_id, list[Array]()
        while len(X) < k:
            part, left = state.turn if state.turn[1] > 0 else self._turn(state)
            rows, inside = self._asked(state, part, min(left, k - len(X)))
            for row, x in enumerate(rows.X):
                mine: int | Population = int(rows.id[row])
                if part in (_RUNS, _LOCAL):
                    mine = rows if len(rows) == 1 else rows.take(np.array([row]))
                state.open.note(first + len(X), (part, mine))
                X.append(x)
            n = len(rows)
            a, b, c = (
                old + n * share for old, share in zip(state.credit, state.shares, strict=True)
            )
            credit = (a, b, c)
            state = state._replace(
                model=inside if part == _MODEL else state.model,
                up=inside if part == _UP else state.up,
                runs=inside if part == _RUNS else state.runs,
                local=inside if part == _LOCAL else state.local,
                credit=credit if part == _LOCAL else _with(credit, part, credit[part] - n),
                turn=(part, left - n),
                next_id=first + len(X),
            )
        ids, epochs = new_rows(first, k, state.told)
        return Population(ids, epochs, np.array(X).reshape(k, self.dim)), state

    def _asked(self, state: HMOState, part: int, k: int) -> tuple[Population, Any]:
        """Up to k candidates of one part, at least one, and its next state."""
        if part == _MODEL:
            return self.model.ask(state.model, k)
        if part == _UP:
            return self.up.ask(state.up, k)
        if part == _LOCAL and self.local is not None:
            return self.local.ask(state.local, 1)
        runs = self.runs.measured(state.runs) if state.runs.run == 0 else state.runs
        return self.runs.ask(runs, k)

    def _shares(self, told: int, gained: Three, counted: Three) -> Three:
        """Of the parts, in the next evaluations."""
        if told < _MODEL_BEGINS * self.dim:
            return _FIRST_SHARE
        rates = [g / n if n else 0.0 for g, n in zip(gained, counted, strict=True)]
        total = sum(rates)
        a, b, c = (
            max(rate / total if total > 0 else 1 / 3, least)
            for rate, least in zip(rates, _LEAST_SHARE, strict=True)
        )
        if told < _RUNS_BEGIN * self.dim:
            c = 0.0
        return a / (a + b + c), b / (a + b + c), c / (a + b + c)

    def _turn(self, state: HMOState) -> tuple[int, int]:
        """The part that has most to come, and for how many candidates."""
        local = state.local
        if local is not None and not local.is_open and local.ended is None:
            return _LOCAL, 1
        due = [c + share for c, share in zip(state.credit, state.shares, strict=True)]
        part = due.index(max(due))
        return part, max(1, self.runs.batch(state.runs)) if part == _RUNS else 1

    def batch(self, state: HMOState) -> int:
        """As many as the part whose turn it is wants together."""
        part, left = state.turn if state.turn[1] > 0 else self._turn(state)
        return max(self.popsize, left if part == _RUNS else 1)

    def tell(self, state: HMOState, population: Population, values: Values) -> HMOState:
        """Each row goes to the part that asked for it; the others see where it came to lie."""
        runs: list[tuple[Population, float, float]] = []
        for row in told_rows(population, values.F):
            part, mine = state.open.close(row.id) or (_NOBODY, INJECTED)
            if part == _RUNS and isinstance(mine, Population):
                runs.append((mine, row.f1, row.f2))
            state = self._learnt(state, part, mine, row)
        if not runs:
            return state
        rows, f1, f2 = zip(*runs, strict=True)
        told = Values(np.ascontiguousarray(np.array([f1, f2]).T))
        return state._replace(runs=self.runs.tell(state.runs, stacked(rows), told))

    def _learnt(self, state: HMOState, part: int, mine: int | Population, row: Row) -> HMOState:
        """A row counts for the part that asked for it, and is told to it, if it is not one of the
        runs, and shown to the others, if it has not failed. mine: its id in that part, or its
        row there."""
        finite = math.isfinite(row.f1) and math.isfinite(row.f2)
        (gained, counted, used), told = self._counted(state, part, row), state.told
        failed = state.failed
        if part != _NOBODY:
            told, failed = told + 1, 0 if finite else failed + 1
        own = mine if isinstance(mine, int) else INJECTED
        stranger, known = row._replace(id=INJECTED), row._replace(id=own)
        model, up, runs = state.model, state.up, state.runs
        if finite or part == _UP:
            up = self.up.learnt(up, known if part == _UP else stranger)
        if finite or part == _MODEL:
            model = self.model.learnt(model, known if part == _MODEL else stranger)
        if finite and part != _RUNS:
            runs = self.runs.informed(runs, [(row.f1, row.f2)])
        if part == _LOCAL and isinstance(mine, Population):
            state = self._told_local(state, mine, row)
        return state._replace(
            model=model,
            up=up,
            runs=runs,
            gained=gained,
            counted=counted,
            used=used,
            shares=self._shares(told, gained, counted),
            told=told,
            failed=failed,
        )

    def _told_local(self, state: HMOState, mine: Population, row: Row) -> HMOState:
        """The solver that begins learns of a row of its own, as long as it lasts."""
        local, unit = state.local, state.unit
        if self.local is None or local is None:
            return state
        F = np.array([row.f1, row.f2])
        if local.evaluations == 0 and np.isfinite(F).all() and F.all():
            unit = np.abs(F)
        with np.errstate(over="ignore"):  # infinite: it has failed
            y = (F / unit).sum(keepdims=True)
        local = self.local.tell(local, mine, Values(y))
        if local.evaluations >= _LOCAL_MOST * self.dim:
            local = None
        return state._replace(local=local, unit=unit)

    def _counted(self, state: HMOState, part: int, row: Row) -> tuple[Three, Three, Three]:
        """`gained`, `counted` and `used` with a row that is about to enter."""
        if part in (_NOBODY, _LOCAL):
            return state.gained, state.counted, state.used
        gain = gained(state.up.front, row.f1, row.f2)
        keep = 1 - 1 / (_MEMORY[part] * self.dim)
        return (
            _with(state.gained, part, keep * state.gained[part] + gain),
            _with(state.counted, part, keep * state.counted[part] + 1),
            _with(state.used, part, state.used[part] + 1),
        )

    def generation(self, state: HMOState) -> int:
        """Rows told, in units of popsize."""
        return state.told // self.popsize

    def stop(self, state: HMOState) -> StopReason | None:
        """When nothing but failures comes."""
        return given_up(state.failed, self.popsize, state.up.front)

    def portrait(self, state: HMOState) -> Portrait:
        """Of the front."""
        p = self.up.portrait(state.up)
        restarts = self.runs.portrait(state.runs).restarts
        return Portrait(p.mean, p.sigma, p.axes, self.generation(state), restarts)

    def account(self, state: HMOState) -> tuple[str, ...]:
        """How often each part was asked."""
        counts = (f"{name} {n:.0f}" for name, n in zip(_PARTS, state.used, strict=True))
        return (f"evaluations: {', '.join(counts)}",)


def _with(three: Three, i: int, value: float) -> Three:
    """The three with another i-th."""
    a, b, c = three
    return (value, b, c) if i == 0 else (a, value, c) if i == 1 else (a, b, value)


def gained(front: BiobjectiveArchive, f1: float, f2: float) -> float:
    """What a point adds to the hypervolume, in units of the box between ideal and nadir, each as it
    is with the point, up to a reference point a little beyond the nadir."""
    if not len(front):
        return 0.0
    first, last = (front.value(tag) for tag in front.extremes)
    low1, high2 = min((f1, f2), first)
    low2, high1 = min((f2, f1), last[::-1])
    width, height = high1 - low1, high2 - low2
    if not width * height > 0:  # a line, or a product too small for a number
        return 0.0
    corner = (high1 + _MARGIN * width, high2 + _MARGIN * height)
    gain = front.gain((f1, f2), corner) / (width * height)
    return gain if math.isfinite(gain) else 0.0

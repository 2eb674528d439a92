"""Fills gaps of the front where quadratic models of both objectives say that it runs.

When: two smooth objectives and up to some 50 variables: the first evaluations of any search, and
all of them where the models fit. When not: rugged objectives; it is a part of `hmo-cma-es`, which
looks whether it pays. Cost: O(n^4) for a model of 4 n points, which proposes one to sixteen
candidates.

The search begins with a step along each coordinate from the best compromise so far. After that it
draws a gap between two neighbours of the front, fits a quadratic to each objective on the 4 n
evaluated points that are nearest to the middle of the gap, and asks for the compromises of the two
models (`biquadratic`) whose first value lies in the middle of this gap, and of the largest ones
around it. Three times in ten it goes beyond an extreme of the front instead, to the least value of
one model. There is no radius to be adapted: it is that of the points of the model, which draw
together where they are added.

Source: our own. Its parts: candidates on the Pareto set of models, as in Deshpande, Watson &
Canfield, Multiobjective optimization using an adaptive weighting scheme, Optim. Methods Softw.
31(1), 2016, doi:10.1080/10556788.2015.1048861; gaps drawn by contribution^3, from UP-MO-CMA-ES.
The constants were chosen on bbob-biobj, instance 1, in 2, 5 and 20-D: docs/decisions/0009-hmo.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.archive import BiobjectiveArchive
from evoopt.result import StopReason, Values
from evoopt.strategies.base import Claims, Path, Population, Portrait, new_rows
from evoopt.strategies.biquadratic import Curve, Models, fitted, least
from evoopt.strategies.fronts import (
    OpenRows,
    Row,
    given_up,
    middle,
    told_rows,
    two_objectives,
    uniform,
)

Array = NDArray[np.float64]

_POINTS = 4  # of a model, per variable
_NEWEST = 1000  # points among which the nearest are looked for
_P_EXTREME = 0.3  # how often it goes beyond an extreme
_RADIUS = 0.5  # of the ball, in units of the median distance of the points, at least
_MOST = 16  # candidates of one model
_PER = 3  # members of the front per variable for each further candidate of one model
_REACH = 1.0  # from the middle of the gap to that of another one, in those units, at most
_MISSES = 2  # candidates of a model that do not enter the front, until the others are given up
_DECADES = 6.0  # over which the scale of a step is drawn where nothing else gives one
_CLOSE = 1e-12  # of the size of x: points this near to one another make no model


class Evaluated:
    """All points that had values, in the order told: rows of two arrays that grow."""

    def __init__(self, dim: int) -> None:
        self._X, self._F, self.count = np.empty((64, dim)), np.empty((64, 2)), 0

    def append(self, x: Array, f1: float, f2: float) -> None:
        """One more row."""
        i = self.count
        if i == len(self._X):
            self._X = np.concatenate([self._X, np.empty_like(self._X)])
            self._F = np.concatenate([self._F, np.empty_like(self._F)])
        self._X[i] = x
        self._F[i, 0], self._F[i, 1] = f1, f2
        self.count = i + 1

    def newest(self, most: int) -> tuple[Array, Array]:
        """X (k, dim) and F (k, 2) of the last rows: views."""
        rows = slice(max(0, self.count - most), self.count)
        return self._X[rows], self._F[rows]

    def __deepcopy__(self, memo: dict[int, Any]) -> Evaluated:
        return self.__unpack__(self.__pack__())

    def __pack__(self) -> dict[str, Any]:
        return {"X": self._X[: self.count], "F": self._F[: self.count]}

    @classmethod
    def __unpack__(cls, plain: Any) -> Evaluated:
        X, F = plain["X"], plain["F"]
        found = cls(X.shape[1])
        size = 64
        while size < len(X):
            size *= 2
        found._X, found._F, found.count = np.empty((size, X.shape[1])), np.empty((size, 2)), len(X)
        found._X[: len(X)], found._F[: len(X)] = X, F
        return found


class FrontModelState(NamedTuple):
    """All that changes; the first four parts are changed in place.

    Attributes:
        front: all that no other point dominates; its tags are keys of `points`.
        points: tag -> x (dim,) of the members.
        evaluated: all points with values.
        open: id -> x of candidates being evaluated.
        queue: points that are still to be asked.
        misses: of the model that proposed them.
        designed: steps of the first design that were asked.
        base, base_f: (dim,), (2,) where the design stands, or NaN; spread: (2,) mean change so far.
        next_id, next_tag, told, failed, x0, sigma0, seed, path: as in `UPState`.
    """

    front: BiobjectiveArchive
    points: dict[str, Array]
    evaluated: Evaluated
    open: OpenRows
    queue: tuple[Array, ...]
    misses: int
    designed: int
    base: Array
    base_f: Array
    spread: Array
    next_id: int
    next_tag: int
    told: int
    failed: int
    x0: Array
    sigma0: float
    seed: int
    path: Path


@dataclass(frozen=True, slots=True)
class FrontModel:
    """The search.

    Attributes:
        popsize: candidates asked together.
        points: of a model.
    """

    dim: int
    popsize: int
    points: int
    name: str = "front-model"
    claims: Claims = Claims(
        monotone=False,
        translation=False,
        options=frozenset({"popsize", "inject", "asynchronous"}),
        consumes=True,
        least_obj=2,
        most_obj=2,
    )

    @staticmethod
    def default(dim: int, *, objectives: int = 2, popsize: int | None = None) -> FrontModel:
        """Models of 4 dim points.

        Raises:
            ConfigurationError: other than two objectives.
        """
        two_objectives(objectives, "front-model")
        return FrontModel(dim, 1 if popsize is None else popsize, max(_POINTS * dim, 6))

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> FrontModelState:
        """The first candidate is x0, and the first steps have the length sigma0."""
        x0 = np.array(x0, dtype=np.float64)
        return FrontModelState(
            front=BiobjectiveArchive(),
            points={},
            evaluated=Evaluated(self.dim),
            open=OpenRows(),
            queue=(),
            misses=0,
            designed=0,
            base=x0,
            base_f=np.full(2, np.nan),
            spread=np.zeros(2),
            next_id=0,
            next_tag=0,
            told=0,
            failed=0,
            x0=x0,
            sigma0=float(sigma0),
            seed=seed,
            path=path,
        )

    def designed(self, state: FrontModelState) -> FrontModelState:
        """A fresh state that goes without the first design: others make the first points."""
        return state._replace(designed=self.dim + 1)

    def ask(self, state: FrontModelState, k: int) -> tuple[Population, FrontModelState]:
        """k candidates: of the first design, then of as many models as it takes."""
        first, X = state.next_id, np.empty((k, self.dim))
        queue, misses, designed = state.queue, state.misses, state.designed
        for row, i in enumerate(range(first, first + k)):
            z = rng.normals(state.seed, state.path, i, 1, self.dim + 2)[0]
            if designed <= self.dim:
                x = self._design(state, designed, z)
                designed += 1
            else:
                if not queue:
                    queue, misses = tuple(self._proposed(state, z)), 0
                x, queue = queue[0], queue[1:]
            X[row] = x = self._unlike(state, x, z)
            state.open.note(i, x)
        ids, epochs = new_rows(first, k, state.told)
        state = state._replace(queue=queue, misses=misses, designed=designed, next_id=first + k)
        return Population(ids, epochs, X), state

    def _unlike(self, state: FrontModelState, x: Array, z: Array) -> Array:
        """x, or where that is being evaluated already a point near it, on a scale that is drawn."""
        if not any(np.array_equal(x, other) for other in state.open.noted()):
            return x
        scale = state.sigma0 * 10 ** (-_DECADES * uniform(float(z[self.dim])))
        near: Array = x + scale / math.sqrt(self.dim) * z[: self.dim]
        return near

    def _design(self, state: FrontModelState, step: int, z: Array) -> Array:
        """x0 first, then a step along a coordinate, to a side that is drawn."""
        if step == 0:
            return state.x0
        x: Array = state.base.copy()
        x[step - 1] += math.copysign(state.sigma0, z[self.dim])
        return x

    def _proposed(self, state: FrontModelState, z: Array) -> list[Array]:
        """Candidates of a new model; one near the front where none can be made. z: (dim + 2,)."""
        with np.errstate(over="ignore", invalid="ignore"):  # of points from far away
            return self._near_or_modelled(state, z)

    def _near_or_modelled(self, state: FrontModelState, z: Array) -> list[Array]:
        which, lot = uniform(float(z[self.dim])), uniform(float(z[self.dim + 1]))
        front, points = state.front, state.points
        scale, x = state.sigma0, state.x0
        if len(front):
            gap = self._gap(front, which, lot)
            x = (points[str(gap[0])] + points[str(gap[1])]) / 2
            proposed = self._modelled(state, gap, x, lot)
            if proposed:
                return proposed
            near = points[str(gap[0])] - x
            scale = max(float(np.linalg.norm(near)), _CLOSE * state.sigma0)
            scale = scale if gap[0] != gap[1] else state.sigma0 * 10 ** (-_DECADES * lot)
        found = x + scale / math.sqrt(self.dim) * z[: self.dim]
        return [found if np.isfinite(found).all() else state.x0]

    @staticmethod
    def _gap(front: BiobjectiveArchive, which: float, lot: float) -> tuple[int, int]:
        """Tags to the left and right of a gap; both alike for what lies beyond an extreme."""
        first, last = front.extremes
        if len(front) == 1 or which < _P_EXTREME:
            end = first if which < _P_EXTREME / 2 else last
            return end, end
        if len(front) == 2:  # one gap
            return first, last
        tag = front.draw(lot)
        left, right = front.neighbours(tag)
        assert left is not None
        assert right is not None
        a, b, c = (front.value(t) for t in (left, tag, right))
        before, after = (b[0] - a[0]) * (a[1] - b[1]), (c[0] - b[0]) * (b[1] - c[1])
        return (left, tag) if before > after else (tag, right)

    def _modelled(
        self, state: FrontModelState, gap: tuple[int, int], x: Array, lot: float
    ) -> list[Array]:
        """Candidates of a model around x: (dim,), the middle of the gap; none if there is none."""
        X, F = state.evaluated.newest(_NEWEST)
        D = X - x
        squares = np.vecdot(D, D)
        if len(X) > self.points:
            near = np.argpartition(squares, self.points - 1)[: self.points]
            D, F, squares = D[near], F[near], squares[near]
        half = len(squares) // 2
        scale = math.sqrt(float(np.partition(squares, half)[half]))
        if not _CLOSE * (1 + float(np.abs(x).max())) < scale < math.inf:
            return []
        unit = np.abs(F - F.mean(axis=0)).mean(axis=0)
        if not (unit > 0).all() or not np.isfinite(unit).all():
            return []
        try:
            models = fitted(D / scale, F / unit, 1 / (1 + squares / scale**2))
            return self._compromises(state, gap, models, x, scale, unit, lot)
        except np.linalg.LinAlgError:
            return []

    def _compromises(
        self,
        state: FrontModelState,
        gap: tuple[int, int],
        models: Models,
        x: Array,
        scale: float,
        unit: Array,
        lot: float,
    ) -> list[Array]:
        """Candidates of the models, which have x as origin, `scale` and `unit` as units."""
        front, points = state.front, state.points
        if gap[0] == gap[1]:
            first, last = front.extremes
            w = 0.5 if first == last and lot < 0.5 else float(gap[0] == first)
            U = least(models, w, _RADIUS)[None]
        else:
            half = float(np.linalg.norm(points[str(gap[0])] - x)) / scale
            curve = Curve(models, max(half, _RADIUS))
            U = curve.at(self._aims(state, gap, x, scale, unit, curve.range))
        found = x + scale * U
        return [row for row in found if np.isfinite(row).all()]

    def _aims(
        self,
        state: FrontModelState,
        gap: tuple[int, int],
        x: Array,
        scale: float,
        unit: Array,
        within: tuple[float, float],
    ) -> Array:
        """First values, in units of `unit`, in the middle of this gap and of the largest around."""
        front, points = state.front, state.points
        most = min(_MOST, 1 + len(front) // (_PER * self.dim))
        near = front.around(gap[0], most)
        tags = [tag for tag, _, _ in near]
        f1, f2 = (np.array(column) for column in list(zip(*near, strict=True))[1:])
        middles = (f1[1:] + f1[:-1]) / 2 / unit[0]
        if most == 1:
            here: Array = middles[[tags.index(gap[0])]]
            return here
        P = np.array([points[str(tag)] for tag in tags])
        B = (P[1:] + P[:-1]) / 2 - x
        areas = np.diff(f1) * -np.diff(f2)
        areas[
            (np.vecdot(B, B) > (_REACH * scale) ** 2)
            | (middles <= within[0])
            | (middles >= within[1])
        ] = -1.0
        areas[tags.index(gap[0])] = np.inf
        order = np.argsort(-areas, kind="stable")[:most]
        aims: Array = middles[order[areas[order] > 0]]
        return aims

    def tell(
        self, state: FrontModelState, population: Population, values: Values
    ) -> FrontModelState:
        """Each row enters the models, and the front if it can."""
        for row in told_rows(population, values.F):
            state = self.learnt(state, row)
        return state

    def learnt(self, state: FrontModelState, row: Row) -> FrontModelState:
        """The state after one row."""
        mine = state.open.close(row.id) is not None
        finite = math.isfinite(row.f1) and math.isfinite(row.f2)
        tag, removed = state.next_tag, None
        if finite:
            state.evaluated.append(row.x, row.f1, row.f2)
            removed = state.front.add((row.f1, row.f2), tag)
        if removed is not None:
            for gone in removed:
                del state.points[str(gone)]
            state.points[str(tag)] = np.array(row.x)
        misses = state.misses + (mine and removed is None)
        state = state._replace(
            queue=() if mine and misses >= _MISSES else state.queue,
            misses=misses,
            next_tag=tag + 1,
            told=state.told + 1,
            failed=0 if finite else state.failed + 1,
        )
        return self._moved(state, row) if finite and state.designed <= self.dim else state

    @staticmethod
    def _moved(state: FrontModelState, row: Row) -> FrontModelState:
        """The base of the design goes to a point that is better on the whole, each objective
        measured by how much it has changed so far."""
        f = np.array([row.f1, row.f2])
        if not np.isfinite(state.base_f).all():
            return state._replace(base=np.array(row.x), base_f=f)
        with np.errstate(over="ignore", invalid="ignore"):  # of infinite changes: it stays
            change = f - state.base_f
            spread = state.spread + np.abs(change)
            better = float((change / np.where(spread > 0, spread, 1.0)).sum()) < 0
        if better:
            return state._replace(base=np.array(row.x), base_f=f, spread=spread)
        return state._replace(spread=spread)

    def batch(self, state: FrontModelState) -> int:
        """As many as are asked together."""
        return self.popsize

    def generation(self, state: FrontModelState) -> int:
        """Rows told, in units of popsize."""
        return state.told // self.popsize

    def stop(self, state: FrontModelState) -> StopReason | None:
        """When nothing but failures comes."""
        return given_up(state.failed, self.popsize, state.front)

    def portrait(self, state: FrontModelState) -> Portrait:
        """Of a member in the midst of the front; it has no step size."""
        mean = state.x0 if not len(state.front) else state.points[str(middle(state.front))]
        return Portrait(mean, math.nan, np.empty(0), self.generation(state))

"""Trust region around a quadratic model of least change, from a design of dim + 2 points.

When: the first 10 to 100 dim evaluations of any function, smooth or not, of up to some 50
variables: it finds the bottom of a valley soonest; smooth functions to the end. When not: rugged or
discontinuous functions beyond that (`auto` goes on with cma-es), hundreds of variables, many
workers (after the design it asks for one point at a time).
Cost: O(dim^3) an evaluation, 0.3 ms at dim = 20.

Source: M. J. D. Powell, The NEWUOA software for unconstrained optimization without derivatives,
2006, doi:10.1007/0-387-30065-1_16: the two radii rho <= delta, and when they change (Sec. 2 and
Fig. 1); which point leaves (Sec. 7); the model itself is in `quadmodel`.
Differences from the source: the design has one point per axis instead of two, each on the side of
`centre`, and a point beside `centre` is tried before it; the set then grows by the steps themselves
up to 2 dim + 1 points. A step that does what a linear model says is lengthened until f rises, and
the design is made anew there: the first radius was too small. The model is fitted anew instead of
updated. The step is exact. The search ends where the model promises less than rounding errors of
f. A failed evaluation shrinks the region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, new_rows
from evoopt.strategies.quadmodel import Model, fitted, improving_step
from evoopt.strategies.stopping import MOST_FAILED, reason
from evoopt.strategies.valley import Valley

Array = NDArray[np.float64]

# what a question is for
START, DESIGN, STEP, LONGER, IMPROVE = "start", "design", "step", "longer", "improve"

_UNTOLD = -np.inf  # an answer that has not come; failures are NaN
_END = 1e-9  # of the first radius, where the search ends
_ROUNDING = 1e-13  # of the values: what the model has to promise more than
_SHRINK = 0.1  # of rho, NEWUOA Sec. 2
_POOR, _GOOD = 0.1, 0.7  # actual over predicted change, NEWUOA Eq. (2.6)
_ASIDE = 0.1  # first radii, at most, between `centre` and the point that is tried for it: functions
# made for a benchmark or by hand often have something special in the very middle
_EXACT = 1e-3  # error of that ratio below which the region grows twice as fast, and curvature
# against slope below which the step is lengthened at once; not in paper
_LONGER = 4.0  # factor of its length, again and again
_LONGEST = 1e9  # times the first radius
_SNAP = 1.5  # delta below _SNAP rho becomes rho, NEWUOA Eq. (2.7)
_PATIENCE = 4  # times MOST_FAILED designs, once something has succeeded, as in `stopping`
_NEWS = 1e-6  # least share of its determinant that a further point brings; below it is rounding
_ERRORS = 3  # of the last predictions that are looked at, NEWUOA Sec. 2, Box 14
_CURVATURE = 0.125  # times rho^2 and the least curvature: errors below it do not matter


class QuadraticState(NamedTuple):
    """Where the search stands.

    Attributes:
        Y: (m, dim) the points of the model, F: (m,) their values.
        H: (dim, dim) the model's Hessian. model: that made the question, or None.
        delta: radius of the region. rho: least radius for now.
        errors: absolute errors of the last predictions.
        stage: what the question is for.
        question: (k, dim) points to be evaluated. answers: (k,) their values, -inf where untold.
        predicted: change of f that the model expects of the question.
        target: row of Y that the question replaces if its stage is "improve".
        origin: (dim,) where a step began that is being lengthened.
        first_id: number of the question's first candidate. asked: how many of them were asked.
        first_f: first value. best_x: (dim,), best_f: the best row; before one, the start and inf.
        evaluations: rows told. failed: how many of the last ones failed in a row.
        updates: questions answered. ended: why there are no more questions, or None.
        x0: (dim,), sigma0, seed, path: as given to `init`.
    """

    Y: Array
    F: Array
    H: Array
    model: Model | None
    delta: float
    rho: float
    errors: tuple[float, ...]
    stage: str
    question: Array
    answers: Array
    predicted: float
    target: int
    origin: Array
    first_id: int
    asked: int
    first_f: float
    best_x: Array
    best_f: float
    evaluations: int
    failed: int
    updates: int
    ended: StopReason | None
    x0: Array
    sigma0: float
    seed: int
    path: Path

    @property
    def converged(self) -> bool:
        """Whether the search ended on a settled point."""
        return self.ended is not None and self.ended.converged


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Constants of the method.

    Attributes:
        points: of the full model.
        centre: (dim,) where the optimum is thought to be, such as the middle of a box, or None.
    """

    dim: int
    points: int
    centre: Array | None = None
    popsize: int = 1
    name: str = "quadratic"
    claims: Claims = Claims(
        monotone=False, options=frozenset({"restarts", "points"}), sequential=True
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,  # a restart with a larger one is the same
        points: int | None = None,
        centre: Array | None = None,
    ) -> Quadratic:
        """2 dim + 1 points, as Powell recommends.

        Raises:
            ConfigurationError: points is out of range.
        """
        if points is None:
            points = 2 * dim + 1
        most = (dim + 1) * (dim + 2) // 2
        if not dim + 2 <= points <= most:
            from evoopt.errors import ConfigurationError

            raise ConfigurationError(
                f"Quadratic(points=...) must be {dim + 2} to {most} in {dim} variables; "
                f"got {points}"
            )
        return Quadratic(dim, points, centre)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> QuadraticState:
        """x0: (dim,); sigma0: radius of the first region."""
        n = self.dim
        x0 = np.array(x0, dtype=np.float64)
        return QuadraticState(
            Y=np.empty((0, n)),
            F=np.empty(0),
            H=np.zeros((n, n)),
            model=None,
            delta=float(sigma0),
            rho=float(sigma0),
            errors=(),
            stage=START,
            question=self._first(x0, float(sigma0), seed, path),
            answers=np.full(1 if self.centre is None else 2, _UNTOLD),
            predicted=0.0,
            target=-1,
            origin=x0,
            first_id=0,
            asked=0,
            first_f=math.nan,
            best_x=x0,
            best_f=math.inf,
            evaluations=0,
            failed=0,
            updates=0,
            ended=None,
            x0=x0,
            sigma0=float(sigma0),
            seed=seed,
            path=path,
        )

    def ask(self, state: QuadraticState, k: int) -> tuple[Population, QuadraticState]:
        """Up to k rows of the question that have not been asked; none once the search has ended."""
        rows = min(k, len(state.question) - state.asked) if state.ended is None else 0
        ids, epochs = new_rows(state.first_id + state.asked, rows, state.updates)
        X = state.question[state.asked : state.asked + rows].copy()
        return Population(ids, epochs, X), state._replace(asked=state.asked + rows)

    def tell(self, state: QuadraticState, population: Population, values: Values) -> QuadraticState:
        """Answers to the question; any other row teaches nothing."""
        place = population.id - state.first_id
        mine = (0 <= place) & (place < state.asked) & (population.epoch != INJECTED)
        place, F = place[mine], values.F[mine]
        new = state.answers[place] == _UNTOLD
        if not new.any():
            return state
        answers = state.answers.copy()
        answers[place[new]] = np.where(np.isfinite(F[new]), F[new], np.nan)
        state = state._replace(answers=answers, evaluations=state.evaluations + int(new.sum()))
        if (answers == _UNTOLD).any():
            return state
        with np.errstate(over="ignore", invalid="ignore"):  # of values near the end of the range
            return self._answered(state)

    def batch(self, state: QuadraticState) -> int:
        """What is left of the question."""
        return max(1, len(state.question) - state.asked)

    def generation(self, state: QuadraticState) -> int:
        """Questions answered."""
        return state.updates

    def stop(self, state: QuadraticState) -> StopReason | None:
        """When the radius is at its end, the model promises nothing, or all evaluations fail."""
        bar = MOST_FAILED * (1 + self.dim) * (1 if state.best_f == math.inf else _PATIENCE)
        if state.failed >= bar:
            return reason("allfailed", state.failed, bar)
        return state.ended

    def portrait(self, state: QuadraticState) -> Portrait:
        """The best point and the region, a ball."""
        return Portrait(state.best_x, state.delta, np.ones(self.dim), state.updates)

    def valley(self, state: QuadraticState) -> Valley:
        """The model of the last step."""
        with np.errstate(over="ignore"):  # of values near the end of the range
            spread = float(np.median(state.F) - state.F.min()) if len(state.F) else 0.0
        return Valley(state.H, spread, state.rho / state.sigma0)

    def _answered(self, state: QuadraticState) -> QuadraticState:
        """The state with the next question."""
        X, F = state.question, state.answers
        failed = np.isnan(F)
        state = state._replace(updates=state.updates + 1)
        if failed.all():
            state = state._replace(failed=state.failed + len(F))
        else:
            best = int(np.nanargmin(F))
            state = state._replace(failed=0)
            if math.isnan(state.first_f):
                state = state._replace(first_f=float(F[~failed][0]))
            if F[best] < state.best_f:
                state = state._replace(best_x=X[best], best_f=float(F[best]))
        if state.stage == START:
            return self._begun(state)
        if state.stage == DESIGN:
            state = state._replace(
                Y=np.concatenate([state.Y, X]), F=_without_failures(np.concatenate([state.F, F]))
            )
            return self._stepping(state)
        if state.stage == STEP:
            return self._stepped(state, X[0], float(F[0]))
        if state.stage == LONGER:
            return self._lengthened(state, X[0], float(F[0]))
        return self._improved(state, X[0], float(F[0]))

    def _first(self, x0: Array, sigma0: float, seed: int, path: Path) -> Array:
        """(k, dim) the start, and a point beside the centre."""
        if self.centre is None:
            return x0[None]
        aside = 2 * rng.uniforms(seed, path, 0, 1, self.dim)[0] - 1
        return np.stack([x0, self.centre + _ASIDE * sigma0 * aside])

    def _begun(self, state: QuadraticState) -> QuadraticState:
        """The start has been evaluated: ask for the design around the better point, or, if it
        failed, for another start; what lies beside the centre has failed with it."""
        if state.best_f == math.inf:
            step = rng.normals(state.seed, state.path, state.updates, 1, self.dim)[0]
            return _asking(state, START, (state.x0 + state.sigma0 * step)[None])
        x = state.best_x
        side = np.ones(self.dim) if self.centre is None else np.where(x > self.centre, -1.0, 1.0)
        state = state._replace(Y=x[None], F=np.array([state.best_f]), H=np.zeros_like(state.H))
        return _asking(state, DESIGN, x + state.delta * np.diag(side))

    def _stepping(self, state: QuadraticState) -> QuadraticState:
        """Ask for the minimum of the model in the region; where that is no step worth taking, for a
        point that improves the model, or reduce rho."""
        model = fitted(state.Y, state.F, state.H)
        if model is None:
            return _over(state)
        H = model.H / model.unit**2
        if not np.isfinite(H).all():
            return _over(state)
        state = state._replace(H=H, model=model)
        while True:
            delta, rho = state.delta, state.rho
            s = model.step(delta)
            length = model.unit * math.sqrt(s.dot(s))
            if length >= 0.5 * rho or len(state.F) < self.dim + 2:
                if length == 0:
                    return _over(state)
                x = state.Y[model.best] + model.unit * s
                return _asking(state, STEP, x[None], model.change(s))
            bar = _CURVATURE * (rho / model.unit) ** 2 * max(0.0, float(model.curvatures[0]))
            settled = len(state.errors) == _ERRORS and max(state.errors) <= bar
            if not settled and model.diameter > 2 * rho:
                shorter = _snapped(max(0.1 * delta, rho), rho)
                return self._improving(state._replace(delta=shorter), model)
            if self._is_fine(state, model):
                return _over(state)
            state = _reduced(state)

    def _stepped(self, state: QuadraticState, x: Array, f: float) -> QuadraticState:
        """After a step: radius, points of the model, and what to do next."""
        model = state.model
        assert model is not None  # it made the question
        y, f_before = state.Y[model.best], float(state.F[model.best])
        length = float(np.linalg.norm(x - y))
        if math.isnan(f):  # f is not defined there, and no model can say so
            short = 0.5 * length
            if short < _END * state.sigma0:
                return _over(state)
            return self._stepping(state._replace(delta=short, rho=min(state.rho, short)))
        ratio = (f - f_before) / state.predicted if state.predicted < 0 else -1.0
        errors = (*state.errors, abs(f - f_before - state.predicted))[-_ERRORS:]
        state = self._with_point(state, model, x, f)._replace(errors=errors)
        on_edge = length > 0.99 * state.delta
        is_exact = on_edge and abs(ratio - 1) < _EXACT
        if is_exact and model.bend((x - y) / model.unit) < _EXACT:
            return _asking(state._replace(origin=y), LONGER, (y + _LONGER * (x - y))[None])
        delta = _resized(state.delta, length, ratio, is_exact)
        state = state._replace(delta=_snapped(delta, state.rho))
        if ratio >= _POOR:
            return self._stepping(state)
        distance = np.linalg.norm(state.Y - state.Y[state.F.argmin()], axis=1)
        if distance.max() > 2 * state.delta:
            fresh = fitted(state.Y, state.F, state.H)
            return _over(state) if fresh is None else self._improving(state, fresh)
        if f < f_before or max(state.delta, length) > state.rho:
            return self._stepping(state)
        if self._is_fine(state, model):
            return _over(state)
        return self._stepping(_reduced(state))

    def _lengthened(self, state: QuadraticState, x: Array, f: float) -> QuadraticState:
        """After a longer step in the same direction: a longer one still, while f falls."""
        step = x - state.origin
        length = float(np.linalg.norm(step))
        if f <= state.best_f and length < _LONGEST * state.sigma0:
            return _asking(state, LONGER, (state.origin + _LONGER * step)[None])
        way = float(np.linalg.norm(state.best_x - state.origin))
        if way > _LONGER / 2 * state.delta:  # the points lie far behind
            return self._begun(state._replace(delta=way / 2, rho=way / 2, errors=()))
        return self._stepping(state._replace(delta=2 * way))

    def _with_point(
        self, state: QuadraticState, model: Model, x: Array, f: float
    ) -> QuadraticState:
        """The set with x in it: at its end while it grows, if x tells something new (a fourth point
        on a line does not), else in place of the point that is farthest and whose loss keeps the
        equations well conditioned, NEWUOA Eq. (7.5)."""
        s = (x - state.Y[model.best]) / model.unit
        determinants, news = model.determinants_at(s)
        if len(state.F) < self.points and news > _NEWS:
            return state._replace(Y=np.concatenate([state.Y, x[None]]), F=np.append(state.F, f))
        centre = s if f < state.F[model.best] else np.zeros(self.dim)
        distance = ((model.S - centre) ** 2).sum(axis=1)
        reach = (max(0.1 * state.delta, state.rho) / model.unit) ** 2
        weight = determinants * np.maximum(1.0, (distance / reach) ** 3)
        if f >= state.F[model.best]:
            weight[model.best] = 0.0
        return _replaced(state, int(weight.argmax()), x, f)

    def _improving(self, state: QuadraticState, model: Model) -> QuadraticState:
        """Ask for a point in place of the farthest one."""
        best = state.Y[model.best]
        distance = np.linalg.norm(state.Y - best, axis=1)
        t = int(distance.argmax())
        reach = max(min(0.1 * float(distance[t]), 0.5 * state.delta), state.rho)
        step = reach * improving_step((state.Y - best) / reach, t)
        predicted = model.change(step / model.unit)
        return _asking(state, IMPROVE, (best + step)[None], predicted, t)

    def _improved(self, state: QuadraticState, x: Array, f: float) -> QuadraticState:
        """After a point that was to improve the model."""
        if math.isnan(f):  # the region reaches where f is not defined
            state = _reduced(state._replace(delta=min(state.delta, 2 * state.rho)))
            return _over(state) if state.rho < _END * state.sigma0 else self._stepping(state)
        error = abs(f - float(state.F.min()) - state.predicted)
        errors = (*state.errors, error)[-_ERRORS:]
        return self._stepping(_replaced(state, state.target, x, f)._replace(errors=errors))

    def _is_fine(self, state: QuadraticState, model: Model) -> bool:
        """Whether rho is at its end, or steps of it change f by rounding errors alone."""
        if state.rho <= _END * state.sigma0:
            return True
        curvature = max(abs(float(model.curvatures[0])), abs(float(model.curvatures[-1])))
        size = max(abs(state.first_f), abs(state.best_f), abs(state.first_f - state.best_f))
        change = 0.5 * curvature * (state.rho / model.unit) ** 2
        return len(model.S) > self.dim + 1 and change < _ROUNDING * size


def _asking(
    state: QuadraticState, stage: str, X: Array, predicted: float = 0.0, target: int = -1
) -> QuadraticState:
    """The state with a new question. X: (k, dim)."""
    return state._replace(
        stage=stage,
        question=X,
        answers=np.full(len(X), _UNTOLD),
        predicted=predicted,
        target=target,
        first_id=state.first_id + state.asked,
        asked=0,
    )


def _over(state: QuadraticState) -> QuadraticState:
    """The search has ended, on a settled point unless no two points were ever told apart."""
    at_first = state.rho == state.sigma0  # later, a set of equal values is what settled means
    if at_first and len(state.F) and state.F.max() == state.F.min():
        flat = reason("tolflatfitness", len(state.F), len(state.F))
        return state._replace(ended=replace(flat, converged=False))
    return state._replace(ended=reason("tolradius", state.rho, _END * state.sigma0))


def _reduced(state: QuadraticState) -> QuadraticState:
    """The region on the next smaller scale."""
    rho = _SHRINK * state.rho
    return state._replace(rho=rho, delta=max(0.5 * state.delta, rho), errors=())


def _replaced(state: QuadraticState, t: int, x: Array, f: float) -> QuadraticState:
    """The set with x in place of its row t."""
    Y, F = state.Y.copy(), state.F.copy()
    Y[t], F[t] = x, f
    return state._replace(Y=Y, F=F)


def _resized(delta: float, length: float, ratio: float, is_exact: bool) -> float:
    """The radius after a step of this length, NEWUOA Eq. (2.6)."""
    if ratio <= _POOR:
        return 0.5 * length
    if ratio <= _GOOD:
        return max(0.5 * delta, length)
    return max(0.5 * delta, (4 if is_exact else 2) * length)


def _snapped(delta: float, rho: float) -> float:
    return rho if delta <= _SNAP * rho else delta


def _without_failures(F: Array) -> Array:
    """Values in which a failure reads as worse than all others by their range. F: (m,)."""
    finite = F[np.isfinite(F)]
    most, least = float(finite.max()), float(finite.min())
    return np.where(np.isfinite(F), F, min(most + (most - least), np.finfo(float).max))

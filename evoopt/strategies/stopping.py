"""Why a distribution-based search should stop: all criteria, each with value, bar and advice.

`course.Course` remembers what the criteria need of the values seen; `first_reason` gives the first
criterion that fires, cheap ones first. The sentences of the criteria that compositions and the loop
check (budget, target, time, failures) stand here, too, so that all are worded in one place.

Source: pycma 4.5 (the criteria and their default bars; tests/reference has the naive forms);
N. Hansen, arXiv:1604.00772, App. B.3; A. Auger & N. Hansen, CEC 2005, doi:10.1109/CEC.2005.1554902.
Differences from the source: tolx is a multiple of sigma0, and the bars on f shrink with the range
of the first generation where that is below 1, so that neither depends on the units of x or of a
small f; the path's length counts with its sign removed; how far the mean has come is looked at in
every fifth generation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.result import StopReason
from evoopt.strategies.course import Course

Array = NDArray[np.float64]

_STRIDE = 5  # generations between two records of the stagnation criterion
_MIN_RECORDS = 100  # of them before it may fire
MOST_FAILED = 5  # generations in a row, while nothing has succeeded
_PATIENCE = 4  # times `allfailed`, once something has succeeded: a storm of failures may pass
_MIN_HISTORY = 10  # generations before tolfunhist may fire


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The bars of the criteria; None switches one off."""

    tolx: float | None = 1e-11  # times sigma0
    tolfacupx: float | None = 1e3
    tolupsigma: float | None = 1e20
    tolfun: float | None = 1e-11
    tolfunhist: float | None = 1e-12
    tolfunrel: float | None = None
    tolflatfitness: int | None = 1
    tolstagnation: int | None = None
    tolxstagnation: tuple[float, float, float] | None = (1e-9, 20, 0.1)  # distance, offset, share
    tolconditioncov: float | None = 1e14
    maxiter: int | None = None
    allfailed: int | None = MOST_FAILED  # generations in a row
    noeffect: bool = True
    history: int = 10  # generations over which tolfun and tolfunhist look

    @staticmethod
    def default(dim: int, popsize: int) -> Tolerances:
        """pycma's defaults for `dim` variables and `popsize` candidates."""
        return Tolerances(
            tolstagnation=int(100 + 100 * dim**1.5 / popsize),
            maxiter=int(100 + 150 * (dim + 3) ** 2 // math.sqrt(popsize)),
            history=int(10 + 30 * dim / popsize),
        )

    @staticmethod
    def off() -> Tolerances:
        """No criterion but the one against wholly failed generations."""
        return Tolerances(
            tolx=None,
            tolfacupx=None,
            tolupsigma=None,
            tolfun=None,
            tolfunhist=None,
            tolflatfitness=None,
            tolxstagnation=None,
            tolconditioncov=None,
            noeffect=False,
        )


class Shape(NamedTuple):
    """The distribution as the criteria see it.

    Attributes:
        mean: (dim,); sigma, sigma0: step size now and at the start.
        std: (dim,) standard deviations of the coordinates in units of sigma.
        path: (dim,) evolution path of the covariance in units of sigma, or None.
        D: (dim,) lengths of the axes in units of sigma, ascending.
        B: (dim, dim) the axes as columns, or None.
    """

    mean: Array
    sigma: float
    sigma0: float
    std: Array
    path: Array | None
    D: Array
    B: Array | None


def first_reason(
    tolerances: Tolerances, course: Course, popsize: int, shape: Shape
) -> StopReason | None:
    """The first criterion that fires, or None. Nothing fires before the first generation."""
    t = tolerances
    if t.allfailed is not None:
        bar = t.allfailed * (_PATIENCE if course.generations else 1)
        if course.failed >= bar:
            return reason("allfailed", course.failed, bar)
    if course.generations == 0 or course.failed:
        return None
    if t.maxiter is not None and course.generations >= t.maxiter:
        return reason("maxiter", course.generations, t.maxiter)
    return (
        _values(t, course)
        or _steps(t, shape)
        or _stagnation(t, course, len(shape.mean), popsize)
        or (_no_effect(course, shape) if t.noeffect else None)
    )


def _values(t: Tolerances, course: Course) -> StopReason | None:
    """Criteria on the range of f."""
    if course.flat_so_far:  # nothing was ever distinguished: no range says that it has converged
        if t.tolflatfitness is None or course.flat <= t.tolflatfitness:
            return None
        return replace(reason("tolflatfitness", course.flat, t.tolflatfitness), converged=False)
    scale = min(1.0, course.spread_first) or 1.0
    tolfun = -1.0 if t.tolfun is None else t.tolfun * scale
    tolfunhist = -1.0 if t.tolfunhist is None else t.tolfunhist * scale
    if t.tolflatfitness is not None and course.flat > t.tolflatfitness:
        return reason("tolflatfitness", course.flat, t.tolflatfitness)
    recent = course.trail.last(2)
    step = abs(recent[-1][0] - recent[0][0])  # the range of the whole history is no smaller
    if step < max(tolfun, tolfunhist):
        history = [best for best, _ in course.trail.last(t.history)]
        span = max(history) - min(history)
        if course.spread < tolfun and span < tolfun:
            return reason("tolfun", max(course.spread, span), tolfun)
        if len(history) >= min(_MIN_HISTORY, t.history) and span < tolfunhist:
            return reason("tolfunhist", span, tolfunhist)
    if t.tolfunrel is not None:
        medians = [median for _, median in course.trail.last(len(course.trail))]
        bar = t.tolfunrel * (medians[0] - min(medians))
        if course.spread < bar:
            return reason("tolfunrel", course.spread, bar)
    return None


def _steps(t: Tolerances, shape: Shape) -> StopReason | None:
    """Criteria on the size and the shape of the distribution."""
    sigma, sigma0 = shape.sigma, shape.sigma0
    largest = sigma * float(np.maximum.reduce(shape.std))
    if t.tolx is not None and largest < t.tolx * sigma0:
        path = 0.0 if shape.path is None else sigma * float(np.abs(shape.path).max())
        if path < t.tolx * sigma0:
            return reason("tolx", max(largest, path), t.tolx * sigma0)
    if t.tolfacupx is not None and not largest <= t.tolfacupx * sigma0:
        return reason("tolfacupx", largest, t.tolfacupx * sigma0)
    low, high = float(shape.D[0]), float(shape.D[-1])
    if t.tolupsigma is not None and sigma > t.tolupsigma * sigma0 * high:
        return reason("tolupsigma", sigma / high, t.tolupsigma * sigma0)
    if t.tolconditioncov is not None and not high <= math.sqrt(t.tolconditioncov) * low:
        condition = (high / low) ** 2 if low > 0 else math.inf
        return reason("tolconditioncov", condition, t.tolconditioncov)
    return None


def _stagnation(t: Tolerances, course: Course, dim: int, popsize: int) -> StopReason | None:
    """No progress in f, or in the mean, over a long time."""
    if t.tolxstagnation is not None:
        _, offset, share = t.tolxstagnation
        bar = offset + share * course.generations
        waited = course.generations - course.anchor_generation
        if waited > bar:
            return reason("tolxstagnation", waited, bar)
    if t.tolstagnation is None or course.generations <= dim * (5 + 100 / popsize):
        return None
    waited = course.generations - course.best_generation
    if waited <= t.tolstagnation / 2:
        return None
    records = np.array(course.trail.last(len(course.trail))[::-_STRIDE])  # newest first
    window = int(max(t.tolstagnation / _STRIDE / 2, len(records) / 10))
    if len(records) <= max(_MIN_RECORDS, 2 * window):
        return None
    late, early = np.median(records[:window], 0), np.median(records[window : 2 * window], 0)
    if (late >= early).all():
        return reason("tolstagnation", waited, t.tolstagnation / 2)
    return None


def _no_effect(course: Course, shape: Shape) -> StopReason | None:
    """Steps that vanish against the mean in floating point."""
    mean, sigma = shape.mean, shape.sigma
    lost = mean == mean + (0.2 * sigma) * shape.std
    if np.count_nonzero(lost):
        return reason("noeffectcoord", float(np.argmax(lost)), 0.0)
    if shape.B is not None:
        i = course.generations % len(mean)
        step = (0.1 * sigma * shape.D[i]) * shape.B[:, i]
        if np.count_nonzero(mean == mean + step) == len(mean):
            return reason("noeffectaxis", float(i), 0.0)
    return None


_LARGER_POPSIZE = "on a rugged objective a larger popsize or restarts go on from here"
_FLAT = "the objective does not distinguish the candidates here: look at it, or raise sigma0"
_LARGER_REGION = "on a rugged objective another method, a larger sigma0 or restarts go on from here"
# criterion: (what happened, what to change, whether it speaks of a settled search)
_SENTENCES: dict[str, tuple[str, str, bool]] = {
    "allfailed": (
        "generations in a row in which every evaluation failed",
        "look at one failing evaluation, or start where the objective is defined",
        False,
    ),
    "maxiter": ("generations in this run", "restarts go on from here", False),
    "tolx": ("all steps have become this small", _LARGER_POPSIZE, True),
    "tolfun": ("range of f in the last generations", _LARGER_POPSIZE, True),
    "tolfunhist": ("range of the best f of the last generations", _LARGER_POPSIZE, True),
    "tolfunrel": ("range of f in this generation", "lower tolfunrel to go on", True),
    "tolflatfitness": ("successive generations with equal f", _FLAT, True),
    "tolfacupx": (
        "a step grew this large",
        "the start was far from the optimum or f falls without bound: raise sigma0, or give bounds",
        False,
    ),
    "tolupsigma": ("sigma over the longest axis", "sigma grows without effect: rescale f", False),
    "tolconditioncov": (
        "condition number of the covariance",
        "rescale the variables so that their sensitivities are closer",
        True,
    ),
    "tolstagnation": ("generations without a better f", _LARGER_POPSIZE, True),
    "tolxstagnation": ("generations in which the mean hardly moved", _LARGER_POPSIZE, True),
    "noeffectcoord": ("a step of 0.2 sigma no longer changes this coordinate", "", True),
    "noeffectaxis": ("a step of 0.1 sigma along this axis no longer changes the mean", "", True),
    # of a solver behind ask and tell
    "tolradius": ("the trust region has become this small", _LARGER_REGION, True),
    "tolslow": ("evaluations, the last ones with hardly any progress", _LARGER_REGION, True),
    "solverfailed": ("the solver gave up with", "restarts go on from another start", False),
    # of a composition
    "maxevals": ("evaluations in a small run", "", False),
    "maxrestarts": ("restarts; the population has doubled as often as allowed", "", False),
    # of the loop
    "ftarget": ("the target was reached", "", True),
    "maxfevals": ("the budget is spent", "raise the budget if it still improves", False),
    "timeout": ("seconds are over", "raise the time limit if f still improves", False),
    "callback": ("the callback asked to stop", "", False),
    "maxfailures": ("evaluations failed", "look at one of them, or raise max_failures", False),
}


def reason(criterion: str, value: float, threshold: float) -> StopReason:
    """The reason in words, by the name of its criterion."""
    message, advice, converged = _SENTENCES[criterion]
    return StopReason(criterion, float(value), float(threshold), message, advice, converged)

"""What is shown of the values of runs: they themselves, or their distance to the best known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoopt.plots.course import COCO_PRECISION, Course

Array = NDArray[np.float64]

WIDE = 100.0  # ratio from which on a logarithmic axis shows more


@dataclass(frozen=True, slots=True)
class Values:
    """How the values of the objective are shown.

    Attributes:
        title: what is shown.
        shown: a course -> (r,) what is drawn of its best f; NaN for nothing.
        scale: of the axis: "log", "symlog" or "linear".
        bar: drawn as a horizontal line; NaN for none.
    """

    title: str
    shown: Callable[[Course], Array]
    scale: str
    bar: float = np.nan


def choose_values(courses: Sequence[Course]) -> Values:
    """What to show of f: the distance to the optimum where it is known, else f itself where a
    logarithmic axis can hold it, else the distance to the best value of all runs."""
    what = "best f" if courses[0].n_obj == 1 else "hypervolume"
    each = [c.history.f[np.isfinite(c.history.f)] for c in courses]
    f = np.concatenate(each)
    sign = -1.0 if courses[0].maximize else 1.0
    targets = {c.target for c in courses if np.isfinite(c.target)}
    target = targets.pop() if len(targets) == 1 else np.nan
    if all(np.isfinite(c.f_opt) for c in courses):
        return Values(
            "best f - f_opt", lambda c: _positive(c.history.f - c.f_opt), "log", COCO_PRECISION
        )
    if f.size == 0:
        return Values(f"{what}: no evaluation succeeded", lambda c: c.history.f, "linear")
    low, high = float(f.min()), float(f.max())
    if low >= 0 and high >= WIDE * float(f[f > 0].min(initial=np.inf)):
        bar = target if target > 0 else np.nan
        return Values(what, lambda c: _positive(c.history.f), "log", bar)
    start = max(abs(float(own[0])) for own in each if own.size)
    if low <= 0 and max(abs(low), abs(high)) > WIDE * max(1.0, start):
        return Values(what, lambda c: c.history.f, "symlog", target)  # it runs away
    best = sign * float((sign * f).min())
    gaps = np.abs(f - best)[f != best]
    if gaps.size and gaps.max() >= WIDE * gaps.min():
        which = "final value" if len(courses) == 1 else "best of all"
        return Values(
            f"{_distance(what, best, sign)} ({which})",
            lambda c: _positive(sign * (c.history.f - best)),
            "log",
        )
    return Values(what, lambda c: c.history.f, "linear", target)


def _distance(what: str, best: float, sign: float) -> str:
    """The distance of a value to the best one, in words."""
    if sign < 0:
        return f"{best:.6g} - {what}"
    return f"{what} - {best:.6g}" if best >= 0 else f"{what} + {-best:.6g}"


def _positive(y: Array) -> Array:
    """What a logarithmic axis can show."""
    return np.where(y > 0, y, np.nan)

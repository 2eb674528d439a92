"""What a search is to reach: how many objectives, which of them upwards, from where they count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.checks import check_count, check_positive, check_target, refuse
from evoopt.hypervolume import moocore
from evoopt.problem import Problem, sign_of
from evoopt.settings import Settings

Array = NDArray[np.float64]

_OWN_VOLUME = 2  # objectives up to which the hypervolume is computed here


class Goal(NamedTuple):
    """What is to be reached.

    Attributes:
        n_obj: number of objectives.
        maximize: all objectives, or each by itself.
        reference: (n_obj,) point of the hypervolume, as minimised; None where none was given.
        target: as minimised, minus the hypervolume with several objectives; -inf for none.
    """

    n_obj: int
    maximize: bool | tuple[bool, ...]
    reference: Array | None
    target: float


def goal_of(problem: Problem, s: Settings) -> Goal:
    """The goal of these settings.

    Raises:
        ConfigurationError: objectives, maximize, reference or target cannot be used.
        MissingDependencyError: nothing can compute the hypervolume of so many objectives.
    """
    n_obj, owner = problem.n_obj, s.owner
    if s.objectives is not None and s.objectives != n_obj:
        raise refuse(owner, "objectives", f"{n_obj}, as the problem has them", s.objectives)
    maximize = check_maximize(s.maximize, n_obj, owner)
    sign = sign_of(maximize)
    reference = None
    if s.reference is not None:
        reference = sign * _reference(s.reference, n_obj, owner)
    if n_obj > _OWN_VOLUME:
        moocore()  # missing at the end of the search would be too late
    if s.target is None:
        return Goal(n_obj, maximize, reference, -math.inf)
    if n_obj == 1:
        return Goal(n_obj, maximize, reference, sign * check_target(s.target, owner))
    if reference is None:
        expected = "left out without a reference: it is the hypervolume to be reached"
        raise refuse(owner, "target", expected, s.target)
    volume = check_positive(s.target, owner, "target", ", the hypervolume to be reached")
    return Goal(n_obj, maximize, reference, -volume)


def objectives_of(objectives: Any, maximize: Any, reference: Any, owner: str) -> int | None:
    """How many objectives the words of a user say, by themselves or by their lengths; None where
    they do not.

    Raises:
        ConfigurationError: that is no whole number >= 1.
    """
    if objectives is not None:
        return check_count(objectives, owner, "objectives")
    for word in (reference, maximize):
        if _is_row(word) and len(word) > 1:
            return len(word)
    return None


def check_maximize(value: Any, n_obj: int, owner: str) -> bool | tuple[bool, ...]:
    """True or false, or one of them per objective."""
    if not _is_row(value):
        return bool(value)
    if n_obj == 1:
        raise refuse(owner, "maximize", "true or false with one objective", value)
    if len(value) != n_obj or not all(isinstance(v, bool | np.bool_) for v in value):
        raise refuse(owner, "maximize", f"true or false, or one per objective ({n_obj})", value)
    return tuple(bool(v) for v in value)


def _reference(value: Any, n_obj: int, owner: str) -> Array:
    """(n_obj,) as given."""
    if n_obj == 1:
        raise refuse(owner, "reference", "left out with one objective", value)
    expected = f"{n_obj} finite numbers, one per objective"
    try:
        point = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise refuse(owner, "reference", expected, value) from None
    if point.shape != (n_obj,) or not np.isfinite(point).all():
        raise refuse(owner, "reference", expected, value)
    return point


def _is_row(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)

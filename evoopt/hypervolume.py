"""Hypervolume, contributions and distances of sets of objective rows; all objectives are minimised.

Two objectives are computed here; three and more by moocore (extra `hv`), loaded when it is needed.
Rows that are not finite count for nothing.

Source: Guerreiro, Fonseca & Paquete, The Hypervolume Indicator, doi:10.1145/3453474, for the
hypervolume and contributions; Toure et al., arXiv:1904.08823, for the distance, there of the
uncrowded hypervolume improvement.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import missing

Array = NDArray[np.float64]


def nondominated(F: Array) -> NDArray[np.bool_]:
    """(k,) which rows no other row dominates; of equal rows the first, of NaN and inf none.

    Args:
        F: (k, m) values.
    """
    rows = np.flatnonzero(np.isfinite(F).all(axis=1))
    if F.shape[1] == 2:
        rows = rows[np.lexsort((F[rows, 1], F[rows, 0]))]  # stable: the first of equal ones leads
        f2 = F[rows, 1]
        lowest = np.minimum.accumulate(np.concatenate(([np.inf], f2)))[:-1]
        rows = rows[f2 < lowest]
    elif rows.size:
        rows = rows[moocore().is_nondominated(F[rows], keep_weakly=False)]
    mask = np.zeros(len(F), dtype=np.bool_)
    mask[rows] = True
    return mask


def hypervolume(F: Array, reference: Array) -> float:
    """Volume of what the rows dominate below the reference point.

    Args:
        F: (k, m) values, dominated ones, too.
        reference: (m,), finite.
    """
    F = F[(F < reference).all(axis=1)]
    F = F[nondominated(F)]
    if not len(F):
        return 0.0
    if F.shape[1] == 2:
        with np.errstate(over="ignore"):  # of values beyond 1e154: inf
            width, height = _strips(F[np.argsort(F[:, 0])], reference)
            return math.fsum(width * height)
    return float(moocore().hypervolume(F, ref=reference))


def contributions(F: Array, reference: Array | None = None) -> Array:
    """(k,) what the hypervolume would lose without each row.

    Args:
        F: (k, m) mutually non-dominated rows.
        reference: (m,); rows beyond it contribute 0. None: without one the extremes of two
            objectives contribute inf, and all rows of more objectives NaN.
    """
    k, m = F.shape
    if m > 2:
        return np.full(k, np.nan) if reference is None else _many_contributions(F, reference)
    end = np.full(2, np.inf) if reference is None else reference
    order = np.argsort(F[:, 0])
    f1, f2 = F[order].T
    right = np.minimum(np.append(f1[1:], np.inf), end[0])
    left = np.minimum(np.concatenate(([np.inf], f2[:-1])), end[1])
    found = np.empty(k)
    found[order] = np.maximum(right - f1, 0.0) * np.maximum(left - f2, 0.0)
    return found


def distance(f: Array, F: Array, reference: Array | None = None) -> float:
    """Euclidean distance of f to where it would be wanted: dominated by no row, nor beyond the
    reference point; 0 where it is.

    Args:
        f: (m,) a point, finite.
        F: (k, m) mutually non-dominated rows.
        reference: (m,) or None.
    """
    steps = np.zeros(len(f)) if reference is None else np.maximum(f - reference, 0.0)
    needed = f - F  # at least one entry of each row is to be covered by a step in its direction
    needed = needed[(needed > steps).all(axis=1)]
    return math.sqrt(_least_square(needed, steps, math.inf))


def _least_square(needed: Array, steps: Array, bound: float) -> float:
    """Least squared length of steps that cover an entry of each row, or `bound` if none is below.

    The first step covers the rows from one of them on, in the falling order of their first entries;
    those before it are left to the other steps: k^(m - 1) cases, most cut off by the bound.
    """
    needed = needed[np.argsort(-needed[:, 0])]
    firsts = np.append(needed[:, 0], steps[0])
    if len(steps) == 2:
        seconds = np.maximum.accumulate(np.concatenate((steps[1:], needed[:, 1])))
        return min(bound, float((firsts * firsts + seconds * seconds).min()))
    for i, first in enumerate(firsts.tolist()):
        if first * first < bound:
            rest = needed[:i, 1:]
            rest = rest[(rest > steps[1:]).all(axis=1)]
            square = first * first
            bound = square + _least_square(rest, steps[1:], bound - square)
    return bound


def _strips(F: Array, reference: Array) -> tuple[Array, Array]:
    """Widths and heights of the strips below the reference. F: (k, 2) front inside, by f1."""
    return np.append(F[1:, 0], reference[0]) - F[:, 0], reference[1] - F[:, 1]


def _many_contributions(F: Array, reference: Array) -> Array:
    """Of three and more objectives; 0 for rows beyond the reference point."""
    found = np.zeros(len(F))
    inside = (F < reference).all(axis=1)
    if inside.any():
        found[inside] = moocore().hv_contributions(F[inside], ref=reference)
    return found


def moocore() -> Any:
    """The package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import moocore as package
    except ImportError as error:
        raise missing("moocore", "hv", "the hypervolume of three and more objectives") from error
    return package

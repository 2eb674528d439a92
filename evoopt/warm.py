"""Warm start: the first distribution of a search from points and values of an earlier one.

Source: M. Nomura, S. Watanabe, Y. Akimoto, Y. Ozaki, M. Onishi, Warm Starting CMA-ES for
Hyperparameter Optimization, AAAI 2021, arXiv:2012.06932, Sec. 4: the Gaussian nearest, in the sense
of Kullback and Leibler, to a mixture of small isotropic ones around the best points.
Differences from the source: the points are seen as the strategy sees them, through the transform of
the bounds and in units of the first step sizes, instead of scaled to the unit box; with one width
for all variables the two are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.bounds import Transform
from evoopt.checks import refuse, shown
from evoopt.errors import ConfigurationError
from evoopt.goal import Goal
from evoopt.objective import values_shape
from evoopt.problem import sign_of

Array = NDArray[np.float64]

BEST_SHARE = 0.1  # gamma of the source: the share of the points that counts
SMOOTHING = 0.1  # alpha of the source, in units of the width of the box


def check_warm_start(given: Any, dim: int, goal: Goal, owner: str) -> tuple[Array, Array]:
    """Points (k, dim), and their values (k,) or (k, n_obj) as minimised, failed evaluations left
    out.

    Raises:
        ConfigurationError: they are no such thing, or no evaluation has succeeded.
    """
    of_values = "(k,)" if goal.n_obj == 1 else f"(k, {goal.n_obj})"
    expected = f"(X, F) with X of shape (k, {dim}) and F of shape {of_values}"
    try:
        X, F = (np.array(part, dtype=np.float64) for part in given)
    except (TypeError, ValueError):
        raise refuse(owner, "warm_start", expected, given) from None
    if X.ndim != 2 or X.shape[1] != dim or F.shape != values_shape(len(X), goal.n_obj):
        got = f"shapes {X.shape} and {F.shape}{_of_several(X, F, dim, goal.n_obj)}"
        raise ConfigurationError(f"{owner}(warm_start=...) must be {expected}; got {got}")
    good = np.isfinite(F) if goal.n_obj == 1 else np.isfinite(F).all(axis=1)
    if not good.any() or not np.isfinite(X).all():
        what = "no finite value" if not good.any() else "a point that is not finite"
        raise ConfigurationError(
            f"{owner}(warm_start=...) must hold finite points and a finite value; got {what}"
        )
    return X[good], sign_of(goal.maximize) * F[good]


def _of_several(X: Array, F: Array, dim: int, n_obj: int) -> str:
    """A way out, where the points have values of another number of objectives; of a file the
    columns before the last n_obj ones were taken for coordinates. X, F: of any shape."""
    if X.ndim != 2 or F.shape[:1] != X.shape[:1]:
        return ""
    columns = X.shape[1] + (1 if F.ndim == 1 else F.shape[1])
    others = columns - dim
    return f"; for {others} objectives say objectives={others}" if others > 1 else ""


def balanced(X: Array, F: Array) -> tuple[Array, tuple[str, ...]]:
    """The point between several objectives from which a search goes on, and a note: that of the
    least sum of values, each in units of its range.

    X: (k, dim) points. F: (k, n_obj) finite values.
    """
    low, high = F.min(axis=0), F.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    best = int(((F - low) / width).sum(axis=1).argmin())
    return X[best].copy(), (f"x0 and the first front from {len(F)} evaluations",)


def dim_of(given: Any, bounds: Any) -> int | None:
    """How many variables the points of a warm start have; None where bounds say so, without one, or
    if it has no such form, which `check_warm_start` then says."""
    if bounds is not None:
        return None
    try:
        rows, dim = np.shape(given[0])
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    return dim if rows else None


def check_inside(X: Array, lower: Array, upper: Array, owner: str) -> None:
    """Refuses points outside the box. X: (k, dim)."""
    outside = np.argwhere((lower > X) | (upper < X))
    if len(outside):
        row, i = outside[0]
        raise ConfigurationError(
            f"{owner}(warm_start=...) must lie within the bounds; got X[{row}, {i}]="
            f"{shown(float(X[row, i]))} outside [{lower[i]:g}, {upper[i]:g}]"
        )


def first_distribution(
    X: Array, F: Array, lower: Array, upper: Array, sigma: Array, share: float
) -> tuple[Array, Array]:
    """Where to begin, and the shape of the first steps.

    Args:
        X: (k, dim) points. F: (k,) finite values, the smallest are the best.
        lower, upper: (dim,) the box.
        sigma: (dim,) first step sizes without a warm start, `share` times the width each.
        share: of the width.

    Returns:
        x0: (dim,), shape: (free, free) covariance in units of sigma, on the coordinates with
        lower < upper.
    """
    free = lower < upper
    transform = Transform.of(lower[free], upper[free])
    best = np.argsort(F, kind="stable")[: max(1, int(BEST_SHARE * len(F)))]
    U = transform.from_box(X[best][:, free]) / sigma[free]
    mean = U.mean(axis=0)
    Y = U - mean
    shape = Y.T @ Y / len(U) + (SMOOTHING / share) ** 2 * np.eye(U.shape[1])
    x0 = lower.copy()
    x0[free] = transform.to_box((mean * sigma[free])[None])[0]
    return x0, shape

"""Boxes, and the C1 transform that lets an unbounded method search one.

Source of the transform: pycma 4.5 (BoundTransform, the default boundary handling there); the
literal form, case by case, is in tests/reference. Identity inside, but for a margin
a = min(width / 2, max(1, |bound|) / 20) on either side of each bound, where it is quadratic;
beyond, the image turns back, so that every point of R^n has one in the box, and equal steps stay
equal over most of it. Differences from the source: one-sided bounds reflect once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.checks import shown
from evoopt.errors import ConfigurationError

Array = NDArray[np.float64]

WIDEST = 1e150  # the transform and the search square lengths


@dataclass(frozen=True, slots=True)
class Transform:
    """The C1 transform of one box, coordinate by coordinate.

    Attributes:
        lower, upper: (dim,) the box; -inf and inf where there is no bound.
        low, high: (dim,) margins at the lower and the upper bound.
    """

    lower: Array
    upper: Array
    low: Array
    high: Array

    @staticmethod
    def of(lower: Array, upper: Array) -> Transform:
        """The transform of the box; lower < upper, (dim,) each."""
        half = (upper - lower) / 2
        with np.errstate(invalid="ignore"):
            low = np.minimum(half, np.maximum(1.0, np.abs(lower)) / 20)
            high = np.minimum(half, np.maximum(1.0, np.abs(upper)) / 20)
        unbounded_low, unbounded_high = np.isinf(lower), np.isinf(upper)
        low[unbounded_low], high[unbounded_high] = 0.0, 0.0
        return Transform(lower, upper, low, high)

    @staticmethod
    def without_margins(lower: Array, upper: Array) -> Transform:
        """The identity in the box, and a reflection outside; lower < upper, (dim,) each."""
        return Transform(lower, upper, np.zeros_like(lower), np.zeros_like(upper))

    def to_box(self, U: Array) -> Array:
        """Points of R^n into the box. U: (k, dim). Returns: (k, dim), never outside."""
        inner_low, inner_high = self.lower + self.low, self.upper - self.high
        if (inner_low <= U).all() and (inner_high >= U).all():
            return U.copy()
        X = self._fold(U)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # where not chosen
            at_low = self.lower + (X - (self.lower - self.low)) ** 2 / (4 * self.low)
            at_high = self.upper - (X - (self.upper + self.high)) ** 2 / (4 * self.high)
        X = np.where(inner_low > X, at_low, np.where(inner_high < X, at_high, X))
        return np.clip(X, self.lower, self.upper)  # rounding only

    def from_box(self, X: Array) -> Array:
        """The nearest origin of points in the box. X: (k, dim). Returns: (k, dim)."""
        with np.errstate(invalid="ignore"):
            at_low = (self.lower - self.low) + 2 * np.sqrt(self.low * (X - self.lower))
            at_high = (self.upper + self.high) - 2 * np.sqrt(self.high * (self.upper - X))
        inner_low, inner_high = self.lower + self.low, self.upper - self.high
        return np.where(inner_low > X, at_low, np.where(inner_high < X, at_high, X))

    def _fold(self, U: Array) -> Array:
        """Points of R^n into [lower - low, upper + high], by reflection at its ends."""
        start, end = self.lower - self.low, self.upper + self.high
        both = np.isfinite(start) & np.isfinite(end)
        with np.errstate(invalid="ignore"):
            period = np.where(both, 2 * (end - start), 1.0)
            phase = np.where(both, np.mod(U - np.where(both, start, 0.0), period), 0.0)
            twice = start + np.minimum(phase, period - phase)
        inside = (start <= U) & (end >= U)
        once = np.where(start > U, start + (start - U), np.where(end < U, end - (U - end), U))
        return np.where(inside, U, np.where(both, twice, once))


def check_bounds(bounds: Any, dim: int | None, owner: str = "minimize") -> tuple[Array, Array]:
    """Lower and upper bounds from what a user may give.

    Args:
        bounds: None, a pair (lower, upper) of numbers or (dim,) sequences, or (dim,) pairs; None,
            -inf and inf stand for no bound. For two variables, two pairs are read in the way that
            leaves room between the bounds; if both ways do, they are refused.
        dim: number of variables, or None to take it from bounds.
        owner: the function that the message names.

    Returns:
        lower, upper: (dim,).

    Raises:
        ConfigurationError: wrong shape, NaN, lower > upper, or a width beyond float64.
    """
    if bounds is None:
        if dim is None:
            raise ConfigurationError(f"{owner}(...) needs x0 or bounds to know the dimension")
        return np.full(dim, -np.inf), np.full(dim, np.inf)
    raw = _pair(bounds, owner)
    n = max(side.size for side in raw) if dim is None else dim
    lower, upper = (_side(side, n, bounds, owner) for side in raw)
    wrong = np.flatnonzero(lower > upper)
    if wrong.size:
        i = int(wrong[0])
        raise ConfigurationError(
            f"{owner}(bounds=...) must have lower <= upper; "
            f"got lower[{i}]={lower[i]:g} > upper[{i}]={upper[i]:g}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        too_wide = np.isfinite(lower) & np.isfinite(upper) & ~(upper - lower <= WIDEST)
    if too_wide.any() or (lower == np.inf).any() or (upper == -np.inf).any():
        raise ConfigurationError(
            f"{owner}(bounds=...) must be no wider than {WIDEST:g}, or -inf and inf for no bound; "
            f"got {shown(bounds)}"
        )
    return lower, upper


def _pair(bounds: Any, owner: str) -> tuple[Array, Array]:
    """The two sides as given, each (1,) or (dim,)."""
    try:
        rows = list(bounds)
        turned = list(zip(*rows, strict=True)) if all(np.size(r) == 2 for r in rows) else []
        # two arrays are lower and upper whatever they hold; the rows of one array may be either
        clear = not isinstance(bounds, np.ndarray) and all(isinstance(r, np.ndarray) for r in rows)
        if len(rows) != 2 or (_is_box(turned) and not clear):
            if _is_box(rows):
                raise ConfigurationError(
                    f"{owner}(bounds=...) of two variables can be read in two ways; give lower and "
                    f"upper bounds as numpy arrays; got {shown(bounds)}"
                )
            rows = turned
        lower, upper = rows
        return _numbers(lower, -np.inf), _numbers(upper, np.inf)
    except ConfigurationError:  # which is a ValueError
        raise
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{owner}(bounds=...) must be (lower, upper) or one such pair per variable; "
            f"got {shown(bounds)}"
        ) from None


def _is_box(rows: list[Any]) -> bool:
    """Whether two rows of two read as lower and upper bounds that leave room in between."""
    if len(rows) != 2 or np.size(rows[0]) != 2 or np.size(rows[1]) != 2:
        return False
    return bool((_numbers(rows[0], -np.inf) < _numbers(rows[1], np.inf)).all())


def _numbers(side: Any, none: float) -> Array:
    if np.ndim(side) == 0:
        side = [side]
    if any(isinstance(v, str) for v in side):
        raise ValueError
    bound = np.array([none if v is None else v for v in side], dtype=np.float64)
    if bound.ndim != 1:
        raise ValueError
    return bound


def _side(side: Array, n: int, bounds: Any, owner: str) -> Array:
    if np.isnan(side).any():
        raise ConfigurationError(f"{owner}(bounds=...) must not contain NaN; got {shown(bounds)}")
    if side.size == 1:
        return np.full(n, side[0])
    if side.size != n:
        raise ConfigurationError(
            f"{owner}(bounds=...) must have one entry per variable ({n}); got {side.size}"
        )
    return side

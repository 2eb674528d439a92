"""The C1 boundary transform of one coordinate, case by case.

Source: pycma, `BoundTransform` (N. Hansen): identity inside, quadratic near a bound, reflected at
the end of the quadratic piece, periodic beyond.
"""

from __future__ import annotations

import math


def margins(lower, upper):
    """Half widths of the quadratic pieces at the lower and at the upper bound."""
    a_lower = min((upper - lower) / 2, max(1.0, abs(lower)) / 20) if lower > -math.inf else 0.0
    a_upper = min((upper - lower) / 2, max(1.0, abs(upper)) / 20) if upper < math.inf else 0.0
    return a_lower, a_upper


def repair(x, lower, upper):
    """Any x into the interval [lower - a_lower, upper + a_upper], where `inside` is monotone."""
    a_lower, a_upper = margins(lower, upper)
    left, right = lower - a_lower, upper + a_upper
    if left == -math.inf and right == math.inf:
        return x
    if left > -math.inf and right == math.inf:
        return left + (left - x) if x < left else x
    if left == -math.inf and right < math.inf:
        return right - (x - right) if x > right else x
    period = 2 * (upper - lower + a_lower + a_upper)
    start = lower - 2 * a_lower - (upper - lower) / 2
    if x < start or x > start + period:
        x = x - period * math.floor((x - start) / period)
    if x > right:
        x = right - (x - right)
    if x < left:
        x = left + (left - x)
    return x


def inside(x, lower, upper):
    """From [lower - a_lower, upper + a_upper] onto [lower, upper]."""
    a_lower, a_upper = margins(lower, upper)
    if lower > -math.inf and x < lower + a_lower:
        return lower + (x - (lower - a_lower)) ** 2 / (4 * a_lower)
    if upper < math.inf and x > upper - a_upper:
        return upper - (x - (upper + a_upper)) ** 2 / (4 * a_upper)
    return x


def transform(x, lower, upper):
    """From any x onto [lower, upper]."""
    return inside(repair(x, lower, upper), lower, upper)


def inverse(y, lower, upper):
    """The x of [lower - a_lower, upper + a_upper] that `transform` sends to y in [lower, upper]."""
    a_lower, a_upper = margins(lower, upper)
    if lower > -math.inf and y < lower + a_lower:
        return lower - a_lower + 2 * math.sqrt(a_lower * (y - lower))
    if upper < math.inf and y > upper - a_upper:
        return upper + a_upper - 2 * math.sqrt(a_upper * (upper - y))
    return y

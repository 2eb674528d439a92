"""Where a search begins: the first point, the first step sizes, and the box of later starts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.checks import check_sigma, check_start, refuse
from evoopt.errors import ConfigurationError
from evoopt.goal import Goal
from evoopt.settings import Settings
from evoopt.warm import balanced, check_inside, check_warm_start, first_distribution

Array = NDArray[np.float64]

SIGMA_SHARE = 0.2  # of the width of the box: a fifth, so that +-2.5 sigma span it
SIGMA_MOST = 1e100  # squares of steps stay finite
SIGMA_WIDTHS = 1e3  # of the box: beyond it, samples are uniform in the box whatever sigma is
_START_PATH = (-1,)  # stream of random numbers of the first start


class Start(NamedTuple):
    """Where a search begins.

    Attributes:
        x0: (dim,). sigma0: the largest of the first step sizes.
        scale: (dim,) the step sizes are multiples of it, or None for 1.
        shape: covariance of the first steps, in units of sigma0 and scale, on the coordinates with
            lower < upper; None for the identity.
        lower, upper: (dim,) box of later starts, or None.
        notes: what was chosen for the user.
        known: points (k, dim) and values (k, n_obj), as minimised, that a search with several
            objectives begins with; None without.
    """

    x0: Array
    sigma0: float
    scale: Array | None
    shape: Array | None
    lower: Array | None
    upper: Array | None
    notes: tuple[str, ...]
    known: tuple[Array, Array] | None = None


def starting(s: Settings, lower: Array, upper: Array, seed: int, goal: Goal) -> Start:
    """The start of a search in the box. lower, upper: (dim,).

    Raises:
        ConfigurationError: x0, sigma0 or warm_start cannot be used.
    """
    box = _start_box(s, lower, upper)
    known = None
    if s.warm_start is not None and goal.n_obj > 1:
        known = check_warm_start(s.warm_start, len(lower), goal, s.owner)
        check_inside(known[0], lower, upper, s.owner)
        given = s.x0 is not None
        x0, notes = _start(s, len(lower), lower, upper, box, seed) if given else balanced(*known)
        sigma, notes = _sigma(s, x0, lower, upper, notes)
        shape = None
    elif s.warm_start is None:
        x0, notes = _start(s, len(lower), lower, upper, box, seed)
        sigma, notes = _sigma(s, x0, lower, upper, notes)
        shape = None
    else:
        x0, sigma, shape, notes = _warm(s, lower, upper, goal)
    sigma0 = float(sigma.max())
    scale = None if (sigma == sigma0).all() else sigma / sigma0
    return Start(x0, sigma0, scale, shape, *box, notes, known)


def _warm(
    s: Settings, lower: Array, upper: Array, goal: Goal
) -> tuple[Array, Array, Array, tuple[str, ...]]:
    """x0, step sizes, the shape of the first steps, and notes, from an earlier search."""
    if s.x0 is not None:
        raise refuse(s.owner, "x0", "left out with warm_start, which tells where to begin", s.x0)
    X, F = check_warm_start(s.warm_start, len(lower), goal, s.owner)
    check_inside(X, lower, upper, s.owner)
    sigma, notes = _sigma(s, X[F.argmin()], lower, upper, ())
    x0, shape = first_distribution(X, F, lower, upper, sigma, SIGMA_SHARE)
    return x0, sigma, shape, (f"x0 and the first covariance from {len(F)} evaluations", *notes)


def _start_box(s: Settings, lower: Array, upper: Array) -> tuple[Array | None, Array | None]:
    """Where restarts begin: the start box, the bounds if they are finite, or nowhere."""
    if s.start_lower is not None and s.start_upper is not None:
        return np.array(s.start_lower, dtype=float), np.array(s.start_upper, dtype=float)
    if np.isfinite(lower).all() and np.isfinite(upper).all():
        return lower, upper
    return None, None


def _start(
    s: Settings,
    dim: int,
    lower: Array,
    upper: Array,
    box: tuple[Array | None, Array | None],
    seed: int,
) -> tuple[Array, tuple[str, ...]]:
    """x0 as given, drawn from the start box, or the centre of the bounds; and notes."""
    if s.x0 is not None:
        x0 = check_start(s.x0, s.owner)
        if len(x0) != dim:
            raise refuse(s.owner, "x0", f"of length {dim}", s.x0)
        outside = np.flatnonzero((x0 < lower) | (x0 > upper))
        if outside.size:
            i = int(outside[0])
            raise ConfigurationError(
                f"{s.owner}(x0=...) must lie within the bounds; "
                f"got x0[{i}]={x0[i]:g} outside [{lower[i]:g}, {upper[i]:g}]"
            )
        return x0, ()
    if box[0] is None or box[1] is None:
        raise ConfigurationError(
            f"{s.owner}(x0=...) must be given where a variable has no finite bounds, or "
            f"{s.owner}(bounds=...) of every variable; got none"
        )
    if s.start_lower is not None:
        u = rng.uniforms(seed, _START_PATH, 0, 1, dim)[0]
        return box[0] * (1 - u) + box[1] * u, ()
    return box[0] / 2 + box[1] / 2, ("x0 is the centre of the bounds",)


def _sigma(
    s: Settings, x0: Array, lower: Array, upper: Array, notes: tuple[str, ...]
) -> tuple[Array, tuple[str, ...]]:
    """(dim,) initial step sizes as given, or a fifth of the width, or of the size of x0."""
    if s.sigma0 is not None:
        return _reaching(s, check_sigma(s.sigma0, len(x0), s.owner), x0, lower, upper), notes
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(upper - lower), upper - lower, np.maximum(1.0, abs(x0)))
    sigma = SIGMA_SHARE * np.where(width > 0, width, width.max())
    shown = f"{sigma[0]:g}" if (sigma == sigma[0]).all() else "one per variable"
    of = "the width of the bounds" if np.isfinite(upper - lower).all() else "max(1, |x0|)"
    return sigma, (*notes, f"sigma0={shown} ({SIGMA_SHARE:g} of {of})")


def _reaching(s: Settings, sigma: Array, x0: Array, lower: Array, upper: Array) -> Array:
    """The step sizes, if they neither vanish against x0 nor dwarf what is searched."""
    free = lower < upper
    lost = np.flatnonzero(free & (x0 + sigma == x0))
    if lost.size:
        expected = f"large enough to change x0[{lost[0]}]={x0[lost[0]]:g}"
        raise refuse(s.owner, "sigma0", expected, s.sigma0)
    with np.errstate(over="ignore", invalid="ignore"):
        most = min(SIGMA_MOST, SIGMA_WIDTHS * float((upper - lower)[free].max()))
    if (sigma[free] > most).any():
        raise refuse(s.owner, "sigma0", f"at most {most:g}, of the size of the region", s.sigma0)
    return sigma

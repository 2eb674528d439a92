"""A quadratic model through a few points, and the steps that a trust region takes with it.

All coordinates here are relative, s = (x - x_best) / unit, with the median distance of the points
for the unit: the equations hold fourth powers of lengths.

Source: M. J. D. Powell, The NEWUOA software for unconstrained optimization without derivatives,
DAMTP 2004/NA05 and in Large-Scale Nonlinear Optimization, Springer 2006,
doi:10.1007/0-387-30065-1_16: of all quadratics through the points, the one whose Hessian differs
least from the last one in the Frobenius norm (Secs. 1, 3); Lagrange functions (Sec. 3). The step in
the ball is that of J. J. More & D. C. Sorensen, Computing a trust region step, SIAM J. Sci. Stat.
Comput. 4(3), 1983, doi:10.1137/0904038, with eigenvalues at hand.
Differences from the source: with fewer than 2n+1 points there is no last Hessian; the new one is
h I + E with h free and E least, so that n+2 points solve a sphere. The system of equations is
inverted anew at each step: O(n^3), a tenth of a millisecond at n = 20.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CLOSE = 1e-3  # relative error of the length of a step on the edge of the ball
_MOST_ITERATIONS = 60  # of Newton's method for the multiplier; 3 to 6 are usual
_FLAT = 1e-12  # curvature against slope below which a model counts as linear
_FAMILIAR = 512  # exponent of a model beyond which it is divided by a power of two
_SHIFT = 1e-10  # of the curvature: how near the multiplier comes to its pole


class Model(NamedTuple):
    """f_best + g s + s H s / 2, and what its interpolation knows.

    Attributes:
        best: row of the best point. unit: length of 1.
        S: (m, n) the points, relative.
        g: (n,) slope. H: (n, n) Hessian.
        curvatures, axes: eigenvalues (n,) of H, ascending, and eigenvectors (n, n) as columns.
        inverse: (m + n + 1 or more, ...) of the interpolation equations: column t has the
            coefficients of the Lagrange function of point t.
    """

    best: int
    unit: float
    S: Array
    g: Array
    H: Array
    curvatures: Array
    axes: Array
    inverse: Array

    @property
    def diameter(self) -> float:
        """Distance of the farthest point from the best one, in units of x."""
        return self.unit * math.sqrt(float((self.S * self.S).sum(axis=1).max()))

    def change(self, s: Array) -> float:
        """The model at s, less its value at 0."""
        return float(self.g.dot(s) + 0.5 * s.dot(self.H).dot(s))

    def bend(self, s: Array) -> float:
        """Share of the curvature in the change at s, against that of the slope."""
        slope = abs(float(self.g.dot(s)))
        return abs(self.change(s) - float(self.g.dot(s))) / slope if slope > 0 else math.inf

    def step(self, radius: float) -> Array:
        """(n,) the minimum of the model in a ball. radius: in units of x."""
        r = radius / self.unit
        largest = max(float(np.abs(self.g).max()), float(np.abs(self.curvatures).max()))
        scale = 2.0 ** -max(0, math.frexp(largest)[1] - _FAMILIAR)  # exact, for what r does to it
        return r * ball_minimum(r * (scale * self.g), r**2 * (scale * self.curvatures), self.axes)

    def determinants_at(self, s: Array) -> tuple[Array, float]:
        """By how much the determinant of the equations would change with a point at s: for each of
        the points (m,) that it may replace, alpha beta + tau^2 of NEWUOA Sec. 4, and for the set
        with one point more, beta, in units of |s|^4 / 2, which is what a lonely point has."""
        m, n = self.S.shape
        w = np.zeros(len(self.inverse))
        w[:m] = 0.5 * self.S.dot(s) ** 2
        w[m] = 1.0
        w[m + 1 : m + 1 + n] = s
        if len(w) > m + 1 + n:
            w[-1] = 0.5 * s.dot(s)
        image = self.inverse.dot(w)
        lonely = 0.5 * float(s.dot(s)) ** 2
        beta = lonely - float(w.dot(image))
        replaced: Array = np.abs(self.inverse.diagonal()[:m] * beta + image[:m] ** 2)
        return replaced, abs(beta) / lonely if lonely > 0 else 0.0


def fitted(Y: Array, F: Array, H: Array) -> Model | None:
    """The model through the points Y: (m, n) with the finite values F: (m,).

    H: (n, n) the last Hessian, in units of Y. Returns None where the points determine no model.
    """
    m, n = Y.shape
    best = int(F.argmin())
    S = Y - Y[best]
    unit = math.sqrt(float(np.median((S * S).sum(axis=1))))
    if not 0 < unit < math.inf:
        return None
    S /= unit
    spherical = n + 1 < m < 2 * n + 1
    inverse = _inverse(S, spherical)
    if inverse is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # of values near the end of the range
        before = np.zeros((n, n)) if spherical else H * unit**2
        rest = (F - F[best]) - 0.5 * (S.dot(before) * S).sum(axis=1)
        solution = inverse[:, :m].dot(rest)
        after = before + (S.T * solution[:m]).dot(S)
    if spherical:
        after[np.diag_indices(n)] += solution[-1]
    g = solution[m + 1 : m + 1 + n]
    if not (np.isfinite(after).all() and np.isfinite(g).all()):
        return None
    curvatures, axes = np.linalg.eigh(after)
    return Model(best, unit, S, g, after, curvatures, axes, inverse)


def _inverse(S: Array, spherical: bool) -> Array | None:
    """Of the matrix of Eq. (3.10): kernels of the Hessian, then 1, s and, if spherical, |s|^2/2."""
    m, n = S.shape
    W = np.zeros((m + n + 1 + spherical, m + n + 1 + spherical))
    W[:m, :m] = 0.5 * S.dot(S.T) ** 2
    W[:m, m] = W[m, :m] = 1.0
    W[:m, m + 1 : m + 1 + n] = S
    W[m + 1 : m + 1 + n, :m] = S.T
    if spherical:
        W[:m, -1] = W[-1, :m] = 0.5 * (S * S).sum(axis=1)
    if not np.isfinite(W).all():
        return None
    try:
        return np.linalg.inv(W)
    except np.linalg.LinAlgError:  # points that coincide: the least of all solutions
        return np.linalg.pinv(W)


def ball_minimum(g: Array, curvatures: Array, axes: Array) -> Array:
    """(n,) minimum of g s + s H s / 2 over |s| <= 1.

    g: (n,); curvatures: (n,) eigenvalues of H, ascending; axes: (n, n) its eigenvectors as columns.
    """
    scale = max(abs(float(curvatures[0])), abs(float(curvatures[-1])))
    unit = max(scale, float(np.abs(g).max()))
    if unit == 0:
        return np.zeros_like(g)
    g, curvatures, scale = g / unit, curvatures / unit, scale / unit  # squares stay finite
    slope = g.dot(axes)
    length = math.sqrt(slope.dot(slope))
    if scale <= _FLAT * length:
        return -g / length
    if curvatures[0] > np.finfo(float).eps * scale:
        s = -slope / curvatures
        if s.dot(s) <= 1:
            return _along(axes, s)
    pole = max(0.0, -float(curvatures[0]))
    multiplier = pole + _SHIFT * scale
    s = -slope / (curvatures + multiplier)
    squared = float(s.dot(s))
    if squared < 1:  # the hard case: g has no part along the axis of least curvature
        s[0] += math.copysign(math.sqrt(1 - squared), s[0])
        return _along(axes, s / math.sqrt(s.dot(s)))
    for _ in range(_MOST_ITERATIONS):  # Newton's method for 1 / |s| = 1, which is nearly linear
        s = -slope / (curvatures + multiplier)
        squared = float(s.dot(s))
        length = math.sqrt(squared)
        if abs(length - 1) < _CLOSE:
            break
        multiplier += squared / float((s * s / (curvatures + multiplier)).sum()) * (length - 1)
        multiplier = max(multiplier, pole + _SHIFT * scale)
    return _along(axes, s)


def _along(axes: Array, s: Array) -> Array:
    step: Array = axes.dot(s)
    return step


def improving_step(S: Array, t: int) -> Array:
    """(n,) where in the unit ball the Lagrange function of point t is largest in absolute value:
    with point t moved there, the points determine a model best. S: (m, n), the best point at 0."""
    m = len(S)
    inverse = _inverse(S, spherical=False)
    assert inverse is not None  # the points made a model before
    column = inverse[:, t]
    g = column[m + 1 :]
    H = (S.T * column[:m]).dot(S)
    curvatures, axes = np.linalg.eigh(H)
    low = ball_minimum(g, curvatures, axes)
    high = ball_minimum(-g, -curvatures[::-1], axes[:, ::-1])
    size = [abs(float(column[m] + g.dot(s) + 0.5 * s.dot(H).dot(s))) for s in (low, high)]
    return low if size[0] >= size[1] else high

"""Quadratic models of two objectives on the same points, and the curve of their compromises.

A model is q(u) = c + g^T u + u^T H u / 2. The compromises of two models in a ball |u| <= R are the
minimisers of w q1 + (1 - w) q2, from w = 1, the least q1, to w = 0, the least q2: the Pareto set of
the models where these are convex.

Source: the trust-region step, J. J. More & D. C. Sorensen, Computing a trust region step, SIAM J.
Sci. Stat. Comput. 4(3), 1983, doi:10.1137/0904038; models of least curvature from few points, in
the spirit of M. J. D. Powell, Least Frobenius norm updating of quadratic models, Math. Program.
100, 2004, doi:10.1007/s10107-003-0490-7, here with a small ridge instead of interpolation.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_RIDGE = 1e-6  # on curvatures, in units of the points' spread and of the values' range
_RIDGE_SLOPE = 1e-8  # on slopes: they are fitted before curvatures are
_RIDGE_LEVEL = 1e-12  # on the constant
_FLAT = 1e-10  # of the largest curvature: what is below counts as none
_STEPS = 8  # of Newton's method: it converges from one side, and what is too long is cut
_TINY = 1e-300
# from the end of the least q1 to that of the least q2; closer together towards the ends, where the
# compromises move fastest with the weight
_WEIGHTS = np.array([0.999, 0.99, 0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05, 0.01, 0.001])
_REFINED = 1  # times that a weight is looked for between its neighbours


class Models(NamedTuple):
    """c: (2,), G: (2, n), H: (2, n, n)."""

    c: Array
    G: Array
    H: Array


@functools.lru_cache(maxsize=64)
def _upper(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n)


def fitted(U: Array, F: Array, weights: Array) -> Models:
    """The models that are closest to the values, and curved no more than they must be.

    Args:
        U: (k, n) points, of a spread of about 1.
        F: (k, 2) finite values.
        weights: (k,) of the points.

    Raises:
        numpy.linalg.LinAlgError: the points do not determine a model.
    """
    k, n = U.shape
    rows, cols = _upper(n)
    size = 1 + n + len(rows)
    A = np.empty((k, size))
    A[:, 0] = 1
    A[:, 1 : n + 1] = U
    np.multiply(U[:, rows], U[:, cols], out=A[:, n + 1 :])
    A *= weights[:, None]
    middle = F.mean(axis=0)
    width = np.abs(F - middle).max(axis=0) + _TINY
    B = (F - middle) / width * weights[:, None]
    ridge = np.full(size, _RIDGE)
    ridge[0], ridge[1 : n + 1] = _RIDGE_LEVEL, _RIDGE_SLOPE
    if k >= size:
        normal = A.T @ A
        normal.flat[:: size + 1] += ridge
        coefficients = np.linalg.solve(normal, A.T @ B)
    else:
        scaled = A / ridge
        gram = scaled @ A.T
        gram.flat[:: k + 1] += 1
        coefficients = scaled.T @ np.linalg.solve(gram, B)
    coefficients *= width
    coefficients[0] += middle
    H = np.zeros((2, n, n))
    H[:, rows, cols] = coefficients[n + 1 :].T
    H += H.transpose(0, 2, 1).copy()
    return Models(coefficients[0], np.ascontiguousarray(coefficients[1 : n + 1].T), H)


def compromises(models: Models, w: Array, radius: float) -> tuple[Array, Array]:
    """The minimisers of w q1 + (1 - w) q2 in the ball.

    w: (k,) in [0, 1]. Returns: points (k, n), and their values by the models (k, 2).
    """
    c, G, H = models
    v = 1 - w
    curvature, axes = np.linalg.eigh(w[:, None, None] * H[0] + v[:, None, None] * H[1])
    slope = _times(axes.transpose(0, 2, 1), w[:, None] * G[0] + v[:, None] * G[1])
    flat = _FLAT * np.abs(curvature).max(axis=1) + _TINY
    # two lower bounds of the multiplier: no component longer than the radius, and convex
    shift = np.maximum(0, (np.abs(slope) / radius - curvature).max(axis=1))
    shift = np.maximum(shift, flat - curvature[:, 0])
    for _ in range(_STEPS):
        bent = curvature + shift[:, None]
        step = slope / bent
        squares = step * step
        length2 = squares.sum(axis=1)
        length = np.sqrt(length2)
        over = length > radius * 1.0001  # a relative error that no evaluation would notice
        if not over.any():
            break
        slower = np.maximum((squares / bent).sum(axis=1), _TINY)
        shift = np.where(over, shift + (length / radius - 1) * length2 / slower, shift)
    step = slope / (curvature + shift[:, None])
    length = np.sqrt((step * step).sum(axis=1))
    step *= np.minimum(1, radius / np.maximum(length, _TINY))[:, None]
    U = -_times(axes, step)
    bends = ((U @ H) * U).sum(axis=2).T
    return U, c + U @ G.T + bends / 2


def _times(A: Array, V: Array) -> Array:
    """Matrices (k, n, n) by vectors (k, n)."""
    product: Array = (A @ V[:, :, None])[:, :, 0]
    return product


class Curve:
    """The compromises of two models in a ball."""

    def __init__(self, models: Models, radius: float) -> None:
        self._models, self._radius = models, radius
        _, Q = compromises(models, _WEIGHTS, radius)
        self._q1 = np.maximum.accumulate(Q[:, 0])  # rises along the weights, up to rounding

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest q1 on the curve."""
        return float(self._q1[0]), float(self._q1[-1])

    def at(self, q1: Array) -> Array:
        """The points of the curve at which the first model has these values, or the ends of the
        curve. q1: (k,). Returns: (k, n)."""
        weights, known = _WEIGHTS, self._q1
        w = np.interp(q1, known, weights)
        U, Q = compromises(self._models, w, self._radius)
        for _ in range(_REFINED):
            weights, known = np.append(weights, w), np.append(known, Q[:, 0])
            order = np.argsort(-weights, kind="stable")
            weights, known = weights[order], np.maximum.accumulate(known[order])
            w = np.interp(q1, known, weights)
            U, Q = compromises(self._models, w, self._radius)
        return U


def least(models: Models, w: float, radius: float) -> Array:
    """The minimiser of w q1 + (1 - w) q2 in the ball: (n,)."""
    U, _ = compromises(models, np.array([w]), radius)
    x: Array = U[0]
    return x

"""What a local search hands over to an evolution strategy: place, curvature and scale of a valley.

Source: the covariance that fits a quadratic function is its inverse Hessian, N. Hansen, The CMA
Evolution Strategy: A Tutorial, arXiv:1604.00772, Sec. 0.4; of the step size, see `distribution`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CONDITION = 1e6  # at most, of the curvature that is handed over
_LEAST_SIGMA = 1e-4  # times the full step size
_MOST_VOLUME = 700.0  # its exponential is finite: of values near the least number


class Valley(NamedTuple):
    """What a model knows of the place where it is, in the units of the strategy that has it.

    Attributes:
        H: (dim, dim) Hessian.
        spread: median less least f of the model's points.
        radius: of the model, in units of its first one.
    """

    H: Array
    spread: float
    radius: float


@runtime_checkable
class Local(Protocol):
    """A strategy that ends in a valley."""

    def valley(self, state: Any) -> Valley:
        """What it knows of the place where it is."""


@runtime_checkable
class Shaped(Protocol):
    """A strategy whose first distribution can be given."""

    def shaped(self, state: Any, shape: Array, sigma: float) -> Any:
        """A fresh state with the covariance sigma^2 shape. shape: (dim, dim), of determinant 1."""


def distribution(valley: Valley, sigma0: float) -> tuple[Array, float]:
    """Shape of determinant 1 and step size: C ~ 1 / H, and sigma such that a step ~ N(0, sigma^2 C)
    changes the quadratic by `spread` in the mean, sigma^2 dim / 2 = spread where C = 1 / H."""
    curvatures, axes = np.linalg.eigh(valley.H)
    curvatures = np.abs(curvatures)
    highest = float(curvatures.max())
    if not 0 < highest < math.inf:
        return np.eye(len(curvatures)), sigma0
    logs = -np.log(np.maximum(curvatures, highest / _CONDITION))
    volume = float(logs.mean())
    steps = math.exp(min(volume, _MOST_VOLUME))
    shape: Array = (axes * np.exp(logs - volume)) @ axes.T
    sigma = math.sqrt(2 * max(valley.spread, 0.0) / len(logs) * steps)
    return shape, min(max(sigma, _LEAST_SIGMA * sigma0), sigma0)

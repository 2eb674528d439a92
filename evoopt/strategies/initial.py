"""The first covariance of a search that knows something: from a matrix to axes of mean length 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Ellipsoid(NamedTuple):
    """A covariance matrix factor^2 C with det C = 1.

    Attributes:
        factor: of the step size.
        C: (dim, dim). B: (dim, dim) its eigenvectors as columns. D: (dim,) square roots of its
            eigenvalues, ascending; their geometric mean is 1.
    """

    factor: float
    C: Array
    B: Array
    D: Array


def ellipsoid(shape: Array | None, dim: int) -> Ellipsoid:
    """The axes of shape: (dim, dim) positive definite; None for the identity."""
    if shape is None:
        return Ellipsoid(1.0, np.eye(dim), np.eye(dim), np.ones(dim))
    values, B = np.linalg.eigh(shape)
    log_factor = 0.5 * float(np.log(values).mean())  # the determinant itself may overflow
    D = np.exp(0.5 * np.log(values) - log_factor)
    return Ellipsoid(float(np.exp(log_factor)), (B * D**2) @ B.T, B, D)

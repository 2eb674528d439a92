"""The objectives of the reference evaluations, row by row. Minimum 0, condition 1e6."""

from __future__ import annotations

import numpy as np


def sphere(x):
    return float((x**2).sum())


def cigar(x):
    return float(x[0] ** 2 + 1e6 * (x[1:] ** 2).sum())


def tablet(x):
    return float(1e6 * x[0] ** 2 + (x[1:] ** 2).sum())


def ellipsoid(x):
    n = len(x)
    return float((1e6 ** (np.arange(n) / max(1, n - 1)) * x**2).sum())


def different_powers(x):
    n = len(x)
    return float((np.abs(x) ** (2 + 4 * np.arange(n) / max(1, n - 1))).sum())


def rosenbrock(x):
    return float((100 * (x[:-1] ** 2 - x[1:]) ** 2 + (x[:-1] - 1) ** 2).sum())


def rotation(n, seed):
    """A random orthogonal matrix with determinant of either sign."""
    Q, R = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return Q * np.sign(np.diag(R))

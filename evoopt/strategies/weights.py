"""Recombination weights and learning rates, shared by the strategies with a full covariance.

The order of computation is a chain: popsize -> raw weights -> mu, mueff -> c_1, c_mu -> scale of
the negative weights.

Source: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772, Table 1.
Differences from the source: with active weights c_mu has the offset +1/4 of pycma
("rankmu_offset"); it matters at small mueff only (n = 2: c_mu 0.086 instead of 0.058).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError

Array = NDArray[np.float64]

MIN_POPSIZE = 2  # one parent and one row to be better than
_C_MU_MARGIN = 1e-8  # keeps c_1 + c_mu < 1 for very large popsize, where Eq. (58) reaches 1


@dataclass(frozen=True, slots=True)
class Recombination:
    """Weights and rates of one (dim, popsize).

    Attributes:
        weights: (popsize,) best first; the first mu sum to 1, the rest are <= 0 (0: not active).
        mu: number of parents, the rows with positive weight.
        mueff: variance-effective selection mass of the positive weights.
        c_sigma, d_sigma: rate and damping of the step size.
        c_c, c_1, c_mu: rates of the path, the rank-one and the rank-mu update.
        chi_n: expected length of an N(0, I) vector.
    """

    weights: Array
    mu: int
    mueff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi_n: float


def default_popsize(dim: int) -> int:
    """4 + floor(3 ln n), Eq. (48)."""
    return 4 + int(3 * math.log(dim))


def check_popsize(popsize: object, owner: str) -> int:
    """`popsize` as an int >= 2, or ConfigurationError in the words of `owner`."""
    if isinstance(popsize, bool) or not isinstance(popsize, int | np.integer):
        raise ConfigurationError(
            f"{owner}(popsize=...) must be a whole number >= {MIN_POPSIZE}; got {popsize!r}"
        )
    if popsize < MIN_POPSIZE:
        raise ConfigurationError(
            f"{owner}(popsize=...) must be at least {MIN_POPSIZE}; got {popsize}"
        )
    return int(popsize)


def recombination(dim: int, popsize: int, *, active: bool) -> Recombination:
    """Default weights and rates of Table 1 for `dim` variables and `popsize` candidates."""
    n, lam = dim, popsize
    mu = lam // 2
    raw = np.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1))  # Eq. (49)
    mueff = float(raw[:mu].sum() ** 2 / (raw[:mu] ** 2).sum())
    mueff_minus = float(raw[mu:].sum() ** 2 / (raw[mu:] ** 2).sum())
    c_1 = 2 / ((n + 1.3) ** 2 + mueff)  # Eq. (57)
    offset = 0.25 if active else 0.0
    c_mu = 2 * (offset + mueff - 2 + 1 / mueff) / ((n + 2) ** 2 + mueff)  # Eq. (58)
    c_mu = max(0.0, min(1 - c_1 - _C_MU_MARGIN, c_mu))
    weights = np.zeros(lam)
    weights[:mu] = raw[:mu] / raw[:mu].sum()  # Eq. (53)
    if active:
        mass = _negative_mass(n, c_1, c_mu, mueff, mueff_minus)
        weights[mu:] = raw[mu:] * mass / -raw[mu:].sum()
        weights[mu:] = np.minimum(weights[mu:], 0.0)  # the middle rank of an odd popsize is 0
    c_sigma = (mueff + 2) / (n + mueff + 5)  # Eq. (55)
    return Recombination(
        weights=weights,
        mu=mu,
        mueff=mueff,
        c_sigma=c_sigma,
        d_sigma=1 + 2 * max(0.0, math.sqrt((mueff - 1) / (n + 1)) - 1) + c_sigma,  # Eq. (55)
        c_c=(4 + mueff / n) / (n + 4 + 2 * mueff / n),  # Eq. (56)
        c_1=c_1,
        c_mu=c_mu,
        chi_n=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )


def _negative_mass(n: int, c_1: float, c_mu: float, mueff: float, mueff_minus: float) -> float:
    """Sum of the absolute negative weights; the last bound keeps C positive definite."""
    if c_mu == 0:
        return 0.0  # no rank-mu update, so that the weights would have no effect
    return min(
        1 + c_1 / c_mu,  # Eq. (50)
        1 + 2 * mueff_minus / (mueff + 2),  # Eq. (51)
        (1 - c_1 - c_mu) / (n * c_mu),  # Eq. (52)
    )

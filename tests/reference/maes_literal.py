"""MA-ES, transcribed line by line in its O(n^3) form.

Source: H.-G. Beyer and B. Sendhoff, Simplify Your Covariance Matrix Adaptation Evolution Strategy,
IEEE Transactions on Evolutionary Computation 21(5), 746-759, 2017, Fig. 3 (lines M1 to M12).
Active weights, which the paper does not have, enter as in the tutorial of CMA-ES
(arXiv:1604.00772): negative vectors get length sqrt(n), and the identity is taken off sum(w)
times. c_1 + c_w stays below 1 by 1e-8 for very large popsize.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np


def constants(n, popsize=None, active=True):
    c = SimpleNamespace(n=n)
    c.popsize = popsize if popsize is not None else 4 + math.floor(3 * math.log(n))
    c.mu = c.popsize // 2
    raw = [math.log((c.popsize + 1) / 2) - math.log(i) for i in range(1, c.popsize + 1)]
    best, rest = raw[: c.mu], raw[c.mu :]
    c.mueff = sum(best) ** 2 / sum(w**2 for w in best)
    c.chi_n = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
    c.c_sigma = (c.mueff + 2) / (c.mueff + n + 5)
    c.d_sigma = 1 + c.c_sigma + 2 * max(0.0, math.sqrt((c.mueff - 1) / (n + 1)) - 1)
    alpha_cov = 2
    c.c_1 = alpha_cov / ((n + 1.3) ** 2 + c.mueff)
    offset = 1 / 4 if active else 0.0
    c.c_mu = min(
        1 - c.c_1 - 1e-8,
        alpha_cov * (c.mueff + 1 / c.mueff - 2 + offset) / ((n + 2) ** 2 + alpha_cov * c.mueff / 2),
    )
    weights = [w / sum(best) for w in best]
    if active:
        mueff_minus = sum(rest) ** 2 / sum(w**2 for w in rest)
        total = min(
            1 + c.c_1 / c.c_mu,
            1 + 2 * mueff_minus / (c.mueff + 2),
            (1 - c.c_1 - c.c_mu) / (n * c.c_mu),
        )
        weights += [total * w / -sum(rest) for w in rest]
    else:
        weights += [0.0 for _ in rest]
    c.weights = np.array(weights)
    return c


def start(x0, sigma0):
    n = len(x0)
    return SimpleNamespace(
        mean=np.array(x0, dtype=float), sigma=float(sigma0), M=np.eye(n), p_sigma=np.zeros(n)
    )


def sample(s, Z):
    """Points y + sigma M z, one row for each row of Z (M5, M6)."""
    return np.array([s.mean + s.sigma * (s.M @ z) for z in Z])


def step(c, s, Z, F):
    """One generation: the state `s` is overwritten. Z: (popsize, n) ~ N(0, I), F: (popsize,)."""
    n = c.n
    order = sorted(range(c.popsize), key=lambda k: F[k])
    z = [Z[k] for k in order]
    d = [s.M @ z_k for z_k in z]

    d_w = sum(c.weights[i] * d[i] for i in range(c.mu))
    z_w = sum(c.weights[i] * z[i] for i in range(c.mu))
    s.mean = s.mean + s.sigma * d_w  # (M9)
    s.p_sigma = (1 - c.c_sigma) * s.p_sigma + math.sqrt(
        c.mueff * c.c_sigma * (2 - c.c_sigma)
    ) * z_w  # (M10)

    identity = np.eye(n)
    zz = np.zeros((n, n))
    for i in range(c.popsize):
        w = c.weights[i]
        if w < 0:
            w = w * n / sum(v**2 for v in z[i])
        zz += w * np.outer(z[i], z[i])
    s.M = s.M @ (
        identity
        + c.c_1 / 2 * (np.outer(s.p_sigma, s.p_sigma) - identity)
        + c.c_mu / 2 * (zz - sum(c.weights) * identity)
    )  # (M11)
    norm = math.sqrt(sum(v**2 for v in s.p_sigma))
    s.sigma = s.sigma * math.exp(c.c_sigma / c.d_sigma * (norm / c.chi_n - 1))  # (M12)

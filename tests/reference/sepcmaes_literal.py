"""sep-CMA-ES with the rates of pycma for a diagonal covariance, coordinate by coordinate.

Source: R. Ros and N. Hansen, A Simple Modification in CMA-ES Achieving Linear Time and Space
Complexity, PPSN 2008; N. Hansen, arXiv:1604.00772, for all that is not the covariance. The
variances are multiplied by the exponential of what the additive rule would add in units of them.
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
    c.c_1 = 1 / (n + 2 * math.sqrt(n) + c.mueff / n)
    c.c_mu = min(
        1 - c.c_1, (0.25 + c.mueff + 1 / c.mueff - 2) / (n + 4 * math.sqrt(n) + c.mueff / 2)
    )
    c.c_c = (1 + 1 / n + c.mueff / n) / (math.sqrt(n) + 1 / n + 2 * c.mueff / n)
    c.weights = [w / sum(best) for w in best]
    total = 0.0
    if active:
        mueff_minus = sum(rest) ** 2 / sum(w**2 for w in rest)
        total = min(1 + c.c_1 / c.c_mu, 1 + 2 * mueff_minus / (c.mueff + 2))
    c.weights += [total * min(w, 0.0) / -sum(rest) for w in rest]
    return c


def start(x0, sigma0):
    n = len(x0)
    return SimpleNamespace(
        mean=np.array(x0, dtype=float), sigma=float(sigma0), C=np.ones(n), p_sigma=np.zeros(n),
        p_c=np.zeros(n), generation=0,
    )  # fmt: skip


def sample(s, Z):
    return np.array([s.mean + s.sigma * np.sqrt(s.C) * z for z in Z])


def step(c, s, Z, F):
    """One generation: the state `s` is overwritten. Z: (popsize, n), F: (popsize,)."""
    n = c.n
    order = sorted(range(c.popsize), key=lambda k: F[k])
    z = [Z[k] for k in order]
    z_w = sum(c.weights[i] * z[i] for i in range(c.mu))
    y_w = np.sqrt(s.C) * z_w
    s.mean = s.mean + s.sigma * y_w
    s.p_sigma = (1 - c.c_sigma) * s.p_sigma + math.sqrt(c.c_sigma * (2 - c.c_sigma) * c.mueff) * z_w
    s.generation += 1
    length = math.sqrt(sum(v**2 for v in s.p_sigma))
    unbiased = length / math.sqrt(1 - (1 - c.c_sigma) ** (2 * s.generation))
    h_sigma = 1 if unbiased < (1.4 + 2 / (n + 1)) * c.chi_n else 0
    s.p_c = (1 - c.c_c) * s.p_c + h_sigma * math.sqrt(c.c_c * (2 - c.c_c) * c.mueff) * y_w
    for j in range(n):
        rank_mu = 0.0
        for i in range(c.popsize):
            w = c.weights[i]
            if w < 0:
                w = w * n / sum(v**2 for v in z[i])
            rank_mu += w * z[i][j] ** 2
        exponent = c.c_1 * (s.p_c[j] ** 2 / s.C[j] - 1) + c.c_mu * (rank_mu - sum(c.weights))
        s.C[j] *= math.exp(min(1.0, exponent))
    s.sigma *= math.exp(min(1.0, c.c_sigma / c.d_sigma * (length / c.chi_n - 1)))

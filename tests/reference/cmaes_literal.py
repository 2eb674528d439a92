"""CMA-ES, transcribed line by line; double loops, an eigendecomposition in every generation.

Source: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772, Table 1 and Fig. 6.
Two additions: the offset of 1/4 in c_mu that goes with the active weights (pycma's
`rankmu_offset`), and the margin that keeps c_1 + c_mu below 1 for very large popsize (cmaes).
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np


def expected_norm(n):
    """E ||N(0, I)||, the approximation that the tutorial prints."""
    return math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))


def constants(n, popsize=None, active=True):
    """Table 1 of the tutorial, in the order in which the entries depend on one another."""
    c = SimpleNamespace(n=n)
    c.popsize = popsize if popsize is not None else 4 + math.floor(3 * math.log(n))
    c.mu = c.popsize // 2
    raw = [math.log((c.popsize + 1) / 2) - math.log(i) for i in range(1, c.popsize + 1)]
    best, rest = raw[: c.mu], raw[c.mu :]
    c.mueff = sum(best) ** 2 / sum(w**2 for w in best)
    squares = sum(w**2 for w in rest)
    mueff_minus = sum(rest) ** 2 / squares if squares > 0 else 0.0
    c.chi_n = expected_norm(n)
    c.c_m = 1.0
    c.c_sigma = (c.mueff + 2) / (n + c.mueff + 5)
    c.d_sigma = 1 + 2 * max(0.0, math.sqrt((c.mueff - 1) / (n + 1)) - 1) + c.c_sigma
    c.c_c = (4 + c.mueff / n) / (n + 4 + 2 * c.mueff / n)
    c.c_1 = 2 / ((n + 1.3) ** 2 + c.mueff)
    offset = 1 / 4 if active else 0.0
    c.c_mu = min(
        1 - c.c_1 - 1e-8,
        2 * (offset + c.mueff + 1 / c.mueff - 2) / ((n + 2) ** 2 + 2 * c.mueff / 2),
    )
    positive = [w / sum(best) for w in best]
    c.bounds_of_negative_sum = (
        1 + c.c_1 / c.c_mu if c.c_mu > 0 else math.inf,
        1 + 2 * mueff_minus / (c.mueff + 2),
        (1 - c.c_1 - c.c_mu) / (n * c.c_mu) if c.c_mu > 0 else math.inf,
    )
    sum_of_rest = -sum(rest)
    scale = min(c.bounds_of_negative_sum) / sum_of_rest if active and sum_of_rest > 0 else 0.0
    c.weights = np.array(positive + [scale * w for w in rest])
    return c


def start(x0, sigma0):
    n = len(x0)
    return SimpleNamespace(
        mean=np.array(x0, dtype=float),
        sigma=float(sigma0),
        C=np.eye(n),
        p_sigma=np.zeros(n),
        p_c=np.zeros(n),
        root=np.eye(n),  # B D of the sampling distribution: y = B D z
        inverse_root=np.eye(n),  # C^{-1/2} = B D^{-1} B^T of the sampling distribution
        generation=0,
    )


def decompose(s):
    """B D and C^{-1/2} of the covariance as it is now."""
    eigenvalues, B = np.linalg.eigh((s.C + s.C.T) / 2)
    d = np.sqrt(eigenvalues)
    s.root = B @ np.diag(d)
    s.inverse_root = B @ np.diag(1 / d) @ B.T


def sample(s, Z):
    """Points x_k = m + sigma B D z_k, one row for each row of Z."""
    return np.array([s.mean + s.sigma * (s.root @ z) for z in Z])


def step(c, s, X, F, decompose_now=True):
    """One generation: the state `s` is overwritten. X: (popsize, n) as sampled, F: (popsize,)."""
    n = c.n
    order = sorted(range(c.popsize), key=lambda k: F[k])
    y = [(X[k] - s.mean) / s.sigma for k in order]

    # Selection and recombination
    y_w = np.zeros(n)
    for i in range(c.mu):
        y_w = y_w + c.weights[i] * y[i]
    s.mean = s.mean + c.c_m * s.sigma * y_w

    # Step-size control
    whitened = s.inverse_root @ y_w
    s.p_sigma = (1 - c.c_sigma) * s.p_sigma + math.sqrt(
        c.c_sigma * (2 - c.c_sigma) * c.mueff
    ) * whitened
    norm = math.sqrt(sum(v**2 for v in s.p_sigma))

    # Covariance matrix adaptation
    g = s.generation
    corrected = norm / math.sqrt(1 - (1 - c.c_sigma) ** (2 * (g + 1)))
    h_sigma = 1 if corrected < (1.4 + 2 / (n + 1)) * c.chi_n else 0
    s.h_sigma = h_sigma
    s.p_c = (1 - c.c_c) * s.p_c + h_sigma * math.sqrt(c.c_c * (2 - c.c_c) * c.mueff) * y_w
    delta = (1 - h_sigma) * c.c_c * (2 - c.c_c)
    C = (1 + c.c_1 * delta - c.c_1 - c.c_mu * sum(c.weights)) * s.C
    for a in range(n):
        for b in range(n):
            C[a, b] += c.c_1 * s.p_c[a] * s.p_c[b]
    for i in range(c.popsize):
        w = c.weights[i]
        if w < 0:
            length = np.linalg.norm(s.inverse_root @ y[i])
            w = w * n / length**2
        for a in range(n):
            for b in range(n):
                C[a, b] += c.c_mu * w * y[i][a] * y[i][b]
    s.C = C

    s.sigma = s.sigma * math.exp(c.c_sigma / c.d_sigma * (norm / c.chi_n - 1))
    s.generation = g + 1
    if decompose_now:
        decompose(s)

"""The canonical ES, transcribed line by line.

Source: P. Chrabaszcz, I. Loshchilov and F. Hutter, Back to Basics: Benchmarking Canonical Evolution
Strategies for Playing Atari, IJCAI 2018, arXiv:1802.08842, Algorithm 1; the step-size rule, which
the paper leaves out, as in the authors' code.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np


def constants(n, popsize, mu):
    c = SimpleNamespace(n=n, popsize=popsize, mu=mu)
    total = sum(math.log(mu + 0.5) - math.log(i) for i in range(1, mu + 1))
    c.w = [(math.log(mu + 0.5) - math.log(j)) / total for j in range(1, mu + 1)]
    c.mueff = 1 / sum(w * w for w in c.w)
    c.c_sigma = (c.mueff + 2) / (n + c.mueff + 5)
    return c


def start(x0, sigma0):
    return SimpleNamespace(
        theta=np.array(x0, dtype=float), sigma=float(sigma0), p=np.zeros(len(x0))
    )


def sample(s, Z):
    """theta + sigma eps, one row for each row of Z."""
    return np.array([[t + s.sigma * e for t, e in zip(s.theta, eps, strict=True)] for eps in Z])


def step(c, s, Z, F, csa):
    """One iteration: the state `s` is overwritten. Z: (popsize, n), F: (popsize,) minimised."""
    order = sorted(range(c.popsize), key=lambda i: F[i])
    mean = [sum(c.w[j] * Z[order[j]][i] for j in range(c.mu)) for i in range(c.n)]
    s.theta = np.array([t + s.sigma * m for t, m in zip(s.theta, mean, strict=True)])
    if csa:
        rate = math.sqrt(c.mueff * c.c_sigma * (2 - c.c_sigma))
        s.p = np.array([(1 - c.c_sigma) * p + rate * m for p, m in zip(s.p, mean, strict=True)])
        norm2 = sum(p * p for p in s.p)
        s.sigma *= math.exp(c.c_sigma / 2 * (norm2 / c.n - 1))

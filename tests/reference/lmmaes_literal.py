"""LM-MA-ES, transcribed line by line: each candidate goes through the directions one by one.

Source: I. Loshchilov, T. Glasmachers and H.-G. Beyer, Large Scale Black-Box Optimization by
Limited-Memory Matrix Adaptation, IEEE Transactions on Evolutionary Computation 23(2), 353-358, 2019
(arXiv:1705.06693), Algorithm 1. damping = 2 is its step-size rule, damping = 1 that of the authors'
C code, which also mirrors: then Z has z and -z as rows.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np


def constants(n, popsize=None, damping=1.0):
    c = SimpleNamespace(n=n, m=4 + math.floor(3 * math.log(n)), damping=damping)
    c.popsize = popsize if popsize is not None else c.m
    c.mu = c.popsize // 2
    raw = [math.log(c.mu + 1 / 2) - math.log(i) for i in range(1, c.mu + 1)]
    c.weights = [w / sum(raw) for w in raw]
    c.mueff = 1 / sum(w**2 for w in c.weights)
    c.c_sigma = 2 * c.popsize / n
    c.c_d = [1 / (1.5 ** (i - 1) * n) for i in range(1, c.m + 1)]
    c.c_c = [c.popsize / (4 ** (i - 1) * n) for i in range(1, c.m + 1)]
    return c


def start(c, x0, sigma0):
    return SimpleNamespace(
        mean=np.array(x0, dtype=float),
        sigma=float(sigma0),
        p_sigma=np.zeros(c.n),
        M=[np.zeros(c.n) for _ in range(c.m)],
        generation=0,
    )


def direction(c, s, z):
    d = z.copy()
    for i in range(min(s.generation, c.m)):
        d = (1 - c.c_d[i]) * d + c.c_d[i] * s.M[i] * float(s.M[i] @ d)
    return d


def sample(c, s, Z):
    """Points mean + sigma d, one row for each row of Z."""
    return np.array([s.mean + s.sigma * direction(c, s, z) for z in Z])


def step(c, s, Z, F):
    """One generation: the state `s` is overwritten. Z: (popsize, n), F: (popsize,)."""
    order = sorted(range(c.popsize), key=lambda k: F[k])
    z = [Z[k] for k in order]
    d = [direction(c, s, z_k) for z_k in z]
    z_w = sum(c.weights[i] * z[i] for i in range(c.mu))
    s.mean = s.mean + s.sigma * sum(c.weights[i] * d[i] for i in range(c.mu))
    s.p_sigma = (1 - c.c_sigma) * s.p_sigma + math.sqrt(c.mueff * c.c_sigma * (2 - c.c_sigma)) * z_w
    for i in range(c.m):
        s.M[i] = (1 - c.c_c[i]) * s.M[i] + math.sqrt(c.mueff * c.c_c[i] * (2 - c.c_c[i])) * z_w
    s.sigma *= math.exp(c.c_sigma / c.damping * (float(s.p_sigma @ s.p_sigma) / c.n - 1))
    s.generation += 1

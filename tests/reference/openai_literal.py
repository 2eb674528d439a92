"""OpenAI-ES, transcribed line by line: it maximises returns, in pairs.

Source: openai/evolution-strategies-starter: es.py (compute_centered_ranks, the gradient of
`run_master`) and optimizers.py (Adam, SGD).
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np


def start(x0):
    n = len(x0)
    return SimpleNamespace(theta=np.array(x0, dtype=float), m=np.zeros(n), v=np.zeros(n), t=0)


def sample(s, sigma, eps):
    """theta + sigma eps and theta - sigma eps, one pair for each row of eps: (2 N, n)."""
    rows = []
    for e in eps:
        rows += [s.theta + sigma * e, s.theta - sigma * e]
    return np.array(rows)


def centred_ranks(returns):
    """The smallest gets -.5, the largest .5. returns: (N, 2), no two of them equal."""
    flat = sorted(returns.ravel())
    rank = {value: place / (len(flat) - 1) - 0.5 for place, value in enumerate(flat)}
    return np.array([[rank[value] for value in pair] for pair in returns])


def step(s, returns, eps, stepsize, l2coeff, optimizer):
    """One iteration: `s` is overwritten. returns: (N, 2) of theta +- sigma eps; eps: (N, n)."""
    ranks = centred_ranks(returns)
    g = np.zeros(len(s.theta))
    for (plus, minus), e in zip(ranks, eps, strict=True):
        g += (plus - minus) * e
    g /= returns.size
    globalg = -g + l2coeff * s.theta
    s.t += 1
    if optimizer == "adam":
        a = stepsize * math.sqrt(1 - 0.999**s.t) / (1 - 0.9**s.t)
        s.m = 0.9 * s.m + (1 - 0.9) * globalg
        s.v = 0.999 * s.v + (1 - 0.999) * (globalg * globalg)
        s.theta = s.theta + -a * s.m / (np.sqrt(s.v) + 1e-08)
    else:
        s.v = 0.9 * s.v + (1.0 - 0.9) * globalg
        s.theta = s.theta + -stepsize * s.v

"""The categorical half of CatCMA (Hamano et al., GECCO 2024) with the adaptive step of ASNG
(Akimoto et al., ICML 2019), entry by entry. q: list of lists of probabilities, one per variable."""

from __future__ import annotations

import math
from types import SimpleNamespace


def start(counts):
    """Before the first generation."""
    return SimpleNamespace(
        q=[[1 / K] * K for K in counts],
        s=[0.0] * sum(K - 1 for K in counts),
        gamma=0.0,
        Delta=1.0,
    )


def after(state, chosen, weights):
    """The state after a generation. chosen: the categories of each candidate, best first."""
    q, counts = state.q, [len(row) for row in state.q]
    gradient = [[0.0] * K for K in counts]
    for weight, candidate in zip(weights, chosen, strict=True):
        for j, K in enumerate(counts):
            for k in range(K):
                gradient[j][k] += weight * ((candidate[j] == k) - q[j][k])
    root = []
    for j, K in enumerate(counts):
        last = q[j][K - 1]
        total = sum(gradient[j][: K - 1])
        for k in range(K - 1):
            term = gradient[j][k] / math.sqrt(q[j][k])
            root.append(term + math.sqrt(q[j][k]) * total / (last + math.sqrt(last)))
    norm = math.sqrt(sum(r * r for r in root))
    delta = 1 / state.Delta
    moved = [
        [q[j][k] + delta / norm * gradient[j][k] for k in range(K)] for j, K in enumerate(counts)
    ]
    beta = delta / math.sqrt(len(root))
    factor = math.sqrt(beta * (2 - beta))
    s = [(1 - beta) * a + factor * r / norm for a, r in zip(state.s, root, strict=True)]
    gamma = (1 - beta) ** 2 * state.gamma + beta * (2 - beta)
    Delta = state.Delta * math.exp(beta * (gamma - sum(a * a for a in s) / 1.5))
    return SimpleNamespace(q=floored(moved), s=s, gamma=gamma, Delta=Delta)


def floored(q):
    """Probabilities of at least (1 - 0.73^(1/N)) / (K - 1) that sum to 1."""
    after = []
    for row in q:
        K = len(row)
        least = (1 - 0.73 ** (1 / len(q))) / (K - 1)
        row = [max(p, least) for p in row]
        total = sum(row)
        rest = total - least * K
        row = [p + (1 - total) * (p - least) / rest for p in row]
        after.append([p / sum(row) for p in row])
    return after

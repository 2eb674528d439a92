"""Evaluations of sep-CMA-ES to 1e-9 with the rates, weights and updates that were tried.

    python reports/2026-11-23-sep-cma-es/variants.py > variants.txt

Self-contained but for the constants of the tutorial. Start 3 in every variable, step size 1, median
of 5 seeds for n <= 100 and one seed above.
"""

import os

os.environ.update(OPENBLAS_NUM_THREADS="1")

import math

import numpy as np

from evoopt.strategies.weights import default_popsize, recombination

# rates, negative weights, update
VARIANTS = [
    ("Ros & Hansen", "none", "additive"),
    ("cmaes", "none", "additive"),
    ("pycma", "none", "additive"),
    ("pycma", "bounded", "additive"),
    ("pycma", "bounded", "exponential"),
    ("pycma", "full", "exponential"),
]
TARGET = 1e-9


def rates(kind, n, r):
    """c_1, c_mu, c_c."""
    if kind == "Ros & Hansen":  # those of a full covariance, times (n + 2) / 3
        c_1 = r.c_1 * (n + 2) / 3
        return c_1, min(1 - c_1, r.c_mu * (n + 2) / 3), r.c_c
    if kind == "cmaes":  # 0.13
        c_1 = 2 / ((n + 1.3) ** 2 + r.mueff)
        step = (1 - 1 / r.mueff) * min(1, (2 * r.mueff - 1) / ((n + 2) ** 2 + r.mueff))
        c_mu = (n + 2) / 3 * (2 / (r.mueff * (n + math.sqrt(2)) ** 2) + step)
        return c_1, min(1 - c_1, c_mu), 4 / (n + 4)
    c_1 = 1 / (n + 2 * math.sqrt(n) + r.mueff / n)
    c_mu = (0.25 + r.mueff + 1 / r.mueff - 2) / (n + 4 * math.sqrt(n) + r.mueff / 2)
    c_c = (1 + 1 / n + r.mueff / n) / (math.sqrt(n) + 1 / n + 2 * r.mueff / n)
    return c_1, min(1 - c_1, c_mu), c_c


def weighted(active, n, lam, r, c_1, c_mu):
    """All weights; "full" leaves the bound out that keeps an additive update positive."""
    raw = np.log((lam + 1) / 2) - np.log(np.arange(1, lam + 1))
    weights = r.weights.copy()
    if active != "none":
        rest = raw[r.mu :]
        minus = rest.sum() ** 2 / (rest**2).sum()
        bounds = [1 + c_1 / c_mu, 1 + 2 * minus / (r.mueff + 2)]
        if active == "bounded":
            bounds.append((1 - c_1 - c_mu) / (n * c_mu))
        weights[r.mu :] = np.minimum(rest * min(bounds) / -rest.sum(), 0)
    return weights


def evaluations(f, n, variant, seed, most):
    """Of one run until the target; inf if it was not reached."""
    kind, active, update = variant
    lam = default_popsize(n)
    r = recombination(n, lam, active=False)
    c_1, c_mu, c_c = rates(kind, n, r)
    weights = weighted(active, n, lam, r, c_1, c_mu)
    random = np.random.default_rng(seed)
    mean, sigma, C = np.full(n, 3.0), 1.0, np.ones(n)
    p_sigma, p_c, spent, g = np.zeros(n), np.zeros(n), 0, 0
    while spent < most:
        Z, D = random.standard_normal((lam, n)), np.sqrt(C)
        F = f(mean + sigma * D * Z)
        hits = np.flatnonzero(F <= TARGET)
        if hits.size:
            return spent + int(hits[0]) + 1
        spent, g = spent + lam, g + 1
        Z = Z[np.argsort(F)]
        z_w = np.maximum(weights, 0) @ Z
        mean = mean + sigma * D * z_w
        p_sigma = (1 - r.c_sigma) * p_sigma + math.sqrt(r.c_sigma * (2 - r.c_sigma) * r.mueff) * z_w
        length = np.linalg.norm(p_sigma)
        held = length / math.sqrt(1 - (1 - r.c_sigma) ** (2 * g)) >= (1.4 + 2 / (n + 1)) * r.chi_n
        p_c = (1 - c_c) * p_c + (0 if held else math.sqrt(c_c * (2 - c_c) * r.mueff) * D * z_w)
        w = weights.copy()
        w[w < 0] *= n / (Z[w < 0] ** 2).sum(1)
        change = c_1 * (p_c**2 / C - 1) + c_mu * (w @ Z**2 - weights.sum())
        C = C * (np.exp(change) if update == "exponential" else 1 + change)
        sigma *= math.exp(min(1, r.c_sigma / r.d_sigma * (length / r.chi_n - 1)))
    return math.inf


def functions(n):
    a = np.arange(n) / max(1, n - 1)
    return {
        "sphere": lambda X: (X**2).sum(1),
        "ellipsoid": lambda X: (10 ** (6 * a) * X**2).sum(1),
        "cigar": lambda X: X[:, 0] ** 2 + 1e6 * (X[:, 1:] ** 2).sum(1),
        "tablet": lambda X: 1e6 * X[:, 0] ** 2 + (X[:, 1:] ** 2).sum(1),
        "diffpow": lambda X: (np.abs(X) ** (2 + 4 * a)).sum(1),
    }


print("| n | rates | negative weights | update |", " | ".join(functions(2)), "|")
print("|---|---|---|---|---|---|---|---|---|")
for n in (10, 40, 100, 1000):
    for variant in VARIANTS:
        cells = []
        for f in functions(n).values():
            seeds = range(5 if n <= 100 else 1)
            runs = [evaluations(f, n, variant, seed, 1000 * n) for seed in seeds]
            cells.append(f"{np.median(runs):.0f}")
        print("|", n, "|", " | ".join(variant), "|", " | ".join(cells), "|", flush=True)

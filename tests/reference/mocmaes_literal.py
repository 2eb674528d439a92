"""MO-CMA-ES, transcribed line by line: points one by one, C itself, no array operation over them.

Source: C. Igel, N. Hansen & S. Roth, Covariance matrix adaptation for multi-objective optimization,
Evolutionary Computation 15(1), 2007, doi:10.1162/evco.2007.15.1.1, Algorithms 1, 2 and 4 with
lambda = 1; T. Voss, N. Hansen & C. Igel, GECCO 2010, doi:10.1145/1830483.1830573 for the success of
the population. Hypervolumes are computed whole, with and without each point.
"""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np


def constants(n):
    p_target = 1 / (5 + math.sqrt(1) / 2)
    return SimpleNamespace(
        n=n, d=1 + n / 2, p_target=p_target, c_p=p_target / (2 + p_target), p_thresh=0.44,
        c_c=2 / (n + 2), c_cov=2 / (n**2 + 6),
    )  # fmt: skip


def founder(c, x, f, sigma0):
    return SimpleNamespace(
        x=x, f=f, sigma=sigma0, p=c.p_target, p_c=np.zeros(c.n), C=np.eye(c.n)
    )  # fmt: skip


def dominates(f, g):
    return all(a <= b for a, b in zip(f, g, strict=True)) and any(
        a < b for a, b in zip(f, g, strict=True)
    )


def levels(F):
    """Rows by level: a list of lists."""
    left, found = list(range(len(F))), []
    while left:
        found.append([i for i in left if not any(dominates(F[j], F[i]) for j in left)])
        left = [i for i in left if i not in found[-1]]
    return found


def hypervolume(F, reference):
    """Slices along the last objective."""
    if len(reference) == 1:
        return max(0.0, reference[0] - min((f[0] for f in F), default=math.inf))
    volume, cuts = 0.0, [*sorted({f[-1] for f in F if f[-1] < reference[-1]}), reference[-1]]
    for low, high in pairwise(cuts):
        below = [f[:-1] for f in F if f[-1] <= low]
        volume += (high - low) * hypervolume(below, reference[:-1])
    return volume


def contributions(F, everything):
    """Of each of F. everything: the whole level that F is what is left of."""
    m, unique = len(F[0]), [f for f in F if sum(f == g for g in F) == 1]
    worst = [max(f[i] for f in everything) for i in range(m)]
    least = [min(f[i] for f in everything) for i in range(m)]
    reference = [w + (w - b if w > b else 1.0) for w, b in zip(worst, least, strict=True)]
    whole = hypervolume(F, reference)
    found = []
    for k, f in enumerate(F):
        others = F[:k] + F[k + 1 :]
        extreme = m == 2 and f in unique and any(f[i] == min(g[i] for g in F) for i in range(m))
        found.append(math.inf if extreme else whole - hypervolume(others, reference))
    return found


def order(F):
    """Rows, the foremost first; of equals the earlier one. F: list of tuples."""
    foremost = []
    for level in levels(F):
        left, last = list(level), []
        while left:
            c = contributions([F[i] for i in left], [F[i] for i in level])
            least = max(left[k] for k in range(len(left)) if c[k] == min(c))
            left.remove(least)
            last.append(least)
        foremost += last[::-1]
    return foremost


def step_size(c, a, success):
    a.p = (1 - c.c_p) * a.p + c.c_p * success
    a.sigma = a.sigma * math.exp((a.p - c.p_target) / (c.d * (1 - c.p_target)))


def covariance(c, a, x_step):
    if a.p < c.p_thresh:
        a.p_c = (1 - c.c_c) * a.p_c + math.sqrt(c.c_c * (2 - c.c_c)) * x_step
        a.C = (1 - c.c_cov) * a.C + c.c_cov * np.outer(a.p_c, a.p_c)
    else:
        a.p_c = (1 - c.c_c) * a.p_c
        a.C = (1 - c.c_cov) * a.C + c.c_cov * (
            np.outer(a.p_c, a.p_c) + c.c_c * (2 - c.c_c) * a.C
        )  # fmt: skip


def step(c, mu, points, offspring, notion):
    """The next points. offspring: (index of the parent, x, f) each; a failed one has f = None."""
    good = [(k, x, f) for k, (_, x, f) in enumerate(offspring) if f is not None]
    foremost = order([a.f for a in points] + [f for _, _, f in good])
    rank = {row: place for place, row in enumerate(foremost)}
    success = [0] * len(offspring)
    for row, (k, _, _) in enumerate(good, start=len(points)):
        parent = offspring[k][0]
        won = rank[row] < mu if notion == "population" else rank[row] < rank[parent]
        success[k] = int(won)
    children = []
    for k, (parent, x, f) in enumerate(offspring):
        child = SimpleNamespace(**vars(points[parent]))
        child.x, child.f = x, f
        step_size(c, child, success[k])
        covariance(c, child, (x - points[parent].x) / points[parent].sigma)
        children.append(child)
    for k, (parent, _, _) in enumerate(offspring):
        step_size(c, points[parent], success[k])
    pool = points + [children[k] for k, _, _ in good]
    return [pool[row] for row in foremost[:mu]], success

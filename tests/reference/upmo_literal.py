"""UP-MO-CMA-ES, transcribed step by step: the front is a list, and everything is a pass over it.

Source: O. Krause, T. Glasmachers, N. Hansen & C. Igel, Unbounded population MO-CMA-ES for the
bi-objective BBOB test suite, GECCO 2016 companion, hal-01381653, Algorithm and Table 1, with what
`evoopt.strategies.upmo` names as differences. Only the normal numbers come from the library.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from evoopt import rng


def search(n, x0, sigma0, seed):
    p_target, c_cov = 0.5, 2 / (n**2.1 + 3)
    return SimpleNamespace(
        n=n, x0=x0, sigma0=sigma0, seed=seed, d=1 + n / 2, p_target=p_target,
        c_p=p_target / (2 + p_target), c_cov=c_cov, c_r=c_cov / 2, front=[], open={},
    )  # fmt: skip


def by_first(front):
    return sorted(front, key=lambda a: a.f[0])


def contribution(front, i):
    """Of an interior point of the sorted front."""
    left, here, right = (front[j].f for j in (i - 1, i, i + 1))
    return (right[0] - here[0]) * (left[1] - here[1])


def uniform(z):
    """The normal distribution function."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def drawn(front, which, lot):
    """Index of a parent in the sorted front."""
    if len(front) <= 2 or uniform(which) < 1 / 5:
        return 0 if uniform(lot) >= 1 / 2 else len(front) - 1
    interior = range(1, len(front) - 1)
    shares = [contribution(front, i) ** 3 for i in interior]
    left = uniform(lot) * sum(shares)
    for i, share in zip(interior, shares, strict=True):
        if left < share:
            return i
        left -= share
    return interior[-1]


def neighbours(front, i):
    """Of an extreme the two next ones; in the order in which they take their normal numbers."""
    if len(front) == 1:
        return []
    near = [i - 1, i + 1]
    if i == 0:
        near = [2, 1]
    elif i == len(front) - 1:
        near = [i - 1, i - 2] if i > 1 else [0]
    return [front[j] for j in near if 0 <= j < len(front)]


def candidate(s, i):
    """The point of candidate i."""
    z = rng.normals(s.seed, (), i, 1, s.n + 4)[0]
    if not s.front:
        return s.x0.copy() if i == 0 else s.x0 + s.sigma0 * z[: s.n]
    front = by_first(s.front)
    index = drawn(front, z[s.n + 2], z[s.n + 3])
    parent, near = front[index], neighbours(front, index)
    C, step = parent.C, np.linalg.cholesky(parent.C) @ z[: s.n]
    if near:  # a sum of independent normal vectors, whose covariances are the terms of C
        C, step = (1 - s.c_r) * C, math.sqrt(1 - s.c_r) * step
    for j, other in enumerate(near):
        away = (other.x - parent.x) / parent.sigma
        C = C + s.c_r / len(near) * np.outer(away, away)
        step = step + math.sqrt(s.c_r / len(near)) * away * z[s.n + j]
    s.open[i] = (parent, C)
    return parent.x + parent.sigma * step


def beaten(f, g):
    """Whether g is as good as f in both."""
    return g[0] <= f[0] and g[1] <= f[1]


def survives(s, parent):
    return any(a is parent for a in s.front)


def rate(s, parent, success):
    p = (1 - s.c_p) * parent.p + s.c_p * success
    return p, parent.sigma * math.exp((p - s.p_target) / ((1 - s.p_target) * s.d))


def foreign(s, x, f):
    """A point that no living parent has: like the nearer neighbour, with steps to there."""
    front = by_first([*s.front, SimpleNamespace(f=f, x=x, new=True)])
    i = next(i for i, a in enumerate(front) if hasattr(a, "new"))
    new = SimpleNamespace(x=x, f=f, sigma=s.sigma0, p=s.p_target, C=np.eye(s.n))
    near = [front[j] for j in (i - 1, i + 1) if 0 <= j < len(front)]
    if near:
        nearer = min(near, key=lambda a: np.linalg.norm(a.x - x))
        far = np.linalg.norm(nearer.x - x) / math.sqrt(s.n)
        new.sigma = max(nearer.sigma, min(far, s.sigma0))
        if far <= nearer.sigma:
            new.p, new.C = nearer.p, nearer.C
    return new


def tell(s, i, x, f):
    """One row. i: of the candidate, or None; f: a pair, or None where it failed."""
    parent, C = s.open.pop(i, (None, None))
    if parent is not None and not survives(s, parent):
        parent = None
    success = f is not None and not any(beaten(f, a.f) for a in s.front)
    if success:
        s.front = [a for a in s.front if not beaten(a.f, f)]
    if parent is None:
        if success:
            s.front.append(foreign(s, x, f))
        return success
    p, sigma = rate(s, parent, success)
    if success:
        z = (x - parent.x) / parent.sigma
        C = (1 - s.c_cov) * C + s.c_cov * np.outer(z, z)
        s.front.append(SimpleNamespace(x=x, f=f, sigma=sigma, p=p, C=C))
        parent.C = (1 - s.c_cov) * parent.C + s.c_cov * np.outer(z, z)
    parent.p, parent.sigma = p, sigma
    return success

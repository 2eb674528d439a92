"""Pairs of quadratic functions whose front is known, and what a search leaves of it."""

from __future__ import annotations

import numpy as np

from evoopt.hypervolume import hypervolume
from evoopt.result import Values

REFERENCE = np.array([1.1, 1.1])
FULL = 1.1**2 - 1 / 6  # hypervolume of the whole front, sqrt(f1) + sqrt(f2) = 1


def double(H, other=None):
    """Two quadratic functions of one shape with optima in 0 and `other`, which are both 1 in the
    optimum of the other one. Between them lies the Pareto set."""
    other = np.ones(len(H)) if other is None else other

    def fun(x):
        return np.array([x @ H @ x, (x - other) @ H @ (x - other)]) / (other @ H @ other)

    return fun


def excess(F):
    """How far rows are above the front, 0 on it: the median."""
    return np.median(np.sqrt(F).sum(axis=1) - 1)


def gap(F):
    """What rows leave of the hypervolume of the whole front."""
    return FULL - hypervolume(F, REFERENCE)


def same_search(strategy, start, fun, transform, seed=3, evaluations=320):
    """Whether the points asked are the same, bit for bit, with the values told transformed."""
    runs = []
    for change in (lambda F: F, transform):
        state, seen = strategy.init(start, 0.5, seed), []
        for _ in range(evaluations // strategy.popsize):
            rows, state = strategy.ask(state, strategy.popsize)
            F = np.array([fun(x) for x in rows.X])
            F = np.round(F * 2**30) / 2**30  # so that whole shifts are exact
            state = strategy.tell(state, rows, Values(change(F)))
            seen.append(rows.X.tobytes())
        runs.append(seen)
    return runs[0] == runs[1]

"""The stopping criteria in their naive form: each looks at the whole record of the run.

Source: pycma 4.4, `_CMAStopDict._update` and its default options. tolx is meant relative to sigma0,
and the bars on f shrink with the range of f in the first generation where that is below 1. While f
has been the same everywhere, only tolflatfitness may fire: a constant has no range to converge.

Below, `best` and `median` are lists over the generations so far, oldest first; C is the covariance
matrix, m the mean, s the step size, s0 the first one.
"""

from __future__ import annotations

import math

import numpy as np


def constant_so_far(generations):
    return len({value for values in generations for value in values}) == 1


def bar_on_f(tol, first_range):
    return tol * min(1.0, first_range) if first_range > 0 else tol


def history_length(n, popsize):
    return int(10 + 30 * n / popsize)


def maxiter(n, popsize):
    return int(100 + 150 * (n + 3) ** 2 // math.sqrt(popsize))


def stagnation_length(n, popsize):
    return int(100 + 100 * n**1.5 / popsize)


def tolx(s, C, p_c, bar):
    steps = [s * math.sqrt(C[i][i]) for i in range(len(C))]
    path = [s * abs(v) for v in p_c]
    return all(v < bar for v in steps) and all(v < bar for v in path)


def tolfacupx(s, C, s0, factor):
    return any(s * math.sqrt(C[i][i]) > factor * s0 for i in range(len(C)))


def tolupsigma(s, C, s0, factor):
    return s / math.sqrt(max(np.linalg.eigvalsh(C))) > factor * s0


def tolfun(last_values, best, n, popsize, bar):
    recent = best[-history_length(n, popsize) :]
    return max(last_values) - min(last_values) < bar and max(recent) - min(recent) < bar


def tolfunhist(best, n, popsize, bar):
    recent = best[-history_length(n, popsize) :]
    return len(recent) > 9 and max(recent) - min(recent) < bar


def tolfunrel(last_values, median, share):
    return max(last_values) - min(last_values) < share * (median[0] - min(median))


def flat_generations(generations):
    """Length of the last unbroken stretch of generations whose best equals their 75 % quantile."""
    length = 0
    for values in generations:
        ordered = sorted(values)
        length = length + 1 if ordered[0] == ordered[int(0.75 * len(ordered))] else 0
    return length


def tolflatfitness(generations, most):
    return flat_generations(generations) > most


def tolstagnation(best, median, n, popsize):
    tol = stagnation_length(n, popsize)
    g = len(best)
    if g <= n * (5 + 100 / popsize):
        return False
    generation_of_best = best.index(min(best)) + 1
    if g - generation_of_best <= tol / 2:
        return False
    kept_best = best[::-1][::5]  # newest first
    kept_median = median[::-1][::5]
    w = int(max(tol / 5 / 2, len(kept_best) / 10))
    if len(kept_best) <= 100 or len(kept_best) <= 2 * w:
        return False
    best_is_no_better = np.median(kept_best[:w]) >= np.median(kept_best[w : 2 * w])
    median_is_no_better = np.median(kept_median[:w]) >= np.median(kept_median[w : 2 * w])
    return bool(best_is_no_better and median_is_no_better)


def tolxstagnation(means, delta, offset, share, every=1):
    """`means` begins with the one before the first generation; each `every`-th is looked at."""
    anchor, since = means[0], 0
    g = 0
    for mean in means[1:]:
        g += 1
        if g % every:
            continue
        allowed = offset + share * g
        radius = delta * math.sqrt(max(1.0, (g - since) / allowed))
        if math.dist(mean, anchor) > radius:
            anchor, since = mean, g
    return g - since > offset + share * g


def tolconditioncov(C, limit):
    eigenvalues = np.linalg.eigvalsh(C)
    return max(eigenvalues) > limit * min(eigenvalues)


def noeffectcoord(m, s, C):
    return any(m[i] == m[i] + 0.2 * s * math.sqrt(C[i][i]) for i in range(len(m)))


def noeffectaxis(m, s, C, g):
    eigenvalues, B = np.linalg.eigh(C)
    i = g % len(m)
    step = 0.1 * s * math.sqrt(eigenvalues[i]) * B[:, i]
    return all(m[k] == m[k] + step[k] for k in range(len(m)))

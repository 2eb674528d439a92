"""Rows on their way into a generational strategy: waiting until there are popsize of them.

A row asked under an older distribution, or injected, is expressed again in the current one, and its
length is clipped, so that one stray row cannot blow up the step size or the covariance.

Source of the clipping: N. Hansen, Injecting external solutions into CMA-ES, arXiv:1110.4181,
Eq. (6): Mahalanobis length at most sqrt(n) + 2n/(n+2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.strategies.base import INJECTED, Ids, Path, Population
from evoopt.strategies.course import Course

Array = NDArray[np.float64]

_TINY = 1e-150  # its square is still above 0
_FAR = 1e100  # its square is still finite


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows told, but not used yet, in the order told. rows is None when there are none."""

    rows: Population | None
    F: Array  # (k,)


NOTHING = Waiting(None, np.empty(0))


class GenerationalState(NamedTuple):
    """All that changes in a generational strategy.

    Attributes:
        distribution: the search distribution, a NamedTuple of the strategy.
        course: what the stopping criteria remember.
        waiting: rows told, but too few for an update yet.
        next_id: number of the next candidate asked.
        seed, path: name the stream of random numbers.
        sigma0: initial step size.
    """

    distribution: Any
    course: Course
    waiting: Waiting
    next_id: int
    seed: int
    path: Path
    sigma0: float


Update = Callable[[Any, Course, Population, Array], tuple[Any, Course]]


def told(
    state: GenerationalState, population: Population, F: Array, popsize: int, update: Update
) -> GenerationalState:
    """The state after these rows: each popsize of them make one `update` of distribution and
    course, by (distribution, course, rows, F)."""
    distribution, course, waiting, next_id, seed, path, sigma0 = state
    generations, waiting = collect(waiting, population, F, popsize)
    for rows, values in generations:
        distribution, course = update(distribution, course, rows, values)
    return GenerationalState(distribution, course, waiting, next_id, seed, path, sigma0)


def collect(
    waiting: Waiting, population: Population, F: Array, popsize: int
) -> tuple[Sequence[tuple[Population, Array]], Waiting]:
    """Whole generations, (popsize rows, their F) each, and what is left over. The first rows told
    are the first used, those told together in the order of their ids."""
    if waiting.rows is None and len(F) == popsize:
        return ((population, F),), NOTHING
    order = np.argsort(population.id, kind="stable")
    population, F = population.take(order), F[order]
    rows, F = _joined(waiting, population, F)
    whole = len(F) - len(F) % popsize
    generations = [
        (rows.take(np.arange(i, i + popsize)), F[i : i + popsize]) for i in range(0, whole, popsize)
    ]
    left = np.arange(whole, len(F))
    return generations, Waiting(rows.take(left), F[left]) if len(left) else NOTHING


def _joined(waiting: Waiting, population: Population, F: Array) -> tuple[Population, Array]:
    """The waiting rows, then the new ones."""
    if waiting.rows is None:
        return population, np.array(F)
    return _concatenated(waiting.rows, population), np.concatenate([waiting.F, F])


def _concatenated(a: Population, b: Population) -> Population:
    """The rows of a, then those of b. Where only one of them has latent rows, the epoch of the
    other says that they are to be made anew."""
    inner = None
    if a.inner is not None and b.inner is not None:
        inner = _concatenated(a.inner, b.inner)
    return Population(
        np.concatenate([a.id, b.id]),
        np.concatenate([_epochs(a), _epochs(b)]),
        np.concatenate([a.X, b.X]),
        np.concatenate([_latent(a, a.Z), _latent(b, b.Z)]),
        np.concatenate([_latent(a, a.Y), _latent(b, b.Y)]),
        inner,
    )


def _epochs(rows: Population) -> Ids:
    return rows.epoch if rows.Z is not None else np.full(len(rows), INJECTED)


def _latent(rows: Population, latent: Array | None) -> Array:
    return latent if latent is not None else np.zeros_like(rows.X)


def latent_rows(
    rows: Population,
    order: NDArray[np.intp],
    generation: int,
    mean: Array,
    sigma: float,
    whiten: Callable[[Array], Array],
) -> tuple[Array, Array]:
    """Z and Y of the rows in the distribution of `generation`, in the given order.

    Rows drawn from it bring theirs; for all others y = (x - mean) / sigma and z = whiten(y), with
    the length of z clipped and y scaled alike. Returns: (k, dim), (k, dim).
    """
    if rows.Z is not None and rows.Y is not None and min(rows.epoch.tolist()) == generation:
        return rows.Z.take(order, 0), rows.Y.take(order, 0)
    with np.errstate(over="ignore"):
        Y = np.clip((rows.X - mean) / sigma, -_FAR, _FAR)
    Z = whiten(Y)
    n = Y.shape[1]
    length = np.sqrt(np.einsum("ij,ij->i", Z, Z))
    clip = np.minimum(1.0, (math.sqrt(n) + 2 * n / (n + 2)) / np.maximum(length, _TINY))
    Z, Y = Z * clip[:, None], Y * clip[:, None]
    Z[length < _TINY] = _TINY  # the mean itself: some direction, so that its length is not 0
    if rows.Z is not None and rows.Y is not None:
        drawn = rows.epoch == generation
        Z[drawn], Y[drawn] = rows.Z[drawn], rows.Y[drawn]
    return Z[order], Y[order]

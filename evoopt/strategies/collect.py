"""Rows on their way into a generational strategy: waiting until there are popsize of them.

A late row, drawn from a distribution of before, keeps the length that it was drawn with, and gets a
direction between the step that it was then and the one that it would be now: the first alone takes
the mean past the optimum, the second alone pulls the mean back and lets the step size shrink too
early. A row injected from elsewhere is expressed in the current distribution, and its length is
clipped. So no stray row can blow up the step size or the covariance.

Source: of late rows, docs/decisions/0005-asynchronous.md; of the clipping, N. Hansen, Injecting
external solutions into CMA-ES, arXiv:1110.4181, Eq. (6): Mahalanobis length at most
sqrt(n) + 2n/(n+2).
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
from evoopt.strategies.drawn import BLOCK, is_drawn, noise_of, stacked

Array = NDArray[np.float64]

_TINY = 1e-150  # its square is still above 0
_FAR = 1e100  # its square is still finite
_PULL = 0.3  # share of the present in the direction of a late row; 0.1 to 0.5 do about as well


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


class Generational:
    """What strategies that move once popsize rows are in have in common."""

    __slots__ = ()

    popsize: int

    def batch(self, state: GenerationalState) -> int:
        """popsize, less the rows that wait already."""
        return self.popsize - len(state.waiting.F)

    def generation(self, state: GenerationalState) -> int:
        """Updates so far, wholly failed generations included."""
        generation: int = state.distribution.generation
        return generation


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
    if is_drawn(a.X) or is_drawn(b.X) or (a.Z is None and b.Z is None):
        epochs = np.concatenate([a.epoch, b.epoch])
        return Population(np.concatenate([a.id, b.id]), epochs, stacked([a.X, b.X]), inner=inner)
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

    Rows drawn from it bring theirs. For a late one, drawn as y_0 and z_0, y points where
    0.7 y_0 + 0.3 (x - mean) / sigma does, and for an injected one where (x - mean) / sigma does;
    z = whiten(y) is as long as z_0, or of a clipped length. Returns: (k, dim), (k, dim).
    """
    if rows.Z is not None and rows.Y is not None and min(rows.epoch.tolist()) == generation:
        return rows.Z.take(order, 0), rows.Y.take(order, 0)
    epochs, Z_0, Y_0 = _epochs(rows), _latent(rows, rows.Z), _latent(rows, rows.Y)
    asked, fresh = epochs != INJECTED, epochs == generation
    with np.errstate(over="ignore"):
        Y = np.clip((rows.X - mean) / sigma, -_FAR, _FAR)
    Y[asked] = (1 - _PULL) * Y_0[asked] + _PULL * Y[asked]
    Z = whiten(Y)
    n, length = Y.shape[1], _lengths(Z)
    wanted = np.where(asked, _lengths(Z_0), np.minimum(length, math.sqrt(n) + 2 * n / (n + 2)))
    change = (wanted / np.maximum(length, _TINY))[:, None]
    Z, Y = Z * change, Y * change
    Z[length < _TINY] = _TINY  # the mean itself: some direction, so that its length is not 0
    Z[fresh], Y[fresh] = Z_0[fresh], Y_0[fresh]
    return Z[order], Y[order]


def _lengths(Z: Array) -> Array:
    """Of the rows of Z: (k, dim). Returns: (k,)."""
    length: Array = np.sqrt(np.einsum("ij,ij->i", Z, Z))
    return length


def weighted_noise(
    rows: Population,
    order: NDArray[np.intp],
    weights: Array,
    generation: int,
    mean: Array,
    sigma: float,
) -> Array:
    """Sum of weights * z over rows of N(mean, sigma^2 I), the distribution of `generation`.

    The noise of rows drawn from it is drawn once more, that of others is what `latent_rows` says;
    never more than a block of rows at a time, and by additions of rows alone, so that every process
    that has the same values comes to the same bits.

    order: (k,) rows, weights: (k,) of these; a weight of 0 costs nothing. Returns: (dim,).
    """
    total = np.zeros_like(mean)
    order, weights = order[weights != 0], weights[weights != 0]
    by_id = np.argsort(rows.id[order], kind="stable")  # neighbours share what is drawn
    order, weights = order[by_id], weights[by_id]
    step = max(1, BLOCK // len(mean))
    drawn = (rows.epoch[order] != INJECTED) & is_drawn(rows.X)
    fresh = (rows.epoch[order] == generation) & drawn
    for mine in map(np.flatnonzero, (fresh, drawn & ~fresh, ~drawn)):
        for start in range(0, len(mine), step):
            part = mine[start : start + step]
            block = rows.take(order[part])
            Z = noise_of(block.X) if drawn[part[0]] else None
            if Z is None or not fresh[part[0]]:
                block = Population(block.id, block.epoch, np.asarray(block.X), Z, Z)
                Z, _ = latent_rows(block, np.arange(len(part)), generation, mean, sigma, _same)
            if len(part) == 1:
                total += weights[part[0]] * Z[0]
            else:
                total += (weights[part, None] * Z).sum(axis=0)
    return total


def _same(Y: Array) -> Array:
    return Y

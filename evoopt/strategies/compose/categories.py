"""Categorical variables next to a Gaussian: one distribution of both, moved by natural gradient.

Each categorical variable has a probability for each of its choices. The better candidates of a
generation raise those of theirs, by a step whose length adapts to how consistent the steps are; a
floor keeps every choice possible. The strategy inside learns the other variables from the same
rows. In the search vector, choice i of K is the number i / (K - 1).
Cost: O(popsize m K) a generation for m such variables of up to K choices.

Source: R. Hamano, S. Saito, M. Nomura, K. Uchida & S. Shirakawa, CatCMA: Stochastic Optimization
for Mixed-Category Problems, GECCO 2024, arXiv:2405.09962 (joint distribution, floor); Y. Akimoto,
S. Shirakawa, N. Yoshinari, K. Uchida, S. Saito & K. Nishida, Adaptive Stochastic Natural Gradient
Method for One-Shot Neural Architecture Search, ICML 2019, arXiv:1905.08537 (step length, App. B for
the root of the Fisher matrix). Literal form: tests/reference.
Differences from the source: the Gaussian is that of the strategy inside, with active weights; a
failed candidate has no weight; the length of a step is taken from this generation's factor, not
from that of the one before.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies.base import (
    INJECTED,
    Claims,
    Path,
    Population,
    Portrait,
    Strategy,
    ranked,
)
from evoopt.strategies.collect import NOTHING, Waiting, collect
from evoopt.strategies.weights import recombination

Array = NDArray[np.float64]

_STREAM = -2  # of the random numbers that choose; restarts take theirs from -1, 0, 1, ...
_KEPT = 0.73  # share of the candidates without a choice that only the floor kept (CatCMA)
_RATIO = 1.5  # alpha of ASNG: signal to noise at which the step length stays
_TINY = 1e-30  # avoids 0/0 where the parents are as the distribution


class CategoriesState(NamedTuple):
    """The state of the strategy inside, and the distribution of the categories.

    Attributes:
        inner: state of the strategy inside.
        P: (m, K) probabilities of the choices, initially equal; 0 beyond the last choice.
        path: (m, K) accumulated steps (s of ASNG), initially 0.
        gain: (gamma of ASNG) squared length of the path, had the steps been random; initially 0.
        factor: (Delta of ASNG) one over the length of a step, initially 1.
        waiting: rows told but not used yet, with their categories.
        seed, stream: name the random numbers that choose.
    """

    inner: Any
    P: Array
    path: Array
    gain: float
    factor: float
    waiting: Waiting
    seed: int
    stream: Path


@dataclass(frozen=True, slots=True)
class Categories:
    """A strategy of the numeric variables, and the categorical ones.

    Attributes:
        inner: a strategy on the variables that are not categorical.
        where: (dim,) which variables are categorical, m of them.
        is_choice: (m, K) which entries of P are choices.
        last: (m,) number of the last choice, the first being 0.
        floor: (m, 1) least probability of a choice.
        weights: (popsize,) of the candidates, best first.
    """

    inner: Strategy
    where: NDArray[np.bool_]
    is_choice: NDArray[np.bool_]
    last: NDArray[np.int64]
    floor: Array
    weights: Array

    @staticmethod
    def around(inner: Strategy, choices: NDArray[np.int64]) -> Categories:
        """`inner` on the other variables. choices: (dim,) of a variable; 0 where it is numeric,
        else at least 2."""
        where = choices > 0
        counts = choices[where]
        assert inner.dim == (~where).sum()
        assert (counts > 1).all()
        weights = recombination(1, inner.popsize, active=False).weights
        return Categories(
            inner,
            where,
            np.arange(counts.max()) < counts[:, None],
            counts - 1,
            ((1 - _KEPT ** (1 / len(counts))) / (counts - 1))[:, None],
            np.maximum(weights, 0.0),
        )

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dim(self) -> int:
        return len(self.where)

    @property
    def popsize(self) -> int:
        return self.inner.popsize

    @property
    def claims(self) -> Claims:
        return Claims(translation=False)  # a category cannot be shifted

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> CategoriesState:
        """All choices are equally likely, whatever x0 is in the categories. x0: (dim,)."""
        x = np.array(x0, dtype=np.float64)[~self.where]
        inner = self.inner.init(x, sigma0, seed, path)
        P = self.is_choice / self.is_choice.sum(axis=1, keepdims=True)
        return CategoriesState(
            inner, P, np.zeros_like(P), 0.0, 1.0, NOTHING, seed, (*path, _STREAM)
        )

    def ask(self, state: CategoriesState, k: int) -> tuple[Population, CategoriesState]:
        """k candidates."""
        rows, inner = self.inner.ask(state.inner, k)
        X = np.empty((len(rows), self.dim))
        X[:, ~self.where] = rows.X
        if len(rows):
            first, m = int(rows.id[0]), len(state.P)
            u = rng.uniforms(state.seed, state.stream, first, len(rows), m)  # ~ U[0, 1)
            beyond = u[:, :, None] >= state.P.cumsum(axis=1)
            X[:, self.where] = np.minimum(beyond.sum(axis=2), self.last) / self.last
        return Population(rows.id, rows.epoch, X, inner=rows), state._replace(inner=inner)

    def tell(
        self, state: CategoriesState, population: Population, values: Values
    ) -> CategoriesState:
        """Hands the numeric part on; each popsize of rows make one update of both."""
        order = np.argsort(population.id, kind="stable")
        while len(order):
            wanted = self.batch(state)
            rows, order = order[:wanted], order[wanted:]
            state = self._told(state, population.take(rows), values.F[rows])
        return state

    def _told(self, state: CategoriesState, population: Population, F: Array) -> CategoriesState:
        """After rows for one update at most."""
        rows = population.inner
        if rows is None:
            foreign = np.full(len(population), INJECTED)
            rows = Population(population.id, foreign, population.X[:, ~self.where])
        inner = self.inner.tell(state.inner, rows, Values(F))
        numbers = np.rint(population.X[:, self.where] * self.last)
        chosen = Population(population.id, population.epoch, numbers)
        _, waiting = collect(state.waiting, chosen, F, sys.maxsize)
        state = state._replace(inner=inner, waiting=waiting)
        if self.batch(state):
            return state
        assert waiting.rows is not None
        return self._updated(state._replace(waiting=NOTHING), waiting.rows, waiting.F)

    def _updated(self, state: CategoriesState, rows: Population, F: Array) -> CategoriesState:
        """After one generation. rows: popsize of them, X: (popsize, m) numbers of choices."""
        order, f = ranked(F, rows.id)
        if not -math.inf < f[0] < math.inf:
            return state
        P = state.P
        places = np.arange(P.shape[1])
        chosen = rows.X[order][:, :, None] == places  # (popsize, m, K), one-hot
        weights = np.where(np.isfinite(f), self.weights, 0.0)
        gradient = np.einsum("i,ijk->jk", weights, chosen - P) * self.is_choice
        step = _in_fisher_units(P, gradient, self.is_choice)
        length = math.sqrt(float((step * step).sum())) + _TINY
        delta = 1 / state.factor
        moved = P + delta / length * gradient

        # length of the next step
        free = float(self.is_choice.sum() - len(P))  # parameters of the distribution
        beta = min(1.0, delta / math.sqrt(free))
        path = (1 - beta) * state.path + math.sqrt(beta * (2 - beta)) * step / length
        gain = (1 - beta) ** 2 * state.gain + beta * (2 - beta)
        factor = state.factor * math.exp(beta * (gain - float((path * path).sum()) / _RATIO))
        return state._replace(P=self._floored(moved), path=path, gain=gain, factor=factor)

    def _floored(self, P: Array) -> Array:
        """Probabilities of at least the floor that sum to 1. P: (m, K)."""
        P = np.where(self.is_choice, np.maximum(P, self.floor), 0.0)
        above = np.where(self.is_choice, P - self.floor, 0.0)
        excess = P.sum(axis=1, keepdims=True) - 1
        P = P - excess * above / above.sum(axis=1, keepdims=True)
        floored: Array = P / P.sum(axis=1, keepdims=True)
        return floored

    def batch(self, state: CategoriesState) -> int:
        """popsize, less the rows that wait already."""
        return self.popsize - len(state.waiting.F)

    def generation(self, state: CategoriesState) -> int:
        """As the strategy inside."""
        return self.inner.generation(state.inner)

    def stop(self, state: CategoriesState) -> StopReason | None:
        """As the strategy inside."""
        return self.inner.stop(state.inner)

    def portrait(self, state: CategoriesState) -> Portrait:
        """As the strategy inside, with the likeliest category of each variable in the mean."""
        p = self.inner.portrait(state.inner)
        mean = np.empty(self.dim)
        mean[~self.where], mean[self.where] = p.mean, state.P.argmax(axis=1) / self.last
        return Portrait(mean, p.sigma, p.axes, p.generation, p.restarts)


def _in_fisher_units(P: Array, gradient: Array, is_choice: NDArray[np.bool_]) -> Array:
    """The gradient times a root of the Fisher matrix (ASNG, App. B), which is that of the first
    K - 1 probabilities of each variable; 0 in the place of the last one. All: (m, K)."""
    last = is_choice.sum(axis=1, keepdims=True) - 1
    p_last = np.take_along_axis(P, last, axis=1)
    is_free = np.arange(P.shape[1]) < last
    first = np.where(is_free, gradient, 0.0)
    root = np.sqrt(np.where(is_free, P, 1.0))
    step = first / root + root * first.sum(axis=1, keepdims=True) / (p_last + np.sqrt(p_last))
    return np.where(is_free, step, 0.0)

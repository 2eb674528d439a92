"""OpenAI-ES: the gradient of the expected rank, estimated by mirrored pairs, followed by Adam.

When: policies with up to millions of weights on many workers, where values are noisy, and many
evaluations a generation are to be had: workers exchange ids and values (`Drawn`). When not: where a
covariance can be learnt; nothing is found more precisely than the fixed steps are long.
Cost: O(popsize n) a generation, to draw the points and once more for the update; O(n) memory.

Source: T. Salimans, J. Ho, X. Chen, S. Sidor & I. Sutskever, Evolution strategies as a scalable
alternative to reinforcement learning, arXiv:1703.03864, Algorithm 2, and openai/
evolution-strategies-starter, es.py, optimizers.py, humanoid.json (ranks, pairs, Adam, constants).
Differences from the source: `step_size` is in units of sigma0 (0.5 reproduces the source's step of
.01 with its sigma of .02), so that the units of x do not matter; weight decay is off by default
(the source: .005), for it draws towards x = 0; equal values share their mean rank; noise comes from
a counter, not from a table; late results count; a generation that failed whole changes nothing.
With a row of a pair missing, failed or late, the other one counts alone: sum of rank * z over all
rows, divided by their number, is the source's estimate where the pairs are complete.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.result import Values
from evoopt.strategies.base import Claims, Ids, Path, Population, new_rows, ranked
from evoopt.strategies.collect import NOTHING, GenerationalState, told, weighted_noise
from evoopt.strategies.course import Course
from evoopt.strategies.drawn import Drawn, Noise, as_array
from evoopt.strategies.isotropic import Isotropic
from evoopt.strategies.stopping import Tolerances
from evoopt.strategies.weights import check_popsize, default_popsize

Array = NDArray[np.float64]

STEP_SIZE = 0.5  # in units of sigma0: .01 / .02 of humanoid.json
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # optimizers.py, Adam
_MOMENTUM = 0.9  # optimizers.py, SGD


class OpenAIDistribution(NamedTuple):
    """The search distribution N(mean, sigma^2 I) after `generation` updates.

    Attributes:
        mean: (dim,) theta in the source. sigma: step size of the samples; it never changes.
        first, second: (dim,) running means of the gradient and of its square, initially 0; second
            is (0,) with "sgd".
        updates: generations that were not wholly failed (t in the source).
        generation: number of updates, wholly failed generations included.
    """

    mean: Array
    sigma: float
    first: Array
    second: Array
    updates: int
    generation: int


@dataclass(frozen=True, slots=True)
class OpenAIES(Isotropic):
    """Constants of OpenAI-ES.

    Attributes:
        mirrored: candidates 2i and 2i + 1 are mean + sigma z and mean - sigma z.
        optimizer: "adam", or "sgd" with momentum .9.
        step_size: of the optimizer, in units of sigma.
        weight_decay: l2coeff of the source, in units of 1 / x.
    """

    dim: int
    popsize: int
    mirrored: bool
    optimizer: str
    step_size: float
    weight_decay: float
    tolerances: Tolerances
    name: str = "openai-es"
    claims: Claims = Claims(
        options=frozenset(
            {"popsize", "restarts", "asynchronous"}
            | {"mirrored", "optimizer", "step_size", "weight_decay"}
        ),
        drawn=True,
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,
        mirrored: bool = True,
        optimizer: Literal["adam", "sgd"] = "adam",
        step_size: float = STEP_SIZE,
        weight_decay: float = 0.0,
        tolerances: Tolerances | None = None,
    ) -> OpenAIES:
        """The default popsize is that of CMA-ES made even; the source has thousands.

        Raises:
            ConfigurationError: an option cannot be used.
        """
        lam = default_popsize(dim) if popsize is None else check_popsize(popsize, "OpenAIES")
        if popsize is None and mirrored:
            lam += lam % 2
        if optimizer not in ("adam", "sgd"):
            raise _refused("optimizer", "adam or sgd", optimizer)
        if not 0 < step_size < math.inf:
            raise _refused("step_size", "positive and finite", step_size)
        if not 0 <= weight_decay < math.inf:
            raise _refused("weight_decay", "0 or positive, and finite", weight_decay)
        stagnation = Tolerances.default(dim, lam).tolstagnation
        bars = replace(Tolerances.off(), tolstagnation=stagnation)  # as the canonical ES
        strategy = OpenAIES(
            dim=dim,
            popsize=lam,
            mirrored=mirrored,
            optimizer=optimizer,
            step_size=float(step_size),
            weight_decay=float(weight_decay),
            tolerances=bars if tolerances is None else tolerances,
        )
        if weight_decay:
            return replace(strategy, claims=replace(strategy.claims, translation=False))
        return strategy

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> GenerationalState:
        """N(x0, sigma0^2 I). x0: (dim,)."""
        mean, n = np.array(x0, dtype=np.float64), self.dim
        second = np.zeros(n if self.optimizer == "adam" else 0)
        start = OpenAIDistribution(mean, float(sigma0), np.zeros(n), second, 0, 0)
        return GenerationalState(start, Course.start(mean), NOTHING, 0, seed, path, float(sigma0))

    def points(self, state: GenerationalState, ids: Ids) -> Array:
        """x ~ N(mean, sigma^2 I) of each id. ids: (k,). Returns: (k, dim), made when looked at."""
        d, noise = state.distribution, Noise(state.seed, state.path, self.mirrored)
        return as_array(Drawn.around(d.mean, d.sigma, ids, noise))

    def ask(self, state: GenerationalState, k: int) -> tuple[Population, GenerationalState]:
        """k candidates, drawn when they are looked at."""
        first = state.next_id
        ids, epochs = new_rows(first, k, state.distribution.generation)
        population = Population(ids, epochs, self.points(state, ids))
        return population, state._replace(next_id=first + k)

    def tell(
        self, state: GenerationalState, population: Population, values: Values
    ) -> GenerationalState:
        """Each popsize rows, whenever they come, make one update of the distribution."""
        return told(state, population, values.F, self.popsize, self._update)

    def _update(
        self, d: OpenAIDistribution, course: Course, rows: Population, F: Array
    ) -> tuple[OpenAIDistribution, Course]:
        """One generation. rows: popsize of them; F: (popsize,)."""
        order, f = ranked(F, rows.id)
        if not -math.inf < f[0] < math.inf:
            return d._replace(generation=d.generation + 1), course.after_failed()
        ranks = centred_ranks(f)
        estimate = weighted_noise(rows, order, ranks, d.generation, d.mean, d.sigma)
        slope = estimate / -self.popsize  # of f: es.py, globalg with its sign
        if self.weight_decay:
            slope += self.weight_decay * d.mean
        after = self._moved(d, slope)
        return after, course.after(f, after.mean, self.tolerances.tolxstagnation)

    def _moved(self, d: OpenAIDistribution, slope: Array) -> OpenAIDistribution:
        """After one step of the optimizer. slope: (dim,)."""
        t, second = d.updates + 1, d.second
        if self.optimizer == "sgd":
            first = _MOMENTUM * d.first + (1 - _MOMENTUM) * slope
            step = (self.step_size * d.sigma) * first
        else:
            first = _BETA_1 * d.first + (1 - _BETA_1) * slope
            with np.errstate(over="ignore"):  # of a huge weight decay: the step is 0
                second = _BETA_2 * d.second + (1 - _BETA_2) * (slope * slope)
            rate = self.step_size * math.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
            step = (rate * d.sigma) * (first / (np.sqrt(second) + _EPSILON))
        return OpenAIDistribution(d.mean - step, d.sigma, first, second, t, d.generation + 1)


def centred_ranks(f: list[float]) -> Array:
    """From .5 for the best to -.5 for the worst; equal values, and all failed ones, share the mean
    of their ranks. f: k values, best first, failed ones last. Returns: (k,)."""
    values = np.array([v if math.isfinite(v) else math.inf for v in f])
    first = np.searchsorted(values, values, "left")
    last = np.searchsorted(values, values, "right") - 1
    return 0.5 - (first + last) / 2 / (len(f) - 1)  # es.py, compute_centered_ranks


def _refused(option: str, expected: str, got: object) -> ConfigurationError:
    return ConfigurationError(f"OpenAIES({option}=...) must be {expected}; got {got!r}")

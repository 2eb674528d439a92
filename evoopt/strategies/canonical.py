"""The canonical (mu, lambda)-ES of neural policies: one weighted mean of the best steps, no more.

When: policies with up to millions of weights on many workers, whose values are noisy and whose
scale is known: workers exchange ids and values, for points are functions of their ids (`Drawn`).
When not: whatever a covariance can be learnt for, below about a thousand variables; with a fixed
step size (`csa=False`) nothing is found more precisely than a step is long.
Cost: O(popsize n) a generation to draw the points and O(mu n) for the update; O(n) memory.

Source: P. Chrabaszcz, I. Loshchilov & F. Hutter, Back to basics: benchmarking canonical evolution
strategies for playing Atari, IJCAI 2018, arXiv:1802.08842, Algorithm 1; `csa`: cumulative step-size
adaptation as in the authors' code.
Differences from the source: noise is drawn from a counter, not from a table; mu and popsize have
defaults (the paper: 50 of 798, from 400 processors); a generation that failed whole changes
nothing; the exponent of the step-size rule is at most 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

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

_MAX_EXPONENT = 1.0  # not in paper: sigma grows at most e-fold a generation, as in CMA-ES here


class CanonicalDistribution(NamedTuple):
    """The search distribution N(mean, sigma^2 I) after `generation` updates.

    Attributes:
        mean: (dim,) theta in the paper. sigma: step size.
        p_sigma: (dim,) evolution path, initially 0; (0,) without `csa`.
        generation: number of updates, wholly failed generations included.
    """

    mean: Array
    sigma: float
    p_sigma: Array
    generation: int


@dataclass(frozen=True, slots=True)
class CanonicalES(Isotropic):
    """Constants of the canonical ES; `default` computes them.

    Attributes:
        weights: (mu,) of the best mu rows, best first; their sum is 1.
        mueff: variance-effective selection mass.
        csa: whether the step size adapts; c_sigma: its rate.
    """

    dim: int
    popsize: int
    mu: int
    weights: Array
    mueff: float
    csa: bool
    c_sigma: float
    tolerances: Tolerances
    name: str = "canonical-es"
    claims: Claims = Claims(
        options=frozenset({"popsize", "restarts", "inject", "asynchronous", "mu", "csa"}),
        drawn=True,
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,
        mu: int | None = None,
        csa: bool = False,
        tolerances: Tolerances | None = None,
    ) -> CanonicalES:
        """mu: parents, from 1 to popsize; default: half of popsize.

        Raises:
            ConfigurationError: popsize or mu cannot be used.
        """
        lam = default_popsize(dim) if popsize is None else check_popsize(popsize, "CanonicalES")
        if mu is None:
            mu = lam // 2
        elif isinstance(mu, bool) or not isinstance(mu, int | np.integer) or not 1 <= mu <= lam:
            raise ConfigurationError(
                f"CanonicalES(mu=...) must be a whole number from 1 to popsize={lam}; got {mu!r}"
            )
        raw = math.log(mu + 0.5) - np.log(np.arange(1, mu + 1))  # Algorithm 1, line 3
        weights = raw / raw.sum()
        mueff = float(1 / (weights**2).sum())
        return CanonicalES(
            dim=dim,
            popsize=lam,
            mu=int(mu),
            weights=weights,
            mueff=mueff,
            csa=csa,
            c_sigma=(mueff + 2) / (dim + mueff + 5),
            tolerances=_tolerances(dim, lam, csa) if tolerances is None else tolerances,
        )

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> GenerationalState:
        """N(x0, sigma0^2 I). x0: (dim,)."""
        mean = np.array(x0, dtype=np.float64)
        p_sigma = np.zeros(self.dim if self.csa else 0)
        start = CanonicalDistribution(mean, float(sigma0), p_sigma, 0)
        return GenerationalState(start, Course.start(mean), NOTHING, 0, seed, path, float(sigma0))

    def points(self, state: GenerationalState, ids: Ids) -> Array:
        """x ~ N(mean, sigma^2 I) of each id. ids: (k,). Returns: (k, dim), made when looked at."""
        d = state.distribution
        return as_array(Drawn.around(d.mean, d.sigma, ids, Noise(state.seed, state.path, False)))

    def ask(self, state: GenerationalState, k: int) -> tuple[Population, GenerationalState]:
        """k candidates, drawn when they are looked at (line 6)."""
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
        self, d: CanonicalDistribution, course: Course, rows: Population, F: Array
    ) -> tuple[CanonicalDistribution, Course]:
        """One generation. rows: popsize of them; F: (popsize,)."""
        order, f = ranked(F, rows.id)
        generation = d.generation + 1
        if not -math.inf < f[0] < math.inf:
            return d._replace(generation=generation), course.after_failed()
        best = order[: self.mu]
        step = weighted_noise(rows, best, self.weights, d.generation, d.mean, d.sigma)
        mean = d.mean + d.sigma * step  # Algorithm 1, line 9
        sigma, p_sigma = d.sigma, d.p_sigma
        if self.csa:
            sigma, p_sigma = self._adapted(d, step)
        after = CanonicalDistribution(mean, sigma, p_sigma, generation)
        return after, course.after(f, mean, self.tolerances.tolxstagnation)

    def _adapted(self, d: CanonicalDistribution, step: Array) -> tuple[float, Array]:
        """Step size and path after a step of the mean, in units of sigma: (dim,)."""
        c = self.c_sigma
        p_sigma = (1 - c) * d.p_sigma + math.sqrt(c * (2 - c) * self.mueff) * step
        exponent = c / 2 * (float((p_sigma * p_sigma).sum()) / self.dim - 1)
        return d.sigma * math.exp(min(_MAX_EXPONENT, exponent)), p_sigma


def _tolerances(dim: int, popsize: int, csa: bool) -> Tolerances:
    """With a fixed step size only a long stagnation says that nothing more will come: the range of
    f stays what a step makes of it, and a plateau is crossed by steps of any direction."""
    default = Tolerances.default(dim, popsize)
    return default if csa else replace(Tolerances.off(), tolstagnation=default.tolstagnation)

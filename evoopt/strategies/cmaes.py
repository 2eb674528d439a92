"""CMA-ES: full covariance matrix adaptation with active weights and cumulative step-size control.

When: ill-conditioned, non-separable, rugged or noisy functions of 2 to a few hundred variables.
When not: thousands of variables (memory is O(n^2)), or smooth functions whose gradient is known.
Cost: O(popsize n^2) a generation, and O(n^3) for an eigendecomposition every `eigen_gap`
generations, a gap over which the sum of both stays O(n^2) a candidate.

Source: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772 (Eq. numbers below).
Differences from the source: c_mu has pycma's offset +1/4 with active weights; the exponent of the
step-size rule is at most 1; a generation that failed whole changes nothing. The eigendecomposition
is lazy (Sec. B.2) with the gap 1/(2 n (c_1 + c_mu)) of pycma's purecma, also bounded so that the
covariance stays positive definite with active weights: see `_safe_gap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.result import StopReason, Values
from evoopt.strategies import stopping
from evoopt.strategies.base import Claims, Path, Population, Portrait, new_rows, ranked
from evoopt.strategies.collect import NOTHING, Generational, GenerationalState, latent_rows, told
from evoopt.strategies.course import Course
from evoopt.strategies.initial import ellipsoid
from evoopt.strategies.stopping import Shape, Tolerances
from evoopt.strategies.weights import check_popsize, default_popsize, recombination

Array = NDArray[np.float64]

_MAX_EXPONENT = 1.0  # not in paper: sigma grows at most e-fold a generation, as in pycma
_LAZY = 2.0  # the decomposition then costs less than the sampling, and no evaluations are lost
_SAFE_FLOOR = 0.1  # the smallest share of an eigenvalue that may be left before a decomposition


class CMADistribution(NamedTuple):
    """The search distribution N(mean, sigma^2 C) after `generation` updates.

    Attributes:
        mean: (dim,) initially x0. sigma: step size, initially sigma0.
        C: (dim, dim) covariance, initially I. Only its lower triangle is read.
        B, D: (dim, dim) eigenvectors as columns, (dim,) square roots of the eigenvalues, ascending,
            of the C of generation `decomposed`.
        p_sigma, p_c: (dim,) evolution paths, initially 0.
        generation: number of updates, wholly failed generations included.
    """

    mean: Array
    sigma: float
    C: Array
    B: Array
    D: Array
    p_sigma: Array
    p_c: Array
    generation: int
    decomposed: int


@dataclass(frozen=True, slots=True)
class CMAES(Generational):
    """Constants of CMA-ES; `default` computes them. Attributes: see `weights.Recombination`."""

    dim: int
    popsize: int
    weights: Array  # (popsize,) best first, the rows after mu <= 0
    mu: int
    mueff: float
    c_m: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi_n: float
    eigen_gap: float  # generations between two eigendecompositions
    tolerances: Tolerances
    shape: Array | None  # (dim, dim) the first C, up to a factor; None for I

    # products of the above; those of shape () are arrays because numpy multiplies by an array of no
    # dimensions in two thirds of the time that a float takes
    parents: Array  # (popsize,) the positive weights, then zeros
    parents_sigma: Array  # (popsize,) sqrt(c_sigma (2 - c_sigma) mueff) times the positive weights
    gains: Array  # (popsize, 1) c_mu times the positive weights
    losses: Array  # (popsize, 1) c_mu n times the negative weights
    keep_sigma: Array  # () 1 - c_sigma
    keep_c: Array  # () 1 - c_c
    gain_c: Array  # () sqrt(c_c (2 - c_c) mueff)
    rate_path: Array  # () c_1
    decay: Array  # () 1 - c_1 - c_mu sum w
    decay_stalled: Array  # () decay + c_1 c_c (2 - c_c), for h_sigma = 0
    stall: float  # (1.4 + 2 / (n + 1)) chi_n: from this length of p_sigma on, h_sigma is 0
    ones: Array  # (dim, 1) for sums over a row
    name: str = "cma-es"
    claims: Claims = Claims(
        rotation=True,
        options=frozenset(
            {"popsize", "restarts", "inject", "integers", "warm_start", "asynchronous", "active"}
        ),
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,
        active: bool = True,
        tolerances: Tolerances | None = None,
        shape: Array | None = None,
    ) -> CMAES:
        """Table 1 for `dim` variables; without `active` the negative weights are zero.

        shape: (dim, dim) positive definite: the search begins as N(x0, sigma0^2 shape).
        """
        lam = default_popsize(dim) if popsize is None else check_popsize(popsize, "CMAES")
        r = recombination(dim, lam, active=active)
        parents = np.maximum(r.weights, 0.0)
        decay = 1 - r.c_1 - r.c_mu * float(r.weights.sum())
        return CMAES(
            dim=dim,
            popsize=lam,
            weights=r.weights,
            parents=parents,
            parents_sigma=math.sqrt(r.c_sigma * (2 - r.c_sigma) * r.mueff) * parents,
            gains=r.c_mu * parents[:, None],
            losses=r.c_mu * dim * np.minimum(r.weights, 0.0)[:, None],
            keep_sigma=np.array(1 - r.c_sigma),
            keep_c=np.array(1 - r.c_c),
            rate_path=np.array(r.c_1),
            decay=np.array(decay),
            stall=(1.4 + 2 / (dim + 1)) * r.chi_n,
            decay_stalled=np.array(decay + r.c_1 * r.c_c * (2 - r.c_c)),
            ones=np.ones((dim, 1)),
            mu=r.mu,
            mueff=r.mueff,
            c_m=1.0,
            c_sigma=r.c_sigma,
            d_sigma=r.d_sigma,
            c_c=r.c_c,
            c_1=r.c_1,
            c_mu=r.c_mu,
            chi_n=r.chi_n,
            gain_c=np.array(math.sqrt(r.c_c * (2 - r.c_c) * r.mueff)),
            eigen_gap=min(
                1 / ((r.c_1 + r.c_mu) * dim * _LAZY), _safe_gap(r.weights, r.c_1, r.c_mu, dim)
            ),
            tolerances=Tolerances.default(dim, lam) if tolerances is None else tolerances,
            shape=shape,
        )

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> GenerationalState:
        """N(x0, sigma0^2 I), or with `shape` instead of I. x0: (dim,)."""
        n = self.dim
        mean = np.array(x0, dtype=np.float64)
        factor, C, B, D = ellipsoid(self.shape, n)
        start = CMADistribution(
            mean, float(sigma0) * factor, C, B, D, np.zeros(n), np.zeros(n), 0, 0
        )
        return GenerationalState(start, Course.start(mean), NOTHING, 0, seed, path, float(sigma0))

    def shaped(self, state: GenerationalState, shape: Array, sigma: float) -> GenerationalState:
        """A fresh state with the covariance sigma^2 shape, det shape = 1."""
        _, C, B, D = ellipsoid(shape, self.dim)
        start = state.distribution._replace(sigma=sigma, C=C, B=B, D=D)
        return state._replace(distribution=start)

    def ask(self, state: GenerationalState, k: int) -> tuple[Population, GenerationalState]:
        """k candidates ~ N(mean, sigma^2 C), Eqs. (38)-(40)."""
        d = state.distribution
        Z = rng.normals(state.seed, state.path, state.next_id, k, self.dim)  # ~ N(0, I)
        Y = (Z * d.D).dot(d.B.T)  # ~ N(0, C)
        X = d.mean + d.sigma * Y  # ~ N(mean, sigma^2 C)
        ids, epochs = new_rows(state.next_id, k, d.generation)
        return Population(ids, epochs, X, Z, Y), GenerationalState(
            d, state.course, state.waiting, state.next_id + k, state.seed, state.path, state.sigma0
        )

    def tell(
        self, state: GenerationalState, population: Population, values: Values
    ) -> GenerationalState:
        """Collects rows; each popsize of them make one update of the distribution."""
        return told(state, population, values.F, self.popsize, self._update)

    def _update(
        self, d: CMADistribution, course: Course, rows: Population, F: Array
    ) -> tuple[CMADistribution, Course]:
        """One generation, in the order of the tutorial. rows: popsize of them; F: (popsize,)."""
        order, f = ranked(F, rows.id)
        generation = d.generation + 1
        if not -math.inf < f[0] < math.inf:
            return d._replace(generation=generation), course.after_failed()
        Z, Y = latent_rows(
            rows,
            order,
            d.generation,
            d.mean,
            d.sigma,
            lambda Y: Y.dot(d.B) / d.D,  # z = D^-1 B^T y
        )

        # recombination
        y_w = self.parents.dot(Y)
        mean = d.mean + (self.c_m * d.sigma) * y_w  # Eqs. (41), (42)

        # step size
        p_sigma = self.keep_sigma * d.p_sigma  # Eq. (43), with C^-1/2 y_w = B z_w
        p_sigma += d.B.dot(self.parents_sigma.dot(Z))
        length = math.sqrt(p_sigma.dot(p_sigma))
        exponent = (self.c_sigma / self.d_sigma) * (length / self.chi_n - 1)
        sigma = d.sigma * math.exp(min(_MAX_EXPONENT, exponent))  # Eq. (44)

        # covariance
        unbiased = length / math.sqrt(1 - (1 - self.c_sigma) ** (2 * generation))
        h_sigma = unbiased < self.stall
        p_c = self.keep_c * d.p_c  # Eq. (45)
        if h_sigma:
            p_c += self.gain_c * y_w
        C = self._covariance(d.C, p_c, Y, Z, h_sigma)

        # eigendecomposition, if due
        B, D, decomposed = d.B, d.D, d.decomposed
        if generation - decomposed > self.eigen_gap:
            C, B, D = _eigen(C)
            decomposed = generation
        after = CMADistribution(mean, sigma, C, B, D, p_sigma, p_c, generation, decomposed)
        return after, course.after(f, mean, self.tolerances.tolxstagnation)

    def _covariance(self, C: Array, p_c: Array, Y: Array, Z: Array, h_sigma: bool) -> Array:
        """Eqs. (46), (47); a row with negative weight counts as if C^-1/2 y = B z had the length
        sqrt(n). Y, Z: (popsize, dim), best first."""
        rates = self.gains + self.losses / (Z * Z).dot(self.ones)
        after = (self.decay if h_sigma else self.decay_stalled) * C
        after += (self.rate_path * p_c)[:, None].dot(p_c[None])
        after += (rates * Y).T.dot(Y)
        return after

    def stop(self, state: GenerationalState) -> StopReason | None:
        """The first of `stopping`'s criteria that fires."""
        d = state.distribution
        std = np.sqrt(d.C.diagonal())
        shape = Shape(d.mean, d.sigma, state.sigma0, std, d.p_c, d.D, d.B)
        return stopping.first_reason(self.tolerances, state.course, self.popsize, shape)

    def marginals(self, state: GenerationalState, where: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Mean and standard deviation of the chosen coordinates, as `ask` draws them."""
        d = state.distribution
        axes = d.B[where] * d.D
        return d.mean[where], d.sigma * np.sqrt((axes * axes).sum(axis=1))

    def moved(
        self, state: GenerationalState, where: NDArray[np.bool_], mean: Array
    ) -> GenerationalState:
        """The state with another mean in the chosen coordinates."""
        d = state.distribution
        after = d.mean.copy()
        after[where] = mean
        return state._replace(distribution=d._replace(mean=after))

    def portrait(self, state: GenerationalState) -> Portrait:
        """Mean, step size and axis lengths."""
        d = state.distribution
        return Portrait(d.mean, d.sigma, d.D, d.generation)


def _lapack_eigh() -> Callable[[Array], tuple[Array, Array]]:
    """What np.linalg.eigh calls, without the 5 us of checks around it (of 14 us at n = 10), where
    this numpy has it by its name of old; otherwise np.linalg.eigh."""
    inner = getattr(getattr(np.linalg, "_umath_linalg", None), "eigh_lo", None)
    return np.linalg.eigh if inner is None else inner


_eigh = _lapack_eigh()


def _eigen(C: Array) -> tuple[Array, Array, Array]:
    """C and its factors B, D. Rounding may turn an eigenvalue of a nearly singular C negative: then
    the diagonal is raised so far that the smallest one is a rounding error of the largest."""
    values, B = _eigh(C)
    if np.count_nonzero(np.isfinite(values)) < len(values):
        raise np.linalg.LinAlgError("the covariance of cma-es is not finite")
    if not values[0] > 0:
        raised = -2 * values[0] + np.finfo(float).eps * values[-1]  # not in paper: guard
        C = C + raised * np.eye(len(C))
        values = values + raised
    return C, B, np.sqrt(values)


def _safe_gap(weights: Array, c_1: float, c_mu: float, dim: int) -> float:
    """Generations without eigendecomposition over which C stays positive definite.

    With C_0 of the last decomposition, each later generation gives C' >= a C - b C_0 in the order
    of symmetric matrices: a = 1 - c_1 - c_mu sum w is the decay, and a row of negative weight, made
    sqrt(n) long in the metric of C_0, takes at most c_mu |w| n C_0. From C = C_0 the smallest
    relative eigenvalue after k generations is therefore at least a^k - b (1 - a^k)/(1 - a). The gap
    leaves `_SAFE_FLOOR` at the decomposition. (Eq. (52) implies the case k = 1, floor 0.)
    """
    a = 1 - c_1 - c_mu * float(weights.sum())
    b = c_mu * dim * float(-weights[weights < 0].sum())
    if b == 0:
        return math.inf
    floor, k = 1.0, 0
    while floor > _SAFE_FLOOR and k < 1000:  # the lazy gap is far below 1000 for any dim
        floor, k = a * floor - b, k + 1
    return float(max(0, k - 2)) if floor <= _SAFE_FLOOR else math.inf

"""MA-ES: matrix adaptation without covariance matrix and without decomposition, active weights.

When: as CMA-ES, where its decompositions or its code length hurt; equal to it within a few percent
in evaluations, and cheaper per generation. When not: thousands of variables (use LM-MA-ES).
Cost: O(popsize n^2) a generation; a singular value decomposition, O(n^3), every `axes_gap` = O(n)
generations, for the stopping criteria alone.

Source: H.-G. Beyer & B. Sendhoff, Simplify your covariance matrix adaptation evolution strategy,
IEEE TEVC 21(5), 2017, doi:10.1109/TEVC.2017.2680320, Fig. 3, lines M1-M12, with the update of M in
the fast form of H.-G. Beyer, GECCO 2020 companion: M (z z^T) = d z^T, so that no matrix product of
two n x n matrices is left.
Differences from the source: active weights (`active=False` gives the paper): the negative weights
of CMA-ES, each on a z made sqrt(n) long, with c_w as c_mu of CMA-ES; the exponent of the step-size
rule is at most 1; a generation that failed whole changes nothing.
"""

from __future__ import annotations

import math
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

_MAX_EXPONENT = 1.0  # not in paper: sigma grows at most e-fold a generation, as in CMA-ES here
_MIN_AXES_GAP = 50  # generations


class MADistribution(NamedTuple):
    """The search distribution N(mean, sigma^2 M M^T) after `generation` updates.

    Attributes:
        mean: (dim,) initially x0 (y in the paper). sigma: step size, initially sigma0.
        M: (dim, dim) transformation, initially I.
        p_sigma: (dim,) evolution path in the space of z, initially 0.
        generation: number of updates, wholly failed generations included.
        B, D: (dim, dim) principal axes as columns, (dim,) their lengths, ascending: of an M at most
            `axes_gap` generations old.
    """

    mean: Array
    sigma: float
    M: Array
    p_sigma: Array
    generation: int
    B: Array
    D: Array


@dataclass(frozen=True, slots=True)
class MAES(Generational):
    """Constants of MA-ES; `default` computes them. Attributes: see `weights.Recombination`."""

    dim: int
    popsize: int
    weights: Array  # (popsize,) best first, the rows after mu <= 0
    mu: int
    mueff: float
    c_m: float
    c_sigma: float
    d_sigma: float
    c_1: float
    c_mu: float  # c_w in the paper
    chi_n: float
    axes_gap: int  # generations between two decompositions for the stopping criteria
    tolerances: Tolerances
    shape: Array | None  # (dim, dim) the first M M^T, up to a factor; None for I

    # products of the above; those of shape () as in CMAES
    parents: Array  # (popsize,) the positive weights, then zeros
    parents_sigma: Array  # (popsize,) sqrt(c_sigma (2 - c_sigma) mueff) times the positive weights
    gains: Array  # (popsize, 1) c_mu / 2 times the positive weights
    losses: Array  # (popsize, 1) c_mu n / 2 times the negative weights
    keep: Array  # () 1 - c_sigma
    rate_path: Array  # () c_1 / 2
    decay: Array  # () 1 - c_1/2 - c_mu/2 sum w
    ones: Array  # (dim, 1) for sums over a row
    name: str = "ma-es"
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
    ) -> MAES:
        """The paper's constants for `dim` variables; `active` and `shape` as in CMA-ES."""
        lam = default_popsize(dim) if popsize is None else check_popsize(popsize, "MAES")
        r = recombination(dim, lam, active=active)
        parents = np.maximum(r.weights, 0.0)
        return MAES(
            dim=dim,
            popsize=lam,
            weights=r.weights,
            parents=parents,
            parents_sigma=math.sqrt(r.c_sigma * (2 - r.c_sigma) * r.mueff) * parents,
            gains=0.5 * r.c_mu * parents[:, None],
            losses=0.5 * r.c_mu * dim * np.minimum(r.weights, 0.0)[:, None],
            keep=np.array(1 - r.c_sigma),
            rate_path=np.array(0.5 * r.c_1),
            decay=np.array(1 - 0.5 * r.c_1 - 0.5 * r.c_mu * r.weights.sum()),
            ones=np.ones((dim, 1)),
            mu=r.mu,
            mueff=r.mueff,
            c_m=1.0,
            c_sigma=r.c_sigma,
            d_sigma=r.d_sigma,
            c_1=r.c_1,
            c_mu=r.c_mu,
            chi_n=r.chi_n,
            axes_gap=max(_MIN_AXES_GAP, dim),
            tolerances=Tolerances.default(dim, lam) if tolerances is None else tolerances,
            shape=shape,
        )

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> GenerationalState:
        """N(x0, sigma0^2 I), or with `shape` instead of I. x0: (dim,)."""
        n = self.dim
        mean = np.array(x0, dtype=np.float64)
        factor, _, B, D = ellipsoid(self.shape, n)
        start = MADistribution(mean, float(sigma0) * factor, B * D, np.zeros(n), 0, B, D)
        return GenerationalState(start, Course.start(mean), NOTHING, 0, seed, path, float(sigma0))

    def ask(self, state: GenerationalState, k: int) -> tuple[Population, GenerationalState]:
        """k candidates ~ N(mean, sigma^2 M M^T)."""
        d = state.distribution
        Z = rng.normals(state.seed, state.path, state.next_id, k, self.dim)  # ~ N(0, I)
        Y = Z.dot(d.M.T)  # d = M z, (M5)
        X = d.mean + d.sigma * Y  # (M6)
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
        self, d: MADistribution, course: Course, rows: Population, F: Array
    ) -> tuple[MADistribution, Course]:
        """One generation, in the order of Fig. 3. rows: popsize of them; F: (popsize,)."""
        order, f = ranked(F, rows.id)
        generation = d.generation + 1
        if not -math.inf < f[0] < math.inf:
            return d._replace(generation=generation), course.after_failed()
        Z, Y = latent_rows(rows, order, d.generation, d.mean, d.sigma, lambda Y: _solved(d.M, Y))

        # recombination
        mean = d.mean + (self.c_m * d.sigma) * self.parents.dot(Y)  # (M9)

        # path
        p_sigma = self.keep * d.p_sigma  # (M10)
        p_sigma += self.parents_sigma.dot(Z)

        # transformation
        M = self._transformation(d.M, p_sigma, Y, Z)  # (M11)

        # step size
        length = math.sqrt(p_sigma.dot(p_sigma))
        exponent = (self.c_sigma / self.d_sigma) * (length / self.chi_n - 1)
        sigma = d.sigma * math.exp(min(_MAX_EXPONENT, exponent))  # (M12)

        B, D = d.B, d.D
        if generation % self.axes_gap == 0:
            B, D = _axes(M)
        after = MADistribution(mean, sigma, M, p_sigma, generation, B, D)
        return after, course.after(f, mean, self.tolerances.tolxstagnation)

    def _transformation(self, M: Array, p: Array, Y: Array, Z: Array) -> Array:
        """M [I + c_1/2 (p p^T - I) + c_mu/2 (sum w z z^T - (sum w) I)], multiplied out with
        M z = y; a z of negative weight counts as if sqrt(n) long. Y, Z: (popsize, dim)."""
        rates = self.gains + self.losses / (Z * Z).dot(self.ones)
        after = self.decay * M
        after += (self.rate_path * M.dot(p))[:, None].dot(p[None])
        after += (rates * Y).T.dot(Z)
        return after

    def stop(self, state: GenerationalState) -> StopReason | None:
        """The first of `stopping`'s criteria that fires."""
        d = state.distribution
        std = np.sqrt((d.M * d.M).sum(axis=1))
        shape = Shape(d.mean, d.sigma, state.sigma0, std, None, d.D, d.B)
        return stopping.first_reason(self.tolerances, state.course, self.popsize, shape)

    def marginals(self, state: GenerationalState, where: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Mean and standard deviation of the chosen coordinates."""
        d = state.distribution
        rows = d.M[where]
        return d.mean[where], d.sigma * np.sqrt((rows * rows).sum(axis=1))

    def moved(
        self, state: GenerationalState, where: NDArray[np.bool_], mean: Array
    ) -> GenerationalState:
        """The state with another mean in the chosen coordinates."""
        d = state.distribution
        after = d.mean.copy()
        after[where] = mean
        return state._replace(distribution=d._replace(mean=after))

    def portrait(self, state: GenerationalState) -> Portrait:
        """Mean, step size and axis lengths, these at most `axes_gap` generations old."""
        d = state.distribution
        return Portrait(d.mean, d.sigma, d.D, d.generation)


def _solved(M: Array, Y: Array) -> Array:
    """z with M z = y, row by row. Y: (k, dim). Returns: (k, dim)."""
    Z = np.linalg.solve(M, Y.T).T
    return np.ascontiguousarray(Z, dtype=np.float64)


def _axes(M: Array) -> tuple[Array, Array]:
    """Principal axes of M M^T as columns, and their lengths, ascending."""
    U, S, _ = np.linalg.svd(M)
    return U[:, ::-1].copy(), S[::-1].copy()

"""LM-MA-ES: limited-memory matrix adaptation, the transformation kept as m directions.

When: from about a hundred variables to millions, a cheap objective, mild to severe conditioning.
When not: fewer than `LEAST_DIM` variables, where MA-ES knows the whole matrix (`minimize` takes it
instead and says so), or thousands of local optima.
Cost: O(m n) time a candidate, m = 4 + floor(3 ln n); (m + popsize) n numbers of memory.

Source: I. Loshchilov, T. Glasmachers & H.-G. Beyer, Large scale black-box optimization by
limited-memory matrix adaptation, IEEE TEVC 23(2), 2019, doi:10.1109/TEVC.2018.2855049
(arXiv:1705.06693), Algorithm 1; its step-size rule is d_sigma = 2 here, without mirroring.
Differences from the source: by default as in the authors' C code, mirrored pairs (mean + sigma d,
mean - sigma d) and the step-size rule with d_sigma = 1; rates are at most 1/2, which matters for a
popsize above n/4 only; the exponent of the step-size rule is at most 1; a generation that failed
whole changes nothing.

The reflections of a candidate by the m directions are done at once (`reflections`), in blocks of
columns that stay in the cache; `tests/reference/lmmaes_literal.py` goes direction by direction.
Noise is of single precision, and not kept but drawn again, so that a population holds X alone; it
must be weighted by the rank of its own row, which the law of row permutation tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt.result import StopReason, Values
from evoopt.strategies import stopping
from evoopt.strategies.base import INJECTED, Claims, Path, Population, Portrait, new_rows, ranked
from evoopt.strategies.collect import NOTHING, Generational, GenerationalState, latent_rows, told
from evoopt.strategies.course import Course
from evoopt.strategies.reflections import Reflections
from evoopt.strategies.stopping import Shape, Tolerances
from evoopt.strategies.weights import check_popsize, default_popsize

Array = NDArray[Any]  # float64, or float32 where the option `dtype` says so
Ids = NDArray[np.int64]

LEAST_DIM = 64  # below, c_sigma = 2 popsize / n would be above 1/2
_MOST_RATE = 0.5  # of c_sigma, c_c and c_d; reached below LEAST_DIM and for a large popsize
_MAX_EXPONENT = 1.0  # not in paper: sigma grows at most e-fold a generation, as in CMA-ES here
_WIDTH = 8192  # columns of a block: popsize rows of it fit the second-level cache
_REFRESH = 256  # generations between two computations of G from M, against drift
_CONSUME = 2**18  # numbers in M from which `tell` writes into the arrays it is given: 2 MB
_ONE = np.ones(1)
_CLAIMS = Claims(
    options=frozenset(
        {"popsize", "restarts", "inject", "asynchronous", "mirrored", "damping", "dtype"}
    ),
    least_dim=LEAST_DIM,  # from there on rotations change nothing, too: it has a test of its own
    instead="ma-es",
)


class LMDistribution(NamedTuple):
    """The search distribution after `generation` updates.

    Attributes:
        mean: (dim,) float64, initially x0 (y in the paper). sigma: step size, initially sigma0.
        p_sigma: (dim,) evolution path in the space of z, initially 0.
        M: (m, dim) directions, from quickly to slowly changing, initially 0.
        G, K: (m, m) M M^T, (used, used) for the first `used` = min(updates, m) directions: see
            `Reflections`.
        generation: number of updates, wholly failed generations included; updates: without them.
    """

    mean: Array
    sigma: float
    p_sigma: Array
    M: Array
    G: Array
    K: Array
    generation: int
    updates: int


@dataclass(frozen=True, slots=True)
class LMMAES(Generational):
    """Constants of LM-MA-ES; `default` computes them."""

    dim: int
    popsize: int
    mu: int
    weights: Array  # (mu,) best first, sum 1
    mueff: float
    m: int  # directions
    c_sigma: float
    d_sigma: float
    c_d: Array  # (m,) rates of the reflections
    c_c: Array  # (m,) rates of the directions
    mirrored: bool  # candidates 2 i and 2 i + 1 of a generation are mean + sigma d, mean - sigma d
    dtype: type[np.floating[Any]]  # of X, M and p_sigma
    tolerances: Tolerances

    # products of the above
    keep_sigma: float  # 1 - c_sigma
    gain_sigma: float  # sqrt(mueff c_sigma (2 - c_sigma))
    keep: Array  # (m,) 1 - c_c
    gain: Array  # (m,) sqrt(mueff c_c (2 - c_c))
    keeps: Array  # (m, m) products of the elements of keep
    keep_rows: Array  # (m, 1) keep as `dtype`
    gain_rows: Array  # (m, 1) gain as `dtype`
    reflections: Reflections  # with the rates c_d
    blocks: tuple[slice, ...]  # of columns
    name: str = "lm-ma-es"
    claims: Claims = _CLAIMS

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,
        mirrored: bool = True,
        damping: float = 1.0,
        dtype: Literal["float64", "float32"] = "float64",
        tolerances: Tolerances | None = None,
    ) -> LMMAES:
        """The paper's constants for `dim` variables.

        Args:
            dim: number of variables.
            popsize: candidates a generation, by default 4 + floor(3 ln dim).
            mirrored: whether candidates come in pairs, mean + sigma d and mean - sigma d.
            damping: d_sigma: 1 as in the authors' code, 2 as in their paper.
            dtype: of points and directions; float32 halves memory and time.
            tolerances: of the stopping criteria.

        Raises:
            ConfigurationError: an option cannot be used.
        """
        lam = default_popsize(dim) if popsize is None else check_popsize(popsize, "LMMAES")
        _check(damping, dtype)
        mu, m = lam // 2, default_popsize(dim)
        weights = math.log(mu + 0.5) - np.log(np.arange(1, mu + 1))
        weights /= weights.sum()
        mueff = 1 / float(weights.dot(weights))
        i = np.arange(m)
        c_sigma = min(2 * lam / dim, _MOST_RATE)
        c_d = np.minimum(1 / (1.5**i * dim), _MOST_RATE)
        c_c = np.minimum(lam / (4.0**i * dim), _MOST_RATE)
        keep, gain = 1 - c_c, np.sqrt(mueff * c_c * (2 - c_c))
        number = np.dtype(dtype).type
        return LMMAES(
            dim=dim,
            popsize=lam,
            mu=mu,
            weights=weights,
            mueff=mueff,
            m=m,
            c_sigma=c_sigma,
            d_sigma=float(damping),
            c_d=c_d,
            c_c=c_c,
            mirrored=mirrored,
            dtype=number,
            tolerances=Tolerances.default(dim, lam) if tolerances is None else tolerances,
            keep_sigma=1 - c_sigma,
            gain_sigma=math.sqrt(mueff * c_sigma * (2 - c_sigma)),
            keep=keep,
            gain=gain,
            keeps=keep[:, None] * keep,
            keep_rows=keep[:, None].astype(number),
            gain_rows=gain[:, None].astype(number),
            reflections=Reflections.of(c_d),
            blocks=tuple(slice(a, min(a + _WIDTH, dim)) for a in range(0, dim, _WIDTH)),
            claims=replace(_CLAIMS, consumes=m * dim >= _CONSUME),
        )

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> GenerationalState:
        """N(x0, sigma0^2 I). x0: (dim,)."""
        mean = np.array(x0, dtype=np.float64)
        p_sigma, M = np.zeros(self.dim, self.dtype), np.zeros((self.m, self.dim), self.dtype)
        G, K = np.zeros((self.m, self.m)), np.zeros((0, 0))
        start = LMDistribution(mean, float(sigma0), p_sigma, M, G, K, 0, 0)
        course = Course.start(mean.astype(self.dtype))
        return GenerationalState(start, course, NOTHING, 0, seed, path, float(sigma0))

    def ask(self, state: GenerationalState, k: int) -> tuple[Population, GenerationalState]:
        """k candidates."""
        first, popsize = state.next_id, self.popsize
        X = np.empty((k, self.dim), self.dtype)
        done = 0
        while done < k:  # pairs do not cross a multiple of popsize
            rows = min(k - done, popsize - (first + done) % popsize)
            self._sample(state, first + done, X[done : done + rows])
            done += rows
        ids, epochs = new_rows(first, k, state.distribution.generation)
        return Population(ids, epochs, X), state._replace(next_id=first + k)

    def _sample(self, state: GenerationalState, first_id: int, X: Array) -> None:
        """Writes candidates of one generation. X: (rows, dim); until it holds them, the memory of
        its first rows holds their noise."""
        d = state.distribution
        (low, _), (high, _) = self._noise_of(first_id), self._noise_of(first_id + len(X) - 1)
        count, used = high - low + 1, len(d.K)
        M, Z = d.M[:used], X[:count]
        P = np.zeros((count, used))
        for part, b in enumerate(self.blocks):
            drawn = self._noise(state, low, count, part, b)  # ~ N(0, I)
            P += drawn.dot(M[:, b].T)
            if len(self.blocks) == 1:
                Z = drawn
            else:
                Z[:, b] = drawn
        scale = d.sigma * self.reflections.alphas[used]
        V = (scale * P.dot(d.K)).astype(self.dtype, copy=False)
        for b in self.blocks:
            steps = V.dot(M[:, b])
            steps += scale * Z[:, b]  # sigma d
            self._place(steps, d.mean[b].astype(self.dtype, copy=False), first_id, X[:, b])

    def _place(self, steps: Array, mean: Array, first_id: int, X: Array) -> None:
        """mean + step, and mean - step where mirrored. steps: (count, width); X: (rows, width)."""
        if not self.mirrored:
            np.add(mean, steps, out=X)
            return
        odd = first_id % self.popsize % 2  # whether the first row is the second one of its pair
        plus, minus = X[odd::2], X[1 - odd :: 2]
        np.add(mean, steps[odd : odd + len(plus)], out=plus)
        np.subtract(mean, steps[: len(minus)], out=minus)

    def _noise_of(self, ids: Any) -> tuple[Any, Any]:
        """Number of the row of noise that a candidate is made of, and its sign. ids: int or (k,).

        A pair shares its row within popsize ids, so that it does not matter which of them are asked
        together, and of an odd popsize the last one is alone."""
        if not self.mirrored:
            return ids, 0 * ids + 1
        generation, place = divmod(ids, self.popsize)
        return generation * ((self.popsize + 1) // 2) + place // 2, 1 - 2 * (place % 2)

    def _noise(self, state: GenerationalState, low: int, count: int, part: int, b: slice) -> Array:
        """Columns `b`, block number `part`, of `count` rows of noise from number `low` on."""
        width = b.stop - b.start
        Z = rng.normals(state.seed, state.path, low, count, width, dtype=np.float32, part=part)
        return Z.astype(self.dtype, copy=False)

    def tell(
        self, state: GenerationalState, population: Population, values: Values
    ) -> GenerationalState:
        """Collects rows; each popsize of them make one update of the distribution."""

        def update(
            d: LMDistribution, course: Course, rows: Population, F: Array
        ) -> tuple[LMDistribution, Course]:
            return self._update(state._replace(distribution=d), course, rows, F)

        return told(state, population, values.F, self.popsize, update)

    def _update(
        self, state: GenerationalState, course: Course, rows: Population, F: Array
    ) -> tuple[LMDistribution, Course]:
        """One generation, in the order of Algorithm 1. rows: popsize of them; F: (popsize,)."""
        d: LMDistribution = state.distribution
        order, f = ranked(F, rows.id)
        if not -math.inf < f[0] < math.inf:
            return d._replace(generation=d.generation + 1), course.after_failed()
        z, q, square = self._recombined(state, rows, order[: self.mu])

        # mean, and the directions in place
        used = len(d.K)
        scale = d.sigma * self.reflections.alphas[used]
        v = q[:used].dot(d.K).astype(self.dtype, copy=False)
        mean, p_sigma, M = d.mean, d.p_sigma, d.M
        if not self.claims.consumes:
            mean, p_sigma, M = mean.copy(), p_sigma.copy(), M.copy()
        for b in self.blocks:
            directions, block = M[:, b], z[b]
            step = v.dot(directions[:used])
            step += block
            mean[b] += scale * step
            directions *= self.keep_rows
            directions += self.gain_rows * block

        # path
        p_sigma *= self.keep_sigma
        z *= self.gain_sigma
        p_sigma += z

        # products of the directions
        updates = d.updates + 1
        G = self._after(d.G, q, square) if updates % _REFRESH else self._gram(M)
        K = self.reflections.matrix(G, min(updates, self.m))

        # step size
        exponent = self.c_sigma / self.d_sigma * (float(p_sigma.dot(p_sigma)) / self.dim - 1)
        sigma = d.sigma * math.exp(min(_MAX_EXPONENT, exponent))

        del z
        here = mean.astype(self.dtype)  # a copy, for `mean` may be written to
        after = LMDistribution(mean, sigma, p_sigma, M, G, K, d.generation + 1, updates)
        return after, course.after(f, here, self.tolerances.tolxstagnation)

    def _recombined(
        self, state: GenerationalState, rows: Population, best: NDArray[np.intp]
    ) -> tuple[Array, Array, float]:
        """z = sum w_i z_i of the best rows, M z and |z|^2. best: (mu,). Returns: (dim,), (m,)."""
        d = state.distribution
        weights = np.zeros(len(rows))
        weights[best] = self.weights
        ids, fresh = rows.id, rows.epoch == d.generation
        foreign = None
        if not fresh.all():
            strangers = best[~fresh[best]]
            if len(strangers):
                foreign = weights[strangers].dot(self._foreign(state, rows, strangers))
            ids, weights = ids[fresh], weights[fresh]
        number, sign = self._noise_of(ids)
        low, high = (int(number.min()), int(number.max())) if len(ids) else (0, 0)
        shares = np.bincount(number - low, sign * weights, high - low + 1).astype(self.dtype)
        z, q, square = np.empty(self.dim, self.dtype), np.zeros(self.m), 0.0
        for part, b in enumerate(self.blocks):
            block = shares.dot(self._noise(state, low, len(shares), part, b))
            if foreign is not None:
                block += foreign[b]
            z[b] = block
            q += d.M[:, b].dot(block)
            square += float(block.dot(block))
        return z, q, square

    def _foreign(
        self, state: GenerationalState, rows: Population, which: NDArray[np.intp]
    ) -> Array:
        """z of rows that the current distribution did not draw, late or injected, in full: what
        `latent_rows` makes of them, with the exact inverse of the reflections. Of a late row the
        noise that it was made of is drawn again. which: (k,). Returns: (k, dim)."""
        d = state.distribution
        X, used = rows.X[which].astype(np.float64), len(d.K)
        M = d.M[:used]
        Z = np.zeros_like(X)
        number, sign = self._noise_of(rows.id[which])
        for row in np.flatnonzero(rows.epoch[which] != INJECTED):
            for part, b in enumerate(self.blocks):
                Z[row, b] = sign[row] * self._noise(state, int(number[row]), 1, part, b)[0]
        Y = self.reflections.alphas[used] * (Z + Z.dot(M.T).dot(d.K).dot(M))
        block = Population(rows.id[which], rows.epoch[which], X, Z, Y)
        order, whiten = np.arange(len(which)), partial(self.reflections.undone, d.G, M)
        return latent_rows(block, order, d.generation, d.mean, d.sigma, whiten)[0]

    def _after(self, G: Array, q: Array, square: float) -> Array:
        """M M^T once z has been added to the directions. q: (m,) M z before it; square: |z|^2."""
        cross = (self.keep * q + (0.5 * square) * self.gain)[:, None] * self.gain
        return np.asarray(self.keeps * G + cross + cross.T)

    def _gram(self, M: Array) -> Array:
        """M M^T, summed over the blocks in double precision."""
        G = np.zeros((self.m, self.m))
        for b in self.blocks:
            G += M[:, b].dot(M[:, b].T)
        return G

    def stop(self, state: GenerationalState) -> StopReason | None:
        """The first of `stopping`'s criteria that fires. There is no covariance: sigma stands for
        the step of each variable, and the longest axis is computed where tolx may need it."""
        d, t = state.distribution, self.tolerances
        small = t.tolx is not None and d.sigma < t.tolx * state.sigma0
        std = self.reflections.axes(d.G, d.K)[-1:] if small else _ONE
        mean = d.mean.astype(self.dtype, copy=False)
        shape = Shape(mean, d.sigma, state.sigma0, std.astype(self.dtype), None, _ONE, None)
        return stopping.first_reason(t, state.course, self.popsize, shape)

    def portrait(self, state: GenerationalState) -> Portrait:
        """Mean, step size and axis lengths."""
        d = state.distribution
        return Portrait(d.mean, d.sigma, self.reflections.axes(d.G, d.K), d.generation)


def _check(damping: float, dtype: str) -> None:
    """Refuses options that cannot be used."""
    if not 0 < damping < math.inf:
        raise ConfigurationError(f"LMMAES(damping=...) must be positive; got {damping}")
    if dtype not in ("float64", "float32"):
        raise ConfigurationError(f"LMMAES(dtype=...) must be float64 or float32; got {dtype!r}")

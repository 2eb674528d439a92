"""The noise of bbob-noisy as a function of a seed, so that runs on it can be repeated and resumed.

COCO draws its noise from a counter that all problems of a process share: a value depends on all
that was evaluated before. Here each evaluation brings a seed. The noise-free values are COCO's:
its counter is set back before each row, which makes the noise of the row known, and this noise is
undone. Then the noise of the row's seed is applied.

Source: Hansen, Finck, Ros, Auger (2009), Real-parameter black-box optimization benchmarking 2009:
noisy functions definitions, INRIA RR-6869; and transform_obj_*_noise.c of COCO.

Differences from the source: the numbers come from `evoopt.rng`; the models, their parameters, the
offset of 1.01e-8 and the penalty outside the box are COCO's. Like COCO's C code, and unlike the
report, this adds noise below 1e-8, too; so no value of a noisy function reaches the final target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from evoopt import rng
from evoopt.result import Array
from evoopt_bench.coco_c import library

OFFSET = 1.01e-8  # 1.01 * tol in COCO's code
PENALTY = 100.0  # coco_boundary_handling
_CAP, _FLOOR = 1e9, 1e-99  # of the uniform model
_LIFT = 1e3  # of the Cauchy model
_TINY = 1e-199  # of the Cauchy model: no division by 0
_MODELS = ("gaussian", "uniform", "cauchy")  # of functions 101, 102, 103, and so on
_MODERATE = range(101, 107)


@dataclass(frozen=True, slots=True)
class Noise:
    """A noise model with its parameters; functions of it take what exceeds the optimal value.

    Attributes:
        model: "gaussian", "uniform" or "cauchy".
        alpha, beta, p: as in the report.
    """

    model: str
    alpha: float
    beta: float
    p: float

    @classmethod
    def of(cls, function: int, dim: int) -> Noise:
        """The noise of a function of bbob-noisy, 101 to 130."""
        model = _MODELS[(function - 101) % 3]
        strength = 0.01 if function in _MODERATE else 1.0
        alpha = strength * (0.49 + 1 / dim) if model == "uniform" else strength
        return cls(model, alpha, strength, 0.05 if function in _MODERATE else 0.2)

    def applied(self, excess: Array, U: Array, N: Array) -> Array:
        """Noisy values.

        Args:
            excess: (k,) noise-free f - f_opt.
            U, N: (k, 2) uniform and normal numbers.
        """
        if self.model == "gaussian":
            return np.asarray(excess * np.exp(self.beta * N[:, 0]) + OFFSET)
        if self.model == "uniform":
            lift = (_CAP / (excess + _FLOOR)) ** (self.alpha * U[:, 1])
            return np.asarray(excess * U[:, 0] ** self.beta * np.maximum(1.0, lift) + OFFSET)
        return np.asarray(excess + self._cauchy(U, N) + OFFSET)

    def undone(self, noisy: Array, U: Array, N: Array) -> Array:
        """The inverse of `applied`, up to rounding; never below 0."""
        value = noisy - OFFSET
        if self.model == "gaussian":
            excess = value / np.exp(self.beta * N[:, 0])
        elif self.model == "uniform":
            q = np.maximum(value, 0.0) / U[:, 0] ** self.beta
            a = self.alpha * U[:, 1]  # below the cap q = excess^(1 - a) cap^a
            excess = np.where(q >= _CAP, q, (q / _CAP**a) ** (1 / (1 - a)))
        else:
            excess = value - self._cauchy(U, N)
        return np.maximum(excess, 0.0)

    def _cauchy(self, U: Array, N: Array) -> Array:
        outlier = np.where(U[:, 0] < self.p, N[:, 0] / np.abs(N[:, 1] + _TINY), 0.0)
        return self.alpha * np.maximum(_LIFT + outlier, 0.0)


def noise_free(noise: Noise, value: Callable[[Array], float], f_opt: float, X: Array) -> Array:
    """(k,) noise-free f - f_opt of the rows of X: (k, dim).

    Args:
        noise: what COCO's problem has.
        value: COCO's noisy value of a point.
        f_opt: the optimal value.
        X: the points.
    """
    reset, noisy = library().coco_reset_seeds, np.empty(len(X))
    U, N = _first_draws(noise.model)
    for k, x in enumerate(X):
        reset()  # each row by itself: not a bit of it may depend on the rows beside it
        noisy[k] = value(x)
    return noise.undone(noisy - f_opt - penalty(X), U, N)


def penalty(X: Array, low: float = -5.0, high: float = 5.0) -> Array:
    """(k,) COCO's penalty outside the box, which the noise does not touch."""
    outside = np.maximum(0.0, np.maximum(X - high, low - X))
    return PENALTY * np.asarray((outside**2).sum(axis=1))


def seeded_draws(seeds: Sequence[int]) -> tuple[Array, Array]:
    """(k, 2) uniform and (k, 2) normal numbers, a row for each seed."""
    drawn = np.concatenate([rng.uniforms(seed, (), 0, 1, 4) for seed in seeds])
    U, radius, angle = 1 - drawn[:, :2], np.sqrt(-2 * np.log1p(-drawn[:, 2])), drawn[:, 3]
    turn = 2 * np.pi * angle  # Box and Muller's two normals, as COCO draws its one
    return U, np.column_stack([radius * np.cos(turn), radius * np.sin(turn)])


@lru_cache(maxsize=len(_MODELS))
def _first_draws(model: str) -> tuple[Array, Array]:
    """(1, 2) and (1, 2): what COCO draws first after its counter was set back, in its own order."""
    c = library()
    U, N = np.ones((1, 2)), np.zeros((1, 2))
    c.coco_reset_seeds()
    if model == "gaussian":
        N[0, 0] = c.coco_sample_gaussian_noise()
    elif model == "uniform":
        U[0] = c.coco_sample_uniform_noise(), c.coco_sample_uniform_noise()
    else:
        U[0, 0] = c.coco_sample_uniform_noise()
        N[0] = c.coco_sample_gaussian_noise(), c.coco_sample_gaussian_noise()
    return U, N

"""What an optimizer of any make may draw: starts, points and seeds, the same for all of them."""

from __future__ import annotations

import numpy as np

from evoopt import rng
from evoopt.result import Array
from evoopt_bench.suites import CocoProblem

_FIRST_START = (-1,)  # the stream from which `evoopt.plan` draws a first start
_OTHERS = (-2,)  # the stream of all else


class Draws:
    """A stream of random numbers on one problem.

    Attributes:
        start: (dim,) where every optimizer begins: where the suite says, or else uniform in the
            start box, drawn from the seed.
    """

    def __init__(self, problem: CocoProblem, seed: int) -> None:
        self._problem, self._seed = problem, seed
        self._starts = self._draws = 0
        drawn = self._uniform(_FIRST_START, 0, problem.start_lower, problem.start_upper)
        self.start: Array = drawn if problem.start is None else problem.start

    def next_start(self) -> Array:
        """(dim,) the start, then at each call a fresh point of the start box."""
        self._starts += 1
        if self._starts == 1:
            return self.start.copy()
        box = self._problem.start_lower, self._problem.start_upper
        return self._uniform(_FIRST_START, self._starts - 1, *box)

    def draw(self) -> Array:
        """(dim,) a point of the region of interest."""
        self._draws += 1
        return self._uniform(_OTHERS, self._draws, self._problem.lower, self._problem.upper)

    def next_seed(self) -> int:
        """A number in [0, 2**31) for an optimizer that wants one; another at each call."""
        self._draws += 1
        return int(self._uniform(_OTHERS, self._draws, np.zeros(1), np.ones(1))[0] * 2**31)

    def _uniform(self, path: rng.Path, number: int, low: Array, high: Array) -> Array:
        u = rng.uniforms(self._seed, path, number, 1, len(low))[0]
        return np.asarray(low * (1 - u) + high * u)

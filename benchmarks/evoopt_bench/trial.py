"""A problem as an optimizer of any make may call it: counted, recorded, and over at the budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoopt import rng
from evoopt.result import Array, Values
from evoopt_bench.draws import Draws
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import TARGETS, Run

_STEPS = np.concatenate([TARGETS[::-1], 10 ** (np.arange(11, 61) / 5)])  # 1e-8 to 1e12
LARGEST = 1e300  # what stands for a failure: some optimizers cannot take inf


class Over(BaseException):
    """The budget is spent, or the target reached; no `except Exception` may hold it up."""


class Trial:
    """One problem, one budget, one start; a call evaluates a point.

    Attributes:
        problem: what is evaluated.
        dim: number of variables.
        start: (dim,) where every optimizer begins: uniform in the start box, drawn from the seed.
        sigma0: initial step size; one per variable where their ranges differ.
        lower, upper: (dim,) the region of interest.
        target: the final target value.
        budget: evaluations.
        seed: of the problem, the same for all optimizers.
    """

    n_obj = 1

    def __init__(self, problem: ProblemId, budget: int, seed: int) -> None:
        self.problem = inner = CocoProblem(problem)
        self.name, self.dim = inner.name, inner.dim
        self.lower, self.upper = inner.lower, inner.upper
        self.integers, self.takes_seed = inner.integers, inner.takes_seed
        self.sigma0, self.target = inner.sigma0, inner.target
        self.budget, self.seed = budget, seed
        self._draws = Draws(inner, seed)
        self.start = self._draws.start
        self._spent, self._best = 0, np.inf
        self._improved: list[tuple[int, float]] = []

    @property
    def left(self) -> int:
        """Evaluations that may still be made."""
        return self.budget - self._spent

    @property
    def noisy(self) -> bool:
        """Whether a point has another value each time."""
        return self.takes_seed

    def __call__(self, x: Sequence[float] | Array) -> float:
        """The value at x: (dim,).

        Raises:
            Over: the budget was spent or the target reached before.
        """
        point = np.asarray(x, dtype=np.float64)
        if self.noisy:
            f = float(self.evaluate(point[None]).F[0])
        else:
            self.check()
            f = self.problem.value(point)
            self._spent += 1
            self._note(f)
        return f if abs(f) < np.inf else LARGEST

    def _note(self, f: float) -> None:
        if f < self._best:
            self._best = f
            self._improved.append((self._spent, f))

    def evaluate(self, X: Array, seeds: Sequence[int] | None = None) -> Values:
        """The values of the rows of X: (k, dim).

        Raises:
            Over: the budget was spent or the target reached before; rows beyond are not evaluated.
        """
        self.check()
        if self.noisy and seeds is None:
            seeds = [rng.evaluation_seed(self.seed, self._spent + k) for k in range(len(X))]
        kept = X[: self.left]
        values = self.problem.evaluate(kept, None if seeds is None else seeds[: len(kept)])
        for f in self.problem.judged(kept, values.F).tolist():
            self._spent += 1
            self._note(f)
        if len(kept) < len(X):
            raise Over
        return values

    def check(self) -> None:
        """Raise Over if the budget is spent or the target reached."""
        if self.left <= 0 or self._best <= self.target:
            raise Over

    def next_start(self) -> Array:
        """(dim,) the start, then at each call a fresh point of the start box."""
        return self._draws.next_start()

    def draw(self) -> Array:
        """(dim,) a point of the region of interest."""
        return self._draws.draw()

    def next_seed(self) -> int:
        """A number in [0, 2**31) for an optimizer that wants one; another at each call."""
        return self._draws.next_seed()

    def run(self) -> Run:
        """What came of it, reduced to the improvements that reached another fifth of a decade (so
        each of COCO's targets), and the best."""
        at = np.array([k for k, _ in self._improved], dtype=np.int64)
        f = np.array([value for _, value in self._improved])
        f_opt = self.problem.f_opt
        missed = np.searchsorted(f_opt + _STEPS, f)  # how many of them each value misses
        kept = np.flatnonzero(np.diff(missed, prepend=-1) | (np.arange(len(f)) == len(f) - 1))
        which = self.problem.id
        return Run(which.function, which.dim, which.instance, self._spent, f_opt, at[kept], f[kept])

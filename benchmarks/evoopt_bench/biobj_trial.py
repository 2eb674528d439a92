"""A problem with two objectives as an optimizer of any make may call it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evoopt.result import Array, Values
from evoopt_bench.draws import Draws
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import Run
from evoopt_bench.trial import LARGEST, Over


class BiobjTrial:
    """One problem, one budget, one first point; a call evaluates a point. See `trial.Trial`.

    Nobody is told the ideal and the nadir point. COCO's indicator is kept of all that is evaluated.

    Attributes:
        problem: what is evaluated.
        name, dim, n_obj: of the problem.
        start: (dim,) the first point of every optimizer.
        sigma0: initial step size.
        lower, upper: (dim,) the box, for those that need one.
        budget: evaluations.
        seed: of the problem, the same for all optimizers.
    """

    n_obj = 2

    def __init__(self, problem: ProblemId, budget: int, seed: int) -> None:
        self.problem = inner = CocoProblem(problem)
        self.name, self.dim = inner.name, inner.dim
        self.lower, self.upper = inner.lower, inner.upper
        self.sigma0, self.integers = inner.sigma0, inner.integers
        self.budget, self.seed = budget, seed
        self._draws = Draws(inner, seed)
        self.start = self._draws.start
        self._course = inner.course()

    @property
    def left(self) -> int:
        """Evaluations that may still be made."""
        return self.budget - self._course.evaluations

    def __call__(self, x: Sequence[float] | Array) -> list[float]:
        """The two values at x: (dim,).

        Raises:
            Over: the budget was spent before.
        """
        values: list[float] = self.rows(np.asarray(x, dtype=np.float64)[None])[0].tolist()
        return values

    def rows(self, X: Array) -> Array:
        """(k, 2) the values of the rows of X: (k, dim); failures are large numbers.

        Raises:
            Over: the budget was spent before; rows beyond are not evaluated.
        """
        F = self.evaluate(X).F
        return np.where(np.isfinite(F), F, LARGEST)

    def evaluate(self, X: Array) -> Values:
        """The values of the rows of X: (k, dim); F is (k, 2).

        Raises:
            Over: as `rows`.
        """
        self.check()
        kept = X[: self.left]
        values = self.problem.evaluate(kept)
        self._course.add(values.F)
        if len(kept) < len(X):
            raise Over
        return values

    def check(self) -> None:
        """Raise Over if the budget is spent."""
        if self.left <= 0:
            raise Over

    def next_start(self) -> Array:
        """(dim,) the start, then at each call a fresh point of the start box."""
        return self._draws.next_start()

    def draw(self) -> Array:
        """(dim,) a point of the box."""
        return self._draws.draw()

    def next_seed(self) -> int:
        """A number in [0, 2**31) for an optimizer that wants one; another at each call."""
        return self._draws.next_seed()

    def run(self) -> Run:
        """What came of it."""
        return self.problem.run(self._course)

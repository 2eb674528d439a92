"""COBYQA: a trust region around a quadratic model, by scipy; serial.

When: smooth functions of up to some 50 variables where each evaluation counts, a box or none; it is
what takes the place of `bobyqa` where Py-BOBYQA is not installed. When not: rugged or discontinuous
functions (take cma-es), many workers (it asks one point at a time), cheap evaluations: a step takes
it some 1 to 10 ms.
Cost: O(n^3) an evaluation.

Source: T. M. Ragonneau, Model-based derivative-free optimization methods and software, PhD thesis,
The Hong Kong Polytechnic University, 2022, arXiv:2210.12018 (the method); T. M. Ragonneau and
Z. Zhang, COBYQA, which `scipy.optimize.minimize(method="COBYQA")` contains (the solver).
Differences from the source: none in the solver, which is called with no limit on evaluations; the
radii are multiples of sigma0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.result import StopReason
from evoopt.strategies.base import Claims
from evoopt.strategies.callback import FINAL_RADIUS, CallbackSolver, check_final_radius
from evoopt.strategies.conversation import Objective, failure
from evoopt.strategies.stopping import reason

Array = NDArray[np.float64]

_ENDLESS = 2**31 - 1  # evaluations, iterations: others than the solver keep the budget
_SETTLED = 0  # its status where the radius has come to its end


@dataclass(frozen=True, slots=True)
class COBYQA(CallbackSolver):
    """Constants of the method.

    Attributes:
        final_radius: of the trust region, at which the search ends, in units of the first one.
    """

    dim: int
    final_radius: float
    lower: Array | None = None
    upper: Array | None = None
    popsize: int = 1
    name: str = "cobyqa"
    claims: Claims = Claims(
        monotone=False,
        translation=False,  # its origin moves by steps that depend on |x|
        options=frozenset({"restarts", "bounds", "final_radius"}),
        sequential=True,
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,  # a restart with a larger one is the same
        lower: Array | None = None,
        upper: Array | None = None,
        final_radius: float = FINAL_RADIUS,
    ) -> COBYQA:
        """2 dim + 1 points, as scipy has it.

        Raises:
            ConfigurationError: an option is out of range.
        """
        return COBYQA(dim, check_final_radius(final_radius, "COBYQA"), lower, upper)

    @property
    def window(self) -> int:
        """The points of the model."""
        return 2 * self.dim + 1

    def solve(self, fun: Objective, start: Array, radius: float) -> StopReason:
        """Calls scipy, whose lock around this solver is free while `fun` waits."""
        from scipy import optimize as typed
        from scipy.optimize import _cobyqa_py

        optimize: Any = typed  # whether or not its types are installed
        lock = getattr(_cobyqa_py, "COBYQA_LOCK", None)  # not in each scipy; one solver at a time

        def unlocked(x: Array) -> float:
            if lock is None:
                return fun(x)
            lock.release()
            try:
                return fun(x)
            finally:
                lock.acquire()

        box = None
        if self.lower is not None and self.upper is not None:
            box = optimize.Bounds(self.lower, self.upper)
        end = self.final_radius * radius
        options = {
            "initial_tr_radius": radius,
            "final_tr_radius": end,
            "maxfev": _ENDLESS,
            "maxiter": _ENDLESS,
        }
        found = optimize.minimize(unlocked, start, method="COBYQA", bounds=box, options=options)
        if found.status == _SETTLED:
            return reason("tolradius", end, end)
        return failure(found.message)

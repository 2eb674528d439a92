"""BOBYQA: a trust region around a quadratic model, by Py-BOBYQA (extra `bobyqa`); serial.

When: smooth functions of up to some 50 variables where each evaluation counts, a box or none; a
first look at any smooth function. When not: rugged or discontinuous functions (take cma-es), many
workers (it asks one point at a time), cheap evaluations: a step takes it some 1 to 10 ms.
Cost: O(points^3) an evaluation, a few times.

Source: M. J. D. Powell, The BOBYQA algorithm for bound constrained optimization without
derivatives, report DAMTP 2009/NA06, Cambridge; C. Cartis, J. Fiala, B. Marteau, L. Roberts,
Improving the flexibility and robustness of model-based derivative-free optimization solvers, ACM
TOMS 45(3), 2019, doi:10.1145/3338517 (the solver).
Differences from the source: none in the solver, which is called with no restarts of its own, so
that it draws no random numbers, and with no limit on evaluations; the radii are multiples of
sigma0. Py-BOBYQA is under the GPL-3; `cobyqa` needs nothing but scipy.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, MissingDependencyError, missing
from evoopt.result import StopReason
from evoopt.strategies.base import Claims
from evoopt.strategies.callback import FINAL_RADIUS, CallbackSolver, check_final_radius
from evoopt.strategies.conversation import Objective, failure
from evoopt.strategies.stopping import reason

Array = NDArray[np.float64]

_ENDLESS = 2**31 - 1  # evaluations: others than the solver keep the budget
_FARTHEST = 1e20  # where Py-BOBYQA puts a bound that is not there
_PARAMETERS = {
    "model.abs_tol": -sys.float_info.max,  # it would stop at f <= -1e20
    "restarts.soft.max_fake_successful_steps": 1,  # of no effect, but a list of maxfun without it
}
_SETTLED, _SLOW = (0,), (2, 3, 4)  # its exit flags: radius at its end; hardly any progress


@dataclass(frozen=True, slots=True)
class BOBYQA(CallbackSolver):
    """Constants of the method.

    Attributes:
        points: on which the model rests.
        final_radius: of the trust region, at which the search ends, in units of the first one.
    """

    dim: int
    points: int
    final_radius: float
    lower: Array | None = None
    upper: Array | None = None
    popsize: int = 1
    name: str = "bobyqa"
    claims: Claims = Claims(
        monotone=False,
        translation=False,  # its origin moves by steps that depend on |x|
        options=frozenset({"restarts", "bounds", "points", "final_radius"}),
        sequential=True,
    )

    @staticmethod
    def default(
        dim: int,
        *,
        popsize: int | None = None,  # a restart with a larger one is the same
        lower: Array | None = None,
        upper: Array | None = None,
        points: int | None = None,
        final_radius: float = FINAL_RADIUS,
    ) -> BOBYQA:
        """2 dim + 1 points, as Powell recommends.

        Raises:
            MissingDependencyError: Py-BOBYQA is not installed.
            ConfigurationError: an option is out of range.
        """
        if importlib.util.find_spec("pybobyqa") is None:
            error = missing("Py-BOBYQA", "bobyqa", "algorithm 'bobyqa'")
            raise MissingDependencyError(f"{error}; or take algorithm 'cobyqa', which is here")
        most = (dim + 1) * (dim + 2) // 2
        if points is None:
            points = 2 * dim + 1
        elif not dim + 1 <= points <= most:
            raise ConfigurationError(
                f"BOBYQA(points=...) must be {dim + 1} to {most} in {dim} variables; got {points}"
            )
        return BOBYQA(dim, points, check_final_radius(final_radius, "BOBYQA"), lower, upper)

    @property
    def window(self) -> int:
        """The points of the model."""
        return self.points

    def solve(self, fun: Objective, start: Array, radius: float) -> StopReason:
        """Calls Py-BOBYQA."""
        import pybobyqa

        box = None
        if self.lower is not None and self.upper is not None:
            box = (np.maximum(self.lower, -_FARTHEST), np.minimum(self.upper, _FARTHEST))
        end = self.final_radius * radius
        found = pybobyqa.solve(
            fun,
            start,
            bounds=box,
            npt=self.points,
            rhobeg=radius,
            rhoend=end,
            maxfun=_ENDLESS,
            user_params=_PARAMETERS,
            do_logging=False,
        )
        if found.flag in _SETTLED:
            return reason("tolradius", end, end)
        if found.flag in _SLOW:
            return reason("tolslow", found.nf, found.nf)
        return failure(found.msg)

"""What generational strategies without a covariance have in common: N(mean, sigma^2 I)."""

from __future__ import annotations

import numpy as np

from evoopt.result import StopReason
from evoopt.strategies import stopping
from evoopt.strategies.base import Portrait
from evoopt.strategies.collect import Generational, GenerationalState
from evoopt.strategies.stopping import Shape, Tolerances

_UNIT = np.ones(1)  # lengths of the axes, each


class Isotropic(Generational):
    """A generational strategy whose distribution has mean, sigma and generation."""

    __slots__ = ()

    dim: int
    tolerances: Tolerances

    def stop(self, state: GenerationalState) -> StopReason | None:
        """The first of `stopping`'s criteria that fires."""
        d = state.distribution
        shape = Shape(d.mean, d.sigma, state.sigma0, _UNIT, None, _UNIT, None)
        return stopping.first_reason(self.tolerances, state.course, self.popsize, shape)

    def portrait(self, state: GenerationalState) -> Portrait:
        """Mean and step size; all axes have length 1."""
        d = state.distribution
        return Portrait(d.mean, d.sigma, np.broadcast_to(_UNIT, (self.dim,)), d.generation)

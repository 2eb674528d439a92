"""The classes of which states are made, by name: what a saved state may contain, and no more."""

from __future__ import annotations

from evoopt.result import StopReason
from evoopt.strategies import cmaes, maes, random
from evoopt.strategies.base import Population
from evoopt.strategies.collect import GenerationalState, Waiting
from evoopt.strategies.compose import bounds, restarts
from evoopt.strategies.course import Course, Growing


def state_classes() -> dict[str, type]:
    """Name -> class."""
    classes: tuple[type, ...] = (
        Population,
        Waiting,
        GenerationalState,
        Course,
        Growing,
        StopReason,
        cmaes.CMADistribution,
        maes.MADistribution,
        random.RandomState,
        bounds.BoundedState,
        restarts.RestartsState,
    )
    return {c.__name__: c for c in classes}

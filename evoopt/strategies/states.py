"""The classes of which states are made, by name: what a saved state may contain, and no more."""

from __future__ import annotations

from evoopt.result import StopReason
from evoopt.strategies import (
    callback,
    canonical,
    cmaes,
    lmmaes,
    maes,
    openai,
    quadmodel,
    quadratic,
    random,
    sepcmaes,
)
from evoopt.strategies.base import Population
from evoopt.strategies.collect import GenerationalState, Waiting
from evoopt.strategies.compose import bounds, categories, integers, mixed, portfolio, restarts
from evoopt.strategies.conversation import Told
from evoopt.strategies.course import Course, Growing
from evoopt.strategies.drawn import Drawn


def state_classes() -> dict[str, type]:
    """Name -> class."""
    classes: tuple[type, ...] = (
        Population,
        Drawn,
        Waiting,
        GenerationalState,
        Course,
        Growing,
        StopReason,
        cmaes.CMADistribution,
        maes.MADistribution,
        lmmaes.LMDistribution,
        sepcmaes.SepDistribution,
        canonical.CanonicalDistribution,
        openai.OpenAIDistribution,
        quadratic.QuadraticState,
        quadmodel.Model,
        random.RandomState,
        callback.CallbackState,
        Told,
        bounds.BoundedState,
        categories.CategoriesState,
        integers.IntegersState,
        mixed.NothingState,
        restarts.RestartsState,
        portfolio.PortfolioState,
    )
    return {c.__name__: c for c in classes}

"""The classes of which states are made, by name: what a saved state may contain, and no more."""

from __future__ import annotations

from evoopt.archive import BiobjectiveArchive, ManyObjectiveArchive
from evoopt.result import StopReason
from evoopt.strategies import (
    callback,
    canonical,
    cmaes,
    frontmodel,
    lmmaes,
    maes,
    mocmaes,
    openai,
    quadmodel,
    quadratic,
    random,
    sepcmaes,
    upmo,
)
from evoopt.strategies.base import Population
from evoopt.strategies.collect import GenerationalState, Waiting
from evoopt.strategies.compose import (
    bounds,
    categories,
    hmo,
    integers,
    mixed,
    portfolio,
    restarts,
    scalarised,
)
from evoopt.strategies.conversation import Told
from evoopt.strategies.course import Course, Growing
from evoopt.strategies.drawn import Drawn
from evoopt.strategies.fronts import OpenRows


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
        BiobjectiveArchive,
        ManyObjectiveArchive,
        cmaes.CMADistribution,
        maes.MADistribution,
        lmmaes.LMDistribution,
        sepcmaes.SepDistribution,
        canonical.CanonicalDistribution,
        openai.OpenAIDistribution,
        quadratic.QuadraticState,
        quadmodel.Model,
        random.RandomState,
        mocmaes.MOState,
        mocmaes.Points,
        upmo.UPState,
        upmo.Members,
        frontmodel.FrontModelState,
        frontmodel.Evaluated,
        OpenRows,
        scalarised.ScalarisedState,
        hmo.HMOState,
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

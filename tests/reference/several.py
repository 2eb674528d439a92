"""Every strategy of the registry that takes two objectives, and some compositions, by name, with
states to try laws on."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest

from evoopt.strategies import STRATEGIES, claims_of, strategy_class
from evoopt.strategies.compose.bounds import Bounded
from reference import driving
from reference.cases import LOWER, SEED, UPPER


def of_several(name, objectives=2, **own):
    """A strategy for several objectives; one that takes any number of them is not told how many."""

    def build(dim, **settings):
        several = {"objectives": objectives} if claims_of(name).least_obj > 1 else {}
        return strategy_class(name).default(dim, **several, **own, **settings)

    return build


def several_in_box(build):
    def boxed(dim, **settings):
        return Bounded.around(build(dim, **settings), np.full(dim, LOWER), np.full(dim, UPPER))

    return boxed


def takes_two(name):
    claims = claims_of(name)
    return claims.least_obj <= 2 <= (claims.most_obj or 2) and not claims.sequential


# name -> how many objectives, and how to make it
SEVERAL = {
    **{name: (2, of_several(name)) for name in STRATEGIES if takes_two(name)},
    **{
        f"{name} in a box": (2, several_in_box(of_several(name)))
        for name in STRATEGIES
        if takes_two(name) and claims_of(name).least_obj > 1
    },
    "hmo-cma-es after cobyqa": (2, of_several("hmo-cma-es", start="cobyqa")),
    "mo-cma-es in generations": (2, of_several("mo-cma-es", steady=False)),
    "mo-cma-es of 2010": (2, of_several("mo-cma-es", steady=False, success="population")),
    "mo-cma-es with three objectives": (3, of_several("mo-cma-es", 3, popsize=12)),
}

no_moocore = pytest.mark.skipif(
    importlib.util.find_spec("moocore") is None, reason="needs the extra 'hv'"
)
each_of_several = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[no_moocore] if m > 2 else []) for n, (m, _) in SEVERAL.items()],
)


def several(m):
    """m functions without symmetry, optima apart from one another: x -> (m,)."""

    def fun(x):
        n, optima = len(x), 0.5 + np.arange(m)
        weights = 1 + (np.arange(n) + np.arange(m)[:, None]) % max(n, 2)
        with np.errstate(over="ignore", invalid="ignore"):  # far away: a failed evaluation
            F = (weights * (x - optima[:, None]) ** 2).sum(axis=1)
            return F + 0.3 * np.sin(3 * x[0] + optima) + x[-1]

    return fun


def objectives(name):
    return SEVERAL[name][0]


def made(name, dim, **settings):
    return SEVERAL[name][1](dim, **settings)


def kept(strategy, state):
    """A state to be told, of which something is wanted later."""
    return copy.deepcopy(state) if strategy.claims.consumes else state


def prepared(name, dim, generations=3, **settings):
    """A strategy and a state in the middle of a run."""
    strategy = made(name, dim, **settings)
    state = strategy.init(np.linspace(1.0, 2.0, dim), 0.7, SEED)
    return strategy, driving.run(strategy, state, several(objectives(name)), generations)


def values(name, population):
    fun = several(objectives(name))
    return np.array([fun(x) for x in population.X]).reshape(len(population), objectives(name))


def asked(name, strategy, state, k=None):
    population, state = strategy.ask(state, strategy.popsize if k is None else k)
    return population, values(name, population), state

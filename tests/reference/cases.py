"""Every strategy of the registry and some compositions, by name, and states to try laws on."""

from __future__ import annotations

import numpy as np

from evoopt.grid import Grid, Kinds
from evoopt.strategies import STRATEGIES, claims_of, strategy_class
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.compose.bounds import Bounded
from evoopt.strategies.compose.integers import Integers
from evoopt.strategies.compose.mixed import Parts
from evoopt.strategies.compose.restarts import Restarts
from reference.driving import fingerprint, floats_in, run

SEED = 20260801
LOWER, UPPER = -5.0, 6.0  # of the boxed cases; the optimum is inside
DIMS = (1, 2, 5)


def in_box(name):
    def build(dim, **settings):
        inner = strategy_class(name).default(dim, **settings)
        return Bounded.around(inner, np.full(dim, LOWER), np.full(dim, UPPER))

    return build


def mixed(name):
    """Every second variable a whole number, the others in the box; the last one a choice of 3."""

    def build(dim, *, popsize=None):
        whole, choices = np.arange(dim) % 2 == 1, np.zeros(dim, dtype=int)
        choices[-1] = 3
        low, high = np.full(dim, LOWER), np.full(dim, UPPER)
        low[-1], high[-1] = 0, 1
        whole[-1] = False
        parts = Parts.of(Kinds(Grid.whole(whole, low, high), choices), low, high)

        def numeric(lam, tolerances):
            cls, n = strategy_class(name), int((parts.lower < parts.upper).sum())
            inner = cls.default(n, popsize=lam, tolerances=tolerances)
            return Bounded.around(inner, parts.lower, parts.upper)

        return parts.make(numeric, popsize)

    return build


def on_a_grid(name):
    """All variables whole numbers without bounds."""

    def build(dim, *, popsize=None):
        everywhere, inf = np.ones(dim, dtype=bool), np.full(dim, np.inf)
        grid = Grid.whole(everywhere, -inf, inf)
        return Integers.around(strategy_class(name).default(dim, popsize=popsize), grid)

    return build


def restarted(build, policy):
    def with_restarts(dim, *, popsize=None):
        return Restarts(build(dim, popsize=popsize), lambda lam: build(dim, popsize=lam), policy)

    return with_restarts


SERIAL = [name for name in STRATEGIES if claims_of(name).sequential]  # test_callback_solvers
SINGLE = [n for n in STRATEGIES if claims_of(n).least_obj == 1 and n not in SERIAL]
CASES = {name: strategy_class(name).default for name in SINGLE} | {
    "cma-es in a box": in_box("cma-es"),
    "ma-es in a box": in_box("ma-es"),
    "cma-es with BIPOP restarts": restarted(strategy_class("cma-es").default, "bipop"),
    "boxed ma-es with IPOP restarts": restarted(in_box("ma-es"), "ipop"),
    "cma-es on a grid": on_a_grid("cma-es"),
    "cma-es in a mixed box": mixed("cma-es"),
    "mixed boxed ma-es with BIPOP restarts": restarted(mixed("ma-es"), "bipop"),
}


def tilted(x):
    """A function without symmetry, minimum inside the start distribution."""
    n = len(x)
    return float(sum((1 + np.arange(n)) * (x - 0.5) ** 2) + 0.3 * np.sin(3 * x[0]) + x[-1])


def prepared(name, dim, generations=3, **settings):
    """A strategy and a state in the middle of a run."""
    strategy = CASES[name](dim, **settings)
    state = strategy.init(np.linspace(1.0, 2.0, dim), 0.7, SEED)
    return strategy, run(strategy, state, tilted, generations)


def asked(strategy, state):
    population, state = strategy.ask(state, strategy.popsize)
    return population, np.array([tilted(x) for x in population.X]), state


def look(strategy, state):
    """All numbers of the distribution, with what an observer sees of it, but no counters."""
    p = strategy.portrait(state)
    inside = [array for label, array in floats_in(state) if ".distribution." in label]
    return fingerprint((p.mean, p.sigma, p.axes, inside))


def injected(name, X):
    """Rows as the search injects them; those of a boxed strategy lie in its box."""
    X = np.array(X, dtype=float)
    X = np.clip(X, LOWER, UPPER) if "box" in name else X
    return Population(np.full(len(X), INJECTED), np.full(len(X), INJECTED), X)


def assert_healthy(strategy, state):
    """Finite mean and axes, positive finite step size."""
    p = strategy.portrait(state)
    assert np.isfinite(p.mean).all()
    assert np.isfinite(p.axes).all()
    assert (p.axes > 0).all()
    assert np.isnan(p.sigma) or 0 < p.sigma < np.inf

"""The threads in which solvers wait: they end with their searches, never block one another, and are
made anew where they are missing."""

import gc
import os
import threading
import warnings
from dataclasses import dataclass

import numpy as np
from reference import driving, objectives
from reference.cases import SEED, tilted

from evoopt.strategies import strategy_class
from evoopt.strategies.base import Claims
from evoopt.strategies.callback import CallbackSolver
from evoopt.strategies.stopping import reason


def prepared(name, dim, evaluations=7):
    """A strategy and a state in the middle of a run."""
    strategy = strategy_class(name).default(dim)
    state = strategy.init(np.linspace(1.0, 2.0, dim), 0.7, SEED)
    return strategy, driving.run(strategy, state, tilted, evaluations)


def points(strategy, state, fun, evaluations):
    """The next points, fewer if the solver ends: (k, dim), and the state after them."""
    X = []
    while len(X) < evaluations and strategy.stop(state) is None:
        population, _, state = driving.generation(strategy, state, fun)
        X.append(population.X[0])
    return np.array(X), state


def told(strategy, state, f):
    """The state once the next question has been answered by f."""
    population, state = strategy.ask(state, 1)
    return strategy.tell(state, population, driving.values_of([f]))


def test_scipys_cobyqa_may_be_called_while_others_wait():
    """scipy lets one of them run at a time, by a lock: held while it waits, it would never end."""
    from scipy.optimize import minimize

    searches = [prepared("cobyqa", 2) for _ in range(2)]
    for _ in range(3):
        searches = [(s, told(s, state, minimize_to(state, minimize))) for s, state in searches]


def minimize_to(state, minimize):
    found = minimize(lambda x: float(x @ x), state.question, method="COBYQA", options={"maxfev": 9})
    return float(found.fun) + tilted(state.question)


@dataclass(frozen=True, slots=True)
class Compass(CallbackSolver):
    """Looks left and right along each axis; then fails."""

    dim: int
    lower: None = None
    upper: None = None
    popsize: int = 1
    name: str = "compass"
    claims: Claims = Claims(sequential=True)

    @property
    def window(self):
        return 3

    def solve(self, fun, start, radius):
        best = fun(start)
        for step in radius * 0.5 ** np.arange(5.0):
            for i, sign in np.ndindex(self.dim, 2):
                x = start.copy()
                x[i] += step if sign else -step
                f = fun(x)
                if f < best:
                    start, best = x, f
            if best > 1e6:
                raise ValueError("too far")
        return reason("tolradius", step, step)


def solver_threads():
    return [t for t in threading.enumerate() if t.name == "evoopt-solver"]


def settled(most):
    """Whether no more than so many solvers are alive, once those that were told to leave have."""
    gc.collect()
    for thread in solver_threads():
        if len(solver_threads()) > most:
            thread.join(0.05)
    return len(solver_threads()) <= most


def test_threads_end_with_their_searches():
    settled(0)
    others = len(solver_threads())  # of other tests, if any
    strategy = Compass(2)
    for seed in range(40):  # given up in the middle
        driving.run(strategy, strategy.init(np.ones(2), 1.0, seed), objectives.sphere, 5)
    assert settled(others)
    _, end = points(strategy, strategy.init(np.ones(2), 1.0, 1), objectives.sphere, 100)
    assert strategy.stop(end).criterion == "tolradius"  # ended by itself
    assert settled(others)


def test_many_searches_share_a_few_threads():
    strategy = Compass(2)
    states = [strategy.init(np.full(2, i), 1.0, i) for i in range(20)]
    for _ in range(3):
        states = [driving.run(strategy, state, objectives.sphere, 1) for state in states]
        assert settled(8)
    alone = driving.run(strategy, strategy.init(np.full(2, 7), 1.0, 7), objectives.sphere, 3)
    assert driving.fingerprint(alone) == driving.fingerprint(states[7])


def test_a_solver_that_fails_ends_its_search_with_a_reason():
    strategy = Compass(2)
    _, end = points(strategy, strategy.init(np.full(2, 1e4), 1.0, 1), objectives.sphere, 100)
    stop = strategy.stop(end)
    assert stop.criterion == "solverfailed"
    assert "ValueError: too far" in stop.message
    assert not stop.converged


def test_a_child_process_goes_on_by_itself():
    strategy, state = prepared("cobyqa", 2)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of fork
        child = os.fork()
    if child == 0:
        os.write(writing, points(strategy, state, tilted, 5)[0].tobytes())
        os._exit(0)
    X = points(strategy, state, tilted, 5)[0]
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 10_000) == X.tobytes()
    os.close(reading)
    os.close(writing)

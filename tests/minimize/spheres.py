"""Objectives that the tests of `minimize` share, and what it means that two results agree."""

from typing import Any

import numpy as np

import evoopt
from evoopt.options import is_for, takes
from evoopt.strategies import STRATEGIES

BOX = ([-5.0] * 4, [5.0] * 4)
ONE = ("auto", *(name for name in STRATEGIES if is_for(name, 1)))  # objective
SIZED = ("auto", *(name for name in ONE[1:] if takes(name, "popsize")))
CASES = [(name, None) for name in ONE] + [(n, k) for n in SIZED for k in (2, 13)]


def sphere(x: np.ndarray) -> float:
    return float(((x - 0.5) ** 2).sum())


def spheres(X: np.ndarray) -> np.ndarray:
    return np.array([sphere(x) for x in X])


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


def noisy(x: np.ndarray, seed: int) -> float:
    return sphere(x) + 0.1 * float(np.random.default_rng(seed).standard_normal())


def failing(x: np.ndarray) -> float:
    if x[0] > 1:
        raise ValueError("too far")
    return np.nan if x[1] > 1 else sphere(x)


class Counting:
    """An objective that counts its calls and keeps their points."""

    def __init__(self, fun: Any = sphere) -> None:
        self.fun, self.seen = fun, list[np.ndarray]()
        self.__name__ = "counting"

    def __call__(self, x: np.ndarray) -> Any:
        self.seen.append(x.copy())
        return self.fun(x)


def assert_same(a: evoopt.Result, b: evoopt.Result) -> None:
    """Two results agree in every bit."""
    assert a.x is not None
    assert b.x is not None
    assert a.x.tobytes() == b.x.tobytes()
    assert (a.f, a.evaluations, a.generations, a.sigma) == (
        b.f,
        b.evaluations,
        b.generations,
        b.sigma,
    )
    assert a.history.f.tobytes() == b.history.f.tobytes()
    assert a.history.axes.tobytes() == b.history.axes.tobytes()
    assert a.mean.tobytes() == b.mean.tobytes()
    assert a.failures == b.failures

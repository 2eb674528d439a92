"""cocoex's problems, and what its C code offers beside them: optimal values, the state of noise.

The C functions are those of COCO's public header coco.h; they are called in the library that cocoex
itself has loaded, so that both see the same state.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from evoopt.errors import MissingDependencyError, missing
from evoopt.result import Array


@dataclass(frozen=True, slots=True)
class Bare:
    """A problem that logs nothing.

    Attributes:
        value: x (dim,) -> its value, or (n_obj,) values.
        values: X (k, dim) -> (k,) values, or (k, n_obj).
        f_opt: the optimal value; 0 with several objectives.
        lower, upper: (dim,) the region of interest.
        n_integers: how many of the first variables are integers.
    """

    value: Callable[[Array], Any]
    values: Callable[[Array], Array]
    f_opt: float
    lower: Array
    upper: Array
    n_integers: int


def cocoex() -> ModuleType:
    """The module cocoex.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("cocoex")
    except ImportError as error:
        raise missing("coco-experiment", "bench", "a COCO suite") from error


def bare_bbob(function: int, dim: int, instance: int, box: tuple[float, float]) -> Bare:
    """A problem of bbob, the one suite of which cocoex evaluates many rows at once."""
    found = cocoex().BareProblem("bbob", function, dim, instance)
    # the optimal *value* may be asked for; asking for its place would taint the problem
    f_opt = float(found.best_value())
    return Bare(found, found, f_opt, np.full(dim, box[0]), np.full(dim, box[1]), 0)


def bare(suite: str, options: tuple[str, str], coco_id: str) -> Bare:
    """A problem of any suite.

    Args:
        suite: its name.
        options: what makes cocoex.Suite hold this problem alone.
        coco_id: cocoex's id of it.
    """
    inside = cocoex().Suite(suite, *options).get_problem(coco_id)

    def values(X: Array) -> Array:
        return np.array([inside(x) for x in X])

    if inside.number_of_objectives > 1:  # there is no optimal value
        wide = np.array(inside.lower_bounds), np.array(inside.upper_bounds)
        return Bare(inside, values, 0.0, *wide, int(inside.number_of_integer_variables))
    box = np.array(inside.lower_bounds), np.array(inside.upper_bounds)
    n_integers = int(inside.number_of_integer_variables)
    return Bare(inside, values, optimal_value(suite, *options), *box, n_integers)


@functools.lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The C library inside cocoex, with the types of what is called in it.

    Raises:
        MissingDependencyError: cocoex is not installed, or built in another way.
    """
    try:
        library = ctypes.CDLL(str(importlib.import_module("cocoex.interface").__file__))
        library.coco_suite.restype = ctypes.c_void_p
        library.coco_suite.argtypes = [ctypes.c_char_p] * 3
        library.coco_suite_get_next_problem.restype = ctypes.c_void_p
        library.coco_suite_get_next_problem.argtypes = [ctypes.c_void_p] * 2
        library.coco_suite_free.restype = None
        library.coco_suite_free.argtypes = [ctypes.c_void_p]
        library.coco_problem_get_best_value.restype = ctypes.c_double
        library.coco_problem_get_best_value.argtypes = [ctypes.c_void_p]
        library.coco_set_log_level.restype = ctypes.c_char_p
        library.coco_set_log_level.argtypes = [ctypes.c_char_p]
        library.coco_reset_seeds.restype = None
        library.coco_sample_gaussian_noise.restype = ctypes.c_double
        library.coco_sample_uniform_noise.restype = ctypes.c_double
    except ImportError as error:
        raise missing("coco-experiment", "bench", "a COCO suite") from error
    except (AttributeError, OSError) as error:
        raise MissingDependencyError(
            f"cocoex cannot be used for suites other than bbob: {error}; install the wheel of "
            "coco-experiment for this platform"
        ) from error
    return library


def optimal_value(suite: str, instance: str, options: str) -> float:
    """The optimal value of the only problem that cocoex.Suite(suite, instance, options) holds."""
    c = library()
    selected = c.coco_suite(suite.encode(), instance.encode(), options.encode())
    level = c.coco_set_log_level(b"warning")  # it would tell which problem it takes
    try:
        problem = c.coco_suite_get_next_problem(selected, None)
        return float(c.coco_problem_get_best_value(problem))
    finally:
        c.coco_set_log_level(level)
        c.coco_suite_free(selected)

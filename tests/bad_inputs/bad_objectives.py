"""The 35 objectives of the matrix of bad inputs: a shifted sphere in 5-D that misbehaves.

Each is a name of this module, made when it is asked for, so that a command line can say
`bad_objectives.py:nan_30`. Every call appends its x to the file that `EVOOPT_BAD_INPUTS` names,
whatever process it runs in: the length of that file is the number of the call, so that "once" is
once for all workers together, and what was evaluated can be looked at afterwards.
"""

import ctypes
import os
import resource
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

DIM = 5
OPTIMUM = np.array([0.5, -1.0, 1.5, -0.3, 2.0])
RECORD = "EVOOPT_BAD_INPUTS"
ONCE_AT = 20  # the call at which what happens once happens
_ROW = 8 * DIM


def sphere(x: np.ndarray) -> float:
    """The shifted sphere. x: (dim,), of which the first `DIM` are used."""
    d = np.asarray(x, dtype=float) - OPTIMUM[: len(x)]
    return float(d.dot(d))


def points(path: str) -> np.ndarray:
    """All points that were evaluated, in the order of the calls. Returns: (k, dim)."""
    with open(path, "rb") as file:
        return np.frombuffer(file.read(), dtype=float).reshape(-1, DIM)


def _number_of_call(x: np.ndarray) -> int:
    """The number of this call, from 0; x is recorded."""
    handle = os.open(os.environ[RECORD], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, np.resize(np.asarray(x, dtype=float), DIM).tobytes())
        return os.fstat(handle).st_size // _ROW - 1
    finally:
        os.close(handle)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _raise() -> None:
    raise ValueError("the simulator\ndid not converge")


def _exhaust() -> None:
    """All the memory that there is, where that is 64 MiB more than is in use."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 26), hard))
    blocks = []
    try:
        while True:
            blocks.append(np.ones(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _sometimes(value: float, instead: object, call: int, percent: int = 30) -> object:
    """`instead` in about so many of a hundred calls, spread by the golden ratio."""
    return instead if (call * 0.6180339887498949) % 1 < percent / 100 else value


def _once(value: Any, instead: Callable[[], Any], call: int, at: int = ONCE_AT) -> Any:
    if call != at:
        return value
    instead()
    return value


def _written_into(x: np.ndarray, value: float) -> float:
    x[:] = 1e9
    return value


# name -> what is returned for x, the value v of the sphere there, and the number i of the call
RETURNS: dict[str, Callable[[np.ndarray, float, int], Any]] = {
    "ok": lambda x, v, i: v,
    "nan_always": lambda x, v, i: np.nan,
    "nan_30": lambda x, v, i: _sometimes(v, np.nan, i),
    "nan_half_space": lambda x, v, i: np.nan if x[0] > 0.8 else v,
    "nan_storm": lambda x, v, i: np.nan if 30 <= i < 90 else v,
    "inf_30": lambda x, v, i: _sometimes(v, np.inf, i),
    "inf_always": lambda x, v, i: np.inf,
    "ninf_once": lambda x, v, i: -np.inf if i == ONCE_AT else v,
    "none_always": lambda x, v, i: None,
    "none_once": lambda x, v, i: None if i == ONCE_AT else v,
    "str_num": lambda x, v, i: str(v),
    "str_digit": lambda x, v, i: "3",
    "str_bad": lambda x, v, i: "abc" if i == ONCE_AT else v,
    "shape0d": lambda x, v, i: np.array(v),
    "shape1": lambda x, v, i: np.array([v]),
    "shape2": lambda x, v, i: np.array([[v], [v]]),  # of shape (2,) they are two objectives
    "complex": lambda x, v, i: complex(v, 0.0),
    "complex_imag": lambda x, v, i: complex(v, 1.0),
    "raise_once": lambda x, v, i: _once(v, _raise, i),
    "hang_once": lambda x, v, i: _once(v, lambda: time.sleep(3600), i),
    "exit_once": lambda x, v, i: _once(v, lambda: os._exit(7), i),
    "sysexit_once": lambda x, v, i: _once(v, lambda: sys.exit("no more"), i),
    "kbd": lambda x, v, i: _once(v, _interrupt, i, at=50),
    "huge": lambda x, v, i: 1e308 * (1 + v),
    "f1e160": lambda x, v, i: v * 1e160,
    "tiny": lambda x, v, i: v * 1e-320,
    "flat": lambda x, v, i: 0.0,
    "bool": lambda x, v, i: v > 16.0,
    "mutate": lambda x, v, i: _written_into(x, v),
    "f32": lambda x, v, i: np.float32(v),
    "frac": lambda x, v, i: Fraction(v),
    "dec": lambda x, v, i: Decimal(v),
    "bigint": lambda x, v, i: 10**400 if i == ONCE_AT else v,
    "segfault": lambda x, v, i: _once(v, lambda: ctypes.string_at(0), i),
    "memory": lambda x, v, i: _once(v, _exhaust, i),
}


class Objective:
    """One of `RETURNS`, recorded."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, x: np.ndarray) -> Any:
        call, value = _number_of_call(x), sphere(x)
        return RETURNS[self.__name__](x, value, call)


def __getattr__(name: str) -> Objective:
    if name not in RETURNS:
        raise AttributeError(name)
    return Objective(name)

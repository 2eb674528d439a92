"""Arguments as users give them, checked once, at the edge: each function returns the clean value or
raises a ConfigurationError that names the argument, what was expected and what came."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.rng import SEED_LIMIT

Array = NDArray[np.float64]

_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*(\*?\s*[dD])?\s*")


def refuse(owner: str, argument: str, expected: str, got: object) -> ConfigurationError:
    """`owner(argument=...) must be expected; got ...` in one line of bounded length."""
    return ConfigurationError(f"{owner}({argument}=...) must be {expected}; got {shown(got)}")


def shown(got: object) -> str:
    """What came, in one line of bounded length (the repr of an array has several)."""
    text = " ".join(repr(got).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_whole(value: object) -> bool:
    """Whether `value` is an integer of Python or numpy, not a bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)


def check_count(value: Any, owner: str, argument: str, least: int = 1) -> int:
    """A whole number >= least."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)  # 1e4 is how people write ten thousand
    if not is_whole(value) or value < least:
        raise refuse(owner, argument, f"a whole number >= {least}", value)
    return int(value)


def check_number(value: Any, owner: str, argument: str, expected: str) -> float:
    """A real number, no NaN."""
    real = isinstance(value, int | float | np.integer | np.floating) or np.ndim(value) == 0
    if isinstance(value, bool | np.bool_ | str | bytes) or value is None or not real:
        raise refuse(owner, argument, expected, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise refuse(owner, argument, expected, value) from None
    if math.isnan(number):
        raise refuse(owner, argument, expected, value)
    return number


def check_positive(value: Any, owner: str, argument: str, unit: str = "") -> float:
    """A finite number > 0."""
    expected = f"a positive finite number{unit}"
    number = check_number(value, owner, argument, expected)
    if not 0 < number < math.inf:
        raise refuse(owner, argument, expected, value)
    return number


def check_target(value: Any, owner: str) -> float:
    """A finite number."""
    number = check_number(value, owner, "target", "a finite number")
    if not math.isfinite(number):
        raise refuse(owner, "target", "a finite number", value)
    return number


def check_seed(value: Any, owner: str) -> int:
    """A whole number in [0, 2**64)."""
    if not is_whole(value) or not 0 <= value < SEED_LIMIT:
        raise refuse(owner, "seed", "a whole number from 0 to 2**64 - 1", value)
    return int(value)


def check_start(x0: Any, owner: str) -> Array:
    """(dim,) finite float64, a copy."""
    expected = "a sequence of finite numbers, one per variable"
    try:
        if isinstance(x0, str | bytes) or np.asarray(x0).dtype.kind not in "iufb":
            raise ValueError
        x = np.array(x0, dtype=np.float64)
    except (TypeError, ValueError):
        raise refuse(owner, "x0", expected, x0) from None
    if x.ndim != 1 or x.size == 0:
        raise refuse(owner, "x0", f"{expected} (1-D, not empty)", x0)
    if not np.isfinite(x).all():
        raise refuse(owner, "x0", expected, x0)
    return x


def check_sigma(sigma0: Any, dim: int, owner: str) -> Array:
    """(dim,) initial step sizes from one number or one per variable."""
    expected = "a positive finite number, or one per variable"
    if np.ndim(sigma0) == 0:
        return np.full(dim, check_positive(sigma0, owner, "sigma0", ", or one per variable"))
    try:
        sigma = np.array(sigma0, dtype=np.float64)
    except (TypeError, ValueError):
        raise refuse(owner, "sigma0", expected, sigma0) from None
    if sigma.shape != (dim,) or not ((sigma > 0) & (sigma < math.inf)).all():
        raise refuse(owner, "sigma0", f"{expected} ({dim})", sigma0)
    return sigma


def check_budget(budget: Any, dim: int, owner: str) -> int:
    """Evaluations: a whole number >= 1, or text such as "1000*D", "100D", "1e4"."""
    expected = 'a whole number >= 1, or text such as "1000*D" or "100D"'
    if isinstance(budget, str):
        match = _BUDGET.fullmatch(budget)
        if match is None:
            raise refuse(owner, "budget", expected, budget)
        value = float(match[1]) * (dim if match[2] else 1)
        if not value.is_integer() or value < 1:
            raise refuse(owner, "budget", expected, budget)
        return int(value)
    try:
        return check_count(budget, owner, "budget")
    except ConfigurationError:
        raise refuse(owner, "budget", expected, budget) from None

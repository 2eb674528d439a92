"""Kinds of parameters: how a value becomes one coordinate of the search vector, and back.

All coordinates lie in [0, 1], so that one step size fits all of them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from evoopt.checks import shown
from evoopt.errors import ConfigurationError
from evoopt.objective import described

MOST_LEVELS = 2**50  # of a discrete parameter: numbers below count exactly in float64
_WIDEST = 1e300  # high / low of a logarithmic grid, whose quotient must be finite
_WHOLE = 1 + 1e-12  # 0.3 / 0.1 < 3: how many steps fit is a matter of rounding


class Levels(NamedTuple):
    """The coordinates of a discrete parameter; see `evoopt.grid.Grid`."""

    high: float  # number of the last value, the first being 0
    rate: float
    curve: float


@dataclass(frozen=True, slots=True)
class Float:
    """A real parameter.

    Attributes:
        low: smallest value.
        high: largest value.
        log: the search is linear in the logarithm of the value; needs low > 0.
        step: values are low + i * step, the nearest one; None for all numbers in between.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high") if self.step is None else ("low", "high", "step"):
            object.__setattr__(self, name, _finite(f"Float({name}=...)", getattr(self, name)))
        _check_range("Float", self.low, self.high, self.log)
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ConfigurationError(
                f"Float(step=...) must be > 0 and <= high - low; got {self.step:g}"
            )
        if self.step is not None and self.log and self.high > self.low * _WIDEST:
            raise ConfigurationError(
                "Float(step=..., log=True) must have high / low of at most 1e300; "
                f"got {self.low:g} and {self.high:g}"
            )
        if self.step is not None and (self.high - self.low) / self.step > MOST_LEVELS:
            raise ConfigurationError(
                f"Float(step=...) must leave at most 2**50 values; got {self.step:g}"
            )

    @property
    def levels(self) -> Levels | None:
        """The grid of the coordinate; None where there is no step."""
        if self.step is None:
            return None
        return _levels(self.low, self.high, self.step, self.log)

    def decode(self, t: float) -> float:
        """The value at a coordinate; one outside [0, 1] counts as the nearest end."""
        t = min(max(float(t), 0.0), 1.0)
        if t in (0.0, 1.0):
            value = self.high if t else self.low  # what the formulas give up to rounding
        elif self.log:
            log_low, log_high = math.log(self.low), math.log(self.high)
            value = math.exp(log_low + t * (log_high - log_low))
        else:
            value = self.low + t * (self.high - self.low)
        return self._on_grid(min(max(value, self.low), self.high))

    def encode(self, value: Any) -> float:
        """The coordinate of a value, as near as there is one.

        Raises:
            ConfigurationError: it is no number from low to high.
        """
        value = self._on_grid(_within("Float", value, self.low, self.high))
        return _corrected(self.decode, _coordinate(self.low, self.high, self.log, value), value)

    def plain(self) -> dict[str, Any]:
        """As JSON values, in the words of a file."""
        return _words("float", self.low, self.high, self.log, self.step)

    def _on_grid(self, value: float) -> float:
        if self.step is None:
            return value
        last = math.floor((self.high - self.low) / self.step * _WHOLE)
        i = min(round((value - self.low) / self.step), last)
        return min(self.low + i * self.step, self.high)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number.

    Attributes:
        low: smallest value.
        high: largest value; the last one is the largest low + i * step that does not exceed it.
        log: the search is linear in the logarithm of the value; needs low > 0.
        step: values are low + i * step.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            object.__setattr__(self, name, _whole(f"Integer({name}=...)", getattr(self, name)))
        _check_range("Integer", self.low, self.high, self.log)
        if not 0 < self.step <= self.high - self.low:
            raise ConfigurationError(
                f"Integer(step=...) must be > 0 and <= high - low; got {self.step}"
            )
        if (self.high - self.low) // self.step > MOST_LEVELS:
            raise ConfigurationError(
                f"Integer(high=...) must leave at most 2**50 values; got {self.low} to {self.high}"
            )

    @property
    def levels(self) -> Levels:
        """The grid of the coordinate."""
        return _levels(self.low, self._last, self.step, self.log)

    @property
    def _last(self) -> int:
        return self.low + (self.high - self.low) // self.step * self.step

    def decode(self, t: float) -> int:
        """The value at a coordinate; one outside [0, 1] counts as the nearest end."""
        t, last = min(max(float(t), 0.0), 1.0), self._last
        if self.log:
            raised = self.low * math.expm1(t * math.log(last / self.low))
        else:
            raised = t * (last - self.low)
        return min(self.low + round(raised / self.step) * self.step, last)

    def encode(self, value: Any) -> float:
        """The coordinate of a value.

        Raises:
            ConfigurationError: it is no whole number from low to high in steps of `step`.
        """
        value = _whole("Integer.encode(value=...)", value)
        _within("Integer", value, self.low, self.high)
        if (value - self.low) % self.step:
            raise ConfigurationError(
                f"Integer.encode(value=...) must be {self.low} plus a multiple of {self.step}; "
                f"got {value}"
            )
        return _coordinate(self.low, self._last, self.log, value)

    def plain(self) -> dict[str, Any]:
        """As JSON values, in the words of a file."""
        return _words(
            "integer", self.low, self.high, self.log, None if self.step == 1 else self.step
        )


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several values without an order.

    Attributes:
        choices: the values, of any type, no two of them equal.
    """

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        given = self.choices
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise ConfigurationError(
                f"Categorical(choices=...) must be a list of values; got {shown(given)}"
            )
        choices = tuple(given)
        if not choices:
            raise ConfigurationError("Categorical(choices=...) must hold a value; got none")
        for i, choice in enumerate(choices):
            if any(_same(choice, other) for other in choices[:i]):
                raise ConfigurationError(
                    f"Categorical(choices=...) must differ from one another; got {choice!r} twice"
                )
        object.__setattr__(self, "choices", choices)

    def decode(self, t: float) -> Any:
        """The choice at a coordinate: number i of K is at i / (K - 1)."""
        last = len(self.choices) - 1
        return self.choices[min(max(round(float(t) * last), 0), last)]

    def encode(self, value: Any) -> float:
        """The coordinate of a choice.

        Raises:
            ConfigurationError: it is none of them.
        """
        for are_equal in (_same, operator.eq):  # 1 is 1 rather than True, and rather that than none
            for i, choice in enumerate(self.choices):
                if are_equal(value, choice):
                    return i / max(1, len(self.choices) - 1)
        raise ConfigurationError(
            "Categorical.encode(value=...) must be one of "
            f"{', '.join(map(repr, self.choices))}; got {shown(value)}"
        )

    def plain(self) -> dict[str, Any]:
        """As JSON values where the choices are, in the words of a file."""
        return {"type": "categorical", "choices": list(self.choices)}


Parameter = Float | Integer | Categorical


def _words(kind: str, low: float, high: float, log: bool, step: float | None) -> dict[str, Any]:
    """A range in the words of a file, without those that say nothing."""
    more = {"log": log or None, "step": step}
    given = {word: value for word, value in more.items() if value is not None}
    return {"type": kind, "low": low, "high": high, **given}


def _same(one: Any, other: Any) -> bool:
    """Equal and of one type: 1, 1.0 and True are three choices."""
    return type(one) is type(other) and bool(one == other)


def _levels(low: float, high: float, step: float, log: bool) -> Levels:
    last = math.floor((high - low) / step * _WHOLE)
    if log:
        return Levels(last, math.log(high) - math.log(low) or 1.0, step / low)
    return Levels(last, (high - low) / step, 0.0)


def _coordinate(low: float, high: float, log: bool, value: float) -> float:
    """Where a value lies between low (0) and high (1)."""
    if log:
        width = math.log(high) - math.log(low) or 1.0  # neighbouring numbers may share it
        t = (math.log(value) - math.log(low)) / width
    else:
        t = (value - low) / (high - low)
    return min(max(t, 0.0), 1.0)


def _corrected(decode: Any, t: float, value: float) -> float:
    """The coordinate that decodes to `value` by bisection from t, which is right but for
    rounding; decoding is monotone, and so are its roundings."""
    below, above = 0.0, 1.0
    while (decoded := decode(t)) != value:
        below, above = (t, above) if decoded < value else (below, t)
        middle = below + (above - below) / 2
        if middle in (below, above):  # no coordinate decodes to it: t is next to the gap
            break
        t = middle
    return t


def _check_range(kind: str, low: float, high: float, log: bool) -> None:
    if not isinstance(log, bool):
        raise ConfigurationError(f"{kind}(log=...) must be true or false; got {shown(log)}")
    if not 0 < high - low < math.inf:
        raise ConfigurationError(
            f"{kind}(low=...) must be < high, their difference finite; got {low:g} and {high:g}"
        )
    if log and low <= 0:
        raise ConfigurationError(f"{kind}(low=..., log=True) must be > 0; got {low:g}")


def _within(kind: str, value: Any, low: float, high: float) -> float:
    number = _finite(f"{kind}.encode(value=...)", value)
    if not low <= number <= high:
        raise ConfigurationError(
            f"{kind}.encode(value=...) must be in [{low:g}, {high:g}]; got {number:g}"
        )
    return number


def _finite(argument: str, value: Any) -> float:
    """A finite number as a float. Raises: ConfigurationError."""
    try:
        wrong = isinstance(value, str | bytes | bool)
        number = math.nan if wrong else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(f"{argument} must be a finite number; got {described(value)}")
    return number


def _whole(argument: str, value: Any) -> int:
    """A whole number; 8.0 is one. Raises: ConfigurationError."""
    try:
        number = _finite(argument, value)
    except ConfigurationError:
        number = 0.5
    if not number.is_integer():
        raise ConfigurationError(f"{argument} must be a whole number; got {described(value)}")
    return int(value)

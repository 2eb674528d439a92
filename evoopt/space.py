"""Named parameters and the vectors that a search works on.

A search sees the unit box [0, 1]^dim, in which all parameters have the same width; the function
sees a dict. What is evaluated is `decode(x)`, a pure function of the vector that is logged, and a
decoded value survives the way back: ``decode(encode(decode(x))) == decode(x)``.

>>> space = Space({"rate": Float(1e-4, 0.1, log=True), "momentum": Float(0, 1, step=0.25)})
>>> space.decode(np.array([[1.0, 0.6]]))
[{'rate': 0.1, 'momentum': 0.5}]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.objective import described, takes_seed
from evoopt.problem import FunctionProblem

Array = NDArray[np.float64]
Point = dict[str, Any]  # parameter name -> value


class Parameter(Protocol):
    """One parameter and its part of the search vector: `dim` coordinates in [0, 1]."""

    @property
    def dim(self) -> int: ...

    def decode(self, u: Array) -> Any:
        """The value at the coordinates u: (dim,); those outside [0, 1] count as the nearest."""

    def encode(self, value: Any) -> Array:
        """Coordinates (dim,) of a value, as near as there are. Raises ConfigurationError."""


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

    @property
    def dim(self) -> int:
        return 1

    def __post_init__(self) -> None:
        for name in ("low", "high") if self.step is None else ("low", "high", "step"):
            object.__setattr__(self, name, _finite(f"Float({name}=...)", getattr(self, name)))
        if not 0 < self.high - self.low < math.inf:
            raise ConfigurationError(
                "Float(low=...) must be < high, their difference finite; "
                f"got {self.low:g} and {self.high:g}"
            )
        if self.log and self.low <= 0:
            raise ConfigurationError(f"Float(low=..., log=True) must be > 0; got {self.low:g}")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ConfigurationError(
                f"Float(step=...) must be > 0 and <= high - low; got {self.step:g}"
            )

    def decode(self, u: Array) -> float:
        t = min(max(float(u[0]), 0.0), 1.0)
        if t in (0.0, 1.0):
            value = self.high if t else self.low  # what the formulas give up to rounding
        elif self.log:
            log_low, log_high = math.log(self.low), math.log(self.high)
            value = math.exp(log_low + t * (log_high - log_low))
        else:
            value = self.low + t * (self.high - self.low)
        return self._on_grid(min(max(value, self.low), self.high))

    def encode(self, value: float) -> Array:
        value = _finite("Float.encode(value=...)", value)
        if not self.low <= value <= self.high:
            raise ConfigurationError(
                f"Float.encode(value=...) must be in [{self.low:g}, {self.high:g}]; got {value:g}"
            )
        if self.log:
            log_low, log_high = math.log(self.low), math.log(self.high)
            width = log_high - log_low or 1.0  # neighbouring numbers may share their logarithm
            t = (math.log(value) - log_low) / width
        else:
            t = (value - self.low) / (self.high - self.low)
        return np.array([self._corrected(t, self._on_grid(value))])

    def _on_grid(self, value: float) -> float:
        if self.step is None:
            return value
        last = math.floor((self.high - self.low) / self.step * (1 + 1e-12))  # 0.3 / 0.1 < 3
        i = min(round((value - self.low) / self.step), last)
        return min(self.low + i * self.step, self.high)

    def _corrected(self, t: float, value: float) -> float:
        """The coordinate that decodes to `value` by bisection from t, which is right but for
        rounding; decoding is monotone, and so are its roundings."""
        below, above = 0.0, 1.0
        while (decoded := self.decode(np.array([t]))) != value:
            below, above = (t, above) if decoded < value else (below, t)
            middle = below + (above - below) / 2
            if middle in (below, above):  # no coordinate decodes to it: t is next to the gap
                break
            t = middle
        return t


@dataclass(frozen=True, slots=True)
class Space:
    """Named parameters; the order of the mapping is the order of the search vector."""

    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ConfigurationError("Space(parameters=...) must name a parameter; got none")
        object.__setattr__(self, "parameters", dict(self.parameters))

    @property
    def dim(self) -> int:
        return sum(parameter.dim for parameter in self.parameters.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parameters)

    @property
    def lower(self) -> Array:
        return np.zeros(self.dim)

    @property
    def upper(self) -> Array:
        return np.ones(self.dim)

    def decode(self, X: Array) -> list[Point]:
        """The points that the rows of X stand for. X: (k, dim) in [0, 1]."""
        return [self._decode_row(x) for x in X]

    def encode(self, point: Mapping[str, Any]) -> Array:
        """The search vector (dim,) of a point.

        Raises:
            ConfigurationError: a parameter is missing, unknown, or out of its range.
        """
        if point.keys() != self.parameters.keys():
            raise ConfigurationError(
                f"Space.encode(point=...) must name {', '.join(self.parameters)}; "
                f"got {', '.join(map(str, point)) or 'nothing'}"
            )
        return np.concatenate([p.encode(point[name]) for name, p in self.parameters.items()])

    def problem(
        self, fun: Callable[..., Any], *, name: str = "objective", maximize: bool = False
    ) -> FunctionProblem:
        """The problem of a function of a dict, which may take a seed as `FunctionProblem` says."""
        if not callable(fun):
            raise ConfigurationError(
                f"Space.problem(fun=...) must be callable; got {described(fun)}"
            )
        seeded = takes_seed(fun)

        def of_vector(x: Array) -> Any:
            return fun(self._decode_row(x))

        def of_vector_and_seed(x: Array, *, seed: int) -> Any:
            return fun(self._decode_row(x), seed=seed)

        return FunctionProblem(
            of_vector_and_seed if seeded else of_vector,
            self.dim,
            self.lower,
            self.upper,
            name=name,
            maximize=maximize,
        )

    def _decode_row(self, x: Array) -> Point:
        point, start = {}, 0
        for name, parameter in self.parameters.items():
            point[name] = parameter.decode(x[start : start + parameter.dim])
            start += parameter.dim
        return point


def _finite(argument: str, value: Any) -> float:
    """A finite number as a float. Raises: ConfigurationError."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(f"{argument} must be a finite number; got {described(value)}")
    return number

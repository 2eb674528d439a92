"""Named parameters and the vectors that a search works on.

A search sees one coordinate per parameter; the function sees a dict. What is evaluated is
`decode(x)`, a pure function of the vector that is logged, and a decoded value survives the way
back: ``decode(encode(decode(x))) == decode(x)``.

>>> space = Space({"rate": Float(1e-4, 0.1, log=True), "layers": Integer(1, 8), "act": ["a", "b"]})
>>> space.decode(np.array([[1.0, 0.6, 1.0]]))
[{'rate': 0.1, 'layers': 5, 'act': 'b'}]
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt.checks import shown
from evoopt.errors import ConfigurationError
from evoopt.grid import Grid
from evoopt.objective import described, takes_seed
from evoopt.parameters import Categorical, Float, Integer, Parameter
from evoopt.problem import FunctionProblem
from evoopt.result import Values

__all__ = ["Categorical", "Float", "Integer", "Parameter", "Point", "Space", "SpaceProblem"]

Array = NDArray[np.float64]
Point = dict[str, Any]  # parameter name -> value


@dataclass(frozen=True, slots=True)
class Space:
    """Named parameters; the order of the mapping is the order of the search vector.

    Attributes:
        parameters: name -> `Float`, `Integer` or `Categorical`; a list stands for a `Categorical`.
    """

    parameters: Mapping[str, Parameter | Sequence[Any]]

    def __post_init__(self) -> None:
        given = self.parameters
        if not isinstance(given, Mapping) or not given:
            got = shown(given) if given else "none"
            raise ConfigurationError(f"Space(parameters=...) must name a parameter; got {got}")
        object.__setattr__(self, "parameters", {n: _parameter(n, p) for n, p in given.items()})

    @staticmethod
    def of(space: Space | Mapping[str, Any]) -> Space:
        """The space, or that of a mapping."""
        return space if isinstance(space, Space) else Space(space)

    @property
    def dim(self) -> int:
        return len(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parameters)

    @property
    def lower(self) -> Array:
        """(dim,) zeros."""
        return np.zeros(self.dim)

    @property
    def upper(self) -> Array:
        """(dim,) ones, but 0 for a categorical parameter of one choice."""
        return np.where(self.choices == 1, 0.0, 1.0)

    @property
    def choices(self) -> NDArray[np.int64]:
        """(dim,) the number of choices of a categorical parameter, 0 for a number."""
        counts = [len(p.choices) if isinstance(p, Categorical) else 0 for p in self._parameters]
        return np.array(counts, dtype=np.int64)

    @property
    def grid(self) -> Grid:
        """Of the parameters that are whole numbers or have a step."""
        levels = [None if isinstance(p, Categorical) else p.levels for p in self._parameters]
        where = np.array([level is not None for level in levels])
        high, rate, curve = np.array([x for x in levels if x is not None]).reshape(-1, 3).T
        zero = np.zeros(len(high))
        top = np.where(curve > 0, np.log1p(curve * high), high) / rate
        return Grid(where, zero, high, zero, rate, curve, np.minimum(top, 1.0))

    @property
    def _parameters(self) -> Iterable[Any]:
        return self.parameters.values()

    def decode(self, X: Array) -> list[Point]:
        """The points that the rows of X stand for. X: (k, dim)."""
        return [self.point(x) for x in X]

    def point(self, x: Array) -> Point:
        """The point that a search vector stands for. x: (dim,)."""
        named = zip(self.names, self._parameters, x.tolist(), strict=True)
        return {name: parameter.decode(t) for name, parameter, t in named}

    def encode(self, point: Mapping[str, Any]) -> Array:
        """The search vector (dim,) of a point.

        Raises:
            ConfigurationError: a parameter is missing, unknown, or out of its range.
        """
        if not isinstance(point, Mapping) or point.keys() != self.parameters.keys():
            raise ConfigurationError(
                f"Space.encode(point=...) must name {', '.join(self.names)}; {self._misfit(point)}"
            )
        return np.array([self._coordinate(name, point[name]) for name in self.names])

    def encoded(self, evaluations: Any) -> Any:
        """Earlier evaluations (points, F), with search vectors (k, dim) where the points are dicts;
        all else is left as it is, to be checked where it is used."""
        if not isinstance(evaluations, tuple | list) or len(evaluations) != 2:
            return evaluations
        points, F = evaluations
        is_list = isinstance(points, list | tuple) and len(points) > 0
        if not is_list or not all(isinstance(point, Mapping) for point in points):
            return evaluations
        return np.array([self.encode(point) for point in points]), F

    def _coordinate(self, name: str, value: Any) -> float:
        parameter: Any = self.parameters[name]
        try:
            return float(parameter.encode(value))
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None

    def _misfit(self, point: Any) -> str:
        """What is wrong with the names of a point, with a suggestion."""
        if not isinstance(point, Mapping):
            return f"got {shown(point)}"
        got = f"got {', '.join(map(str, point)) or 'nothing'}"
        left = [name for name in self.names if name not in point]
        for name in point:
            close = difflib.get_close_matches(str(name), left, n=1)
            if name not in self.parameters and close:
                return f"{got}; did you mean {close[0]!r}?"
        return got

    def plain(self) -> dict[str, dict[str, Any]]:
        """As JSON values where the choices are, in the words of a file."""
        return {name: p.plain() for name, p in zip(self.names, self._parameters, strict=True)}

    def problem(
        self,
        fun: Callable[..., Any],
        *,
        name: str = "objective",
        vectorized: bool = False,
        maximize: bool | tuple[bool, ...] = False,
        n_obj: int = 1,
    ) -> SpaceProblem:
        """The problem of a function of a dict, or if vectorized, of a list of k dicts, which may
        take a seed as `FunctionProblem` says."""
        if not callable(fun):
            raise ConfigurationError(
                f"Space.problem(fun=...) must be callable; got {described(fun)}"
            )
        seeded = takes_seed(fun)

        read: Callable[[Array], Any] = self.decode if vectorized else self.point

        def of_vector(x: Array) -> Any:
            return fun(read(x))

        def of_vector_and_seed(x: Array, *, seed: Any) -> Any:
            return fun(read(x), seed=seed)

        inner = FunctionProblem(
            of_vector_and_seed if seeded else of_vector,
            self.dim,
            self.lower,
            self.upper,
            name=name,
            vectorized=vectorized,
            maximize=maximize,
            n_obj=n_obj,
        )
        return SpaceProblem(inner, self)


@dataclass(frozen=True, slots=True, eq=False)
class SpaceProblem:
    """A function of a dict as a problem.

    Attributes:
        inner: the function of the search vector.
        space: what the vector stands for.
    """

    inner: FunctionProblem
    space: Space

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def n_obj(self) -> int:
        return self.inner.n_obj

    @property
    def lower(self) -> Array:
        return self.inner.lower

    @property
    def upper(self) -> Array:
        return self.inner.upper

    @property
    def takes_seed(self) -> bool:
        return bool(self.inner.takes_seed)

    def evaluate(self, X: ArrayLike, seeds: Sequence[int] | None = None) -> Values:
        """As `FunctionProblem.evaluate`."""
        return self.inner.evaluate(X, seeds)


def _parameter(name: Any, given: Any) -> Parameter:
    """One entry of a mapping."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"Space(parameters=...) must have names that are text; got {shown(name)}"
        )
    if isinstance(given, list):
        try:
            return Categorical(tuple(given))
        except ConfigurationError as error:
            raise ConfigurationError(f"Space: {name}: {error}") from None
    if isinstance(given, Float | Integer | Categorical):
        return given
    hint = "; a range is Float(low, high) or Integer(low, high)" if np.ndim(given) else ""
    raise ConfigurationError(
        "Space(parameters=...) must map names to Float, Integer, Categorical or a list of choices; "
        f"got {name}: {shown(given)}{hint}"
    )

"""What is searched: a problem maps rows of points to rows of values.

The conventions, once: minimise; X (k, dim) float64; F (k,), or (k, n_obj); bounds may be infinite;
a row that could not be evaluated is NaN in F and has a `Failure`; the value depends on the point
alone, and on the seed where the problem takes one. A problem does not count, log, cache, clip or
print: runner, observers and `bounds` do.

>>> sphere = FunctionProblem(lambda x: float(x @ x), 2, [-5, -5], [5, 5], name="sphere")
>>> sphere.evaluate([[0, 0], [3, 4], [1, 1]]).F
array([ 0., 25.,  2.])
>>> shifted(sphere, [1, 1]).evaluate([[1, 1]]).F
array([0.])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt.errors import ConfigurationError, ObjectiveError
from evoopt.objective import (
    call_at_once,
    call_by_row,
    described,
    point_text,
    takes_seed,
    values_shape,
)
from evoopt.objective import load_function as load_function
from evoopt.result import NAN, NEGINF, POSINF, Failure, Values

Array = NDArray[np.float64]


@runtime_checkable
class Problem(Protocol):
    """Six names, nothing optional. lower, upper: (dim,), may be infinite."""

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def n_obj(self) -> int: ...
    @property
    def lower(self) -> Array: ...
    @property
    def upper(self) -> Array: ...

    def evaluate(self, X: Array) -> Values:
        """The values of the rows of X: (k, dim). Failures are captured row by row."""


@runtime_checkable
class SeededProblem(Problem, Protocol):
    """A problem whose value may depend on a seed besides the point."""

    @property
    def takes_seed(self) -> bool | None: ...

    def evaluate(self, X: Array, seeds: Sequence[int] | None = None) -> Values:
        """As `Problem.evaluate`; seeds: k numbers, needed where `takes_seed`."""


@dataclass(frozen=True, slots=True, eq=False)
class FunctionProblem:
    """A Python callable as a problem.

    Attributes:
        fun: x (dim,) -> a real number; it gets a copy of the row, so it may write into it. Taken:
            int, float, bool, numpy scalars, arrays of shape () or (1,), Fraction, Decimal,
            complex with zero imaginary part. With several objectives: as many of them, as a tuple,
            a list or an array.
        dim: number of variables.
        lower: (dim,) lower bounds, -inf where there is none.
        upper: (dim,) upper bounds; equal to `lower` where a variable is fixed.
        name: what reports call the problem.
        vectorized: `fun` takes X (k, dim) and returns k values, shape (k,) or (k, 1), or (k, n_obj)
            with several objectives.
        maximize: `fun` is to be maximised, or those of its objectives that are True; F holds the
            negated values.
        takes_seed: `fun` takes the seed of the evaluation by the keyword `seed` (k of them if
            vectorized); None reads it from the signature.
        n_obj: number of objectives.
    """

    fun: Callable[..., Any]
    dim: int
    lower: Array
    upper: Array
    name: str = field(kw_only=True, default="objective")
    vectorized: bool = field(kw_only=True, default=False)
    maximize: bool | tuple[bool, ...] = field(kw_only=True, default=False)
    takes_seed: bool | None = field(kw_only=True, default=None)
    n_obj: int = field(kw_only=True, default=1)

    def __post_init__(self) -> None:
        if not callable(self.fun):
            raise _wrong("FunctionProblem(fun=...)", "must be callable", self.fun)
        for name in ("dim", "n_obj"):
            number = getattr(self, name)
            if type(number) is not int or number < 1:
                raise _wrong(f"FunctionProblem({name}=...)", "must be an integer >= 1", number)
        if isinstance(self.maximize, tuple) and len(self.maximize) != self.n_obj:
            expected = f"must be true or false, or one per objective ({self.n_obj})"
            raise _wrong("FunctionProblem(maximize=...)", expected, self.maximize)
        for side in ("lower", "upper"):
            bound = _vector(f"FunctionProblem({side}=...)", getattr(self, side), self.dim)
            object.__setattr__(self, side, bound)
        refused = np.flatnonzero(~(self.lower <= self.upper))  # NaN is refused here, too
        if refused.size:
            i = refused[0]
            got = f"{self.lower[i]:g} and {self.upper[i]:g} at index {i}"
            raise ConfigurationError(f"FunctionProblem(lower=...) must be <= upper; got {got}")
        if self.takes_seed is None:
            object.__setattr__(self, "takes_seed", takes_seed(self.fun))

    def evaluate(self, X: ArrayLike, seeds: Sequence[int] | None = None) -> Values:
        """The values of the rows of X: (k, dim).

        Raises:
            ConfigurationError: X has another shape or is not finite, or `fun` takes a seed and
                there are not k of them.
        """
        X = check_points(self, X)
        if not self.takes_seed:
            seeds = None
        elif seeds is None or len(seeds) != len(X):
            got = "none" if seeds is None else len(seeds)
            raise ConfigurationError(f"evaluate(seeds=...) must hold {len(X)} numbers; got {got}")
        call = call_at_once if self.vectorized else call_by_row
        F, failures = call(self.fun, X, seeds, self.n_obj)
        return classified(sign_of(self.maximize) * F if self.maximize else F, None, failures)


def sign_of(maximize: bool | Sequence[bool]) -> Any:
    """What values are multiplied by to be minimised, and again to be the user's: 1.0 or -1.0, or
    (n_obj,) of them where each objective has a sense of its own."""
    if isinstance(maximize, bool):
        return -1.0 if maximize else 1.0
    return np.where(np.array(maximize, dtype=bool), -1.0, 1.0)


def check_points(problem: Problem, X: ArrayLike) -> Array:
    """X as (k, dim) float64, the same array where it is one already.

    Raises:
        ConfigurationError: another shape, no numbers, NaN or infinite.
    """
    try:
        points = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigurationError(f"evaluate(X=...) must hold numbers; got {described(X)}") from None
    if points.ndim != 2 or points.shape[1] != problem.dim:
        raise ConfigurationError(
            f"evaluate(X=...) must have shape (k, {problem.dim}); got {points.shape}"
        )
    if np.count_nonzero(np.isfinite(points)) < points.size:  # quicker than all()
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ConfigurationError(
            f"evaluate(X=...) must be finite; got {point_text(points[row])} in row {row}"
        )
    return points


def check_values(problem: Problem, X: Array, F: ArrayLike) -> Array:
    """F as (k,) float64, or (k, n_obj) where n_obj > 1.

    Raises:
        ObjectiveError: another shape, or no numbers.
    """
    expected = values_shape(len(X), problem.n_obj)
    try:
        values = np.asarray(F, dtype=np.float64)
    except (TypeError, ValueError):
        raise ObjectiveError(
            f"{problem.name}.evaluate(X).F must hold numbers; got {described(F)}"
        ) from None
    if values.shape != expected:
        raise ObjectiveError(
            f"{problem.name}.evaluate(X).F must have shape {expected}; got {values.shape}"
        )
    return values


def shifted(problem: Problem, offset: ArrayLike) -> Problem:
    """The problem with its optimum and its box moved by `offset`, a number or (dim,)."""
    return _transformed(problem, "shift", offset=offset)


def scaled(problem: Problem, factor: ArrayLike) -> Problem:
    """The problem in other units of x: a point x of the old one is now x * factor.

    factor: a number or (dim,), all positive.
    """
    return _transformed(problem, "scale", factor=factor)


def negated(problem: Problem) -> Problem:
    """The problem with -F: what was to be maximised is now to be minimised."""
    return _transformed(problem, "negate", negate=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Transformed:
    """x -> +-f((x - offset) / factor). offset, factor: (dim,)."""

    problem: Problem
    name: str
    lower: Array
    upper: Array
    offset: Array
    factor: Array
    negate: bool

    @property
    def dim(self) -> int:
        return self.problem.dim

    @property
    def n_obj(self) -> int:
        return self.problem.n_obj

    @property
    def takes_seed(self) -> bool:
        return isinstance(self.problem, SeededProblem) and bool(self.problem.takes_seed)

    def evaluate(self, X: ArrayLike, seeds: Sequence[int] | None = None) -> Values:
        points = (check_points(self, X) - self.offset) / self.factor
        values = evaluate(self.problem, points, seeds)
        if not self.negate:
            return values
        failures = {row: _negated(failure) for row, failure in values.failures.items()}
        return Values(-values.F, values.G, failures)


def evaluate(problem: Problem, X: Array, seeds: Sequence[int] | None) -> Values:
    """The values of the rows of X: (k, dim), with the seeds where the problem takes them."""
    if seeds is not None and isinstance(problem, SeededProblem) and problem.takes_seed:
        return problem.evaluate(X, seeds)
    return problem.evaluate(X)


def classified(F: Array, G: Array | None, failures: Mapping[int, Failure]) -> Values:
    """Values in which each row without a finite F is a failure and reads NaN; F is not written to.

    F: (k,) or (k, n_obj), minimised. G: (k, n_con) or None. failures: rows known to have failed.
    """
    finite = np.isfinite(F)
    if np.count_nonzero(finite) == F.size:
        return Values(F, G, failures)
    F, failures = F.copy(), dict(failures)
    for row in np.flatnonzero(~finite if F.ndim == 1 else ~finite.all(axis=1)).tolist():
        failures.setdefault(row, _not_finite(F[row]))
        F[row] = np.nan
    return Values(F, G, failures)


def _not_finite(f: Array) -> Failure:
    """What a value that is not finite means to a search that minimises. f: () or (n_obj,)."""
    if np.isnan(f).any():
        return Failure(NAN, "not a number")
    if (f == -np.inf).any():
        return Failure(NEGINF, "better than any number: an infinite value is never an optimum")
    return Failure(POSINF, "infinitely bad, or out of the range of float64")


def _negated(failure: Failure) -> Failure:
    """The failure of a row as it reads once F is negated."""
    if failure.kind in (POSINF, NEGINF):
        return _not_finite(np.array(-np.inf if failure.kind == POSINF else np.inf))
    return failure


def _transformed(
    problem: Problem,
    word: str,
    *,
    offset: ArrayLike = 0.0,
    factor: ArrayLike = 1.0,
    negate: bool = False,
) -> Problem:
    offset = _vector(f"{word}(offset=...)", offset, problem.dim)
    factor = _vector(f"{word}(factor=...)", factor, problem.dim)
    if not (np.isfinite(offset).all() and np.isfinite(factor).all() and (factor > 0).all()):
        got = f"offset {point_text(offset)}, factor {point_text(factor)}"
        raise ConfigurationError(f"{word}(...) must be finite, a factor positive; got {got}")
    lower, upper = problem.lower * factor + offset, problem.upper * factor + offset
    name = f"{problem.name}|{word}"
    return _Transformed(problem, name, lower, upper, offset, factor, negate)


def _vector(argument: str, value: ArrayLike, dim: int) -> Array:
    """A number or a vector as a (dim,) array of its own."""
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise _wrong(argument, "must hold numbers", value) from None
    if vector.ndim == 0:
        vector = np.full(dim, vector)
    if vector.shape != (dim,):
        raise ConfigurationError(f"{argument} must have shape ({dim},); got {vector.shape}")
    return vector


def _wrong(argument: str, expected: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{argument} {expected}; got {described(value)}")

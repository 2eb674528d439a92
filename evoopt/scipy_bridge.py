"""Searches as methods of `scipy.optimize.minimize`: ``method=evoopt.scipy_method("cma-es")``.

Follows the contract of a custom method of scipy 1.14 and later: it is called with what `minimize`
was given, the options by name, and returns an `OptimizeResult`.
"""

from __future__ import annotations

import difflib
import inspect
import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evoopt.api import Intermediate, minimize
from evoopt.checks import check_count, check_positive, refuse
from evoopt.errors import ConfigurationError, ObjectiveError
from evoopt.options import check_objectives, own_options
from evoopt.result import Result
from evoopt.strategies import AUTO, strategy_class

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

Array = NDArray[np.float64]

# words of `evoopt.minimize` that are taken as options
WORDS = frozenset(
    {"sigma0", "budget", "target", "seed", "popsize", "restarts", "workers", "vectorized"}
    | {"time_limit", "eval_timeout", "max_failures", "isolate", "run_dir", "options", "engine"}
    | {"ray_address", "gpus", "asynchronous", "warm_start"}
)
ALIASES = {"maxfev": "budget", "maxfun": "budget"}  # as methods of scipy call them
_OURS = frozenset({"maxiter", "tol"})

CONVERGED, MOST_EVALUATIONS, MOST_ITERATIONS, OTHER, STOPPED = 0, 1, 2, 3, 99  # as scipy numbers
_LOOK_BACK = 10  # generations over which `tol` looks at f


def scipy_method(algorithm: str = "cma-es") -> ScipyMethod:
    """A search as the `method` of `scipy.optimize.minimize`.

    Its options are those of `evoopt.minimize`, the algorithm's own, and maxfev or maxfun (the
    budget), maxiter (generations), and tol: stop once the step size is below tol and 10 generations
    have not improved f by more than tol. Bounds are kept; derivatives are not used; constraints are
    refused. The callback is called after each generation.

    Args:
        algorithm: as in `evoopt.minimize`.

    Raises:
        ConfigurationError: there is no such algorithm.

    Example:
        >>> import evoopt
        >>> from scipy.optimize import minimize, rosen
        >>> method = evoopt.scipy_method("cma-es")
        >>> r = minimize(rosen, [1.3, 0.7, 0.8], method=method, options={"seed": 1, "sigma0": 0.5})
        >>> r.success, bool(r.fun < 1e-9)
        (True, True)
    """
    if algorithm != AUTO:
        strategy_class(algorithm, "scipy_method")
        check_objectives(algorithm, 1, "scipy_method")
    return ScipyMethod(algorithm)


@dataclass(frozen=True, slots=True)
class ScipyMethod:
    """What `scipy_method` returns; to be called by scipy."""

    algorithm: str

    def __str__(self) -> str:
        return f"evoopt.scipy_method({self.algorithm!r})"

    def __call__(
        self,
        fun: Callable[..., Any],
        x0: Array,
        args: tuple[Any, ...] = (),
        *,
        jac: Any = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Callable[..., Any] | None = None,
        **options: Any,  # scipy gives each option as an argument
    ) -> OptimizeResult:
        """One search. x0: (dim,).

        Returns:
            x, fun, success, status, message, nfev, nit, and `result`, the `evoopt.Result`.

        Raises:
            ConfigurationError: an option is unknown or cannot be used; there are constraints.
        """
        for word, value in (("jac", jac), ("hess", hess), ("hessp", hessp)):
            if value is not None and value is not False:
                warnings.warn(f"Method {self} does not use {word}.", RuntimeWarning, stacklevel=3)
        if not isinstance(constraints, tuple | list | Mapping) or len(constraints):
            raise refuse("scipy_method", "constraints", "left out", constraints)
        words, limits = self._read(options)
        watcher = _Watcher(*limits, callback, _wants_result(callback))
        try:
            result = minimize(
                _With(fun, tuple(args)) if args else fun,
                x0,
                bounds=_box(bounds, len(x0)),
                algorithm=self.algorithm,
                objectives=1,
                callback=watcher,
                **words,
            )
        except ObjectiveError as error:
            if not error.numbers:
                raise
            expected = "a function of one objective; several are for evoopt.minimize"
            raise refuse("scipy_method", "fun", expected, f"{error.numbers} numbers") from error
        return _as_scipy(result, watcher, x0)

    def _read(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[float, float]]:
        """The words of `evoopt.minimize`, and what is looked after here: maxiter and tol."""
        own = {} if self.algorithm == AUTO else own_options(self.algorithm)
        words: dict[str, Any] = {}
        for given, value in options.items():
            name = ALIASES.get(given, given)
            if name not in WORDS and name not in own and name not in _OURS:
                raise _unknown(given, [*WORDS, *ALIASES, *_OURS, *own])
            if name in words and words[name] != value:
                raise refuse("scipy_method", given, f"the same as {name}={words[name]!r}", value)
            words[name] = value
        most, tol = words.pop("maxiter", None), words.pop("tol", None)
        named = {name: words.pop(name) for name in own if name in words}
        if named:
            words["options"] = {**(words.get("options") or {}), **named}
        return words, (
            math.inf if most is None else check_count(most, "scipy_method", "maxiter"),
            0.0 if tol is None else check_positive(tol, "scipy_method", "tol"),
        )


@dataclass(frozen=True, slots=True)
class _With:
    """A function of x alone; a class, so that it can be sent to workers."""

    fun: Callable[..., Any]
    args: tuple[Any, ...]

    def __call__(self, x: Array) -> Any:
        return self.fun(x, *self.args)


@dataclass(slots=True)
class _Watcher:
    """Looks at each generation: calls the user's callback, and stops at maxiter and tol.

    Attributes:
        most: generations. tol: 0 for none.
        callback: of the user. wants_result: it takes `intermediate_result`, not xk.
        status: why this stopped the search, or None.
    """

    most: float
    tol: float
    callback: Callable[..., Any] | None
    wants_result: bool
    status: int | None = None
    seen: deque[float] = field(default_factory=lambda: deque(maxlen=_LOOK_BACK + 1))

    def __call__(self, now: Intermediate) -> bool:
        """Whether to stop."""
        self.seen.append(now.f)
        if self.callback is not None and now.x is not None and self._called_back(now):
            self.status = STOPPED
        elif self._is_settled(now):
            self.status = CONVERGED
        elif now.generations >= self.most:
            self.status = MOST_ITERATIONS
        return self.status is not None

    def _called_back(self, now: Intermediate) -> bool:
        """Whether the user's callback asks to stop."""
        from scipy.optimize import OptimizeResult

        assert self.callback is not None
        try:
            if self.wants_result:
                state = OptimizeResult()
                state.update(x=now.x, fun=now.f, nit=now.generations, nfev=now.evaluations)
                self.callback(intermediate_result=state)
            else:
                self.callback(now.x)
        except StopIteration:
            return True
        return False

    def _is_settled(self, now: Intermediate) -> bool:
        if self.tol == 0 or len(self.seen) <= _LOOK_BACK or not now.sigma <= self.tol:
            return False  # a method without a step size, whose sigma is NaN, ends by itself
        return self.seen[0] - self.seen[-1] <= self.tol


def _as_scipy(result: Result, watcher: _Watcher, x0: Array) -> OptimizeResult:
    from scipy.optimize import OptimizeResult

    status, message = _status(result, watcher)
    known = OptimizeResult()
    known.update(
        x=np.array(x0, dtype=float) if result.x is None else result.x,
        fun=result.f,
        success=status == CONVERGED,
        status=status,
        message=message,
        nfev=result.evaluations,
        nit=result.generations,
        result=result,
    )
    return known


def _status(result: Result, watcher: _Watcher) -> tuple[int, str]:
    """Number and sentence of how it ended."""
    sentences = {
        STOPPED: "`callback` raised `StopIteration`.",
        CONVERGED: f"tol: the step size and the improvement of f are below {watcher.tol:g}",
        MOST_ITERATIONS: f"maxiter: {result.generations} generations",
    }
    criterion = result.reason.criterion
    if criterion == "callback" and watcher.status is not None:
        return watcher.status, sentences[watcher.status]
    if result.success:
        return CONVERGED, str(result.reason)
    message = str(result.reason)
    if result.x is None:
        message += f"; no evaluation succeeded, the first: {result.first_failure}"
    return MOST_EVALUATIONS if criterion == "maxfevals" else OTHER, message


def _wants_result(callback: Callable[..., Any] | None) -> bool:
    """Whether its one parameter is called intermediate_result: the convention of scipy."""
    if callback is None:
        return False
    try:
        return set(inspect.signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):  # a callable without a signature
        return False


def _box(bounds: Any, dim: int) -> tuple[Array, Array] | None:
    """Lower and upper bounds, (dim,) each, from a `scipy.optimize.Bounds` or from pairs."""
    from scipy.optimize import Bounds

    if bounds is None:
        return None
    expected = f"scipy.optimize.Bounds, or a pair for each of {dim} variables"
    try:
        if isinstance(bounds, Bounds):
            low, high = bounds.lb, bounds.ub
        else:
            pairs = [(low, high) for low, high in bounds]
            low = np.array([-math.inf if low is None else low for low, _ in pairs], dtype=float)
            high = np.array([math.inf if high is None else high for _, high in pairs], dtype=float)
            if len(pairs) != dim:
                raise ValueError
        lower, upper = (np.array(np.broadcast_to(s, dim), dtype=float) for s in (low, high))
    except (TypeError, ValueError):
        raise refuse("scipy_method", "bounds", expected, bounds) from None
    return lower, upper


def _unknown(name: str, known: list[str]) -> ConfigurationError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
    return ConfigurationError(f"scipy_method(options=...) must be known; got {name!r}; {hint}")

"""`AskTell`: a search driven by hand, for objectives that no function can wrap."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt.bounds import check_bounds
from evoopt.checks import check_count, check_start, is_whole
from evoopt.errors import ConfigurationError, ObjectiveError, StateError
from evoopt.goal import objectives_of
from evoopt.journal import Pending, take, waiting
from evoopt.objective import call_at_once
from evoopt.options import least_objectives, takers, takes
from evoopt.plan import resolve
from evoopt.problem import FunctionProblem, classified
from evoopt.recognition import Memory, digests, marks, recognised
from evoopt.result import INVALID, Failure, Result, StopReason, Values
from evoopt.rundir import encode_values, pack, unpack
from evoopt.runs import finished, fresh_search
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.strategies.base import Population
from evoopt.strategies.states import state_classes
from evoopt.strategies.stopping import reason
from evoopt.warm import dim_of

Array = NDArray[np.float64]

STATE_FORMAT = 1
_MOST_OPEN = 1000  # generations of asked points that may wait to be told
_REMEMBERED = 16  # generations of asked points that a point told once more is looked up in
_RUNNING = StopReason("running", 0, 0, "the search goes on")


class AskTell:
    """Ask for points, evaluate them anywhere, tell their values; always minimises.

    Every call either succeeds or raises and leaves the search as it was, bit for bit.

    Args:
        algorithm: as in `minimize`: "auto", "cma-es", "ma-es", "random".
        x0: (dim,) where to start; default: the centre of the bounds.
        sigma0: initial step size, one number or one per variable.
        seed: 0 to 2**64 - 1; default: drawn; see `result.seed`.
        bounds, popsize, restarts, options, warm_start: as in `minimize`.
        target: `stop` reports it when a value is at least this good.
        objectives: how many values a point has; with several all are minimised, and `result` has a
            front.
        reference: as in `minimize`.
        workers: how many points you evaluate at the same time, if you ask for a new one whenever a
            value comes: popsize is then at least half as many by default. Every value is used,
            however late.

    Raises:
        ConfigurationError: an argument cannot be used.

    Example:
        >>> import evoopt
        >>> es = evoopt.AskTell("cma-es", [3.0, 3.0], 1.0, seed=1)
        >>> while es.stop is None and es.evaluations < 2000:
        ...     X = es.ask()
        ...     es.tell(X, (X**2).sum(axis=1))
        >>> es.result.f < 1e-9
        True
    """

    def __init__(
        self,
        algorithm: str = "auto",
        x0: ArrayLike | None = None,
        sigma0: float | Sequence[float] | None = None,
        *,
        seed: int | None = None,
        bounds: Any = None,
        popsize: int | None = None,
        restarts: str | None = None,
        target: float | None = None,
        options: Mapping[str, object] | None = None,
        warm_start: tuple[ArrayLike, ArrayLike] | None = None,
        workers: int = 1,
        objectives: int | None = None,
        reference: Sequence[float] | None = None,
    ) -> None:
        said = objectives_of(objectives, None, reference, "AskTell")
        n_obj = said or least_objectives(algorithm)
        start = None if x0 is None else check_start(x0, "AskTell")
        dim = dim_of(warm_start, bounds) if start is None else len(start)
        lower, upper = check_bounds(bounds, dim, "AskTell")
        self._problem = FunctionProblem(
            _never, len(lower), lower, upper, name="AskTell", n_obj=n_obj or 1
        )
        settings = Settings(
            algorithm=algorithm,
            x0=None if start is None else start.tolist(),
            sigma0=sigma0,
            seed=seed,
            popsize=popsize,
            restarts=restarts,
            target=target,
            options=options,
            warm_start=warm_start,
            workers=workers,
            asynchronous=check_count(workers, "AskTell", "workers") > 1,
            batches=True,
            objectives=n_obj,
            reference=reference,
            owner="AskTell",
        )
        self._plan = resolve(self._problem, settings)
        self._search = self._fresh()
        self._waiting: Pending = {}  # told by id, not in the search yet
        self._told = self._memory([])

    def _fresh(self) -> Search:
        return fresh_search(self._plan)

    def _memory(self, known: list[int]) -> Memory:
        return Memory(_REMEMBERED * self._search.strategy.popsize, known)

    @property
    def evaluations(self) -> int:
        """Values told, failures included."""
        return self._search.evaluations + len(self._waiting)

    @property
    def popsize(self) -> int:
        """How many points `ask()` gives now."""
        return self._search.strategy.batch(self._search.state)

    def ask(self, k: int | None = None) -> Array:
        """k points to evaluate (default: as many as make one update). Returns: (k, dim), a copy.

        Each is kept until it is told: tell NaN for one that is given up.

        Raises:
            ConfigurationError: k is no whole number >= 1, or a thousand generations were never
                told.
        """
        return np.array(self._asked("ask", k).X)

    def ask_ids(self, k: int | None = None) -> list[tuple[int, Array]]:
        """As `ask`, each point with its id, for telling values one by one in any order."""
        rows = self._asked("ask_ids", k)
        return list(zip(rows.id.tolist(), np.array(rows.X), strict=True))

    def _asked(self, call: str, k: int | None) -> Population:
        wanted = None if k is None else check_count(k, call, "k")
        rows = self._search.open_rows
        if rows is not None and len(rows) > _MOST_OPEN * self._search.strategy.popsize:
            raise ConfigurationError(
                f"{call}(k=...) must wait for tell: {len(rows)} points were asked and never told; "
                "tell NaN for those that are given up"
            )
        return self._search.ask(wanted)

    def tell(self, points: ArrayLike | int, values: Any) -> None:
        """Tell values.

        Args:
            points: (k, dim) points, or the id of one point. Points of `ask` are recognised by
                their coordinates, bit for bit or rounded to float32, in any order; others are taken
                as found elsewhere: the search learns from them, too, but they do not count in
                `evaluations`.
            values: (k,) values, or one; with m objectives (k, m), or (m,) of one point. NaN, +inf
                and -inf rank last; what is no real number is refused.

        Raises:
            ConfigurationError: shapes, coordinates or an id that cannot be used, or points told
                twice.
            ObjectiveError: a value is no real number.
        """
        if is_whole(points):
            self._tell_id(int(points), values)  # type: ignore[arg-type]  # is whole
            return
        X = self._points(points)
        told = self._values(values, X)
        ids = recognised(X, self._search.open_rows, self._waiting)
        if ids[0] >= 0 and (ids[:-1] < ids[1:]).all():  # all known, in order
            self._enter(ids, told)
            self._flush()
            return
        foreign = np.flatnonzero(ids < 0)
        known = np.flatnonzero(ids >= 0)
        if len(foreign):
            self._refuse_foreign(X[foreign])
            self._refuse_twice(X, known, foreign)
        if len(known):
            known = known[np.argsort(ids[known], kind="stable")]
            self._enter(ids[known], _rows(told, known))
            self._flush()
        if len(foreign):
            self._search.inject(X[foreign], _rows(told, foreign))

    def _tell_id(self, i: int, value: Any) -> None:
        """One value; see `_flush` for when it enters the search."""
        rows = self._search.open_rows
        if rows is None or i not in rows.id.tolist() or i in self._waiting:
            raise ConfigurationError(f"tell(id=...) must be the id of an open point; got {i}")
        told = self._values(value, rows.X[rows.id == i])
        self._waiting[i] = waiting(told, 0)
        self._flush()

    def _enter(self, ids: NDArray[np.int64], values: Values) -> None:
        self._told.add(self._search.tell(ids, values).X)

    def _flush(self) -> None:
        """Rows told by id enter the search together, in the order of their ids, once nothing else
        is open or there are enough of them for an update."""
        rows = self._search.open_rows
        if not self._waiting or rows is None:
            return
        if len(self._waiting) >= min(len(rows), self.popsize):
            ids = np.array(sorted(self._waiting), dtype=np.int64)
            self._enter(ids, take(self._waiting, ids))

    def _refuse_twice(self, X: Array, known: NDArray[np.intp], foreign: NDArray[np.intp]) -> None:
        """An asked point that is told once more is a slip in the caller's loop, no new point."""
        seen, rows = {*self._told.marks(), *digests(X[known])}, self._search.open_rows
        if self._waiting and rows is not None:
            seen.update(marks(rows.X[np.isin(rows.id, list(self._waiting))]))
        for row, digest in zip(foreign.tolist(), digests(X[foreign]), strict=True):
            if digest in seen:
                raise ConfigurationError(
                    f"tell(X=...) must hold each asked point once; got row {row}, told before"
                )

    def _points(self, points: ArrayLike) -> Array:
        try:
            X = np.array(points, dtype=np.float64)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"tell(X=...) must hold numbers; got {type(points).__name__}"
            ) from None
        dim = self._problem.dim
        X = X[None] if X.ndim == 1 and len(X) == dim else X
        if X.ndim != 2 or X.shape[1] != dim or len(X) == 0:
            raise ConfigurationError(f"tell(X=...) must have shape (k, {dim}); got {X.shape}")
        if not np.isfinite(X).all():
            raise ConfigurationError("tell(X=...) must be finite; got NaN or inf")
        return X

    def _refuse_foreign(self, X: Array) -> None:
        """Points found elsewhere that the search cannot learn from. X: (k, dim)."""
        lower, upper = self._plan.lower, self._plan.upper
        if ((lower > X) | (upper < X)).any():
            raise ConfigurationError("tell(X=...) must lie within the bounds; got a point outside")
        algorithm = self._plan.algorithm
        if not takes(algorithm, "inject"):
            raise ConfigurationError(
                f"tell(X=...) must be points of ask with algorithm {algorithm!r}; others can be "
                f"told to {', '.join(takers('inject', self._plan.n_obj))}"
            )

    def _values(self, values: Any, X: Array) -> Values:
        """Values of the rows of X, read as if an objective had returned them."""
        n_obj = self._plan.n_obj
        if len(X) == 1 and _ndim(values) == (0 if n_obj == 1 else 1):
            values = [values]
        F, failures = call_at_once(lambda _: values, X, None, n_obj)
        for failure in failures.values():
            if failure.kind == INVALID:
                raise ObjectiveError(f"tell(F=...): {failure.message}")
        return classified(F, None, failures)

    @property
    def stop(self) -> StopReason | None:
        """Why the search should end, or None. Asking on is allowed."""
        if self._plan.target > -math.inf and (best := self._seen().best_f) <= self._plan.target:
            return reason("ftarget", best, self._plan.target)
        return self._search.strategy.stop(self._search.state)

    @property
    def result(self) -> Result:
        """What was found so far."""
        return finished(self._seen(), self._plan, self.stop or _RUNNING, None)

    def _seen(self) -> Search:
        """The search as if all that was told by id had entered it."""
        if not self._waiting:
            return self._search
        search, ids = self._search.copy(), np.array(sorted(self._waiting), dtype=np.int64)
        search.tell(ids, take(dict(self._waiting), ids))
        return search

    def state_dict(self) -> dict[str, Any]:
        """All that the search knows, as arrays and JSON values, to be stored in any way."""
        arrays, content = pack(
            {
                "search": self._search.pack(),
                "told": self._told.marks(),
                "waiting": {
                    str(i): (f, None if x is None else (x.kind, x.message))
                    for i, (f, x) in self._waiting.items()
                },
            }
        )
        return {
            "format": STATE_FORMAT,
            "plan": self._identity(),
            "checksum": _checksum(content, arrays),
            "content": content,
            "arrays": {name: array.copy() for name, array in arrays.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was called, in an AskTell made by the same arguments.

        Raises:
            StateError: the state is of another format or search, or damaged.
        """
        try:
            version, plan = state["format"], state["plan"]
            content, arrays, checksum = state["content"], state["arrays"], state["checksum"]
        except (KeyError, TypeError):
            raise StateError("load_state_dict(...) needs what state_dict() returned") from None
        if version != STATE_FORMAT:
            raise StateError(f"load_state_dict(...) reads format {STATE_FORMAT}; got {version!r}")
        older = Settings().plain()  # words that it may not have
        if not isinstance(plan, Mapping) or {**older, **plan} != self._identity():
            raise StateError(
                "load_state_dict(...) needs an AskTell made by the same arguments and seed"
            )
        copies = {name: np.array(array, order="K") for name, array in arrays.items()}
        if checksum != _checksum(content, copies):
            raise StateError("load_state_dict(...) needs a state as it was saved; it is damaged")
        content = unpack(copies, content, state_classes())
        search = self._fresh()
        search.restore(content["search"])
        self._search = search
        self._told = self._memory(content["told"])
        self._waiting = {
            int(i): (f, None if x is None else Failure(*x))
            for i, (f, x) in content["waiting"].items()
        }

    def _identity(self) -> dict[str, Any]:
        """What has to agree between the search that is saved and the one that takes over."""
        settings = self._plan.settings.plain()
        box = [encode_values(self._plan.lower), encode_values(self._plan.upper)]
        return {**settings, "seed": self._plan.seed, "label": self._plan.label, "box": box}


def _rows(values: Values, rows: NDArray[np.intp]) -> Values:
    """The given rows of values."""
    place = {int(r): new for new, r in enumerate(rows)}
    failures = {place[r]: f for r, f in values.failures.items() if r in place}
    return Values(values.F[rows], failures=failures)


def _ndim(values: Any) -> int:
    """Depth of an array, or of lists in lists; -1 where rows are of unequal lengths."""
    try:
        return np.ndim(values)
    except ValueError:
        return -1


def _checksum(content: Any, arrays: dict[str, Array]) -> int:
    """Of all that a saved state holds."""
    crc = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.tobytes(), crc)
    return crc


def _never(x: Array) -> float:
    raise AssertionError("an AskTell has no objective of its own")

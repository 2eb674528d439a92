"""A search in a run directory that goes on by turns: each asks or tells, in a process of its own.

A turn takes the lock of the run, waiting for others that have it, folds the log into the search,
asks or tells, and leaves everything on disk. Its records are those of any other run, so that a
killed turn has either happened or not, and what was asked stays open until it is told.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evoopt.checks import shown
from evoopt.errors import ConfigurationError, StateError
from evoopt.goal import check_maximize
from evoopt.journal import Journal, Pending, resume, take, waiting
from evoopt.objective import values_shape
from evoopt.plan import Plan, resolve
from evoopt.problem import FunctionProblem, Problem, classified, sign_of
from evoopt.result import RAISED, Failure, Result, StopReason
from evoopt.rundir import RunDirectory, decode_values, has_begun
from evoopt.rundir.directory import LOG
from evoopt.rundir.header import MANIFEST
from evoopt.rundir.lock import Locked
from evoopt.runs import Run, continued, finished, fresh_search, manifest
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.space import Space
from evoopt.strategies.stopping import reason

Array = NDArray[np.float64]

KIND = "ask"  # in the manifest
PATIENCE_SECONDS = 60.0  # a turn takes milliseconds: whoever has the lock longer has it for long
_PAUSE_SECONDS = 0.005
_SNAPSHOT_RECORDS = 64  # between two snapshots: to replay as many costs about as much as one
_RUNNING = StopReason("running", 0, 0, "the search goes on")


@dataclass(frozen=True, slots=True)
class Words:
    """What a new search is asked for.

    Attributes:
        lower, upper: (dim,) bounds.
        settings: as for `minimize`; workers are how many evaluate at the same time.
        space: what the search vector stands for, where it has names.
    """

    lower: Array
    upper: Array
    settings: Settings
    space: Space | None = None


ReadSpace = Callable[[Any, str], Space]  # its plain form and where it comes from -> the space


def _no_names(plain: Any, place: str) -> Space:
    raise StateError(f"{place} names its parameters: give a reader for them")


class Turn:
    """One turn, to be used in a `with` block. Made by `take_turn`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        plan, directory = run.plan, run.directory
        self._search = fresh_search(plan)
        self._pending: Pending = {} if run.fresh else resume(directory, self._search, ())
        self._journal = Journal(directory, self._search)
        self._records = directory.count
        self._was_over = directory.result() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        directory = self._run.directory
        try:
            if self._records // _SNAPSHOT_RECORDS != directory.count // _SNAPSHOT_RECORDS:
                self._journal.snapshot(self._search, self._pending, force=True)
        finally:
            directory.close()

    @property
    def space(self) -> Space | None:
        """What the search vector stands for."""
        return self._run.plan.space

    @property
    def seed(self) -> int:
        """Of all random numbers."""
        return self._search.seed

    @property
    def evaluations(self) -> int:
        """Values told, failures included."""
        return self._search.evaluations + len(self._pending)

    @property
    def n_obj(self) -> int:
        """Number of objectives."""
        return self._run.plan.n_obj

    def ask(self, k: int) -> list[tuple[int, Array]]:
        """Up to k candidates with their ids: fewer where the budget ends or the method has to wait
        for those that are open, none once the search is over. They are safe on disk."""
        if self.stop is not None:
            return []
        left = min(k, self._run.plan.budget - self._search.evaluations - self._open)
        if left < 1:
            return []
        rows = self._search.ask(int(left))
        if len(rows) == 0:
            return []
        self._journal.asked(rows)
        self._run.directory.sync()
        return list(zip(rows.id.tolist(), np.array(rows.X), strict=True))

    def open(self) -> list[tuple[int, Array]]:
        """All candidates that were asked and not told."""
        rows = self._search.open_rows
        if rows is None:
            return []
        pairs = zip(rows.id.tolist(), np.array(rows.X), strict=True)
        return [(i, x) for i, x in pairs if i not in self._pending]

    def tell(self, values: Mapping[int, float | Sequence[float] | None]) -> None:
        """Values of candidates, in any order, in the user's sign: a number each, or one for each of
        several objectives; None for an evaluation that failed.

        Raises:
            ConfigurationError: an id was never asked, or was told before; there are more or fewer
                numbers than objectives; nothing has changed.
        """
        for i, value in values.items():
            self._check(i)
            self._check_count(i, value)
        rows = self._search.open_rows
        assert rows is not None, "an id was open"
        place = {i: row for row, i in enumerate(rows.id.tolist())}
        chosen = rows.take(np.array([place[i] for i in values]))
        F = np.full(values_shape(len(values), self.n_obj), math.nan)
        for row, f in enumerate(values.values()):
            F[row] = math.nan if f is None else f
        F *= sign_of(self._run.plan.maximize)
        told = Failure(RAISED, "told as failed")
        failed = {row: told for row, f in enumerate(values.values()) if f is None}
        judged = classified(F, None, failed)
        self._journal.evaluated(chosen.id, chosen.X, judged, 0.0)
        for row, i in enumerate(values):
            self._pending[i] = waiting(judged, row)
        self._flush()
        self._run.directory.sync()
        self._close_run()

    def _check(self, i: int) -> None:
        asked = self._search.evaluations + self._open
        if not 0 <= i < asked:
            known = f"0 to {asked - 1}" if asked else "none yet"
            raise ConfigurationError(f"tell(id=...) must be an id of ask ({known}); got {i}")
        rows = self._search.open_rows
        if rows is None or i in self._pending or i not in rows.id.tolist():
            raise ConfigurationError(f"tell(id=...) must be told once; {i} was told before")

    def _check_count(self, i: int, value: float | Sequence[float] | None) -> None:
        n_obj = self.n_obj
        if value is not None and np.shape(value) != (() if n_obj == 1 else (n_obj,)):
            expected = "one number" if n_obj == 1 else f"{n_obj} numbers"
            raise ConfigurationError(
                f"tell(value=...) must be {expected}; got {shown(value)} for candidate {i}"
            )

    @property
    def _open(self) -> int:
        """Rows asked that are not in the search yet."""
        rows = self._search.open_rows
        return 0 if rows is None else len(rows)

    def _flush(self) -> None:
        """Rows enter the search as they come if it is asynchronous; else together, in the order of
        their ids, once nothing else is open or there are enough of them for an update."""
        search = self._search
        enough = min(self._open, search.strategy.batch(search.state))
        if not self._run.plan.asynchronous and len(self._pending) < enough:
            return
        order = self._pending if self._run.plan.asynchronous else sorted(self._pending)
        ids = np.array(list(order), dtype=np.int64)
        self._journal.told(ids)
        search.tell(ids, take(self._pending, ids))
        self._journal.trace(search)

    def _close_run(self) -> None:
        """Writes the result, once there is a reason to stop, and again after each late value."""
        stop = self.stop
        if stop is None:
            return
        if not self._was_over:
            self._journal.stopped(stop)
            self._was_over = True
        self._run.store(self.result)

    @property
    def stop(self) -> StopReason | None:
        """Why the search is over, or None."""
        plan, seen = self._run.plan, self._seen()
        failures = sum(seen.failures.values())
        if seen.best_f <= plan.target:
            return reason("ftarget", seen.best_f, plan.target)
        if failures > plan.max_failures:
            return reason("maxfailures", failures, plan.max_failures)
        if seen.evaluations >= plan.budget:
            return reason("maxfevals", seen.evaluations, plan.budget)
        return self._search.strategy.stop(self._search.state)

    @property
    def result(self) -> Result:
        """What was found so far."""
        path = str(self._run.directory.path)
        return finished(self._seen(), self._run.plan, self.stop or _RUNNING, path)

    def _seen(self) -> Search:
        """The search as if all that waits had entered it."""
        if not self._pending:
            return self._search
        search, ids = self._search.copy(), np.array(sorted(self._pending), dtype=np.int64)
        search.tell(ids, take(dict(self._pending), ids))
        return search


def take_turn(path: Path, words: Words | None = None, read_space: ReadSpace = _no_names) -> Turn:
    """The next turn of the run in `path`, which is begun if there is none.

    Args:
        path: the run directory.
        words: of the search; None for those in which it was begun.
        read_space: reads the space of a run, which no code here can.

    Raises:
        ConfigurationError: there is no run and no words; or the words cannot be used.
        StateError: the run is of another kind or was begun in other words; it is damaged; another
            process does not let go of it.
    """
    asked = None if words is None else planned(words)
    return Turn(_waiting(path, lambda: _taken(path, asked, read_space)))


def _waiting(path: Path, attempt: Callable[[], Run]) -> Run:
    """What the attempt returns, once no other process is in the way."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        begun = has_begun(path)
        try:
            return attempt()
        except StateError as error:  # another one has it, or has begun it just now
            in_the_way = isinstance(error, Locked) or (not begun and (path / LOG).exists())
            if not in_the_way or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_SECONDS)


def _taken(path: Path, asked: tuple[Problem, Plan] | None, read_space: ReadSpace) -> Run:
    """The run, begun or continued."""
    if not has_begun(path):
        if asked is None and (path / MANIFEST).exists():  # of a suite or a comparison
            raise StateError(f"{path} was not begun by evoopt ask: see evoopt show {path}")
        if asked is None:
            raise ConfigurationError(
                f"{path} holds no run yet: begin it by evoopt ask {path} --dim N --bounds LO HI"
            )
        content = {**manifest(*asked), "kind": KIND}
        return Run(RunDirectory.create(path, content), asked[1], fresh=True)
    directory = RunDirectory.open(path)
    try:
        there = directory.manifest
        if there.get("kind") != KIND:
            raise StateError(f"{path} was not begun by evoopt ask: see evoopt show {path}")
        problem, plan = asked or planned(_words(path, there, read_space))
        return Run(directory, continued(directory, problem, plan), fresh=False)
    except BaseException:
        directory.close()
        raise


def _words(path: Path, there: Mapping[str, Any], read_space: ReadSpace) -> Words:
    """What a manifest says that was asked for."""
    about = there["problem"]
    lower, upper = decode_values(about["lower"]), decode_values(about["upper"])
    space = read_space(about["space"], f"{path}/manifest.json") if "space" in about else None
    try:
        return Words(lower, upper, Settings(**there["settings"]), space)
    except TypeError as error:
        raise StateError(f"{path} has settings that this evoopt cannot read: {error}") from None


def planned(words: Words, name: str = KIND, n_obj: int | None = None) -> tuple[Problem, Plan]:
    """The plan of these words, and a problem that cannot be evaluated.

    Args:
        words: of the search.
        name: of the problem.
        n_obj: its objectives; None for what the words say.
    """
    lower, upper, s = words.lower, words.upper, words.settings
    problem: Problem
    n_obj = n_obj or s.objectives or 1
    maximize = check_maximize(s.maximize, n_obj, s.owner)
    if words.space is None:
        problem = FunctionProblem(
            _never, len(lower), lower, upper, name=name, maximize=maximize, n_obj=n_obj
        )
    else:
        problem = words.space.problem(_never, name=name, maximize=maximize, n_obj=n_obj)
    return problem, resolve(problem, s)


def _never(x: object) -> float:
    raise AssertionError("what is asked and told has no objective of its own")

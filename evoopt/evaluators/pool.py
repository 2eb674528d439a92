"""Evaluation in worker processes: an objective can hang, crash or eat the memory, and not harm.

The problem travels once per worker by cloudpickle, so lambdas, closures and functions of a notebook
can be evaluated. Each worker has a socket of its own: one that dies, at whatever moment, can
neither hold a lock nor garble a message that another one needs.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, EvooptError
from evoopt.evaluators.base import Batch, Ids, Pace, failed
from evoopt.evaluators.crew import Crew, Line, Process
from evoopt.evaluators.process import LocalCrew
from evoopt.evaluators.replica import Followed, Ledger, ledger_of
from evoopt.evaluators.waiting import Waiting
from evoopt.objective import one_line
from evoopt.problem import Problem
from evoopt.result import KILLED, TIMEOUT, Failure

Array = NDArray[np.float64]

RETRIES = 3  # a row whose worker died is evaluated again so many times, x and seed the same
_STARTS = 10  # so many workers in a row that die before they are ready, and the pool gives up
_ROOM = 1 << 22  # numbers of rows that travel together, 32 MB
_TICK_SECONDS = 0.2  # a worker's death shows as the end of its socket, unless a child keeps that
_FAREWELL_SECONDS = 1.0  # what an idle worker has to end on its own


@dataclass(slots=True)
class _Row:
    """One evaluation on its way."""

    id: int
    x: Array | None  # (dim,); None where the worker makes it
    seed: int | None
    deadline: float | None  # seconds
    deaths: int = 0  # workers that died with this row alone
    suspect: bool = False  # one died with this row among others: it travels alone
    seconds: float = 0.0  # spent on workers that died


@dataclass(slots=True)
class _Worker:
    """A worker process, seen from the parent."""

    process: Process
    connection: Line
    ready: bool = False
    rows: list[_Row] = field(default_factory=list)  # what it is evaluating
    since: float = 0.0  # when it got them, on the monotonic clock
    seen: int | None = None  # events of the search that its replica knows; None: has none

    @property
    def idle(self) -> bool:
        return self.ready and not self.rows

    @property
    def due(self) -> float:
        """When its row has to be done; a deadline is kept by single rows only."""
        deadline = self.rows[0].deadline if self.rows else None
        return np.inf if deadline is None else self.since + deadline


class PoolEvaluator(Waiting):
    """Keeps up to `workers` processes busy; they are started when there is work for them.

    A row that does not end within its deadline, counted from the moment a worker gets it, has
    failed as TIMEOUT and its worker is killed. A row whose worker dies is evaluated again, three
    times at most, before it has failed as KILLED; the rows of other workers do not notice.
    """

    def __init__(self, problem: Problem, workers: int = 1, crew: Crew | None = None) -> None:
        """Pickle the problem; no process is started yet. crew: default: processes of this machine.

        Raises:
            ConfigurationError: the problem cannot be pickled, or there are no workers.
        """
        if workers < 1:
            raise ConfigurationError(f"PoolEvaluator(workers=...) must be >= 1; got {workers}")
        self.capacity = workers
        self._crew: Crew = crew or LocalCrew()
        self._problem = problem
        self._pickled = pickled(problem)
        self._pace = Pace()
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._queue: deque[_Row] = deque()
        self._done: list[Batch] = []
        self._ledger: Ledger | None = None

    def follow(self, search: Followed) -> None:
        """As `Following.follow`."""
        search.follower = self._ledger = ledger_of(search)
        for w in self._workers:
            w.seen = None

    def submit(
        self, ids: Ids, X: Array, seeds: Sequence[int] | None, deadline: float | None
    ) -> None:
        """Queue rows, as `Evaluator.submit`, and hand them to idle workers."""
        made_there = self._ledger is not None and not isinstance(X, np.ndarray)
        points = [None] * len(ids) if made_there else X
        for row, (id_, x) in enumerate(zip(ids.tolist(), points, strict=True)):
            self._queue.append(_Row(id_, x, None if seeds is None else seeds[row], deadline))
        self._dispatch()

    def cancel(self) -> None:
        """Drop what was not handed over; workers in the middle of a row are killed."""
        self._queue.clear()
        self._done.clear()
        for worker in self._busy():
            self._discard(worker)

    def close(self) -> None:
        """End all workers; idle ones may say goodbye (flush, atexit), busy ones are killed."""
        self.cancel()
        idle, self._workers = self._workers, []
        for worker in idle:
            worker.connection.close()
        end = monotonic() + _FAREWELL_SECONDS
        for worker in idle:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, end - monotonic()))
            self._crew.killed(worker.process)
        self._crew.close()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.rows]

    # sending

    def _dispatch(self) -> None:
        """Give rows to idle workers, and start workers while there are more rows than those."""
        idle = [worker for worker in self._workers if worker.idle]
        coming = sum(not worker.ready for worker in self._workers)
        free = coming + self.capacity - len(self._workers)  # slots that will be there soon
        while idle and self._queue:
            rows = self._next_rows(len(idle) + free)
            self._send(idle.pop(), rows)
        wanted = min(len(self._queue) - coming, self.capacity - len(self._workers))
        for _ in range(wanted):
            self._workers.append(_Worker(*self._crew.launched(self._pickled)))

    def _next_rows(self, slots: int) -> list[_Row]:
        """One row, or where rows are cheap, an equal share of all: one message for each slot."""
        size = 1
        if self._pace.seconds is not None and self._pace.seconds < self._crew.cheap_seconds:
            most = min(self._pace.rows(), _ROOM // self._problem.dim or 1)
            size = min(-(-len(self._queue) // slots), most)
        rows = [self._queue.popleft()]
        while len(rows) < size and _sociable(rows[0]) and _sociable(self._queue[0]):
            rows.append(self._queue.popleft())
        return rows

    def _send(self, worker: _Worker, rows: list[_Row]) -> None:
        worker.rows, worker.since = rows, monotonic()
        if rows[0].x is None and self._ledger is not None:
            what: Any = self._ledger.order(worker.seen, [row.id for row in rows])
            worker.seen = self._ledger.number
        else:
            what = np.array([row.x for row in rows])
        seeds = None if rows[0].seed is None else [row.seed for row in rows]
        with contextlib.suppress(OSError):  # it has died: `_collect` will see
            worker.connection.send((what, seeds))

    # receiving

    def _collect(self, timeout: float) -> None:
        """Wait for a message, a death or a deadline, and act on all that came."""
        active: dict[Any, _Worker] = {w.connection: w for w in self._workers if not w.idle}
        until = min((w.due for w in active.values()), default=np.inf) - monotonic()
        until = max(0.0, min(timeout, until, _TICK_SECONDS))
        for connection in self._crew.wait(list(active), until):
            self._receive(active[connection])
        for worker in [w for w in self._workers if not w.idle]:
            if worker.due <= monotonic():
                self._late(worker)
            elif worker.process.poll() is not None and not worker.connection.poll():
                self._died(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            message: tuple[Any, ...] = worker.connection.recv()
        except Exception:  # noqa: BLE001  # the end of the line, or half a message: it has died
            self._died(worker)
            return
        if message[0] == "done":
            _, values, seconds = message
            rows, worker.rows = worker.rows, []
            self._pace.measured(len(rows), seconds)
            spent = seconds + sum(row.seconds for row in rows)
            self._done.append(Batch(np.array([row.id for row in rows]), values, spent))
        elif message[0] == "diverged":
            self._queue.extendleft(reversed(worker.rows))
            worker.rows, worker.seen = [], None
        elif message[0] == "ready":
            worker.ready, self._failed_starts = True, 0
        else:
            self.close()
            raise ConfigurationError(
                f"PoolEvaluator(problem=...) cannot be loaded by its workers: {message[1]}; "
                "define the function in a module that they can import, or do without workers"
            )

    def _late(self, worker: _Worker) -> None:
        row = worker.rows[0]
        self._discard(worker)
        self._fail(row, TIMEOUT, f"did not end within {row.deadline:g} s")

    def _died(self, worker: _Worker) -> None:
        rows, spent = worker.rows, monotonic() - worker.since
        how = self._discard(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                self.close()
                raise EvooptError(f"{_STARTS} worker processes died while they started, {how}")
        elif len(rows) > 1:
            for row in rows:
                row.suspect = True  # so that the one that kills is found
            self._queue.extendleft(reversed(rows))
        else:
            (row,) = rows
            row.deaths += 1
            row.seconds += spent
            if row.deaths <= RETRIES:
                self._queue.appendleft(row)
            else:
                self._fail(row, KILLED, f"its worker died {row.deaths} times, at last {how}")

    def _fail(self, row: _Row, kind: str, message: str) -> None:
        values = failed(self._problem, 1, Failure(kind, message))
        seconds = row.seconds + (row.deadline if kind == TIMEOUT and row.deadline else 0.0)
        self._done.append(Batch(np.array([row.id]), values, seconds))

    def _discard(self, worker: _Worker) -> str:
        """Kill and forget a worker. Returns: how it ended, in words."""
        self._workers.remove(worker)
        worker.rows = []
        worker.connection.close()
        return self._crew.killed(worker.process)


def pickled(problem: Problem) -> bytes:
    """The problem as it travels to other processes.

    Raises:
        ConfigurationError: it holds what cannot travel.
    """
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(problem)
    except Exception as error:  # pickling runs the user's __reduce__: it may raise anything
        raise ConfigurationError(
            "PoolEvaluator(problem=...) cannot be sent to worker processes: "
            f"{one_line(str(error))}; keep locks, files and connections out of it"
        ) from error
    return data


def unpickled(data: bytes) -> Problem:
    """In a worker: the problem that its parent sent. Raises what the user's imports raise."""
    import cloudpickle

    problem: Problem = cloudpickle.loads(data)
    return problem


def _sociable(row: _Row) -> bool:
    return row.deadline is None and not row.suspect and row.deaths == 0

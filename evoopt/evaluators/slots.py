"""The engine `process`: a subprocess for each evaluation, on a slot with its own processors.

For programs and training runs, and for functions that may not share a process with an earlier
evaluation. A slot (`evoopt.evaluators.slot`) is a small process that starts the programs, watches
their deadlines and kills what they leave behind, also when this process has died.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.evaluators.base import Batch, Ids, failed
from evoopt.evaluators.children import ONE_THREAD, ending, killed
from evoopt.evaluators.tasks import Outcome, Tasked, Tasks
from evoopt.evaluators.waiting import Waiting
from evoopt.problem import Problem
from evoopt.result import KILLED, TIMEOUT, Failure

Array = NDArray[np.float64]

RETRIES = 3  # a row whose slot died is evaluated again so many times, as in `pool`
_GRACE_SECONDS = 5.0  # after its deadline, what a slot has to kill its program and say so
_FAREWELL_SECONDS = 3.0  # what a slot has to kill its program when the line is cut
_CHUNK = 1 << 16

T = TypeVar("T")


@dataclass(slots=True)
class _Row:
    """One evaluation on its way."""

    id: int
    x: Array  # (dim,)
    seed: int | None
    deadline: float | None  # seconds
    deaths: int = 0  # slots that died with it
    seconds: float = 0.0  # spent on slots that died


@dataclass(slots=True)
class _Slot:
    """A slot process, seen from the driver."""

    index: int  # 0 to workers - 1: its share of processors and GPUs
    process: subprocess.Popen[bytes]
    line: socket.socket
    received: bytearray = field(default_factory=bytearray)
    row: _Row | None = None  # what it is evaluating
    since: float = 0.0  # when it got it, on the monotonic clock

    @property
    def due(self) -> float:
        """When its word is overdue."""
        if self.row is None or self.row.deadline is None:
            return np.inf
        return self.since + self.row.deadline + _GRACE_SECONDS


class ProcessEvaluator(Waiting):
    """Runs up to `workers` programs at once, each evaluation in a process of its own.

    A slot has its share of the processors of this process (its programs see as many in
    OMP_NUM_THREADS and the like), and its share of the GPUs, in CUDA_VISIBLE_DEVICES. A program
    that ends by a signal, with an exit code other than 0 or without a value costs one evaluation;
    a slot that dies itself, none: its row is evaluated again.
    """

    def __init__(
        self,
        problem: Problem,
        workers: int = 1,
        *,
        gpus: Sequence[str | int] | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """No process is started yet.

        Args:
            problem: of programs, see `Tasked`; any other is evaluated by fresh interpreters.
            workers: number of slots.
            gpus: dealt out among the slots; default: all slots see what this process sees.
            folder: what the programs print is kept there, in a folder for each evaluation.

        Raises:
            ConfigurationError: there are no workers, or the problem cannot be pickled.
        """
        if workers < 1:
            raise ConfigurationError(f"ProcessEvaluator(workers=...) must be >= 1; got {workers}")
        self.capacity = workers
        self._problem = problem
        self._tasks: Tasks = problem if isinstance(problem, Tasked) else _function_tasks(problem)
        self._gpus = None if gpus is None else _shares([str(gpu) for gpu in gpus], workers)
        self._cpus = _shares(_processors(), workers)
        self._folder = None if folder is None else Path(folder)
        self._slots: list[_Slot] = []
        self._queue: deque[_Row] = deque()
        self._done: list[Batch] = []

    def submit(
        self, ids: Ids, X: Array, seeds: Sequence[int] | None, deadline: float | None
    ) -> None:
        """Queue rows, as `Evaluator.submit`, and hand them to idle slots."""
        for row, (id_, x) in enumerate(zip(ids.tolist(), np.asarray(X), strict=True)):
            self._queue.append(_Row(id_, x, None if seeds is None else seeds[row], deadline))
        self._dispatch()

    def cancel(self) -> None:
        """Drop what was not handed over; programs that run are killed with all they started."""
        self._queue.clear()
        self._done.clear()
        self._farewell(self._busy())

    def close(self) -> None:
        """Kill what runs, and end all slots."""
        self._queue.clear()
        self._done.clear()
        self._farewell(list(self._slots))
        self._tasks.close()

    def _busy(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.row is not None]

    # sending

    def _dispatch(self) -> None:
        """Give a row to each idle slot; slots are started while there are rows for them."""
        idle = [slot for slot in self._slots if slot.row is None]
        while self._queue:
            if not idle and len(self._slots) < self.capacity:
                idle.append(self._started())
            if not idle:
                return
            self._send(idle.pop(), self._queue.popleft())

    def _send(self, slot: _Slot, row: _Row) -> None:
        slot.row, slot.since = row, monotonic()
        task = self._tasks.task(row.id, row.x, row.seed).plain()
        task["seconds"] = row.deadline
        if self._folder is not None:
            task["folder"] = str((self._folder / str(row.id)).absolute())
            task["env"]["EVOOPT_TRIAL"] = task["folder"]
        with contextlib.suppress(OSError):  # it has died: `_collect` will see
            slot.line.sendall(json.dumps(task).encode() + b"\n")

    def _started(self) -> _Slot:
        index = min(set(range(self.capacity)) - {slot.index for slot in self._slots})
        cpus = self._cpus[index]
        env = {**os.environ, **dict.fromkeys(ONE_THREAD, str(max(1, len(cpus))))}
        if self._gpus is not None:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[index])
        ours, theirs = socket.socketpair()
        with theirs:
            handle = theirs.fileno()
            program = str(Path(__file__).with_name("slot.py"))
            arguments = [str(handle), str(os.getpid()), json.dumps([int(cpu) for cpu in cpus])]
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", program, *arguments],
                stdin=subprocess.DEVNULL,
                env=env,
                pass_fds=(handle,),
                process_group=0,  # Ctrl-C goes to the driver alone
            )
        self._slots.append(_Slot(index, process, ours))
        return self._slots[-1]

    # receiving

    def _collect(self, timeout: float) -> None:
        """Wait for a word of a slot, and act on all that came."""
        until = min((slot.due for slot in self._slots), default=np.inf) - monotonic()
        with selectors.PollSelector() as selector:
            for slot in self._slots:
                selector.register(slot.line, selectors.EVENT_READ, slot)
            ready = selector.select(max(0.0, min(timeout, until))) if self._slots else []
        for key, _ in ready:
            self._receive(key.data)
        for slot in [slot for slot in self._slots if slot.due <= monotonic()]:
            self._overdue(slot)

    def _receive(self, slot: _Slot) -> None:
        try:
            chunk = slot.line.recv(_CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self._died(slot)
            return
        slot.received += chunk
        if slot.received.endswith(b"\n"):
            word: dict[str, Any] = json.loads(slot.received)
            slot.received.clear()
            row, slot.row = slot.row, None
            if row is not None:
                self._finish(row, Outcome(**word))

    def _finish(self, row: _Row, outcome: Outcome) -> None:
        values = self._tasks.value(outcome, row.deadline)
        self._done.append(Batch(np.array([row.id]), values, row.seconds + outcome.seconds))

    def _overdue(self, slot: _Slot) -> None:
        row = slot.row
        self._slots.remove(slot)
        slot.line.close()
        killed(slot.process)
        if row is not None:
            self._fail(row, TIMEOUT, f"did not end within {row.deadline:g} s")

    def _died(self, slot: _Slot) -> None:
        row, spent = slot.row, monotonic() - slot.since
        self._slots.remove(slot)
        slot.line.close()
        how = ending(killed(slot.process))
        if row is None:
            return
        row.deaths += 1
        row.seconds += spent
        if row.deaths <= RETRIES:
            self._queue.appendleft(row)
        else:
            self._fail(row, KILLED, f"its slot died {row.deaths} times, at last {how}")

    def _fail(self, row: _Row, kind: str, message: str) -> None:
        values = failed(self._problem, 1, Failure(kind, message))
        self._done.append(Batch(np.array([row.id]), values, row.seconds))

    def _farewell(self, slots: list[_Slot]) -> None:
        """Cut the lines, and wait until the slots have killed what ran there."""
        for slot in slots:
            self._slots.remove(slot)
            slot.line.close()
        end = monotonic() + _FAREWELL_SECONDS
        for slot in slots:
            with contextlib.suppress(subprocess.TimeoutExpired):
                slot.process.wait(max(0.0, end - monotonic()))
            killed(slot.process)


def _function_tasks(problem: Problem) -> Tasks:
    from evoopt.evaluators.once import FunctionTasks

    return FunctionTasks(problem)


def _processors() -> list[int]:
    """Those that this process may use; [] where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return []


def _shares(things: Sequence[T], slots: int) -> list[list[T]]:
    """Each slot's share: neighbours together, as even as possible; shared if they are too few."""
    if not things:
        return [[] for _ in range(slots)]
    if len(things) < slots:
        return [[things[i % len(things)]] for i in range(slots)]
    cuts = [len(things) * i // slots for i in range(slots + 1)]
    return [list(things[a:b]) for a, b in itertools.pairwise(cuts)]

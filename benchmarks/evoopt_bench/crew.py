"""A crew of worker processes: whole tasks in parallel, and an end that leaves nobody behind.

Each worker has a process group of its own, so that a signal from the terminal reaches the parent
alone. On SIGINT or SIGTERM the parent sends SIGTERM to its workers, waits for `PATIENCE_SECONDS`
and kills who is still there. When the parent dies, however it does, its workers die with it; and
the next crew in the same folder waits until the last of them is gone.

A worker that dies (killed for memory, a crash in native code) is replaced and its task begun again.
"""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

from evoopt.errors import SIGINT_EXIT, SIGTERM_EXIT, Interrupted, StateError

PATIENCE_SECONDS = 1.7  # the end of an interrupted run is promised within two seconds
ATTEMPTS = 3  # at a task whose worker died
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OLD_CREW_SECONDS = 5.0  # for the workers of a parent that was killed to be gone

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


@dataclass(slots=True)
class _Worker(Generic[T]):
    process: SpawnProcess
    pipe: Connection
    task: T


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Interrupted where SIGINT or SIGTERM finds us; for steps that may be cut anywhere."""

    def caught(signum: int, frame: FrameType | None) -> None:
        raise _interrupted(signum)

    with _handled(caught):
        yield


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other crews out of the folder, and wait for the last worker of an earlier one.

    Raises:
        StateError: another process is in the folder.
    """
    with _locked(folder / ".lock", fcntl.LOCK_EX, 0.0):
        with _locked(folder / ".workers", fcntl.LOCK_EX, _OLD_CREW_SECONDS):
            pass  # each worker holds a share of it as long as it lives
        yield


def run_tasks(
    tasks: Sequence[T],
    work: Callable[[T], R],
    *,
    workers: int,
    folder: Path,
    done: Callable[[T, R], None],
) -> None:
    """Do all tasks, up to `workers` at a time, begun in the order given.

    Args:
        tasks: what to do; picklable, all different.
        work: does one task in a worker process: a function of a module, or a `functools.partial`
            of one. SIGTERM reaches it there; it may raise Interrupted then.
        workers: how many processes.
        folder: where the workers show that they live; the caller is `alone_in` it.
        done: told each task with its result, in this process, in the order in which they end.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the workers are gone.
        StateError: the worker of a task died every time.
        Exception: what a task raised; the other workers were stopped as by a signal.
    """
    pending = deque(tasks)
    deaths: Counter[T] = Counter()
    crew: list[_Worker[T]] = []
    with _signals() as came:
        try:
            while pending or crew:
                while pending and len(crew) < workers:
                    crew.append(_hired(work, folder, pending.popleft()))
                ready = wait([came, *(worker.pipe for worker in crew)])
                if came in ready:
                    raise _interrupted(came.recv())
                for worker in [worker for worker in crew if worker.pipe in ready]:
                    try:
                        outcome = worker.pipe.recv()
                    except EOFError:
                        crew.remove(worker)
                        deaths[worker.task] += 1
                        _bury(worker, deaths[worker.task])
                        pending.appendleft(worker.task)
                        continue
                    if isinstance(outcome, Exception):
                        raise outcome
                    done(worker.task, outcome)
                    if pending:
                        worker.task = pending.popleft()
                        worker.pipe.send(worker.task)
                    else:
                        crew.remove(worker)
                        _dismiss([worker])
        finally:
            _dismiss(crew)


def _hired(work: Callable[[T], R], folder: Path, task: T) -> _Worker[T]:
    """A new worker at its first task."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, folder, theirs, os.getpid()))
    # held back until the worker has left the parent's process group; it inherits the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    ours.send(task)
    return _Worker(process, ours, task)


def _dismiss(crew: Sequence[_Worker[Any]]) -> None:
    """Ask workers to leave, and see to it."""
    for worker in crew:
        worker.process.terminate()
    end = time.monotonic() + PATIENCE_SECONDS
    for worker in crew:
        worker.process.join(max(0.0, end - time.monotonic()))
    for worker in crew:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()


def _bury(worker: _Worker[Any], deaths: int) -> None:
    """A worker has died at its task.

    Raises:
        StateError: the task's workers died `ATTEMPTS` times.
    """
    worker.process.join()
    worker.pipe.close()
    if deaths >= ATTEMPTS:
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise StateError(f"{worker.task}: its worker process died {deaths} times, last by {how}")


def _interrupted(signum: int) -> Interrupted:
    error = Interrupted("stopped on request; nothing evaluated is lost")
    error.exit_code = SIGTERM_EXIT if signum == signal.SIGTERM else SIGINT_EXIT
    return error


@contextmanager
def _signals() -> Iterator[Connection]:
    """A connection that hands out the signals which ask to stop."""
    receiving, sending = multiprocessing.Pipe(duplex=False)

    def caught(signum: int, frame: FrameType | None) -> None:
        sending.send(signum)

    with receiving, sending, _handled(caught):
        yield receiving


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have the signals that ask to stop handled so; nothing outside the main thread."""
    main = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, handler) for s in _SIGNALS} if main else {}
    try:
        yield
    finally:
        for s, previous in before.items():
            signal.signal(s, previous)


@contextmanager
def _locked(path: Path, kind: int, patience: float) -> Iterator[None]:
    """Hold a lock of that kind on the file."""
    end = time.monotonic() + patience
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise StateError(f"{path.parent} is in use by another process") from None
                time.sleep(0.02)
        yield


def _serve(work: Callable[[Any], Any], folder: Path, pipe: Connection, parent: int) -> None:
    """The life of a worker: tasks come, results go, until it is told to leave."""
    _die_with(parent)
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(0))  # while no task is under way
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    with _locked(folder / ".workers", fcntl.LOCK_SH, _OLD_CREW_SECONDS), _one_blas_thread():
        while True:
            try:
                task = pipe.recv()
                pipe.send(_outcome(work, task))
            except (EOFError, OSError, Interrupted):
                os._exit(0)  # the parent has gone or wants us gone; no atexit may delay it


def _outcome(work: Callable[[Any], Any], task: Any) -> Any:
    """The result of the task, or the exception that it raised."""
    try:
        return work(task)
    except Exception as error:  # noqa: BLE001 # raised again in the parent
        error.add_note(f"in the worker process, at {task}:\n{traceback.format_exc()}")
        return error


def _die_with(parent: int) -> None:
    """End this process as soon as the parent has ended, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)
    # elsewhere: the pipe that multiprocessing keeps open between the two tells it
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


def _one_blas_thread() -> Any:
    """Workers share the cores; and the number of threads must not change the results."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)

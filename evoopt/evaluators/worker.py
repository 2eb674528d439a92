"""The life of a worker process: take a problem, then rows, until the parent hangs up.

Started by `pool` as a fresh interpreter that runs `main`. Messages are pickled tuples over one
socket: in, once, the problem, and then (X, seeds), where X may be an `Order` (see `replica`); out,
("ready",) or ("broken", why), and then ("done", values, seconds) for each message, or ("diverged",
why) for an order of which no points can be made.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

from evoopt.evaluators.base import guarded
from evoopt.evaluators.pool import unpickled
from evoopt.evaluators.replica import Diverged, Replica
from evoopt.objective import raised_text
from evoopt.problem import Problem

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(handle: int, parent: int) -> None:
    """handle: descriptor of the socket to the parent; parent: its process id."""
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    os.set_inheritable(handle, False)  # or what the objective starts would hold the line
    with Connection(handle) as connection, contextlib.suppress(EOFError, OSError):
        problem = _receive_problem(connection)
        if problem is not None:
            server = Server(problem)
            while True:
                connection.send(server.answer(connection.recv()))


def _receive_problem(connection: Connection) -> Problem | None:
    from threadpoolctl import threadpool_limits

    pickled = connection.recv_bytes()
    try:
        problem = unpickled(pickled)
    except BaseException as error:  # noqa: BLE001  # unpickling runs imports of the user
        connection.send(("broken", raised_text(error)))
        return None
    threadpool_limits(limits=1)  # for libraries that do not read the environment
    connection.send(("ready",))
    return problem


class Server:
    """Answers the messages of the parent; also the inner part of a Ray actor."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._replica = Replica()

    def answer(self, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is sent back for (X, seeds), or for (an order, seeds)."""
        what, seeds = message
        try:
            X = self._replica.points(what)
        except Diverged as error:
            return "diverged", str(error)
        start = perf_counter()
        values = guarded(self._problem, X, seeds)
        seconds = perf_counter() - start
        with contextlib.suppress(AttributeError, OSError, ValueError):  # stdout closed or None
            sys.stdout.flush()  # a worker may be killed at any time; what it printed stays
        return "done", values, seconds


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, even in the middle of a row.

    For Linux the parent is the thread that started the worker; the rows of a worker that goes
    because that thread ended are evaluated again.
    """
    if sys.platform == "linux":  # elsewhere a worker ends after its row, when the line is cut
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        os._exit(1)

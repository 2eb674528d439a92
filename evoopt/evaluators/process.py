"""One worker process: how it is started, and how it ends.

A worker is a fresh interpreter. It is no fork: the parent may run threads (BLAS, the user's), and a
forked copy of their locks hangs. Nor does it use a start method of `multiprocessing`: those import
the user's `__main__` again, which runs a script without a guard in each worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection, wait
from typing import Any

from evoopt.evaluators.children import ONE_THREAD, ending, killed

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from evoopt.evaluators.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)


class LocalCrew:
    """Workers that are processes of this machine; see `evoopt.evaluators.crew.Crew`."""

    cheap_seconds = 1e-3

    def launched(self, pickled: bytes) -> tuple[subprocess.Popen[bytes], Connection]:
        """A worker that loads the problem, and the line on which it says when it is ready."""
        return launched(pickled)

    def wait(self, lines: list[Any], timeout: float) -> list[Any]:
        """The lines on which there is something to receive."""
        return wait(lines, timeout)

    def killed(self, process: subprocess.Popen[bytes]) -> str:
        """Kill a worker and what it started. Returns: how it ended, in words."""
        return ending(killed(process))

    def close(self) -> None:
        """There is nothing but the workers."""


def launched(pickled: bytes) -> tuple[subprocess.Popen[bytes], Connection]:
    """A worker that loads the problem, and the line on which it says when it is ready."""
    path = json.dumps([str(folder) for folder in sys.path])
    ours, theirs = socket.socketpair()
    with theirs:
        handle = theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(handle), str(os.getpid()), path],
            stdin=subprocess.DEVNULL,
            env=os.environ | ONE_THREAD,
            pass_fds=(handle,),
            process_group=0,  # Ctrl-C goes to the parent alone, a kill to what the worker started
        )
    connection = Connection(ours.detach())
    with contextlib.suppress(OSError):  # it has died: the pool will see
        connection.send_bytes(pickled)
    return process, connection

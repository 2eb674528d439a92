"""One worker process: how it is started, and how it ends.

A worker is a fresh interpreter. It is no fork: the parent may run threads (BLAS, the user's), and a
forked copy of their locks hangs. Nor does it use a start method of `multiprocessing`: those import
the user's `__main__` again, which runs a script without a guard in each worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from evoopt.evaluators.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_ONE_THREAD = dict.fromkeys(  # read by the BLAS libraries when they are loaded
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


def launched(pickled: bytes) -> tuple[subprocess.Popen[bytes], Connection]:
    """A worker that loads the problem, and the line on which it says when it is ready."""
    path = json.dumps([str(folder) for folder in sys.path])
    ours, theirs = socket.socketpair()
    with theirs:
        handle = theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(handle), str(os.getpid()), path],
            stdin=subprocess.DEVNULL,
            env=os.environ | _ONE_THREAD,
            pass_fds=(handle,),
            process_group=0,  # Ctrl-C goes to the parent alone, a kill to what the worker started
        )
    connection = Connection(ours.detach())
    with contextlib.suppress(OSError):  # it has died: the pool will see
        connection.send_bytes(pickled)
    return process, connection


def killed(process: subprocess.Popen[bytes]) -> int:
    """Kill a worker and what it started. Returns: its exit code, its own if it had ended before."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def ending(exit_code: int) -> str:
    """How a process ended, in words."""
    if exit_code < 0:
        return f"by {signal.Signals(-exit_code).name}"
    return f"with exit code {exit_code}"

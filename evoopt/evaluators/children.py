"""What all child processes have in common: how many threads they use, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

ONE_THREAD = dict.fromkeys(  # read by the BLAS libraries when they are loaded
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


def killed(process: subprocess.Popen[bytes]) -> int:
    """Kill a worker and what it started. Returns: its exit code, its own if it had ended before."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def ending(exit_code: int) -> str:
    """How a process ended, in words."""
    if exit_code < 0:
        known = {int(s): s.name for s in signal.Signals}
        return f"by {known.get(-exit_code, f'signal {-exit_code}')}"
    return f"with exit code {exit_code}"

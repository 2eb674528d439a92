"""One writer per log: a kernel lock (`flock`) that ends with the process, however that ends.

A forked child shares the lock of its parent, so that workers which outlive a killed parent would
keep the run locked; every holder is therefore told to let go in each child.
"""

from __future__ import annotations

import fcntl
import functools
import os
import weakref
from pathlib import Path
from typing import Protocol

from evoopt.errors import StateError

_PROC_LOCKS = Path("/proc/locks")  # Linux only; elsewhere the holder stays unnamed


class Locked(StateError):
    """Another process has the lock."""


class Holder(Protocol):
    """Whoever keeps a lock."""

    def let_go(self) -> None:
        """Close the locked file without writing to it."""


_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def take(fd: int, folder: Path, holder: Holder) -> None:
    """Lock the open log `fd` of a run directory, or fail at once.

    Raises:
        Locked: another process has the lock; names it where the system tells.
    """
    _guard_forks()
    _holders.add(holder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Locked(
            f"{folder} is in use by {_process(fd)}; wait for it or stop it (evoopt status and "
            f"evoopt show read it meanwhile)"
        ) from None


def _process(fd: int) -> str:
    """Who holds the lock of the file behind `fd`, in words."""
    file = os.fstat(fd)
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        lines = _PROC_LOCKS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:  # "1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF"
        words = line.split()
        if words[1] == "FLOCK" and place in words:
            return f"process {words[words.index(place) - 1]}"
    return "another process"


@functools.cache
def _guard_forks() -> None:
    os.register_at_fork(after_in_child=_let_go_all)


def _let_go_all() -> None:
    for holder in list(_holders):
        holder.let_go()

"""A disk that can fail at any call, and a small run to let it fail under."""

import errno
import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

CALLS = ("write", "fsync", "fdatasync", "replace", "ftruncate")
REAL = {name: getattr(os, name) for name in (*CALLS, "open")}


class Crash(BaseException):
    """The process is dead: nothing in it may catch this, and no later call does anything."""


class Disk:
    """Stands in for the calls of `os` that change files; the `at`-th one meets `fault`.

    Faults: "crash" (of a write any prefix is kept, of the others the effect or nothing), "enospc",
    "eio" (any prefix is kept), "full" (ENOSPC from there on), "short" (a write takes a part),
    "eintr", and "ctrl-c" (KeyboardInterrupt just after the call). Syncs are noted, not done.
    """

    def __init__(self, at: int = 0, fault: str = "", seed: int = 0) -> None:
        self.at, self.fault = at, fault
        self.events: list[tuple[str, str]] = []  # call, name of the file
        self.names: dict[int, str] = {}
        self.random = random.Random(f"{at} {fault} {seed}")
        self.is_dead = self.is_full = False
        self.has_met = False

    def __enter__(self):
        os.open = self.open
        for name in CALLS:
            setattr(os, name, self.stand_in(name))
        return self

    def __exit__(self, *exc):
        for name, call in REAL.items():
            setattr(os, name, call)

    def open(self, path, *args, **named):
        fd = REAL["open"](path, *args, **named)
        self.names[fd] = Path(path).name
        return fd

    def stand_in(self, name):
        def call(*args):
            if self.is_dead:
                raise Crash
            self.events.append((name, self.name_of(name, args)))
            if self.is_full and name == "write":
                raise OSError(errno.ENOSPC, "No space left on device")
            if len(self.events) == self.at and self.fault:
                return self.meet(name, args)
            return self.do(name, args)

        return call

    def name_of(self, name, args):
        return Path(args[1]).name if name == "replace" else self.names.get(args[0], "?")

    def do(self, name, args):
        return None if name in ("fsync", "fdatasync") else REAL[name](*args)

    def prefix(self, name, args):
        """Let a random part of the call happen. Returns: how many bytes were written."""
        if name == "write":
            length = self.random.randrange(len(args[1]) + 1)
            return REAL["write"](args[0], bytes(args[1][:length]))
        if self.random.random() < 0.5:
            self.do(name, args)
        return 0

    def meet(self, name, args):
        self.has_met = True
        if self.fault == "crash":
            self.prefix(name, args)
            self.is_dead = True
            raise Crash
        if self.fault == "eio":
            self.prefix(name, args)
            raise OSError(errno.EIO, "Input/output error")
        if self.fault in ("enospc", "full"):
            self.is_full = self.fault == "full"
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fault == "ctrl-c":
            self.do(name, args)
            raise KeyboardInterrupt
        if name == "write" and self.fault == "eintr":
            raise InterruptedError(errno.EINTR, "Interrupted system call")
        if name == "write" and self.fault == "short":
            return REAL["write"](args[0], bytes(args[1][: len(args[1]) // 2]))
        return self.do(name, args)


@pytest.fixture
def disk():
    """The class of a disk that fails on demand: `with disk(at=3, fault="crash"): ...`."""
    return Disk


@pytest.fixture
def crash():
    """What a crash of `disk` raises."""
    return Crash


@pytest.fixture
def sound_disk():
    """A disk that never fails, nor waits for a real one, for the length of a test."""
    with Disk() as disk:
        yield disk


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    clock = SimpleNamespace(now=1000.0)
    time = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr("evoopt.rundir.directory.time", time)
    return clock

"""A slot: the process that runs one program after another, and leaves nothing of them behind.

Started by `slots` as a bare interpreter (only the standard library is imported: a dozen
milliseconds). Messages are lines of JSON over one socket: in, a task; out, how it ended. When the
line is cut, for the driver has hung up or died, the slot kills what runs and ends.

It takes in the orphans of its programs (a subreaper), so that whatever a program has started, in
whatever process group or session, is a descendant of the slot and can be killed. It has one thread,
so that the child may run a function between fork and exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from time import monotonic, sleep
from typing import IO, Any

TAIL = 1 << 16  # bytes of each stream that are sent to the driver
KEPT = 1 << 20  # bytes of each stream that are kept in a file, besides the tail
_ERR_TAIL = 1 << 12  # characters of stderr that are sent: for a message
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_KILL_SECONDS = 2.0  # what does not die of SIGKILL within them (a dead disk) is left to the system
_KILL_PAUSE = 0.002


class Stream:
    """One output of a program: its tail for the driver, its beginning and its tail in a file."""

    def __init__(self, pipe: IO[bytes], path: str | None) -> None:
        self.pipe = pipe
        self.size = 0
        self._tail = b""
        self._path, self._file = path, -1
        os.set_blocking(pipe.fileno(), False)

    def take(self, most: int = 64) -> bool:
        """Read what is there. most: chunks of 64 KiB. Returns: whether more can come."""
        for _ in range(most):
            try:
                chunk = os.read(self.pipe.fileno(), TAIL)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            if self.size < KEPT:
                self._write(chunk[: KEPT - self.size])
            self.size += len(chunk)
            self._tail = (self._tail + chunk)[-TAIL:]
        return True

    def close(self) -> str:
        """Completes the file. Returns: the tail as text."""
        if self.size > KEPT:
            tail = self._tail[-(self.size - KEPT) :]
            left_out = self.size - KEPT - len(tail)
            self._write(f"\n[{left_out} bytes left out]\n".encode() if left_out else b"")
            self._write(tail)
        if self._file >= 0:
            os.close(self._file)
        self.pipe.close()
        return self._tail.decode(errors="replace")

    def _write(self, data: bytes) -> None:
        if self._path is None or not data:
            return
        try:
            if self._file < 0:
                os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            os.write(self._file, data)
        except OSError:  # a full disk costs the record of what was printed, not the evaluation
            self._path = None


class Slot:
    """Serves one socket."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._buffer = b""
        wake, self._woken = os.pipe()
        for fd in (wake, self._woken):
            os.set_blocking(fd, False)
        self._wake = wake
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, _noted)
        self._selector = selectors.DefaultSelector()
        self._selector.register(line, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Run tasks until the driver hangs up."""
        while (task := self._next()) is not None:
            outcome = self._run(task)
            killed_descendants()
            if outcome is None:
                return
            with contextlib.suppress(OSError):
                self._line.sendall(json.dumps(outcome).encode() + b"\n")

    def _next(self) -> dict[str, Any] | None:
        """The next task; None when the line is cut."""
        while b"\n" not in self._buffer:
            for key, _ in self._selector.select():
                if key.fileobj is self._line:
                    chunk = self._line.recv(TAIL)
                    if not chunk:
                        return None
                    self._buffer += chunk
                elif self._asked_to_end():
                    return None
        text, _, self._buffer = self._buffer.partition(b"\n")
        task: dict[str, Any] = json.loads(text)
        return task

    def _asked_to_end(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return bytes([signal.SIGTERM]) in os.read(self._wake, 4096)
        return False

    def _run(self, task: dict[str, Any]) -> dict[str, Any] | None:
        """How the program ended; None if the driver has hung up meanwhile."""
        start = monotonic()
        folder = task.get("folder")
        if folder is not None:  # before the program, which may write there
            with contextlib.suppress(OSError):
                os.makedirs(folder, 0o700, exist_ok=True)
        try:
            process = started(task)
        except OSError as error:
            return {"error": error.strerror or str(error), "seconds": monotonic() - start}
        except ValueError as error:  # a null byte in a word
            return {"error": str(error), "seconds": monotonic() - start}
        assert process.stdout is not None
        assert process.stderr is not None
        streams = [
            Stream(pipe, None if folder is None else os.path.join(folder, name))
            for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        limit = task.get("seconds")
        ended = self._watch(process, streams, None if limit is None else start + limit)
        late = ended is False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_SECONDS)
        for stream in streams:
            stream.take()
        out, err = (stream.close() for stream in streams)
        if ended is None:
            return None
        facts = {"code": process.returncode, "late": late, "seconds": monotonic() - start}
        return {**facts, "printed": streams[0].size, "out": out, "err": err[-_ERR_TAIL:]}

    def _watch(
        self, process: subprocess.Popen[bytes], streams: list[Stream], due: float | None
    ) -> bool | None:
        """Take in the output until the program ends. Returns: False if it is late, None if the
        driver has hung up."""
        for stream in streams:
            self._selector.register(stream.pipe, selectors.EVENT_READ, stream)
        try:
            while process.poll() is None:
                left = None if due is None else due - monotonic()
                if left is not None and left <= 0:
                    return False
                for key, _ in self._selector.select(left):
                    if key.data is not None:
                        if not key.data.take(1):
                            self._selector.unregister(key.fileobj)
                    elif key.fileobj is self._line or self._asked_to_end():
                        return None  # nothing is sent to a slot that is busy: this is the end
        finally:
            for stream in streams:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(stream.pipe)
        return True


def _noted(number: int, frame: object) -> None:
    """The wakeup descriptor says which signal came."""


def started(task: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The program of a task, in a process group of its own. Raises: OSError, ValueError."""
    slot, given = os.getpid(), task.get("input")
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def dies_with_the_slot() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != slot:
                os._exit(1)

    with open(os.devnull if given is None else given, "rb") as source:
        return subprocess.Popen(
            task["argv"],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=task.get("cwd"),
            env={**os.environ, **task.get("env", {})},
            process_group=0,
            preexec_fn=dies_with_the_slot,
        )


def killed_descendants() -> None:
    """Kill all that the last program has left, wherever it has hidden."""
    end = monotonic() + _KILL_SECONDS
    while _left() and monotonic() < end:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if _left():
            sleep(_KILL_PAUSE)


def _left() -> bool:
    """Whether this process has children, once those that have ended are reaped."""
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    except ChildProcessError:
        return False


def _descendants(pid: int) -> list[int]:
    """Children, their children and so on; none where the system does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in _descendants(child))]


def main(handle: int, parent: int, cpus: list[int]) -> None:
    """handle: of the socket to the driver, whose process id is `parent`; cpus: [] for all."""
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        # the cut line says the same, unless another process holds a copy of the driver's end
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if cpus:
            os.sched_setaffinity(0, cpus)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    os.set_inheritable(handle, False)
    with socket.socket(fileno=handle) as line:
        slot = Slot(line)
        if os.getppid() == parent:
            slot.serve()
    killed_descendants()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))

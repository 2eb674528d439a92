"""One run on disk: `manifest.json`, `log.jsonl`, `snapshots/*.npz`, `result.json`.

The log is the only truth, written by one process at a time. The manifest says what was asked for;
its SHA-256 stands in the first record of the log. Snapshots shorten the replay of the log, and the
result repeats what it leads to: both may be deleted.

`flush` hands records to the system: they survive the end of the process, however it comes. `sync`
has the disk take them: they survive a loss of power. `append` does so by itself, by durability:

    "auto"  sync at once after an evaluation of more than 50 ms; else when the first record that is
            not on disk is 50 ms old, or 1 MB waits, looked at on each append
    "eval"  sync after every record
    "none"  as "auto", but flush instead of sync: no promise beyond the process
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir import header, lock, snapshot
from evoopt.rundir.files import (
    JSON_LIMIT,
    TEMPORARY,
    cannot_write,
    from_json,
    make_folder,
    open_regular,
    read_file,
    sync_folder,
    to_json,
    write_atomic,
)
from evoopt.rundir.records import LogReader, LogWriter, Record

DURABILITIES = ("auto", "eval", "none")
SLOW_SECONDS = 0.05  # an evaluation above is worth a sync of its own, 0.2 to 4 ms
CADENCE_SECONDS = 0.05
CADENCE_BYTES = 1 << 20

LOG = "log.jsonl"
SNAPSHOTS = "snapshots"
RESULT = "result.json"
_NO_EVALUATION = ("header", "ask", "open")  # records that come before the first value


class RunDirectory:
    """A run directory, open for reading, or for writing by this process alone.

    Made by `create`, `open` or `read`; ended by `close` or with a `with` block. Not for several
    threads at once. In a forked child it is closed, so that the child neither writes nor keeps the
    lock.

    Attributes:
        path: the folder.
        manifest: the content of manifest.json, "format_version" included.
        repaired: `open` had to mend the end of the log; a record of type "note" says so too.
    """

    def __init__(self, path: Path, fd: int = -1, durability: str = "auto") -> None:
        """For `create`, `open` and `read` only. fd: the log opened for writing; -1 if it is not."""
        self.path = path
        self.manifest: dict[str, Any] = {}
        self.repaired = False
        self._fd = fd
        self._durability = durability
        self._crcs = array("I")  # of each record; shared with the writer
        self._log: LogWriter | None = None
        self._unsynced_since: float | None = None  # monotonic seconds

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        manifest: Mapping[str, Any],
        *,
        durability: str = "auto",
    ) -> Self:
        """Start a run directory and take its lock.

        Args:
            path: a folder that does not exist, is empty, or holds what a process left that was
                killed in here before it had written one record; its parents are made.
            manifest: JSON values, numbers finite; "format_version" is added.
            durability: "auto", "eval" or "none".

        Raises:
            ConfigurationError: the name, the manifest or the durability cannot be used.
            StateError: the folder is in use, or the file system refused.
        """
        _check_durability("create", durability)
        folder = Path(path)
        text = _manifest_text(folder, manifest)
        _clear_unbegun(folder)
        make_folder(folder)
        # O_EXCL: of several processes that found the folder empty, one goes on
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self = cls(folder, open_regular(folder / LOG, flags), durability)
        try:
            self._begin(text)
        except BaseException as error:
            self.let_go()
            if isinstance(error, StateError):  # no run has begun: leave the folder empty again
                for name in (LOG, header.MANIFEST, header.MANIFEST + TEMPORARY):
                    (folder / name).unlink(missing_ok=True)
            raise
        return self

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, durability: str = "auto") -> Self:
        """Take the lock of an existing run, verify its log, and mend the end that a crash left.

        Raises:
            ConfigurationError: the durability cannot be used.
            StateError: no run is there; another process has it; its log is damaged before the
                tail; the manifest is not the one of this log; a newer evoopt wrote it.
        """
        _check_durability("open", durability)
        folder = Path(path)
        self = cls(folder, open_log(folder, os.O_RDWR | os.O_APPEND), durability)
        try:
            lock.take(self._fd, folder, self)
            reader = self._verify()
            self._log = LogWriter(self._fd, folder / LOG, self._crcs, reader.end)
            if reader.torn or reader.unterminated:
                self._mend(reader)
        except BaseException:
            self.let_go()
            raise
        return self

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Open a run for reading, also while another process writes it; changes nothing.

        Raises:
            StateError: as for `open`, but for the lock.
        """
        self = cls(Path(path))
        self._verify()
        return self

    @property
    def count(self) -> int:
        """How many records there are, those included that wait in memory."""
        return len(self._crcs)

    def records(self, start: int = 0) -> Iterator[Record]:
        """The records from number `start` on, all verified again; what waits is flushed first.

        Raises:
            StateError: the log was damaged since it was opened.
        """
        if self._log:
            self._log.flush()
        with os.fdopen(open_log(self.path, os.O_RDONLY), "rb") as file:
            yield from LogReader(file, self.path / LOG).records(start)

    def append(self, kind: str, fields: Mapping[str, Any], *, seconds: float | None = None) -> None:
        """Add a record, which reaches the disk at once or soon, by durability.

        Args:
            kind: its type.
            fields: JSON values under other names than k, p, t; numbers finite (`encode_values`).
            seconds: how long the evaluation took that it reports; None if it reports none.

        Raises:
            ConfigurationError: `fields` cannot be written; nothing has changed.
            StateError: not open for writing, or the file system refused.
        """
        log = self._writer()
        log.append(kind, fields)
        now = time.monotonic()
        if self._unsynced_since is None:
            self._unsynced_since = now
        if (
            (seconds is not None and seconds > SLOW_SECONDS)
            or now - self._unsynced_since >= CADENCE_SECONDS
            or len(log.pending) >= CADENCE_BYTES
            or self._durability == "eval"
        ):
            self._commit()

    def flush(self) -> None:
        """Hand all records to the system: they survive the end of the process."""
        self._writer().flush()

    def sync(self) -> None:
        """Have the disk take all records: they survive a loss of power."""
        self._writer().sync()
        self._unsynced_since = None

    def save_snapshot(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Write a snapshot of the state after all records so far; the newest two are kept.

        Raises:
            StateError: the file system refused; the log and the older snapshots are as before.
        """
        self.sync()  # a snapshot ahead of the log would be of no use
        snapshot.save_for_log(self.path / SNAPSHOTS, self._crcs, arrays, dict(meta))

    def latest_snapshot(self) -> snapshot.Snapshot | None:
        """The newest snapshot that is valid and belongs to this log; None if there is none."""
        return snapshot.latest_for_log(self.path / SNAPSHOTS, self._crcs)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json in place of an older one. result: JSON values, numbers finite."""
        self.sync()
        write_atomic(self.path / RESULT, to_json(self.path / RESULT, result))

    def remove_result(self) -> None:
        """Remove result.json: the run goes on."""
        (self.path / RESULT).unlink(missing_ok=True)

    def result(self) -> dict[str, Any] | None:
        """The content of result.json; None if there is none yet."""
        file = self.path / RESULT
        return from_json(file, read_file(file, JSON_LIMIT)) if file.exists() else None

    def holds_nothing(self) -> bool:
        """Whether nothing is in the log but what was asked, and no other file is there."""
        rest = {file.name for file in self.path.iterdir()} - {LOG, header.MANIFEST, SNAPSHOTS}
        return not rest and all(record["t"] in _NO_EVALUATION for record in self.records())

    def discard(self) -> None:
        """Empty the folder of a run that `holds_nothing`, and give the lock back."""
        self._writer()  # refuses a run that is only read
        with suppress(FileNotFoundError):
            for file in (self.path / SNAPSHOTS).iterdir():
                file.unlink()
            (self.path / SNAPSHOTS).rmdir()
        os.ftruncate(self._fd, 0)  # from here on it is a folder in which no run has begun
        for name in (header.MANIFEST, LOG):
            (self.path / name).unlink(missing_ok=True)
        self.let_go()

    def close(self) -> None:
        """Write what waits and give the lock back. Closing again does nothing."""
        try:
            if self._log and not self._log.failure:
                self._commit()
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Give the lock back without writing what waits: the end of a child, a failure, a test."""
        fd, self._fd, self._log = self._fd, -1, None
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self, manifest_text: bytes) -> None:
        """Fill the new, empty folder; the header comes last: without it there is no run."""
        lock.take(self._fd, self.path, self)
        self._log = LogWriter(self._fd, self.path / LOG, self._crcs, 0)
        self.manifest = from_json(self.path / header.MANIFEST, manifest_text)
        try:
            write_atomic(self.path / header.MANIFEST, manifest_text)
            self.append("header", header.fields(manifest_text))
            self.sync()
            sync_folder(self.path)
            sync_folder(self.path.absolute().parent)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _verify(self) -> LogReader:
        """Check the whole log and the manifest. Returns: the reader at the end of the log."""
        with os.fdopen(open_log(self.path, os.O_RDONLY), "rb") as file:
            reader = LogReader(file, self.path / LOG)
            self.manifest = header.load_manifest(self.path, next(reader.records(), None))
            for _ in reader.texts():
                pass
        self._crcs = reader.crcs
        return reader

    def _mend(self, reader: LogReader) -> None:
        self._writer().mend(reader.unterminated)
        self.repaired = True
        self.append("note", {"note": "repaired", "bytes_cut": reader.torn})
        self.sync()

    def _commit(self) -> None:
        if self._durability == "none":
            self.flush()
            self._unsynced_since = None
        else:
            self.sync()

    def _writer(self) -> LogWriter:
        if self._log is None:
            raise StateError(f"{self.path} is not open for writing: use RunDirectory.open(path)")
        return self._log


def open_log(folder: Path, flags: int) -> int:
    """A file descriptor of the log of a run directory."""
    if not (folder / LOG).exists():
        raise StateError(f"{folder} is no run directory: it has no {LOG}; see evoopt list runs")
    return open_regular(folder / LOG, flags)


def _manifest_text(folder: Path, content: Mapping[str, Any]) -> bytes:
    versioned = {**content, "format_version": header.FORMAT_VERSION}
    return to_json(folder / header.MANIFEST, versioned)


def has_begun(path: str | os.PathLike[str]) -> bool:
    """Whether the folder has a log with at least one whole line."""
    try:
        with (Path(path) / LOG).open("rb") as file:
            return file.readline().endswith(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return False


def _clear_unbegun(folder: Path) -> None:
    """Removes the files of a `create` that was killed; leaves everything else."""
    if not (folder / LOG).exists() or has_begun(folder):
        return
    holder = RunDirectory(folder, open_log(folder, os.O_RDWR))
    try:
        lock.take(holder._fd, folder, holder)
        if not has_begun(folder):
            for name in (header.MANIFEST, header.MANIFEST + TEMPORARY, LOG):
                (folder / name).unlink(missing_ok=True)
    finally:
        holder.let_go()


def _check_durability(call: str, durability: str) -> None:
    if durability not in DURABILITIES:
        raise ConfigurationError(
            f"RunDirectory.{call}(durability=...) must be one of {', '.join(DURABILITIES)}; "
            f"got {durability!r}"
        )

"""The append-only log: one checksummed, chained JSON record a line.

    crc32hex {"k":number,"p":"crc32hex of the record before","t":"type",...}

The checksum covers the JSON text; `k` counts from 0 without gaps; `p` is "00000000" in the first
record. So a flipped bit, and a record that was lost, repeated or moved, are all found. The first 9
bytes and the start of the text up to the type are compared as text with what the writer would have
written, never parsed: `int(digits, 16)` would let upper case and blanks pass.

A crash can only shorten the last write, so a last line without a newline is a torn tail: kept where
its checksum holds, else cut off by the next writer. Anything else that is wrong is damage, refused
with its byte offset.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir.files import cannot_write, sync_data, write

Record = dict[str, Any]

RECORD_LIMIT = 1 << 28  # bytes of one line: a hostile log cannot ask for more memory
RESERVED = frozenset("kpt")
_DIGITS = 9  # the checksum and its blank


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_constant=_no_constant).decode


class LogReader:
    """Verifies a log from its start, record by record.

    Attributes:
        crcs: the checksum of each record verified so far; its length is their number.
        end: bytes up to the end of the last of them.
        torn: bytes after `end` that a crash left; known once the log was read to its end.
        unterminated: the last record is valid but lacks its newline.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.crcs = array("I")
        self.end = 0
        self.torn = 0
        self.unterminated = False

    def texts(self) -> Iterator[bytes]:
        """The JSON text of each record, once its checksum and its place in the chain are verified.

        Raises:
            StateError: the log is damaged before its tail; names the record and the byte offset.
        """
        while line := self._file.readline(RECORD_LIMIT):
            if not line.endswith(b"\n"):
                if text := self._tail(line):
                    yield text
                return
            body = line[:-1]
            if fault := self._fault(body):
                raise self.damage(fault)
            text = body[_DIGITS:]
            yield self._accept(text, len(line))

    def records(self, start: int = 0) -> Iterator[Record]:
        """The records themselves from number `start` on, decoded; all of them are verified."""
        for number, text in enumerate(self.texts()):
            if number < start:
                continue
            try:
                record: Record = _decode(text.decode())
            except (ValueError, RecursionError) as error:
                raise StateError(
                    f"{self._path}: record {len(self.crcs) - 1}, which ends at byte {self.end}, "
                    f"has a valid checksum but cannot be decoded: {error}"
                ) from error
            yield record

    def damage(self, fault: str) -> StateError:
        """The error for a log that is wrong where its next record should start."""
        return StateError(
            f"{self._path}: damaged at byte {self.end}, record {len(self.crcs)}: {fault}; see "
            f"evoopt verify, and evoopt repair for a copy up to there"
        )

    def _fault(self, body: bytes) -> str:
        """What keeps `body` (a line without newline) from being the next record; "" if nothing."""
        text = body[_DIGITS:]
        if not body.startswith(b"%08x " % zlib.crc32(text)):
            return "its checksum does not match"
        number = len(self.crcs)
        previous = self.crcs[-1] if number else 0
        if not text.startswith(b'{"k":%d,"p":"%08x","t":"' % (number, previous)):
            return "it does not continue the chain: a record was lost, repeated or moved"
        return ""

    def _accept(self, text: bytes, length: int) -> bytes:
        self.crcs.append(zlib.crc32(text))
        self.end += length
        return text

    def _tail(self, line: bytes) -> bytes:
        """The text of a valid last record without newline, or b"" where the tail is torn."""
        if len(line) == RECORD_LIMIT:
            raise self.damage(f"it is longer than {RECORD_LIMIT} bytes")
        start = self.end
        text = b""
        for body in (line, line[:-1]):  # the second: where a bit of the newline was flipped
            if not self._fault(body):
                text = self._accept(body[_DIGITS:], len(body))
                self.unterminated = True
                break
        self.torn = start + len(line) - self.end
        return text


class LogWriter:
    """Appends records to a log that `LogReader` has read to its end.

    Records wait in memory until `flush` hands them to the system in one write, which either happens
    whole or is undone. After any error of the file system the writer refuses further work.

    Attributes:
        crcs: the checksum of each record, those that wait included.
        pending: the bytes that wait.
        failure: the error after which it refuses to go on, or None.
    """

    def __init__(self, fd: int, path: Path, crcs: array[int], end: int) -> None:
        """`fd`: opened with O_APPEND and locked by the caller; `end`: bytes of the valid log."""
        self._fd = fd
        self._path = path
        self._end = end
        self.failure: StateError | None = None
        self.crcs = crcs
        self.pending = bytearray()

    def append(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Add one record to those that wait.

        Args:
            kind: its type, "t".
            fields: JSON values under other names than k, p, t; numbers finite.

        Raises:
            ConfigurationError: `fields` cannot be written; nothing has changed.
            StateError: an earlier write had failed.
        """
        if self.failure:
            raise self.failure
        if not RESERVED.isdisjoint(fields):
            raise ConfigurationError(f"append(fields=...) must not name k, p, t; got {set(fields)}")
        previous = b"%08x" % (self.crcs[-1] if self.crcs else 0)
        record = {"k": len(self.crcs), "p": previous.decode(), "t": kind, **fields}
        try:
            text = _encode(record).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"append({kind!r}, fields=...) must be JSON: {error}"
            ) from error
        crc = zlib.crc32(text)
        line = b"%08x %s\n" % (crc, text)
        if len(line) >= RECORD_LIMIT:
            raise ConfigurationError(f"append(...) takes {RECORD_LIMIT} bytes; got {len(line)}")
        # no call between these two: a signal handler that raises cannot come between them
        self.pending += line
        self.crcs.append(crc)

    def flush(self) -> None:
        """Hand the records that wait to the system: from here on they survive the process.

        Raises:
            StateError: the system refused; the log on disk is as before this flush.
        """
        if self.failure:
            raise self.failure
        if not self.pending:
            return
        size = len(self.pending)
        try:
            written = write(self._fd, self.pending)
            if written < size:
                raise OSError(errno.ENOSPC, f"only {written} of {size} bytes were taken")
        except BaseException as error:  # also KeyboardInterrupt from a signal during the write
            self._undo()
            if isinstance(error, OSError):
                self._fail(error)
            raise
        self._end += size
        self.pending = bytearray()

    def sync(self) -> None:
        """`flush`, then have the disk take all: the records now survive a loss of power."""
        self.flush()
        try:
            sync_data(self._fd)
        except OSError as error:  # never tried again: the system may have dropped the dirty pages
            self._fail(error)

    def mend(self, unterminated: bool) -> None:
        """Cut off what lies beyond the valid log; give its last record the newline it may lack."""
        try:
            os.ftruncate(self._fd, self._end)
            if unterminated:
                self._end += write(self._fd, b"\n")
            os.fsync(self._fd)
        except OSError as error:
            self._fail(error)

    def _undo(self) -> None:
        with contextlib.suppress(
            OSError
        ):  # what then remains is a torn tail: the next open cuts it
            os.ftruncate(self._fd, self._end)

    def _fail(self, error: OSError) -> NoReturn:
        self.failure = cannot_write(self._path, error)
        raise self.failure from error

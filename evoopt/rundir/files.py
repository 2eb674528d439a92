"""The few file operations that a run directory stands on, each safe against crash and full disk.

All writes of the package pass through `os.write`, `os.fsync`, `os.fdatasync`, `os.ftruncate` and
`os.replace`, looked up at the call, so that a test can let any one of them fail.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoopt.errors import ConfigurationError, StateError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
TEMPORARY = ".tmp"
JSON_LIMIT = 1 << 26  # bytes of a manifest or a result

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def check_name(path: Path) -> None:
    """Refuse a last component that is not a plain name on every system.

    Raises:
        ConfigurationError: the name is empty, too long, dotted, reserved, or has odd characters.
    """
    name = path.name
    if not _NAME.fullmatch(name) or name in {".", ".."} or _DEVICE.fullmatch(name):
        raise ConfigurationError(
            f"RunDirectory(path=...) must end in a name of 1 to 100 of A-Z a-z 0-9 . _ - that is "
            f"no device name; got {name!r}"
        )


def make_folder(path: Path) -> None:
    """Make the folder of a new run, private to the user; one that is there must be empty.

    Raises:
        ConfigurationError: the name cannot be used.
        StateError: something is there already, or the file system refused.
    """
    check_name(path)
    try:
        if path.is_symlink() or (path.exists() and any(path.iterdir())):
            raise StateError(
                f"{path} exists and is not empty; go on with: evoopt resume {path}, or choose "
                f"another name"
            )
        path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        path.chmod(FOLDER_MODE)
    except OSError as error:
        raise StateError(f"{path} cannot be made: {error.strerror}") from error


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file; a link, folder, pipe or device is refused, not followed or waited for.

    Returns:
        The file descriptor; children started by exec do not inherit it.
    """
    # O_NONBLOCK: opening a pipe must not wait for its other end
    always = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags | always, FILE_MODE)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StateError(f"{path} is not a regular file; remove it or use another run directory")
    return fd


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise StateError(f"{path} must have at most {limit} bytes; it has {size}")
        return file.read(size)


def to_json(path: Path, value: Mapping[str, Any]) -> bytes:
    """`value` as indented JSON for the file `path`; NaN and infinities are refused."""
    try:
        return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{path.name} must hold JSON values, numbers finite; got {error}"
        ) from error


def from_json(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, which came from the file `path`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StateError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise StateError(f"{path} must hold a JSON object; it holds a {type(value).__name__}")
    return value


def write(fd: int, data: bytes | bytearray | memoryview) -> int:
    """One `os.write`, again if a signal came before it wrote. Returns: the bytes written."""
    while True:
        try:
            return os.write(fd, data)
        except InterruptedError:
            continue


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path`: after a crash at any moment it holds the old bytes or the new ones.

    Raises:
        StateError: the file system refused; what was at `path` before is still there.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    fd = open_regular(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        try:
            rest = memoryview(data)
            while rest:
                written = write(fd, rest)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rest = rest[written:]
            os.fsync(fd)  # before the rename: else a name without its bytes could survive
        finally:
            os.close(fd)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder (creations, renames, removals) survive a loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_data(fd: int) -> None:
    """Make the bytes of an open file survive a loss of power."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # macOS
        os.fsync(fd)


def cannot_write(path: Path, error: OSError) -> StateError:
    """The error for a refused write: which file, why, how much space is left, what to do."""
    try:
        disk = os.statvfs(path.parent)
        free = f"{disk.f_bavail * disk.f_frsize / 1e6:.1f} MB"
    except OSError:
        free = "an unknown number of bytes"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    cure = "free some space" if full else "check the disk"
    return StateError(
        f"{path} cannot be written: {error.strerror}, with {free} free on its file system; {cure}, "
        f"then resume the run: nothing acknowledged is lost"
    )

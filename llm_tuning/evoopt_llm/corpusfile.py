"""A corpus on disk: all its bytes in one file, the training part first, and a manifest beside it.

Both are written beside their place and renamed, the manifest last, under a lock: a reader finds a
whole copy, or none. A copy counts only if its bytes have the SHA-256 that the manifest names.
Cost: each file is read once for the split "tail", twice for "files"; a copy is read once to check
it. Memory: a chunk.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir.files import write_atomic

Split = Literal["files", "tail"]
Part = Literal["train", "valid", "both"]

_DATA, _MANIFEST, _LOCK = "data.bin", "manifest.json", "lock"


class Named(NamedTuple):
    """What one file of a corpus contributes: its name, and its bytes in chunks."""

    name: str
    chunks: Callable[[], Iterator[bytes]]


class File(NamedTuple):
    """One file of a corpus.

    Attributes:
        name: relative to the corpus.
        size_bytes: unpacked.
        sha256: of its bytes, unpacked, in hexadecimal.
        part: where it went; "both" for the one that the split cuts.
    """

    name: str
    size_bytes: int
    sha256: str
    part: Part


class Kept(NamedTuple):
    """A copy that was checked.

    Attributes:
        data: (n,) all bytes, mapped into memory.
        train_bytes: how many of them, from the first, are for training.
        digest: SHA-256 of the manifest, which names that of each file and of the whole.
        files: in the order of the bytes.
    """

    data: NDArray[np.uint8]
    train_bytes: int
    digest: str
    files: tuple[File, ...]


def kept(folder: Path) -> Kept | None:
    """The copy in this folder; None if there is none, or it is damaged."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        listed = {name: manifest[name] for name in ("sha256", "train_bytes", "files")}
        with (folder / _DATA).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != listed["sha256"] or _digest(listed) != manifest["digest"]:
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # ValueError: not JSON
        return None
    data = np.memmap(folder / _DATA, dtype=np.uint8, mode="r")
    files = tuple(File(*entry) for entry in listed["files"])
    return Kept(data, listed["train_bytes"], manifest["digest"], files)


def make(parts: Sequence[Named], split: Split, holdout: float, folder: Path) -> None:
    """Write the copy of a corpus, in place of any that is there.

    Args:
        parts: what it consists of, in order.
        split, holdout: which files, or which share of the bytes, are held out.
        folder: where it goes; the caller has its lock.

    Raises:
        ConfigurationError: nothing would be left to train on, or to hold out.
        StateError: a file changed while it was read.
    """
    temporary = folder / f"{_DATA}.tmp"
    try:
        with temporary.open("wb") as out:
            if split == "files":
                lengths, files = _write_by_files(parts, holdout, out)
            else:
                files = [_write(part, out) for part in parts]
                lengths = _tail(sum(file.size_bytes for file in files), holdout)
            out.flush()
            os.fsync(out.fileno())  # before the rename: else a name without its bytes could survive
        _check_lengths(lengths, split, holdout)
        with temporary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(temporary, folder / _DATA)
    finally:
        temporary.unlink(missing_ok=True)
    listed = {"sha256": sha256, "train_bytes": lengths[0], "files": _placed(files, lengths[0])}
    manifest = {"digest": _digest(listed), **listed}
    write_atomic(folder / _MANIFEST, json.dumps(manifest, indent=1).encode())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process makes the copy in this folder; ends with the process."""
    with (folder / _LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_by_files(
    parts: Sequence[Named], holdout: float, out: BinaryIO
) -> tuple[tuple[int, int], list[File]]:
    """Those to train on, then those held out. Returns: bytes of either, and the files in order."""
    hashed = [(part, _write(part, None)) for part in parts]
    hashed.sort(key=lambda pair: _share(pair[1].sha256) < holdout)  # stable: order within a side
    files = []
    for part, before in hashed:
        after = _write(part, out)
        if after != before:
            raise StateError(f"{part.name} changed while the corpus was read; start again")
        files.append(after)
    held = sum(file.size_bytes for file in files if _share(file.sha256) < holdout)
    return (sum(file.size_bytes for file in files) - held, held), files


def _share(sha256: str) -> float:
    """The hash as a number in [0, 1), uniform over files."""
    return int(sha256[:13], 16) / 2**52  # 13 digits of 4 bits: exact in a float


def _tail(total: int, holdout: float) -> tuple[int, int]:
    held = round(total * holdout)
    return total - held, held


def _write(part: Named, out: BinaryIO | None) -> File:
    """Read a file, and append it to `out` where one is given."""
    digest, size = hashlib.sha256(), 0
    for chunk in part.chunks():
        digest.update(chunk)
        size += len(chunk)
        if out is not None:
            out.write(chunk)
    return File(part.name, size, digest.hexdigest(), "both")


def _check_lengths(lengths: tuple[int, int], split: Split, holdout: float) -> None:
    if min(lengths) == 0:
        way_out = "; split = 'tail' takes the last bytes" if split == "files" else ""
        raise ConfigurationError(
            f"DataSettings(holdout=...) must leave bytes on both sides; {holdout:g} of this corpus "
            f"by {split} gives {lengths[0]} to train on and {lengths[1]} held out{way_out}"
        )


def _placed(files: Sequence[File], boundary: int) -> list[File]:
    """The files with the part in which each lies."""
    placed, start = [], 0
    for file in files:
        end = start + file.size_bytes
        part: Part = "train" if end <= boundary else "valid" if start >= boundary else "both"
        placed.append(file._replace(part=part))
        start = end
    return placed


def _digest(listed: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()

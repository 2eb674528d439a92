"""Snapshots: arrays and JSON data in one checksummed NPZ file each, written atomically.

A file is an uncompressed NPZ (numpy opens it as it is) followed by 8 hexadecimal digits, the
CRC-32 of all bytes before. It is a cache: whoever finds it invalid replays more of the log instead.
A run keeps its newest two, each named by the number of records that it stands for and sealed with
the checksum of the last of them, so that it is never taken for the state of another log.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir.files import FOLDER_MODE, cannot_write, read_file, write_atomic

Arrays = dict[str, NDArray[Any]]

KEPT = 2
SIZE_LIMIT = 1 << 35  # bytes
_DIGITS = 8
_META = "meta"  # the entry with the JSON data; those with arrays start with _PREFIX
_PREFIX = "array."
_NAME = re.compile(r"([0-9]{10})\.npz")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A valid snapshot of the log that it was asked for.

    Attributes:
        arrays: as they were given.
        meta: as it was given.
        sequence: how many records it stands for: the replay goes on with record `sequence`.
    """

    arrays: Arrays
    meta: Any
    sequence: int


def save(path: Path, arrays: Mapping[str, NDArray[Any]], meta: Any) -> None:
    """Write a snapshot file; whatever was at `path` stays until the new one is safe on disk.

    Args:
        path: ends in .npz.
        arrays: name -> array of any dtype without Python objects; C or F order is kept.
        meta: JSON values, numbers finite.

    Raises:
        ConfigurationError: an array holds Python objects.
        StateError: the file system refused.
    """
    for name, values in arrays.items():
        if values.dtype.hasobject:
            raise ConfigurationError(f"save(arrays={{{name!r}: ...}}) must hold no Python objects")
    text = json.dumps(meta, allow_nan=False, separators=(",", ":")).encode()
    entries: Arrays = {_META: np.frombuffer(text, np.uint8)}
    entries |= {_PREFIX + name: values for name, values in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **entries)  # type: ignore[arg-type]
    checksum = zlib.crc32(buffer.getbuffer())
    buffer.write(b"%08x" % checksum)
    write_atomic(path, buffer.getbuffer())


def load(path: Path) -> tuple[Arrays, Any]:
    """Read a snapshot file. Returns: the arrays by name, and the JSON data.

    Raises:
        StateError: it is missing, unreadable, damaged in any bit, or was not made by `save`.
    """
    data = read_file(path, SIZE_LIMIT)
    if data[-_DIGITS:] != b"%08x" % zlib.crc32(memoryview(data)[:-_DIGITS]):
        raise StateError(f"{path} is damaged: its checksum does not match")
    try:
        _refuse_bomb(data)
        with np.load(io.BytesIO(data), allow_pickle=False) as entries:
            meta = json.loads(entries[_META].tobytes())
            arrays = {n.removeprefix(_PREFIX): entries[n] for n in entries if n != _META}
    except Exception as error:  # a forged file can make the readers of zip and NPY raise anything
        raise StateError(f"{path} is not a snapshot: {error}") from error
    return arrays, meta


def save_for_log(
    folder: Path, crcs: Sequence[int], arrays: Mapping[str, NDArray[Any]], meta: Any
) -> None:
    """Write the snapshot of a log whose records have the checksums `crcs`; remove outdated ones."""
    count = len(crcs)
    try:
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        save(path_of(folder, count), arrays, {"k": count, "crc": f"{crcs[-1]:08x}", "meta": meta})
        kept = {path_of(folder, k) for k in sequences(folder, crcs)[:KEPT]}
        for file in folder.iterdir():
            if file not in kept:
                file.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error


def load_for_log(folder: Path, sequence: int, crcs: Sequence[int]) -> Snapshot:
    """Read one snapshot. Raises: StateError, also where it belongs to another log than `crcs`."""
    path = path_of(folder, sequence)
    arrays, sealed = load(path)
    seal = {"k": sequence, "crc": f"{crcs[sequence - 1]:08x}"}
    if not isinstance(sealed, dict) or {key: sealed.get(key) for key in seal} != seal:
        raise StateError(f"{path} belongs to another log")
    return Snapshot(arrays, sealed.get("meta"), sequence)


def latest_for_log(folder: Path, crcs: Sequence[int]) -> Snapshot | None:
    """The newest valid snapshot of the log with the checksums `crcs`; None if there is none."""
    for sequence in sequences(folder, crcs):
        try:
            return load_for_log(folder, sequence, crcs)
        except StateError:
            continue
    return None


def sequences(folder: Path, crcs: Sequence[int]) -> list[int]:
    """Record numbers in the names of the snapshots, newest first, none ahead of the log."""
    if not folder.is_dir():
        return []
    found = (sequence_of(file) for file in folder.iterdir())
    return sorted((k for k in found if k and k <= len(crcs)), reverse=True)


def sequence_of(path: Path) -> int | None:
    """The record number in the name of a snapshot; None for a file of another name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def path_of(folder: Path, sequence: int) -> Path:
    """Where the snapshot after `sequence` records lies."""
    return folder / f"{sequence:010d}.npz"


def _refuse_bomb(data: bytes) -> None:
    """Refuse, before any entry is read, an archive that could unpack to more than its own size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it has compressed entries")
    if sum(entry.file_size for entry in entries) > len(data):
        raise ValueError("its entries claim more bytes than it has")

"""Looking over a run directory without changing it, and saving what a damaged one still holds."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir import header, snapshot
from evoopt.rundir.directory import LOG, SNAPSHOTS, RunDirectory, open_log
from evoopt.rundir.files import (
    FOLDER_MODE,
    JSON_LIMIT,
    make_folder,
    read_file,
    write_atomic,
)
from evoopt.rundir.records import LogReader


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found. Offsets and sizes in bytes.

    Attributes:
        path: the run directory.
        records: valid records, counted from the start up to the first damage.
        kinds: record type -> how many of them.
        evaluations: the last "evaluations" field in a record; None if no record has one.
        size: of the log file.
        valid: where the valid records end.
        torn: bytes after `valid` that a crash left; the next `open` cuts them off.
        damage: what is wrong at `valid`; empty if nothing is.
        snapshots: file name -> what is wrong with it; empty if it can be used.
        manifest: what is wrong with the manifest or the header; empty if nothing is.
    """

    path: str
    records: int
    kinds: Mapping[str, int]
    evaluations: int | None
    size: int
    valid: int
    torn: int
    damage: str
    snapshots: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""

    @property
    def is_sound(self) -> bool:
        """Every record and the manifest are as they were written; a torn tail is no damage."""
        return not (self.damage or self.manifest)


def verify(path: str | os.PathLike[str]) -> Report:
    """Check the log, the manifest and the snapshots of a run, also while it is being written.

    Raises:
        StateError: there is no log to check.
    """
    folder = Path(path)
    kinds: Counter[str] = Counter()
    first, evaluations, damage = None, None, ""
    with os.fdopen(open_log(folder, os.O_RDONLY), "rb") as file:
        reader = LogReader(file, folder / LOG)
        try:
            for record in reader.records():
                first = first or record
                kinds[record["t"]] += 1
                evaluations = record.get("evaluations", evaluations)
        except StateError as error:
            damage = str(error)
        size = os.fstat(file.fileno()).st_size
    return Report(
        path=str(folder),
        records=kinds.total(),
        kinds=dict(kinds),
        evaluations=evaluations,
        size=size,
        valid=reader.end,
        torn=reader.torn,
        damage=damage,
        snapshots=_snapshot_faults(folder, reader.crcs),
        manifest=_manifest_fault(folder, first),
    )


def repair(
    path: str | os.PathLike[str], into: str | os.PathLike[str], *, to_record: int | None = None
) -> RunDirectory:
    """Copy the valid start of a run into a new folder, where the run can be resumed.

    The damaged run is left as it is. Snapshots that belong to the copy come along; the result does
    not, since it may speak of records that were lost.

    Args:
        path: the damaged run.
        into: a folder that does not exist or is empty.
        to_record: the last record to keep; all valid ones if None.

    Returns:
        The copy, open for writing; its last record, of type "note", says where it comes from.

    Raises:
        ConfigurationError: `to_record` is not one of the valid records, or `into` is no name.
        StateError: the manifest is not the one of this log, or `into` is in use.
    """
    source, target = Path(path), Path(into)
    text, crcs = _valid_start(source, to_record)
    make_folder(target)
    (target / SNAPSHOTS).mkdir(FOLDER_MODE)
    for sequence in snapshot.sequences(source / SNAPSHOTS, crcs):
        if not _fault(source / SNAPSHOTS, sequence, crcs):
            copied = snapshot.path_of(source / SNAPSHOTS, sequence)
            write_atomic(target / SNAPSHOTS / copied.name, read_file(copied, snapshot.SIZE_LIMIT))
    write_atomic(target / header.MANIFEST, read_file(source / header.MANIFEST, JSON_LIMIT))
    write_atomic(target / LOG, text)  # last: without it there is no run
    copy = RunDirectory.open(target)
    copy.append("note", {"note": "copied", "source": str(source), "records_kept": len(crcs)})
    copy.sync()
    return copy


def _valid_start(source: Path, to_record: int | None) -> tuple[bytes, array[int]]:
    """The bytes of the records up to `to_record`, and their checksums."""
    with os.fdopen(open_log(source, os.O_RDONLY), "rb") as file:
        reader = LogReader(file, source / LOG)
        records = reader.records()
        header.load_manifest(source, next(records, None))
        try:
            while len(reader.crcs) - 1 != to_record and next(records, None):
                pass
        except StateError:  # the damage for which the copy is made
            pass
        if to_record is not None and to_record != len(reader.crcs) - 1:
            raise ConfigurationError(
                f"repair(to_record=...) must be one of the valid records 0 to "
                f"{len(reader.crcs) - 1}; got {to_record}"
            )
        file.seek(0)
        text = file.read(reader.end)
    return text if text.endswith(b"\n") else text + b"\n", reader.crcs


def _manifest_fault(folder: Path, first: dict[str, object] | None) -> str:
    try:
        header.load_manifest(folder, first)
    except StateError as error:
        return str(error)
    return ""


def _snapshot_faults(folder: Path, crcs: array[int]) -> dict[str, str]:
    """File name -> what is wrong with it, for all files among the snapshots."""
    faults = {}
    for file in sorted((folder / SNAPSHOTS).glob("*")):
        sequence = snapshot.sequence_of(file)
        if sequence is None:
            faults[file.name] = "it is no snapshot"
        elif not 0 < sequence <= len(crcs):
            faults[file.name] = f"it is ahead of the log, which has {len(crcs)} valid records"
        else:
            faults[file.name] = _fault(folder / SNAPSHOTS, sequence, crcs)
    return faults


def _fault(folder: Path, sequence: int, crcs: array[int]) -> str:
    try:
        snapshot.load_for_log(folder, sequence, crcs)
    except StateError as error:
        return str(error)
    return ""

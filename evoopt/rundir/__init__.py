"""The run directory: a checksummed append-only log, snapshots that shorten its replay, a result."""

from evoopt.rundir.audit import Report, repair, verify
from evoopt.rundir.codec import pack, unpack
from evoopt.rundir.directory import RunDirectory, has_begun
from evoopt.rundir.header import FORMAT_VERSION
from evoopt.rundir.records import Record
from evoopt.rundir.snapshot import Snapshot
from evoopt.rundir.values import decode_values, encode_values

__all__ = [
    "FORMAT_VERSION",
    "Record",
    "Report",
    "RunDirectory",
    "Snapshot",
    "decode_values",
    "encode_values",
    "has_begun",
    "pack",
    "repair",
    "unpack",
    "verify",
]

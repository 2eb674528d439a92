"""The header of the log, which ties it to the manifest of the run.

It keeps its form in all format versions, so that any version can name the one it cannot
read: `{"k":0,"p":"00000000","t":"header","format_version":1,"manifest_sha256":"..."}`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from evoopt.errors import StateError
from evoopt.rundir.files import JSON_LIMIT, from_json, read_file

MANIFEST = "manifest.json"
FORMAT_VERSION = 1


def fields(manifest: bytes) -> dict[str, Any]:
    """What the header record says of a manifest file with these bytes."""
    return {
        "format_version": FORMAT_VERSION,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }


def load_manifest(folder: Path, record: dict[str, Any] | None) -> dict[str, Any]:
    """The manifest of a run directory, if it is the one that the log was started with.

    Args:
        folder: the run directory.
        record: the first record of its log; None if there is none.

    Raises:
        StateError: no header, a newer format, or a manifest that is missing or not the same.
    """
    if record is None or record["t"] != "header":
        raise StateError(
            f"{folder} has no record of a run, which ended before its first evaluation; remove it "
            f"and start again"
        )
    version = record.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StateError(
            f"{folder} has the format version {version}; this evoopt reads up to {FORMAT_VERSION}: "
            f"install a newer one"
        )
    path = folder / MANIFEST
    text = read_file(path, JSON_LIMIT)
    if hashlib.sha256(text).hexdigest() != record.get("manifest_sha256"):
        raise StateError(
            f"{path} does not match the log header: it was changed after the run had started; put "
            f"the original back"
        )
    return from_json(path, text)

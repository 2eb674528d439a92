"""The files of a suite run that tables and pictures are made from.

OUT/manifest.json                      what was asked for
OUT/problems/bbob_f008_i01_d10/        one problem: evoopt's own run directory, and
    trace.json                         its improvements; there once the problem is done
    coco/                              its part of COCO's data
OUT/coco/<algorithm>/                  the parts merged: what cocopp reads
OUT/table.json, OUT/ecdf.svg           what it came to
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evoopt.errors import StateError
from evoopt_bench.suites import ProblemId, Selection, select
from evoopt_bench.targets import Run

SCHEMA = 1
MANIFEST = "manifest.json"
TRACE = "trace.json"
PART = "coco"


@dataclass(frozen=True, slots=True)
class SuiteManifest:
    """What a suite run was asked to do; a resumed run does the same.

    Attributes:
        selection: the problems.
        label: the name of the algorithm in COCO's files, tables and pictures.
        seed: from which each problem derives its own.
        settings: how each problem is searched: fields of `evoopt.plan.Settings`.
        versions: of evoopt, cocoex, numpy and Python at the start.
    """

    selection: Selection
    label: str
    seed: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a suite run is.

    Attributes:
        done: problems that are done, those of earlier processes included.
        total: all problems.
        solved: problems done whose last target was reached.
        evaluations: spent on the problems that are done.
        last: the problem that was done last; None at the start.
    """

    done: int
    total: int
    solved: int
    evaluations: int
    last: str | None


def write_json(path: Path, data: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write a document under a temporary name and rename it: it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=indent, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a document of the schema that this version writes.

    Raises:
        StateError: it is not there, not JSON, or of another schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StateError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise StateError(f"{path} must have schema {SCHEMA}; it was written by another version")
    return data


def write_manifest(out: Path, manifest: SuiteManifest) -> None:
    """Write OUT/manifest.json."""
    data = asdict(manifest) | {"selection": str(manifest.selection)}
    write_json(out / MANIFEST, {"schema": SCHEMA, "kind": "suite", **data})


def is_suite_run(out: Path) -> bool:
    """Whether the folder holds a suite run: its manifest says so."""
    try:
        return read_json(out / MANIFEST).get("kind") == "suite"
    except StateError:
        return False


def read_manifest(out: Path) -> SuiteManifest:
    """Read OUT/manifest.json.

    Raises:
        StateError: the folder holds no suite run.
    """
    data = read_json(out / MANIFEST)
    expected = {"schema", "kind", *(field.name for field in fields(SuiteManifest))}
    if data.get("kind") != "suite" or data.keys() != expected:
        raise StateError(f"{out} must be the folder of a suite run; its manifest says otherwise")
    return SuiteManifest(
        select(data["selection"]), data["label"], data["seed"], data["settings"], data["versions"]
    )


def problem_dir(out: Path, problem: ProblemId) -> Path:
    """Where a problem of a suite run has its run directory."""
    return out / "problems" / problem.name


def write_trace(directory: Path, run: Run) -> None:
    """Write the improvements of a run that is done."""
    data = asdict(run) | {"at": run.at.tolist(), "f": run.f.tolist()}
    write_json(directory / TRACE, {"schema": SCHEMA, **data}, indent=None)


def read_trace(directory: Path) -> Run:
    """Read what `write_trace` wrote, exactly.

    Raises:
        StateError: the problem is not done, or the file is damaged.
    """
    data = read_json(directory / TRACE)
    try:
        return Run(
            function=int(data["function"]),
            dim=int(data["dim"]),
            instance=int(data["instance"]),
            evaluations=int(data["evaluations"]),
            f_opt=float(data["f_opt"]),
            at=np.array(data["at"], dtype=np.int64),
            f=np.array(data["f"], dtype=np.float64),
            n_obj=int(data.get("n_obj", 1)),  # traces of before do not have it
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{directory / TRACE} is damaged: {error!r}") from error


def read_runs(out: Path) -> list[Run]:
    """The runs of a suite run on all problems that are done, in the suite's order."""
    directories = [problem_dir(out, p) for p in read_manifest(out).selection.problems()]
    return [read_trace(d) for d in directories if (d / TRACE).exists()]

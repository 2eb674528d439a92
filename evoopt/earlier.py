"""Evaluations of an earlier search: of a run directory, a .csv file or a .json file."""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, StateError
from evoopt.journal import resume, take, tell
from evoopt.observers.base import Observer
from evoopt.plan import Plan
from evoopt.problem import sign_of
from evoopt.result import Values
from evoopt.rundir import RunDirectory, decode_values, has_begun
from evoopt.runs import continued, fresh_search
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.space import Space
from evoopt.turns import Words, planned

Array = NDArray[np.float64]
Pairs = tuple[list[list[float]], list[Any]]


class Collector:
    """An observer that keeps every row."""

    wants_replay = True

    def __init__(self) -> None:
        self.X: list[Array] = []
        self.F: list[Array] = []

    def started(self, search: Search) -> None:
        """Nothing to do."""

    def told(self, search: Search, ids: NDArray[np.int64], X: Array, values: Values) -> None:
        """X: (k, dim), values: of these rows."""
        self.X.append(np.array(X))
        self.F.append(np.array(values.F))

    def finished(self, result: Any) -> None:
        """Nothing to do."""


def evaluations(place: str | os.PathLike[str], space: Space | None = None, n_obj: int = 1) -> Pairs:
    """All points and values of a run directory or a file: as lists, X (k, dim) and F (k,), or
    (k, n_obj) of several objectives, F in the user's sign.

    A .csv file has one evaluation a line, the coordinates and then the value or the values, and may
    have a line of names first; a .json file is {"X": [[...], ...], "F": [...]}.

    Args:
        place: of the run directory or the file.
        space: of the search that begins with them; a run must have had the same.
        n_obj: objectives of that search.

    Raises:
        ConfigurationError: it is none of these, or a run in another space.
        StateError: the run directory is damaged.
    """
    path = Path(place)
    if has_begun(path):
        return _of_run(path, space)
    readers: dict[str, Callable[[Path], Pairs]] = {
        ".csv": functools.partial(_of_csv, n_obj=n_obj),
        ".json": _of_json,
    }
    if path.suffix not in readers or not path.is_file():
        raise ConfigurationError(
            "minimize(warm_start=...) must be a run directory, or a .csv or .json file; "
            f"got '{path}'"
        )
    try:
        return readers[path.suffix](path)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"minimize(warm_start=...) must hold points and values; {path} cannot be read: {error}"
        ) from None


def _of_run(path: Path, space: Space | None) -> Pairs:
    """By replay: the log of a cheap objective does not hold the points."""
    collector = Collector()
    _, plan = replayed(path, space, collector)
    if not collector.X:
        return [], []
    F = np.concatenate(collector.F) * sign_of(plan.maximize)
    return np.concatenate(collector.X).tolist(), F.tolist()


def replayed(path: Path, space: Space | None, *observers: Observer) -> tuple[Search, Plan]:
    """The search of a run as its log leaves it, and its plan. observers: see all rows.

    Raises:
        ConfigurationError: the run is in another space.
        StateError: it is no run of one search, or damaged.
    """
    directory = RunDirectory.read(path)
    manifest = directory.manifest
    if manifest.get("kind") not in ("minimize", "ask"):
        raise StateError(f"{path} is no run of one search, and has no evaluations to begin from")
    there = manifest["problem"]
    if there.get("space") != (None if space is None else space.plain()):
        raise ConfigurationError(
            f"minimize(warm_start=...) must be a run in the same space; {path} has another"
        )
    lower, upper = decode_values(there["lower"]), decode_values(there["upper"])
    words = Words(lower, upper, Settings(**manifest["settings"]), space)
    plan = continued(directory, *planned(words, there["name"], there.get("objectives")))
    search = fresh_search(plan)
    pending = resume(directory, search, observers)
    if pending:  # evaluated before it was killed, not told
        ids = np.array(sorted(pending), dtype=np.int64)
        tell(search, ids, take(pending, ids), observers)
    return search, plan


def _of_csv(path: Path, n_obj: int) -> Pairs:
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        table = [[float(cell) for cell in row] for row in rows]
    except ValueError:
        table = [[float(cell) for cell in row] for row in rows[1:]]  # after a line of names
    X = [row[:-n_obj] for row in table]
    return X, [row[-1] if n_obj == 1 else row[-n_obj:] for row in table]


def _of_json(path: Path) -> Pairs:
    content = json.loads(path.read_text())
    return content["X"], content["F"]

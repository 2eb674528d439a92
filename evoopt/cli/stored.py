"""A run on disk as `show` and `status` tell of it, whether it ended, was killed, or goes on.

Where there is a result it is read. Else the log is summed up without replaying the search: its
records hold all values, but the points of cheap objectives only as a checksum; the best point then
comes from the newest snapshot, if that had seen it.
"""

from __future__ import annotations

import fcntl
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import StateError
from evoopt.plots.course import read_result
from evoopt.result import Result
from evoopt.rundir import Record, RunDirectory, decode_values, unpack
from evoopt.settings import Settings

Array = NDArray[np.float64]

FINISHED, RUNNING, STOPPED = "finished", "running", "stopped"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a run.

    Attributes:
        path: the run directory.
        manifest: as it was written.
        state: FINISHED, RUNNING (a process holds it), or STOPPED (interrupted or killed).
        result: of a finished run.
        tally: what the log says; None for a finished run.
    """

    path: Path
    manifest: dict[str, Any]
    state: str
    result: Result | None
    tally: Tally | None

    @property
    def evaluations(self) -> int:
        """How many evaluations were acknowledged."""
        return self.result.evaluations if self.result else self._tally.evaluations

    @property
    def f(self) -> float:
        """The best value, in the user's sign; NaN if there is none."""
        return self.result.f if self.result else self._tally.f

    @property
    def _tally(self) -> Tally:
        assert self.tally is not None, "a run without a result has a tally"
        return self.tally


@dataclass(slots=True)
class Tally:
    """The sum of a log.

    Attributes:
        evaluations: rows with a value, those not told yet included.
        f: the best value, in the user's sign; NaN if there is none.
        x: (dim,) its point, where it is stored.
        sigma, axis_ratio: of the last generation recorded; NaN if there is none.
        restarts: how many times the search was started again.
        failures: kind -> count. first_failure: kind and message of the first one.
        processes: how many processes worked at the run, one after another.
    """

    evaluations: int = 0
    f: float = math.nan
    x: Array | None = None
    sigma: float = math.nan
    axis_ratio: float = math.nan
    restarts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    first_failure: str = ""
    processes: int = 1


def read(path: Path) -> Stored:
    """A run of one search, also while another process writes it.

    Raises:
        StateError: no run is there, or it is damaged.
    """
    directory = RunDirectory.read(path)
    manifest = directory.manifest
    result = read_result(directory)
    if result is not None:
        return Stored(path, manifest, FINISHED, result, None)
    state = RUNNING if in_use(path / "log.jsonl") else STOPPED
    maximize = bool(manifest.get("settings", {}).get("maximize"))
    tally = summed(directory.records(), maximize)
    _find_point(directory, tally, -1.0 if maximize else 1.0)
    return Stored(path, manifest, state, None, tally)


def stored_settings(run: Path, manifest: dict[str, Any]) -> Settings:
    """The settings of a run.

    Raises:
        StateError: they hold words that this version does not know.
    """
    try:
        return Settings(**manifest["settings"])
    except (KeyError, TypeError) as error:
        raise StateError(f"{run} has settings that this evoopt cannot read: {error}") from error


def in_use(file: Path) -> bool:
    """Whether a process holds the lock of this file; asked by taking it for a moment."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StateError(f"{file} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def summed(records: Iterator[Record], maximize: bool) -> Tally:
    """The tally of a log."""
    tally, epoch = Tally(), 0
    best, sign = math.inf, -1.0 if maximize else 1.0
    for record in records:
        kind = record["t"]
        if kind in ("gen", "ask"):
            tally.restarts += record["e"] < epoch  # epochs start again with the search
            epoch = record["e"]
        if kind in ("gen", "eval"):
            F = decode_values(record["f"])
            tally.evaluations += len(F)
            for failed, message in record.get("s", {}).values():
                tally.failures[failed] += 1
                tally.first_failure = tally.first_failure or f"{failed}: {message}"
            F = np.where(np.isfinite(F), F, math.inf)
            i = int(F.argmin())
            if F[i] < best:
                best = float(F[i])
                tally.f = sign * best
                tally.x = decode_values(record["X"])[i] if "X" in record else None
        elif kind == "trace":
            tally.sigma = float(record["g"])
            axes = [float(a) for a in record["a"]]
            tally.axis_ratio = axes[-1] / axes[0] if axes[0] else math.inf
        elif kind == "open":
            tally.processes += 1
    return tally


def _find_point(directory: RunDirectory, tally: Tally, sign: float) -> None:
    """The best point from the newest snapshot, if it has the best value."""
    if tally.x is not None:
        return
    from evoopt.strategies.states import state_classes

    snapshot = directory.latest_snapshot()
    if snapshot is None:
        return
    search = unpack(snapshot.arrays, snapshot.meta["content"], state_classes())["search"]
    if search["best_x"] is not None and sign * search["best_f"] == tally.f:
        tally.x = search["best_x"]

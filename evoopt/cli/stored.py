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
from evoopt.found import Found
from evoopt.plots.course import read_result
from evoopt.problem import sign_of
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
        """The best value, in the user's sign, or the hypervolume of several objectives; NaN if
        there is none."""
        if self.result is None:
            return self._tally.f
        return self.result.f if self.result.front is None else self.result.hypervolume

    @property
    def front(self) -> Array | None:
        """(k, m) values of the front of several objectives, in the user's sign; else None."""
        if self.result is None:
            return self._tally.front
        return None if self.result.front is None else self.result.front_f

    @property
    def _tally(self) -> Tally:
        assert self.tally is not None, "a run without a result has a tally"
        return self.tally


@dataclass(slots=True)
class Tally:
    """The sum of a log.

    Attributes:
        evaluations: rows with a value, those not told yet included.
        f: the best value, in the user's sign, or the hypervolume of several objectives; NaN if
            there is none.
        x: (dim,) its point, where it is stored.
        front: (k, m) the front of several objectives, in the user's sign; else None.
        reference: (m,) of its hypervolume, or None.
        sigma, axis_ratio: of the last generation recorded; NaN if there is none.
        restarts: how many times the search was started again.
        failures: kind -> count. first_failure: kind and message of the first one.
        processes: how many processes worked at the run, one after another.
    """

    evaluations: int = 0
    f: float = math.nan
    x: Array | None = None
    front: Array | None = None
    reference: Array | None = None
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
    settings = manifest.get("settings", {})
    sign = sign_of(settings.get("maximize") or False)
    if manifest.get("problem", {}).get("objectives", 1) > 1:
        best: Best = BestFront(sign, settings.get("reference"))
        if settings.get("warm_start") is not None:  # known before the search began
            best.add(sign * np.array(settings["warm_start"][1], dtype=np.float64), {})
    else:
        best = BestValue(sign)
    tally = summed(directory.records(), best)
    if tally.front is None:
        _find_point(directory, tally, sign)
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


class BestValue:
    """The best of one objective."""

    def __init__(self, sign: float) -> None:
        """sign: of the user's values against those of the log."""
        self._sign = sign
        self._f = math.inf
        self._x: Array | None = None

    def add(self, F: Array, record: Record) -> None:
        """Values of a record. F: (k,)."""
        F = np.where(np.isfinite(F), F, math.inf)
        i = int(F.argmin())
        if F[i] < self._f:
            self._f = float(F[i])
            self._x = decode_values(record["X"])[i] if "X" in record else None

    def into(self, tally: Tally) -> None:
        """Says what was found."""
        if self._f < math.inf:
            tally.f, tally.x = self._sign * self._f, self._x


class BestFront:
    """The front of several objectives."""

    def __init__(self, sign: float | Array, reference: Any) -> None:
        """sign: as in `BestValue`, or (m,). reference: in the user's sign, or None."""
        self._sign = sign
        self._reference = reference
        self._found: Found | None = None

    def add(self, F: Array, record: Record) -> None:
        """Values of a record. F: (k, m)."""
        self._found = self._found or Found(F.shape[1], None, watched=False)
        self._found.add(np.empty((len(F), 0)), F, 0, counted=True)

    def into(self, tally: Tally) -> None:
        """Says what was found."""
        if not self._found:
            tally.front = np.empty((0, 0))
            return
        worst = self._sign * self._found.worst
        tally.reference = worst if self._reference is None else np.array(self._reference)
        tally.front = self._sign * self._found.archive.F
        tally.f = self._found.archive.hypervolume_for(self._sign * tally.reference)


Best = BestValue | BestFront


def summed(records: Iterator[Record], best: Best) -> Tally:
    """The tally of a log. best: sees all values."""
    tally, epoch = Tally(), 0
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
            best.add(F, record)
        elif kind == "trace":
            tally.sigma = float(record["g"])
            axes = [float(a) for a in record["a"]]
            tally.axis_ratio = axes[-1] / axes[0] if axes[0] else math.inf
        elif kind == "open":
            tally.processes += 1
    best.into(tally)
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

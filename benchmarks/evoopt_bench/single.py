"""One problem of a suite: searched, its improvements kept, its points handed to COCO's logger."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.api import solve
from evoopt.errors import StateError
from evoopt.result import Array, Result, Values
from evoopt.rundir import has_begun
from evoopt.rundir.directory import RESULT
from evoopt.settings import Settings
from evoopt_bench.coco_data import CocoRecorder
from evoopt_bench.records import PART, write_trace
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import Run


def run_problem(
    problem: ProblemId, settings: Settings, directory: Path, *, label: str, info: str = ""
) -> tuple[Result, Run]:
    """Search one problem in its run directory, or go on there; then write trace and COCO part.

    Args:
        problem: which.
        settings: see `problem_settings`.
        directory: evoopt's run directory of the problem.
        label: the algorithm's name in COCO's files.
        info: one line for COCO's files.

    Raises:
        Interrupted: a signal came; what was evaluated is in the log.
    """
    coco = CocoProblem(problem)
    if not has_begun(directory):  # killed while it was made: there is nothing to go on with
        shutil.rmtree(directory, ignore_errors=True)
    # without a trace the points are wanted once more: the log has them, the result would hide them
    (directory / RESULT).unlink(missing_ok=True)
    watcher = _Watcher(coco, directory / PART, label, info)
    try:
        result = solve(coco, settings, run_dir=directory, observers=(watcher,))
        run = watcher.complete()
    except BaseException:
        watcher.discard()
        raise
    write_trace(directory, run)  # last: it says that the problem is done
    return result, run


def problem_settings(settings: Settings, problem: ProblemId, seed: int) -> Settings:
    """The settings for a problem: it decides on seed, target, start and bounds.

    Args:
        settings: algorithm, budget ("100D" counts in dimensions), sigma0, popsize, restarts, ...
        problem: which.
        seed: of all problems; each derives its own.
    """
    coco = CocoProblem(problem)
    return replace(
        settings,
        seed=problem_seed(seed, problem),
        target=coco.target if coco.n_obj == 1 else None,
        sigma0=coco.sigma0 if settings.sigma0 is None else settings.sigma0,
        x0=None if coco.start is None else coco.start.tolist(),
        start_lower=coco.start_lower.tolist(),
        start_upper=coco.start_upper.tolist(),
        # random search has nothing but the box to draw from
        ignore_bounds=not coco.bounds_apply and settings.algorithm != "random",
        workers=1,
        vectorized=True,  # one call of C code for all rows of a generation
    )


def problem_seed(seed: int, problem: ProblemId) -> int:
    """The seed in [0, 2**32) of a problem: a hash of the run's seed and the problem's name."""
    digest = hashlib.blake2b(f"{seed}|{problem.name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


class _Watcher:
    """An observer that collects improvements and feeds cocoex's logger.

    It wants all rows, those of an earlier process too: COCO's files are made of the whole log.
    """

    wants_replay = True

    def __init__(self, problem: CocoProblem, part: Path, label: str, info: str) -> None:
        self._problem = problem
        self._arguments = (part, label, info)
        self._course = problem.course()
        self._recorder: CocoRecorder | None = None

    def started(self, search: Any) -> None:
        """Nothing: rows of an earlier process may have been told before."""

    def told(self, search: Any, ids: NDArray[np.int64], X: Array, values: Values) -> None:
        """Take the rows, be they evaluated now or replayed from the log."""
        if self._recorder is None:  # not earlier: the run directory must be empty when it is made
            self._recorder = CocoRecorder(self._problem.id, *self._arguments)
        self._recorder.record(X)
        self._course.add(self._problem.judged(X, values.F))

    def finished(self, result: Result) -> None:
        """Nothing: `complete` follows."""

    def complete(self) -> Run:
        """Complete COCO's files, and give the run."""
        if self._recorder is None:
            raise StateError(f"{self._arguments[0].parent}: no evaluation was told")
        self._recorder.close()
        return self._problem.run(self._course)

    def discard(self) -> None:
        """Drop COCO's files of a run that is not done; they are made anew from its log."""
        if self._recorder is not None:
            self._recorder.discard()

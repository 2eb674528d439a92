"""The course of a stored run, as pictures need it: of one that ended, was killed, or goes on."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import StateError
from evoopt.journal import traces
from evoopt.result import History, Result
from evoopt.rundir import RunDirectory
from evoopt.storage import loaded

Array = NDArray[np.float64]

# problems of COCO's suites have the target f_opt + 1e-8; so f_opt need not be stored with them
_COCO = re.compile(r"bbob[a-z-]*_f\d+_i\d+_d\d+")
COCO_PRECISION = 1e-8


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went.

    Attributes:
        name: of the folder.
        problem: what was searched, in words.
        label: what ran, in words.
        history: its rows; see `evoopt.result.History`.
        restarts: (s,) evaluations told when the search was started again.
        target: the value that was asked for, in the user's sign; NaN if none was.
        f_opt: the optimal value where it is known, else NaN.
        maximize: values are to be large.
        finished: there is a result.
        n_obj: number of objectives; of several the history holds the hypervolume.
    """

    name: str
    problem: str
    label: str
    history: History
    restarts: NDArray[np.int64]
    target: float
    f_opt: float
    maximize: bool
    finished: bool
    n_obj: int = 1


def read_course(path: Path) -> Course:
    """The course of the run in a folder, also while another process writes it.

    Raises:
        StateError: no run is there, it is damaged, or no generation is complete yet.
    """
    directory = RunDirectory.read(path)
    manifest = directory.manifest
    settings: dict[str, Any] = manifest.get("settings", {})
    problem = manifest.get("problem", {})
    # a hypervolume, which stands in the log with a minus, is to be large
    maximize = bool(settings.get("maximize")) or problem.get("objectives", 1) > 1
    result = read_result(directory)
    sign = -1.0 if maximize else 1.0
    history = _traced(directory, sign) if result is None else result.history
    if not len(history):
        raise StateError(f"{path} has no complete generation yet: there is nothing to draw")
    target = settings.get("target")
    target = math.nan if target is None else float(target)
    is_coco = _COCO.fullmatch(str(problem.get("name"))) is not None
    return Course(
        name=path.resolve().name,
        problem=f"{problem.get('name')}, {problem.get('dim')}-D",
        label=str(manifest.get("label", "")),
        history=history,
        restarts=_restarts(directory),
        target=target,
        f_opt=target - COCO_PRECISION if is_coco else math.nan,
        maximize=maximize,
        finished=result is not None,
        n_obj=problem.get("objectives", 1),
    )


def read_result(directory: RunDirectory) -> Result | None:
    """The result of a run that has ended.

    Raises:
        StateError: another version wrote it.
    """
    stored = directory.result()
    try:
        return None if stored is None else loaded(stored, str(directory.path))
    except (KeyError, TypeError) as error:
        raise StateError(
            f"{directory.path}/result.json cannot be read: {error!r}; another evoopt wrote it"
        ) from error


def _traced(directory: RunDirectory, sign: float) -> History:
    """The history that stands in the log."""
    rows = list(traces(directory.records()))
    if not rows:
        return History(*(np.empty((0, 1)) for _ in range(4)))  # type: ignore[arg-type]  # empty
    evaluations, f, sigma, axes = zip(*rows, strict=True)
    return History(np.array(evaluations), sign * np.array(f), np.array(sigma), np.array(axes))


def _restarts(directory: RunDirectory) -> NDArray[np.int64]:
    """Candidates asked before each restart: there the epochs begin again with 0."""
    found, epoch = [], 0
    for record in directory.records():
        if record["t"] in ("gen", "ask"):
            if record["e"] < epoch:
                found.append(record["i"])
            epoch = record["e"]
    return np.array(found, dtype=np.int64)

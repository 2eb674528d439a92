"""What stored runs with several objectives have evaluated, as pictures need it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt import hypervolume
from evoopt.archive import Archive
from evoopt.errors import ConfigurationError, StateError
from evoopt.plots.course import Course
from evoopt.problem import sign_of
from evoopt.rundir import RunDirectory, decode_values

Array = NDArray[np.float64]

_MOST_VOLUMES = 100  # of three objectives and more, each computed anew


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """All values of a run.

    Attributes:
        name: of the folder.
        problem: what was searched, in words.
        label: what ran, in words.
        F: (N, m) values as minimised, in the order in which they came; NaN where they failed.
        known: of them the first were known before the search began.
        maximize: (m,) the user's objectives are these with the other sign.
        reference: (m,) that the user gave, as minimised, or None.
    """

    name: str
    problem: str
    label: str
    F: Array
    known: int
    maximize: tuple[bool, ...]
    reference: Array | None

    @property
    def evaluations(self) -> int:
        """How many there were."""
        return len(self.F) - self.known

    def front(self, evaluations: int | None = None) -> Array:
        """(k, m) what no other value dominates, by the first objective, as minimised.

        evaluations: after so many; default: all.
        """
        F = self.F if evaluations is None else self.F[: self.known + evaluations]
        front = F[hypervolume.nondominated(F)]
        return front[np.lexsort(front.T[::-1])]

    def worst(self) -> Array:
        """(m,) worst value of each objective among all that were on the front at some time, as
        minimised: the reference of a result without one of the user's."""
        archive = Archive.empty(self.F.shape[1])
        entered = [archive.add(f, tag) is not None for tag, f in enumerate(self.F.tolist())]
        worst: Array = self.F[entered].max(axis=0)
        return worst

    def volumes(self, reference: Array) -> tuple[NDArray[np.int64], Array]:
        """(r,) evaluations from the first to the last, and (r,) the hypervolume after them, where
        it grew; of three objectives and more at up to `_MOST_VOLUMES` places.
        """
        archive = Archive.empty(self.F.shape[1], reference)
        spread = np.geomspace(1, max(1, self.evaluations), _MOST_VOLUMES).round()
        places = {1, self.evaluations, *(spread.astype(int).tolist() if len(reference) > 2 else ())}
        at: list[int] = []
        found: list[float] = []
        for tag, f in enumerate(self.F.tolist()):
            entered = archive.add(f, tag) is not None
            now = tag + 1 - self.known
            if now in places or (entered and now > 0 and len(reference) == 2):
                at.append(now)
                found.append(archive.hypervolume)
        return np.array(at, dtype=np.int64), np.array(found)

    def shown(self, F: Array) -> Array:
        """Values as minimised in the user's sign. F: (..., m)."""
        return F * np.where(self.maximize, -1.0, 1.0)


def read_told(path: Path) -> Told:
    """The values of the run in a folder, also while another process writes it.

    Raises:
        ConfigurationError: it has one objective.
        StateError: no run is there, it is damaged, or no evaluation has succeeded yet.
    """
    directory = RunDirectory.read(path)
    settings: dict[str, Any] = directory.manifest.get("settings", {})
    problem = directory.manifest.get("problem", {})
    m = problem.get("objectives", 1)
    if m == 1:
        raise ConfigurationError(
            f"plot(runs=...) must be runs with several objectives; {path} has one: draw anytime"
        )
    flag = settings.get("maximize") or False
    maximize = tuple(flag) if isinstance(flag, list) else (flag,) * m
    sign = sign_of(maximize)
    warm, given = settings.get("warm_start"), settings.get("reference")
    known = np.empty((0, m)) if warm is None else np.asarray(warm[1], dtype=np.float64) * sign
    F = np.concatenate([known.reshape(-1, m), *_values(directory, m)])
    if not np.isfinite(F).all(axis=1).any():
        raise StateError(f"{path} has no evaluation that succeeded yet: there is nothing to draw")
    return Told(
        name=path.resolve().name,
        problem=f"{problem.get('name')}, {problem.get('dim')}-D",
        label=str(directory.manifest.get("label", "")),
        F=F,
        known=len(known),
        maximize=maximize,
        reference=None if given is None else np.asarray(given, dtype=np.float64) * sign,
    )


def _values(directory: RunDirectory, m: int) -> Iterator[Array]:
    """Blocks (k, m), as minimised, in the order in which they were told; at last those that were
    not told yet."""
    waiting: dict[int, Array] = {}
    for record in directory.records():
        if record["t"] == "gen":
            yield decode_values(record["f"]).reshape(-1, m)
        elif record["t"] == "eval":
            waiting.update(zip(record["i"], decode_values(record["f"]).reshape(-1, m), strict=True))
        elif record["t"] == "tell":
            yield np.array([waiting.pop(i) for i in record["i"]]).reshape(-1, m)
    yield np.array(list(waiting.values())).reshape(-1, m)


def read_comparable(runs: Sequence[Path | str], kind: str) -> list[Told]:
    """Several runs on one problem.

    Raises:
        ConfigurationError: none, or on several problems, or in several senses.
    """
    told = [read_told(Path(run)) for run in runs]
    if not told:
        raise ConfigurationError(f"{kind}(runs=...) must be at least one run; got none")
    for each in told[1:]:
        if (each.problem, each.maximize) != (told[0].problem, told[0].maximize):
            raise ConfigurationError(
                f"{kind}(runs=...) must be runs on one problem; got {told[0].problem} in "
                f"{told[0].name} and {each.problem} in {each.name}"
            )
    return told


def common_reference(told: Sequence[Told]) -> tuple[Array, bool]:
    """(m,) the reference point of the runs, as minimised, and whether it is the users': where all
    of them were given the same one. Else it is the worst that was on one of their fronts."""
    first = told[0].reference
    if first is not None and all(
        each.reference is not None and (each.reference == first).all() for each in told
    ):
        return first, True
    return np.max([each.worst() for each in told], axis=0), False


def with_one_reference(courses: Sequence[Course], told: Sequence[Told]) -> list[Course]:
    """The courses of these runs, their hypervolumes counted from a common reference point."""
    reference, _ = common_reference(told)
    return [_counted_from(reference, *pair) for pair in zip(courses, told, strict=True)]


def _counted_from(reference: Array, course: Course, told: Told) -> Course:
    at, volumes = told.volumes(reference)
    last = np.searchsorted(at, course.history.evaluations, side="right") - 1
    return replace(course, history=replace(course.history, f=volumes[np.maximum(last, 0)]))


def names_of(told: Sequence[Told]) -> list[str]:
    """The shortest that tells runs apart: what ran, or the folders."""
    labels = [each.label for each in told]
    return labels if len(set(labels)) == len(labels) else [each.name for each in told]


def reference_in_words(told: Sequence[Told]) -> str:
    """The reference point in the user's sign, and where it comes from."""
    reference, is_given = common_reference(told)
    point = ", ".join(f"{r:.4g}" for r in told[0].shown(reference))
    return f"reference ({point}), {'as given' if is_given else 'the worst ever on a front'}"

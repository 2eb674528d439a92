"""What comes out: values of evaluations, the reason of a stop, the result of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt.front import Front

Array = NDArray[np.float64]

# How an evaluation can fail. These rank last and are counted:
NAN = "nan"  # returned NaN
POSINF = "posinf"  # returned +inf, or a number above the range of float64
NEGINF = "neginf"  # returned -inf: never taken as an optimum
RAISED = "raised"  # raised an exception
TIMEOUT = "timeout"  # did not end within `eval_timeout`
KILLED = "killed"  # its worker process died
# These end the search, once what was paid for is kept:
INVALID = "invalid"  # returned no real number: None, text, complex, a wrong shape
INTERRUPTED = "interrupted"  # KeyboardInterrupt during the evaluation: it counts as not done


@dataclass(frozen=True, slots=True)
class Failure:
    """How one evaluation failed.

    Attributes:
        kind: as above.
        message: one line that says what came.
        numbers: how many real numbers came, where another count of them was expected; else 0.
    """

    kind: str
    message: str
    numbers: int = 0


@dataclass(frozen=True, slots=True)
class Values:
    """Objective values of k points, row by row.

    Attributes:
        F: (k,) objective values, or (k, n_obj); NaN where the evaluation failed.
        G: (k, n_con) constraint values, feasible where <= 0; None without constraints.
        failures: row -> Failure for the rows that failed; a row without one has a finite F.
    """

    F: Array
    G: Array | None = None
    failures: Mapping[int, Failure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a search ended: the criterion, what was measured, the bar, and what to change.

    Attributes:
        criterion: the field's name of the criterion: "ftarget", "tolfun", "maxfevals", ...
        value: the measured quantity when it fired.
        threshold: the bar that it passed.
        message: one sentence that says what happened.
        advice: what to change if the stop came too early; empty where nothing is to be done.
        converged: True where the criterion says that the search has settled on a point.
    """

    criterion: str
    value: float
    threshold: float
    message: str
    advice: str = ""
    converged: bool = False

    def __str__(self) -> str:
        text = f"{self.criterion}: {self.message} ({self.value:.6g}, limit {self.threshold:.6g})"
        return f"{text}; {self.advice}" if self.advice else text


@dataclass(frozen=True, slots=True)
class History:
    """The course of a search, one row per record (thinned on long runs, the last always kept).

    Attributes:
        evaluations: (r,) evaluations told so far.
        f: (r,) best objective value so far, in the user's sign. With several objectives the
            hypervolume so far, for the reference of the result; of three and more NaN in all but a
            hundred rows.
        sigma: (r,) step size; NaN for strategies without one.
        axes: (r, a) lengths of the principal axes of the distribution in units of sigma, ascending;
            a = min(dim, 16), evenly chosen by rank; NaN for strategies without them.
    """

    evaluations: NDArray[np.int64]
    f: Array
    sigma: Array
    axes: Array

    def __len__(self) -> int:
        return len(self.f)

    @property
    def axis_ratio(self) -> Array:
        """(r,) longest over shortest axis: the root of the covariance's condition number."""
        ratio: Array = self.axes[:, -1] / self.axes[:, 0]
        return ratio


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found, how much it spent, and why it stopped.

    Attributes:
        x: (dim,) the best point evaluated, or the knee of the front of several objectives; None if
            no evaluation succeeded.
        f: its objective value, or (m,) its values, in the user's sign; NaN if no evaluation
            succeeded.
        point: the values of named parameters that x stands for; None without a `Space`.
        mean: (dim,) the centre of the final search distribution (often better than `x` on a noisy
            objective; it was not evaluated).
        sigma: the final step size; NaN for strategies without one.
        evaluations: how many evaluations of the objective were told, failures included.
        generations: how many updates of the distribution.
        reason: why it stopped.
        success: the target was reached; where none was given, a run converged on a finite value.
        seed: reproduces the run.
        algorithm: what ran, in words: "cma-es with BIPOP restarts".
        history: the course of the search.
        failures: count per kind of failed evaluation; empty when all succeeded.
        first_failure: what the first of them was, in one line; "" when all succeeded.
        restarts: how many times the search was started again.
        notes: what the user should know: chosen defaults, guards that acted.
        run_dir: where the log is; None if none was kept.
        front: all points evaluated that no other dominates, where there are several objectives and
            an evaluation succeeded; else None.
        front_points: the values of named parameters that its points stand for; None without a
            `Space`.
    """

    x: Array | None
    f: Any  # a float, or an array: a union would make users of one objective say which
    mean: Array
    sigma: float
    evaluations: int
    generations: int
    reason: StopReason
    success: bool
    seed: int
    algorithm: str
    history: History
    failures: Mapping[str, int] = field(default_factory=dict)
    first_failure: str = ""
    restarts: int = 0
    notes: tuple[str, ...] = ()
    run_dir: str | None = None
    point: Mapping[str, Any] | None = None
    front: Front | None = None
    front_points: tuple[Mapping[str, Any], ...] | None = None

    @property
    def front_x(self) -> Array:
        """(k, dim) the points of the front, the best in the first objective first."""
        return self._front.X

    @property
    def front_f(self) -> Array:
        """(k, m) their values, in the user's sign."""
        return self._front.F

    @property
    def reference(self) -> Array:
        """(m,) the point up to which hypervolume counts: as given, or else the worst that any row
        had which was on the front at some time. It is never moved after the search."""
        return self._front.reference

    @property
    def hypervolume(self) -> float:
        """What the front dominates within the reference."""
        return self._front.hypervolume

    @property
    def knee(self) -> int:
        """Index on the front of the point nearest to the ideal one, each objective by its range."""
        return self._front.knee

    @property
    def extremes(self) -> tuple[int, ...]:
        """(m) indices on the front of the best point in each objective."""
        return self._front.extremes

    def best_for(self, weights: ArrayLike) -> int:
        """Index on the front of the best point where objectives matter by these weights. weights:
        (m,), none negative."""
        return self._front.best_for(weights)

    def subset(self, k: int) -> Front:
        """At most k points of the front, chosen for the hypervolume that they have together."""
        return self._front.subset(k)

    @property
    def _front(self) -> Front:
        if self.front is None:
            raise AttributeError(
                "this result has no front: it is of one objective, or no evaluation succeeded"
            )
        return self.front

    def __str__(self) -> str:
        x = f"x            {_numbers(self.x)}"
        if self.point is not None:
            x = f"point        {named_values(self.point)}"
        f = f"f            {self.f:.10g}" if self.front is None else self._front_text()
        lines = [
            f,
            x,
            f"evaluations  {self.evaluations}",
            f"success      {self.success}",
            f"reason       {self.reason}",
            f"algorithm    {self.algorithm}, seed {self.seed}",
        ]
        if self.failures:
            counts = ", ".join(f"{n} {kind}" for kind, n in sorted(self.failures.items()))
            lines.append(f"failures     {counts}; the first: {self.first_failure}")
        return "\n".join(lines)

    def _front_text(self) -> str:
        """Size and hypervolume of the front, and its knee."""
        size = len(self._front)
        lines = (
            f"front        {size} point{'' if size == 1 else 's'}, the knee below",
            f"hypervolume  {self.hypervolume:.10g}, counted from {_numbers(self.reference)}",
            f"f            {_numbers(self.f)}",
        )
        return "\n".join(lines)


def named_values(point: Mapping[str, Any]) -> str:
    """name=value name=value ..., floats with 6 digits."""
    texts = (f"{v:.6g}" if isinstance(v, float) else str(v) for v in point.values())
    return " ".join(f"{name}={text}" for name, text in zip(point, texts, strict=True))


def _numbers(x: Array | None, most: int = 8) -> str:
    if x is None:
        return "none: no evaluation succeeded"
    shown = " ".join(f"{v:.6g}" for v in x[:most])
    return f"[{shown}{' ...' if len(x) > most else ''}]"

"""The contract of an evaluator, and what all evaluators share.

Batches of rows go in, whatever is ready comes out: a cheap objective costs one call a generation,
an expensive one a slot for each evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ObjectiveError
from evoopt.objective import raised_text, values_shape
from evoopt.problem import Problem, check_values, classified, evaluate
from evoopt.result import INTERRUPTED, INVALID, RAISED, Failure, Values

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

SLICE_SECONDS = 0.05  # what an evaluator works on before it hands over what is ready


@dataclass(frozen=True, slots=True)
class Batch:
    """Evaluated rows, in the order in which they were completed.

    Attributes:
        ids: (k,) what `submit` called the rows.
        values: their values and failures.
        seconds: the evaluation time of all rows together.
    """

    ids: Ids
    values: Values
    seconds: float


class Evaluator(Protocol):
    """Evaluates the rows of one problem. After `close` it is not used again."""

    @property
    def capacity(self) -> int:
        """How many evaluations may run at once."""

    def submit(
        self, ids: Ids, X: Array, seeds: Sequence[int] | None, deadline: float | None
    ) -> None:
        """Queue rows. ids: (k,); X: (k, dim); seeds: k numbers; deadline: seconds for each row."""

    def poll(self, timeout: float) -> Batch | None:
        """Whatever is ready; None if nothing is within `timeout` seconds, or nothing is queued."""

    def cancel(self) -> None:
        """Drop all rows that were not handed over by `poll`."""

    def close(self) -> None:
        """Give everything back: processes, files, memory."""


@runtime_checkable
class Following(Protocol):
    """An evaluator whose workers make the points of a search themselves, where that can be done."""

    def follow(self, search: Any) -> None:
        """From here on `submit` may be given rows of this search, an `evoopt.search.Search` whose
        strategy claims `drawn`; the evaluator becomes its follower (see `replica`), if it can."""


def guarded(problem: Problem, X: Array, seeds: Sequence[int] | None) -> Values:
    """The values of the rows of X: (k, dim), whatever the problem does. Rows that are drawn when
    they are looked at are made here.

    A problem that raises, or returns values of another shape, has failed for all rows.
    """
    X = np.asarray(X)
    try:
        values = evaluate(problem, X, seeds)
        return classified(check_values(problem, X, values.F), values.G, values.failures)
    except KeyboardInterrupt:
        failure = Failure(INTERRUPTED, "KeyboardInterrupt")
    except ObjectiveError as error:
        failure = Failure(INVALID, str(error))
    except BaseException as error:  # noqa: BLE001  # an evaluation that fails is data
        failure = Failure(RAISED, raised_text(error))
    return failed(problem, len(X), failure)


def failed(problem: Problem, k: int, failure: Failure) -> Values:
    """The values of k rows that all failed in the same way."""
    F = np.full(values_shape(k, problem.n_obj), np.nan)
    return Values(F, failures=dict.fromkeys(range(k), failure))


def merged(batches: Sequence[Batch]) -> Batch:
    """At least one batch as one; constraint values are NaN in rows that have none."""
    if len(batches) == 1:
        return batches[0]
    failures: dict[int, Failure] = {}
    row = 0
    for batch in batches:
        failures |= {row + i: failure for i, failure in batch.values.failures.items()}
        row += len(batch.ids)
    values = Values(np.concatenate([b.values.F for b in batches]), _constraints(batches), failures)
    ids = np.concatenate([b.ids for b in batches])
    return Batch(ids, values, sum(b.seconds for b in batches))


def _constraints(batches: Sequence[Batch]) -> Array | None:
    n_con = next((b.values.G.shape[1] for b in batches if b.values.G is not None), None)
    if n_con is None:
        return None
    return np.concatenate(
        [
            np.full((len(b.ids), n_con), np.nan) if b.values.G is None else b.values.G
            for b in batches
        ]
    )


class Pace:
    """How long a row takes, and so how many rows make a slice."""

    def __init__(self) -> None:
        self.seconds: float | None = None  # per row; None before the first measurement

    def measured(self, rows: int, seconds: float) -> None:
        """Half old, half new: one slow row (a first import, a cold cache) is soon forgotten."""
        new = seconds / rows
        self.seconds = new if self.seconds is None else (self.seconds + new) / 2

    def rows(self) -> int:
        """As many rows as fit a slice; one before anything is known."""
        if self.seconds is None:
            return 1
        return max(1, int(SLICE_SECONDS / max(self.seconds, 1e-9)))  # a clock may stand still

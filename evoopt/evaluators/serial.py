"""Evaluation in this process: nothing is faster for a cheap objective, and nothing is isolated.

An objective that hangs or ends its process takes the search with it; `pool` survives those.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.evaluators.base import Batch, Ids, Pace, failed, guarded, merged
from evoopt.problem import Problem
from evoopt.result import INTERRUPTED, Failure

Array = NDArray[np.float64]
Rows = tuple[Ids, Array, Sequence[int] | None]  # ids (k,), X (k, dim), k seeds


class SerialEvaluator:
    """Evaluates a slice of the queue at each `poll`.

    The first slice is one row and the following ones take about 50 ms, so that an expensive
    objective is handed over row by row and a cheap one costs one call a generation.
    """

    capacity = 1

    def __init__(self, problem: Problem, workers: int = 1, *, at_once: bool = False) -> None:
        """at_once: a slice is what was submitted together, however long it takes.

        Raises:
            ConfigurationError: more than one worker.
        """
        if workers > 1:
            raise ConfigurationError(
                f"SerialEvaluator(workers=...) must be 1; got {workers}; use the evaluator 'pool'"
            )
        self._problem = problem
        self._at_once = at_once
        self._pace = Pace()
        self._queue: deque[Rows] = deque()

    def submit(
        self, ids: Ids, X: Array, seeds: Sequence[int] | None, deadline: float | None
    ) -> None:
        """Queue rows, as `Evaluator.submit`.

        Raises:
            ConfigurationError: a deadline, which nothing can enforce within one process.
        """
        if deadline is not None:
            raise ConfigurationError(
                f"SerialEvaluator.submit(deadline=...) must be None; got {deadline:g}; "
                "only worker processes can be stopped: use the evaluator 'pool'"
            )
        if len(ids):
            self._queue.append((ids, X, seeds))

    def poll(self, timeout: float) -> Batch | None:
        """Evaluate and return the next slice, whatever the timeout; None if nothing is queued.

        After a KeyboardInterrupt all rows that are left come back as interrupted.
        """
        if not self._queue:
            return None
        ids, X, seeds = self._queue[0]
        k = len(ids) if self._at_once else min(len(ids), self._pace.rows())
        start = perf_counter()
        values = guarded(self._problem, X[:k], None if seeds is None else seeds[:k])
        seconds = perf_counter() - start
        self._pace.measured(k, seconds)
        self._queue.popleft()
        if k < len(ids):
            self._queue.appendleft((ids[k:], X[k:], None if seeds is None else seeds[k:]))
        batch = Batch(ids[:k], values, seconds)
        if any(failure.kind == INTERRUPTED for failure in values.failures.values()):
            return merged([batch, *self._interrupted()])
        return batch

    def cancel(self) -> None:
        """Drop what is queued; between two polls nothing runs."""
        self._queue.clear()

    def close(self) -> None:
        """Drop what is queued; there is nothing else to give back."""
        self._queue.clear()

    def _interrupted(self) -> list[Batch]:
        """What is queued as rows that are not to be evaluated; the queue is empty then."""
        queue, self._queue = self._queue, deque()
        failure = Failure(INTERRUPTED, "not started after a KeyboardInterrupt")
        return [Batch(ids, failed(self._problem, len(ids), failure), 0.0) for ids, _, _ in queue]


def vectorized(problem: Problem, workers: int = 1) -> SerialEvaluator:
    """For an objective that takes all rows at once: what was submitted together stays together."""
    return SerialEvaluator(problem, workers, at_once=True)

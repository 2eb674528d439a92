"""How evaluators with processes of their own wait for what is ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

from evoopt.evaluators.base import Batch, merged


class Waiting(ABC):
    """Rows wait in `_queue` for a process, and batches in `_done` for the runner."""

    _queue: deque[Any]
    _done: list[Batch]

    def poll(self, timeout: float) -> Batch | None:
        """Whatever is ready, as `Evaluator.poll`.

        Raises:
            ConfigurationError: the processes cannot load the problem.
            EvooptError: they die before they could evaluate anything.
        """
        end = monotonic() + timeout
        self._collect(0.0)
        while not self._done and (self._queue or self._busy()):
            self._dispatch()
            left = end - monotonic()
            if left <= 0:
                return None
            self._collect(left)
        self._dispatch()
        done, self._done = self._done, []
        return merged(done) if done else None

    @abstractmethod
    def _dispatch(self) -> None:
        """Hands rows of the queue to processes that have nothing to do."""

    @abstractmethod
    def _collect(self, timeout: float) -> None:
        """Puts what has come within the time into `_done`."""

    @abstractmethod
    def _busy(self) -> Sequence[Any]:
        """The processes that evaluate something."""

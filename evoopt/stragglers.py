"""When to stop waiting for the last evaluations of a budget, in an asynchronous search."""

from __future__ import annotations

import math
import time

from evoopt.strategies.base import Ids

# the last ones are given up when nothing has come back for this long, and for so many times the
# longest evaluation before
SECONDS, TIMES = 10.0, 10.0


class Stragglers:
    """Which rows are being evaluated, and how long the others took."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # id -> when it was submitted
        self._longest = 0.0  # seconds of an evaluation, waiting for a worker included
        self._last_return = math.inf  # when a row came back last; inf: not yet

    def submitted(self, ids: Ids) -> None:
        """Rows go to the workers. ids: (k,)."""
        self._since.update(dict.fromkeys(ids.tolist(), time.monotonic()))

    def returned(self, ids: Ids) -> None:
        """Rows come back. ids: (k,)."""
        self._last_return = time.monotonic()
        for i in ids.tolist():
            self._longest = max(self._longest, self._last_return - self._since.pop(i))

    @property
    def waited(self) -> float:
        """Seconds since a row came back; -inf before the first one."""
        return time.monotonic() - self._last_return

    @property
    def past_hope(self) -> bool:
        """Whether what has not come back by now never will, as far as one can tell."""
        return bool(self._since) and self.waited > max(SECONDS, TIMES * self._longest)

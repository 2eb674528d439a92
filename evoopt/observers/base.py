"""What an observer is told."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evoopt.result import Result, Values


class Observer(Protocol):
    """Told of every row, in the order in which rows enter the search.

    `search` is an `evoopt.search.Search`, to be looked at only; `search.replaying` says that rows
    come from a log rather than from the objective.
    """

    @property
    def wants_replay(self) -> bool:
        """Whether a resumed run is to show this observer all rows from the first on."""

    def started(self, search: Any) -> None:
        """Before the first row, once per process."""

    def told(
        self, search: Any, ids: NDArray[np.int64], X: NDArray[np.float64], values: Values
    ) -> None:
        """Rows were told. ids: (k,), X: (k, dim)."""

    def finished(self, result: Result) -> None:
        """The search ended; not called where it was killed."""

"""How a search goes, on stderr: one live block on a terminal, elsewhere a line every few seconds.

It costs a look at the clock per `told`; all else happens when a picture is due.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from evoopt.result import Result, Values

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

LIVE_SECONDS = 0.1  # between two pictures on a terminal
LINE_SECONDS = 5.0  # between two lines elsewhere
FIRST_SECONDS = 1.0  # until the first of them, which shows that it works, and how fast
Facts = list[tuple[str, str]]  # names and texts
_COLUMN = 15  # characters; so the block does not jump as numbers grow
_HORIZON = 10.0  # seconds over which the rate of evaluations is averaged


class Asked(Protocol):
    """What was decided, as far as it can be shown; an `evoopt.plan.Plan` is one."""

    @property
    def label(self) -> str: ...
    @property
    def budget(self) -> float: ...
    @property
    def time_limit(self) -> float: ...
    @property
    def workers(self) -> int: ...
    @property
    def maximize(self) -> bool | tuple[bool, ...]: ...


class Display:
    """One live block on a terminal, else a line now and then; on stderr."""

    def __init__(self, title: str, *, enabled: bool = True) -> None:
        """title: stands before or above the facts. enabled: False shows nothing, ever."""
        self._title = title
        self._enabled = enabled
        self._live: Live | None = None
        self._period = LINE_SECONDS
        self._due = math.inf  # monotonic seconds

    def open(self, words: str) -> None:
        """Begin to show. words: what there is to say before the first facts."""
        if not self._enabled:
            return
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._period = LIVE_SECONDS
            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
            self._title = f"{self._title}: {words}"
            self._live.update(_block(self._title, []), refresh=True)
        else:
            print(f"{self._title}: {words}", file=sys.stderr, flush=True)
        self._due = time.monotonic() + min(self._period, FIRST_SECONDS)

    def is_due(self, now: float) -> bool:
        """Whether it is time to show something. now: monotonic seconds."""
        return now >= self._due

    def show(self, facts: Facts, now: float) -> None:
        """Show names and texts in place of those shown before."""
        self._due = now + self._period
        if self._live is not None:
            self._live.update(_block(self._title, facts), refresh=True)
        else:
            line = ", ".join(f"{name} {text}" for name, text in facts)
            print(f"{self._title}: {line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was found. Closing again does nothing."""
        self._due = math.inf
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


class Progress:
    """An observer that shows the search; a context manager, so that the terminal is left clean."""

    wants_replay = False

    def __init__(self, title: str, asked: Asked, *, enabled: bool = True) -> None:
        """title: what is searched. enabled: False shows nothing."""
        self._asked = asked
        self._display = Display(title, enabled=enabled)
        self._begin = 0.0  # monotonic seconds
        self._marks: list[tuple[float, int]] = []  # (time, evaluations) within the horizon

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._display.close()

    def started(self, search: Any) -> None:
        """Begin to show."""
        self._begin = time.monotonic()
        self._marks = [(self._begin, search.evaluations)]
        self._display.open(f"{self._asked.label}, seed {search.seed}")

    def told(
        self, search: Any, ids: NDArray[np.int64], X: NDArray[np.float64], values: Values
    ) -> None:
        """A new picture, if one is due."""
        now = time.monotonic()
        if self._display.is_due(now):
            self._display.show(self.facts(search, now), now)

    def finished(self, result: Result) -> None:
        """Nothing is left to show: the result is reported by whoever asked for it."""
        self._display.close()

    def facts(self, search: Any, now: float) -> Facts:
        """What there is to say, as names and texts. now: monotonic seconds."""
        portrait = search.strategy.portrait(search.state)
        rate = self._rate(search.evaluations, now)
        facts = self._best(search)
        budget = self._asked.budget
        of = f" of {budget:.0f}" if budget < math.inf else ""
        facts += [("evaluations", f"{search.evaluations}{of}"), ("evals/s", f"{rate:.4g}")]
        if math.isfinite(portrait.sigma):
            facts.append(("sigma", f"{portrait.sigma:.3g}"))
        if len(portrait.axes) and portrait.axes[0] > 0:
            facts.append(("axis ratio", f"{portrait.axes[-1] / portrait.axes[0]:.3g}"))
        if portrait.restarts:
            facts.append(("restarts", str(portrait.restarts)))
        if search.failures:
            facts.append(("failed", str(sum(search.failures.values()))))
        if self._asked.workers > 1:
            facts.append(("workers", str(self._asked.workers)))
        left = self._left(search.evaluations, rate, now)
        if left < math.inf:
            facts.append(("ETA", duration(left)))
        return facts

    def _best(self, search: Any) -> Facts:
        """The best value, or of several objectives the front and its hypervolume."""
        found = search.found
        if found is None:
            best = -search.best_f if self._asked.maximize else search.best_f
            return [("best f", f"{best:.8g}" if math.isfinite(best) else "none yet")]
        facts = [("front", str(len(found)))]
        if len(found):
            volume = found.volume
            if math.isnan(volume):  # for what would be the reference now
                volume = found.archive.hypervolume_for(found.worst)
            facts.append(("hypervolume", f"{volume:.8g}"))
        return facts

    def _rate(self, evaluations: int, now: float) -> float:
        """Evaluations a second over the last `_HORIZON` seconds."""
        marks = self._marks
        marks.append((now, evaluations))
        while len(marks) > 2 and marks[1][0] < now - _HORIZON:
            marks.pop(0)
        begin, before = marks[0]
        return (evaluations - before) / max(now - begin, 1e-9)

    def _left(self, evaluations: int, rate: float, now: float) -> float:
        """Seconds until budget or time is spent, at this rate."""
        asked = self._asked
        by_budget = max(0.0, asked.budget - evaluations) / rate if rate > 0 else math.inf
        return min(by_budget, max(0.0, self._begin + asked.time_limit - now))


def duration(seconds: float) -> str:
    """42 s, 3:05 min, or 2:05 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def _block(title: str, facts: Facts) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 3, 0, 0))
    columns = 4
    for _ in range(columns):
        grid.add_column(min_width=_COLUMN)
    for start in range(0, len(facts), columns):
        part = facts[start : start + columns]
        grid.add_row(*(Text(name, style="dim") for name, _ in part))
        grid.add_row(*(Text(text, style="bold") for _, text in part))
    return Panel(grid, title=Text(title), title_align="left", expand=False)

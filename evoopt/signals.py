"""SIGINT and SIGTERM as a request to stop that is served between two tells."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from evoopt.errors import SIGINT_EXIT, SIGTERM_EXIT


class StopRequest:
    """Catches the signals while it is entered, in the main thread only.

    The first signal is remembered, and ends an evaluation that runs in this process by a
    KeyboardInterrupt; the second one ends the process as it would without us.

    Attributes:
        signum: the signal that came, or 0.
        evaluating: set by the runner while the objective runs in this process.
    """

    def __init__(self, signals: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self.signum = 0
        self.evaluating = False
        self._signals = signals
        self._before: dict[int, Any] = {}

    @classmethod
    def keyboard(cls) -> StopRequest:
        """For Ctrl-C alone: without a log there is nothing to save before SIGTERM ends the
        process."""
        return cls((signal.SIGINT,))

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._caught) for s in self._signals}
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()

    def _restore(self) -> None:
        before, self._before = self._before, {}
        for s, handler in before.items():
            signal.signal(s, handler)

    def _caught(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            self._restore()
            signal.raise_signal(signum)
            return
        self.signum = signum
        if self.evaluating:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """What a process that stopped for the signal returns."""
        return SIGTERM_EXIT if self.signum == signal.SIGTERM else SIGINT_EXIT

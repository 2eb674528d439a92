"""Where the workers of a pool come from, and how it talks to them: processes, or actors of Ray."""

from __future__ import annotations

from typing import Any, Protocol


class Process(Protocol):
    """A worker's process, as far as the pool has to do with it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class Line(Protocol):
    """Messages to and from one worker; any exception of `recv` means that it has died."""

    def send(self, message: Any) -> None: ...
    def recv(self) -> Any: ...
    def poll(self) -> bool: ...
    def close(self) -> None: ...


class Crew(Protocol):
    """Where workers come from: this machine, or a Ray cluster.

    Attributes:
        cheap_seconds: below this, messages cost more than uneven work: rows travel together.
    """

    cheap_seconds: float

    def launched(self, pickled: bytes) -> tuple[Any, Any]:
        """The process of a new worker that loads the problem, and the line to it."""

    def wait(self, lines: list[Any], timeout: float) -> list[Any]:
        """The lines on which there is something to receive."""

    def killed(self, process: Any) -> str:
        """Kill a worker and what it started. Returns: how it ended, in words."""

    def close(self) -> None:
        """Give back what does not belong to one worker."""

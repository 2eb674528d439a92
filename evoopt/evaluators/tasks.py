"""What the engine `process` runs, one at a time on a slot, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evoopt.evaluators.children import ending
from evoopt.objective import one_line
from evoopt.problem import Problem
from evoopt.result import KILLED, RAISED, TIMEOUT, Failure, Values

Array = NDArray[np.float64]

_MOST_SAID = 160  # characters of a program's last words in a message


@dataclass(frozen=True, slots=True)
class Task:
    """A program to run.

    Attributes:
        argv: program and arguments; no shell reads them.
        env: variables besides those of this process.
        cwd: working directory; None for that of this process.
        input: path of the file that is its standard input; None for an empty one.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    input: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        named = {"argv": list(self.argv), "env": dict(self.env)}
        return {**named, "cwd": self.cwd, "input": self.input}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
        seconds: from its start to its end.
        code: exit code, negative for a signal; None if it could not be started.
        late: it was killed at its deadline.
        error: why it could not be started.
        printed: bytes on stdout. out: their tail, 64 KiB; err: the last words on stderr.
    """

    seconds: float
    code: int | None = None
    late: bool = False
    error: str = ""
    printed: int = 0
    out: str = ""
    err: str = ""

    def failure(self, deadline: float | None) -> Failure | None:
        """What went wrong with the program itself. deadline: seconds that it had."""
        if self.error or self.code is None:
            return Failure(RAISED, one_line(f"the program cannot be started: {self.error}"))
        if self.late:
            return Failure(TIMEOUT, f"did not end within {deadline:g} s")
        if self.code:
            kind = KILLED if self.code < 0 else RAISED
            said = said_last(self.err) or said_last(self.out)
            return Failure(kind, f"the program ended {ending(self.code)}{said}")
        return None


def said_last(text: str) -> str:
    """The last line of an output, for a message; "" if there is none."""
    line = next((line for line in reversed(text.split("\n")) if line.strip()), "")
    return f"; it said: {one_line(line)[-_MOST_SAID:]}" if line else ""


class Tasks(Protocol):
    """Makes a program of each evaluation."""

    def task(self, id_: int, x: Array, seed: int | None) -> Task:
        """The program that evaluates candidate `id_` at x: (dim,)."""

    def value(self, outcome: Outcome, deadline: float | None) -> Values:
        """The values of one row, from how its program ended."""

    def close(self) -> None:
        """Remove what was made for the programs."""


@runtime_checkable
class Tasked(Problem, Tasks, Protocol):
    """A problem whose evaluations are programs."""

"""What solvers that call the objective themselves were told, and the threads that they run in.

A solver is a function of its start and of the values it gets, so the list of what it was `Told`
names its place exactly. The solver itself runs in a thread that waits inside its call of the
objective. That thread is a cache, keyed by the list: where there is none (the state was restored
from disk, branched off, or came into another process), the solver begins anew and is told the list
again. Threads are daemons, at most `_MOST_LIVE` at a time, and end with the last list that leads to
them.
"""

from __future__ import annotations

import hashlib
import math
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import StateError
from evoopt.result import StopReason
from evoopt.strategies.stopping import reason

Array = NDArray[np.float64]
Objective = Callable[[Array], float]

_MOST_LIVE = 8  # threads kept: more searches than that, taken in turn, are replayed each time
_LARGEST = 1e100  # of the values handed on: their squares are finite
_FAMILIAR = 80  # exponent of the first value, beyond which all are divided by that power of two


class Told:
    """What a solver was told, in order; a value, though appending to the newest one is cheap.

    Two of them are equal if all that they hold is, start and constants of the solver included.
    """

    __slots__ = ("_F", "_X", "__weakref__", "_length", "_origin", "digest")

    def __init__(
        self, origin: bytes, X: list[Array], F: list[float], length: int, digest: bytes
    ) -> None:
        self._origin = origin  # names solver, constants and start
        self._X, self._F = X, F  # rows beyond the length belong to newer values
        self._length = length
        self.digest = digest  # of all the above

    @staticmethod
    def begin(origin: bytes) -> Told:
        """Nothing told yet."""
        return Told(origin, [], [], 0, origin)

    def append(self, x: Array, f: float) -> Told:
        """These rows and one more. x: (dim,), kept, not to be written to; f: NaN for a failure."""
        X, F, length = self._X, self._F, self._length
        if length != len(F):
            X, F = X[:length], F[:length]
        X.append(x)
        F.append(f)
        link = hashlib.blake2b(self.digest, digest_size=16)
        link.update(x.tobytes())
        link.update(np.float64(f).tobytes())
        return Told(self._origin, X, F, length + 1, link.digest())

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def before(self) -> Iterator[Told]:
        """The values of this list after its first, second, ... row."""
        told = Told.begin(self._origin)
        for x, f in zip(self._X[: self._length], self._F[: self._length], strict=True):
            told = told.append(x, f)
            yield told

    @property
    def last_x(self) -> Array:
        """The newest point: (dim,)."""
        return self._X[self._length - 1]

    def answer(self, window: int) -> float:
        """What the solver is told of the newest point: its value, or one that stands for it."""
        i = self._length - 1
        f = self._F[i]
        if not math.isfinite(f):
            known: list[float] = []
            while i and len(known) < window:
                i -= 1
                if math.isfinite(self._F[i]):
                    known.append(self._F[i])
            worst = max(known)
            f = worst + (worst - min(known))
        exponent = math.frexp(self._F[0])[1]
        if abs(exponent) > _FAMILIAR:
            f *= 2.0 ** -max(-1000, min(1000, exponent))
        return max(-_LARGEST, min(_LARGEST, f))

    @property
    def is_flat(self) -> bool:
        """Whether all values are equal, failures aside."""
        return len({f for f in self._F[: self._length] if math.isfinite(f)}) <= 1

    def __pack__(self) -> dict[str, Any]:
        X = np.array(self._X[: self._length], dtype=np.float64)
        F = np.array(self._F[: self._length], dtype=np.float64)
        return {"origin": self._origin.hex(), "X": X, "F": F}

    @classmethod
    def __unpack__(cls, plain: Any) -> Told:
        told = cls.begin(bytes.fromhex(plain["origin"]))
        for x, f in zip(plain["X"], plain["F"].tolist(), strict=True):
            told = told.append(x, f)
        return told


class _Leave(BaseException):
    """Unwinds a solver that nobody wants to hear from any more."""


class Conversation:
    """A solver in a thread of its own, waiting for the answer to its question.

    Attributes:
        question: (dim,), or None once it has ended; ended: why.
    """

    def __init__(self, solve: Callable[[Objective], StopReason]) -> None:
        self._questions: queue.SimpleQueue[Array | StopReason] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        parts = (solve, self._questions, self._answers)  # the thread must not keep this object
        threading.Thread(target=_talk, args=parts, name="evoopt-solver", daemon=True).start()
        weakref.finalize(self, self._answers.put, None).atexit = False
        self._listen()

    def _listen(self) -> None:
        said = self._questions.get()
        self.question = None if isinstance(said, StopReason) else said
        self.ended = said if isinstance(said, StopReason) else None

    def answer(self, f: float) -> None:
        """Tells the value of the question and waits for the next one."""
        self._answers.put(f)
        self._listen()


def _talk(
    solve: Callable[[Objective], StopReason],
    questions: queue.SimpleQueue[Array | StopReason],
    answers: queue.SimpleQueue[float | None],
) -> None:
    """The thread of a solver."""

    def fun(x: Array) -> float:
        question = np.array(x, dtype=np.float64)
        if not np.isfinite(question).all():
            raise FloatingPointError("it came to a point that is not finite")
        questions.put(question)
        f = answers.get()
        if f is None:
            raise _Leave
        return f

    try:
        with np.errstate(all="ignore"):
            questions.put(solve(fun))
    except _Leave:
        return
    except Exception as error:  # noqa: BLE001  # whatever went wrong in there, its search ends here
        questions.put(failure(f"{type(error).__name__}: {error}"))


def failure(message: str) -> StopReason:
    """The end of a solver that met something it cannot go on from. message: its own."""
    ended = reason("solverfailed", 1, 0)
    return replace(ended, message=f"{ended.message} {' '.join(message.split())!r}")


class _Live:
    """The solvers that are in the midst of their work, by what they were told."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._talks: weakref.WeakKeyDictionary[Told, Conversation] = weakref.WeakKeyDictionary()

    def after(
        self, told: Told, before: Told, begin: Callable[[], Conversation], window: int
    ) -> tuple[Array | None, StopReason | None]:
        """What the solver says after `told`, which is `before` and one row, or nothing at all."""
        if self._pid != os.getpid():  # forked: the threads have stayed behind
            self._renew()
        with self._lock:
            talk = self._talks.get(told)
            if talk is not None:
                return talk.question, talk.ended
            talk = self._talks.pop(before, None) if len(told) else None
        if talk is not None:
            talk.answer(told.answer(window))
        else:
            talk = _replayed(told, begin(), window)
        with self._lock:
            self._talks[told] = talk
            while len(self._talks) > _MOST_LIVE:
                self._talks.pop(next(iter(self._talks)))
        return talk.question, talk.ended


def _replayed(told: Told, talk: Conversation, window: int) -> Conversation:
    """A solver that has just begun, once it has been told all."""
    for row in told.before():
        if talk.question is None or talk.question.tobytes() != row.last_x.tobytes():
            raise StateError(
                "the solver asks other points than when this state was saved: another version of "
                "it, or another machine; start the search anew"
            )
        talk.answer(row.answer(window))
    return talk


live = _Live()

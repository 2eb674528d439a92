"""A Markov source over bytes whose entropy rate is known exactly: a corpus with a lower bound.

When: in tests, and to see how far a model is from what can be known. When not: as a stand-in for
text, of which it has neither words nor long range.
Cost: draws about 10 MB a second; order 1 knows states^2 probabilities, order k states^(k + 1).

Source: C. E. Shannon, A mathematical theory of communication, Bell System Technical Journal 27,
1948, section 7: H = -sum_i P_i sum_j p_i(j) log2 p_i(j), with P the stationary distribution.
Differences from the source: none. The probabilities are whole multiples of 2^-12, so that the bytes
are drawn with exactly the probabilities that H is computed from; none of them is zero, so that P
is unique.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.errors import ConfigurationError

Bytes = NDArray[np.uint8]
Array = NDArray[Any]

MOST_CONTEXTS = 1024  # the stationary distribution solves a dense system of as many equations
_TICKS = 4096  # probabilities are multiples of 1 / _TICKS; above 256, for each byte to have one
_SPREAD = 2.0  # standard deviation of the log weights: rows of about half of the greatest entropy
_CHUNK = 2**20  # bytes drawn at a time; a multiple of _ROW
_ROW = 1024  # bytes to an id of the counter
_TRANSITIONS, _START, _BYTES = range(3)  # last number of a stream's path


@dataclass(frozen=True)
class Source:
    """Bytes 0 to states - 1, each drawn given the `order` bytes before it.

    Args:
        states: how many byte values occur, 2 to 256.
        seed: of the probabilities, and of what is drawn.
        order: how many bytes back the source looks, 1 or more.

    Raises:
        ConfigurationError: states or order out of range, or states^order above MOST_CONTEXTS.
    """

    states: int
    seed: int
    order: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.states <= 256:
            raise ConfigurationError(f"Source(states=...) must be 2 to 256; got {self.states}")
        if self.order < 1 or self.states**self.order > MOST_CONTEXTS:
            raise ConfigurationError(
                f"Source(order=...) must be at least 1 and states^order at most {MOST_CONTEXTS}; "
                f"got order {self.order} with {self.states} states"
            )

    @property
    def contexts(self) -> int:
        """Number of different runs of `order` bytes; the newest byte is the lowest digit."""
        return int(self.states**self.order)

    @functools.cached_property
    def ticks(self) -> Array:
        """Probabilities of the next byte in units of 2^-12: (contexts, states) whole numbers."""
        z = rng.normals(self.seed, (_TRANSITIONS,), 0, self.contexts, self.states)
        weights = np.exp(_SPREAD * z)
        shares = weights / weights.sum(axis=1, keepdims=True) * (_TICKS - self.states)
        ticks = 1 + shares.astype(np.int64)  # at least one each; rounded down, so some are left
        left = _TICKS - ticks.sum(axis=1)
        order = np.argsort(np.floor(shares) - shares, axis=1, kind="stable")
        ranks = np.argsort(order, axis=1, kind="stable")  # the greatest remainder has rank 0
        return np.asarray(ticks + (ranks < left[:, None]))

    @functools.cached_property
    def stationary(self) -> Array:
        """Share of the time that the source spends in each context: (contexts,)."""
        number = self.contexts
        step = np.zeros((number, number))
        here = np.arange(number)
        for byte in range(self.states):
            step[here, self._after(here, byte)] += self.ticks[:, byte] / _TICKS
        # P (step - 1) = 0 and sum P = 1, which takes the place of an equation that is redundant
        system = step.T - np.eye(number)
        system[-1] = 1.0
        return np.linalg.solve(system, np.eye(number)[-1])

    @functools.cached_property
    def entropy_bits(self) -> float:
        """Entropy rate in bits a byte: no model codes the source in fewer."""
        p = self.ticks / _TICKS
        return float(-(self.stationary @ (p * np.log2(p)).sum(axis=1)))  # section 7

    def draw(self, n: int) -> Bytes:
        """The first n bytes of the source: (n,). A longer draw begins with a shorter one."""
        rows = [bytes(np.repeat(np.arange(self.states), row).tolist()) for row in self.ticks]
        drawn = np.empty(n, dtype=np.uint8)
        context = self._start()
        for first in range(0, n, _CHUNK):
            ticks = self._uniform_ticks(first, min(_CHUNK, n - first))
            context = _walk(rows, self.states, context, ticks, drawn[first:])
        return drawn

    def bits_per_byte(self, sequence: Bytes) -> float:
        """Mean code length of a sequence by the true probabilities, its first `order` bytes
        left out; about `entropy_bits` where the source drew it."""
        symbols = np.asarray(sequence, dtype=np.int64)
        context = np.zeros(len(symbols) - self.order, dtype=np.int64)
        for back in range(self.order):
            context = context * self.states + symbols[back : len(symbols) - self.order + back]
        ticks = self.ticks[context, symbols[self.order :]]
        return float(-np.log2(ticks / _TICKS).mean())

    def _after(self, context: Array, byte: int) -> Array:
        """The context after a byte: the oldest byte leaves it."""
        return (context * self.states + byte) % self.contexts

    def _start(self) -> int:
        """A context from the stationary distribution."""
        u = rng.uniforms(self.seed, (_START,), 0, 1, 1)[0, 0]
        return int(min(np.searchsorted(np.cumsum(self.stationary), u, "right"), self.contexts - 1))

    def _uniform_ticks(self, first: int, count: int) -> list[int]:
        """Whole numbers below _TICKS, of the bytes first, first + 1, ...: (count,)."""
        u = rng.uniforms(self.seed, (_BYTES,), first // _ROW, -(-count // _ROW), _ROW)
        ticks: list[int] = (u.ravel()[:count] * _TICKS).astype(np.int64).tolist()
        return ticks


def _walk(rows: list[bytes], states: int, context: int, ticks: list[int], out: Bytes) -> int:
    """Write a byte for each of `ticks` into `out`; the context after the last."""
    walked = bytearray(len(ticks))
    contexts = len(rows)
    for place, tick in enumerate(ticks):
        byte = rows[context][tick]
        walked[place] = byte
        context = (context * states + byte) % contexts
    out[: len(ticks)] = np.frombuffer(walked, dtype=np.uint8)
    return context

"""A search under way: a strategy, its state, and the tally of what was evaluated.

`Search` is what a log is folded into: the runner, the interactive shell and the replay of a log all
apply the same two steps, `ask` and `tell`, and so arrive at the same state, bit for bit.
"""

from __future__ import annotations

import math
import zlib
from copy import deepcopy
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evoopt.found import Found
from evoopt.lateness import Lateness
from evoopt.result import History, Values
from evoopt.strategies.base import INJECTED, Ids, Population, Strategy
from evoopt.strategies.drawn import stacked

Array = NDArray[np.float64]

_MOST_AXES = 16  # lengths kept per record of the history
_EVERY = 3  # digits: all generations are recorded up to 999, then every 10th, every 100th, ...


class Follower(Protocol):
    """Is told of all that happens to a search (see `evoopt.evaluators.replica`)."""

    def asked(self, k: int) -> None: ...
    def told(self, ids: Ids, values: Values) -> None: ...
    def injected(self, X: Array, values: Values) -> None: ...


class Search:
    """The one mutable thing besides the log; all it knows is in `pack()`.

    Attributes:
        strategy, state: see `evoopt.strategies.base`.
        seed: of all random numbers.
        evaluations: rows told, failures included; injected rows do not count.
        failures: kind -> count. first_failure: kind and message of the first one.
        best_f, best_x: the best row told; inf, None before there is one. With several objectives
            minus the hypervolume for a reference that the user gave, else inf; and None.
        n_obj: number of objectives.
        found: what several objectives have found; None with one.
        replaying: rows come from a log.
        follower: is told of every ask and tell, or None.
        lateness: how late results came, where there is no barrier; else None.
    """

    def __init__(
        self,
        strategy: Strategy,
        x0: Array,
        sigma0: float,
        seed: int,
        *,
        asynchronous: bool = False,
        n_obj: int = 1,
        reference: Array | None = None,
        watched: bool = False,
    ) -> None:
        """A search that has not begun.

        Args:
            strategy: what searches. x0: (dim,), sigma0, seed: where it begins.
            asynchronous: results come one by one; how late is to be kept.
            n_obj: number of objectives.
            reference: (n_obj,) point of the hypervolume, or None.
            watched: the hypervolume is wanted after every tell, as a target.
        """
        self.strategy = strategy
        self.seed = seed
        self.state: Any = strategy.init(x0, sigma0, seed)
        self.evaluations = 0
        self.failures: dict[str, int] = {}
        self.first_failure = ""
        self.best_f = math.inf
        self.best_x: Array | None = None
        self.n_obj = n_obj
        self.found = Found(n_obj, reference, watched=watched) if n_obj > 1 else None
        self.replaying = False
        self.follower: Follower | None = None
        self.lateness = Lateness() if asynchronous else None
        self._open: list[Population] = []  # asked, not told: whole blocks, or what is left of them
        self._generation = 0
        self._history: list[tuple[int, float, float, list[float]]] = []

    def ask(self, k: int | None = None) -> Population:
        """k candidates (default: as many as make the next update), remembered until told."""
        wanted = self.strategy.batch(self.state) if k is None else k
        population, self.state = self.strategy.ask(self.state, wanted)
        if len(population):
            self._open.append(population)
            if self.lateness is not None:
                self.lateness.asked(population.id, self.strategy.generation(self.state))
        if self.follower is not None:
            self.follower.asked(wanted)
        return population

    @property
    def open_rows(self) -> Population | None:
        """All rows asked and not told, or None."""
        return joined(self._open) if self._open else None

    def tell(self, ids: Ids, values: Values) -> Population:
        """Values of rows that were asked and are still open. ids: (k,). Returns: the rows.

        Raises:
            KeyError: an id is not open; nothing has changed.
        """
        population = self._close(ids)
        if self.lateness is not None:
            self.lateness.told(ids, self.strategy.generation(self.state))
        self._learn(population, values)
        if self.follower is not None:
            self.follower.told(ids, values)
        return population

    def inject(self, X: Array, values: Values) -> None:
        """Points evaluated elsewhere: the strategy learns from them, the budget does not count
        them. X: (k, dim)."""
        ids = np.full(len(X), INJECTED)
        population = Population(ids, ids, np.array(X))
        self._learn(population, values, counted=False)
        if self.follower is not None:
            self.follower.injected(population.X, values)

    def rows(self, ids: Ids) -> Population:
        """The open rows with these ids, in that order; they stay open. ids: (k,).

        Raises:
            KeyError: an id is not open.
        """
        return self._parted(ids)[0]

    def _close(self, ids: Ids) -> Population:
        """Takes the rows `ids` out of the open ones, in that order."""
        for i, block in enumerate(self._open):
            if block.id is ids or (
                len(block) == len(ids) and block.id[0] == ids[0] and (block.id == ids).all()
            ):
                del self._open[i]
                return block
        rows, self._open = self._parted(ids)
        return rows

    def _parted(self, ids: Ids) -> tuple[Population, list[Population]]:
        """The open rows `ids`, in that order, and all others, block by block."""
        place = {i: rank for rank, i in enumerate(ids.tolist())}
        taken, left, ranks = [], [], list[int]()
        for block in self._open:
            inside = [row for row, i in enumerate(block.id.tolist()) if i in place]
            if not inside:
                left.append(block)
                continue
            part = block if len(inside) == len(block) else block.take(np.array(inside))
            taken.append(part)
            ranks += [place[i] for i in part.id.tolist()]
            if len(inside) < len(block):
                left.append(block.take(np.setdiff1d(np.arange(len(block)), inside)))
        if len(ranks) < len(ids):
            raise KeyError(f"not all of {ids.tolist()} are open")
        rows = joined(taken)
        return rows if ranks == sorted(ranks) else rows.take(np.argsort(ranks)), left

    def _learn(self, population: Population, values: Values, counted: bool = True) -> None:
        self.state = self.strategy.tell(self.state, population, values)
        F = values.F
        if counted:
            self.evaluations += len(F)
            if values.failures and not self.first_failure:
                first = values.failures[min(values.failures)]
                self.first_failure = f"{first.kind}: {first.message}"
            for failure in values.failures.values():
                self.failures[failure.kind] = self.failures.get(failure.kind, 0) + 1
        if self.n_obj == 1:
            i = int(F.argmin()) if not values.failures else _first_best(F)
            f = float(F[i])
            if -math.inf < f < self.best_f:
                self.best_f, self.best_x = f, np.array(population.X[i], dtype=np.float64)
        elif self.found is not None:
            before = self.evaluations - len(F) if counted else self.evaluations
            self.found.add(population.X, F, before, counted)
            if not math.isnan(volume := self.found.volume):
                self.best_f = -volume
        self._record()

    def _record(self, force: bool = False) -> None:
        """One row of the history for each generation that is worth one."""
        generation = self.strategy.generation(self.state)
        if generation == self._generation and not force:
            return
        self._generation = generation
        stride = 10 ** max(0, len(str(generation)) - _EVERY)
        if generation % stride and not force:
            return
        portrait = self.strategy.portrait(self.state)
        axes = portrait.axes
        if len(axes) > _MOST_AXES:
            axes = axes[np.linspace(0, len(axes) - 1, _MOST_AXES).round().astype(int)]
        row = (self.evaluations, self.best_f, portrait.sigma, axes.tolist() or [math.nan])
        if self._history and self._history[-1][0] == self.evaluations:
            self._history.pop()
        self._history.append(row)

    @property
    def last_record(self) -> tuple[int, float, float, list[float]] | None:
        """The newest row of the history: evaluations, best f, sigma, axes."""
        return self._history[-1] if self._history else None

    def history(self) -> History:
        """The course so far, its last row the present."""
        kept = list(self._history)
        self._record(force=True)
        rows, self._history = self._history, kept
        evaluations, f, sigma, axes = zip(*rows, strict=True)
        return History(np.array(evaluations), np.array(f), np.array(sigma), np.array(axes))

    def pack(self) -> dict[str, Any]:
        """All that changes, as plain data and the strategy's state, for `evoopt.rundir.codec`."""
        return {
            "state": self.state,
            "evaluations": self.evaluations,
            "failures": dict(self.failures),
            "first_failure": self.first_failure,
            "best_f": self.best_f,
            "best_x": self.best_x,
            "found": None if self.found is None else self.found.pack(),
            "open": list(self._open),
            "generation": self._generation,
            "history": [(e, f, s, tuple(a)) for e, f, s, a in self._history],
            "lateness": None if self.lateness is None else self.lateness.pack(),
        }

    def restore(self, packed: dict[str, Any]) -> None:
        """The inverse of `pack`, into a search of the same strategy and seed."""
        self.state = packed["state"]
        self.evaluations = packed["evaluations"]
        self.failures = dict(packed["failures"])
        self.first_failure = packed["first_failure"]
        self.best_f, self.best_x = packed["best_f"], packed["best_x"]
        self._open = list(packed["open"])
        self._generation = packed["generation"]
        self._history = [(e, f, s, list(a)) for e, f, s, a in packed["history"]]
        if self.found is not None:
            self.found.restore(packed["found"])
        late = packed.get("lateness")  # snapshots of before do not have it
        self.lateness = self.lateness if late is None else Lateness.unpack(late)

    def copy(self) -> Search:
        """An independent search in the same state. States are never written to, but where the
        strategy reuses their memory."""
        other = object.__new__(Search)
        other.__dict__.update(self.__dict__)
        if self.strategy.claims.consumes:
            other.state = deepcopy(self.state)
        other.failures, other._open = dict(self.failures), list(self._open)
        other._history = list(self._history)
        other.follower = None
        if self.lateness is not None:
            other.lateness = Lateness.unpack(self.lateness.pack())
        if self.found is not None:
            other.found = self.found.copy()
        return other

    def replica(self) -> Search:
        """A copy for another process, which asks and tells as this one and keeps no records."""
        other = self.copy()
        other._history = []
        other.best_f, other.best_x = -math.inf, None  # nothing is better: no best_x is made
        other.found = None
        return other

    def checksum(self) -> int:
        """CRC-32 of the distribution: equal for searches that have seen the same."""
        portrait = self.strategy.portrait(self.state)
        numbers = np.array([portrait.generation, portrait.sigma])
        return zlib.crc32(numbers.data, zlib.crc32(np.ascontiguousarray(portrait.mean).data))


def joined(blocks: list[Population]) -> Population:
    """The rows of all blocks, in order. Where a composition made them by different strategies, only
    identities and points are left."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    if len({_make(block) for block in blocks}) > 1:
        X = np.concatenate([np.asarray(b.X) for b in blocks])
        ids, epochs = [b.id for b in blocks], [b.epoch for b in blocks]
        return Population(np.concatenate(ids), np.concatenate(epochs), X)
    latent = [
        None if getattr(first, name) is None else np.concatenate([getattr(b, name) for b in blocks])
        for name in ("Z", "Y")
    ]
    return Population(
        np.concatenate([b.id for b in blocks]),
        np.concatenate([b.epoch for b in blocks]),
        stacked([b.X for b in blocks]),
        latent[0],
        latent[1],
        None if first.inner is None else joined([b.inner for b in blocks if b.inner is not None]),
    )


def _make(rows: Population) -> tuple[Any, ...]:
    """What rows must have in common to be joined."""
    inner = None if rows.inner is None else _make(rows.inner)
    return rows.Z is None, rows.Y is None, isinstance(rows.X, np.ndarray), inner


def _first_best(F: Array) -> int:
    """Index of the smallest value that is a number; 0 if there is none. F: (k,)."""
    return int(np.where(F > -math.inf, F, math.inf).argmin())

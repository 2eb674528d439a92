"""A search followed in other processes by messages whose length does not depend on its dimension.

Where the points of a search are a function of its state and their ids, a worker that holds a copy
of the search makes its points itself. It is sent the whole search once, and then what happened to
the original since: how many candidates were asked, and which values were told. From these it
computes the state that the original has, bit for bit, for `ask` and `tell` are pure.

The driver keeps a `Ledger`, each worker a `Replica`. To have rows evaluated, the driver sends an
`Order` where it would have sent their points; `Replica.points` makes points of it. A replica that
is not equal to the original, having computed other bits on another machine, says so by `Diverged`,
and is sent the whole search again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import EvooptError
from evoopt.result import Values

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

_LEAST_KEPT = 1 << 16  # numbers: news of this size are cheaper than the state of any search


class Followed(Protocol):
    """What is followed: an `evoopt.search.Search`."""

    follower: Any

    @property
    def open_rows(self) -> Any: ...
    def replica(self) -> Self: ...
    def ask(self, k: int | None = None) -> Any: ...
    def tell(self, ids: Ids, values: Values) -> Any: ...
    def inject(self, X: Array, values: Values) -> None: ...
    def checksum(self) -> int: ...


class Asked(NamedTuple):
    """k candidates were asked."""

    k: int


class Told(NamedTuple):
    """Values of the candidates `ids` were told. ids, F: (k,); failed ones are NaN."""

    ids: Ids
    F: Array


class Injected(NamedTuple):
    """Points from elsewhere were told. X: (k, dim); F: (k,)."""

    X: Array
    F: Array


Event = Asked | Told | Injected


class News(NamedTuple):
    """What brings a replica up to date.

    Attributes:
        search: the whole search, for a replica that has none or is too far behind; or None.
        events: what happened since.
        checksum: of the search after them.
    """

    search: Followed | None
    events: tuple[Event, ...]
    checksum: int


class Order(NamedTuple):
    """Rows to be evaluated by a worker that makes them itself. ids: (k,) of open candidates."""

    news: News
    ids: Ids


class Diverged(EvooptError):
    """A replica that followed all events and is not equal to the original."""


class Ledger:
    """The driver's record of what happened to a search, for replicas that follow it.

    It is the `follower` of the search, which calls `asked`, `told` and `injected`.
    """

    def __init__(self, search: Followed) -> None:
        self._search = search
        self._events: list[Event] = []
        self._first = 0  # number of the first event kept
        self._numbers = 0  # in the events kept
        self._checksum: int | None = None  # None: to be computed anew

    @property
    def number(self) -> int:
        """How many events there were."""
        return self._first + len(self._events)

    def asked(self, k: int) -> None:
        """k candidates were asked."""
        self._add(Asked(k), 1)

    def told(self, ids: Ids, values: Values) -> None:
        """Values of candidates were told; ids: (k,)."""
        self._add(Told(ids, values.F), 2 * len(ids))

    def injected(self, X: Array, values: Values) -> None:
        """Points from elsewhere were told; X: (k, dim)."""
        self._add(Injected(X, values.F), X.size)

    def _add(self, event: Event, numbers: int) -> None:
        self._events.append(event)
        self._numbers += numbers
        if not isinstance(event, Asked):  # which leaves the distribution as it is
            self._checksum = None
        if self._numbers > _LEAST_KEPT:  # the first half goes: whoever needs it gets the search
            half = (len(self._events) + 1) // 2
            self._first += half
            self._events = self._events[half:]
            self._numbers //= 2

    def news(self, seen: int | None) -> News:
        """What a replica that has seen so many events needs now; None: one that has no search."""
        if self._checksum is None:
            self._checksum = self._search.checksum()
        if seen is None or seen < self._first:
            return News(self._search.replica(), (), self._checksum)
        return News(None, tuple(self._events[seen - self._first :]), self._checksum)

    def order(self, seen: int | None, ids: Sequence[int]) -> Order:
        """To a replica that has seen so many events."""
        return Order(self.news(seen), np.array(ids, dtype=np.int64))


def ledger_of(search: Followed) -> Ledger | None:
    """A ledger, if the search can travel at all: a composition may hold functions that cannot."""
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.dumps(search.replica())
    except Exception:  # noqa: BLE001  # pickling raises whatever it meets; the points travel then
        return None
    return Ledger(search)


class Replica:
    """In a worker: a search that follows the one of the driver."""

    def __init__(self) -> None:
        self._search: Followed | None = None

    def points(self, what: Array | Order) -> Array:
        """(k, dim) points: what was sent, or made of an order.

        Raises:
            Diverged: the replica is of no use; it has to be sent the whole search.
        """
        if not isinstance(what, Order):
            return what
        self._follow(what.news)
        assert self._search is not None
        rows = self._search.open_rows
        place = {} if rows is None else {i: row for row, i in enumerate(rows.id.tolist())}
        try:
            wanted = [place[i] for i in what.ids.tolist()]
        except KeyError as error:
            raise Diverged(f"candidate {error} is not open") from None
        return np.asarray(rows.X[np.array(wanted, dtype=np.intp)])

    def _follow(self, news: News) -> None:
        search = self._search if news.search is None else news.search
        if search is None:
            raise Diverged("there is no search to follow")
        self._search = None  # until it is known to be equal
        changed = news.search is not None
        for event in news.events:
            changed = changed or not isinstance(event, Asked)
            if isinstance(event, Asked):
                search.ask(event.k)
            elif isinstance(event, Told):
                search.tell(event.ids, Values(event.F))
            else:
                search.inject(event.X, Values(event.F))
        if changed and news.checksum != search.checksum():  # it takes a look at every number
            raise Diverged("its distribution is not that of the original")
        self._search = search

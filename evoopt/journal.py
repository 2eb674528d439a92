"""The log of a search: what is written while it runs, and how a search is folded from it again.

Records, besides the header and notes of the run directory (`i` first id, `n` rows, `e` epoch,
`x` CRC-32 of the points, or of what they are drawn from, `f` values, `s` row -> [kind, message] of
failures):

    gen    i n e x f s    a whole generation, asked, evaluated and told, of a cheap objective
    ask    i n e x        candidates of which some are still to be evaluated
    eval   i f s X d      ids evaluated, their values, points, and seconds; not told yet (no X
                          where a strategy draws its points when they are looked at)
    tell   i              ids told, in this order; their values stand in earlier `eval` records
    trace  v f g a        evaluations, best f, sigma, axes: for plots; a replay makes them anew
    open                  another process took the run up
    stop   c m            criterion and message

Points of cheap objectives are not stored: they are drawn again and compared with their CRC.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import StateError
from evoopt.observers.base import Observer
from evoopt.result import Failure, StopReason, Values
from evoopt.rundir import RunDirectory, decode_values, encode_values, pack, unpack
from evoopt.search import Search
from evoopt.strategies.base import Ids, Population
from evoopt.strategies.drawn import checksum, is_drawn
from evoopt.strategies.states import state_classes

Array = NDArray[np.float64]

_SNAPSHOT_SECONDS = 10.0  # at least between two snapshots
_SNAPSHOT_SHARE = 0.01  # of the time that they may cost

# id -> (value or values, failure or None) of rows that are evaluated but not told
Pending = dict[int, tuple[float | list[float], Failure | None]]


class Journal:
    """Writes the log of one search.

    Attributes:
        directory: the run directory, open for writing.
    """

    def __init__(self, directory: RunDirectory, search: Search) -> None:
        """search: as `resume` left it, or fresh."""
        self.directory = directory
        rows = search.open_rows
        # first ids of open asks that have a record of their own
        self._asked: set[int] = set() if rows is None else {int(rows.id[0])}
        self._traced = -1 if search.last_record is None else search.last_record[0]
        self._last_snapshot = time.monotonic()
        self._snapshot_cost = 0.0

    def generation(self, rows: Population, values: Values, seconds: float) -> None:
        """One record for a generation that was evaluated at one go."""
        fields = {**_ask_fields(rows), **_values_fields(values)}
        self.directory.append("gen", fields, seconds=seconds)

    def asked(self, rows: Population) -> None:
        """Candidates that will have records of their own."""
        if int(rows.id[0]) not in self._asked:
            self._asked.add(int(rows.id[0]))
            self.directory.append("ask", _ask_fields(rows))

    def has_asked(self, rows: Population) -> bool:
        """Whether the first of the rows has an `ask` record."""
        return int(rows.id[0]) in self._asked

    def evaluated(self, ids: Ids, X: Array, values: Values, seconds: float) -> None:
        """Values that are safe from here on."""
        fields = {"i": ids.tolist(), **_values_fields(values), "d": seconds}
        if not is_drawn(X):
            fields["X"] = encode_values(X)
        self.directory.append("eval", fields, seconds=seconds / max(1, len(ids)))

    def told(self, ids: Ids) -> None:
        """Evaluated rows have entered the search."""
        self._asked.clear()
        self.directory.append("tell", {"i": ids.tolist()})

    def trace(self, search: Search) -> None:
        """The newest row of the history, once."""
        row = search.last_record
        if row is None or row[0] <= self._traced:
            return
        self._traced, f, sigma, axes = row
        fields = {"v": row[0], "f": _number(f), "g": _number(sigma)}
        self.directory.append("trace", {**fields, "a": [_number(a) for a in axes]})

    def stopped(self, reason: StopReason) -> None:
        """The last record of a run that ended by itself."""
        self.directory.append("stop", {"c": reason.criterion, "m": str(reason)})

    def snapshot(self, search: Search, pending: Pending, *, force: bool = False) -> None:
        """Saves the search if the last snapshot is old enough, or at once."""
        now = time.monotonic()
        wait = max(_SNAPSHOT_SECONDS, self._snapshot_cost / _SNAPSHOT_SHARE)
        if not force and now - self._last_snapshot < wait:
            return
        held = {
            str(i): (f, None if x is None else (x.kind, x.message)) for i, (f, x) in pending.items()
        }
        arrays, meta = pack({"search": search.pack(), "pending": held})
        self.directory.save_snapshot(arrays, {"content": meta})
        self._last_snapshot = time.monotonic()
        self._snapshot_cost = self._last_snapshot - now


def resume(directory: RunDirectory, search: Search, observers: tuple[Observer, ...]) -> Pending:
    """Folds the log into a fresh search. Returns: rows evaluated but not told yet.

    The newest valid snapshot shortens the replay where no observer wants to see the rows.

    Raises:
        StateError: a point drawn again differs from the one in the log, or a record is unknown.
    """
    pending: Pending = {}
    start = 0
    snapshot = None if observers else directory.latest_snapshot()
    if snapshot is not None:
        content = unpack(snapshot.arrays, snapshot.meta["content"], state_classes())
        search.restore(content["search"])
        pending = {
            int(i): (f, None if x is None else Failure(*x))
            for i, (f, x) in content["pending"].items()
        }
        start = snapshot.sequence
    search.replaying = True
    for record in directory.records(start):
        _apply(record, search, pending, observers, directory)
    search.replaying = False
    return pending


def _apply(
    record: dict[str, Any],
    search: Search,
    pending: Pending,
    observers: tuple[Observer, ...],
    directory: RunDirectory,
) -> None:
    """One record of the log, folded in."""
    kind = record["t"]
    if kind in ("gen", "ask"):
        rows = search.ask(record["n"])
        _compare(rows, record, directory)
        if kind == "gen":
            tell(search, rows.id, _values(record), observers)
    elif kind == "eval":
        values = _values(record)
        for row, i in enumerate(record["i"]):
            pending[i] = waiting(values, row)
    elif kind == "tell":
        ids = np.array(record["i"], dtype=np.int64)
        tell(search, ids, take(pending, ids), observers)
    elif kind not in ("header", "note", "trace", "open", "stop"):
        raise StateError(f"{directory.path}: unknown record type {kind!r}; is evoopt too old?")


def tell(search: Search, ids: Ids, values: Values, observers: tuple[Observer, ...]) -> None:
    """Rows enter the search, and the observers see them."""
    rows = search.tell(ids, values)
    for observer in observers:
        observer.told(search, rows.id, rows.X, values)


def waiting(values: Values, row: int) -> tuple[float | list[float], Failure | None]:
    """One row, to be kept in `Pending`."""
    return values.F[row].tolist(), values.failures.get(row)


def take(pending: Pending, ids: Ids) -> Values:
    """Removes the rows `ids` from what is pending; their values in that order."""
    got = [pending.pop(i) for i in ids.tolist()]
    failures = {row: failure for row, (_, failure) in enumerate(got) if failure is not None}
    return Values(np.array([f for f, _ in got]), failures=failures)


def traces(records: Iterator[dict[str, Any]]) -> Iterator[tuple[int, float, float, list[float]]]:
    """The rows of the history that stand in a log: evaluations, best f, sigma, axes."""
    for record in records:
        if record["t"] == "trace":
            yield (
                record["v"],
                float(record["f"]),
                float(record["g"]),
                [float(a) for a in record["a"]],
            )


def _compare(rows: Population, record: dict[str, Any], directory: RunDirectory) -> None:
    """The points drawn again must be those of the log, bit for bit."""
    if len(rows) == record["n"] and int(rows.id[0]) == record["i"] and _crc(rows.X) == record["x"]:
        return
    raise StateError(
        f"{directory.path}: generation {record['e']}, candidate {record['i']}: the points drawn "
        "again are not those of the log (another machine, BLAS or version of numpy or evoopt?); "
        "`evoopt show` still reads the run"
    )


def _ask_fields(rows: Population) -> dict[str, Any]:
    return {"i": int(rows.id[0]), "n": len(rows), "e": int(rows.epoch[0]), "x": _crc(rows.X)}


def _values_fields(values: Values) -> dict[str, Any]:
    fields: dict[str, Any] = {"f": encode_values(values.F)}
    if values.failures:
        fields["s"] = {str(row): [f.kind, f.message] for row, f in values.failures.items()}
    return fields


def _values(record: dict[str, Any]) -> Values:
    failures = {int(row): Failure(*f) for row, f in record.get("s", {}).items()}
    return Values(decode_values(record["f"]), failures=failures)


def _crc(X: Array) -> str:
    return f"{checksum(X):08x}"


def _number(value: float) -> float | str:
    """A JSON number, or the name of one that JSON lacks."""
    value = float(value)
    return value if np.isfinite(value) else repr(value)

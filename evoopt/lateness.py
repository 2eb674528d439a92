"""How late results come, in an asynchronous search: generations between an ask and its tell."""

from __future__ import annotations

from collections import Counter
from typing import Any

from evoopt.strategies.base import Ids

_SINGLY = 3  # ages with a share of their own in the note


class Lateness:
    """The tally; see `Search`.

    Attributes:
        counts: generations between ask and tell -> results.
    """

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self._asked_in: dict[int, int] = {}  # id of an open row -> generation of its ask

    def asked(self, ids: Ids, generation: int) -> None:
        """Rows are asked in this generation. ids: (k,)."""
        self._asked_in.update(dict.fromkeys(ids.tolist(), generation))

    def told(self, ids: Ids, generation: int) -> None:
        """Their values come in this one. ids: (k,)."""
        for i in ids.tolist():
            self.counts[generation - self._asked_in.pop(i)] += 1

    def note(self) -> str:
        """For `Result.notes`."""
        total, ages = self.counts.total(), self.counts
        if total == 0:
            return "asynchronous: no result came"
        parts = [f"{_share(ages[0], total)} at once"] if ages[0] else []
        for age in range(1, _SINGLY + 1):
            if ages[age]:
                parts.append(f"{_share(ages[age], total)} {age} late")
        older = sum(n for age, n in ages.items() if age > _SINGLY)
        if older:
            parts.append(f"{_share(older, total)} up to {max(ages)} late")
        return f"asynchronous: all {total} results used ({', '.join(parts)}; in generations)"

    def pack(self) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
        """All that changes, as plain data."""
        return tuple(sorted(self.counts.items())), tuple(self._asked_in.items())

    @classmethod
    def unpack(cls, packed: Any) -> Lateness:
        """The inverse of `pack`."""
        self = cls()
        counts, self._asked_in = packed[0], dict(packed[1])
        self.counts.update(dict(counts))
        return self


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if 200 * part >= whole else "under 1%"

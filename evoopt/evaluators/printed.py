"""The value in what a program printed: the last number, or the "f" of a JSON object at the end."""

from __future__ import annotations

import json
import math
import re

from evoopt.evaluators.slot import TAIL
from evoopt.evaluators.tasks import Outcome, said_last
from evoopt.objective import described, one_line
from evoopt.result import RAISED, Failure

_NUMBER = re.compile(  # 1, -2.5, .5e-3, 1.0D+02 (Fortran), nan, -inf; no part of a word: x1, 20ms
    r"(?<![\w.])[-+]?(?:(?:\d++(?:\.\d*+)?|\.\d++)(?:[ed][-+]?\d++)?|nan|inf(?:inity)?)(?!\w)",
    re.I,
)  # ++ and *+ never try again with fewer digits: linear in the length of whatever was printed


def value_in(outcome: Outcome) -> tuple[float, Failure | None]:
    """The value that a program printed, or NaN and why there is none."""
    text = outcome.out
    if outcome.printed > TAIL:  # the beginning is cut off, perhaps within a number
        text = text.partition("\n")[2] if "\n" in text else text.partition(" ")[2]
    last = text.rstrip().rpartition("\n")[2].strip()
    if last.startswith("{"):
        try:
            found = json.loads(last)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return _value_of(found)
    numbers = _NUMBER.findall(text)
    if numbers:
        return float(numbers[-1].lower().replace("d", "e")), None
    what = "nothing" if not text.strip() else f"no number{said_last(text)}"
    return math.nan, Failure(RAISED, f"the program printed {what}")


def _value_of(found: dict[str, object]) -> tuple[float, Failure | None]:
    """The value in a JSON object."""
    key = next((key for key in ("f", "value") if key in found), None)
    if key is None:
        keys = one_line(", ".join(map(repr, found))) or "none"
        return math.nan, Failure(RAISED, f"the program printed JSON without 'f'; its keys: {keys}")
    value = found[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value), None
        except OverflowError:
            return math.copysign(math.inf, value), None
    message = f"the program's JSON must hold a number as '{key}'; got {described(value)}"
    return math.nan, Failure(RAISED, message)

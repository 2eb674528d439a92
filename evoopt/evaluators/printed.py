"""The values in what a program printed: the last numbers, or "f" of a JSON object at the end."""

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


def value_in(outcome: Outcome, n_obj: int = 1) -> tuple[float | list[float], Failure | None]:
    """The value that a program printed, or a list of n_obj > 1 of them; or NaN and why there is
    none."""
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
            return _value_of(found, n_obj)
    numbers = [float(number.lower().replace("d", "e")) for number in _NUMBER.findall(text)[-n_obj:]]
    if len(numbers) == n_obj:
        return numbers[0] if n_obj == 1 else numbers, None
    what = "nothing" if not text.strip() else f"no number{said_last(text)}"
    if numbers:
        what = f"{len(numbers)} numbers instead of {n_obj}{said_last(text)}"
    return math.nan, Failure(RAISED, f"the program printed {what}")


def _value_of(found: dict[str, object], n_obj: int) -> tuple[float | list[float], Failure | None]:
    """The value or the values in a JSON object."""
    key = next((key for key in ("f", "value") if key in found), None)
    if key is None:
        keys = one_line(", ".join(map(repr, found))) or "none"
        return math.nan, Failure(RAISED, f"the program printed JSON without 'f'; its keys: {keys}")
    value = found[key]
    parts = [value] if n_obj == 1 else value
    if isinstance(parts, list) and len(parts) == n_obj and all(map(_is_number, parts)):
        numbers = [_as_float(part) for part in parts]
        return numbers[0] if n_obj == 1 else numbers, None
    expected = "a number" if n_obj == 1 else f"a list of {n_obj} numbers"
    message = f"the program's JSON must hold {expected} as '{key}'; got {described(value)}"
    return math.nan, Failure(RAISED, message)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_float(number: float) -> float:
    """Infinite where it is out of the range of float64."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)

"""Arrays of float64 as JSON values and back, exactly, NaN and infinities included.

A short array is a list that a person can read, non-finite numbers as the strings "nan", "inf" and
"-inf" (which drop the sign and payload of a NaN); a long one is `{"f8": base64, "shape": [...]}` of
its little-endian bytes, since the shortest decimal form costs 1 us and 20 bytes a number.
"""

from __future__ import annotations

import base64
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import StateError

Array = NDArray[np.float64]
LIST_LIMIT = 8  # numbers; from there on base64 takes less time, and nobody reads one by one

_NONFINITE = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


def encode_values(F: Array) -> list[Any] | dict[str, Any]:
    """`F` as a value for a JSON record; `decode_values` gives it back bit for bit.

    Args:
        F: (k,) or (k, n_obj) float64, any values.
    """
    if F.size > LIST_LIMIT or (F.ndim > 1 and F.size == 0):  # an empty list would lose its shape
        raw = np.ascontiguousarray(F, dtype="<f8").tobytes()
        return {"f8": base64.b64encode(raw).decode(), "shape": list(F.shape)}
    return _spelled(F.tolist())


def decode_values(data: Any) -> Array:
    """The array that `encode_values` was given.

    Raises:
        StateError: `data` was not made by `encode_values`.
    """
    try:
        if isinstance(data, dict):
            raw = base64.b64decode(data["f8"], validate=True)
            return np.frombuffer(raw, dtype="<f8").reshape(data["shape"]).astype(np.float64)
        if isinstance(data, list):
            return np.array(_read(data), dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"decode_values(...) met a damaged array: {error!r}") from error
    raise StateError(f"decode_values(...) needs a list or an object; got {type(data).__name__}")


def _spelled(rows: list[Any]) -> list[Any]:
    """Nested lists with non-finite numbers as strings: repr gives "nan", "inf" and "-inf"."""
    return [_spelled(v) if isinstance(v, list) else v if isfinite(v) else repr(v) for v in rows]


def _read(rows: list[Any]) -> list[Any]:
    """Nested lists with those three strings, and no others, as numbers."""
    return [
        _read(v) if isinstance(v, list) else _NONFINITE[v] if isinstance(v, str) else float(v)
        for v in rows
    ]

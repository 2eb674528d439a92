"""Nested states as arrays and JSON data and back, bit for bit, without running code from a file.

JSON scalars and lists stand for themselves; all else is an object with one key, its tag:

    {"tuple": [...]}  {"dict": {...}}  {"int": "0x..."}  {"float": "hex of 8 bytes"}
    {"array": "name"}  {"scalar": "name"}             stored among the arrays
    {"data": [class name, {field: value}]}            a dataclass or NamedTuple
    {"own": [class name, value]}                      a class with __pack__ and __unpack__

Classes are looked up in a dictionary that the caller gives, by their `__name__`; nothing is
imported, and a dataclass is made by calling it, so that its own checks run.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import StateError

Arrays = dict[str, NDArray[Any]]

# what a class of another version, or a forged file, makes of fields that it does not expect
_WRONG = (TypeError, ValueError, LookupError, AttributeError, struct.error)
_SAFE_INT = 1 << 63  # above, hexadecimal: decimal digits are limited by the interpreter


def pack(obj: Any) -> tuple[Arrays, Any]:
    """Take an object apart into arrays and JSON data.

    Args:
        obj: dataclasses, dicts with str keys, tuples, lists, None, bool, int, float, str, numpy
            arrays (C or F order, no Python objects) and scalars, nested at will; and objects whose
            class defines `__pack__(self)` and a classmethod `__unpack__(cls, plain)`.

    Returns:
        The arrays by name (not copied), and the JSON data that refers to them.

    Raises:
        StateError: something else was met; names its place in `obj`.
    """
    arrays: Arrays = {}
    return arrays, _pack(obj, type(obj).__name__, arrays)


def unpack(arrays: Mapping[str, NDArray[Any]], meta: Any, classes: Mapping[str, type]) -> Any:
    """Put together what `pack` took apart.

    Args:
        arrays: by name, as `pack` returned them.
        meta: the JSON data that `pack` returned.
        classes: name -> class, the only ones that may occur.

    Raises:
        StateError: `meta` is malformed, a class is unknown or has other fields, or the arrays do
            not match.
    """
    unpacker = _Unpacker(arrays, classes)
    try:
        obj = unpacker.build(meta)
    except RecursionError as error:
        raise _malformed("objects nested too deeply") from error
    if unused := set(arrays) - unpacker.used:
        raise _malformed(f"arrays that nothing refers to: {sorted(unused)}")
    return obj


def _pack(obj: Any, place: str, arrays: Arrays) -> Any:
    kind = type(obj)
    if obj is None or kind in (bool, str):
        return obj
    if kind is int:
        return obj if -_SAFE_INT <= obj < _SAFE_INT else {"int": hex(obj)}
    if kind is float:
        return obj if math.isfinite(obj) else {"float": struct.pack("<d", obj).hex()}
    if kind is list:
        return _pack_items(obj, place, arrays)
    if kind is tuple:
        return {"tuple": _pack_items(obj, place, arrays)}
    if kind is dict:
        if not all(type(key) is str for key in obj):
            raise StateError(f"pack(...) needs str as keys of a dict; got others at {place}")
        return {"dict": {key: _pack(v, f"{place}[{key!r}]", arrays) for key, v in obj.items()}}
    if kind is np.ndarray or isinstance(obj, np.generic):
        return {"array" if kind is np.ndarray else "scalar": _store(obj, place, arrays)}
    if hasattr(kind, "__pack__"):
        return {"own": [kind.__name__, _pack(obj.__pack__(), place, arrays)]}
    if _field_names(kind) is not None:
        return {"data": [kind.__name__, _pack_fields(obj, place, arrays)]}
    raise StateError(f"pack(...) cannot store a {kind.__name__}, met at {place}")


def _pack_items(obj: Any, place: str, arrays: Arrays) -> list[Any]:
    return [_pack(item, f"{place}[{i}]", arrays) for i, item in enumerate(obj)]


def _pack_fields(obj: Any, place: str, arrays: Arrays) -> dict[str, Any]:
    names = _field_names(type(obj)) or []
    return {name: _pack(getattr(obj, name), f"{place}.{name}", arrays) for name in names}


def _field_names(kind: type) -> list[str] | None:
    """Of a dataclass or a NamedTuple; None for other classes."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return list(getattr(kind, "_fields", ())) or None


def _store(obj: Any, place: str, arrays: Arrays) -> str:
    """Put an array or scalar among the arrays. Returns: its name there."""
    values = np.asarray(obj)
    if values.dtype.hasobject:
        raise StateError(f"pack(...) cannot store Python objects in an array, met at {place}")
    if not (values.flags.c_contiguous or values.flags.f_contiguous):
        # a restored copy would have other strides, hence other last bits in what BLAS makes of it
        raise StateError(f"pack(...) needs arrays in C or F order; got a strided view at {place}")
    name = f"a{len(arrays)}"
    arrays[name] = values
    return name


class _Unpacker:
    """Builds objects from JSON data; remembers which arrays were used."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], classes: Mapping[str, type]) -> None:
        self._arrays = arrays
        self._classes = classes
        self.used: set[str] = set()
        self._builders: dict[str, tuple[type, Callable[[Any], Any]]] = {
            "tuple": (list, lambda value: tuple(self.build(item) for item in value)),
            "dict": (dict, lambda value: {key: self.build(v) for key, v in value.items()}),
            "int": (str, lambda value: int(value, 16)),
            "float": (str, lambda value: struct.unpack("<d", bytes.fromhex(value))[0]),
            "array": (str, self._array),
            "scalar": (str, lambda value: self._array(value)[()]),
            "data": (list, self._data),
            "own": (list, self._own),
        }

    def build(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.build(item) for item in node]
        if not isinstance(node, dict):
            return node
        if len(node) != 1:
            raise _malformed(f"an object with the keys {sorted(node)}")
        tag, value = next(iter(node.items()))
        expected, builder = self._builders.get(tag, (None, None))
        if expected is None or builder is None or not isinstance(value, expected):
            raise _malformed(f"{tag!r} with a {type(value).__name__}")
        try:
            return builder(value)
        except _WRONG as error:
            raise _malformed(f"{tag!r}: {error}") from error

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            raise _malformed(f"a reference to the array {name!r}, which is missing")
        self.used.add(name)
        return self._arrays[name]

    def _data(self, value: list[Any]) -> Any:
        cls, fields = self._class(value)
        names = _field_names(cls)
        if names is None or not isinstance(fields, dict):
            raise _malformed(f"fields for {cls.__name__}, which has none")
        expected = set(names)
        if expected != fields.keys():
            raise _malformed(
                f"{cls.__name__} with other fields than this version has: "
                f"{sorted(expected ^ fields.keys())}"
            )
        return cls(**{name: self.build(v) for name, v in fields.items()})

    def _own(self, value: list[Any]) -> Any:
        cls, plain = self._class(value)
        if not hasattr(cls, "__unpack__"):
            raise _malformed(f"{cls.__name__}, which has no __unpack__")
        return cls.__unpack__(self.build(plain))

    def _class(self, value: list[Any]) -> tuple[Any, Any]:
        name, content = value
        if not isinstance(name, str) or name not in self._classes:
            raise _malformed(f"the class {name!r}, which is not among {sorted(self._classes)}")
        return self._classes[name], content


def _malformed(what: str) -> StateError:
    return StateError(f"unpack(...) met {what}: the state is damaged or of another version")

"""A state comes back bit for bit, and only from what `pack` made of it."""

import json
import struct
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir import pack, snapshot, unpack


@dataclass(frozen=True, slots=True)
class Inner:
    a: Any
    b: Any = None


@dataclass(frozen=True, slots=True)
class State:
    mean: Any
    inner: Any = field(kw_only=True)
    limit: ClassVar[int] = 3


@dataclass
class Positive:
    sigma: float

    def __post_init__(self):
        if self.sigma <= 0:
            raise ConfigurationError("Positive(sigma=...) must be positive")


class Buffer:
    """Packs the used part of what it has reserved."""

    def __init__(self, rows):
        self.reserved = np.empty(100)
        self.used = len(rows)
        self.reserved[: self.used] = rows

    def __pack__(self):
        return self.reserved[: self.used]

    @classmethod
    def __unpack__(cls, plain):
        return cls(plain)


CLASSES = {cls.__name__: cls for cls in (Inner, State, Positive, Buffer)}
DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.floating_dtypes(endianness="="),
    hnp.floating_dtypes(endianness=">"),
    hnp.complex_number_dtypes(),
    hnp.unicode_string_dtypes(max_len=3),
    hnp.datetime64_dtypes(),
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
ARRAYS = st.tuples(hnp.arrays(DTYPES, SHAPES), st.sampled_from("CF")).map(
    lambda pair: np.array(pair[0], order=pair[1])
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**70)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | ARRAYS
    | hnp.from_dtype(np.dtype(np.float64))
    | hnp.from_dtype(np.dtype(np.int8))
    | hnp.from_dtype(np.dtype(np.bool_))
)
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.builds(Inner, inner, inner),
        st.builds(State, inner, inner=inner),
    ),
    max_leaves=8,
)


def same(a, b):
    """Equal in type and bits, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and not isinstance(a, np.generic):
        return struct.pack("<d", a) == struct.pack("<d", b)
    if isinstance(a, np.ndarray | np.generic):
        return (
            (a.dtype.str, a.shape, a.strides) == (b.dtype.str, b.shape, b.strides) or a.size == 0
        ) and (a.dtype.str, a.shape, a.tobytes()) == (b.dtype.str, b.shape, b.tobytes())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def through_json(obj):
    arrays, meta = pack(obj)
    return unpack(arrays, json.loads(json.dumps(meta, allow_nan=False)), CLASSES)


@given(OBJECTS)
@settings(max_examples=300)
def test_any_object_comes_back(obj):
    assert same(through_json(obj), obj)


@given(OBJECTS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_object_comes_back_from_a_file(tmp_path, sound_disk, obj):
    path = tmp_path / "codec.npz"
    snapshot.save(path, *pack(obj))
    assert same(unpack(*snapshot.load(path), CLASSES), obj)


EXACT = {
    "NaN with a payload": struct.unpack("<d", bytes.fromhex("010000000000f8ff"))[0],
    "minus zero": -0.0,
    "a float without fraction": 3.0,
    "an int beyond the digits that Python prints": -(7**9000),
    "a scalar that is a float": np.float64(0.1),
    "half a surrogate": "\ud800",
    "an empty array": np.zeros((3, 0), order="F"),
    "an array without axes": np.array(2.5),
    "a column-major matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "its transpose": np.arange(6.0).reshape(2, 3).T,
    "other byte order": np.arange(3, dtype=">u2"),
    "named columns": np.array([(1, 2.0)], dtype=[("id", "<i8"), ("f", "<f8")]),
    "keys that look like tags": {"tuple": [1], "array": {"class": "State"}},
}


@pytest.mark.parametrize("obj", EXACT.values(), ids=EXACT.keys())
def test_values_at_the_edge_come_back(obj):
    assert same(through_json([obj]), [obj])


def test_a_class_can_pack_itself():
    buffer = through_json({"history": Buffer([1.0, 2.0])})["history"]
    assert type(buffer) is Buffer
    assert buffer.reserved[: buffer.used].tolist() == [1.0, 2.0]
    assert pack(Buffer([1.0, 2.0]))[0]["a0"].shape == (2,)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (Inner(a={"x": (0, object())}), r"a object, met at Inner\.a\['x'\]\[1\]"),
        (Inner(a={1: 2}), r"str as keys of a dict; got others at Inner\.a"),
        ([np.array([None])], r"Python objects in an array, met at list\[0\]"),
        (Inner(a=np.arange(6.0)[::2]), r"strided view at Inner\.a"),
        ({1, 2}, "cannot store a set"),
        (np.ma.masked_array([1.0]), "cannot store a MaskedArray"),
        (b"", "cannot store a bytes"),
        (Inner, "cannot store a type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # the repr of an object varies
)
def test_what_cannot_be_stored_is_refused_with_its_place(obj, message):
    with pytest.raises(StateError, match=message):
        pack(obj)


DAMAGED = {
    "an unknown tag": {"code": "1"},
    "two tags": {"tuple": [], "dict": {}},
    "no tag": {},
    "a tag with a wrong value": {"tuple": {}},
    "an unknown class": {"data": ["Missing", {}]},
    "a class by its path": {"data": ["os.system", {"command": "true"}]},
    "a class of another kind": {"data": ["Buffer", {}]},
    "a class that does not unpack": {"own": ["Inner", []]},
    "a missing field": {"data": ["Inner", {"a": 1}]},
    "an extra field": {"data": ["Inner", {"a": 1, "b": 2, "c": 3}]},
    "fields in a list": {"data": ["Inner", [1, 2]]},
    "no fields": {"data": ["Inner"]},
    "a name that is no text": {"data": [[], {}]},
    "a value that the class refuses": {"data": ["Positive", {"sigma": -1.0}]},
    "a type that the class cannot take": {"data": ["Positive", {"sigma": "1"}]},
    "a missing array": {"array": "a7"},
    "a missing scalar": {"scalar": "a7"},
    "no hexadecimal": {"int": "12x"},
    "half a float": {"float": "00"},
}


@pytest.mark.parametrize("meta", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_pack_did_not_make_is_refused_in_one_line(meta):
    with pytest.raises(StateError, match="damaged or of another version") as caught:
        unpack({}, meta, CLASSES)
    assert "\n" not in str(caught.value)


def test_an_array_that_nothing_refers_to_is_refused():
    with pytest.raises(StateError, match=r"arrays that nothing refers to: \['a7'\]"):
        unpack({"a7": np.zeros(2)}, [], CLASSES)


def test_nesting_without_end_is_refused():
    meta: Any = None
    for _ in range(5000):
        meta = [meta]
    with pytest.raises(StateError, match="nested too deeply"):
        unpack({}, meta, CLASSES)

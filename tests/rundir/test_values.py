"""Arrays of values pass through JSON bit for bit."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evoopt.errors import StateError
from evoopt.rundir import decode_values, encode_values

ANY_SHAPE = hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=12)


def through_json(F):
    return decode_values(json.loads(json.dumps(encode_values(F), allow_nan=False)))


@given(hnp.arrays(np.float64, ANY_SHAPE, elements=st.floats(width=64)))
def test_any_array_comes_back(F):
    G = through_json(F)
    assert (G.shape, G.dtype, G.flags.writeable) == (F.shape, F.dtype, True)
    assert np.where(np.isnan(G), 0, G).tobytes() == np.where(np.isnan(F), 0, F).tobytes()
    assert (np.isnan(G) == np.isnan(F)).all()


@pytest.mark.parametrize("k", [1, 3, 8, 9, 1000])
def test_every_finite_float_keeps_its_bits(k):
    bits = np.random.default_rng(7).integers(0, 2**64, size=(100, k), dtype=np.uint64)
    F = bits.view(np.float64)
    F[~np.isfinite(F)] = -0.0
    for row in F:
        assert through_json(row).tobytes() == row.tobytes()


def test_a_few_values_can_be_read_and_many_are_short():
    assert encode_values(np.array([0.1, np.nan, np.inf, -np.inf])) == [0.1, "nan", "inf", "-inf"]
    assert encode_values(np.array([[1.0, np.nan]])) == [[1.0, "nan"]]
    assert len(json.dumps(encode_values(np.random.default_rng(0).random(1000)))) < 11_000


@pytest.mark.parametrize("F", [np.arange(20.0)[::2], np.arange(40.0).reshape(4, 10).T])
def test_views_are_stored_by_their_values(F):
    assert (through_json(F) == F).all()


DAMAGED = [
    None,
    "nan",
    1.0,
    ["NaN"],
    [" inf"],
    ["1.0"],
    [None],
    [[1.0], [1.0, 2.0]],
    {},
    {"f8": "AAAA"},
    {"f8": "AAAA", "shape": [1]},
    {"f8": "AAAAAAAAAAA=", "shape": [2]},
    {"f8": "AAAAAAAAAAA=", "shape": "x"},
    {"f8": "!AAAAAAAAAAA=", "shape": [1]},
    {"f8": 1, "shape": [1]},
]


@pytest.mark.parametrize("data", DAMAGED, ids=str)
def test_what_encode_did_not_make_is_refused(data):
    with pytest.raises(StateError, match="decode_values"):
        decode_values(data)

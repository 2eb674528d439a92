"""Rounding to small formats, beside the casts of ml_dtypes and beside all numbers of a format."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from evoopt_llm import minifloat
from evoopt_llm.minifloat import E2M1, E4M3, E5M2, E8M0, UE5M3

CASTS = {
    "e2m1": (E2M1, ml_dtypes.float4_e2m1fn, 4),
    "e4m3": (E4M3, ml_dtypes.float8_e4m3fn, 8),
    "e5m2": (E5M2, ml_dtypes.float8_e5m2, 8),
}


def numbers(grid):
    """All positive finite ones, float64, from the definition of a floating-point number."""
    m, low = grid.mantissa_bits, grid.least_exponent
    found = {k * 2.0 ** (low - m) for k in range(2**m)}  # subnormal, and zero
    for exponent in range(low, 128):
        found |= {(2**m + k) * 2.0 ** (exponent - m) for k in range(2**m)}
    return np.array(sorted(x for x in found if grid.least <= x <= grid.largest))


def around(values):
    """The values, the middles between them, and the float32 on either side of each."""
    with np.errstate(over="ignore"):
        exact = np.concatenate([values, (values[1:] + values[:-1]) / 2]).astype(np.float32)
    below, above = (np.nextafter(exact, np.float32(to)) for to in (0, np.inf))
    return np.concatenate([exact, below, above])


@pytest.mark.parametrize("name", CASTS)
def test_nearest_equals_the_cast_of_ml_dtypes_at_and_beside_every_tie(name):
    grid, cast, _ = CASTS[name]
    x = around(numbers(grid))
    x = np.concatenate([x, -x])
    expected = np.clip(x, -grid.largest, grid.largest).astype(cast).astype(np.float32)
    got = minifloat.nearest_(torch.from_numpy(x), grid).numpy()
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", CASTS)
def test_a_format_has_the_numbers_that_ml_dtypes_says(name):
    grid, cast, bits = CASTS[name]
    codes = np.arange(2 ** (bits - 1), dtype=np.uint8).view(cast).astype(np.float64)
    assert numbers(grid).tolist() == codes[np.isfinite(codes)].tolist()
    assert grid.bits == bits


def test_e8m0_holds_the_powers_of_two_that_ml_dtypes_says():
    codes = np.arange(255, dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float64)
    x = torch.from_numpy(codes.astype(np.float32))
    for rounding in ("nearest", "up", "down"):
        assert torch.equal(minifloat.directed(x, E8M0, rounding), x)
    assert E8M0.least == codes[0]
    assert E8M0.largest == codes[-1]
    assert minifloat.directed(torch.zeros(1), E8M0, "nearest").item() == codes[0]


@pytest.mark.parametrize("grid", [E4M3, E5M2, UE5M3, E8M0], ids=["e4m3", "e5m2", "ue5m3", "e8m0"])
@pytest.mark.parametrize("rounding", ["nearest", "up", "down"])
def test_directed_rounding_takes_the_neighbour_that_it_names(grid, rounding):
    values = numbers(grid)
    x = around(values)
    x = x[x <= grid.largest]
    above = np.minimum(np.searchsorted(values, x.astype(np.float64)), len(values) - 1)
    exact = values[above] == x
    below = np.where(exact, above, np.maximum(above - 1, 0))
    lo, hi = values[below], values[above]
    if rounding == "nearest":
        middle = (lo + hi) / 2
        expected = np.where(x < middle, lo, hi)
        tie = (x == middle) & ~exact
        even = np.where(below % 2 == 0, lo, hi) if grid.mantissa_bits else hi
        expected = np.where(tie, even, expected)
    else:
        expected = hi if rounding == "up" else lo
    got = minifloat.directed(torch.from_numpy(x), grid, rounding).double().numpy()
    np.testing.assert_array_equal(got, expected)


def test_what_lies_beyond_the_largest_number_becomes_that_and_nan_stays():
    x = torch.tensor([1e30, torch.inf, torch.nan])
    for grid in (E4M3, E5M2, UE5M3):
        got = minifloat.directed(x, grid, "up")
        assert got[:2].tolist() == [grid.largest] * 2
        assert got[2].isnan()
    both = torch.cat((x, -x))
    assert minifloat.nearest_(both.clone(), E2M1).nan_to_num(7).tolist() == [6, 6, 7, -6, -6, 7]
    drawn = minifloat.stochastic_(both, E2M1, torch.full((6,), 0.5))
    assert drawn.nan_to_num(7).tolist() == [6, 6, 7, -6, -6, 7]


def test_stochastic_rounding_leaves_the_numbers_of_the_format_alone():
    values = torch.from_numpy(numbers(E2M1)).float()
    values = torch.cat((values, -values))
    for u in (0.0, 0.5, 1 - 2.0**-24):
        assert torch.equal(
            minifloat.stochastic_(values.clone(), E2M1, torch.full_like(values, u)), values
        )


def test_stochastic_rounding_goes_up_for_the_share_of_numbers_below_its_place():
    x = torch.tensor([0.125, 0.3, 1.2, 1.9, 2.75, 3.5, 4.5, 5.5, -0.125, -2.75, -5.5])
    low = torch.tensor([0, 0, 1, 1.5, 2, 3, 4, 4, -0.5, -3, -6.0])
    high = torch.tensor([0.5, 0.5, 1.5, 2, 3, 4, 6, 6, 0, -2, -4.0])
    u = torch.arange(1000) / 1000
    got = minifloat.stochastic_(x.repeat(1000, 1), E2M1, u[:, None].expand(-1, len(x)))
    up = got == high
    assert torch.equal(got, torch.where(up, high, low))
    place = (x.double() - low) / (high - low)
    assert ((up.double().mean(0) - place).abs() <= 1e-3).all()

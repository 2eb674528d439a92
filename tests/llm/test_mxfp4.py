"""MXFP4 beside an oracle of logarithms and ml_dtypes' casts, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_fp4 import mxfp4 as oracle

from evoopt_llm import fourbit
from evoopt_llm.mxfp4 import Policy, dequantize, quantize, quantize_dequantize


def mixed(count):
    random = np.random.default_rng(count)
    x = random.standard_normal((count // 32, 32)) * 10 ** random.uniform(-30, 30, (count // 32, 1))
    return x.astype(np.float32)


@pytest.mark.parametrize("rule", ["floor", "ceil"])
def test_a_million_numbers_of_mixed_magnitude_equal_the_oracle_bit_for_bit(rule):
    x = mixed(2**20)
    expected = oracle(x, rule=rule)
    kept = quantize(torch.from_numpy(x), Policy(scale=rule))
    got = quantize_dequantize(torch.from_numpy(x), Policy(scale=rule))
    assert got.numpy().tobytes() == expected.restored.tobytes()
    assert kept.block_scales.flatten().numpy().tobytes() == expected.scales.tobytes()
    assert torch.equal(dequantize(kept, Policy(scale=rule)), got)


@pytest.mark.parametrize("two_d", [False, True])
@pytest.mark.parametrize("block", [8, 64])
def test_other_blocks_equal_the_oracle_bit_for_bit(block, two_d):
    x = mixed(2**14).reshape(128, 128)
    expected = oracle(x, block, two_d=two_d).restored
    got = quantize_dequantize(torch.from_numpy(x), Policy(block=block, two_d=two_d))
    assert got.numpy().tobytes() == expected.tobytes()


def test_floor_saturates_what_ceil_does_not_at_every_power_of_two():
    for exponent in (-100, -1, 0, 1, 100):
        for largest in (4.0, 6.0, 6.5, 7.5, np.nextafter(np.float32(6), np.float32(7))):
            x = torch.zeros(32)
            x[3] = float(largest) * 2.0**exponent
            floor = quantize(x, Policy()).block_scales.item()
            ceil = quantize(x, Policy(scale="ceil")).block_scales.item()
            assert floor == 2.0**exponent
            assert ceil == floor * (1 if largest <= 6 else 2)


def test_a_block_of_zeros_stays_and_one_that_is_not_finite_is_nan_alone():
    x = torch.ones(96)
    x[:32] = 0
    x[40] = torch.inf
    y = quantize_dequantize(x)
    assert (y[:32] == 0).all()
    assert y[32:64].isnan().all()
    assert (y[64:] == 1).all()
    x[40] = torch.nan
    assert quantize_dequantize(x, Policy(scale="ceil"))[32:64].isnan().all()


def test_the_least_magnitudes_have_the_least_scale():
    x = torch.full((32,), 2.0**-127)
    kept = quantize(x)
    assert kept.block_scales.item() == 2.0**-127
    assert torch.equal(dequantize(kept), x)


def test_ceil_saturates_nothing():
    x = torch.from_numpy(mixed(2**14))
    for rule, saturates in (("floor", True), ("ceil", False)):
        policy = Policy(scale=rule)
        found = fourbit.statistics(fourbit.tally(x, policy.rounded(x), policy.axes))
        assert (found.saturated_share > 0) == saturates

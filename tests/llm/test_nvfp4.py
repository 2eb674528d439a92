"""NVFP4 beside an oracle of ml_dtypes' casts, bit for bit, and its laws."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from reference_fp4 import nvfp4 as oracle

from evoopt.errors import ConfigurationError
from evoopt_llm import fourbit, mxfp4
from evoopt_llm.fourbit import Draw
from evoopt_llm.nvfp4 import FOUR_SIX, Policy, dequantize, quantize, quantize_dequantize

VECTOR = torch.cat((torch.arange(1, 17.0), torch.arange(1, 17) * 0.1))
UNBIASED = Policy(clip=17 / 16)  # rounding a scale down costs at most 1/17 of it


def mixed(count, seed=0):
    """Normal numbers, each block of 16 at a magnitude of its own, each hundredth number an
    outlier, some of them zeros of either sign, and some blocks zero."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count // 16, 16)) * 10 ** random.uniform(-8, 4, (count // 16, 1))
    x *= np.where(random.random(x.shape) < 0.01, 100, 1)
    x[random.random(x.shape) < 0.05] = 0
    x[random.random(x.shape) < 0.02] = -0.0
    x[::97] = 0
    return x.astype(np.float32)


def same_bits(got, expected):
    return got.numpy().tobytes() == expected.tobytes()


def sqnr_db(x, policy):
    return fourbit.statistics(fourbit.tally(x, policy.rounded(x), policy.axes)).sqnr_db


def test_the_vector_of_32_has_these_elements_and_scales():
    kept = quantize(VECTOR)
    assert kept.block_scales.tolist() == [448, 44]
    assert kept.tensor_scale == 1 / torch.tensor(168.0)
    q = torch.tensor([0.5, 1, 1, 1.5, 2, 2, 3, 3, 3, 4, 4, 4, 4, 6, 6, 6])
    assert quantize_dequantize(VECTOR).tolist() == pytest.approx(
        torch.cat((q * 448 / 168, q * 44 / 168)).tolist(), rel=1e-6
    )
    assert quantize_dequantize(VECTOR)[[0, 16]].tolist() == pytest.approx([4 / 3, 0.130952], 1e-5)


def test_the_vector_of_32_with_four_over_six():
    kept = quantize(VECTOR, FOUR_SIX)
    assert kept.block_scales.tolist() == [256, 40]
    assert kept.tensor_scale == 1 / torch.tensor(96.0)
    second = torch.tensor([0, 0.5, 0.5, 1, 1, 1.5, 1.5, 2, 2, 2, 3, 3, 3, 3, 4, 4]) * 40 / 96
    assert quantize_dequantize(VECTOR, FOUR_SIX)[16:].tolist() == pytest.approx(second.tolist())


def test_a_million_numbers_of_mixed_magnitude_equal_the_oracle_bit_for_bit():
    x = mixed(2**20)
    expected = oracle(x)
    assert 0.1 < (expected.scales == 0).mean() < 0.9  # all kinds of scales: zero, subnormal,
    assert ((expected.scales > 0) & (expected.scales < 2**-6)).mean() > 0.05
    assert (expected.scales >= 2**-6).mean() > 0.1  # and normal ones
    kept = quantize(torch.from_numpy(x))
    assert same_bits(quantize_dequantize(torch.from_numpy(x)), expected.restored)
    assert same_bits(kept.block_scales.flatten(), expected.scales)
    assert same_bits(kept.codes, expected.codes[:, 0::2] + 16 * expected.codes[:, 1::2])


@pytest.mark.parametrize("block", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("two_d", [False, True])
def test_other_blocks_equal_the_oracle_bit_for_bit(block, two_d):
    x = mixed(2**16, block).reshape(256, 256)
    policy = Policy(block=block, two_d=two_d, bound=256.0)
    expected = oracle(x, block, 256, two_d)
    assert same_bits(quantize_dequantize(torch.from_numpy(x), policy), expected.restored)


@pytest.mark.parametrize(
    ("name", "cast", "largest"),
    [("e5m2", ml_dtypes.float8_e5m2, 57344), ("fp32", np.float32, np.inf)],
)
def test_other_formats_of_scales_equal_the_oracle_bit_for_bit(name, cast, largest):
    x = mixed(2**16)
    expected = oracle(x, scale=lambda s: np.minimum(s, largest).astype(cast).astype(np.float32))
    got = quantize_dequantize(torch.from_numpy(x), Policy(scale_format=name))
    assert same_bits(got, expected.restored)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("mse", lambda e: (e.astype(np.float64) ** 2).sum(1)),
        ("mae", lambda e: abs(e.astype(np.float64)).sum(1)),
        ("max", lambda e: abs(e).max(1)),
    ],
)
def test_four_over_six_equals_the_oracle_wherever_the_two_errors_are_not_nearly_equal(name, error):
    x = mixed(2**18)
    policy = Policy(bound=256.0, four_six=name)
    got = quantize_dequantize(torch.from_numpy(x), policy).numpy()
    expected = oracle(x, bound=256, four_six=error).restored
    differ = np.flatnonzero((got != expected).any(1))
    assert len(differ) <= 1e-4 * len(x)
    for row in differ:  # the two choices are a tie up to the order of a sum
        one, other = (error(choice[row : row + 1] - x[row : row + 1]) for choice in (got, expected))
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("name", ["mse", "mae", "max"])
def test_four_over_six_takes_the_better_of_its_two_choices(name):
    x = torch.randn(512, 16, generator=torch.Generator().manual_seed(1))
    power, over = {"mse": (2, torch.sum), "mae": (1, torch.sum), "max": (1, torch.amax)}[name]

    def errors(**choice):
        y = quantize_dequantize(x, Policy(bound=256.0, **choice))
        return over((y - x).abs().double() ** power, 1)

    four, six, best = errors(clip=1.5), errors(), errors(four_six=name)
    torch.testing.assert_close(best, torch.minimum(four, six), rtol=1e-5, atol=0)
    assert (four < six).double().mean() > 0.1
    assert (six < four).double().mean() > 0.1


# one cast of 65 536 numbers, drawn in this order from numpy's generator of seed 0: decibels, and
# the share of zeros in NVFP4, computed by another program before the emulation was written
TABLE = {
    "normal": ((20.45, 21.23, 21.36, 19.89, 19.51, 18.74, 18.72), 0.066),
    "student": ((20.79, 21.24, 22.10, 19.70, 18.68, 17.69, 17.15), 0.102),
    "laplace": ((20.63, 21.19, 21.91, 19.63, 18.94, 17.95, 17.49), 0.128),
}
POLICIES = (Policy(), FOUR_SIX, Policy(block=8), Policy(block=32), Policy(block=64),
            mxfp4.Policy(), mxfp4.Policy(scale="ceil"))  # fmt: skip


def test_signal_to_noise_is_that_of_another_program_within_0_05_db():
    random, n = np.random.default_rng(0), 65536
    data = {
        "normal": random.standard_normal(n),
        "student": random.standard_t(4, n),
        "laplace": random.laplace(size=n),
    }
    for name, (expected, zeros) in TABLE.items():
        x = torch.from_numpy(data[name].astype(np.float32))
        assert [sqnr_db(x, policy) for policy in POLICIES] == pytest.approx(expected, abs=0.05)
        assert (quantize_dequantize(x) == 0).double().mean() == pytest.approx(zeros, abs=5e-4)


@pytest.mark.parametrize("policy", [Policy(), FOUR_SIX, Policy(two_d=True), Policy(block=32)])
def test_packed_numbers_are_those_of_the_emulation(policy):
    x = torch.from_numpy(mixed(2**14)).reshape(128, 128)
    kept = quantize(x, policy)
    assert kept.codes.shape == (128, 64)
    assert same_bits(dequantize(kept, policy), quantize_dequantize(x, policy).numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_of_16_bits_are_rounded_as_the_float32_that_they_are(dtype):
    x = (VECTOR * 0.37).to(dtype)
    y = quantize_dequantize(x)
    assert y.dtype == dtype
    assert torch.equal(y, quantize_dequantize(x.float()).to(dtype))


@pytest.mark.parametrize("policy", [*POLICIES, Policy(two_d=True)])
def test_a_change_of_sign_or_by_a_power_of_two_goes_through_rounding(policy):
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(2))
    y = policy.rounded(x).dequantized()
    assert torch.equal(policy.rounded(-x).dequantized(), -y)
    assert torch.equal(policy.rounded(x * 2.0**-20).dequantized(), y * 2.0**-20)


def test_square_blocks_of_the_transpose_are_the_transpose():
    x = torch.from_numpy(mixed(2**14)).reshape(64, 256)
    policy = Policy(two_d=True, bound=256.0, four_six="max")
    assert torch.equal(
        quantize_dequantize(x, policy).T, quantize_dequantize(x.T.contiguous(), policy)
    )


def test_with_a_scale_for_each_row_a_row_is_rounded_as_if_alone():
    x = torch.from_numpy(mixed(2**12)).reshape(16, 256)
    y = quantize_dequantize(x, Policy(tensor_scale="row"))
    assert torch.equal(y, torch.stack([quantize_dequantize(row) for row in x]))


def test_scales_of_a_thousand_tensors_equal_the_oracle_bit_for_bit():
    x = np.random.default_rng(7).standard_normal((1000, 32)).astype(np.float32)
    got = quantize_dequantize(torch.from_numpy(x), Policy(tensor_scale="row"))
    assert same_bits(got, np.stack([oracle(row).restored for row in x]))


def test_scales_rounded_up_or_clipped_at_17_16_saturate_nothing():
    x = torch.randn(2**16, generator=torch.Generator().manual_seed(3))
    for policy, saturates in ((Policy(), True), (Policy(scale_rounding="up"), False),
                              (UNBIASED, False), (Policy(clip=0.8), True)):  # fmt: skip
        found = fourbit.statistics(fourbit.tally(x, policy.rounded(x), policy.axes))
        assert (found.saturated_share > 0) == saturates


@pytest.mark.parametrize(
    ("value", "share"),
    [(0.0, 1.0), (torch.nan, 0.0), (torch.inf, 0.0), (-torch.inf, 0.0)],
)
def test_zeros_stay_and_one_number_that_is_not_finite_makes_the_tensor_nan(value, share):
    x = torch.zeros(64)
    assert torch.equal(quantize_dequantize(x), x)
    assert quantize(x).tensor_scale == 1
    x[5] = value
    y = quantize_dequantize(x)
    assert y.isfinite().double().mean() == share
    assert not y.isinf().any()


@pytest.mark.parametrize("magnitude", [1e-44, 1e-38, 1e-35, 1e-10, 1e30, 3e38])
def test_any_magnitude_that_float32_holds_equals_the_oracle(magnitude):
    x = (np.arange(-16, 16) / 16 * magnitude).astype(np.float32)
    assert same_bits(quantize_dequantize(torch.from_numpy(x)), oracle(x).restored)


def test_statistics_count_what_they_say():
    x = torch.zeros(32)
    x[0], x[1], x[2] = 448 * 6.0, 1.0, 3.0  # scale 448: a half is 224
    x[16] = 6.0  # scale 1, exact
    found = fourbit.statistics(fourbit.tally(x, Policy().rounded(x), (-1,)))
    assert found.zero_share == 2 / 4
    assert found.saturated_share == 0
    assert found.sqnr_db == pytest.approx(10 * np.log10((2688**2 + 1 + 9 + 36) / 10))
    x[16] = 1e-4
    found = fourbit.statistics(fourbit.tally(x, Policy().rounded(x), (-1,)))
    assert found.empty_scale_share == 1 / 2
    clipped = Policy(clip=0.5)
    found = fourbit.statistics(fourbit.tally(x, clipped.rounded(x), (-1,)))
    assert found.saturated_share == 1 / 32


def test_bits_count_the_scales_of_blocks():
    assert Policy().bits == 4.5
    assert Policy(block=32).bits == 4.25
    assert Policy(two_d=True).bits == 4 + 8 / 256
    assert Policy(scale_format="fp32").bits == 6
    assert mxfp4.Policy().bits == 4.25


def test_stochastic_rounding_is_unbiased_at_every_place_between_two_elements():
    """Each sum of errors is, over its exact deviation, nearly N(0, 1); that one of the 10 is beyond
    5 by chance has the probability 6e-6, and the seed is fixed."""
    x = torch.randn(4096, generator=torch.Generator().manual_seed(4))
    rounded = UNBIASED.rounded(x)
    unit = (rounded.scales * rounded.tensor_scale).double()
    scaled = (x.reshape(-1, 16) / unit).abs()
    step = torch.where(scaled < 2, 0.5, torch.where(scaled < 4, 1.0, 2.0))
    place = scaled / step - (scaled / step).floor()
    draws = [quantize_dequantize(x, UNBIASED, Draw(5, call=k)).double() for k in range(200)]
    error = (torch.stack(draws).sum(0) - 200 * x.double()).reshape(-1, 16) / unit
    variance = 200 * place * (1 - place) * step**2
    for low in torch.arange(10) / 10:
        here = (place >= low) & (place < low + 0.1)
        assert here.sum() > 200
        assert error[here].sum().abs() < 5 * variance[here].sum().sqrt()


def test_a_draw_depends_on_each_of_the_arguments_that_name_it_and_on_nothing_else():
    x = torch.linspace(-1, 1, 256)
    draw = Draw(seed=1, step=2, part=3, layer=4, role=5, call=6)
    y = quantize_dequantize(x, draw=draw)
    torch.rand(7)
    assert torch.equal(quantize_dequantize(x, draw=draw), y)
    for name in Draw._fields:
        other = draw._replace(**{name: getattr(draw, name) + 1})
        assert not torch.equal(quantize_dequantize(x, draw=other), y)


def test_rounding_leaves_its_argument_and_the_gradient_alone():
    x = torch.randn(64, requires_grad=True, generator=torch.Generator().manual_seed(6))
    before = x.detach().clone()
    assert not quantize_dequantize(x, FOUR_SIX).requires_grad
    assert not quantize_dequantize(x, draw=Draw(0)).requires_grad
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize(
    ("x", "policy", "message"),
    [
        (torch.ones(20), Policy(), "a multiple of 16 numbers along its last axis; .*(20,)"),
        (torch.ones(24, 32), Policy(two_d=True), "of 16 numbers along its last two axes"),
        (torch.ones(16), Policy(two_d=True), "last two axes"),
        (torch.ones(()), Policy(), "last axis"),
        (torch.ones(0), Policy(), "last axis"),
        (torch.ones(16).double(), Policy(), "float32, bfloat16 or float16; got torch.float64"),
        (torch.ones(16).int(), Policy(), "got torch.int32"),
    ],
)
def test_a_tensor_that_cannot_be_rounded_is_refused_in_one_line(x, policy, message):
    with pytest.raises(ConfigurationError, match=r"quantize\(x=...\) must .*" + message) as caught:
        quantize_dequantize(x, policy)
    assert "\n" not in str(caught.value)


def test_packed_numbers_are_not_read_with_another_block():
    with pytest.raises(ConfigurationError, match=r"dequantize\(policy=...\).*scales, 16; got 32"):
        dequantize(quantize(torch.ones(64)), Policy(block=32))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"block": 12}, "8, 16, 32, 64 or 128"),
        ({"bound": 500.0}, "at most 448, the largest e4m3; got 500"),
        ({"bound": 0.0}, "greater than 0"),
        ({"clip": 3.0}, "less than or equal to 2"),
        ({"two_d": True, "tensor_scale": "row"}, "must be 'tensor' or 'none' with two_d"),
        ({"four_over_six": "mse"}, "Extra inputs"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Policy(**wrong)

"""Linear layers in four bits: each product beside a literal transcription; what a recipe does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from reference_fp4 import linear as literal
from torch import nn
from torch.nn import functional

from evoopt.errors import ConfigurationError
from evoopt_llm import fp4linear, fp4matmul, hadamard, models, nvfp4
from evoopt_llm.fourbit import Draw
from evoopt_llm.fp4settings import (
    BF16Settings,
    FP32Settings,
    MXFP4Settings,
    NVFP4Settings,
    PrecisionSettings,
)
from evoopt_llm.models.gpt import GPTSettings
from evoopt_llm.models.moe import GroupedLinear
from evoopt_llm.models.nemotron import AheadSettings, NemotronSettings
from evoopt_llm.models.ngpt import NGPTSettings

PLAIN = NVFP4Settings(rht="off", stochastic_gradients=False, two_d_weights=False, keep_last=0)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer_of(settings, inputs=32, outputs=48, bias=False, seed=0):
    """A model of one linear layer, converted."""
    model = nn.Sequential(nn.Linear(inputs, outputs, bias=bias))
    with torch.no_grad():
        model[0].weight.copy_(normal(outputs, inputs, seed=seed + 100))
    fp4linear.convert(model, settings, seed)
    return model


def passed(model, x, dy):
    """y, dx and dW."""
    x = x.clone().requires_grad_()
    y = model(x)
    y.backward(dy)
    gradient = model[0].weight.grad
    model[0].weight.grad = None
    return y.detach(), x.grad, gradient


def language_model(layers=3, **settings):
    return models.build(GPTSettings(dim=32, layers=layers, heads=2, context=16, **settings), 0)


def windows(seed=0, batch=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 17), generator=generator)


@pytest.mark.parametrize(("tokens", "size"), [(64, 16), (50, 16), (50, 64)])
@pytest.mark.parametrize("two_d", [True, False])
@pytest.mark.parametrize("rht", ["off", "wgrad", "all"])
def test_the_three_products_equal_the_literal_ones(rht, two_d, tokens, size):
    settings = PLAIN.model_copy(update={"rht": rht, "rht_size": size, "two_d_weights": two_d})
    for inputs, outputs in ((32, 48), (40, 20)):  # the second shape needs padding everywhere
        model = layer_of(settings, inputs, outputs)
        x, dy = normal(tokens, inputs, seed=1), normal(tokens, outputs, seed=2)
        signs = hadamard.signs(size).numpy()
        W = model[0].weight.detach().numpy()
        expected = literal(x.numpy(), W, dy.numpy(), rht, signs, two_d)
        for got, wanted in zip(passed(model, x, dy), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_operands_are_rounded_as_their_role_says():
    """Each of the three products, of operands rounded by `nvfp4` alone, with the draws that the
    step, the part of the batch, the layer, the role and the call name."""
    settings = PLAIN.model_copy(
        update={"two_d_weights": True, "stochastic_gradients": True, "stochastic_inputs": True}
    )
    model = layer_of(settings, seed=9)
    x, dy, W = normal(64, 32), normal(64, 48, seed=2), model[0].weight.detach()
    for step, part in ((0, 0), (5, 0), (5, 1)):
        fp4linear.set_step(model, step, 0.0, part)

        def rounded(tensor, role, policy=nvfp4.DEFAULT, *, at=(step, part)):
            number = fp4matmul.ROLES.index(role)
            draw = None if role.endswith("weight") else Draw(9, *at, layer=0, role=number)
            return nvfp4.quantize_dequantize(tensor.contiguous(), policy, draw)

        square = nvfp4.Policy(two_d=True)
        y = rounded(x, "fprop_input") @ rounded(W, "fprop_weight", square).T
        dx = rounded(dy, "dgrad_gradient") @ rounded(W.T, "dgrad_weight", square).T
        dW = rounded(dy.T, "wgrad_gradient") @ rounded(x.T, "wgrad_input").T
        for got, wanted in zip(passed(model, x, dy), (y, dx, dW), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_step_draws_the_same_whatever_came_before_it():
    x, dy = normal(64, 32), normal(64, 48, seed=2)
    model = layer_of(NVFP4Settings(keep_last=0))
    found = []
    for steps in ((0, 1, 2), (2,)):
        for step in steps:
            fp4linear.set_step(model, step, 0.0)
            passed(model, x, dy)
            fp4linear.set_step(model, step, 0.0, part=1)
            last = passed(model, x, dy)
        found.append(last)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    again = passed(model, x, dy)  # a second call within the step
    assert torch.equal(again[0], last[0])
    assert not torch.equal(again[1], last[1])
    assert not torch.equal(again[2], last[2])


def test_stochastic_gradients_are_those_of_rounded_inputs_on_average():
    """The mean of 200 dW is within 5 of its standard deviations of the exact product for each of
    1536 numbers; by chance one is not with a probability of 9e-4, and the seed is fixed."""
    policy = nvfp4.Policy(clip=17 / 16)  # without saturation, which is biased
    model = layer_of(PLAIN.model_copy(update={"policy": policy, "stochastic_gradients": True}))
    x, dy = normal(64, 32), normal(64, 48, seed=2)
    drawn = []
    for step in range(200):
        fp4linear.set_step(model, step, 0.0)
        drawn.append(passed(model, x, dy)[2])
    exact = dy.T @ nvfp4.quantize_dequantize(x.T.contiguous(), policy).T
    all_drawn = torch.stack(drawn)
    deviation = all_drawn.std(0) / 200**0.5
    assert ((all_drawn.mean(0) - exact).abs() < 5 * deviation).all()


def test_fresh_signs_change_with_the_step_and_fixed_ones_do_not():
    x, dy = normal(64, 32), normal(64, 48, seed=2)
    for signs, same in (("fixed", True), ("fresh", False)):
        settings = PLAIN.model_copy(update={"rht": "wgrad", "rht_signs": signs})
        model = layer_of(settings)
        found = []
        for step in (0, 1):
            fp4linear.set_step(model, step, 0.0)
            found.append(passed(model, x, dy))
        assert torch.equal(found[0][1], found[1][1])
        assert torch.equal(found[0][2], found[1][2]) == same


@pytest.mark.parametrize("policy", [nvfp4.FOUR_SIX, nvfp4.Policy(tensor_scale="row", block=8)])
def test_a_policy_reaches_all_products(policy):
    model = layer_of(PLAIN.model_copy(update={"policy": policy}))
    x, dy, W = normal(64, 32), normal(64, 48, seed=2), model[0].weight.detach()

    def product(a, b):
        a, b = (nvfp4.quantize_dequantize(t.contiguous(), policy) for t in (a, b))
        return a @ b.T

    expected = (product(x, W), product(dy, W.T), product(dy.T, x.T))
    for got, wanted in zip(passed(model, x, dy), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("switch", "late"), [("forward", (0,)), ("all", (0, 1, 2))])
def test_from_the_switch_on_these_products_are_exact(switch, late):
    update = {"switch_at": 0.8, "switch": switch}
    model = layer_of(PLAIN.model_copy(update=update))
    x, dy, W = normal(64, 32), normal(64, 48, seed=2), model[0].weight.detach()
    expected = (x @ W.T, dy @ W, dy.T @ x)
    for share, exact in ((0.79, ()), (0.8, late), (1.0, late)):
        fp4linear.set_step(model, 0, share)
        for place, (got, wanted) in enumerate(zip(passed(model, x, dy), expected, strict=True)):
            assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-4) == (place in exact)


def test_a_bias_is_added_and_learns():
    model = layer_of(PLAIN, bias=True)
    x, dy = normal(2, 32, 32), normal(2, 32, 48, seed=2)
    y = passed(model, x, dy)[0]
    unbiased = y - model[0].bias.detach()
    expected = passed(layer_of(PLAIN), x, dy)[0]
    torch.testing.assert_close(unbiased, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model[0].bias.grad, dy.sum((0, 1)))


def test_under_autocast_the_rest_is_bfloat16_and_gradients_of_weights_are_float32():
    model = layer_of(PLAIN)
    x, dy = normal(64, 32).bfloat16(), normal(64, 48, seed=2).bfloat16()
    plain = passed(model, x.float(), dy.float())
    with torch.autocast("cpu", torch.bfloat16):
        y, dx, dW = passed(model, x, dy)
    assert [t.dtype for t in (y, dx, dW)] == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert torch.equal(y, plain[0].bfloat16())
    assert torch.equal(dx, plain[1].bfloat16())
    assert torch.equal(dW, plain[2])


def test_experts_are_rounded_each_by_itself_and_an_idle_one_is_left_alone():
    experts = GroupedLinear(3, 32, 48)
    with torch.no_grad():
        experts.weight.copy_(normal(3, 48, 32) * torch.tensor([1.0, 10, 100])[:, None, None])
    report = fp4linear.convert(model := nn.ModuleDict({"up": experts}), PLAIN)
    assert report.four_bit == ("up",)
    assert report.bits_per_weight == 4.5
    x, counts = normal(96, 32, seed=1).requires_grad_(), torch.tensor([32, 0, 64])
    y = model["up"](x, counts)
    y.sum().backward()
    for number, rows in ((0, slice(0, 32)), (2, slice(32, 96))):
        alone = nn.Sequential(nn.Linear(32, 48, bias=False))
        with torch.no_grad():
            alone[0].weight.copy_(experts.weight[number])
        fp4linear.convert(alone, PLAIN)
        got = y.detach()[rows], x.grad[rows], experts.weight.grad[number]
        ones = torch.ones(rows.stop - rows.start, 48)
        for one, other in zip(got, passed(alone, x.detach()[rows], ones), strict=True):
            torch.testing.assert_close(one, other)
    assert (experts.weight.grad[1] == 0).all()


def test_embedding_head_and_chosen_blocks_stay_as_they_are():
    model = language_model(layers=5)
    before = dict(model.named_parameters())
    settings = NVFP4Settings(keep_first=1, keep_last=2, keep=["*.out"])
    report = fp4linear.convert(model, settings)
    assert {name.split(".")[1] for name in report.four_bit} == {"1", "2"}
    assert not [name for name in report.four_bit if name.endswith("out")]
    assert report.kept["head"] == "it is the head"
    assert report.kept["blocks.0.attention.qkv"] == "keep_first"
    assert report.kept["blocks.1.attention.out"] == "keep has *.out"
    assert report.kept["blocks.4.mlp.up"] == "keep_last"
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    four = sum(after[f"{name}.weight"].numel() for name in report.four_bit)
    total = sum(p.numel() for p in after.values())
    expected = (four * (4 + 8 / 256) + (total - four) * 32) / total
    assert report.bits_per_weight == pytest.approx(expected)


MODELS = {
    "gpt": GPTSettings(dim=32, layers=3, heads=2, context=16),
    "ngpt": NGPTSettings(dim=32, layers=3, heads=2, context=16),
    "nemotron": NemotronSettings(dim=32, pattern="ME*-", context=16, ahead=AheadSettings(depths=1)),
}


@pytest.mark.parametrize("kind", models.MODELS)
def test_of_every_model_the_layers_that_a_report_names_compute_in_four_bits(kind):
    model = models.build(MODELS[kind], 0)
    linear = {name for name, m in model.named_modules() if isinstance(m, nn.Linear | GroupedLinear)}
    report = fp4linear.convert(model, NVFP4Settings())
    assert {*report.four_bit, *report.kept} == linear
    assert not set(report.four_bit) & set(report.kept)
    blocks = {name.partition("layers." if kind == "nemotron" else "blocks.")[2][:1]
              for name in report.four_bit}  # fmt: skip
    assert blocks == set("012"[: 3 if kind == "nemotron" else 2])
    assert all(name == "head" or why in ("keep_last", "keep has ahead.*")
               for name, why in report.kept.items())  # fmt: skip
    with fp4linear.recording(model):
        model.losses(windows()).total.backward()
    found = fp4linear.diagnostics(model)
    assert tuple(found) == report.four_bit
    assert all(tuple(d.roles) == fp4matmul.ROLES for d in found.values())
    model.after_step()


def test_a_tied_head_stays_as_it_is():
    model = language_model(tie=True)
    assert "head" in fp4linear.convert(model, NVFP4Settings()).kept


@pytest.mark.parametrize(
    ("settings", "words", "bits"),
    [
        (FP32Settings(), "fp32", 32),
        (BF16Settings(), "bf16", 16),
        (NVFP4Settings(), "nvfp4 emulated", None),
        (MXFP4Settings(), "mxfp4 emulated", None),
    ],
)
def test_a_report_says_which_precision_and_that_four_bits_are_emulated(settings, words, bits):
    model = language_model()
    before = model(windows())
    report = fp4linear.convert(model, settings)
    assert report.precision == words
    assert bits is None or report.bits_per_weight == bits
    assert torch.equal(model(windows()), before) == (bits is not None)


def test_diagnostics_are_those_of_the_operands_and_measuring_changes_nothing():
    x, dy = normal(64, 32), normal(64, 48, seed=2)
    model = layer_of(PLAIN)
    plain = passed(model, x, dy)
    assert fp4linear.diagnostics(model) == {}
    with fp4linear.recording(model):
        passed(model, normal(64, 32, seed=3) ** 5, dy)
    with fp4linear.recording(model):  # anew
        for one, other in zip(passed(model, x, dy), plain, strict=True):
            assert torch.equal(one, other)
    found = fp4linear.diagnostics(model)["0"]
    assert tuple(found.roles) == fp4matmul.ROLES
    W = model[0].weight.detach()
    operands = dict(zip(fp4matmul.ROLES, (x, W, dy, W.T, dy.T, x.T), strict=True))
    for role, operand in operands.items():
        error = nvfp4.quantize_dequantize(operand.contiguous()) - operand
        expected = 10 * torch.log10(operand.square().sum() / error.square().sum())
        assert found.roles[role].sqnr_db == pytest.approx(expected.item(), abs=1e-3)
    exact = dy.T @ x
    expected = exact.norm() / (plain[2] - exact).norm()
    assert found.gradient_to_noise == pytest.approx(expected.item(), rel=1e-3)
    passed(model, 2 * x, dy)  # not measured
    assert fp4linear.diagnostics(model)["0"] == found


def test_a_model_in_four_bits_learns_nearly_as_well():
    """Of 25 steps on 4 windows, both losses fall by 2 nats and more and end within 0.15."""
    ends = {}
    for kind, settings in (("fp32", FP32Settings()), ("nvfp4", NVFP4Settings(keep_last=0))):
        model = language_model(layers=2)
        fp4linear.convert(model, settings)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        for step in range(25):
            fp4linear.set_step(model, step, step / 25)
            losses = model.losses(windows())
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
        ends[kind] = losses.main.item()
    assert ends["fp32"] < 3.5
    assert abs(ends["nvfp4"] - ends["fp32"]) < 0.15


def test_settings_that_leave_nothing_in_four_bits_are_refused_in_one_line():
    message = r"precision must leave a layer in nvfp4; got keep_first=0, keep_last=3.*3 blocks"
    with pytest.raises(ConfigurationError, match=message):
        fp4linear.convert(language_model(), NVFP4Settings(keep_last=3))


def test_a_model_is_converted_once_only():
    model = language_model()
    fp4linear.convert(model, NVFP4Settings())
    with pytest.raises(ConfigurationError, match=r"convert\(model=...\).*is in four bits"):
        fp4linear.convert(model, MXFP4Settings())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "fp8"}, "nvfp4"),
        ({"kind": "nvfp4", "rht_size": 12}, "4, 8, 16, 32, 64 or 128"),
        (
            {"kind": "nvfp4", "policy": {"tensor_scale": "row"}},
            "policy.tensor_scale must be .* with two_d_weights; got 'row'",
        ),
        ({"kind": "nvfp4", "switch_at": 1.5}, "less than or equal to 1"),
        ({"kind": "mxfp4", "policy": {"bound": 256.0}}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(PrecisionSettings).validate_python(wrong)


def test_an_evaluation_without_gradients_uses_the_forward_product_alone():
    model = layer_of(PLAIN)
    x = normal(64, 32)
    with torch.no_grad(), fp4linear.recording(model):
        y = model(x)
    assert torch.equal(y, passed(model, x, torch.zeros(64, 48))[0])
    found = fp4linear.diagnostics(model)["0"]
    assert set(found.roles) == {"fprop_input", "fprop_weight"}
    assert found.gradient_to_noise is None
    W = model[0].weight.detach()
    assert not torch.equal(y, functional.linear(x, W))

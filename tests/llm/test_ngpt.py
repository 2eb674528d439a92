"""nGPT beside its transcription, and what its paper says is always true of it."""

from __future__ import annotations

import math

import pytest
import reference_models
import torch
from test_gpt import SIZES, doubled

from evoopt_llm.models import ngpt
from evoopt_llm.models.base import seeded
from evoopt_llm.models.layers import unit
from evoopt_llm.models.ngpt import NGPT, NGPTSettings, towards

WINDOWS = torch.randint(11, (4, 9), generator=seeded(1))


def trained(settings, steps=3, rate=0.05):
    """The model after a few large steps of Adam."""
    model = NGPT(settings, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        one_step(model, optimizer)
    return model


def one_step(model, optimizer):
    optimizer.zero_grad()
    model.losses(WINDOWS).total.backward()
    optimizer.step()
    model.after_step()


def off_the_sphere(model):
    """Largest |length - 1| of the rows of the matrices, the columns of those that lead back to the
    hidden state."""
    worst = 0.0
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            back = name.endswith(("out.weight", "down.weight"))
            lengths = weight.detach().double().norm(dim=0 if back else 1)
            assert len(lengths) == weight.numel() / model.settings.dim
            worst = max(worst, float((lengths - 1).abs().max()))
    return worst


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"qk_norm": False, "rope_base": 50.0},
        {"alpha_init": 0.3, "alpha_scale": 0.7, "s_qk_init": 1.5, "s_qk_scale": 0.1},
        {"s_uv_init": 0.6, "s_uv_scale": 0.5, "s_z_init": 9.0, "s_z_scale": 2.0},
    ],
)
def test_it_equals_the_transcription(knobs):
    settings = NGPTSettings(**SIZES | knobs)
    model = doubled(trained(settings))
    model.blocks[0].mlp_alpha.weight.data[::2] *= -1  # what counts is its size
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    tokens = WINDOWS[:2, :7]
    for row, logits in zip(tokens.tolist(), model(tokens).detach().numpy(), strict=True):
        expected = reference_models.ngpt(weights, row, settings)
        assert abs(expected).max() > 0.1
        assert abs(logits - expected).max() < 1e-6  # the angles' cos and sin are float32


def test_weights_are_unit_vectors_at_first_and_after_each_step():
    model = NGPT(NGPTSettings(**SIZES), 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    assert off_the_sphere(model) < 1e-6
    for _ in range(4):
        before = model.head.weight.detach().clone()
        one_step(model, optimizer)
        assert float((model.head.weight.detach() - before).abs().max()) > 0.01
        assert off_the_sphere(model) < 1e-6


def test_hidden_states_are_unit_vectors_after_each_block():
    model = trained(NGPTSettings(**SIZES))
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _module, _inputs, h: seen.append(h.detach()))
    model(WINDOWS)
    assert len(seen) == SIZES["layers"]
    for h in seen:
        assert float((h.double().norm(dim=-1) - 1).abs().max()) < 1e-6


def with_alpha(model, value):
    for block in model.blocks:
        for alpha in (block.attention_alpha, block.mlp_alpha):
            alpha.weight.data.fill_(value / alpha.factor)
    return model


def test_a_block_that_moves_no_share_of_the_way_is_the_identity():
    model = with_alpha(trained(NGPTSettings(**SIZES)), 0.0)
    h = unit(torch.randn(2, 8, 12, generator=seeded(0)))
    for block in model.blocks:
        torch.testing.assert_close(block(h, model.angles, None), h, rtol=0, atol=1e-6)


def test_a_block_that_moves_all_the_way_returns_its_output():
    model = with_alpha(trained(NGPTSettings(**SIZES)), 1.0)
    h = unit(torch.randn(2, 8, 12, generator=seeded(0)))
    for block in model.blocks:
        h_a = unit(block.attention(h, model.angles, None))
        torch.testing.assert_close(
            block(h, model.angles, None), unit(block.mlp(h_a)), rtol=0, atol=1e-6
        )


def test_a_move_is_along_the_great_circle_to_the_output():
    a, b = unit(torch.randn(2, 50, 12, dtype=torch.float64, generator=seeded(0)))
    cos = (a * b).sum(-1, keepdim=True)
    sin = (1 - cos**2).sqrt()
    ahead = (b - cos * a) / sin  # orthogonal to a, in the plane of both
    for alpha in (0.05, 0.5, 0.95):
        angle = torch.atan2(alpha * sin, 1 - alpha + alpha * cos)
        moved = towards(a, 3 * b, torch.full((12,), -alpha, dtype=torch.float64))
        torch.testing.assert_close(moved, angle.cos() * a + angle.sin() * ahead)


def test_logits_are_bounded_by_the_scales():
    model = trained(NGPTSettings(**SIZES, s_z_init=5.0))
    logits, s_z = model(WINDOWS).detach(), model.s_z().detach().abs()
    assert bool((logits.abs() <= s_z * (1 + 1e-5)).all())
    assert float((logits.abs() / s_z).max()) > 0.3


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_one_step_of_adam_moves_a_scale_by_the_rate_over_its_scale(scale):
    model = NGPT(NGPTSettings(**SIZES, s_z_init=7.0, s_z_scale=scale), 1)
    before = model.s_z().detach()
    torch.testing.assert_close(before, torch.full((11,), 7.0))
    one_step(model, torch.optim.Adam([model.s_z.weight], lr=1e-3, eps=1e-30))
    moved = (model.s_z().detach() - before).abs() / 7.0
    torch.testing.assert_close(moved, torch.full((11,), 1e-3 / scale), rtol=1e-3, atol=0)


def test_weights_may_be_normalised_every_third_step_across_a_resumption():
    settings = NGPTSettings(**SIZES, normalise_every=3)
    model = NGPT(settings, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    on = []
    for step in range(7):
        one_step(model, optimizer)
        on.append(float((model.head.weight.detach().norm(dim=1) - 1).abs().max()) < 1e-6)
        if step == 3:
            state, rest = model.state_dict(), optimizer.state_dict()
            model = NGPT(settings, 2)
            model.load_state_dict(state)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
            optimizer.load_state_dict(rest)
    assert on == [False, False, True, False, False, True, False]


def test_the_scale_of_u_is_undone_by_the_norm_behind_it():
    model = trained(NGPTSettings(**SIZES))
    before = model(WINDOWS)
    for block in model.blocks:
        block.mlp.s_u.weight.data *= math.sqrt(12)  # as the authors' program does
    torch.testing.assert_close(model(WINDOWS), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [1, 4])
def test_the_softmax_begins_at_the_same_size_without_norms_of_q_and_k(heads, monkeypatch):
    size = {}

    def attend(q, k, v, scale):
        size[normed].append(float((scale * q @ k.mT).detach().std()))
        return v

    monkeypatch.setattr(ngpt, "attend", attend)
    for normed in (True, False):
        size[normed] = []
        settings = NGPTSettings(dim=64, layers=4, heads=heads, qk_norm=normed)
        NGPT(settings, 1)(torch.randint(256, (4, 64), generator=seeded(0)))
    for with_norm, without in zip(size[True], size[False], strict=True):
        assert with_norm == pytest.approx(1, rel=0.3)
        assert without == pytest.approx(with_norm, rel=0.2)

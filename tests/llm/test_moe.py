"""Mixture of experts: beside its literal form, how its load is balanced, what LatentMoE spends."""

import numpy as np
import pytest
import reference_nemotron as reference
import torch
from torch.nn import functional

from evoopt_llm.models.base import seeded
from evoopt_llm.models.grouped import GroupedLinear
from evoopt_llm.models.moe import MoE, MoESettings, Routes, balance

DIM = 16
SMALL = {"experts": 6, "active": 2, "hidden": 8, "shared": 12}
KINDS = [{}, {"latent": 4}, {"score": "softmax"}, {"shared": 0}, {"active": 6}, {"scaling": 1.0}]


def layer(seed=0, **options):
    mixer = MoE(DIM, MoESettings(**{**SMALL, **options}))
    mixer.draw(0.4, 0.3, seeded(seed))
    mixer.bias += 0.1 * torch.randn(mixer.bias.shape, generator=seeded(seed + 1))
    return mixer


def inputs(batch=2, length=9, dtype=torch.float64):
    return torch.randn(batch, length, DIM, generator=seeded(5), dtype=dtype)


@pytest.mark.parametrize("options", KINDS)
def test_the_layer_equals_its_literal_form_token_by_token(options):
    mixer, x = layer(**options).double(), inputs()
    y, loss = mixer.mix(x)
    w = reference.weights_of(mixer)
    rows = [reference.moe(w, mixer.settings, row.numpy()) for row in x]
    for row, (expected, _) in zip(y.detach(), rows, strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-11, atol=1e-12)
    assert loss.item() == pytest.approx(np.mean([b for _, b in rows]), rel=1e-12)


def grouped(inputs=16, outputs=8):
    """One of six experts without a row, and one with most."""
    g = seeded(1)
    module = GroupedLinear(6, inputs, outputs)
    with torch.no_grad():
        module.weight.copy_(torch.randn(module.weight.shape, generator=g))
    counts = torch.tensor([3, 0, 11, 1, 2, 4])
    return module, torch.randn(21, inputs, generator=g), counts


@pytest.mark.parametrize("width", [16, 6])  # rows that the kernel takes, and not
def test_each_row_is_multiplied_by_the_matrix_of_its_expert(width):
    module, x, counts = grouped(inputs=width)
    expert = torch.arange(6).repeat_interleave(counts)
    expected = torch.einsum("ri,roi->ro", x, module.weight[expert])
    torch.testing.assert_close(module(x, counts), expected, rtol=1e-5, atol=1e-5)


def test_the_kernel_and_a_policy_that_multiplies_alike_give_equal_gradients():
    module, x, counts = grouped()
    seen, results = [], []

    def multiply(rows, weight):
        seen.append((tuple(rows.shape), tuple(weight.shape)))
        return functional.linear(rows, weight)

    for rule in (functional.linear, multiply):
        module.multiply = rule
        rows = x.clone().requires_grad_()
        module.zero_grad()
        (module(rows, counts) ** 3).sum().backward()
        results.append((rows.grad, module.weight.grad))
    assert seen == [((n, 16), (8, 16)) for n in counts.tolist() if n]
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-3)


def test_few_rows_are_multiplied_by_the_same_rule_as_many():
    mixer, x = layer(), inputs(1, 9, torch.float32)
    with torch.no_grad():
        each = torch.cat([mixer(x[:, t : t + 1]) for t in range(9)], dim=1)
        torch.testing.assert_close(each, mixer(x), rtol=1e-5, atol=1e-5)
        for module in (mixer.up, mixer.down):
            module.multiply = lambda rows, weight: 2 * functional.linear(rows, weight)
        doubled = torch.cat([mixer(x[:, t : t + 1]) for t in range(9)], dim=1)
        torch.testing.assert_close(doubled, mixer(x), rtol=1e-4, atol=1e-4)
        shared = mixer.shared(x)
    torch.testing.assert_close(doubled - shared, 8 * (each - shared), rtol=1e-4, atol=1e-4)


def test_autocast_reaches_the_experts_and_leaves_the_router_alone():
    mixer, x = layer(), inputs(dtype=torch.float32)
    exact = mixer.route(x.flatten(0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        routes = mixer.route(x.flatten(0, 1))
        y = mixer(x)
        up = mixer.up(x[0], torch.tensor([3, 0, 1, 2, 2, 1]))
    assert up.dtype == torch.bfloat16
    assert torch.equal(routes.scores, exact.scores)
    assert y.dtype == torch.bfloat16
    exact_y = mixer(x)
    assert (y - exact_y).norm() < 0.01 * exact_y.norm()  # 2^-8 an operation


def test_the_bias_changes_the_choice_and_not_the_weights():
    mixer, x = layer(), inputs(dtype=torch.float32).flatten(0, 1)
    before = mixer.route(x)
    mixer.bias[3] += 10
    after = mixer.route(x)
    assert (after.experts == 3).any(1).all()
    assert not (before.experts == 3).any(1).all()
    picked = after.scores.gather(1, after.experts)
    expected = 2.5 * picked / picked.sum(1, keepdim=True)
    torch.testing.assert_close(after.weights, expected)


def test_the_bias_moves_against_the_load_by_its_rate():
    mixer = layer(bias_rate=0.25)
    before = mixer.bias.clone()
    mixer.load = torch.tensor([1.0, 2, 3, 4, 5, 3])
    mixer.after_step()
    assert (mixer.bias - before).tolist() == pytest.approx([0.25, 0.25, 0, -0.25, -0.25, 0])
    assert (mixer.load == 0).all()


def test_the_bias_follows_the_load_of_all_processes(monkeypatch):
    def add_those_of_another(load):
        load += torch.tensor([9.0, 0, 0, 0, 0, 0])

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", add_those_of_another)
    mixer = layer(bias_rate=0.25)
    before = mixer.bias.clone()
    mixer.load = torch.tensor([0.0, 3, 3, 3, 3, 3])
    mixer.after_step()
    assert (mixer.bias - before).tolist() == pytest.approx([-0.25, 0.25, 0.25, 0.25, 0.25, 0.25])


def test_the_load_counts_the_tokens_of_training_alone():
    mixer, x = layer(), inputs(dtype=torch.float32)
    mixer(x)
    mixer(x)
    assert mixer.load.sum() == 2 * 2 * 9 * 2
    with torch.no_grad():
        mixer(x)
    mixer.eval()(x)
    assert mixer.load.sum() == 2 * 2 * 9 * 2
    assert "load" not in mixer.state_dict()


def test_balancing_evens_out_a_router_that_prefers_a_few():
    mixer, x = layer(bias_rate=0.004), inputs(4, 64, torch.float32) + 0.5
    with torch.no_grad():
        mixer.bias.zero_()
        mixer.router[:2] += 0.5  # each token's first choices
    shares = []
    for _ in range(200):
        mixer(x)
        shares.append((mixer.load.max() / mixer.load.mean()).item())
        mixer.after_step()
    assert shares[0] > 2.5  # of at most 3
    assert shares[-1] < 1.2


def test_the_balance_loss_is_one_where_all_experts_have_their_share():
    experts = torch.tensor([[0, 1], [2, 3], [4, 5]])
    scores = torch.full((3, 6), 0.3)
    assert balance(Routes(experts, scores, scores), 1).item() == pytest.approx(1)
    lopsided = Routes(torch.tensor([[0, 1]] * 3), scores, torch.eye(6)[:1].repeat(3, 1))
    assert balance(lopsided, 1).item() == pytest.approx(3)  # 6 / 2: half the choices, all the score


@pytest.mark.parametrize("latent", [16, 8, 4])
def test_latent_experts_cost_what_those_they_replace_do(latent):
    full, narrow = layer(), layer(latent=latent)
    times = DIM // latent
    assert narrow.sizes == (6 * times, 2 * times, latent)
    weights = [sum(g.weight.numel() for g in (m.up, m.down)) for m in (full, narrow)]
    assert weights[0] == weights[1]
    projections, router = 2 * DIM * latent, (6 * times - 6) * DIM
    assert narrow.flops(1) == full.flops(1) + projections + router
    assert narrow.idle() == full.idle() == 4 * 2 * DIM * 8


def test_work_is_that_of_the_active_experts_the_shared_one_and_the_router():
    assert layer().flops(1) == 2 * (2 * DIM * 8) + 2 * DIM * 12 + 6 * DIM


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active": 7}, "moe: active must be at most experts; got 7 and 6"),
        ({"latent": 5}, "moe: latent must divide dim; got 5 and 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)

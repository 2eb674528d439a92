"""Laws of both dense models: a cache that changes nothing, tokens that see no later ones, weights
that the seed names, costs that are counted right, and a source that they learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from evoopt.errors import ConfigurationError
from evoopt_llm import models
from evoopt_llm.markov import Source
from evoopt_llm.models import layers
from evoopt_llm.models.base import seeded
from evoopt_llm.models.gpt import GPTSettings
from evoopt_llm.models.ngpt import NGPTSettings

SIZES = {"vocabulary": 23, "dim": 24, "layers": 2, "heads": 4, "context": 12, "mlp_ratio": 2.0}
SETTINGS = {
    "gpt": GPTSettings(**SIZES),
    "gpt grouped": GPTSettings(**SIZES, kv_heads=2, qk_norm=True, tie=True),
    "ngpt": NGPTSettings(**SIZES),
}
both = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def tokens_of(rows, length, seed=0):
    return torch.randint(SIZES["vocabulary"], (rows, length), generator=seeded(seed))


@both
@pytest.mark.parametrize("parts", [(9,), (1,) * 9, (4, 1, 3, 1), (2, 7)])
def test_advancing_by_parts_equals_the_whole(settings, parts):
    model, tokens = models.build(settings, 1), tokens_of(3, 9)
    cache = model.cache(3, 9)
    logits = [model.advance(part, cache) for part in tokens.split(parts, dim=1)]
    assert cache.length == 9
    # the same sums in another order
    torch.testing.assert_close(torch.cat(logits, 1), model(tokens), rtol=1e-5, atol=1e-5)


@both
def test_tokens_that_were_taken_back_leave_no_trace(settings):
    model, tokens = models.build(settings, 1), tokens_of(2, 10)
    cache = model.cache(2, 10)
    model.advance(tokens[:, :3], cache)
    model.advance(tokens_of(2, 5, seed=9), cache)
    cache.rewind(0)
    model.advance(torch.cat((tokens[:, 3:5], tokens_of(2, 3, seed=8)), 1), cache)
    cache.rewind(2)
    assert cache.length == 5
    with pytest.raises(ConfigurationError, match=r"must be in \[0, 2\].* got 3"):
        cache.rewind(3)  # two of the last tokens are left
    rest = model.advance(tokens[:, 5:], cache)
    torch.testing.assert_close(rest, model(tokens)[:, 5:], rtol=1e-5, atol=1e-5)


@both
def test_a_sequence_may_be_longer_than_those_trained_on(settings):
    longer = models.build(settings.model_copy(update={"context": 30}), 1)
    model, tokens = models.build(settings, 1), tokens_of(2, 30)
    torch.testing.assert_close(model(tokens), longer(tokens), rtol=0, atol=0)
    cache = model.cache(2, 30)
    logits = [model.advance(part, cache) for part in tokens.split(10, dim=1)]
    torch.testing.assert_close(torch.cat(logits, 1), longer(tokens), rtol=1e-5, atol=1e-5)


@both
def test_no_token_sees_a_later_one(settings):
    model, tokens = models.build(settings, 1), tokens_of(1, 10)
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % SIZES["vocabulary"]
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=1e-6, atol=1e-7)
    assert (before[:, 6:] - after[:, 6:]).abs().amax((0, 2)).min() > 1e-4


@both
def test_weights_depend_on_the_seed_alone(settings):
    before = torch.get_rng_state()
    one, again, other = (models.build(settings, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for (name, a), b, c in zip(
        one.state_dict().items(), again.state_dict().values(), other.state_dict().values(),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(a, b), name
        assert a.ndim < 2 or not torch.isclose(a, c).any(), name


@both
def test_every_parameter_is_of_one_kind(settings):
    model = models.build(settings, 1)
    kinds = model.kinds()
    assert list(kinds) == [name for name, _ in model.named_parameters()]
    tied = getattr(settings, "tie", False)
    assert [name for name in kinds if kinds[name] == "embedding"] == ["embedding.weight"]
    assert [name for name in kinds if kinds[name] == "head"] == ["head.weight"][tied:]
    matrices = {f"blocks.{i}.{m}.weight" for i in range(2) for m in
                ("attention.qkv", "attention.out", "mlp.up", "mlp.down")}  # fmt: skip
    assert {name for name in kinds if kinds[name] == "matrix"} == matrices


@both
def test_operations_are_those_that_are_made(settings):
    model, length = models.build(settings, 1), 8
    with FlopCounterMode(display=False) as counter:
        model.losses(tokens_of(3, length + 1)).total.backward()
    products = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    seen = sum(t + 1 for t in range(length))  # keys, of all queries
    attention = 3 * settings.layers * seen * 2 * 2 * settings.dim  # forward once, backward twice
    assert model.flops(length) * length == products / 3 + attention


@both
def test_a_cache_counts_the_bytes_of_its_tokens(settings):
    model = models.build(settings, 1)
    cache = model.cache(2, 10)
    assert cache.size_bytes == 0
    model.advance(tokens_of(2, 7), cache)
    heads = getattr(settings, "kv_heads", None) or settings.heads
    assert cache.size_bytes == 7 * settings.layers * 2 * heads * settings.head_dim * 4


@both
def test_a_cache_refuses_what_does_not_fit(settings):
    model = models.build(settings, 1)
    cache = model.cache(2, 5)
    logits = model.advance(tokens_of(2, 3), cache)
    for wrong, message in [
        (lambda: model.advance(tokens_of(2, 3), cache), r"must fit the cache of 5 .* got 3:"),
        (lambda: model.advance(tokens_of(1, 1), cache), "must have 2 rows as its cache; got 1"),
        (lambda: cache.rewind(4), r"rewind\(kept=...\) must be in \[0, 3\].* got 4"),
    ]:
        with pytest.raises(ConfigurationError, match=message) as caught:
            wrong()
        assert "\n" not in str(caught.value)
    cache.rewind(0)
    torch.testing.assert_close(model.advance(tokens_of(2, 3), cache), logits, rtol=0, atol=0)


@both
def test_the_forms_for_the_compiler_are_the_same_functions(settings, monkeypatch):
    windows, gradients = tokens_of(3, 11), []
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda answer=compiling: answer)
        model = models.build(settings, 1).double()
        model.losses(windows).total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("function", [layers.unit, layers.gated, layers.RMSNorm(6).double()])
def test_a_written_out_gradient_is_the_derivative(function):
    x = torch.randn(3, 2, 6, dtype=torch.float64, generator=seeded(3), requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,))


def test_the_unit_of_zeros_is_zeros():
    x = torch.zeros(2, 4, requires_grad=True)
    y = layers.unit(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 4))
    assert bool(torch.isfinite(x.grad).all())


@both
def test_half_precision_products_change_little(settings):
    model, windows = models.build(settings, 1), tokens_of(8, 13)
    exact = model.losses(windows).main.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.losses(windows)
    assert losses.main.dtype == torch.float32
    assert abs(float(losses.main.detach() - exact)) < 2e-3  # 2^-9 of logits up to about 1
    losses.total.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize(("kind", "rate"), [("gpt", 5e-3), ("ngpt", 1e-2)])
def test_a_markov_source_is_learned_to_its_entropy(kind, rate):
    source = Source(8, 1)
    data = torch.from_numpy(source.draw(60 * 16 * 33).astype("int64")).view(60, 16, 33)
    least, most = int(data.min()), int(data.max())
    sizes = SIZES | {"vocabulary": most - least + 1, "context": 32, "dim": 32}
    settings = GPTSettings(**sizes) if kind == "gpt" else NGPTSettings(**sizes, s_z_init=4.0)
    model = models.build(settings, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    late = []
    for step, windows in enumerate(data - least):
        optimizer.zero_grad()
        losses = model.losses(windows)
        losses.total.backward()
        optimizer.step()
        model.after_step()
        late += [float(losses.main.detach())] if step >= 50 else []
    excess = sum(late) / len(late) / math.log(2) - source.entropy_bits
    assert -0.03 < excess < 0.08  # bits a byte of 5120: it is 0.043 and 0.032

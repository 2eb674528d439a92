"""Nemotron: beside its literal form, its memory in generation, its several tokens ahead."""

import numpy as np
import pytest
import reference_nemotron as reference
import torch

from evoopt.errors import ConfigurationError
from evoopt_llm.models import build
from evoopt_llm.models.base import seeded
from evoopt_llm.models.mamba2 import MambaSettings
from evoopt_llm.models.moe import MoESettings
from evoopt_llm.models.nemotron import AheadSettings, Nemotron, NemotronSettings

MAMBA = MambaSettings(heads=2, head_dim=4, state=3, chunk=4)
MOE = MoESettings(experts=4, active=2, hidden=6, shared=8, latent=6)


def settings(**options):
    return NemotronSettings(
        **{
            "vocabulary": 11,
            "dim": 12,
            "pattern": "ME*-",
            "context": 32,
            "heads": 4,
            "head_dim": 3,
            "mlp": 10,
            "mamba": MAMBA,
            "moe": MOE,
            "init_std": 0.4,  # so that every layer has its say
            **options,
        }
    )


def model(seed=0, *, depths=0, shared=True, ahead="*-", **options):
    more = AheadSettings(depths=depths, shared=shared, pattern=ahead)
    made = build(settings(ahead=more, **options), seed)
    assert isinstance(made, Nemotron)
    return made


def tokens(batch, length):
    return torch.randint(0, 11, (batch, length), generator=seeded(3))


@pytest.mark.parametrize("pattern", ["M", "E", "*", "-", "ME*-", "M*EM"])
def test_logits_equal_the_literal_form(pattern):
    m, row = model(pattern=pattern).double(), tokens(2, 13)
    expected = reference.logits(reference.weights_of(m), m.settings, row[1].numpy())
    # the same sums in another order
    np.testing.assert_allclose(m(row).detach()[1], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("depths", "shared"), [(0, True), (1, True), (3, True), (2, False)])
def test_losses_equal_the_literal_form(depths, shared):
    made = model(pattern="E*ME", depths=depths, shared=shared, ahead="ME*")
    m, windows = made.double(), tokens(3, 14)
    w = reference.weights_of(m)
    rows = [reference.losses(w, m.settings, row) for row in windows.numpy()]
    main, ahead, balance = (np.mean([row[i] for row in rows], axis=0) for i in range(3))
    losses = m.losses(windows)
    assert losses.main.item() == pytest.approx(main, rel=1e-6)  # cross-entropy is of float32
    parts = [losses.parts[f"mtp{k + 1}"].item() for k in range(depths)]
    np.testing.assert_allclose(parts, ahead, rtol=1e-6)
    assert losses.parts["balance"].item() == pytest.approx(balance, rel=1e-10)
    total = main + 1e-4 * balance + (0.3 * np.mean(ahead) if depths else 0)
    assert losses.total.item() == pytest.approx(total, rel=1e-6)


def test_a_pattern_without_experts_has_no_balance_loss():
    losses = model(pattern="M*-").losses(tokens(2, 9))
    assert losses.parts == {}
    assert losses.total is losses.main


@pytest.mark.parametrize("letter", ["M", "E", "*", "-"])
def test_no_token_sees_those_after_it(letter):
    m, row = model(pattern=2 * letter).double(), tokens(1, 12)
    other = row.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 11
    same = (m(row) == m(other)).all(-1)[0]
    torch.testing.assert_close(m(row)[:, :7], m(other)[:, :7], rtol=1e-12, atol=1e-13)
    assert not same[7:].any()


def test_the_last_token_of_a_window_is_a_target_alone():
    m, window = model(depths=2).double(), tokens(1, 12)
    other = window.clone()
    other[:, -1] = (other[:, -1] + 1) % 11
    a, b = (m.losses(w).parts for w in (window, other))
    assert a["balance"] == b["balance"]
    assert a["mtp1"] != b["mtp1"]
    assert a["mtp2"] != b["mtp2"]


@pytest.mark.parametrize("pattern", ["M", "*", "ME*-"])
@pytest.mark.parametrize("pieces", [[13], [1] * 13, [6, 1, 2, 4]])
def test_advancing_equals_the_whole_at_once(pattern, pieces):
    m, rows = model(pattern=pattern).double(), tokens(2, 13)
    cache = m.cache(2, 13)
    logits = torch.cat([m.advance(part, cache) for part in rows.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(logits, m(rows).detach(), rtol=1e-9, atol=1e-10)
    assert cache.length == 13


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("drafting", [False, True])
def test_a_rewound_cache_goes_on_as_if_the_rest_had_never_come(kept, drafting):
    m, rows = model(depths=2).double(), tokens(2, 13)
    cache = m.cache(2, 16, drafting=drafting)
    m.advance(rows[:, :5], cache)
    m.advance(rows[:, 5:8], cache)
    cache.rewind(kept)
    assert cache.length == 5 + kept
    logits = m.advance(rows[:, 5 + kept :], cache)
    torch.testing.assert_close(logits, m(rows).detach()[:, 5 + kept :], rtol=1e-9, atol=1e-10)
    assert torch.equal(cache.tokens, rows if drafting else rows[:, :0])


def literal_draft(m, row):
    """The likeliest tokens of each depth after a row and its next token, from the whole at once."""
    w, s = reference.weights_of(m), m.settings
    E, row = w["embedding.weight"], row.tolist()
    h, _ = reference.stack(reference.part(w, "trunk"), s, s.pattern, E[row[:-1]])
    for k in range(1, s.ahead.depths + 1):
        p = reference.part(w, f"ahead.{0 if s.ahead.shared else k - 1}")
        after = reference.norm(E[row[k:]], p["token_norm.weight"])
        joined = np.hstack((reference.norm(h, p["hidden_norm.weight"]), after))
        h, _ = reference.stack(
            reference.part(p, "stack"), s, s.ahead.pattern, joined @ p["join.weight"].T
        )
        z = reference.norm(h[-1], p["norm.weight"]) @ w["head.weight"].T
        row.append(int(z.argmax()))
    return row[-s.ahead.depths :]


@pytest.mark.parametrize(("depths", "shared"), [(1, True), (2, False), (4, True)])
@pytest.mark.parametrize("ahead", ["*-", "M", "E"])
def test_drafts_equal_those_made_from_scratch_each_time(depths, shared, ahead):
    m, row = model(depths=depths, shared=shared, ahead=ahead).double(), tokens(1, 14)
    cache = m.cache(1, 20, drafting=True)
    start = 0
    for end, kept in ((3, 3), (6, 1), (5, 1), (9, 4), (10, 1), (13, 3)):
        m.advance(row[:, start:end], cache)
        cache.rewind(kept)
        start += kept
        drafts = m.draft(row[:, start : start + 1], cache, lambda z, _: z.argmax(-1, keepdim=True))
        assert drafts[0].tolist() == literal_draft(m, row[0, : start + 1])


def test_after_a_draft_there_is_nothing_to_rewind():
    m, row = model(depths=1).double(), tokens(1, 9)
    cache = m.cache(1, 9, drafting=True)
    m.advance(row[:, :4], cache)
    m.draft(row[:, 4:5], cache, lambda z, _: z.argmax(-1, keepdim=True))
    with pytest.raises(ConfigurationError, match=r"rewind\(kept=...\) must be in \[0, 0\]"):
        cache.rewind(2)
    cache.rewind(0)
    logits = m.advance(row[:, 4:], cache)
    torch.testing.assert_close(logits, m(row).detach()[:, 4:], rtol=1e-9, atol=1e-10)


def test_state_grows_with_attention_layers_alone():
    sizes = {}
    for pattern in ("MEME", "ME*E", "**"):
        m = model(pattern=pattern)
        cache = m.cache(1, 64)
        m.advance(tokens(1, 20), cache)
        first = cache.size_bytes
        m.advance(tokens(1, 10), cache)
        sizes[pattern] = first, cache.size_bytes - first
    keys = 4 * 2 * 2 * 3  # bytes of float32; keys and values; kv_heads; head_dim
    state = 4 * (2 * 4 * 3 + 3 * (8 + 2 * 3))  # S, and 3 tokens of x, B, C
    assert sizes == {
        "MEME": (2 * state, 0),
        "ME*E": (state + 20 * keys, 10 * keys),
        "**": (40 * keys, 20 * keys),
    }


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    a, b, c = (dict(model(seed, depths=1).named_parameters()) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(
        torch.equal(a[n], c[n]) for n in a if n.endswith(("weight", "router")) and a[n].ndim > 1
    )


def test_layers_start_smaller_where_they_add_to_the_stream():
    m = model(dim=96, mlp=512, pattern="-" * 9, init_std=0.03)
    up, down = m.trunk.layers[4].up.weight, m.trunk.layers[4].down.weight
    assert up.std().item() == pytest.approx(0.03, rel=0.02)  # 49152 numbers: 6 standard errors
    assert down.std().item() == pytest.approx(0.01, rel=0.02)


def test_every_parameter_has_its_kind():
    m = model(depths=1)
    kinds = m.kinds()
    assert set(kinds) == {name for name, _ in m.named_parameters()}
    matrices = {name for name, kind in kinds.items() if kind == "matrix"}
    assert {
        "trunk.layers.0.enter.weight",
        "trunk.layers.1.router",
        "trunk.layers.1.up.weight",
    } < matrices
    assert {"ahead.0.join.weight", "trunk.layers.2.qkv.weight"} < matrices
    scalars = {"conv", "conv_bias", "dt_bias", "A_log", "D", "gain"}
    assert {kinds[f"trunk.layers.0.{name}"] for name in scalars} == {"scalar"}
    assert (kinds["embedding.weight"], kinds["head.weight"]) == ("embedding", "head")


def test_work_and_active_parameters_are_counted():
    m = model(pattern="E*-")
    experts = (4 * 2) * (2 * 6 * 6)  # d / l = 2: eight experts, of which four work
    moe = experts // 2 + 2 * 12 * 6 + 2 * 12 * 8 + 8 * 12
    attention = (4 + 2 * 2) * 3 * 12 + 12 * 12
    keys = 2 * 4 * 3 * (20 + 1) / 2
    assert m.flops(20) == 6 * (moe + attention + keys + 2 * 12 * 10 + 12 * 11)
    assert m.active() == sum(p.numel() for p in m.parameters()) - experts // 2


def test_the_step_moves_the_bias_of_every_router():
    m = model(pattern="EE", depths=1, ahead="E")
    m.losses(tokens(3, 20)).total.backward()
    m.after_step()
    for name, bias in m.named_buffers():
        assert bias.abs().max().item() == pytest.approx(1e-3), name
    assert len(dict(m.named_buffers())) == 3


def test_two_runs_are_the_same_to_the_bit():
    runs = []
    for _ in range(2):
        m = model(pattern="ME*-", depths=1, ahead="E")
        m.losses(tokens(8, 30)).total.backward()
        runs.append([p.grad for p in m.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_all_parameters_learn():
    m = model(pattern="ME*-", depths=2, shared=False, ahead="M")
    m.losses(tokens(8, 30)).total.backward()
    assert [n for n, p in m.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": ""}, "pattern must be 1 to 4096 of the letters .* got ''"),
        ({"pattern": "MeM"}, "pattern must be .* as in 'MEME\\*ME'; got 'MeM'"),
        ({"heads": 3}, "heads must be a multiple of kv_heads; got 3 and 2"),
        ({"moe": MoESettings(latent=5)}, "moe: latent must divide dim; got 5 and 12"),
        (
            {"context": 2, "ahead": {"depths": 2}},
            "context must be above ahead.depths; got 2 and 2",
        ),
        ({"ahead": {"pattern": "X"}}, "ahead.pattern must be 1 to 4096 of the letters"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        settings(**options)


def test_windows_too_short_for_the_depths_are_refused():
    with pytest.raises(ConfigurationError, match=r"losses\(windows=...\) must have more than 3"):
        model(depths=2).losses(tokens(1, 3))

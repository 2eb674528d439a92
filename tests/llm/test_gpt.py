"""GPT beside its transcription, the deviations of its weights, and settings that it refuses."""

from __future__ import annotations

import math

import pytest
import reference_models
import torch
from pydantic import ValidationError

from evoopt_llm.models.base import seeded
from evoopt_llm.models.gpt import GPT, GPTSettings

SIZES = {"vocabulary": 11, "dim": 12, "layers": 2, "heads": 3, "context": 8}


def doubled(model):
    """The model in double precision, its gains and scales moved away from where they begin."""
    model, generator = model.double(), seeded(5)
    for weight in model.parameters():
        if weight.ndim == 1:
            factor = 0.5 + torch.rand(weight.shape, generator=generator, dtype=torch.float64)
            weight.data *= factor
    return model


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"mlp_ratio": 8 / 3, "qk_norm": True},
        {"heads": 6, "kv_heads": 2, "tie": True, "rope_base": 50.0},
        {"kv_heads": 1, "qk_norm": True, "init_std": 0.3, "embedding_std": 1.0},
        {"residual_scale": 0.3, "attention_scale": 2.0, "logit_scale": 3.0, "logit_cap": 0.5},
    ],
)
def test_it_equals_the_transcription(knobs):
    settings = GPTSettings(**SIZES | {"init_std": 0.2} | knobs)
    model = doubled(GPT(settings, 3))
    tokens = torch.randint(11, (2, 7), generator=seeded(1))
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    for row, logits in zip(tokens.tolist(), model(tokens).detach().numpy(), strict=True):
        expected = reference_models.gpt(weights, row, settings)
        assert abs(expected).max() > 0.1
        assert abs(logits - expected).max() < 1e-6  # the angles' cos and sin are float32


def test_weights_have_the_deviations_that_the_settings_name():
    settings = GPTSettings(dim=64, heads=4, layers=8, init_std=0.05, embedding_std=0.5)
    for name, weight in GPT(settings, 1).named_parameters():
        if weight.ndim == 1:
            assert bool((weight == 1).all()), name
            continue
        small = name.endswith(("out.weight", "down.weight"))
        std = {"embedding.weight": 0.5}.get(name, 0.05 / math.sqrt(16) if small else 0.05)
        # the deviation of n normal numbers has the relative error 1/sqrt(2 n): 5 of them
        assert float(weight.std().detach()) == pytest.approx(
            std, rel=5 / math.sqrt(2 * weight.numel())
        )
        assert abs(float(weight.mean().detach())) < 5 * std / math.sqrt(weight.numel()), name


def test_the_first_loss_is_that_of_equal_chances():
    model = GPT(GPTSettings(dim=64, layers=2), 1)
    windows = torch.randint(256, (4, 65), generator=seeded(0))
    losses = model.losses(windows)
    assert losses.parts == {}
    assert losses.total is losses.main
    assert float(losses.main.detach()) == pytest.approx(math.log(256), abs=0.05)


@pytest.mark.parametrize(("ratio", "hidden"), [(4.0, 256), (8 / 3, 176), (0.01, 16)])
def test_hidden_units_are_a_multiple_of_sixteen(ratio, hidden):
    model = GPT(GPTSettings(dim=64, layers=1, mlp_ratio=ratio), 1)
    assert model.get_parameter("blocks.0.mlp.up.weight").shape == (2 * hidden, 64)
    assert model.get_parameter("blocks.0.mlp.down.weight").shape == (64, hidden)


def test_a_capped_logit_stays_below_the_cap():
    model = GPT(GPTSettings(**SIZES, init_std=1.0, logit_cap=0.7), 1)
    logits = model(torch.arange(8)[None])
    assert 0.69 < float(logits.detach().abs().max()) <= 0.7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim": 20, "heads": 3}, "dim must be an even multiple of heads; got dim 20, heads 3"),
        ({"dim": 12, "heads": 4}, "dim must be an even multiple of heads; got dim 12, heads 4"),
        ({"heads": 4, "kv_heads": 3}, "multiple of kv_heads; got heads 4, kv_heads 3"),
        ({"layers": 0}, "greater than 0"),
        ({"layers": 2.0}, "valid integer"),
        ({"depth": 2}, "Extra inputs are not permitted"),
        ({"kind": "ngpt"}, "Input should be 'gpt'"),
    ],
)
def test_settings_that_make_no_model_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message) as caught:
        GPTSettings(**wrong)
    assert caught.value.error_count() == 1

"""Settings: what would overflow and what would have no effect is refused, each in one line."""

from typing import Any

import pytest
from training import NEMOTRON, tables

from evoopt.errors import ConfigurationError
from evoopt_llm import fp4linear, models
from evoopt_llm.config import TrainConfig, config_of
from evoopt_llm.models.gpt import GPTSettings

MOE = NEMOTRON["moe"]


def of(**parts: dict[str, Any]) -> TrainConfig:
    return config_of(tables("cache", **parts), "the test")


def refused(part: str, **keys: object) -> str:
    """What a config with these keys in one of its tables is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        of(**{part: keys})
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 400
    return said


@pytest.mark.parametrize(
    ("part", "keys", "said"),
    [
        ("data", {"kind": "markov", "order": 10**30}, "data.order must be at most 10;"),
        ("data", {"kind": "markov", "size": 10**30}, "data.size must be at most 1000000000;"),
        ("schedule", {"kind": "sgdr", "t_0": 10**400}, "schedule.t_0 must be "),
        ("schedule", {"kind": "linear", "warmup_steps": 2**63}, "schedule.warmup_steps must be "),
        ("optimizer", {"lr": 1e300}, "optimizer.lr must be at most 1000000;"),
        ("optimizer", {"kind": "sgd", "lr": 1e300}, "optimizer.lr must be at most"),
        ("optimizer", {"lr_of": {"head": 1e300}}, "optimizer.lr_of.head must be at most"),
        ("optimizer", {"weight_decay": 1e300}, "optimizer.weight_decay must be at most"),
        ("optimizer", {"eps": 1e300}, "optimizer.eps must be at most"),
        ("optimizer", {"kind": "adamwn", "target_ratio": 1e300}, "must be at most 1000000"),
        ("model", {"dim": 10**9}, "model.dim must be at most 1048576;"),
        ("model", {"layers": 10**9}, "model.layers must be at most 4096;"),
        ("model", {"context": 10**12}, "model.context must be at most"),
        ("model", {"heads": 10**30}, "model.heads must be at most"),
        ("model", {"mlp_ratio": 1e300}, "model.mlp_ratio must be at most"),
        ("model", {"init_std": 1e300}, "model.init_std must be at most"),
        ("model", {"residual_scale": 1e300}, "model.residual_scale must be at most 1000000;"),
        ("model", {"logit_scale": 1e300}, "model.logit_scale must be at most"),
        (
            "model",
            {"kind": "ngpt", "s_z_scale": 1e-300},
            "model.s_z_scale must be at least 0.000000001;",
        ),
        ("model", {"kind": "ngpt", "alpha_init": 1e300}, "model.alpha_init must be at most"),
        ("model", {**NEMOTRON, "mlp": 10**30}, "model.mlp must be at most"),
        ("model", {**NEMOTRON, "pattern": "M" * 5000}, "model: pattern must be 1 to 4096 of"),
        ("model", {**NEMOTRON, "moe": {**MOE, "experts": 10**9}}, "model.moe.experts must be"),
        ("model", {**NEMOTRON, "moe": {**MOE, "scaling": 1e300}}, "model.moe.scaling must be"),
        ("model", {**NEMOTRON, "mamba": {"state": 10**9}}, "model.mamba.state must be at most"),
        ("model", {**NEMOTRON, "mamba": {"dt_max": 1e300}}, "model.mamba.dt_max must be at most"),
        ("model", {**NEMOTRON, "ahead": {"depths": 10**6}}, "model.ahead.depths must be at most"),
    ],
    ids=str,
)
def test_numbers_too_large_to_compute_with_are_refused_in_one_line(
    part: str, keys: dict[str, Any], said: str
) -> None:
    assert said in refused(part, **keys)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("gpt", {"dim": 2**20, "heads": 2, "layers": 1, "mlp_ratio": 1024.0, "context": 2**30}),
        ("ngpt", {"dim": 2**20, "heads": 2, "layers": 1, "mlp_ratio": 1024.0}),
        (
            "nemotron",
            {
                "pattern": "ME*-",
                "dim": 2**20,
                "heads": 2**16,
                "kv_heads": 2**16,
                "head_dim": 2**16,
                "mlp": 2**20,
                "mamba": {"heads": 2**16, "head_dim": 2**16, "state": 2**16, "groups": 2**16},
                "moe": {"experts": 2**16, "hidden": 2**20, "shared": 2**20},
            },
        ),
    ],
)
def test_the_largest_sizes_overflow_nothing(kind: str, sizes: dict[str, Any]) -> None:
    import torch

    settings = of(model={"kind": kind, "vocabulary": 2**20, **sizes}).model
    with torch.device("meta"):
        model = models.build(settings, 1)
    assert sum(p.numel() for p in model.parameters()) > 2**40
    assert model.flops(settings.context) > 2**40


WN = {"kind": "adamwn", "update_rate": 0.5}
FP4 = {"kind": "nvfp4", "keep_last": 0}


@pytest.mark.parametrize(
    ("part", "keys", "said"),
    [
        ("optimizer", {**WN, "weight_decay": 0.2}, "weight_decay has no effect beside update_rate"),
        ("optimizer", {**WN, "decay_time": 0.2}, "decay_time has no effect beside update_rate"),
        ("optimizer", {**WN, "normalised_decay": 0.2}, "normalised_decay has no effect"),
        ("optimizer", {**WN, "corrected_decay": True}, "corrected_decay has no effect"),
        (
            "optimizer",
            {"kind": "adamwn", "scheduled_rate": True},
            "scheduled_rate has no effect without update_rate",
        ),
        (
            "optimizer",
            {"kind": "adamwn", "target_ratio": 2.0, "target_norm": 3.0},
            "target_ratio has no effect beside target_norm: leave it out; got 2.0",
        ),
        (
            "optimizer",
            {"kind": "adamw", "weight_decay": 0.3, "decay_time": 1.0},
            "weight_decay has no effect beside decay_time or normalised_decay",
        ),
        ("precision", {**FP4, "switch": "forward"}, "switch has no effect without switch_at"),
        (
            "precision",
            {**FP4, "switch": "never", "switch_at": 0.8},
            "switch_at has no effect beside switch = 'never'",
        ),
        ("precision", {**FP4, "rht": "off", "rht_size": 64}, "rht_size has no effect beside rht"),
        ("precision", {**FP4, "rht": "off", "rht_signs": "fresh"}, "rht_signs has no effect"),
    ],
    ids=str,
)
def test_keys_without_effect_are_refused(part: str, keys: dict[str, Any], said: str) -> None:
    assert said in refused(part, **keys)


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("optimizer", WN),
        ("optimizer", {"kind": "adamwn", "target_norm": 3.0}),
        ("optimizer", {"kind": "adamw", "decay_time": 1.0}),
        ("optimizer", {"kind": "sgd"}),
        ("precision", {**FP4, "rht": "off"}),
        ("precision", {**FP4, "switch": "never"}),
        ("precision", {**FP4, "switch": "forward", "switch_at": 0.8}),
        ("precision", {**FP4, "keep": ["blocks.0.mlp.*"]}),
        ("precision", {"kind": "mxfp4"}),
        ("model", NEMOTRON),
    ],
    ids=str,
)
def test_a_config_that_is_written_out_in_full_is_read_back(part: str, keys: dict[str, Any]) -> None:
    config = of(**{part: keys})
    assert config_of(config.plain(), "it") == config


def test_a_pattern_that_keeps_no_layer_is_refused() -> None:
    precision = of(precision={**FP4, "keep": ["ahead.*", "blocks.0.mlp.down", "typo.*"]}).precision
    with pytest.raises(ConfigurationError) as caught:
        fp4linear.convert(models.build(GPTSettings(dim=32, layers=1), 1), precision)
    said = "precision.keep must be of patterns that match a layer, such as blocks.0.attention.qkv;"
    assert str(caught.value) == f"{said} got 'typo.*'"

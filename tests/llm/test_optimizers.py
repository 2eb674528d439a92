"""Optimizers from settings: which weights get which rate and decay, and what a step sets."""

from __future__ import annotations

import copy
import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from evoopt.errors import ConfigurationError
from evoopt_llm import models
from evoopt_llm.adamwn import AdamWN
from evoopt_llm.config import config_of
from evoopt_llm.models.gpt import GPTSettings
from evoopt_llm.optimizers import build, course, normalised, set_step
from evoopt_llm.optimizersettings import (
    AdamWNSettings,
    AdamWSettings,
    AnyOptimizer,
    Multipliers,
    OptimizerSettings,
    Part,
    SGDSettings,
)

ALL = [AdamWSettings(), AdamWNSettings(update_rate=0.1), SGDSettings()]
KINDS = {"table": "embedding", "inner": "matrix", "gain": "scalar", "out": "head"}


class Small(nn.Module):
    """One parameter of each kind, of the numbers 1."""

    def __init__(self) -> None:
        super().__init__()
        for name in KINDS:
            setattr(self, name, nn.Parameter(torch.ones(3) if name == "gain" else torch.ones(3, 2)))

    def kinds(self) -> dict[str, str]:
        return KINDS


def groups(settings: AnyOptimizer, steps: int | None = None) -> dict[str, dict[str, Any]]:
    return {g["kind"]: g for g in build(Small(), settings, steps).param_groups}


def groups_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    return {g["kind"]: g for g in build(model, AdamWSettings()).param_groups}


def trained(settings: AnyOptimizer, steps: int = 5) -> Small:
    """Gradients of 0: what moves is decay and norms alone."""
    model = Small()
    optimizer = build(model, settings)
    for step in range(steps):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        set_step(optimizer, settings, 1.0, step / max(1, steps - 1))
        optimizer.step()
    return model


@pytest.mark.parametrize("settings", ALL, ids=lambda s: s.kind)
def test_every_kind_of_parameter_is_a_group_and_matrices_alone_decay(
    settings: AnyOptimizer,
) -> None:
    found = groups(settings.model_copy(update={"weight_decay": 0.2}))
    assert list(found) == ["embedding", "head", "matrix", "scalar"]
    assert [g["weight_decay"] for g in found.values()] == [0.0, 0.0, 0.2, 0.0]
    assert {g["lr"] for g in found.values()} == {settings.lr}


@pytest.mark.parametrize("kind", ["embedding", "head", "matrix", "scalar"])
def test_a_kind_has_its_own_factors_of_rate_and_decay(kind: str) -> None:
    settings = AdamWSettings(lr_of=Multipliers(**{kind: 3.0}), decay_of=Multipliers(**{kind: 0.5}))
    found = groups(settings)
    for name, group in found.items():
        factor, decay = (3.0, 0.05) if name == kind else (1.0, 0.1)
        assert (group["lr"], group["weight_decay"]) == (settings.lr * factor, decay)


@pytest.mark.parametrize("settings", ALL, ids=lambda s: s.kind)
def test_a_part_has_its_own_factors_beside_those_of_its_kind(settings: AnyOptimizer) -> None:
    parts = {"some": Part(match="in*", lr=2.0, decay=0.5), "more": Part(match="[go]*", lr=4.0)}
    update = {"parts": parts, "lr_of": Multipliers(matrix=3.0), "weight_decay": 0.2}
    settings = settings.model_copy(update=update)
    found = groups(settings)
    rates = {kind: group["lr"] / settings.lr for kind, group in found.items()}
    assert rates == pytest.approx({"embedding": 1.0, "head": 4.0, "matrix": 6.0, "scalar": 4.0})
    assert found["matrix"]["weight_decay"] == pytest.approx(0.1)
    if isinstance(settings, AdamWNSettings):
        assert found["matrix"]["update_rate"] == pytest.approx(0.05)


def test_a_part_divides_a_kind_and_changes_no_other_weight() -> None:
    model = models.build(GPTSettings(dim=32, layers=2), 1)
    parts = {"first": Part(match="blocks.0.*.weight", lr=0.0)}
    optimizer = build(model, AdamWSettings(parts=parts))
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    for name, p in model.named_parameters():
        assert (rates[id(p)] == 0) == name.startswith("blocks.0."), name
    assert [g["kind"] for g in build(model, AdamWSettings()).param_groups].count("matrix") == 1


@pytest.mark.parametrize(
    ("matches", "said"),
    [
        (("typo*",), "optimizer.parts.a.match must match parameters, such as table; got 'typo*'"),
        (("in*", "*n*"), "optimizer.parts.b.match must leave what optimizer.parts.a has, inner; "),
    ],
)
def test_parts_that_match_nothing_or_the_same_are_refused(matches: list[str], said: str) -> None:
    parts = {name: Part(match=match) for name, match in zip("ab", matches, strict=False)}
    with pytest.raises(ConfigurationError) as caught:
        build(Small(), AdamWSettings(parts=parts))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("settings", ALL, ids=lambda s: s.kind)
def test_a_step_depends_on_its_multiplier_and_not_on_the_steps_before(
    settings: AnyOptimizer,
) -> None:
    settings = settings.model_copy(update={"lr_of": Multipliers(head=3.0)})
    one, other = build(Small(), settings), build(Small(), settings)
    for multiplier in (1.0, 0.3, 0.7):
        set_step(one, settings, multiplier, 0.5)
    set_step(other, settings, 0.7, 0.5)
    assert [g["lr"] for g in one.param_groups] == [g["lr"] for g in other.param_groups]
    assert one.param_groups[1]["lr"] == pytest.approx(settings.lr * 3.0 * 0.7, rel=1e-15)


@pytest.mark.parametrize("settings", ALL, ids=lambda s: s.kind)
def test_the_groups_of_a_saved_state_are_json_and_come_back(settings: AnyOptimizer) -> None:
    model = Small()
    first, second = build(model, settings), build(model, settings)
    set_step(first, settings, 0.25, 0.5)
    saved = first.state_dict()
    saved["param_groups"] = json.loads(json.dumps(saved["param_groups"]))
    second.load_state_dict(saved)
    assert [g["lr"] for g in second.param_groups] == [g["lr"] for g in first.param_groups]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    twin = copy.deepcopy(model)
    second.step()
    assert not torch.equal(model.inner, twin.inner)


def test_adamw_and_adamwn_with_target_0_train_alike_to_the_bit() -> None:
    models = Small(), Small()
    settings = AdamWSettings(), AdamWNSettings(target_ratio=0.0)
    optimizers = [build(m, s) for m, s in zip(models, settings, strict=True)]
    for step in range(50):
        for model, o, s in zip(models, optimizers, settings, strict=True):
            for p in model.parameters():
                p.grad = p.detach() * math.cos(step)
            set_step(o, s, 1 - step / 50, step / 50)
            o.step()
    for name, p in models[0].named_parameters():
        assert torch.equal(p, models[1].get_parameter(name))


def test_norms_of_matrices_alone_are_controlled_by_default() -> None:
    model = trained(AdamWNSettings(target_ratio=2.0, update_rate=1.0))
    assert model.inner.detach().unique().tolist() == pytest.approx([2.0], rel=1e-6)
    for other in (model.table, model.gain, model.out):
        assert other.detach().unique().tolist() == [1.0]


def test_knots_of_the_target_are_followed_over_the_run() -> None:
    settings = AdamWNSettings(target_ratio=(1.0, 3.0, 0.5), update_rate=1.0)
    optimizer = build(Small(), settings)
    found = []
    for share in (0.0, 0.5, 1.0):
        set_step(optimizer, settings, 1.0, share)
        found.append(optimizer.param_groups[2]["target_ratio"])
    assert found == [1.0, 3.0, 0.5]


def test_a_target_norm_replaces_the_ratio() -> None:
    model = trained(AdamWNSettings(target_norm=(1.0, 4.0), update_rate=1.0))
    assert model.inner.norm().item() == pytest.approx(4.0, rel=1e-6)


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_rate_follows_the_schedule_of_the_learning_rate_where_asked(scheduled: bool) -> None:
    settings = AdamWNSettings(
        update_rate=0.4, scheduled_rate=scheduled, decay_of=Multipliers(head=0.5)
    )
    optimizer = build(Small(), settings)
    set_step(optimizer, settings, 0.25, 0.0)
    rates = [g["update_rate"] for g in optimizer.param_groups]
    factor = 0.25 if scheduled else 1.0
    assert rates == [0.4 * factor, 0.2 * factor, 0.4 * factor, 0.4 * factor]


def test_a_curve_meets_its_knots_and_stays_between_neighbours() -> None:
    knots = (1.0, 0.0, 0.0, 2.0, 1.9, 5.0)
    assert [course(knots, i / 5) for i in range(6)] == pytest.approx(list(knots), abs=1e-14)
    for i, (a, b) in enumerate(pairwise(knots)):
        inner = [course(knots, (i + j / 20) / 5) for j in range(21)]
        assert min(a, b) - 1e-12 <= min(inner) <= max(inner) <= max(a, b) + 1e-12


def test_two_knots_are_a_straight_line_and_one_value_is_constant() -> None:
    assert [course((1.0, 3.0), share) for share in (0.0, 0.25, 1.0)] == [1.0, 1.5, 3.0]
    assert course(0.7, 0.3) == 0.7


def test_the_normalised_decay_equals_its_formula_and_the_published_example() -> None:
    """AdamW-and-SGDW: wd_cur = eta wnorm / sqrt(batches an epoch times T), here 391 and 1500."""
    assert normalised(0.025, 128, 50_000, 100) == 0.025 * math.sqrt(128 / (50_000 * 100))
    assert normalised(0.025, 1, 391, 1500) == pytest.approx(0.025 / math.sqrt(391 * 1500))


def test_the_normalised_decay_of_a_step_is_free_of_the_learning_rate() -> None:
    for lr in (1e-3, 4e-3):
        settings = AdamWSettings(lr=lr, normalised_decay=0.05, lr_of=Multipliers(matrix=2.0))
        group = groups(settings, steps=400)["matrix"]
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.05 / 20)


def test_the_normalised_decay_follows_the_restart_period() -> None:
    settings = AdamWSettings(normalised_decay=0.05)
    optimizer = build(Small(), settings, steps=100)
    set_step(optimizer, settings, 1.0, 0.0, period=400)
    group = optimizer.param_groups[2]
    assert group["lr"] * group["weight_decay"] == pytest.approx(0.05 / 20)


def test_a_decay_time_is_a_share_of_the_run() -> None:
    """1 - decay to the power of a tenth of the steps is about 1 / e."""
    group = groups(AdamWSettings(decay_time=0.1), steps=5000)["matrix"]
    assert (1 - group["lr"] * group["weight_decay"]) ** 500 == pytest.approx(1 / math.e, rel=2e-3)


def test_the_corrected_decay_of_a_step_is_lr_squared_over_the_peak() -> None:
    settings = AdamWSettings(lr=4e-3, weight_decay=0.1, corrected_decay=True)
    optimizer = build(Small(), settings)
    for multiplier in (0.5, 0.25):
        set_step(optimizer, settings, multiplier, 0.5)
        group = optimizer.param_groups[2]
        lr = 4e-3 * multiplier
        assert group["lr"] * group["weight_decay"] == pytest.approx(lr**2 / 4e-3 * 0.1, rel=1e-12)


def test_a_decay_counted_in_steps_needs_their_number() -> None:
    with pytest.raises(ConfigurationError, match=r"build\(steps=...\) must be given"):
        build(Small(), AdamWSettings(normalised_decay=0.05))


@pytest.mark.parametrize("name", models.MODELS)
def test_every_parameter_of_every_model_is_in_one_group(name: str) -> None:
    config = config_of({"model": {"kind": name}, "run": {"steps": 1}}, "test")
    model = models.build(config.model, 0)
    found = [p for g in build(model, AdamWNSettings()).param_groups for p in g["params"]]
    assert len(found) == len(set(found)) == len(list(model.parameters()))
    decaying = groups_of(model)["matrix"]["params"]
    assert all(p.ndim >= 2 for p in decaying)


def test_a_frozen_parameter_is_in_no_group() -> None:
    model = Small()
    model.table.requires_grad_(False)
    assert [g["kind"] for g in build(model, AdamWSettings()).param_groups] == [
        "head",
        "matrix",
        "scalar",
    ]


def test_settings_of_a_file_give_the_optimizer_that_they_name() -> None:
    table = {"kind": "adamwn", "lr": 1, "target_ratio": [1.0, 2, 1.5], "scope": "row"}
    settings = TypeAdapter[AnyOptimizer](OptimizerSettings).validate_python(table)
    assert isinstance(settings, AdamWNSettings)
    assert settings.target_ratio == (1.0, 2.0, 1.5)
    optimizer = build(Small(), settings)
    assert isinstance(optimizer, AdamWN)
    assert optimizer.param_groups[0]["scope"] == "row"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "adamw", "lr": 0.0},
        {"kind": "adamw", "lr": math.inf},
        {"kind": "adamw", "beta2": 1.0},
        {"kind": "adamw", "target_ratio": 1.0},
        {"kind": "adamw", "normalised_decay": 0.1, "decay_time": 0.1},
        {"kind": "adamwn", "target_ratio": -0.1},
        {"kind": "adamwn", "target_ratio": [1.0]},
        {"kind": "adamwn", "target_ratio": [1.0, -1.0]},
        {"kind": "adamwn", "target_ratio": ["1"]},
        {"kind": "adamwn", "target_ratio": math.nan},
        {"kind": "adamwn", "target_ratio": [1.0, math.inf]},
        {"kind": "adamwn", "update_rate": 1.5},
        {"kind": "adamwn", "update_rate": [0.5, 1.5]},
        {"kind": "adamwn", "update_rate": 0.5, "decay_of": {"head": 3.0}},
        {"kind": "adamwn", "update_rate": 0.5, "parts": {"a": {"match": "*", "decay": 3.0}}},
        {"kind": "adamwn", "parts": {"a": {"lr": 3.0}}},
        {"kind": "adamwn", "replay": "norms.npz"},
        {"kind": "adamwn", "replay": "norms.npz", "update_rate": 1.0, "scope": "row"},
        {"kind": "sgd", "nesterov": True, "momentum": 0.0},
        {"kind": "sgd", "beta1": 0.9},
        {"kind": "lion"},
    ],
    ids=repr,
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[AnyOptimizer](OptimizerSettings).validate_python(wrong)

"""Branches of a trunk: each is, to the bit, the run that had been that config from the start."""

from pathlib import Path

import pytest
from training import curve, tables, tiny

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm import branches, checkpoint
from evoopt_llm.checkpoint import Checkpoint
from evoopt_llm.config import TrainConfig
from evoopt_llm.trial import train

SHORT = {"kind": "wsd", "warmup_steps": 2, "decay_share": 0.25}  # of 12 steps: 8 at the peak
LONG = {"kind": "wsd", "warmup_steps": 2, "decay_share": 0.25, "tail": "minus-sqrt"}


@pytest.fixture
def trunk(tmp_path: Path, tiny_cache: str) -> Checkpoint:
    """Eight steps, of which the last ones are stable."""
    stable = {"kind": "constant", "warmup_steps": 2}
    train(tiny(tiny_cache, schedule=stable, run={"steps": 8}), tmp_path / "trunk")
    return checkpoint.load(checkpoint.find(tmp_path / "trunk"))


@pytest.mark.parametrize(("schedule", "steps"), [(SHORT, 12), (LONG, 20)])
def test_a_branch_is_the_run_of_its_config_to_the_bit(
    schedule: dict, steps: int, trunk: Checkpoint, tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, schedule=schedule, run={"steps": steps})
    branches.check(trunk, config)
    result = train(config, tmp_path / "branch", mode="branch", start=trunk)
    whole = train(config, tmp_path / "whole")
    later = [row for row in curve(tmp_path / "whole") if row[1] > 8]
    assert curve(tmp_path / "branch") == later
    assert result.valid_loss == whole.valid_loss
    assert result.branch_of == {"folder": str(tmp_path / "trunk"), "step": 8}
    assert result.tokens == whole.tokens


def branch(tiny_cache: str, **parts: dict) -> TrainConfig:
    return tiny(tiny_cache, **{"schedule": SHORT, **parts})


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"run": {"steps": 8}}, r"run\.steps of a branch must be more than the 8 steps"),
        ({"run": {"seed": 8}}, r"run\.seed of a branch must be that of its trunk"),
        ({"run": {"batch": 8}}, r"run\.batch of a branch"),
        ({"optimizer": {"kind": "sgd"}}, r"optimizer\.kind of a branch"),
        ({"optimizer": {"kind": "adamwn", "scope": "row"}}, r"optimizer\.kind of a branch"),
        ({"schedule": {"kind": "cosine"}}, "at step 0 it is 1 and not 0.333"),
        ({"schedule": {**SHORT, "decay_share": 0.5}}, "at step 6 it is"),
    ],
)
def test_a_branch_that_had_not_been_its_trunk_is_refused(
    parts: dict, expected: str, trunk: Checkpoint, tiny_cache: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        branches.check(trunk, branch(tiny_cache, **parts))


CONTROL = {"kind": "adamwn", "update_rate": 0.1}
STABLE = {"kind": "constant"}


def trunk_of(tmp_path: Path, tiny_cache: str, **parts: dict) -> Checkpoint:
    """Eight steps with this optimizer or precision."""
    config = tiny(tiny_cache, schedule=STABLE, run={"steps": 8, "eval_every": None}, **parts)
    train(config, tmp_path / "of")
    return checkpoint.load(checkpoint.find(tmp_path / "of"))


@pytest.mark.parametrize("scope", ["row", "global"])
def test_a_branch_with_another_scope_of_norms_is_refused(
    scope: str, tmp_path: Path, tiny_cache: str
) -> None:
    start = trunk_of(tmp_path, tiny_cache, optimizer=CONTROL)
    config = tiny(tiny_cache, schedule=STABLE, optimizer={**CONTROL, "scope": scope})
    with pytest.raises(ConfigurationError, match=r"optimizer\.scope of a branch must be that"):
        branches.check(start, config)


COURSES = {
    "optimizer.target_ratio": {"optimizer": {**CONTROL, "target_ratio": [1.0, 4.0]}},
    "optimizer.update_rate": {"optimizer": {**CONTROL, "update_rate": [0.1, 0.2]}},
    "optimizer.decay_time": {"optimizer": {"kind": "adamw", "decay_time": 0.5}},
    "optimizer.normalised_decay": {"optimizer": {"kind": "adamw", "normalised_decay": 0.1}},
    "precision.switch_at": {
        "precision": {"kind": "nvfp4", "keep_last": 0, "switch_at": 0.5},
    },
}


@pytest.mark.parametrize("key", COURSES)
def test_a_branch_whose_length_changes_what_its_trunk_had_is_refused(
    key: str, tmp_path: Path, tiny_cache: str
) -> None:
    start = trunk_of(tmp_path, tiny_cache, **COURSES[key])
    longer = tiny(tiny_cache, schedule=STABLE, run={"steps": 12}, **COURSES[key])
    with pytest.raises(ConfigurationError, match=f"{key} of a branch that is set as in") as caught:
        branches.check(start, longer)
    assert "\n" not in str(caught.value)


def test_a_norm_target_that_is_changed_on_purpose_holds_from_the_trunk_on(
    tmp_path: Path, tiny_cache: str
) -> None:
    start = trunk_of(tmp_path, tiny_cache, optimizer=CONTROL)
    for ratio in (2.0, [1.0, 3.0]):
        config = tiny(tiny_cache, schedule=STABLE, optimizer={**CONTROL, "target_ratio": ratio})
        branches.check(start, config)


def test_a_trunk_whose_config_is_of_other_kinds_is_refused(trunk: Checkpoint, tiny_cache: str):
    config = branch(tiny_cache)
    trunk.config["model"] = {"kind": "foo"}
    with pytest.raises(StateError, match="written by another version"):
        branches.check(trunk, config)
    trunk.config["model"] = 3
    with pytest.raises(StateError, match="its model is no table"):
        branches.check(trunk, config)


def test_a_checkpoint_beyond_the_steps_of_its_run_is_refused(
    trunk: Checkpoint, tmp_path: Path, tiny_cache: str
) -> None:
    trunk.config["run"]["steps"] = 4
    stable = {"kind": "constant", "warmup_steps": 2}
    config = tiny(tiny_cache, schedule=stable, run={"steps": 4})
    with pytest.raises(StateError, match="is beyond the 4 steps of its run"):
        train(config, tmp_path / "trunk", mode="resume", start=trunk)


def test_a_model_of_another_size_is_refused(trunk: Checkpoint, tiny_cache: str) -> None:
    model = {**tables(tiny_cache)["model"], "dim": 32}
    with pytest.raises(ConfigurationError, match="model of a branch"):
        branches.check(trunk, branch(tiny_cache, model=model))


def test_a_branch_may_differ_in_precision_and_in_the_target_of_norms(
    trunk: Checkpoint, tmp_path: Path, tiny_cache: str
) -> None:
    config = branch(tiny_cache, precision={"kind": "nvfp4", "keep_last": 0})
    branches.check(trunk, config)
    result = train(config, tmp_path / "branch", mode="branch", start=trunk)
    assert (result.status, result.steps) == ("ok", 12)


@pytest.mark.parametrize("names", [["a", "a"], ["a/b"], [".."], ["a b"]])
def test_names_of_branches_are_folders_beside_one_another(names: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="--branch must have a name of its own"):
        branches.check_names(names)

"""Runs that begin at a checkpoint: the same run resumed, or a branch of a trunk.

A branch is a run that begins at a checkpoint of another one and decays from there. With a schedule
that is stable before its decay (WSD), runs of several lengths, shapes of decay,
norm targets or precisions share their first steps, which are then computed once: the trunk. A
branch goes on at the trunk's step, with the trunk's data order.
When: to compare decays, or lengths of a run, at a fraction of the cost. When not: with schedules
that depend on the length of the run from the first step on (cosine, linear).

Source: S. Hu et al., MiniCPM, arXiv:2404.06395 (warm-up, stable, decay, and models of several
lengths from one stable run). Differences from the source: none; a branch whose config differs from
the trunk's in the schedule alone is, to the bit, the run that had been that config from the start.
So what is left as it was in the trunk must mean the same: values that run over the whole run are
refused where another length has changed them. What is changed on purpose, as a norm target or the
precision, holds from the trunk's step on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm.accounts import Mode
from evoopt_llm.checkpoint import Checkpoint
from evoopt_llm.config import TrainConfig, check_stored, config_of, differences
from evoopt_llm.optimizers import course
from evoopt_llm.runfolder import read_config
from evoopt_llm.schedules import multiplier, period

_SHARED = ("batch", "accumulation", "seed", "data_seed")  # of `run`: what the first steps were
_COURSES = ("target_ratio", "target_norm", "update_rate")  # of `optimizer`: may run over the run
_NAME = re.compile(r"[A-Za-z0-9._-]{0,60}")


def check_start(
    config: TrainConfig,
    folder: Path,
    mode: Mode,
    start: Checkpoint | None,
    corpus_digest: str,
    replay_digest: str | None = None,
) -> None:
    """Refuses a run or a checkpoint that a config cannot go on with.

    Args:
        config: resolved.
        folder: of the run.
        mode, start: as `trial.train` takes them.
        corpus_digest: of the corpus as it is now. replay_digest: of the norms that are replayed.

    Raises:
        ConfigurationError: as `check`.
        StateError: as `check_same` and `check_corpus`, the norms that are replayed are others, or
            there is no run in the folder.
    """
    if start is not None:
        check_corpus(start, corpus_digest)
        _check_replay(start, config, replay_digest)
    if mode == "branch" and start is not None:
        check(start, config)
    elif mode == "resume" and start is not None:
        check_same(start.config, start.path, config)
        if start.step > config.total_steps:
            raise StateError(f"{start.path} is beyond the {config.total_steps} steps of its run")
    elif mode == "resume":  # killed before its first checkpoint
        check_same(read_config(folder), folder, config)


def check(trunk: Checkpoint, config: TrainConfig) -> None:
    """Refuses a config that cannot go on from this checkpoint.

    Args:
        trunk: where the branch begins.
        config: of the branch, resolved.

    Raises:
        ConfigurationError: another model, data order or kind of optimizer; no step left; or a
            schedule, or a value over the run, that had been another one before the checkpoint.
        StateError: the config of the trunk cannot be read.
    """
    before = _config_of(trunk)
    if config.total_steps <= trunk.step:
        raise ConfigurationError(
            f"run.steps of a branch must be more than the {trunk.step} steps of {trunk.path}; "
            f"got {config.total_steps}"
        )
    wrong = [name for name in ("model", "data") if getattr(config, name) != getattr(before, name)]
    wrong += [f"run.{n}" for n in _SHARED if getattr(config.run, n) != getattr(before.run, n)]
    there, here = before.optimizer, config.optimizer
    wrong += [
        f"optimizer.{name}"
        for name in ("kind", "scope")  # what the optimizer keeps of a weight
        if getattr(there, name, None) != getattr(here, name, None)
    ]
    if wrong:
        raise ConfigurationError(
            f"{wrong[0]} of a branch must be that of its trunk {trunk.path}; it differs"
        )
    _check_schedule(trunk, before, config)
    _check_values(trunk, before, config)


def _check_schedule(trunk: Checkpoint, before: TrainConfig, config: TrainConfig) -> None:
    """Refuses another learning rate before the checkpoint. before: the trunk's config."""
    for step in range(trunk.step):
        there = multiplier(before.schedule, step, before.total_steps)
        here = multiplier(config.schedule, step, config.total_steps)
        if there != here:
            raise ConfigurationError(
                f"the schedule of a branch must be that of its trunk up to step {trunk.step}; "
                f"at step {step} it is {here:.6g} and not {there:.6g}: take an earlier checkpoint, "
                f"a shorter decay_share, or warmup_steps for warmup_share"
            )


def _check_values(trunk: Checkpoint, before: TrainConfig, config: TrainConfig) -> None:
    """Refuses values that are set as in the trunk and mean something else before the checkpoint,
    since the run has another length."""
    for step in range(trunk.step):
        there, here = _over_the_run(before, step), _over_the_run(config, step)
        for key in sorted(there.keys() & here.keys()):
            (setting, then), (same, now) = there[key], here[key]
            if setting == same and then != now:
                raise ConfigurationError(
                    f"{key} of a branch that is set as in its trunk must mean the same up to step "
                    f"{trunk.step}; at step {step} it is {now:.6g} of {config.total_steps} steps "
                    f"and was {then:.6g} of {before.total_steps}: give it a value that does not "
                    f"depend on the length of the run"
                )


def _over_the_run(config: TrainConfig, step: int) -> dict[str, tuple[object, float]]:
    """What depends on the length of the run: as it is set, and what stands for it at a step."""
    total, optimizer = config.total_steps, config.optimizer
    found: dict[str, tuple[object, float]] = {}
    share = step / max(1, total - 1)
    for name in _COURSES:
        value = getattr(optimizer, name, None)
        if isinstance(value, tuple):
            found[f"optimizer.{name}"] = value, course(value, share)
    for name, steps in (
        ("normalised_decay", period(config.schedule, step, total)),
        ("decay_time", total),
        ("replay", total),
    ):
        value = getattr(optimizer, name, None)
        if value is not None:
            found[f"optimizer.{name}"] = value, float(steps)
    switch = getattr(config.precision, "switch_share", None)
    if switch is not None:
        found["precision.switch_at"] = switch, float(share >= switch)
    return found


def _config_of(trunk: Checkpoint) -> TrainConfig:
    """Of the run that wrote it.

    Raises:
        StateError: it is none of this version.
    """
    check_stored(trunk.config, trunk.path)
    try:
        return config_of(trunk.config, str(trunk.path))
    except ConfigurationError as error:
        raise StateError(f"{error}; it was written by another version") from error


def _check_replay(start: Checkpoint, config: TrainConfig, replay_digest: str | None) -> None:
    """Refuses other norms under the name of those that were replayed.

    Raises:
        StateError: they are others.
    """
    path = getattr(config.optimizer, "replay", None)
    there = start.config.get("optimizer", {}).get("replay")
    if path == there and replay_digest != start.more.get("replay_digest"):
        raise StateError(
            f"{start.path} was trained with other norms than are now in optimizer.replay {path}: "
            f"its file has changed; start again in another folder"
        )


def check_same(there: Mapping[str, Any], place: Path, config: TrainConfig) -> None:
    """Refuses to resume a run with another config.

    Args:
        there: config of the run, as JSON values. place: where it stands, for the message.
        config: resolved.

    Raises:
        StateError: something that decides the loss curve differs; says what.
    """
    check_stored(there, place)
    found = differences(there, config.plain())
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise StateError(
            f"{place} is of another config: {'; '.join(found[:3])}{more} (there; here); a run that "
            f"is to differ may begin there with --branch-from"
        )


def check_corpus(start: Checkpoint, digest: str) -> None:
    """Refuses other data. digest: of the corpus as it is now.

    Raises:
        StateError: the checkpoint was trained on others.
    """
    if start.more.get("corpus_digest") != digest:
        raise StateError(
            f"{start.path} was trained on another state of the corpus: its files have changed, or "
            f"this is another version of Python; start again in another folder"
        )


def check_names(names: Iterable[str]) -> None:
    """Refuses names of branches that cannot be folders beside one another.

    Raises:
        ConfigurationError: one has odd characters, or comes twice.
    """
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name) or name in (".", "..") or name in seen:
            raise ConfigurationError(
                f"--branch must have a name of its own, of A-Z a-z 0-9 . _ -; got '{name}'"
            )
        seen.add(name)

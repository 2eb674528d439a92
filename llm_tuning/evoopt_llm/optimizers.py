"""Optimizers by their settings: which weights get which rate and decay, and their schedules.

A model tells of each parameter what it is (embedding, head, matrix, scalar); each kind is a group
with its own multipliers of rate and decay, and so is what the settings name in `parts`. `build`
makes the optimizer, `set_step` sets its groups before each step, so that a step depends on its
number alone and not on what was set before.
When: `adamw` as the standard; `adamwn` where the norm of the weights is to be chosen; `sgd` for
contrast.
Cost: of the optimizer, see `adamwn`. AdamW is torch's with `foreach`, whose steps AdamWN repeats to
the bit where its target is 0.

Source: I. Loshchilov & F. Hutter, Decoupled weight decay regularization, arXiv:1711.05101, for
the normalised decay (`normalised`); S. Bergsma et al., Power Lines, arXiv:2505.13738, for the decay
as a time (`decay_time`); A. Defazio, arXiv:2506.02285, for `corrected_decay` (lr^2 / peak lr times
the decay); decay of matrices alone is the habit of GPT codes.
Differences from the source: the normalised decay is counted in steps of the run, or of the current
restart period where the caller names it: b / (B T) is one over their number.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from evoopt.errors import ConfigurationError
from evoopt_llm.adamwn import AdamWN
from evoopt_llm.models.base import Kind, LanguageModel
from evoopt_llm.optimizersettings import (
    AdamWNSettings,
    AdamWSettings,
    AnyOptimizer,
    Course,
    SGDSettings,
)

KINDS: tuple[Kind, ...] = ("embedding", "head", "matrix", "scalar")


def normalised(decay_norm: float, batch: int, points: int, epochs: float) -> float:
    """lambda = lambda_norm sqrt(b / (B T)) of 1711.05101: the decay of a step.

    Args:
        decay_norm: lambda_norm.
        batch: b, points a step. points: B, of the training set. epochs: T, of the restart period.
    """
    return decay_norm * math.sqrt(batch / (points * epochs))


def build(model: LanguageModel, settings: AnyOptimizer, steps: int | None = None) -> Optimizer:
    """The optimizer of a model, with a group for each kind of parameter that the model has, and for
    each part of it that the settings name.

    Args:
        model: with its initial weights, on its device.
        settings: which optimizer.
        steps: of the run, or of its first restart period; for normalised_decay and decay_time.

    Raises:
        ConfigurationError: the settings ask for `steps`, which were not given, or name parts that
            the model does not have.
    """
    groups = [
        {"params": params, **group_of(settings, kind, steps, part)}
        for (kind, part), params in _members(model, settings).items()
    ]
    optimizer = _optimizer(groups, settings)
    set_step(optimizer, settings, 1.0, 0.0)
    return optimizer


def group_of(
    settings: AnyOptimizer, kind: Kind, steps: int | None = None, part: str = ""
) -> dict[str, Any]:
    """What `build` gives the group of a kind of parameter, and of a part: that kind, rate and decay
    at the peak, and the factor of the decay.

    Raises:
        ConfigurationError: the settings ask for `steps`, which were not given.
    """
    lr, share = getattr(settings.lr_of, kind), getattr(settings.decay_of, kind)
    if part:
        lr, share = lr * settings.parts[part].lr, share * settings.parts[part].decay
    peak = settings.lr * lr
    decay = _decay(settings, peak, steps) * share
    return {"kind": kind, "peak_lr": peak, "peak_decay": decay, "decay_of": share}


def set_step(
    optimizer: Optimizer,
    settings: AnyOptimizer,
    multiplier: float,
    share_done: float,
    period: float | None = None,
) -> None:
    """Sets the groups of an optimizer that `build` made for the next step.

    Args:
        optimizer: whose groups.
        settings: that it was made of.
        multiplier: of the learning rate, from the schedule.
        share_done: of the run, from 0 at its first step to 1 at its last.
        period: steps of the current restart period, where the decay shall follow it.
    """
    for group in optimizer.param_groups:
        set_group(group, settings, multiplier, share_done, period)


def set_group(
    group: dict[str, Any],
    settings: AnyOptimizer,
    multiplier: float,
    share_done: float,
    period: float | None = None,
) -> None:
    """As `set_step`, of one group."""
    group["lr"] = group["peak_lr"] * multiplier
    if isinstance(settings, SGDSettings):
        group["weight_decay"] = group["peak_decay"]
        return
    share, decay = group["decay_of"], group["peak_decay"]
    if period is not None:
        decay = _decay(settings, group["peak_lr"], period) * share
    group["weight_decay"] = decay * multiplier if settings.corrected_decay else decay
    if not isinstance(settings, AdamWNSettings):
        return
    group["target_ratio"] = course(settings.target_ratio, share_done)
    if settings.target_norm is not None:
        group["target_norm"] = course(settings.target_norm, share_done)
    if settings.update_rate is not None:
        rate = course(settings.update_rate, share_done) * share
        group["update_rate"] = rate * multiplier if settings.scheduled_rate else rate


def course(values: Course, share_done: float) -> float:
    """A value over the run: itself, or the curve through its knots at this share, in [0, 1].

    The curve is a monotone cubic (PCHIP), which never leaves the range of neighbouring knots.
    """
    if isinstance(values, tuple):
        return float(_curve(values)(share_done))
    return values


@functools.lru_cache(maxsize=64)
def _curve(knots: tuple[float, ...]) -> Any:
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(np.linspace(0, 1, len(knots)), np.array(knots))


def _decay(settings: AnyOptimizer, peak: float, steps: float | None) -> float:
    """In units of the rate, as torch takes it: theta <- theta - lr weight_decay theta. A decay that
    is given by step is reached at the peak rate of the group, `peak`."""
    if isinstance(settings, SGDSettings):
        return settings.weight_decay
    norm, time = settings.normalised_decay, settings.decay_time
    if norm is None and time is None:
        return settings.weight_decay
    if steps is None:
        raise ConfigurationError("build(steps=...) must be given for this decay; got None")
    decay = 1 / (time * steps) if time is not None else normalised(norm or 0.0, 1, 1, steps)
    return decay / peak if peak else 0.0


def _members(model: LanguageModel, settings: AnyOptimizer) -> dict[tuple[Kind, str], list[Tensor]]:
    """The parameters that are trained, by kind and part ("" for none), in their own order."""
    kinds, named = model.kinds(), list(model.named_parameters())
    part_of = _parts([name for name, _ in named], settings)
    places = itertools.product(KINDS, ("", *sorted(settings.parts)))
    found: dict[tuple[Kind, str], list[Tensor]] = {place: [] for place in places}
    for name, p in named:
        if p.requires_grad:
            found[kinds[name], part_of.get(name, "")].append(p)
    return {place: params for place, params in found.items() if params}


def _parts(names: list[str], settings: AnyOptimizer) -> dict[str, str]:
    """Of the parameters that belong to one, by name."""
    found: dict[str, str] = {}
    for part, of in settings.parts.items():
        matched = [name for name in names if fnmatch.fnmatchcase(name, of.match)]
        place = f"optimizer.parts.{part}.match"
        if not matched:
            raise ConfigurationError(
                f"{place} must match parameters, such as {names[0]}; got {of.match!r}"
            )
        twice = next((name for name in matched if name in found), None)
        if twice is not None:
            raise ConfigurationError(
                f"{place} must leave what optimizer.parts.{found[twice]} has, {twice}; "
                f"got {of.match!r}"
            )
        found.update(dict.fromkeys(matched, part))
    return found


def _optimizer(groups: list[dict[str, Any]], settings: AnyOptimizer) -> Optimizer:
    if isinstance(settings, SGDSettings):
        momentum, nesterov = settings.momentum, settings.nesterov
        return torch.optim.SGD(groups, settings.lr, momentum, nesterov=nesterov, foreach=True)
    betas, eps = (settings.beta1, settings.beta2), settings.eps
    if isinstance(settings, AdamWSettings):
        return torch.optim.AdamW(groups, settings.lr, betas, eps, foreach=True)
    scope, apply = settings.scope, settings.apply
    return AdamWN(groups, settings.lr, betas, eps, scope=scope, apply=apply)

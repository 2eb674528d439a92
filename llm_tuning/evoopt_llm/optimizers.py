"""Optimizers by their settings: which weights get which rate and decay, and their schedules.

A model tells of each parameter what it is (embedding, head, matrix, scalar); each kind is a group
with its own multipliers of rate and decay. `build` makes the optimizer, `set_step` sets its groups
before each step, so that a step depends on its number alone and not on what was set before.
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

import functools
import math
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Optimizer

from evoopt.errors import ConfigurationError
from evoopt_llm.adamwn import AdamWN
from evoopt_llm.models.base import Kind, LanguageModel
from evoopt_llm.settings import Settings

KINDS: tuple[Kind, ...] = ("embedding", "head", "matrix", "scalar")

# over the run: one value, or knots at equal distances from its first step to its last
Knots = Annotated[
    tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=2, max_length=16, strict=False)
]
Course = Annotated[float, Field(ge=0)] | Knots


class Multipliers(Settings):
    """Factors by the kind of a parameter."""

    embedding: float = Field(default=1.0, ge=0, description="of the table of tokens")
    head: float = Field(default=1.0, ge=0, description="of the output layer")
    matrix: float = Field(default=1.0, ge=0, description="of all other matrices")
    scalar: float = Field(default=1.0, ge=0, description="of gains, biases and scales")


_DECAY_OF = Multipliers(embedding=0.0, head=0.0, matrix=1.0, scalar=0.0)


class _Optimizer(Settings):
    """What every optimizer has."""

    lr: float = Field(default=1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(default=0.1, ge=0, description="decay a step, in units of lr")
    lr_of: Multipliers = Field(default=Multipliers(), description="factors of lr")
    decay_of: Multipliers = Field(default=_DECAY_OF, description="factors of the decay")


class _Adam(_Optimizer):
    """What Adam has."""

    beta1: float = Field(default=0.9, ge=0, lt=1, description="memory of the gradient")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="memory of its square")
    eps: float = Field(default=1e-8, gt=0, description="added to the root of the square")
    normalised_decay: float | None = Field(
        default=None, ge=0, description="decay a step times the root of all steps, for weight_decay"
    )
    decay_time: float | None = Field(
        default=None, gt=0, description="1 / decay, as a share of all steps, for weight_decay"
    )
    corrected_decay: bool = Field(
        default=False, description="AdamC: the decay a step follows the square of the schedule"
    )

    @model_validator(mode="after")
    def _one_decay(self) -> Self:
        if self.normalised_decay is not None and self.decay_time is not None:
            raise ValueError("normalised_decay and decay_time cannot both be given: leave one out")
        return self


class AdamWSettings(_Adam):
    """torch.optim.AdamW."""

    kind: Literal["adamw"] = "adamw"


class AdamWNSettings(_Adam):
    """Adam with weight-norm control of whatever would decay; see `adamwn`."""

    kind: Literal["adamwn"] = "adamwn"
    target_ratio: Course = Field(
        default=1.0,
        description="target in units of the initial norm; or 2 to 16 knots over the run",
    )
    target_norm: Course | None = Field(
        default=None, description="the target itself, for target_ratio; or 2 to 16 knots"
    )
    update_rate: Course | None = Field(
        default=None, description="k, or 2 to 16 knots over the run; left out: lr times the decay"
    )
    scheduled_rate: bool = Field(
        default=False, description="whether update_rate follows the schedule of lr, too"
    )
    scope: Literal["tensor", "row", "global"] = Field(
        default="tensor", description="whose norm: tensors, their rows, or all of a kind together"
    )
    apply: Literal["before", "after"] = Field(
        default="before", description="whether norms are set before Adam's step or after it"
    )
    replay: str | None = Field(
        default=None, description="recorded norms (.npz) as targets; target_ratio multiplies them"
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        rates = self.update_rate if isinstance(self.update_rate, tuple) else (self.update_rate,)
        most = max(rate or 0.0 for rate in rates) * max(self.decay_of.model_dump().values())
        if most > 1:
            raise ValueError(f"update_rate times decay_of must be at most 1; got {most:g}")
        if self.replay is not None and (self.target_norm is not None or self.scope == "row"):
            raise ValueError("replay cannot be used with target_norm, nor with scope = 'row'")
        if self.replay is not None and self.update_rate is None:
            raise ValueError("replay needs an update_rate: 1 for the very norms")
        return self


class SGDSettings(_Optimizer):
    """torch.optim.SGD; its decay is a term of the gradient, as there."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.1, gt=0, description="peak learning rate")
    weight_decay: float = Field(
        default=0.0, ge=0, description="factor of the weights in the gradient"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="memory of the steps")
    nesterov: bool = Field(default=False, description="Nesterov's momentum")

    @model_validator(mode="after")
    def _momentum_for_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


AnyOptimizer = AdamWSettings | AdamWNSettings | SGDSettings
OptimizerSettings = Annotated[AnyOptimizer, Field(discriminator="kind")]


def normalised(decay_norm: float, batch: int, points: int, epochs: float) -> float:
    """lambda = lambda_norm sqrt(b / (B T)) of 1711.05101: the decay of a step.

    Args:
        decay_norm: lambda_norm.
        batch: b, points a step. points: B, of the training set. epochs: T, of the restart period.
    """
    return decay_norm * math.sqrt(batch / (points * epochs))


def build(model: LanguageModel, settings: AnyOptimizer, steps: int | None = None) -> Optimizer:
    """The optimizer of a model, with a group for each kind of parameter that the model has.

    Args:
        model: with its initial weights, on its device.
        settings: which optimizer.
        steps: of the run, or of its first restart period; for normalised_decay and decay_time.

    Raises:
        ConfigurationError: the settings ask for `steps`, which were not given.
    """
    groups = [
        {"params": params, **group_of(settings, kind, steps)}
        for kind, params in _by_kind(model).items()
    ]
    optimizer = _optimizer(groups, settings)
    set_step(optimizer, settings, 1.0, 0.0)
    return optimizer


def group_of(settings: AnyOptimizer, kind: Kind, steps: int | None = None) -> dict[str, Any]:
    """What `build` gives the group of a kind of parameter: that kind, rate and decay at the peak.

    Raises:
        ConfigurationError: the settings ask for `steps`, which were not given.
    """
    peak = settings.lr * getattr(settings.lr_of, kind)
    decay = _decay(settings, peak, steps) * getattr(settings.decay_of, kind)
    return {"kind": kind, "peak_lr": peak, "peak_decay": decay}


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
    share = getattr(settings.decay_of, group["kind"])
    decay = group["peak_decay"]
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


def _by_kind(model: LanguageModel) -> dict[Kind, list[Tensor]]:
    """The parameters that are trained, by kind, in their own order."""
    kinds = model.kinds()
    found: dict[Kind, list[Tensor]] = {kind: [] for kind in KINDS}
    for name, p in model.named_parameters():
        if p.requires_grad:
            found[kinds[name]].append(p)
    return {kind: params for kind, params in found.items() if params}


def _optimizer(groups: list[dict[str, Any]], settings: AnyOptimizer) -> Optimizer:
    if isinstance(settings, SGDSettings):
        momentum, nesterov = settings.momentum, settings.nesterov
        return torch.optim.SGD(groups, settings.lr, momentum, nesterov=nesterov, foreach=True)
    betas, eps = (settings.beta1, settings.beta2), settings.eps
    if isinstance(settings, AdamWSettings):
        return torch.optim.AdamW(groups, settings.lr, betas, eps, foreach=True)
    scope, apply = settings.scope, settings.apply
    return AdamWN(groups, settings.lr, betas, eps, scope=scope, apply=apply)

"""Schedules of the learning rate: pure functions of the step, as factors of the peak rate.

Every kind but `constant` and `sgdr` falls from 1 to `final` and is there at the last step, unless
the warm-up leaves that step alone, which then is at the peak. Steps count from 0. After w steps of
warm-up, (step + 1) / (w + 1) each, step w is the first at the peak.
When: linear to zero as a first choice (D2Z); WSD where runs of several lengths shall share their
trunk; SGDR where a good model is wanted at any time. When not: `constant`, but for a trunk.
Cost: a microsecond a step.

Source: I. Loshchilov & F. Hutter, SGDR, arXiv:1608.03983, Eq. (5); S. Bergsma et al., Straight to
Zero (D2Z), arXiv:2502.15938; the tails of WSD from the scheduler of NVIDIA's Megatron-LM.
Differences from the source: SGDR counts steps, not epochs; T_0 may be a share of the run, and
T_mult a fraction, each period then being rounded to whole steps. The free exponent of `power` is
the cool-down of speed runs of nanoGPT, over any share of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoopt.errors import ConfigurationError
from evoopt_llm.settings import Settings, Steps

Tail = Literal["linear", "cosine", "exponential", "minus-sqrt"]


class _WarmUp(Settings):
    """What every schedule begins with."""

    warmup_steps: int = Field(default=0, ge=0, lt=2**63, description="steps of linear warm-up")
    warmup_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="the same as a share of all steps, where warmup_steps is 0",
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps and self.warmup_share:
            raise ValueError("warmup_steps and warmup_share cannot both be given: leave one out")
        return self


class Constant(_WarmUp):
    """1 throughout."""

    kind: Literal["constant"] = "constant"


class Linear(_WarmUp):
    """A straight line from 1 to `final`."""

    kind: Literal["linear"] = "linear"
    final: float = Field(default=0.0, ge=0, le=1, description="at the last step, of the peak")


class Cosine(_WarmUp):
    """Half a cosine from 1 to `final`."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1, description="at the last step, of the peak")


class SGDR(_WarmUp):
    """Half a cosine from 1 towards `final`, again and again; period i is T_0 T_mult^i steps."""

    kind: Literal["sgdr"] = "sgdr"
    t_0: Steps | None = Field(default=None, description="T_0, steps of the first period")
    t_0_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="T_0 as a share of the steps after warm-up: 1/7 for three that double",
    )
    t_mult: float = Field(default=2.0, ge=1, le=1e3, description="T_mult, growth of the periods")
    final: float = Field(
        default=0.0, ge=0, le=1, description="that each period tends to, of the peak"
    )

    @model_validator(mode="after")
    def _one_t_0(self) -> Self:
        if (self.t_0 is None) == (self.t_0_share is None):
            raise ValueError("either t_0 or t_0_share must be given")
        return self


class WSD(_WarmUp):
    """Warm-up, stable at 1, decay to `final` over the last `decay_share` of all steps."""

    kind: Literal["wsd"] = "wsd"
    decay_share: float = Field(
        default=0.2, gt=0, le=1, description="of all steps, rounded to steps"
    )
    tail: Tail = Field(default="linear", description="shape of the decay")
    final: float = Field(default=0.0, ge=0, le=1, description="at the last step, of the peak")


class Power(_WarmUp):
    """As WSD with the tail (1 - r)^exponent; decay_share = 1 is decay from the warm-up on."""

    kind: Literal["power"] = "power"
    exponent: float = Field(default=1.0, gt=0, le=100, description="p of (1 - r)^p")
    decay_share: float = Field(
        default=1.0, gt=0, le=1, description="of all steps, rounded to steps"
    )
    final: float = Field(default=0.0, ge=0, le=1, description="at the last step, of the peak")


Schedule = Constant | Linear | Cosine | SGDR | WSD | Power
ScheduleSettings = Annotated[Schedule, Field(discriminator="kind")]


def multiplier(settings: Schedule, step: int, total: int) -> float:
    """The learning rate of a step, in units of its peak.

    Args:
        settings: which schedule.
        step: from 0; total - 1 is the last.
        total: steps of the run.

    Raises:
        ConfigurationError: the step is none of the run, or warm-up and decay do not fit into it.
    """
    if not 0 <= step < total:
        raise ConfigurationError(f"multiplier(step=...) must be 0 to {total - 1}; got {step}")
    start = warmup(settings, total)
    if step < start:
        return (step + 1) / (start + 1)
    if isinstance(settings, Constant):
        return 1.0
    if isinstance(settings, SGDR):
        begun, length = _period(settings, step - start, total - start)
        c = _cosine((step - start - begun) / length)  # Eq. (5) with T_cur, T_i
    else:
        r = _elapsed(settings, step, start, total)
        c = (
            (1 - r) ** settings.exponent
            if isinstance(settings, Power)
            else _TAILS[_tail(settings)](r)
        )
    return settings.final + (1 - settings.final) * c


def warmup(settings: Schedule, total: int) -> int:
    """Steps of warm-up.

    Raises:
        ConfigurationError: they leave no step at the peak.
    """
    steps = settings.warmup_steps or round(settings.warmup_share * total)
    if steps >= total:
        raise ConfigurationError(
            f"schedule(warmup_steps=...) must leave a step of the {total} of the run; got {steps}"
        )
    return steps


def decay_start(settings: Schedule, total: int) -> int:
    """The last step at the peak: up to there, runs of different length are the same run.

    Of WSD, and of `power` where its share leaves a stable part; elsewhere the first step after
    warm-up. Of `constant` the last step.

    Raises:
        ConfigurationError: warm-up and decay do not fit into the run.
    """
    start = warmup(settings, total)
    if isinstance(settings, Constant):
        return total - 1
    if not isinstance(settings, WSD | Power):
        return start
    steps = max(1, round(settings.decay_share * total))
    if settings.decay_share < 1 and steps > total - 1 - start:
        raise ConfigurationError(
            f"schedule(decay_share=...) must leave {start} steps of warm-up and one at the peak of "
            f"the {total} of the run; got {settings.decay_share:g}, which is {steps} steps"
        )
    return max(start, total - 1 - steps)


def period(settings: Schedule, step: int, total: int) -> int:
    """Steps of the restart period that a step is in; of schedules without restarts, all steps."""
    if not isinstance(settings, SGDR):
        return total
    start = warmup(settings, total)
    return _period(settings, max(0, step - start), total - start)[1]


def restarts(settings: Schedule, total: int, most: int | None = None) -> list[int]:
    """The steps at which SGDR starts again, the first start left out; of others none.

    Args:
        settings: which schedule.
        total: steps of the run.
        most: how many of them, from the first; None for all.
    """
    if not isinstance(settings, SGDR):
        return []
    start = warmup(settings, total)
    found: list[int] = []
    step = start
    while most is None or len(found) < most:
        begun, length = _period(settings, step - start, total - start)
        step = start + begun + length
        if step >= total:
            break
        found.append(step)
    return found


def _elapsed(settings: Linear | Cosine | WSD | Power, step: int, start: int, total: int) -> float:
    """r, the share of the decay that lies behind: 0 to 1."""
    top = decay_start(settings, total)
    return max(0.0, (step - top) / max(1, total - 1 - top))


def _period(settings: SGDR, step: int, span: int) -> tuple[int, int]:
    """Start and length of the period that a step after warm-up is in. span: all such steps."""
    t_0 = settings.t_0 or max(1.0, (settings.t_0_share or 0.0) * span)
    growth = settings.t_mult

    def begins(i: int) -> int:  # T_0 + T_0 T_mult + ..., i terms, as a whole step
        terms = i if growth == 1 else (growth**i - 1) / (growth - 1)
        whole = t_0 * terms
        return whole if isinstance(whole, int) else math.floor(whole + 0.5)

    if growth == 1:
        i = max(0, int(step // t_0) - 1)
    else:
        i = max(0, int(math.log1p(step * (growth - 1) / t_0) / math.log(growth)) - 1)
    while begins(i + 1) <= step:  # one time or two: logarithms and periods are rounded
        i += 1
    return begins(i), begins(i + 1) - begins(i)


def _cosine(r: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * r))


def _tail(settings: Linear | Cosine | WSD) -> Tail:
    return settings.tail if isinstance(settings, WSD) else settings.kind


_TAILS: dict[Tail, Callable[[float], float]] = {  # c(r), from 1 to 0: Megatron-LM's forms
    "linear": lambda r: 1 - r,
    "cosine": _cosine,
    "exponential": lambda r: 2 * 0.5**r - 1,
    "minus-sqrt": lambda r: 1 - math.sqrt(r),
}

"""Settings of optimizers: rates, decays and weight-norm targets, each with what it excludes.

A key that another one makes idle must be left at its default, so that what a config says is what it
does. `optimizers` makes optimizers of these settings.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoopt_llm.settings import Divisor, Factor, Settings, Weight, refuse_idle

# over the run: one value, or knots at equal distances from its first step to its last
Knots = Annotated[tuple[Weight, ...], Field(min_length=2, max_length=16, strict=False)]
Course = Weight | Knots


class Multipliers(Settings):
    """Factors by the kind of a parameter."""

    embedding: Weight = Field(default=1.0, description="of the table of tokens")
    head: Weight = Field(default=1.0, description="of the output layer")
    matrix: Weight = Field(default=1.0, description="of all other matrices")
    scalar: Weight = Field(default=1.0, description="of gains, biases and scales")


_DECAY_OF = Multipliers(embedding=0.0, head=0.0, matrix=1.0, scalar=0.0)


class Part(Settings):
    """Parameters by their names, and their factors beside those of their kinds."""

    match: str = Field(description="pattern of their names, such as blocks.0.attention.*")
    lr: Weight = Field(default=1.0, description="factor of lr")
    decay: Weight = Field(default=1.0, description="factor of the decay")


class _Optimizer(Settings):
    """What every optimizer has."""

    lr: Factor = Field(default=1e-3, description="peak learning rate")
    weight_decay: Weight = Field(default=0.1, description="decay a step, in units of lr")
    lr_of: Multipliers = Field(default=Multipliers(), description="factors of lr")
    decay_of: Multipliers = Field(default=_DECAY_OF, description="factors of the decay")
    parts: dict[str, Part] = Field(
        default={},
        description="by a name of yours: match, a pattern such as blocks.0.attention.* of names of "
        "parameters, and their own factors lr and decay",
    )


class _Adam(_Optimizer):
    """What Adam has."""

    beta1: float = Field(default=0.9, ge=0, lt=1, description="memory of the gradient")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="memory of its square")
    eps: Factor = Field(default=1e-8, description="added to the root of the square")
    normalised_decay: Weight | None = Field(
        default=None, description="decay a step times the root of all steps, for weight_decay"
    )
    decay_time: Divisor | None = Field(
        default=None, description="1 / decay, as a share of all steps, for weight_decay"
    )
    corrected_decay: bool = Field(
        default=False, description="AdamC: the decay a step follows the square of the schedule"
    )

    @model_validator(mode="after")
    def _one_decay(self) -> Self:
        if self.normalised_decay is not None and self.decay_time is not None:
            raise ValueError("normalised_decay and decay_time cannot both be given: leave one out")
        if self.normalised_decay is not None or self.decay_time is not None:
            refuse_idle(self, "beside decay_time or normalised_decay", "weight_decay")
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
        default="tensor",
        description="whose norm: tensors, their rows, or all of a kind and part together",
    )
    apply: Literal["before", "after"] = Field(
        default="before", description="whether norms are set before Adam's step or after it"
    )
    replay: str | None = Field(
        default=None, description="recorded norms (.npz) as targets; target_ratio multiplies them"
    )

    @model_validator(mode="after")
    def _nothing_idle(self) -> Self:
        if self.update_rate is None:
            refuse_idle(self, "without update_rate", "scheduled_rate")
        else:
            decays = ("weight_decay", "normalised_decay", "decay_time", "corrected_decay")
            refuse_idle(self, "beside update_rate", *decays)
        if self.target_norm is not None:
            refuse_idle(self, "beside target_norm", "target_ratio")
        return self

    @model_validator(mode="after")
    def _usable(self) -> Self:
        rates = self.update_rate if isinstance(self.update_rate, tuple) else (self.update_rate,)
        most = max(rate or 0.0 for rate in rates) * max(self.decay_of.model_dump().values())
        most *= max((part.decay for part in self.parts.values()), default=1.0)
        if most > 1:
            raise ValueError(
                f"update_rate times decay_of and the decay of parts must be at most 1; got {most:g}"
            )
        if self.replay is not None and (self.target_norm is not None or self.scope == "row"):
            raise ValueError("replay cannot be used with target_norm, nor with scope = 'row'")
        if self.replay is not None and self.update_rate is None:
            raise ValueError("replay needs an update_rate: 1 for the very norms")
        return self


class SGDSettings(_Optimizer):
    """torch.optim.SGD; its decay is a term of the gradient, as there."""

    kind: Literal["sgd"] = "sgd"
    lr: Factor = Field(default=0.1, description="peak learning rate")
    weight_decay: Weight = Field(default=0.0, description="factor of the weights in the gradient")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="memory of the steps")
    nesterov: bool = Field(default=False, description="Nesterov's momentum")

    @model_validator(mode="after")
    def _momentum_for_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


AnyOptimizer = AdamWSettings | AdamWNSettings | SGDSettings
OptimizerSettings = Annotated[AnyOptimizer, Field(discriminator="kind")]

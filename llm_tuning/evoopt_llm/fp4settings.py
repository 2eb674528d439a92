"""Settings of precision: which format, and each part of its recipe for training.

When: in a config, or by themselves for `fp4linear.convert`. When not: to round a tensor, for which
a policy of `nvfp4` or `mxfp4` is enough.

Source: NVIDIA, Pretraining large language models with NVFP4, 2025, arXiv:2509.25149; the
defaults are its recipe.
Differences from the source: `keep_last` is one block, where the paper keeps about 15 % of the
linear layers of a model of 62 blocks; `rest` is fp32, where the paper has BF16 for layers that it
keeps. The recipe for MXFP4 is the same, but for square blocks.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evoopt_llm import hadamard, mxfp4, nvfp4
from evoopt_llm.settings import MOST_LAYERS, Settings, refuse_idle

AHEAD = "ahead.*"  # names of layers of multi-token prediction


class FP32Settings(Settings):
    """All in float32."""

    kind: Literal["fp32"] = "fp32"

    @property
    def autocast(self) -> bool:
        """Whether matrix products are to be in bfloat16 by `torch.autocast`."""
        return False


class BF16Settings(Settings):
    """Matrix products in bfloat16, by `torch.autocast`; weights in float32."""

    kind: Literal["bf16"] = "bf16"

    @property
    def autocast(self) -> bool:
        """Whether matrix products are to be in bfloat16 by `torch.autocast`."""
        return True


class FourBitSettings(Settings):
    """What the recipes of both formats have."""

    rht: Literal["off", "wgrad", "all"] = Field(
        default="wgrad", description="products whose operands a random Hadamard transform spreads"
    )
    rht_size: hadamard.Size = Field(default=16, description="of the transform")
    rht_signs: Literal["fixed", "fresh"] = Field(
        default="fixed", description="fresh: other random signs at each step"
    )
    stochastic_gradients: bool = Field(
        default=True, description="stochastic rounding of the gradients in Dgrad and Wgrad"
    )
    stochastic_inputs: bool = Field(
        default=False, description="stochastic rounding of the inputs in Fprop and Wgrad"
    )
    stochastic_weights: bool = Field(
        default=False, description="stochastic rounding of the weights in Fprop and Dgrad"
    )
    two_d_weights: bool = Field(default=True, description="square blocks for the weights")
    keep_first: int = Field(
        default=0, ge=0, le=MOST_LAYERS, description="first blocks kept in high precision"
    )
    keep_last: int = Field(
        default=1, ge=0, le=MOST_LAYERS, description="last blocks kept in high precision"
    )
    keep: list[str] = Field(
        default=[AHEAD],
        description="patterns of names of layers kept in high precision; ahead is the prediction of"
        " several tokens",
    )
    rest: Literal["fp32", "bf16"] = Field(default="fp32", description="what is not in four bits")
    switch_at: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the training from which products return to high precision; 1: never",
    )
    switch: Literal["never", "forward", "all"] = Field(
        default="all", description="which products return then: none, Fprop alone, or all three"
    )

    @model_validator(mode="after")
    def _nothing_idle(self) -> Self:
        if self.switch == "never":
            refuse_idle(self, "beside switch = 'never'", "switch_at")
        elif self.switch_at is None:
            refuse_idle(self, "without switch_at", "switch")
        if self.rht == "off":
            refuse_idle(self, "beside rht = 'off'", "rht_size", "rht_signs")
        return self

    @property
    def autocast(self) -> bool:
        """Whether the rest is to be in bfloat16 by `torch.autocast`."""
        return self.rest == "bf16"

    @property
    def switch_share(self) -> float | None:
        """Share of the training from which products are in high precision; None for never."""
        if self.switch == "never" or self.switch_at is None or self.switch_at >= 1:
            return None
        return self.switch_at

    @property
    def words(self) -> str:
        """The precision, for people."""
        kind, share = getattr(self, "kind", ""), self.switch_share
        if share is None:
            return f"{kind} emulated"
        which = "forward in high precision" if self.switch == "forward" else "high precision"
        return f"{kind} emulated, {which} from {100 * share:.3g} %"


class NVFP4Settings(FourBitSettings):
    """Linear layers in NVFP4, emulated."""

    kind: Literal["nvfp4"] = "nvfp4"
    policy: nvfp4.Policy = Field(default=nvfp4.DEFAULT, description="of rounding")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.two_d_weights and self.policy.tensor_scale == "row":
            raise ValueError(
                "policy.tensor_scale must be 'tensor' or 'none' with two_d_weights; got 'row'"
            )
        return self


class MXFP4Settings(FourBitSettings):
    """Linear layers in MXFP4, emulated."""

    kind: Literal["mxfp4"] = "mxfp4"
    policy: mxfp4.Policy = Field(default=mxfp4.DEFAULT, description="of rounding")
    two_d_weights: bool = Field(default=False, description="square blocks for the weights")


PrecisionSettings = Annotated[
    FP32Settings | BF16Settings | NVFP4Settings | MXFP4Settings, Field(discriminator="kind")
]

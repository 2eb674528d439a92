"""NVFP4, emulated bit for bit: four-bit elements, a scale for each 16 of them and one a tensor.

When: to measure on any machine what training or storing in NVFP4 would give. When not: for speed or
memory; everything stays float32 (`fp4linear` puts it into a model's matrix products).
Cost: about ten passes over the tensor.

Source: NVIDIA, Pretraining large language models with NVFP4, 2025, arXiv:2509.25149
(two-level scaling); the order of operations of the reference quantizer of NVIDIA's
TransformerEngine; J. Cook et al., Four over six: more accurate NVFP4 quantization with adaptive
block scaling, 2025, arXiv:2512.02010, and the authors' reference code (`four_six`).
Differences from the source: where `four_six` meets stochastic rounding, the errors compared are
those of rounding to the nearest, so that the choice does not depend on the draw. Other blocks,
formats and roundings of scales, scales of rows and `clip` are knobs, not parts of the format.

The default policy is the format: E4M3 scales of blocks of 16, the largest of them 448.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from evoopt_llm import fourbit, minifloat
from evoopt_llm.fourbit import BlockPolicy, Draw, Quantized
from evoopt_llm.minifloat import E2M1, E4M3, E5M2, E8M0, UE5M3, Format, Rounding

ScaleFormat = Literal["e4m3", "e5m2", "ue5m3", "e8m0", "fp32"]

_FLOAT_MAX = torch.finfo(torch.float32).max
_FOUR = 1.5  # a block's scale that maps its largest magnitude to 4 over the one that maps it to 6
_BITS = 4  # of an element
_FP32_BITS = 32
FORMATS: dict[ScaleFormat, Format] = {"e4m3": E4M3, "e5m2": E5M2, "ue5m3": UE5M3, "e8m0": E8M0}


class Policy(BlockPolicy):
    """How a tensor becomes NVFP4; the default is the format as published."""

    block: Literal[8, 16, 32, 64, 128] = Field(default=16, description="numbers that share a scale")
    scale_format: ScaleFormat = Field(default="e4m3", description="of the scales of blocks")
    scale_rounding: Rounding = Field(default="nearest", description="of the scales of blocks")
    tensor_scale: Literal["tensor", "row", "none"] = Field(
        default="tensor", description="what has an FP32 scale of its own"
    )
    bound: float = Field(
        default=448.0,
        gt=0,
        allow_inf_nan=False,
        description="scale of the block that holds the largest magnitude; 256 with four_six",
    )
    clip: float = Field(
        default=1.0,
        gt=0,
        le=2,
        description="share of a block's largest magnitude that maps to 6: below 1 it saturates",
    )
    four_six: Literal["off", "mse", "mae", "max"] = Field(
        default="off",
        description="error by which each block's largest magnitude maps to 4 or to 6",
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.two_d and self.tensor_scale == "row":
            raise ValueError("tensor_scale must be 'tensor' or 'none' with two_d; got 'row'")
        largest = _FLOAT_MAX if self.scale_format == "fp32" else FORMATS[self.scale_format].largest
        if self.bound > largest:
            raise ValueError(
                f"bound must be at most {largest:g}, the largest {self.scale_format};"
                f" got {self.bound:g}"
            )
        return self

    @property
    def bits(self) -> float:
        """4 and the share of the block's scale; the tensor's is not counted."""
        scale = _FP32_BITS if self.scale_format == "fp32" else FORMATS[self.scale_format].bits
        return _BITS + scale / self.block ** (2 if self.two_d else 1)

    def scaled(self, blocks: Tensor, amax: Tensor) -> tuple[Tensor, Tensor]:
        """Two-level scaling: the tensor's largest magnitude gets the scale `bound`."""
        encode = self._encode(amax)
        T = 1 / encode
        if self.clip != 1:
            amax = self.clip * amax
        # s_enc / 6 first, then one product a block: the order that decides ties
        wanted = amax * (encode * encode.new_full((), 1 / E2M1.largest))
        S = self._scale(wanted)
        if self.four_six != "off":
            S4 = self._scale(_FOUR * wanted)
            four = self._error(blocks, S4, T) < self._error(blocks, S, T)
            S = torch.where(four, S4, S)
        return S, T

    def _encode(self, amax: Tensor) -> Tensor:
        """s_enc = 6 bound / amax of the tensor: a scalar, or one a row."""
        if self.tensor_scale == "none":
            return torch.ones((), device=amax.device)
        whole = amax.amax(-2, keepdim=True) if self.tensor_scale == "row" else amax.amax()
        most = torch.full_like(whole, E2M1.largest * self.bound)
        encode = (most / whole).clamp_(max=_FLOAT_MAX)  # a number / a tensor would round twice
        return torch.where(whole == 0, 1.0, encode)

    def _scale(self, wanted: Tensor) -> Tensor:
        """wanted, rounded to the format of the scales, at most its largest number."""
        if self.scale_format == "fp32":
            return wanted
        return minifloat.directed(wanted, FORMATS[self.scale_format], self.scale_rounding)

    def _error(self, blocks: Tensor, scales: Tensor, tensor_scale: Tensor) -> Tensor:
        """Of each block, were these its scales."""
        error = fourbit.elements(blocks, scales, tensor_scale).mul_(scales).mul_(tensor_scale)
        error.sub_(blocks)
        if self.four_six == "mse":
            return error.square_().sum(self.axes, keepdim=True)
        error.abs_()
        over_block = torch.sum if self.four_six == "mae" else torch.amax
        return over_block(error, self.axes, keepdim=True)


DEFAULT = Policy()
FOUR_SIX = Policy(bound=256.0, four_six="mse")  # 256: so that 1.5 times the largest still fits E4M3


def quantize_dequantize(x: Tensor, policy: Policy = DEFAULT, draw: Draw | None = None) -> Tensor:
    """x as NVFP4 keeps it; no gradient passes.

    Args:
        x: (..., n) float32, bfloat16 or float16, n a multiple of the block, with two_d the last two
            axes. Zeros stay. NaN or infinity anywhere make the whole tensor NaN, a block where it
            has no tensor scale.
        policy: of rounding.
        draw: names random numbers for stochastic rounding; None rounds to the nearest.

    Returns: (..., n), of the dtype of x. In 16 bits, the numbers of NVFP4 are rounded once more.

    Raises:
        ConfigurationError: x has another dtype, or a shape that cannot be cut into blocks.
    """
    return policy.rounded(x, draw).dequantized().to(x.dtype)


def quantize(x: Tensor, policy: Policy = DEFAULT, draw: Draw | None = None) -> Quantized:
    """x in four bits a number; arguments as `quantize_dequantize`."""
    return fourbit.packed(policy.rounded(x, draw), policy.two_d)


def dequantize(quantized: Quantized, policy: Policy = DEFAULT) -> Tensor:
    """What `quantize` with this policy kept: (..., n) float32.

    Raises:
        ConfigurationError: the scales are those of another block.
    """
    return fourbit.unpacked(quantized, policy.block, policy.two_d)

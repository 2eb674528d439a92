"""MXFP4, emulated: four-bit elements in blocks of 32 under scales that are powers of two.

When: for contrast with NVFP4. When not: to train well in four bits.
Cost: as `nvfp4`.

Source: OCP Microscaling Formats (MX) v1.0, 2023, section 6.3 (`floor`); `ceil` is the rule of those
who would rather lose small numbers than saturate large ones (A. Mishra et al., Recipes for
pre-training LLMs with MXFP8, 2025, arXiv:2506.08027).
Differences from the source: other blocks and square ones are knobs, not parts of the format. A
block of zeros has the least scale.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from evoopt_llm import fourbit, minifloat
from evoopt_llm.fourbit import BlockPolicy, Draw, Quantized
from evoopt_llm.minifloat import E2M1, E8M0

_BITS = 4  # of an element
_TOP = 4.0  # the largest power of two in E2M1


class Policy(BlockPolicy):
    """How a tensor becomes MXFP4; the default is the format as published."""

    block: Literal[8, 16, 32, 64, 128] = Field(default=32, description="numbers that share a scale")
    scale: Literal["floor", "ceil"] = Field(
        default="floor",
        description="floor maps a block's largest magnitude into [4, 8), where it saturates at 6;"
        " ceil into (3, 6]",
    )

    @property
    def bits(self) -> float:
        """4 and the share of the block's scale."""
        return _BITS + E8M0.bits / self.block ** (2 if self.two_d else 1)

    def scaled(self, blocks: Tensor, amax: Tensor) -> tuple[Tensor, Tensor]:
        """2^floor(log2(amax / 4)) or 2^ceil(log2(amax / 6)), and no tensor scale."""
        if self.scale == "floor":
            S = minifloat.directed(amax / _TOP, E8M0, "down")
        else:
            six = torch.full_like(amax, E2M1.largest)  # by a number, torch multiplies by 1 / 6
            S = minifloat.directed(amax / six, E8M0, "up")
        return torch.where(amax.isfinite(), S, torch.nan), torch.ones((), device=amax.device)


DEFAULT = Policy()


def quantize_dequantize(x: Tensor, policy: Policy = DEFAULT, draw: Draw | None = None) -> Tensor:
    """x as MXFP4 keeps it; no gradient passes.

    Args:
        x: (..., n) float32, bfloat16 or float16, n a multiple of the block, with two_d the last two
            axes. Zeros stay. A block that holds NaN or infinity becomes NaN.
        policy: of rounding.
        draw: names random numbers for stochastic rounding; None rounds to the nearest.

    Returns: (..., n), of the dtype of x.

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

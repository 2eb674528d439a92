"""Blocks of four-bit numbers under scales: what NVFP4 and MXFP4 share.

A tensor is cut into blocks along its last axis (or into squares of its last two). Each block has a
scale S of few bits and the tensor a scale T of 32; an element is x / (S T) rounded to E2M1, and
stands for q S T. A policy (`nvfp4.Policy`, `mxfp4.Policy`) says which scales.

All is emulated: the numbers are exactly those of the formats, computed in float32.

Source: NVIDIA, Pretraining large language models with NVFP4, 2025, arXiv:2509.25149, and
the reference quantizer of NVIDIA's TransformerEngine for the order of operations.
Differences from the source: none; a tensor that holds NaN or infinity becomes NaN.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from evoopt.errors import ConfigurationError
from evoopt_llm import minifloat
from evoopt_llm.minifloat import E2M1
from evoopt_llm.settings import Settings

_INPUTS = (torch.float32, torch.bfloat16, torch.float16)
_FLOAT_MAX = torch.finfo(torch.float32).max
_MORE = 1 + 2.0**-20  # above 1 by more than the rounding of x / (S T): a saturated element


class Draw(NamedTuple):
    """Names the random numbers of one stochastic rounding: they depend on nothing else.

    Attributes:
        seed: of the run. step: of the optimizer. part: of the batches that the step adds up. layer,
            role: of the tensor. call: of the layer within the step, from 0 on.
    """

    seed: int
    step: int = 0
    part: int = 0
    layer: int = 0
    role: int = 0
    call: int = 0

    def uniforms(self, shape: torch.Size, device: torch.device) -> Tensor:
        """Of [0, 1), float32; another kind of device is another draw."""
        text = "fourbit|" + "|".join(map(str, self))
        key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        generator = torch.Generator(device).manual_seed(key)
        return torch.rand(shape, generator=generator, device=device)


class Rounded(NamedTuple):
    """A tensor in blocks, not packed.

    Attributes:
        elements: (..., blocks, block) of E2M1, or (..., blocks, block, blocks, block) of squares.
        scales: S of each block, of as many axes. tensor_scale: T, a scalar or one a row.
        shape: of the tensor.
    """

    elements: Tensor
    scales: Tensor
    tensor_scale: Tensor
    shape: torch.Size

    def unscaled_(self) -> Tensor:
        """q S, of the tensor's shape: at most six significant bits where S has four. It takes the
        memory of the elements, which are lost."""
        return self.elements.mul_(self.scales).reshape(self.shape)

    def dequantized(self) -> Tensor:
        """(q S) T, of the tensor's shape, float32."""
        return (self.elements * self.scales).mul_(self.tensor_scale).reshape(self.shape)


class Quantized(NamedTuple):
    """A tensor in four bits a number, and its scales.

    Attributes:
        codes: (..., n / 2) uint8, of each pair the first in the lower half; the highest bit of a
            half is its sign. block_scales: float32, one a block along the last axis, or one a
            square. tensor_scale: float32, a scalar or (..., 1), one a row.
    """

    codes: Tensor
    block_scales: Tensor
    tensor_scale: Tensor


class Statistics(NamedTuple):
    """What rounding did to tensors, added up over them.

    Attributes:
        sqnr_db: 10 log10 of the signal's power over that of the error; inf where nothing was lost.
        zero_share: of the numbers other than 0, how many became 0.
        saturated_share: of all numbers, how many lay beyond the largest element of their block,
            where its scale is not 0.
        empty_scale_share: of the blocks that hold a number other than 0, how many have the scale 0.
    """

    sqnr_db: float
    zero_share: float
    saturated_share: float
    empty_scale_share: float


class BlockPolicy(Settings, ABC):
    """How tensors are rounded; the fields that every format has."""

    block: int
    two_d: bool = Field(default=False, description="square blocks, of the last two axes")

    @property
    @abstractmethod
    def bits(self) -> float:
        """Of storage a number, scales of blocks included."""

    @abstractmethod
    def scaled(self, blocks: Tensor, amax: Tensor) -> tuple[Tensor, Tensor]:
        """S and T. blocks: as `Rounded.elements`, unrounded; amax: of each, of as many axes."""

    def rounded(self, x: Tensor, draw: Draw | None = None) -> Rounded:
        """x: (..., n) rounded to the nearest, or stochastically with the random numbers of `draw`.

        Raises:
            ConfigurationError: x cannot be cut into blocks, or is no float of 16 or 32 bits.
        """
        blocks = self._blocks(x)
        scales, tensor_scale = self.scaled(blocks, largest(blocks, self.axes))
        uniform = None if draw is None else draw.uniforms(blocks.shape, blocks.device)
        return Rounded(
            elements(blocks, scales, tensor_scale, uniform), scales, tensor_scale, x.shape
        )

    @property
    def axes(self) -> tuple[int, ...]:
        """Of `Rounded.elements`, that make up a block."""
        return (-3, -1) if self.two_d else (-1,)

    def _blocks(self, x: Tensor) -> Tensor:
        """A view where possible, float32, in the order of its axes, without its history."""
        size = self.block
        short = [n for n in x.shape[-2 if self.two_d else -1 :] if n % size or not n]
        if x.dtype not in _INPUTS:
            names = "float32, bfloat16 or float16"
            raise ConfigurationError(f"quantize(x=...) must be {names}; got {x.dtype}")
        if short or x.ndim < 1 + self.two_d:
            axes = "last two axes" if self.two_d else "last axis"
            raise ConfigurationError(
                f"quantize(x=...) must have a multiple of {size} numbers along its {axes};"
                f" got the shape {tuple(x.shape)}: pad it with zeros or choose another block"
            )
        x = x.detach().float().contiguous()  # the passes to come are twice as slow in another order
        if not self.two_d:
            return x.reshape(*x.shape[:-1], -1, size)
        return x.reshape(*x.shape[:-2], x.shape[-2] // size, size, x.shape[-1] // size, size)


def largest(blocks: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Magnitude of each block; NaN where it holds one."""
    return blocks.abs().amax(axes, keepdim=True)


def multiplier(scales: Tensor, tensor_scale: Tensor) -> Tensor:
    """1 / (S T), at most the largest float32: where S is 0, so that 0 stays 0."""
    return (1 / (scales * tensor_scale)).clamp_(max=_FLOAT_MAX)


def elements(
    blocks: Tensor, scales: Tensor, tensor_scale: Tensor, uniform: Tensor | None = None
) -> Tensor:
    """x / (S T) rounded to E2M1: to the nearest, or stochastically where numbers are given."""
    x = blocks * multiplier(scales, tensor_scale)
    if uniform is None:
        return minifloat.nearest_(x, E2M1)
    return minifloat.stochastic_(x, E2M1, uniform)


def packed(rounded: Rounded, two_d: bool) -> Quantized:
    """Codes of four bits, two a byte."""
    q = rounded.elements.reshape(rounded.shape)
    magnitude = q.abs()
    # 0, 0.5, 1, 1.5 are 0 to 3; 2, 3, 4, 6 are 4 to 7
    code = torch.where(magnitude < 2, 2 * magnitude, magnitude + 2).clamp(max=7).to(torch.uint8)
    code += 8 * torch.signbit(q).to(torch.uint8)
    scales = rounded.scales.squeeze(-1)
    scales = scales.squeeze(-2) if two_d else scales
    scale = rounded.tensor_scale
    return Quantized(
        code[..., 0::2] + 16 * code[..., 1::2], scales, scale.squeeze(-1) if scale.ndim else scale
    )


def unpacked(quantized: Quantized, block: int, two_d: bool) -> Tensor:
    """The numbers that a quantized tensor stands for, float32.

    Raises:
        ConfigurationError: its scales are not those of such blocks.
    """
    codes, scales, tensor_scale = quantized
    if scales.shape[-1] * block != 2 * codes.shape[-1]:
        raise ConfigurationError(
            f"dequantize(policy=...) must have the block of the scales,"
            f" {2 * codes.shape[-1] / scales.shape[-1]:g}; got {block}"
        )
    positive = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], device=codes.device)
    grid = torch.cat((positive, -positive))
    codes = torch.stack((codes & 15, codes >> 4), dim=-1).flatten(-2)
    scales = scales.repeat_interleave(block, dim=-1)
    if two_d:
        scales = scales.repeat_interleave(block, dim=-2)
    return grid[codes.int()].mul_(scales).mul_(tensor_scale)


def tally(x: Tensor, rounded: Rounded, axes: tuple[int, ...]) -> Tensor:
    """Sums that `statistics` reads, to be added up over tensors: (8,) float64."""
    blocks = x.detach().float().reshape(rounded.elements.shape)
    restored = rounded.dequantized().reshape(blocks.shape)
    full, empty = largest(blocks, axes) > 0, rounded.scales == 0
    scaled = (blocks * multiplier(rounded.scales, rounded.tensor_scale)).masked_fill_(empty, 0)
    sums = (
        blocks.double().square().sum(),
        (restored.double() - blocks).square().sum(),
        (blocks != 0).sum(),
        ((blocks != 0) & (restored == 0)).sum(),
        (scaled.abs() > _MORE * E2M1.largest).sum(),
        torch.tensor(blocks.numel()),
        full.sum(),
        (full & empty).sum(),
    )
    return torch.stack([value.double().to(x.device) for value in sums])


def statistics(sums: Tensor) -> Statistics:
    """Of the tensors whose sums these are. sums: (8,), from `tally`."""
    signal, error, nonzero, zeroed, saturated, count, full, empty = sums.tolist()
    ratio = signal / error if error else (math.inf if signal else math.nan)
    return Statistics(
        sqnr_db=10 * math.log10(ratio) if ratio else -math.inf,
        zero_share=zeroed / max(nonzero, 1),
        saturated_share=saturated / max(count, 1),
        empty_scale_share=empty / max(full, 1),
    )

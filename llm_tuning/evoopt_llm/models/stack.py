"""A stack of layers of several kinds in the order of a pattern, one letter a layer.

    M  Mamba-2 (`mamba2`)             E  mixture of experts (`moe`)
    *  attention without positions    -  dense MLP with the squared ReLU (`moe.MLP`)

Each layer adds to the residual stream what it makes of its norm: h + layer(RMSNorm(h)). The letters
are those of Nemotron-H (arXiv:2504.03624) and Nemotron 3 (arXiv:2512.20848).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from evoopt.checks import shown
from evoopt.errors import ConfigurationError
from evoopt_llm.models.attention import KeyValueCache, attend
from evoopt_llm.models.base import Cache
from evoopt_llm.models.layers import RMSNorm, draw_normal, linear
from evoopt_llm.models.mamba2 import Mamba2, MambaCache
from evoopt_llm.models.moe import MLP, MoE
from evoopt_llm.settings import MOST_LAYERS

LETTERS = "ME*-"


def check_pattern(pattern: str, argument: str) -> None:
    """Refuses what is no pattern."""
    if not 1 <= len(pattern) <= MOST_LAYERS or any(letter not in LETTERS for letter in pattern):
        raise ValueError(
            f"{argument} must be 1 to {MOST_LAYERS} of the letters M (Mamba-2), E (experts),"
            f" * (attention) and - (MLP), as in 'MEME*ME'; got {shown(pattern)}"
        )


class Attention(nn.Module):
    """Grouped-query attention without positions; the rows of `qkv` are heads of q, of k, of v."""

    def __init__(self, dim: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.qkv = linear(dim, (heads + 2 * kv_heads) * head_dim)
        self.out = linear(heads * head_dim, dim)

    def draw(self, std: float, out_std: float, generator: torch.Generator) -> None:
        """Sets both weights: N(0, std^2) and N(0, out_std^2)."""
        draw_normal(self.qkv.weight, std, generator)
        draw_normal(self.out.weight, out_std, generator)

    def cache(self, batch: int, most: int) -> KeyValueCache:
        """An empty one."""
        return KeyValueCache(1, batch, self.kv_heads, most, self.head_dim, self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, length, dim), and so the result."""
        return self._mixed(*self._heads(x))

    def advance(self, x: Tensor, cache: KeyValueCache) -> Tensor:
        """x: (batch, k, dim) of the next tokens, and so the result."""
        batch, length, _ = x.shape
        cache.check(batch, length)
        q, k, v = self._heads(x)
        k, v = cache.extended(0, k, v)
        cache.advanced(length)
        return self._mixed(q, k, v)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v, each (batch, heads, length, head_dim)."""
        heads = torch.unflatten(self.qkv(x), -1, (-1, self.head_dim)).transpose(1, 2)
        q, k, v = torch.split(heads, [self.heads, self.kv_heads, self.kv_heads], dim=1)
        return q, k, v

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y = attend(q, k, v, 1 / math.sqrt(self.head_dim)).transpose(1, 2).flatten(2)
        out: Tensor = self.out(y)
        return out

    def flops(self, length: int) -> int:
        """Multiplications with an addition a token, forward; over the (length + 1) / 2 keys that
        a token sees on average."""
        weights = sum(p.numel() for p in self.parameters())
        return weights + self.heads * self.head_dim * (length + 1)


Layer = Mamba2 | MoE | Attention | MLP
Kept = MambaCache | KeyValueCache | None  # by a layer


class StackCache(Cache):
    """What the layers keep; those without a memory keep None.

    Attributes:
        last: tokens of the last `advance` that are kept.
    """

    def __init__(self, layers: list[Kept]) -> None:
        self.layers = layers
        self._length = self.last = 0

    @property
    def length(self) -> int:
        return self._length

    @property
    def size_bytes(self) -> int:
        return sum(layer.size_bytes for layer in self.layers if layer is not None)

    def rewind(self, kept: int) -> None:
        if not 0 <= kept <= self.last:
            raise ConfigurationError(
                f"rewind(kept=...) must be in [0, {self.last}], the tokens of the last advance;"
                f" got {kept}"
            )
        if kept == self.last:
            return
        for layer in self.layers:
            if layer is not None:
                layer.rewind(kept)
        self._length -= self.last - kept
        self.last = kept

    def advanced(self, tokens: int) -> None:
        """Counts the tokens in, once all layers hold them."""
        self._length += tokens
        self.last = tokens

    def settle(self) -> None:
        """From now on there is nothing to rewind."""
        self.last = 0


class Stack(nn.Module):
    """The layers, each with its norm before it."""

    def __init__(self, dim: int, pattern: str, make: Callable[[str], Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(make(letter) for letter in pattern)
        self.norms = nn.ModuleList(RMSNorm(dim) for _ in pattern)

    def draw(self, std: float, out_std: float, generator: torch.Generator) -> None:
        """Sets the weights of all layers in turn."""
        for layer, _ in self._each():
            layer.draw(std, out_std, generator)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """h: (batch, length, dim). Returns: the same, and the sum of the layers' balance losses."""
        losses = h.new_zeros((), dtype=torch.promote_types(h.dtype, torch.float32))
        for layer, norm in self._each():
            if isinstance(layer, MoE):
                y, loss = layer.mix(norm(h))
                losses = losses + loss
            else:
                y = layer(norm(h))
            h = h + y
        return h, losses

    def cache(self, batch: int, most: int) -> StackCache:
        """An empty one."""
        return StackCache(
            [
                layer.cache(batch, most) if isinstance(layer, Mamba2 | Attention) else None
                for layer, _ in self._each()
            ]
        )

    def advance(self, h: Tensor, cache: StackCache) -> Tensor:
        """h: (batch, k, dim) of the next tokens, and so the result."""
        for (layer, norm), kept in zip(self._each(), cache.layers, strict=True):
            h = h + _advanced(layer, norm(h), kept)
        cache.advanced(h.shape[1])
        return h

    def flops(self, length: int) -> int:
        """Multiplications with an addition a token, forward."""
        return sum(layer.flops(length) for layer, _ in self._each())

    def _each(self) -> Iterator[tuple[Layer, nn.Module]]:
        """Layers and norms, in turn."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            assert isinstance(layer, Layer)
            yield layer, norm


def _advanced(layer: Layer, x: Tensor, kept: Kept) -> Tensor:
    """Of the next tokens (batch, k, dim)."""
    if isinstance(layer, Mamba2):
        assert isinstance(kept, MambaCache)
        return layer.advance(x, kept)
    if isinstance(layer, Attention):
        assert isinstance(kept, KeyValueCache)
        return layer.advance(x, kept)
    y: Tensor = layer(x)
    return y

"""Causal attention over heads, with rotary positions, grouped keys, and a cache of keys and values.

Cost: O(length) a token, in time of a step and in memory of the cache; `attend` leaves the kernel to
`torch.nn.functional.scaled_dot_product_attention`.
Source: J. Su et al., RoFormer: enhanced transformer with rotary position embedding, 2021,
arXiv:2104.09864, Eq. (15), (34); J. Ainslie et al., GQA, 2023, arXiv:2305.13245.
Differences from the source: none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from evoopt.errors import ConfigurationError
from evoopt_llm.models.base import Cache
from evoopt_llm.models.layers import wide


def rotation(length: int, head_dim: int, base: float, device: torch.device | None = None) -> Tensor:
    """cos and sin of the angles of positions 0, ..., length - 1: (length, 1, head_dim / 2, 2)."""
    exponent = torch.arange(0, head_dim, 2, device=device, dtype=torch.float64) / head_dim
    position = torch.arange(length, device=device, dtype=torch.float64)
    angle = torch.outer(position, base**-exponent)[:, None, :]  # Eq. (15)
    return torch.stack((angle.cos(), angle.sin()), dim=-1).float()


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Each pair of coordinates (2 i, 2 i + 1) turned by the angle of its position.

    Args:
        x: (batch, length, heads, head_dim).
        angles: (length, 1, head_dim / 2, 2), as of `rotation`.

    Returns: as x, in float32 or wider.
    """
    pairs = wide(x).view(*x.shape[:-1], -1, 2)
    if torch.compiler.is_compiling():  # which knows no complex numbers
        (a, b), (cos, sin) = pairs.unbind(-1), angles.unbind(-1)
        return torch.stack((a * cos - b * sin, b * cos + a * sin), dim=-1).flatten(-2)  # Eq. (34)
    turned = torch.view_as_complex(pairs) * torch.view_as_complex(angles)
    return torch.view_as_real(turned).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Values averaged by softmax(scale q k^T) over the keys up to each query's own.

    Args:
        q: (batch, heads, queries, head_dim), the last of the positions of the keys.
        k, v: (batch, kv_heads, keys, head_dim), each for heads / kv_heads heads in turn.
        scale: of the products.

    Returns: (batch, heads, queries, head_dim).
    """
    queries, keys = q.shape[-2], k.shape[-2]
    mask = None
    if 1 < queries < keys:
        ones = torch.ones(queries, keys, dtype=torch.bool, device=q.device)
        mask = ones.tril(keys - queries)
    return functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=queries == keys and queries > 1,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


class KeyValueCache(Cache):
    """Keys and values of the tokens so far.

    Attributes:
        keys, values: (layers, batch, kv_heads, most, head_dim); what lies from `length` on is not
            set. last: number of tokens of the last `advance`.
    """

    def __init__(
        self, layers: int, batch: int, kv_heads: int, most: int, head_dim: int, like: Tensor
    ) -> None:
        """Of the dtype and on the device of `like`."""
        shape = (layers, batch, kv_heads, most, head_dim)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self._length = self.last = 0

    @property
    def length(self) -> int:
        return self._length

    @property
    def most(self) -> int:
        """Tokens that there is room for."""
        return self.keys.shape[-2]

    @property
    def size_bytes(self) -> int:
        layers, _, kv_heads, _, head_dim = self.keys.shape
        return 2 * layers * kv_heads * head_dim * self._length * self.keys.element_size()

    def rewind(self, kept: int) -> None:
        if not 0 <= kept <= self.last:
            raise ConfigurationError(
                f"rewind(kept=...) must be in [0, {self.last}], the tokens of the last advance;"
                f" got {kept}"
            )
        self._length -= self.last - kept
        self.last = kept

    def check(self, batch: int, tokens: int) -> None:
        """Refuses tokens that there is no room for."""
        if batch != self.keys.shape[1]:
            raise ConfigurationError(
                f"advance(tokens=...) must have {self.keys.shape[1]} rows as its cache; got {batch}"
            )
        if self._length + tokens > self.most:
            raise ConfigurationError(
                f"advance(tokens=...) must fit the cache of {self.most} tokens that holds"
                f" {self._length}; got {tokens}: make it with cache(batch, most=...)"
            )

    def extended(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, of all tokens and these: (batch, kv_heads, k, head_dim)."""
        end = self._length + k.shape[-2]
        keys, values = self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        keys[:, :, self._length :] = k
        values[:, :, self._length :] = v
        return keys, values

    def advanced(self, tokens: int) -> None:
        """Counts the tokens in, once all layers hold them."""
        self._length += tokens
        self.last = tokens

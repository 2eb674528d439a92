"""What `gpt` and `ngpt` have in common: a chain of equal blocks between an embedding and a head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from evoopt_llm.models.attention import KeyValueCache, rotation
from evoopt_llm.models.base import Cache, Kind, LanguageModel
from evoopt_llm.models.layers import embedding, linear
from evoopt_llm.settings import MOST_LAYERS, Context, Settings, Size

Store = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # keys, values of new tokens -> of all

_MULTIPLE = 16  # of hidden units: a block of the 4-bit formats


class DenseSettings(Settings):
    """Sizes of a chain of blocks of attention and MLP."""

    vocabulary: Size = Field(default=256, description="number of tokens; 256 for bytes")
    dim: Size = Field(default=128, description="width of the residual stream (d_model)")
    layers: int = Field(
        default=4, gt=0, le=MOST_LAYERS, description="blocks, each of attention and MLP"
    )
    heads: Size = Field(default=4, description="attention heads; dim / heads is even")
    context: Context = Field(
        default=256, description="longest sequence that is trained on, in tokens"
    )
    mlp_ratio: float = Field(
        default=4.0, gt=0, le=1024, description="hidden units / dim, rounded to 16 units"
    )
    rope_base: float = Field(
        default=10_000.0, gt=1, le=1e30, description="ratio of fastest and slowest rotation"
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> DenseSettings:
        if self.dim % (2 * self.heads):
            raise ValueError(
                f"dim must be an even multiple of heads; got dim {self.dim}, heads {self.heads}"
            )
        return self

    @property
    def head_dim(self) -> int:
        """Coordinates of a head."""
        return self.dim // self.heads

    @property
    def hidden(self) -> int:
        """Hidden units of the MLP."""
        return max(_MULTIPLE, _MULTIPLE * round(self.mlp_ratio * self.dim / _MULTIPLE))


class Dense(LanguageModel):
    """Embedding, blocks, head. A block maps (h, angles, store) to h, where `store` takes the keys
    and values of these tokens and returns those of all so far; None in training.

    Attributes:
        kv_heads: heads of keys and values.
        angles: of the positions in the context, as of `rotation`.
    """

    angles: Tensor

    def __init__(self, settings: DenseSettings, kv_heads: int, blocks: list[nn.Module]) -> None:
        super().__init__()
        s = self.sizes = settings
        self.vocabulary, self.context, self.kv_heads = s.vocabulary, s.context, kv_heads
        self.embedding = embedding(s.vocabulary, s.dim)
        self.blocks = nn.ModuleList(blocks)
        self.head = linear(s.dim, s.vocabulary)
        angles = rotation(s.context, s.head_dim, s.rope_base)
        self.register_buffer("angles", angles, persistent=False)

    @abstractmethod
    def logits(self, h: Tensor) -> Tensor:
        """Of the last block's output (batch, length, dim)."""

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embedding(tokens)  # (batch, length, dim)
        angles = self._angles(tokens.shape[1])
        for block in self.blocks:
            h = block(h, angles, None)
        return self.logits(h)

    def _angles(self, length: int) -> Tensor:
        """Of the first positions; made anew where a sequence is longer than those trained on."""
        if length <= self.context:
            return self.angles[:length]
        s = self.sizes
        return rotation(length, s.head_dim, s.rope_base, self.angles.device)

    def cache(self, batch: int, most: int) -> Cache:
        s = self.sizes
        return KeyValueCache(
            s.layers, batch, self.kv_heads, most, s.head_dim, self.embedding.weight
        )

    @torch.no_grad()
    def advance(self, tokens: Tensor, cache: Cache) -> Tensor:
        assert isinstance(cache, KeyValueCache)
        batch, length = tokens.shape
        cache.check(batch, length)
        h = self.embedding(tokens)
        angles = self._angles(cache.length + length)[cache.length :]
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, partial(cache.extended, layer))
        cache.advanced(length)
        return self.logits(h)

    def kinds(self) -> dict[str, Kind]:
        return {name: _kind(name, weight) for name, weight in self.named_parameters()}

    def flops(self, length: int) -> int:
        """Attention is over the (length + 1) / 2 keys that a token sees on average; looking up the
        embedding is free."""
        s = self.sizes
        matrices = sum(w.numel() for w in self.blocks.parameters() if w.ndim == 2)
        attention = s.layers * s.dim * (length + 1)  # q k^T, and its product with v
        return 3 * 2 * (matrices + attention + s.dim * s.vocabulary)


def _kind(name: str, weight: Tensor) -> Kind:
    if name == "embedding.weight":
        return "embedding"
    if name == "head.weight":
        return "head"
    return "matrix" if weight.ndim == 2 else "scalar"

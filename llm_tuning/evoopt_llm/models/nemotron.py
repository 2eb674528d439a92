"""A hybrid of Mamba-2, mixtures of experts and attention, with heads for several tokens ahead.

When: long sequences in generation, many parameters at little work a token, or drafts of the model's
own for speculative decoding (`generate`).
When not: a first baseline (`gpt`); it has more to tune.
Cost: that of its layers (`mamba2`, `moe`, `stack`); of multi-token prediction, the modules beside
the trunk and the head once more for each.

Source: NVIDIA, Nemotron 3, arXiv:2512.20856, and Nemotron 3 Nano, arXiv:2512.20848; multi-token
prediction: DeepSeek-V3, arXiv:2412.19437, Eq. (21)-(25).
Differences from the source: the reports give neither the layers of the prediction modules nor what
of the trunk enters them, so that theirs is a reconstruction: DeepSeek-V3's module on the trunk's
output before its last norm, with a pattern of its own and the head of the trunk. A loss is the mean
over the tokens that it predicts. What adds to the residual stream starts 1 / sqrt(layers) smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from evoopt.errors import ConfigurationError
from evoopt_llm.models.base import Cache, Kind, LanguageModel, Losses, cross_entropy, seeded
from evoopt_llm.models.layers import RMSNorm, draw_normal, embedding, linear
from evoopt_llm.models.mamba2 import Mamba2, MambaSettings
from evoopt_llm.models.moe import MLP, MoE, MoESettings
from evoopt_llm.models.stack import Attention, Layer, Stack, StackCache, check_pattern
from evoopt_llm.settings import Context, Count, Factor, Settings, Size, Weight

Choose = Callable[[Tensor, int], Tensor]  # logits (batch, vocabulary), depth -> tokens (batch, 1)


class AheadSettings(Settings):
    """Multi-token prediction: modules that predict the tokens after the next one."""

    depths: int = Field(default=0, ge=0, le=64, description="tokens predicted beyond the next one")
    pattern: str = Field(default="*-", description="layers of a module, as those of the model")
    shared: bool = Field(default=True, description="one module for all depths")
    weight: Weight = Field(default=0.3, description="of the mean of their losses")

    @model_validator(mode="after")
    def _fits(self) -> AheadSettings:
        check_pattern(self.pattern, "ahead.pattern")
        return self


class NemotronSettings(Settings):
    """Pattern and sizes of a hybrid, and its initial weights."""

    kind: Literal["nemotron"] = "nemotron"
    vocabulary: Size = Field(default=256, description="number of tokens; 256 for bytes")
    dim: Size = Field(default=128, description="width of the residual stream (d_model)")
    pattern: str = Field(
        default="MEME*ME",
        description="a letter a layer: M Mamba-2, E experts, * attention, - MLP",
    )
    context: Context = Field(
        default=256, description="longest sequence that is trained on, in tokens"
    )
    heads: Count = Field(default=4, description="attention heads")
    kv_heads: Count = Field(default=2, description="of them, those of keys and values")
    head_dim: Count = Field(default=32, description="coordinates of an attention head")
    mlp: Size = Field(default=512, description="hidden units of a dense MLP")
    mamba: MambaSettings = Field(default=MambaSettings(), description="of the layers M")
    moe: MoESettings = Field(default=MoESettings(), description="of the layers E")
    ahead: AheadSettings = Field(default=AheadSettings(), description="multi-token prediction")
    init_std: Factor = Field(default=0.02, description="initial deviation of the weights")

    @model_validator(mode="after")
    def _fits(self) -> NemotronSettings:
        check_pattern(self.pattern, "pattern")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads must be a multiple of kv_heads; got {self.heads} and {self.kv_heads}"
            )
        if self.context <= self.ahead.depths:
            raise ValueError(
                f"context must be above ahead.depths; got {self.context} and {self.ahead.depths}"
            )
        self.moe.sizes(self.dim)
        return self


class NemotronCache(Cache):
    """Of the trunk, and, where drafts are wanted, of the prediction modules.

    Attributes:
        trunk: the layers' memories. ahead: those of each depth.
        hidden: (batch, p, dim) the trunk's output of the tokens that the depths have yet to see.
        tokens: (batch, p) these tokens.
    """

    def __init__(self, trunk: StackCache, ahead: list[StackCache], hidden: Tensor) -> None:
        self.trunk, self.ahead, self.hidden = trunk, ahead, hidden
        self.tokens = hidden.new_zeros(hidden.shape[:2], dtype=torch.int64)

    @property
    def length(self) -> int:
        return self.trunk.length

    @property
    def size_bytes(self) -> int:
        return self.trunk.size_bytes + sum(cache.size_bytes for cache in self.ahead)

    def rewind(self, kept: int) -> None:
        dropped = self.trunk.last - kept
        self.trunk.rewind(kept)
        if self.ahead:
            left = self.hidden.shape[1] - dropped
            self.hidden, self.tokens = self.hidden[:, :left], self.tokens[:, :left]

    def took(self, tokens: Tensor, hidden: Tensor) -> None:
        """Keeps the trunk's output for the depths."""
        if self.ahead:
            self.hidden = torch.cat((self.hidden, hidden), dim=1)
            self.tokens = torch.cat((self.tokens, tokens), dim=1)


class Nemotron(LanguageModel):
    """The model; its weights are drawn from the seed.

    Attributes:
        depths: tokens that it drafts beyond the next one.
    """

    def __init__(self, settings: NemotronSettings, seed: int) -> None:
        super().__init__()
        s = self.settings = settings
        self.vocabulary, self.context, self.depths = s.vocabulary, s.context, s.ahead.depths
        self.embedding = embedding(s.vocabulary, s.dim)
        self.trunk = Stack(s.dim, s.pattern, self._layer)
        self.norm = RMSNorm(s.dim)
        self.head = linear(s.dim, s.vocabulary)
        modules = min(1, self.depths) if s.ahead.shared else self.depths
        self.ahead = nn.ModuleList(
            Ahead(s.dim, Stack(s.dim, s.ahead.pattern, self._layer)) for _ in range(modules)
        )
        self._draw(seed)

    def _layer(self, letter: str) -> Layer:
        s = self.settings
        if letter == "M":
            return Mamba2(s.dim, s.mamba)
        if letter == "E":
            return MoE(s.dim, s.moe)
        if letter == "*":
            return Attention(s.dim, s.heads, s.kv_heads, s.head_dim)
        return MLP(s.dim, s.mlp)

    def _draw(self, seed: int) -> None:
        s, generator = self.settings, seeded(seed)
        out_std = s.init_std / math.sqrt(len(s.pattern))
        draw_normal(self.embedding.weight, s.init_std, generator)
        self.trunk.draw(s.init_std, out_std, generator)
        draw_normal(self.head.weight, s.init_std, generator)
        for depth in range(len(self.ahead)):
            module = self._ahead(depth)
            draw_normal(module.join.weight, s.init_std, generator)
            module.stack.draw(s.init_std, out_std, generator)

    def _ahead(self, depth: int) -> Ahead:
        """Module of a depth, from 0 on."""
        module = self.ahead[0 if self.settings.ahead.shared else depth]
        assert isinstance(module, Ahead)
        return module

    def forward(self, tokens: Tensor) -> Tensor:
        h, _ = self.trunk(self.embedding(tokens))
        logits: Tensor = self.head(self.norm(h))
        return logits

    def losses(self, windows: Tensor) -> Losses:
        """Parts: `mtp1`, `mtp2`, ... of the depths, and `balance`, the sum over the mixtures."""
        s, length = self.settings, windows.shape[1] - 1
        if length <= self.depths:
            raise ConfigurationError(
                f"losses(windows=...) must have more than {self.depths + 1} tokens a row, for"
                f" ahead.depths={self.depths}; got {length + 1}"
            )
        h, balance = self.trunk(self.embedding(windows[:, :-1]))
        main = cross_entropy(self.head(self.norm(h)), windows[:, 1:])
        total, parts = main, {}
        for depth in range(self.depths):
            module, left = self._ahead(depth), length - depth - 1  # tokens that have a target
            after = self.embedding(windows[:, depth + 1 : -1])  # t_(i+k)
            h, more = module(h[:, :left], after)
            loss = cross_entropy(self.head(module.norm(h)), windows[:, depth + 2 :])  # Eq. (24)
            total = total + s.ahead.weight / self.depths * loss  # Eq. (25)
            balance = balance + more
            parts[f"mtp{depth + 1}"] = loss.detach()
        if any(isinstance(module, MoE) for module in self.modules()):
            total = total + s.moe.balance_weight * balance
            parts["balance"] = balance.detach()
        return Losses(main, total, parts)

    @torch.no_grad()
    def after_step(self) -> None:
        """Moves the routers' biases."""
        for module in self.modules():
            if isinstance(module, MoE):
                module.after_step()

    def cache(self, batch: int, most: int, *, drafting: bool = False) -> NemotronCache:
        """An empty cache; with `drafting`, for `draft` too."""
        depths = range(self.depths if drafting else 0)
        ahead = [self._ahead(depth).stack.cache(batch, most) for depth in depths]
        nothing = self.embedding.weight.new_zeros(batch, 0, self.settings.dim)
        return NemotronCache(self.trunk.cache(batch, most), ahead, nothing)

    @torch.no_grad()
    def advance(self, tokens: Tensor, cache: Cache) -> Tensor:
        assert isinstance(cache, NemotronCache)
        h = self.trunk.advance(self.embedding(tokens), cache.trunk)
        cache.took(tokens, h)
        logits: Tensor = self.head(self.norm(h))
        return logits

    @torch.no_grad()
    def draft(self, token: Tensor, cache: NemotronCache, choose: Choose) -> Tensor:
        """Tokens ahead of the next one, a depth each, from the state after the last `advance`.

        Args:
            token: (batch, 1) the next one, not yet advanced.
            cache: made with `drafting`; from here on there is nothing to rewind in it.
            choose: which token, of the logits of a depth.

        Returns: (batch, depths).
        """
        tokens, h = torch.cat((cache.tokens, token), dim=1), cache.hidden
        seen = h.shape[1]
        for depth, memory in enumerate(cache.ahead):
            module = self._ahead(depth)
            after = self.embedding(tokens[:, depth + 1 : depth + 1 + seen])
            h = module.advance(h, after, memory)
            drafted = choose(self.head(module.norm(h[:, -1])), depth)
            tokens = torch.cat((tokens, drafted), dim=1)
        # depth k stands on k - 1 drafts: the last of these positions come again with true tokens
        again = min(self.depths - 1, seen)
        for memory in cache.ahead:
            memory.rewind(seen - again)
        cache.hidden, cache.tokens = (v[:, seen - again :] for v in (cache.hidden, cache.tokens))
        cache.trunk.settle()
        return tokens[:, -self.depths :]

    def kinds(self) -> dict[str, Kind]:
        return {name: _kind(name, weight) for name, weight in self.named_parameters()}

    def flops(self, length: int) -> int:
        s = self.settings
        head = s.dim * s.vocabulary
        each = [self._ahead(depth) for depth in range(self.depths)]
        ahead = sum(m.join.weight.numel() + m.stack.flops(length) + head for m in each)
        return 3 * 2 * (self.trunk.flops(length) + head + ahead)

    def active(self) -> int:
        """Parameters that a token meets: all but the experts that it does not pass."""
        idle = sum(module.idle() for module in self.modules() if isinstance(module, MoE))
        return sum(p.numel() for p in self.parameters()) - idle


class Ahead(nn.Module):
    """One module of multi-token prediction: from the hidden state of the depth before, and the
    token that the depth may know, to that of this depth. Embedding and head are the model's."""

    def __init__(self, dim: int, stack: Stack) -> None:
        super().__init__()
        self.hidden_norm, self.token_norm = RMSNorm(dim), RMSNorm(dim)
        self.join = linear(2 * dim, dim)
        self.stack = stack
        self.norm = RMSNorm(dim)  # before the head

    def forward(self, h: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """h, after: (batch, length, dim). Returns: the same, and the balance loss."""
        out: tuple[Tensor, Tensor] = self.stack(self._joined(h, after))  # Eq. (22)
        return out

    def advance(self, h: Tensor, after: Tensor, cache: StackCache) -> Tensor:
        """h, after: (batch, k, dim) of the next tokens, and so the result."""
        return self.stack.advance(self._joined(h, after), cache)

    def _joined(self, h: Tensor, after: Tensor) -> Tensor:
        both = torch.cat((self.hidden_norm(h), self.token_norm(after)), dim=-1)
        joined: Tensor = self.join(both)  # Eq. (21)
        return joined


def _kind(name: str, weight: Tensor) -> Kind:
    """The convolution is no matrix: a filter of four numbers a channel."""
    if name in ("embedding.weight", "head.weight"):
        return "embedding" if name == "embedding.weight" else "head"
    return "scalar" if weight.ndim < 2 or name.endswith(".conv") else "matrix"

"""A dense decoder-only Transformer: pre-norm blocks of attention and a gated MLP.

When: the baseline that all others stand beside.
When not: long sequences in generation, where the cache grows with each token (`nemotron`).
Cost: 6 operations a weight of a matrix and token, and 6 dim (length + 1) a layer for attention.

Source: A. Radford et al., Language models are unsupervised multitask learners, 2019 (GPT-2), with
what has become usual since: RMSNorm (arXiv:1910.07467), rotary positions (arXiv:2104.09864), SwiGLU
(N. Shazeer, GLU variants improve Transformer, 2020, arXiv:2002.05202, Eq. (6)), grouped keys
(arXiv:2305.13245), and the norm of queries and keys (A. Henry et al., 2020, arXiv:2010.04245).
With `mlp_ratio` 4 it is the baseline of nGPT (arXiv:2410.01131).
Differences from the source: no bias and no dropout; the projections q, k, v are one matrix, and so
are the two halves of the gated MLP. The multipliers `residual_scale`, `attention_scale`,
`logit_scale` and `logit_cap` are not in the source; they change nothing by default.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from evoopt_llm.models.attention import attend, rotate
from evoopt_llm.models.base import seeded
from evoopt_llm.models.dense import Dense, DenseSettings, Store
from evoopt_llm.models.layers import RMSNorm, draw_normal, gated, linear
from evoopt_llm.settings import Divisor, Factor, Size


class GPTSettings(DenseSettings):
    """A dense Transformer: its sizes, its initial weights and its multipliers."""

    kind: Literal["gpt"] = "gpt"
    kv_heads: Size | None = Field(default=None, description="heads of keys; as many as heads")
    qk_norm: bool = Field(default=False, description="RMSNorm of queries and keys, per head")
    tie: bool = Field(default=False, description="the head is the embedding")
    init_std: Factor = Field(default=0.02, description="initial deviation of the weights")
    embedding_std: Factor | None = Field(default=None, description="of the embedding; init_std")
    residual_scale: Factor = Field(default=1.0, description="multiplies what a branch adds")
    attention_scale: Factor = Field(default=1.0, description="multiplies 1 / sqrt(head dimension)")
    logit_scale: Factor = Field(default=1.0, description="multiplies the logits")
    logit_cap: Divisor | None = Field(default=None, description="c of c tanh(logit / c); no cap")

    @model_validator(mode="after")
    def _groups_fit(self) -> GPTSettings:
        if self.heads % (self.kv_heads or 1):
            raise ValueError(
                "heads must be a multiple of kv_heads;"
                f" got heads {self.heads}, kv_heads {self.kv_heads}"
            )
        return self


class GPT(Dense):
    """The model; its weights are drawn from the seed."""

    def __init__(self, settings: GPTSettings, seed: int) -> None:
        s = self.settings = settings
        super().__init__(s, s.kv_heads or s.heads, [Block(s) for _ in range(s.layers)])
        self.norm = RMSNorm(s.dim)
        if s.tie:
            self.head.weight = self.embedding.weight
        self._draw(seed)

    def _draw(self, seed: int) -> None:
        """The matrices in the order of `named_parameters`; of what a branch adds the deviation is
        1/sqrt(2 layers) of the others', as in GPT-2."""
        s, generator = self.settings, seeded(seed)
        for name, weight in self.named_parameters():
            std = s.init_std
            if name == "embedding.weight":
                std = s.embedding_std or std
            elif name.endswith(("out.weight", "down.weight")):
                std /= math.sqrt(2 * s.layers)
            if weight.ndim == 2:
                draw_normal(weight, std, generator)

    def logits(self, h: Tensor) -> Tensor:
        s = self.settings
        logits: Tensor = self.head(self.norm(h))
        if s.logit_scale != 1:
            logits = s.logit_scale * logits
        if s.logit_cap is not None:
            logits = s.logit_cap * torch.tanh(logits / s.logit_cap)
        return logits


class Block(nn.Module):
    """h + attention, then h + MLP, each of the normalised h."""

    def __init__(self, s: GPTSettings) -> None:
        super().__init__()
        self.scale = s.residual_scale
        self.attention_norm, self.attention = RMSNorm(s.dim), Attention(s)
        self.mlp_norm, self.mlp = RMSNorm(s.dim), MLP(s)

    def forward(self, h: Tensor, angles: Tensor, store: Store | None) -> Tensor:
        """h: (batch, length, dim), and so the result."""
        h = torch.add(h, self.attention(self.attention_norm(h), angles, store), alpha=self.scale)
        return torch.add(h, self.mlp(self.mlp_norm(h)), alpha=self.scale)


class Attention(nn.Module):
    """Rotary attention; the rows of `qkv` are the heads of q, of k, of v."""

    def __init__(self, s: GPTSettings) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = s.heads, s.kv_heads or s.heads, s.head_dim
        self.scale = s.attention_scale / math.sqrt(s.head_dim)
        self.qkv = linear(s.dim, (self.heads + 2 * self.kv_heads) * s.head_dim)
        self.out = linear(s.dim, s.dim)
        self.q_norm = RMSNorm(s.head_dim) if s.qk_norm else None
        self.k_norm = RMSNorm(s.head_dim) if s.qk_norm else None

    def forward(self, x: Tensor, angles: Tensor, store: Store | None) -> Tensor:
        """x: (batch, length, dim), and so the result."""
        batch, length, _ = x.shape
        heads: Tensor = self.qkv(x).view(batch, length, -1, self.head_dim)
        qk, v = heads.split_with_sizes([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.split_with_sizes([self.heads, self.kv_heads], dim=2)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=2)
        qk = rotate(qk, angles).to(v.dtype).transpose(1, 2)  # (batch, heads, length, head_dim)
        q, k = qk.split_with_sizes([self.heads, self.kv_heads], dim=1)
        v = v.transpose(1, 2)
        if store is not None:
            k, v = store(k, v)
        y = attend(q, k, v, self.scale).transpose(1, 2).reshape(batch, length, -1)
        out: Tensor = self.out(y)
        return out


class MLP(nn.Module):
    """SwiGLU; the rows of `up` are those of u, then of the gate."""

    def __init__(self, s: GPTSettings) -> None:
        super().__init__()
        self.up = linear(s.dim, 2 * s.hidden)
        self.down = linear(s.hidden, s.dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, length, dim), and so the result."""
        out: Tensor = self.down(gated(self.up(x)))
        return out

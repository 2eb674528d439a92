"""nGPT: a Transformer whose weights and hidden states are unit vectors.

Each block moves the hidden state on the sphere a share alpha of the way towards its own output.
When: few steps count more than their price. It needs no weight decay and no warm-up.
When not: time a step counts; at the size of a proxy a gain is to be measured, not assumed.
Cost: that of `gpt`, and a dozen passes over the hidden states a layer that normalise and scale.

Source: I. Loshchilov, C.-P. Hsieh, S. Sun & B. Ginsburg, nGPT: normalized Transformer with
representation learning on the hypersphere, ICLR 2025, arXiv:2410.01131, Section 2; sizes and signs
of the scaling parameters as in the authors' program, github.com/NVIDIA/ngpt. Formulas stand at
their lines; the numbers that they have in the paper could not be compared and are left out.
Differences from the source: q, k, v are one matrix, and so are both halves of the MLP; positions
turn pairs of coordinates, as in RoFormer, where the program has an expression that is no rotation;
sqrt(dim) multiplies the gate alone, as in the paper (the program multiplies u too, which the norm
behind it undoes); weights begin with a length of 1, whatever their deviation; without `qk_norm` the
softmax is scaled so that its argument begins at the same size, a choice made here;
`normalise_every` is not in the source.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evoopt_llm.models.attention import attend, rotate
from evoopt_llm.models.base import seeded
from evoopt_llm.models.dense import Dense, DenseSettings, Store
from evoopt_llm.models.layers import draw_normal, gated, linear, unit
from evoopt_llm.settings import Divisor, Factor, Steps


class NGPTSettings(DenseSettings):
    """nGPT: its sizes, and of each scaling parameter the initial value and the `scale` at which the
    optimizer sees it: a small one learns fast."""

    kind: Literal["ngpt"] = "ngpt"
    qk_norm: bool = Field(default=True, description="queries and keys are unit vectors, per head")
    normalise_every: Steps = Field(
        default=1, description="steps between two normalisations of weights"
    )
    alpha_init: Factor = Field(default=0.05, description="share of the way that a block moves")
    alpha_scale: Divisor | None = Field(default=None, description="its scale; 1 / sqrt(dim)")
    s_qk_init: Factor = Field(default=1.0, description="factor of queries and keys")
    s_qk_scale: Divisor | None = Field(default=None, description="its scale; 1 / sqrt(dim)")
    s_uv_init: Factor = Field(default=1.0, description="factor of the MLP's hidden units")
    s_uv_scale: Divisor = Field(default=1.0, description="its scale")
    s_z_init: Factor = Field(default=1.0, description="factor of the logits")
    s_z_scale: Divisor | None = Field(default=None, description="its scale; 1 / sqrt(dim)")


class Scale(nn.Module):
    """A scaling parameter s, learned as p = s scale / init: Adam moves p by about lr a step, hence
    s by the share lr / scale of `init`."""

    def __init__(self, size: int, init: float, scale: float) -> None:
        super().__init__()
        self.factor = init / scale
        self.weight = nn.Parameter(torch.full((size,), scale))  # p

    def forward(self) -> Tensor:
        """s: (size,)."""
        return self.weight * self.factor


class NGPT(Dense):
    """The model; the directions of its weights are drawn from the seed.

    Attributes:
        steps: of the optimizer since the weights were normalised, where that is not each time.
    """

    steps: Tensor

    def __init__(self, settings: NGPTSettings, seed: int) -> None:
        s = self.settings = settings
        super().__init__(s, s.heads, [Block(s) for _ in range(s.layers)])
        self.s_z = Scale(s.vocabulary, s.s_z_init, s.s_z_scale or s.dim**-0.5)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        generator = seeded(seed)
        for weight in self.parameters():
            if weight.ndim == 2:
                draw_normal(weight, s.dim**-0.5, generator)
        self.normalise_weights()

    def logits(self, h: Tensor) -> Tensor:
        logits: Tensor = self.s_z() * self.head(h)  # z <- s_z z
        return logits

    def after_step(self) -> None:
        every = self.settings.normalise_every
        if every > 1:
            self.steps += 1
            if int(self.steps) < every:
                return
            self.steps.zero_()
        self.normalise_weights()

    @torch.no_grad()
    def normalise_weights(self) -> None:
        """Each matrix along its axis of length dim: its rows, or the columns of what leads back to
        the hidden state. In float32."""
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                dim = 0 if name.endswith(("out.weight", "down.weight")) else 1
                weight.copy_(functional.normalize(weight.float(), dim=dim))


class Block(nn.Module):
    """A step towards attention's output, then one towards the MLP's."""

    def __init__(self, s: NGPTSettings) -> None:
        super().__init__()
        scale = s.alpha_scale or s.dim**-0.5
        self.attention, self.mlp = Attention(s), MLP(s)
        self.attention_alpha = Scale(s.dim, s.alpha_init, scale)
        self.mlp_alpha = Scale(s.dim, s.alpha_init, scale)

    def forward(self, h: Tensor, angles: Tensor, store: Store | None) -> Tensor:
        """h: (batch, length, dim) of unit length, and so the result."""
        h = towards(h, self.attention(h, angles, store), self.attention_alpha())
        return towards(h, self.mlp(h), self.mlp_alpha())


def towards(h: Tensor, output: Tensor, alpha: Tensor) -> Tensor:
    """Norm(h + |alpha| (Norm(output) - h)). h, output: (..., dim); alpha: (dim,)."""
    return unit(torch.lerp(h, unit(output.to(h.dtype)), alpha.abs()))


class Attention(nn.Module):
    """Rotary attention of unit queries and keys; rows of `qkv`: the heads of q, of k, of v."""

    def __init__(self, s: NGPTSettings) -> None:
        super().__init__()
        self.head_dim, self.qk_norm = s.head_dim, s.qk_norm
        # a product of unit q, k has the variance 1 / head_dim; of those that `qkv` makes of unit
        # rows and a unit h it is head_dim / dim^2
        self.scale = math.sqrt(s.head_dim) * (1 if s.qk_norm else s.heads)
        self.qkv, self.out = linear(s.dim, 3 * s.dim), linear(s.dim, s.dim)
        self.s_qk = Scale(s.dim, s.s_qk_init, s.s_qk_scale or s.dim**-0.5)

    def forward(self, h: Tensor, angles: Tensor, store: Store | None) -> Tensor:
        """h: (batch, length, dim), and so the result."""
        batch, length, dim = h.shape
        qkv: Tensor = self.qkv(h)
        heads = dim // self.head_dim
        qkv = qkv.view(batch, length, -1, self.head_dim)
        qk, v = qkv.split_with_sizes([2 * heads, heads], dim=2)
        qk = rotate(qk, angles)
        if self.qk_norm:
            qk = unit(qk)  # q <- s_qk Norm(q), k <- s_qk Norm(k)
        s_qk = self.s_qk().view(-1, self.head_dim)
        qk = qk.view(batch, length, 2, *s_qk.shape) * s_qk
        q, k = (x.to(v.dtype).transpose(1, 2) for x in qk.unbind(2))
        v = v.transpose(1, 2)  # (batch, heads, length, head_dim)
        if store is not None:
            k, v = store(k, v)
        y = attend(q, k, v, self.scale).transpose(1, 2).reshape(batch, length, dim)
        out: Tensor = self.out(y)
        return out


class MLP(nn.Module):
    """SwiGLU of scaled hidden units; the rows of `up` are those of u, then of the gate."""

    def __init__(self, s: NGPTSettings) -> None:
        super().__init__()
        self.up, self.down = linear(s.dim, 2 * s.hidden), linear(s.hidden, s.dim)
        self.s_u = Scale(s.hidden, s.s_uv_init, s.s_uv_scale)
        self.s_v = Scale(s.hidden, s.s_uv_init, s.s_uv_scale)
        self.root = math.sqrt(s.dim)

    def forward(self, h: Tensor) -> Tensor:
        """h: (batch, length, dim), and so the result."""
        s_uv = torch.cat((self.s_u(), self.root * self.s_v()))  # u <- s_u u, v <- s_v v sqrt(dim)
        out: Tensor = self.down(gated(s_uv * self.up(h)))
        return out

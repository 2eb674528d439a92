"""Layers that the models share; nothing is drawn when they are made (`draw_normal` does that).

Source: [1] B. Zhang & R. Sennrich, Root mean square layer normalization, NeurIPS 2019,
arXiv:1910.07467, Eq. (4); [2] N. Shazeer, GLU variants improve Transformer, 2020,
arXiv:2002.05202, Eq. (6).

On a CPU what stands between two products of matrices is bound by memory. `unit` and `gated` have
their gradients written out, in about half the passes that autograd would make.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

EPSILON = 1e-6  # beside the mean square; that of LLaMA
TINY = 1e-24  # avoids 0/0: zeros stay zeros


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A matrix (outputs, inputs) without bias, its numbers not set: torch would draw them from the
    generator that all share."""
    made = nn.Linear(inputs, outputs, bias=False, device="meta")
    return made.to_empty(device=torch.get_default_device())


def embedding(vocabulary: int, dim: int) -> nn.Embedding:
    """A row of `dim` numbers a token, not set."""
    made = nn.Embedding(vocabulary, dim, device="meta")
    return made.to_empty(device=torch.get_default_device())


@torch.no_grad()
def draw_normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """Sets the weight to numbers of N(0, std^2), the next ones of the generator, on the CPU."""
    weight.copy_(std * torch.randn(weight.shape, generator=generator))


def wide(x: Tensor) -> Tensor:
    """In float32, or as it is where that is wider."""
    return x if x.dtype == torch.float64 else x.float()


def unit(x: Tensor, epsilon: float = TINY) -> Tensor:
    """x / sqrt(|x|^2 + epsilon) along the last axis."""
    if torch.compiler.is_compiling():  # which joins the passes by itself
        joined: Tensor = x * (x.square().sum(-1, keepdim=True) + epsilon).rsqrt()
        return joined
    y: Tensor = _Unit.apply(x, epsilon)  # type: ignore[no-untyped-call] # of torch
    return y


class _Unit(torch.autograd.Function):
    """`unit` in few passes over memory: it keeps y and r = 1/sqrt(|x|^2 + epsilon), and the
    gradient is dx = r (dy - y (y . dy))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().add_(epsilon).rsqrt_()
        y: Tensor = x * r
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        y, r = ctx.saved_tensors
        along = torch.linalg.vecdot(y, dy).neg_()[..., None]
        dx: Tensor = torch.addcmul(dy, y, along).mul_(r)
        return dx, None


def gated(x: Tensor) -> Tensor:
    """u SiLU(v) of the two halves u, v of the last axis: SwiGLU, [2] Eq. (6)."""
    if torch.compiler.is_compiling():
        u, v = x.chunk(2, dim=-1)
        joined: Tensor = u * functional.silu(v)
        return joined
    y: Tensor = _Gated.apply(x)  # type: ignore[no-untyped-call] # of torch
    return y


class _Gated(torch.autograd.Function):
    """`gated`, the gradients of both halves written to where they belong."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        u, v = x.chunk(2, dim=-1)
        gate = functional.silu(v)
        ctx.save_for_backward(x, gate)
        return u * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        x, gate = ctx.saved_tensors
        u, v = x.chunk(2, dim=-1)
        dx = torch.empty_like(x)
        du, dv = dx.chunk(2, dim=-1)
        torch.mul(dy, gate, out=du)
        torch.ops.aten.silu_backward.grad_input(dy * u, v, grad_input=dv)
        return dx


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * gain along the last axis; gain: (dim,), at first 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.root, self.epsilon = math.sqrt(dim), dim * EPSILON

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., dim), and so the result. In float32 or wider."""
        y = unit(wide(x), self.epsilon)
        return (y * (self.root * self.weight)).to(x.dtype)  # [1] Eq. (4)

"""The recurrence of Mamba-2: step by step, and for many tokens at once as matrix products.

A head keeps S, (head_dim, state). With dt_t > 0 and the decay a_t = exp(-dt_t A), A > 0,

    S_t = a_t S_(t-1) + dt_t x_t B_t^T,    y_t = S_t C_t.

When: `steps` for a few tokens, `ssd` for many; both give the same up to rounding.
Cost: `steps` O(heads head_dim state) a token; `ssd` O(length (chunk + state) heads head_dim), and
O((length / chunk)^2 heads head_dim state) between chunks, without a loop over either.
Source: T. Dao & A. Gu, Transformers are SSMs: generalized models and efficient algorithms through
structured state space duality, ICML 2024, arXiv:2405.21060, Section 6 and Listing 1.
Differences from the source: heads of a group share one product with B and C between chunks; sums of
exponents are of float32 or wider, whatever the products are of.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Scan(NamedTuple):
    """Inputs of the recurrence.

    Attributes:
        x: (batch, length, heads, head_dim), times dt. log_a: (batch, length, heads) = -dt A.
        B, C: (batch, length, groups, state).
    """

    x: Tensor
    log_a: Tensor
    B: Tensor
    C: Tensor

    def first(self, length: int) -> Scan:
        """Of the first tokens."""
        return Scan(*(v[:, :length] for v in self))


def steps(scan: Scan, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence, one token after the other. state: (batch, heads, head_dim, state).

    Returns: y without D x, (batch, length, heads, head_dim), and the state after the last token.
    """
    each = scan.x.shape[2] // scan.B.shape[2]  # heads that share B and C
    B, C = (v.repeat_interleave(each, dim=2) for v in (scan.B, scan.C))
    a = scan.log_a.exp().to(state.dtype)[..., None, None]
    y = []
    for t in range(scan.x.shape[1]):
        state = torch.addcmul(a[:, t] * state, scan.x[:, t, :, :, None], B[:, t, :, None])
        y.append(state @ C[:, t, :, :, None])
    return torch.stack(y, dim=1).squeeze(-1), state


def ssd(scan: Scan, chunk: int, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The recurrence for many tokens at once: within chunks as masked products of C, B and x, and
    between chunks through their states.

    Args:
        scan: of a sequence. chunk: tokens of a chunk.
        state: (batch, heads, head_dim, state) before the first token; zeros where None.

    Returns: y without D x, (batch, length, heads, head_dim), and the state after the last token.
    """
    batch, length, heads, head_dim = scan.x.shape
    q = min(chunk, length)
    x, log_a, B, C = (_chunks(v, q) for v in scan)  # (batch, chunks, q, ...)
    groups, n = B.shape[3:]
    B, C = B.transpose(2, 3), C.transpose(2, 3)  # (batch, chunks, groups, q, n)
    sums = log_a.cumsum(2)  # (batch, chunks, q, heads): log of the decay since the chunk began

    # 1. within a chunk: y_i = sum over j <= i of (C_i B_j) exp(sums_i - sums_j) x_j
    decays = _decays(sums.transpose(2, 3)).to(x.dtype)  # (batch, chunks, heads, q, q)
    mixing = torch.unflatten(decays, 2, (groups, -1)) * (C @ B.mT)[:, :, :, None]
    y = (mixing.flatten(2, 3) @ x.transpose(2, 3)).transpose(2, 3)

    # 2. what a chunk adds to the state
    left = (sums[:, :, -1:] - sums).exp().to(x.dtype)
    faded = (x * left[..., None]).view(batch, -1, q, groups, heads // groups * head_dim)
    added = faded.permute(0, 1, 3, 4, 2) @ B  # (batch, chunks, groups, heads head_dim / groups, n)

    # 3. states before each chunk, and after the last
    added = added.view(batch, -1, heads, head_dim * n)
    states = _carried(added, sums[:, :, -1], state)  # (batch, heads, chunks + 1, head_dim n)

    # 4. what comes out of the state before the chunk
    before = states[:, :, :-1].transpose(1, 2).reshape(batch, -1, groups, faded.shape[-1], n)
    carried = (C @ before.mT).transpose(2, 3).reshape(x.shape)
    y = torch.addcmul(y, carried, sums.exp().to(x.dtype)[..., None])
    return y.reshape(batch, -1, heads, head_dim)[:, :length], _last(states, head_dim)


def state_after(state: Tensor, scan: Scan) -> Tensor:
    """The state after these tokens, from the one before them: both (batch, heads, head_dim, n)."""
    each = scan.x.shape[2] // scan.B.shape[2]
    sums = scan.log_a.cumsum(1)
    left = (sums[:, -1:] - sums).exp().to(scan.x.dtype)
    B = scan.B.repeat_interleave(each, dim=2)
    added = (scan.x * left[..., None]).permute(0, 2, 3, 1) @ B.transpose(1, 2)
    return added + sums[:, -1].exp().to(state.dtype)[..., None, None] * state


def _last(states: Tensor, head_dim: int) -> Tensor:
    return torch.unflatten(states[:, :, -1], -1, (head_dim, -1))


def _chunks(v: Tensor, q: int) -> Tensor:
    """(batch, length, ...) -> (batch, chunks, q, ...); filled up with zeros, which neither decay
    the state nor add to it."""
    missing = -v.shape[1] % q
    if missing:
        v = functional.pad(v, (0, 0) * (v.ndim - 2) + (0, missing))
    return torch.unflatten(v, 1, (-1, q))


def _decays(sums: Tensor) -> Tensor:
    """exp(sums_i - sums_j) for j <= i, else 0. sums: (..., n), falling. Returns: (..., n, n)."""
    n = sums.shape[-1]
    later = torch.ones(n, n, dtype=torch.bool, device=sums.device).triu(1)
    # exponents above the diagonal are positive and may overflow: masked before, not after
    return (sums[..., :, None] - sums[..., None, :]).masked_fill_(later, -math.inf).exp_()


def _carried(added: Tensor, log_decay: Tensor, state: Tensor | None) -> Tensor:
    """States before each chunk and after the last one.

    Args:
        added: (batch, chunks, heads, m) to the state, each by its chunk.
        log_decay: (batch, chunks, heads) of a whole chunk.
        state: before the first one; zeros where None.

    Returns: (batch, heads, chunks + 1, m).
    """
    first = torch.zeros_like(added[:, :1]) if state is None else state.flatten(2)[:, None]
    parts = torch.cat((first.to(added.dtype), added), dim=1).transpose(1, 2)
    ends = functional.pad(log_decay, (0, 0, 1, 0)).cumsum(1).transpose(1, 2)
    return _decays(ends).to(added.dtype) @ parts


def convolved(raw: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Of each channel by itself, over a token and those before it.

    Args:
        raw: (batch, width - 1 + k, channels).
        weight: (channels, width), the last column for the token itself. bias: (channels,).

    Returns: (batch, k, channels).
    """
    y: Tensor = _Convolution.apply(raw, weight, bias)  # type: ignore[no-untyped-call] # of torch
    return y


class _Convolution(torch.autograd.Function):
    """`convolved` with few passes over memory in the gradient."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(raw, weight)
        first, *rest = _shifted(raw, weight)
        y = torch.addcmul(bias, first, weight[:, 0])
        for j, v in enumerate(rest, 1):
            y.addcmul_(v, weight[:, j])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw, weight = ctx.saved_tensors
        draw = torch.zeros_like(raw)
        for j, v in enumerate(_shifted(draw, weight)):
            v.addcmul_(dy, weight[:, j])
        shifted = [v.to(dy.dtype) for v in _shifted(raw, weight)]
        dweight = torch.stack([torch.linalg.vecdot(v, dy, dim=1).sum(0) for v in shifted], dim=1)
        return draw, dweight, dy.sum((0, 1))


def _shifted(raw: Tensor, weight: Tensor) -> list[Tensor]:
    """The tokens that each column of the weight meets: (batch, k, channels)."""
    width = weight.shape[1]
    length = raw.shape[1] - width + 1
    return [raw[:, j : j + length] for j in range(width)]

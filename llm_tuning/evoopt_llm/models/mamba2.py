"""Mamba-2: a layer that carries a state of fixed size along the sequence, as matrix products.

When: long sequences, in generation above all: a token costs the same however many came before.
When not: where single far tokens must be found again, which a few attention layers do better
(`nemotron` mixes the two).
Cost: O(length (chunk + state) inner) a layer in training, inner = heads head_dim; O(inner state) a
token and in memory in generation.

Source: T. Dao & A. Gu, Transformers are SSMs, ICML 2024, arXiv:2405.21060; the recurrence and its
chunked form stand in `ssd`, the layer around it, and where its numbers start, are those of the
authors' code (state-spaces/mamba, mamba2.py).
Differences from the source: no fused kernels; dt has no upper limit, as by the authors' default.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from evoopt.errors import ConfigurationError
from evoopt_llm.models.base import Cache
from evoopt_llm.models.layers import EPSILON, draw_normal, linear, unit, wide
from evoopt_llm.models.ssd import Scan, convolved, ssd, state_after, steps
from evoopt_llm.settings import Context, Count, Factor, Settings

_LEAST_DT = 1e-4  # floor of the first steps dt, the authors' dt_init_floor
_FEW = 4  # tokens of an `advance` that are faster one by one
_FIRST_A = (1.0, 16.0)  # range of the first A, the authors' A_init_range


class MambaSettings(Settings):
    """Sizes of a Mamba-2 layer, and where its steps dt start."""

    heads: Count = Field(default=4, description="heads of the state")
    head_dim: Count = Field(default=32, description="coordinates of a head")
    state: Count = Field(default=16, description="numbers of the state a coordinate")
    groups: Count = Field(default=1, description="groups of heads that share B and C")
    conv: int = Field(default=4, gt=0, le=2**10, description="tokens that the convolution sees")
    chunk: Context = Field(default=32, description="tokens of a chunk: of speed alone")
    dt_min: Factor = Field(default=0.001, description="smallest first step dt")
    dt_max: Factor = Field(default=0.1, description="largest first step dt")

    @model_validator(mode="after")
    def _fits(self) -> MambaSettings:
        if self.heads % self.groups:
            raise ValueError(
                f"mamba: heads must be a multiple of groups; got {self.heads} and {self.groups}"
            )
        if self.dt_min > self.dt_max:
            raise ValueError(
                f"mamba: dt_min must be at most dt_max; got {self.dt_min} and {self.dt_max}"
            )
        return self

    @property
    def inner(self) -> int:
        """Coordinates of all heads."""
        return self.heads * self.head_dim

    @property
    def channels(self) -> int:
        """Of the convolution: those of x, B and C."""
        return self.inner + 2 * self.groups * self.state


class MambaCache(Cache):
    """State after the tokens so far, and what it takes to go back within the last `advance`.

    Attributes:
        state: (batch, heads, head_dim, state). window: (batch, conv - 1, channels), the last tokens
            as they enter the convolution. Both are all that `size_bytes` counts.
    """

    def __init__(self, s: MambaSettings, batch: int, like: Tensor) -> None:
        """Of the dtype and on the device of `like`."""
        self.state = like.new_zeros(batch, s.heads, s.head_dim, s.state)
        self.window = like.new_zeros(batch, s.conv - 1, s.channels)
        self._length = 0
        self._before = (self.state, self.window)  # the last `advance`, and its tokens:
        self._scan: Scan | None = None

    @property
    def length(self) -> int:
        return self._length

    @property
    def size_bytes(self) -> int:
        numbers = self.state[0].numel() + self.window[0].numel()
        return numbers * self.state.element_size()

    @property
    def last(self) -> int:
        """Tokens of the last `advance` that are kept."""
        return 0 if self._scan is None else self._scan.x.shape[1]

    def advanced(self, scan: Scan, state: Tensor, raw: Tensor) -> None:
        """Takes the state after further tokens. raw: (batch, conv - 1 + k, channels)."""
        self._before = (self.state, raw)
        self._scan, self.state = scan, state
        self.window = raw[:, scan.x.shape[1] :]
        self._length += scan.x.shape[1]

    def rewind(self, kept: int) -> None:
        if not 0 <= kept <= self.last:
            raise ConfigurationError(
                f"rewind(kept=...) must be in [0, {self.last}], the tokens of the last advance;"
                f" got {kept}"
            )
        if kept == self.last or self._scan is None:
            return
        state, raw = self._before
        self._length -= self.last - kept
        self._scan = scan = self._scan.first(kept)
        self.state = state_after(state, scan) if kept else state
        self.window = raw[:, kept : kept + self.window.shape[1]]


class Mamba2(nn.Module):
    """The layer, (batch, length, dim) -> (batch, length, dim)."""

    def __init__(self, dim: int, settings: MambaSettings) -> None:
        super().__init__()
        s = self.settings = settings
        self.enter = linear(dim, s.inner + s.channels + s.heads)  # z; x, B, C; dt
        self.conv = nn.Parameter(torch.empty(s.channels, s.conv))
        self.conv_bias = nn.Parameter(torch.empty(s.channels))
        self.dt_bias = nn.Parameter(torch.empty(s.heads))
        self.A_log = nn.Parameter(torch.empty(s.heads))
        self.D = nn.Parameter(torch.ones(s.heads))
        self.gain = nn.Parameter(torch.ones(s.inner))
        self.out = linear(s.inner, dim)

    @torch.no_grad()
    def draw(self, std: float, out_std: float, generator: torch.Generator) -> None:
        """Sets all weights: matrices to N(0, std^2) and N(0, out_std^2), the rest as the authors
        do."""
        s = self.settings
        draw_normal(self.enter.weight, std, generator)
        draw_normal(self.out.weight, out_std, generator)
        bound = 1 / math.sqrt(s.conv)  # of torch's convolutions
        for weight in (self.conv, self.conv_bias):
            weight.copy_(bound * (2 * torch.rand(weight.shape, generator=generator) - 1))
        low, high = math.log(s.dt_min), math.log(s.dt_max)
        dt = torch.exp(low + (high - low) * torch.rand(s.heads, generator=generator))
        dt = dt.clamp(min=_LEAST_DT)
        self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) = dt
        least, most = _FIRST_A
        A = least + (most - least) * torch.rand(s.heads, generator=generator)
        self.A_log.copy_(A.log())

    def forward(self, u: Tensor) -> Tensor:
        """u: (batch, length, dim), and so the result."""
        s = self.settings
        z, raw, dt = torch.split(self.enter(u), [s.inner, s.channels, s.heads], dim=-1)
        scan, x = self._scan(functional.pad(raw, (0, 0, s.conv - 1, 0)), dt)
        y, _ = ssd(scan, s.chunk)
        return self._leave(y, x, z)

    def cache(self, batch: int, most: int) -> MambaCache:
        """An empty one, of the same size however many tokens come."""
        return MambaCache(self.settings, batch, self.out.weight)

    def advance(self, u: Tensor, cache: MambaCache) -> Tensor:
        """u: (batch, k, dim) of the next tokens, and so the result."""
        s = self.settings
        z, raw, dt = torch.split(self.enter(u), [s.inner, s.channels, s.heads], dim=-1)
        raw = torch.cat((cache.window, raw), dim=1)
        scan, x = self._scan(raw, dt)
        if u.shape[1] <= _FEW:
            y, state = steps(scan, cache.state)
        else:
            y, state = ssd(scan, s.chunk, cache.state)
        cache.advanced(scan, state, raw)
        return self._leave(y, x, z)

    def _scan(self, raw: Tensor, dt: Tensor) -> tuple[Scan, Tensor]:
        """Inputs of the recurrence, and x. raw: (batch, conv - 1 + k, channels); dt: (batch, k,
        heads)."""
        s = self.settings
        parts = functional.silu(convolved(raw, self.conv, self.conv_bias))
        inner, state = s.inner, s.groups * s.state
        x, B, C = torch.split(parts, [inner, state, state], dim=-1)
        dt = functional.softplus(wide(dt) + self.dt_bias)  # wide for sums and exponents
        x = torch.unflatten(x, -1, (s.heads, s.head_dim))
        B, C = (torch.unflatten(v, -1, (s.groups, s.state)) for v in (B, C))
        return Scan(x * dt.to(x.dtype)[..., None], -dt * self.A_log.exp(), B, C), x

    def _leave(self, y: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """D x, the gated norm and the projection. y, x: (batch, k, heads, head_dim)."""
        y = torch.addcmul(y, x, self.D.to(x.dtype)[:, None]).flatten(2)
        y = y * functional.silu(z)  # gated before the norm, norm_before_gate=False there
        groups = torch.unflatten(wide(y), -1, (self.settings.groups, -1))
        n = groups.shape[-1]
        y = unit(groups, n * EPSILON).flatten(-2) * (math.sqrt(n) * self.gain)
        out: Tensor = self.out(y)
        return out

    def flops(self, length: int) -> int:
        """Multiplications with an addition a token, forward: projections, convolution, `ssd`."""
        s = self.settings
        within = min(s.chunk, length) * (
            s.groups * s.state + s.inner
        )  # C B^T, and its product with x
        states = 2 * s.inner * s.state  # into the state, and out of it
        projections = self.enter.weight.numel() + self.out.weight.numel()
        return projections + self.conv.numel() + within + states

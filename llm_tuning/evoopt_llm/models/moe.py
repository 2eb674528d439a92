"""Mixture of experts: each token passes the few experts that a router chooses, and a shared one.

When: more parameters at the same work a token. When not: the parameters themselves are scarce.
Cost: a token meets `active` experts, the shared one and the router, whatever the number of experts;
memory and the optimizer's step cost all of them.

Source: the router, sigmoid scores with a bias that balances the load without a loss, and the
balance loss within a sequence: DeepSeek-V3, arXiv:2412.19437, Eq. (12)-(20); softmax scores:
W. Fedus, B. Zoph & N. Shazeer, Switch Transformers, JMLR 2022, arXiv:2101.03961. Squared ReLU:
D. So et al., Primer, 2021, arXiv:2109.08668. LatentMoE and the constants: Nemotron 3,
arXiv:2512.20856, and Nemotron 3 Nano, arXiv:2512.20848.
Differences from the source: the reports give no equations of LatentMoE, so that the order of its
parts is a reconstruction: one projection into the latent space before all experts and one out of
it after their weighted sum, without activations; router and shared expert see the full width.
The bias follows the load since the last step, of all processes. The balance loss counts the
choices as they were made, with the bias, where Eq. (18) has those without it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, distributed, nn
from torch.nn import functional

from evoopt_llm.models.grouped import GroupedLinear
from evoopt_llm.models.layers import draw_normal, linear, wide
from evoopt_llm.settings import Count, Factor, Settings, Size, Weight

_TINY = 1e-20  # avoids 0 / 0 where all chosen scores underflow; the authors' own


class MoESettings(Settings):
    """Sizes of a mixture of experts, and how its load is balanced.

    With `latent`, `experts` and `active` are those of the mixture that it replaces: of the same
    parameters and the same work, it has dim / latent times as many of either (`sizes`)."""

    experts: Count = Field(
        default=8, description="routed experts; those of dim where latent is given"
    )
    active: Count = Field(default=2, description="of them, those a token passes")
    hidden: Size = Field(default=64, description="hidden units of a routed expert")
    shared: int = Field(
        default=128, ge=0, le=2**20, description="hidden units of the shared expert; 0 for none"
    )
    latent: Size | None = Field(default=None, description="width of the experts (LatentMoE); dim")
    score: Literal["sigmoid", "softmax"] = Field(default="sigmoid", description="of the router")
    scaling: Factor = Field(default=2.5, description="multiplies the weights of the chosen experts")
    bias_rate: Weight = Field(default=0.001, description="step of the balancing bias; 0 for none")
    balance_weight: Weight = Field(default=1e-4, description="of the balance loss; 0 for none")

    @model_validator(mode="after")
    def _fits(self) -> MoESettings:
        if self.active > self.experts:
            raise ValueError(
                f"moe: active must be at most experts; got {self.active} and {self.experts}"
            )
        return self

    def sizes(self, dim: int) -> Sizes:
        """With the rule of LatentMoE: N' = N dim / latent experts, K' = K dim / latent active."""
        width = self.latent or dim
        if dim % width:
            raise ValueError(f"moe: latent must divide dim; got {self.latent} and {dim}")
        times = dim // width
        return Sizes(self.experts * times, self.active * times, width)


class Sizes(NamedTuple):
    """Experts, those a token passes, and the width that they work in."""

    experts: int
    active: int
    width: int


class Routes(NamedTuple):
    """Which experts the tokens pass.

    Attributes:
        experts: (tokens, active) their numbers. weights: (tokens, active) of their results.
        scores: (tokens, experts) of all.
    """

    experts: Tensor
    weights: Tensor
    scores: Tensor


class MoE(nn.Module):
    """The layer, (batch, length, dim) -> (batch, length, dim).

    Attributes:
        bias: (experts,) float32 added to the scores for the choice alone.
        load: (experts,) tokens since the last `after_step`, in training.
    """

    bias: Tensor

    def __init__(self, dim: int, settings: MoESettings) -> None:
        super().__init__()
        s = self.settings = settings
        self.sizes = settings.sizes(dim)
        experts, _, width = self.sizes
        self.router = nn.Parameter(torch.empty(experts, dim))  # no Linear: kept in float32
        self.register_buffer("bias", torch.zeros(experts))
        self.load = torch.zeros(experts)  # no buffer: each process counts its own tokens
        self.up = GroupedLinear(experts, width, s.hidden)
        self.down = GroupedLinear(experts, s.hidden, width)
        self.enter = linear(dim, width) if s.latent else None
        self.leave = linear(width, dim) if s.latent else None
        self.shared = MLP(dim, s.shared) if s.shared else None

    @torch.no_grad()
    def draw(self, std: float, out_std: float, generator: torch.Generator) -> None:
        """Sets all weights: N(0, std^2), and N(0, out_std^2) of what adds to the residual
        stream."""
        draw_normal(self.router, std, generator)
        draw_normal(self.up.weight, std, generator)
        draw_normal(self.down.weight, out_std if self.leave is None else std, generator)
        if self.enter is not None and self.leave is not None:
            draw_normal(self.enter.weight, std, generator)
            draw_normal(self.leave.weight, out_std, generator)
        if self.shared is not None:
            self.shared.draw(std, out_std, generator)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, length, dim), and so the result."""
        return self._result(x)[0]

    def mix(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, length, dim). Returns: the same of the results, and the balance loss."""
        y, routes = self._result(x)
        return y, balance(routes, x.shape[0])

    def _result(self, x: Tensor) -> tuple[Tensor, Routes]:
        flat = x.flatten(0, 1)
        routes = self.route(flat)
        inner = flat if self.enter is None else self.enter(flat)
        y = self._experts(inner, routes)
        if self.leave is not None:
            y = self.leave(y)
        if self.shared is not None:
            y = y + self.shared(flat)
        return y.view(x.shape), routes

    def route(self, x: Tensor) -> Routes:
        """x: (tokens, dim). In float32, whatever the rest is in."""
        with torch.autocast(x.device.type, enabled=False):
            logits = functional.linear(wide(x), self.router)
        sigmoid = self.settings.score == "sigmoid"
        scores = logits.sigmoid() if sigmoid else logits.softmax(-1)  # Eq. (15)
        chosen = (scores.detach() + self.bias).topk(self.sizes.active, sorted=False).indices
        weights = scores.gather(1, chosen)  # Eq. (16): without the bias
        if sigmoid:
            weights = weights / (weights.sum(-1, keepdim=True) + _TINY)  # Eq. (13)
        return Routes(chosen, self.settings.scaling * weights, scores)

    def _experts(self, x: Tensor, routes: Routes) -> Tensor:
        """Weighted sum of the results of each row's experts. x: (tokens, width), and so they."""
        tokens, active = routes.experts.shape
        weights = routes.weights[:, None].to(x.dtype)
        if tokens * active <= self.sizes.experts and self.up.plain and self.down.plain:
            hidden = squared_relu(self.up.each(x[:, None], routes.experts))
            return (weights @ self.down.each(hidden, routes.experts)).squeeze(1)
        flat = routes.experts.flatten()
        order = flat.argsort(stable=True)
        counts = flat.new_zeros(self.sizes.experts).scatter_add_(0, flat, torch.ones_like(flat))
        if self.training and torch.is_grad_enabled():
            self.load = self.load.to(counts.device) + counts
        # a row for each of its experts, then in their order: a permutation, whose gradient adds
        # in no order of its own
        rows = x[:, None].expand(-1, active, -1).flatten(0, 1).index_select(0, order)
        y: Tensor = self.down(squared_relu(self.up(rows, counts)), counts)
        y = y.index_select(0, order.argsort()).view(tokens, active, -1)
        return (weights.to(y.dtype) @ y).squeeze(1)

    @torch.no_grad()
    def after_step(self) -> None:
        """Loss-free balancing: bias += rate sign(mean load - load)."""
        load = self.load.to(self.bias.device, torch.float32)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(load)
        self.bias += self.settings.bias_rate * (load.mean() - load).sign()
        self.load = torch.zeros_like(load)

    def flops(self, length: int) -> int:
        """Multiplications with an addition a token, forward."""
        return sum(p.numel() for p in self.parameters()) - self.idle()

    def idle(self) -> int:
        """Parameters that a token does not meet."""
        experts, active, _ = self.sizes
        each = (self.up.weight.numel() + self.down.weight.numel()) // experts
        return (experts - active) * each


class MLP(nn.Module):
    """A dense layer of two matrices with the squared ReLU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = linear(dim, hidden)
        self.down = linear(hidden, dim)

    def draw(self, std: float, out_std: float, generator: torch.Generator) -> None:
        """Sets both weights: N(0, std^2) and N(0, out_std^2)."""
        draw_normal(self.up.weight, std, generator)
        draw_normal(self.down.weight, out_std, generator)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., dim), and so the result."""
        y: Tensor = self.down(squared_relu(self.up(x)))
        return y

    def flops(self, length: int) -> int:
        """Multiplications with an addition a token, forward."""
        return sum(p.numel() for p in self.parameters())


def squared_relu(x: Tensor) -> Tensor:
    """max(0, x)^2."""
    return functional.relu(x).square()


def balance(routes: Routes, batch: int) -> Tensor:
    """Eq. (17)-(20): sum over experts of f P, mean over the sequences; 1 where each expert has the
    same share f of the choices or the same share P of the scores."""
    experts = routes.scores.shape[1]
    chosen = routes.experts.view(batch, -1)
    counts = routes.scores.new_zeros(batch, experts)
    counts.scatter_add_(1, chosen, counts.new_ones(()).expand_as(chosen))
    f = counts * (experts / chosen.shape[1])  # Eq. (18)
    scores = routes.scores / (routes.scores.sum(-1, keepdim=True) + _TINY)  # Eq. (19)
    P = scores.view(batch, -1, experts).mean(1)  # Eq. (20)
    return (f * P).sum(-1).mean()

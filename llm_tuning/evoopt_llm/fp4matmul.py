"""The three matrix products of a linear layer, forward and backward, of four-bit operands.

    Fprop  y  = Q(x) Q(W)^T            reduced along the inputs
    Dgrad  dx = Q(dy) Q(W)             along the outputs
    Wgrad  dW = Q(dy H)^T Q(x H)       along the tokens; H a random Hadamard transform

Each operand is rounded along the axis that its product reduces, so that x and W are rounded twice,
once for each of their products. The gradient passes the rounding as if it were the identity.

All is emulated: operands are exactly those of the format, products are added up in float32. Axes
that are no multiple of a block are padded with zeros, which change neither scales nor sums.

Cost: beside the products about ten passes over x, W and dy, twice each; on a CPU a step of a small
model takes three to five times as long (reports/2026-11-24-nvfp4-format). torch.compile makes it no
faster: it compiles anew at each step, until it gives up.

Source: NVIDIA, Pretraining large language models with NVFP4, 2025, arXiv:2509.25149 (which
operand is rounded how).
Differences from the source: none of the arithmetic of the hardware within a product is emulated.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from evoopt_llm import fourbit, hadamard
from evoopt_llm.fourbit import BlockPolicy, Draw, Rounded, Statistics

Operand = Literal["input", "weight", "gradient"]

# roles, as statistics name them; their places number the draws
ROLES = ("fprop_input", "fprop_weight", "dgrad_gradient", "dgrad_weight", "wgrad_gradient",
         "wgrad_input")  # fmt: skip


@dataclass(slots=True)
class Clock:
    """Where the training is; one for all layers of a model, and set by `fp4linear.set_step`.

    Attributes:
        seed: of the run. switch_at: share of the training from which Fprop, and with switch_all the
            other two, return to high precision; None for never.
        step, part: of the batch at hand. forward, backward: whether these products are in four bits
            now. recording: whether statistics are gathered.
    """

    seed: int
    switch_at: float | None = None
    switch_all: bool = True
    step: int = 0
    part: int = 0
    forward: bool = True
    backward: bool = True
    recording: bool = False


class Recipe(NamedTuple):
    """How the operands of a layer are rounded.

    Attributes:
        policies: of each operand. stochastic: the operands that are rounded stochastically.
        transformed: the products whose operands are transformed first. size: of the transform.
        fresh_signs: whether each step draws other signs.
    """

    policies: dict[Operand, BlockPolicy]
    stochastic: frozenset[Operand]
    transformed: frozenset[str]
    size: int
    fresh_signs: bool


@dataclass(slots=True)
class Multiplier:
    """x W^T in four bits, for one layer; it may be called with several W in a step.

    Attributes:
        recipe: of rounding. clock: shared with all layers. layer: number of this one.
        tallies: of the operands since recording began, by role. noise: of dW, likewise.
    """

    recipe: Recipe
    clock: Clock
    layer: int
    tallies: dict[str, Tensor] = field(default_factory=dict)
    noise: list[Tensor] = field(default_factory=list)
    _calls: int = 0
    _at: tuple[int, int] = (-1, -1)

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """x: (..., in), weight: (out, in). Returns: (..., out), of the dtype of `linear`."""
        clock = self.clock
        if not x.numel() or not (clock.forward or clock.backward):
            return functional.linear(x, weight)
        y: Tensor = _Linear.apply(x, weight, self, self._next_call())  # type: ignore[no-untyped-call]
        return y

    def _next_call(self) -> int:
        """Number of this call within the step and part."""
        at = (self.clock.step, self.clock.part)
        self._calls = self._calls + 1 if at == self._at else 0
        self._at = at
        return self._calls

    def product(self, a: Tensor, b: Tensor, roles: tuple[str, str], call: int) -> Tensor:
        """Q(a) Q(b)^T.

        Args:
            a, b: (rows, n), (columns, n), of which n is reduced.
            roles: of a and b. call: of the layer.

        Returns: (rows, columns) float32.
        """
        name = roles[0].partition("_")[0]
        H = self._matrix(a.device) if name in self.recipe.transformed else None
        Qa, Qb = (self._rounded(x, role, H, call) for x, role in zip((a, b), roles, strict=True))
        y = _product(Qa, Qb)[: len(a), : len(b)]
        return y.mul_(_column(Qa.tensor_scale)).mul_(_column(Qb.tensor_scale).mT)

    def _matrix(self, device: torch.device) -> Tensor:
        """Of the Hadamard transform of this step."""
        recipe, clock = self.recipe, self.clock
        seed = clock.seed if recipe.fresh_signs else None
        return _hadamard(recipe.size, seed, clock.step if recipe.fresh_signs else 0).to(device)

    def _rounded(self, x: Tensor, role: str, H: Tensor | None, call: int) -> Rounded:
        """x: (rows, n) transformed, padded and rounded."""
        operand: Any = role.partition("_")[2]
        policy = self.recipe.policies[operand]
        size = policy.block if H is None else max(policy.block, len(H))
        x = _padded(x, policy.block if policy.two_d else 1, size)
        if H is not None:
            x = hadamard.transform(x.float(), H)
        draw = None
        if operand in self.recipe.stochastic:
            clock, number = self.clock, ROLES.index(role)
            draw = Draw(clock.seed, clock.step, clock.part, self.layer, number, call)
        rounded = policy.rounded(x, draw)
        if self.clock.recording:
            sums = fourbit.tally(x, rounded, policy.axes)
            self.tallies[role] = self.tallies.get(role, 0) + sums
        return rounded

    def statistics(self) -> dict[str, Statistics]:
        """Of each role that was recorded."""
        return {
            role: fourbit.statistics(self.tallies[role]) for role in ROLES if role in self.tallies
        }

    def gradient_to_noise(self) -> float | None:
        """|dW| / |error of dW| of what was recorded; None without any."""
        if not self.noise:
            return None
        signal, error = torch.stack(self.noise).sum(0).sqrt().tolist()
        return signal / error if error else float("inf")


class _Linear(torch.autograd.Function):
    """y = x W^T; each product in four bits or not as the clock says when it is computed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: Multiplier, call: int) -> Tensor:
        """x: (..., in), weight: (out, in). Returns: (..., out)."""
        ctx.save_for_backward(x, weight)
        ctx.layer, ctx.call = layer, call
        if not layer.clock.forward:
            return functional.linear(x, weight)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            y = layer.product(x.flatten(0, -2), weight, ("fprop_input", "fprop_weight"), call)
        return y.to(dtype).reshape(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """gradients: one, (..., out). Returns: dx and dW, of the dtypes of x and W."""
        x, weight = ctx.saved_tensors
        layer, call, (dy,) = ctx.layer, ctx.call, gradients
        flat_x, flat_dy = x.flatten(0, -2), dy.flatten(0, -2)
        dx = dW = None
        with torch.autocast(x.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                dx = _dgrad(layer, flat_dy, weight, call).to(x.dtype).reshape(x.shape)
            if ctx.needs_input_grad[1]:
                dW = _wgrad(layer, flat_dy, flat_x, call).to(weight.dtype)
        return dx, dW, None, None


def _dgrad(layer: Multiplier, dy: Tensor, weight: Tensor, call: int) -> Tensor:
    """dx = dy W. dy: (tokens, out). Returns: (tokens, in)."""
    if not layer.clock.backward:
        return dy @ weight.to(dy.dtype)
    return layer.product(dy, weight.T, ("dgrad_gradient", "dgrad_weight"), call)


def _wgrad(layer: Multiplier, dy: Tensor, x: Tensor, call: int) -> Tensor:
    """dW = dy^T x. dy: (tokens, out), x: (tokens, in). Returns: (out, in)."""
    if not layer.clock.backward:
        return dy.T @ x.to(dy.dtype)
    dW = layer.product(dy.T, x.T, ("wgrad_gradient", "wgrad_input"), call)
    if layer.clock.recording:
        exact = dy.T.float() @ x.float()
        layer.noise.append(torch.stack((exact.square().sum(), (exact - dW).square().sum())))
    return dW


def _product(a: Rounded, b: Rounded) -> Tensor:
    """(rows, columns) float32 of the operands without their tensor scales.

    On a GPU in bfloat16, which holds q S exactly where S has at most four significant bits, added
    up in float32: its tensor cores take no float32 as it is.
    """
    x, y = a.unscaled_(), b.unscaled_()
    if x.is_cuda:
        return torch.mm(x.bfloat16(), y.bfloat16().T, out_dtype=torch.float32)
    return x @ y.T


def _column(scale: Tensor) -> Tensor:
    """(1, 1), or (rows, 1) where each row has its own."""
    return scale.reshape(-1, 1)


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """With zeros up to multiples. x: (rows, n)."""
    more_rows, more = -x.shape[0] % rows, -x.shape[1] % columns
    return functional.pad(x, (0, more, 0, more_rows)) if more or more_rows else x


@functools.lru_cache(maxsize=4)
def _hadamard(size: int, seed: int | None, number: int) -> Tensor:
    """(size, size), the last ones kept."""
    return hadamard.matrix(size, hadamard.signs(size, seed, number))

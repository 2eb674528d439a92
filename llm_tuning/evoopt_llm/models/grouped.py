"""Products of rows with one of several matrices: each row with that of its expert.

When: a mixture of experts (`moe`). Cost: one call for all experts where `torch` has a kernel
(`_has_kernel`), else one a matrix.
Source: `torch.nn.functional.grouped_mm`, which knows neither autocast nor every dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Multiply = Callable[[Tensor, Tensor], Tensor]  # (rows, in), (out, in) -> (rows, out)

_ALIGNED = 16  # bytes that a row must be a multiple of in `grouped_mm`


class GroupedLinear(nn.Module):
    """A matrix for each of several experts.

    Attributes:
        weight: (experts, out, in).
        multiply: the product with one of them; a precision policy may put another one here.
    """

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        self.multiply: Multiply = functional.linear

    @property
    def plain(self) -> bool:
        """Whether products are taken as they are, without gradients and autocast: `each` will
        do."""
        cast = torch.is_autocast_enabled(self.weight.device.type)
        return self.multiply is functional.linear and not (torch.is_grad_enabled() or cast)

    def each(self, x: Tensor, experts: Tensor) -> Tensor:
        """For the few rows of generation, which copying their matrices costs less than sorting.

        Args:
            x: (tokens, active or 1, in). experts: (tokens, active) their numbers.

        Returns: (tokens, active, out).
        """
        return (self.weight[experts] @ x[..., None]).squeeze(-1)

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """Rows in the order of their experts.

        Args:
            x: (rows, in), the first counts[0] rows for expert 0, and so on.
            counts: (experts,) int64, their sum is rows.

        Returns: (rows, out).
        """
        rows, weight = self._in_autocast(x)
        if self.multiply is functional.linear and _has_kernel(rows, weight):
            ends = counts.cumsum(0).to(torch.int32)
            return functional.grouped_mm(rows, weight.mT, offs=ends)
        parts = zip(torch.split(x, counts.tolist()), self.weight.unbind(), strict=True)
        return torch.cat([self.multiply(part, w) for part, w in parts if len(part)])

    def _in_autocast(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x and the weight as `torch.autocast`, which does not know `grouped_mm`, would have
        them."""
        if not torch.is_autocast_enabled(x.device.type):
            return x, self.weight
        dtype = torch.get_autocast_dtype(x.device.type)
        return x.to(dtype), self.weight.to(dtype)


def _has_kernel(x: Tensor, weight: Tensor) -> bool:
    """Whether `grouped_mm` takes them: one call for all experts, and no wait for their counts."""
    single = not x.is_cuda and not torch.compiler.is_compiling()  # float32: on the CPU, uncompiled
    fits = x.dtype == torch.bfloat16 or (single and x.dtype == torch.float32)
    return (
        fits and len(x) > 0 and not any(n * x.element_size() % _ALIGNED for n in weight.shape[1:])
    )

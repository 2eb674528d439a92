"""Numbers of a few bits: which ones a format holds, and rounding to them by arithmetic.

When: emulating formats that the machine at hand does not compute in. When not: storage; what is
rounded here stays float32.
Cost: about seven passes over the tensor, none of them a table or a search.
Source: OCP Microscaling Formats (MX) v1.0, 2023, sections 5.3 and 5.4 (E2M1, E8M0); OCP 8-bit
Floating Point (OFP8) v1.0, 2023, table 1 (E4M3, E5M2).
Differences from the source: UE5M3, E5M2's exponents with the mantissa of E4M3 and no sign, is a
reconstruction from its name; E8M0 has no zero, and what is below its least number becomes that.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Rounding = Literal["nearest", "up", "down"]

_EXPONENT = 0x7F800000  # the bits of a float32 that hold its exponent
_MANTISSA_BITS = 23  # of a float32


class Format(NamedTuple):
    """A floating-point format.

    Attributes:
        mantissa_bits: stored ones. least_exponent: of the normal numbers; below, steps stay.
        largest: finite number. least: positive number that zero is replaced by, or 0.
        bits: of storage.
    """

    mantissa_bits: int
    least_exponent: int
    largest: float
    least: float
    bits: int


E2M1 = Format(1, 0, 6.0, 0.0, 4)  # 0, 0.5, 1, 1.5, 2, 3, 4, 6
E4M3 = Format(3, -6, 448.0, 0.0, 8)
E5M2 = Format(2, -14, 57344.0, 0.0, 8)
UE5M3 = Format(3, -14, 114688.0, 0.0, 8)
E8M0 = Format(0, -127, 2.0**127, 2.0**-127, 8)


def nearest_(x: Tensor, grid: Format) -> Tensor:
    """Rounds x in place to the nearest number, of two equally near ones to the even one.

    Args:
        x: (...) float32; NaN stays, what is beyond the largest number becomes that, a zero keeps
            its sign.
    """
    x.clamp_(-grid.largest, grid.largest)
    step = _steps(x, grid)
    return x.div_(step).round_().mul_(step)


def directed(x: Tensor, grid: Format, rounding: Rounding) -> Tensor:
    """x >= 0 rounded `nearest`, `up` or `down` to a number of the format, at least its least.

    Args:
        x: (...) float32 >= 0; NaN stays.
    """
    x = x.clamp(max=grid.largest)
    step = _steps(x, grid)
    in_steps = x / step
    if rounding == "nearest":
        in_steps.round_()
    elif rounding == "up":
        in_steps.ceil_()
    else:
        in_steps.floor_()
    return in_steps.mul_(step).clamp_(min=grid.least)


def stochastic_(x: Tensor, grid: Format, uniform: Tensor) -> Tensor:
    """Rounds x in place to one of its two neighbours, up with the probability of its place between
    them, so that the mean is x; numbers of the format stay.

    Args:
        x: (...) float32; NaN stays, what is beyond the largest number becomes that.
        uniform: (...) float32 numbers in [0, 1).
    """
    x.clamp_(-grid.largest, grid.largest)
    step = _steps(x, grid)
    low = x.div_(step).floor()
    x.sub_(low)  # place between the neighbours, exact
    up = torch.lt(uniform, x, out=x)
    return torch.add(low, up, out=x).mul_(step)


def _steps(x: Tensor, grid: Format) -> Tensor:
    """Distance of the format's numbers around x: a power of two."""
    bits = x.view(torch.int32).bitwise_and(_EXPONENT)
    bits.sub_(grid.mantissa_bits << _MANTISSA_BITS)
    least = struct.pack("<f", 2.0 ** (grid.least_exponent - grid.mantissa_bits))
    return bits.clamp_(min=int.from_bytes(least, "little")).view(torch.float32)

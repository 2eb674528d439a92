"""Random Hadamard transforms of successive groups of numbers: outliers spread over their group.

When: before numbers that share a scale are rounded, on both sides of a matrix product along its
reduction axis; the transforms cancel there. When not: before rounding that nothing undoes.
Cost: `size` multiplications and additions a number.

Source: NVIDIA, Pretraining large language models with NVFP4, 2025, arXiv:2509.25149:
H = diag(signs) H_d / sqrt(d), and the signs that NVIDIA's TransformerEngine takes for d = 16.
Differences from the source: other sizes draw their signs from a seed.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from evoopt import rng
from evoopt.errors import ConfigurationError

Size = Literal[4, 8, 16, 32, 64, 128]

SIZES = (4, 8, 16, 32, 64, 128)
SIGNS_16 = (1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1)  # TransformerEngine's
_PATH = (0x4841,)  # of the stream of signs


def signs(size: int, seed: int | None = None, number: int = 0) -> Tensor:
    """The random signs: (size,) float32 of 1 and -1.

    Args:
        size: of a group.
        seed, number: of the draw. Without a seed, the same signs for ever: those of
            TransformerEngine for 16, the draw of seed 0 for another size.
    """
    if seed is None and size == len(SIGNS_16):
        return torch.tensor(SIGNS_16, dtype=torch.float32)
    drawn = rng.uniforms(seed or 0, _PATH, number, 1, size)[0]
    return torch.tensor([1.0 if u < 0.5 else -1.0 for u in drawn.tolist()])


def matrix(size: int, signs: Tensor) -> Tensor:
    """diag(signs) H / sqrt(size), orthogonal: (size, size) float32. signs: (size,).

    Raises:
        ConfigurationError: the size is none of `SIZES`.
    """
    if size not in SIZES:
        raise ConfigurationError(f"hadamard.matrix(size=...) must be one of {SIZES}; got {size}")
    H = torch.ones(1, 1)
    while len(H) < size:
        H = torch.cat((torch.cat((H, H), 1), torch.cat((H, -H), 1)))  # Sylvester's construction
    return signs[:, None] * H / math.sqrt(size)


def transform(x: Tensor, matrix: Tensor) -> Tensor:
    """Each group of numbers along the last axis times the matrix.

    Args:
        x: (..., n). matrix: (size, size).

    Raises:
        ConfigurationError: n is no multiple of size.
    """
    size = len(matrix)
    if x.shape[-1] % size:
        raise ConfigurationError(
            f"hadamard.transform(x=...) must have a multiple of {size} numbers along its last axis;"
            f" got the shape {tuple(x.shape)}"
        )
    return (x.reshape(-1, size) @ matrix).reshape(x.shape)

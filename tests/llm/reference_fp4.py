"""NVFP4 and MXFP4 as their papers write them down, over casts of ml_dtypes; and the three products
of a linear layer, one block at a time."""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np

E2M1 = ml_dtypes.float4_e2m1fn
f32 = np.float32


class Oracle(NamedTuple):
    restored: np.ndarray  # as x, float32
    codes: np.ndarray  # as x, uint8 below 16
    scales: np.ndarray  # of the blocks, float32


def cut(x, block, two_d):
    """(blocks, numbers of one) and how to put them together again."""
    if not two_d:
        return x.reshape(-1, block), lambda rows: rows.reshape(x.shape)
    n, m = x.shape
    tiles = x.reshape(n // block, block, m // block, block).transpose(0, 2, 1, 3)

    def join(rows):
        return rows.reshape(tiles.shape).transpose(0, 2, 1, 3).reshape(x.shape)

    return tiles.reshape(-1, block * block), join


def elements(rows, S, s_dec):
    """(x e_b), saturated and cast to E2M1, with e_b = 1 / (S s_dec) at most the largest float."""
    with np.errstate(divide="ignore", over="ignore"):
        e = np.minimum(f32(1) / (S * s_dec), np.finfo(f32).max)
        return np.clip(rows * e[:, None], -6, 6).astype(E2M1)


def s_encode(x, bound):
    """6 bound / amax, 1 for zeros, at most the largest float."""
    amax = f32(np.abs(x).max())
    if amax == 0:
        return f32(1)
    with np.errstate(over="ignore"):
        return np.minimum(f32(f32(6 * bound) / amax), np.finfo(f32).max)


def e4m3(x):
    return np.minimum(x, f32(448)).astype(ml_dtypes.float8_e4m3fn).astype(f32)


def nvfp4(x, block=16, bound=448, two_d=False, scale=e4m3, four_six=None):
    """x: float32. scale: rounds the scales of blocks. four_six: the error to choose by."""
    rows, join = cut(x, block, two_d)
    s_enc = s_encode(x, bound)
    s_dec = f32(1) / s_enc
    wanted = np.abs(rows).max(1) * (s_enc * f32(1 / 6))
    S = scale(wanted)
    if four_six is not None:
        S4 = scale(f32(1.5) * wanted)
        errors = [
            four_six(elements(rows, s, s_dec).astype(f32) * s[:, None] * s_dec - rows)
            for s in (S4, S)
        ]
        S = np.where(errors[0] < errors[1], S4, S)
    return finished(rows, join, S, s_dec)


def mxfp4(x, block=32, rule="floor", two_d=False):
    """x: float32, no zero block. Scales by logarithms, exact where amax is no power of two times
    6."""
    rows, join = cut(x, block, two_d)
    amax = np.abs(rows).max(1).astype(np.float64)
    exponent = np.floor(np.log2(amax)) - 2 if rule == "floor" else np.ceil(np.log2(amax / 6))
    S = np.exp2(exponent).astype(ml_dtypes.float8_e8m0fnu).astype(f32)
    return finished(rows, join, S, f32(1))


def finished(rows, join, S, s_dec):
    q = elements(rows, S, s_dec)
    restored = q.astype(f32) * S[:, None] * s_dec
    return Oracle(join(restored), join(q.view(np.uint8) & 15), S)


def hadamard(x, signs):
    """Each group of len(signs) numbers of a row: multiplied by the signs, then by
    (-1)^(number of bits that i and j share) / sqrt(size)."""
    size = len(signs)
    H = np.array([[(-1) ** (i & j).bit_count() for j in range(size)] for i in range(size)])
    H = signs[:, None] * H / np.sqrt(size)
    y = np.zeros(x.shape)
    for start in range(0, x.shape[1], size):
        y[:, start : start + size] = x[:, start : start + size] @ H
    return y.astype(f32)


def padded(x, rows, columns):
    return np.pad(x, ((0, -x.shape[0] % rows), (0, -x.shape[1] % columns)))


def linear(x, W, dy, rht="off", signs=None, two_d=True):
    """y, dx and dW of x (tokens, in), W (out, in), dy (tokens, out), each operand rounded along the
    axis that its product reduces; in float64 but for the operands."""

    def product(a, b, name, square_b=False):
        """Q(a) Q(b)^T."""
        turned = rht == "all" or (rht == "wgrad" and name == "wgrad")
        rounded = []
        for operand, square in ((a, False), (b, square_b)):
            size = max(16, len(signs)) if turned else 16
            full = padded(np.ascontiguousarray(operand), 16 if square else 1, size)
            full = hadamard(full, signs) if turned else full
            rounded.append(nvfp4(full, two_d=square).restored.astype(np.float64)[: len(operand)])
        return rounded[0] @ rounded[1].T

    y = product(x, W, "fprop", two_d)
    dx = product(dy, W.T, "dgrad", two_d)
    dW = product(dy.T, x.T, "wgrad")
    return y, dx, dW

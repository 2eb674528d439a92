"""Windows of a corpus: the training windows of a step, the held-out windows, what xz makes of them.

A window has context + 1 bytes: the first `context` are read, the last `context` predicted. Training
goes through epochs. In each, the training part is cut into windows that predict every byte once,
from an offset that differs between epochs (but for less than two windows at its ends); they are
visited in an order that is a random permutation, given by a formula. Which window is the k-th
depends on k and the seed alone, so the step is the whole position: a resumed run needs nothing
else, and a batch is the same in one piece, in slices for the ranks, or in parts accumulated.
Cost: a batch costs the copying of its bytes, and memory for nothing else.

Source: the permutation is a Feistel network (M. Luby & C. Rackoff, How to construct pseudorandom
permutations from pseudorandom functions, SIAM J. Comput. 17(2), 1988, doi:10.1137/0217022), walked
along its cycle until it falls below n (J. Black & P. Rogaway, Ciphers with arbitrary finite
domains, CT-RSA 2002, doi:10.1007/3-540-45760-7_9). Its round function is the finalizer of
SplitMix64 (G. L. Steele, D. Lea & C. H. Flood, Fast splittable pseudorandom number generators,
OOPSLA 2014, doi:10.1145/2660193.2660195).
Differences from the source: eight rounds, as mixing, not secrecy, is asked for.
"""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt_llm.corpus import Corpus

Bytes = NDArray[np.uint8]
Array = NDArray[Any]

_ROUNDS = 8  # four suffice for secrecy where the halves are long; here they may be of one bit
_EPOCH = 0  # last number of the path of an epoch's stream
_XZ_PRESET = 9  # of `xz -9`: a dictionary of 64 MiB
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))  # SplitMix64, mix64variant13
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # the same
_KEY_SCALE = 2.0**53  # a uniform number of rng has as many bits


def train_windows(corpus: Corpus, step: int, batch: int, context: int, seed: int) -> Bytes:
    """The windows of one training step: those numbered step * batch, step * batch + 1, ...

    Args:
        corpus: whose training part is cut.
        step: 0 or more.
        batch: windows, over all ranks and accumulated parts.
        context: bytes that each window predicts.
        seed: of offsets and orders.

    Returns:
        (batch, context + 1), to be kept and written to.

    Raises:
        ConfigurationError: an argument is out of range, or the part is shorter than two windows.
    """
    _check_least("train_windows(step=...)", step, 0)
    _check_least("train_windows(batch=...)", batch, 1)
    count = windows_in_epoch(corpus, context)
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), count)
    starts = np.empty(batch, dtype=np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        rows = epochs == epoch
        starts[rows] = _starts(places[rows], count, context, seed, epoch)
    return _cut(corpus.train, starts, context)


def windows_in_epoch(corpus: Corpus, context: int) -> int:
    """How many windows an epoch has; context times as many bytes are predicted in it."""
    _check_least("train_windows(context=...)", context, 1)
    count = (len(corpus.train) - context) // context  # from any offset below `context`
    if count < 1:
        raise ConfigurationError(
            f"train_windows(context=...) must fit twice into the {len(corpus.train)} training "
            f"bytes of {corpus.name}; got {context}"
        )
    return count


def valid_windows(corpus: Corpus, context: int, count: int | None = None) -> Bytes:
    """Held-out windows, the same at each call, evenly spaced; no byte is predicted twice.

    Args:
        corpus: whose held-out part is cut, from its first byte.
        context: bytes that each window predicts.
        count: windows; None for all that there are.

    Returns:
        (count, context + 1), to be kept and written to.

    Raises:
        ConfigurationError: an argument is out of range, or the part has fewer windows.
    """
    _check_least("valid_windows(context=...)", context, 1)
    most = (len(corpus.valid) - 1) // context
    count = most if count is None else count
    if not 1 <= count <= most:
        raise ConfigurationError(
            f"valid_windows(count=...) must be 1 to {most}, as {corpus.name} holds out "
            f"{len(corpus.valid)} bytes and the context is {context}; got {count}"
        )
    return _cut(corpus.valid, np.arange(count) * most // count * context, context)


def compressed_bits_per_byte(valid: Bytes, before: Bytes | None = None) -> float:
    """What `xz -9` needs for the held-out bytes, its container included: the mark to beat.

    Args:
        valid: (n,) the bytes, n at least 1.
        before: (m,) bytes that the compressor may learn from, such as the training part; only what
            `valid` adds to them is counted. It looks back 64 MiB. None: it begins with nothing.

    Cost: about 1 s a MB; 12 bytes of memory a byte, at most 0.7 GB.
    """
    if before is None:
        return 8 * _compressed(valid) / len(valid)
    both = np.concatenate([before, valid])
    return 8 * (_compressed(both) - _compressed(before)) / len(valid)


def permuted(places: Array, count: int, keys: Array) -> Array:
    """Where a random permutation of 0, ..., count - 1 sends these places.

    Args:
        places: (k,) whole numbers below `count`.
        count: 1 or more, below 2^62.
        keys: (rounds,) uint64 that choose the permutation.
    """
    half = max(1, -(-(count - 1).bit_length() // 2))  # bits of each half: 4^half is count or more
    sent = np.asarray(places, dtype=np.uint64)
    sent = _feistel(sent, half, keys)
    while (outside := sent >= count).any():  # cycle walking: on average below four times
        sent[outside] = _feistel(sent[outside], half, keys)
    return np.asarray(sent, dtype=np.int64)


def _feistel(x: Array, half: int, keys: Array) -> Array:
    """A permutation of the numbers of 2 * half bits: (L, R) -> (R, L xor f(R)), once for a key."""
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = x >> shift, x & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    return np.asarray((left << shift) | right)


def _mixed(x: Array) -> Array:
    """The finalizer of SplitMix64: each bit of its argument changes each bit with probability
    about one half."""
    x = (x ^ (x >> _SHIFTS[0])) * _FACTORS[0]
    x = (x ^ (x >> _SHIFTS[1])) * _FACTORS[1]
    return np.asarray(x ^ (x >> _SHIFTS[2]))


def _starts(places: Array, count: int, context: int, seed: int, epoch: int) -> Array:
    """First byte of the windows that an epoch has in these places of its order."""
    drawn = rng.uniforms(seed, (_EPOCH,), epoch, 1, 1 + _ROUNDS)[0]
    keys = (drawn[1:] * _KEY_SCALE).astype(np.uint64)
    return int(drawn[0] * context) + context * permuted(places, count, keys)


def _cut(data: Bytes, starts: Array, context: int) -> Bytes:
    """A copy of the windows that begin at `starts`: (len(starts), context + 1)."""
    return sliding_window_view(np.asarray(data), context + 1)[starts]


def _compressed(data: Bytes) -> int:
    return len(lzma.compress(data.tobytes(), preset=_XZ_PRESET))


def _check_least(argument: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigurationError(f"{argument} must be at least {least}; got {value}")

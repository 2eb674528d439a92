"""Random numbers by counter: each row is a pure function of the arguments that name it.

The row of a candidate depends on seed, path, id and number of columns alone: not on how many rows
are drawn at a time, nor on what was drawn before, by whom, or where. So a resumed run, another
number of workers or a replay of the log meets the same points.

Generator: numpy's Philox4x64-10 (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3,
doi:10.1145/2063384.2063405) with numpy's ziggurat normals. The 128-bit key is a hash of purpose,
seed and path. Ids are drawn in blocks of about `_BLOCK` numbers, and the number of the block is the
third word of the 256-bit counter, whose lower half runs within it, so that two blocks never
overlap. The blocks drawn last are kept, per thread: a small generation costs a slice of one. A long
row may be drawn in parts, each by itself: the fourth word of the counter is the number of the part.

Normals in single precision come by the formula of G. E. P. Box & M. E. Muller (1958,
doi:10.1214/aoms/1177706645) from uniforms of 24 bits, in a third of the time of the ziggurat; none
of them is longer than 5.8.
"""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Path = tuple[int, ...]
_Name = tuple[int, Path, str, int, type[np.floating[Any]], int]  # of a stream, as `_rows` makes it

GENERATOR = "numpy-philox4x64-ziggurat-blocks1024"
SEED_LIMIT = 2**64
_BLOCK = 1024  # numbers, about 10 us to draw; a longer row is a block of its own
_BLOCKS = 8  # kept: a composition draws from the streams of its parts in turn
_KEPT = 2**16  # numbers of a draw of several blocks that is kept: 0.5 MB
_BUFFER_EMPTY = 4  # Philox4x64 hands out four words a block; 4 means that none is left


class _Stream(threading.local):
    """This thread's bit generator, and the blocks drawn last.

    Attributes:
        parts: the bit generator, its Generator, its state, and in that the counter and the key.
        blocks: the blocks drawn last, by what names them.
        joined: the same of the draw of several blocks that was made last.
    """

    def __init__(self) -> None:
        bits = np.random.Philox(0)
        state = bits.state
        state["buffer_pos"] = _BUFFER_EMPTY
        state["has_uint32"] = 0
        words = state["state"]
        words["counter"][:] = 0
        self.parts = (bits, np.random.Generator(bits), state, words["counter"], words["key"])
        self.blocks: dict[object, Array] = {}
        self.joined: tuple[object, Array] = (None, np.empty((0, 0)))


_stream = _Stream()


@functools.lru_cache(maxsize=4096)
def _key(seed: int, path: Path, purpose: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{purpose}|{seed}|{path}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _at(seed: int, path: Path, purpose: str, block: int, part: int = 0) -> np.random.Generator:
    """This thread's generator, placed at the start of a block. It costs about 1 us."""
    bits, generator, state, counter, key = _stream.parts
    key[0], key[1] = _key(seed, path, purpose)
    counter[2] = block
    counter[3] = part
    bits.state = state
    return generator


def normals(
    seed: int,
    path: Path,
    first_id: int,
    rows: int,
    cols: int,
    *,
    dtype: type[np.floating[Any]] = np.float64,
    part: int = 0,
) -> Array:
    """Standard normal numbers of the candidates first_id, first_id + 1, ...

    Args:
        seed, path: name the stream.
        first_id, rows: which candidates.
        cols: numbers of each.
        dtype: np.float64 or np.float32; the two are different draws.
        part: of the row, where a caller draws a long row in parts, each with its own `cols`.

    Returns: (rows, cols), not to be written to.
    """
    return _rows("normals", seed, path, first_id, rows, cols, dtype, part)


def uniforms(seed: int, path: Path, first_id: int, rows: int, cols: int) -> Array:
    """Uniform numbers in [0, 1), otherwise as `normals`."""
    return _rows("uniforms", seed, path, first_id, rows, cols, np.float64, 0)


def _rows(
    purpose: str,
    seed: int,
    path: Path,
    first_id: int,
    rows: int,
    cols: int,
    dtype: type[np.floating[Any]],
    part: int,
) -> Array:
    """Rows of the blocks that hold these ids."""
    size = _BLOCK // cols or 1
    number, start = divmod(first_id, size)
    end = start + rows
    stream = (seed, path, purpose, cols, dtype, part)
    if end <= size:
        return _block(stream, number, size)[start:end]
    name = (stream, first_id, rows)
    drawn, joined = _stream.joined
    if drawn == name:
        return joined
    parts = [_block(stream, number, size)[start:]]
    while (end := end - size) > 0:
        number += 1
        parts.append(_block(stream, number, size)[:end])
    joined = np.concatenate(parts)
    if joined.size <= _KEPT:
        joined.flags.writeable = False
        _stream.joined = (name, joined)  # one assignment: an interrupt cannot come between
    return joined


def _block(stream: _Name, number: int, size: int) -> Array:
    """All rows of one block: (size, cols)."""
    name = (stream, number)
    blocks = _stream.blocks
    block = blocks.get(name)
    if block is None:
        seed, path, purpose, cols, dtype, part = stream
        generator = _at(seed, path, purpose, number, part)
        if purpose == "uniforms":
            block = generator.random((size, cols))
        elif dtype is np.float32:
            block = _box_muller(generator, size * cols).reshape(size, cols)
        else:
            block = generator.standard_normal((size, cols))
        block.flags.writeable = False
        if block.size > _BLOCK:  # of one long row: no other is kept beside it
            blocks.clear()
        while len(blocks) >= _BLOCKS:
            del blocks[next(iter(blocks))]
        blocks[name] = block
    return block


def _box_muller(generator: np.random.Generator, count: int) -> Array:
    """Normal numbers in single precision: (count,)."""
    half = (count + 1) // 2
    uniform = generator.random(2 * half, dtype=np.float32)
    length, angle = 1 - uniform[:half], uniform[half:]  # length in (0, 1]: its logarithm is finite
    np.log(length, out=length)
    length *= -2
    np.sqrt(length, out=length)
    angle *= np.float32(2 * math.pi)
    normal = np.concatenate([np.cos(angle), np.sin(angle)])
    normal[:half] *= length
    normal[half:] *= length
    return normal[:count]


def evaluation_seed(seed: int, evaluation_id: int) -> int:
    """The seed in [0, 2**63) that a stochastic objective gets for this evaluation."""
    return int(_at(seed, (), "evaluation", evaluation_id).integers(0, 2**63))


def fresh_seed() -> int:
    """A seed in [0, 2**32) from the operating system, for a run that was given none."""
    import secrets

    return secrets.randbits(32)

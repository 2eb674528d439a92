"""Points that are drawn when they are looked at, so that nobody has to hold popsize * dim numbers.

A candidate of an isotropic distribution is x = mean + sigma z, and z a function of its id: `Drawn`
keeps mean, sigma and ids, and stands for the (k, dim) array of the points wherever rows travel.
Blocks of rows become arrays (`np.asarray(X[rows])`) where they are evaluated, and are forgotten.

Row by row, and by additions and multiplications alone: a point has the same bits whoever makes it,
with however many others, and whatever BLAS is there.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evoopt import rng

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Path = tuple[int, ...]

BLOCK = 1 << 17  # numbers made at a time, 1 MB: they stay in the cache of the processor
_SHORT = 512  # numbers: rows up to this length are drawn several at a time (`rng`),
_SPREAD = 4  # so that of ids that are this far apart all in between may be drawn, too
_WITNESS = 16  # numbers of the first row's stream in a checksum: another generator gives others


class Noise:
    """z ~ N(0, I) of each candidate, by its id.

    Attributes:
        seed, path: name the stream of random numbers.
        mirrored: candidates 2i and 2i + 1 have z and -z.
    """

    __slots__ = ("mirrored", "path", "seed")

    def __init__(self, seed: int, path: Path, mirrored: bool) -> None:
        self.seed = seed
        self.path = path
        self.mirrored = mirrored

    def rows(self, ids: Ids, dim: int) -> Array:
        """(k, dim), not to be written to; best of all where the ids are ascending."""
        if len(ids) == 0:
            return np.empty((0, dim))
        drawn = ids // 2 if self.mirrored else ids
        first, last = int(drawn[0]), int(drawn[-1])
        most = _SPREAD * len(ids) if dim <= _SHORT else len(ids)
        if 0 <= last - first < most and (drawn[1:] >= drawn[:-1]).all():
            Z = rng.normals(self.seed, self.path, first, last - first + 1, dim)
            if last - first + 1 != len(ids) or self.mirrored:
                Z = Z[drawn - first]
        else:
            parts = [rng.normals(self.seed, self.path, i, 1, dim) for i in drawn.tolist()]
            Z = np.concatenate(parts)
        return Z * np.where(ids % 2, -1.0, 1.0)[:, None] if self.mirrored else Z


class Drawn(np.lib.mixins.NDArrayOperatorsMixin):
    """(k, dim) points that are made when they are looked at; where an array is wanted, it is one.

    A row that no distribution drew is one of step size 0 around itself.
    """

    __slots__ = ("_centres", "_ids", "_noise", "_sigmas", "_which")

    ndim = 2
    dtype = np.dtype(np.float64)

    def __init__(
        self,
        centres: Sequence[Array],
        sigmas: Sequence[float],
        which: NDArray[np.intp],
        ids: Ids,
        noise: Noise,
    ) -> None:
        """centres: (dim,) each, with their sigmas; which: (k,) centre of each row; ids: (k,)."""
        self._centres = tuple(centres)
        self._sigmas = tuple(sigmas)
        self._which = which
        self._ids = ids
        self._noise = noise

    @staticmethod
    def around(mean: Array, sigma: float, ids: Ids, noise: Noise) -> Drawn:
        """mean + sigma z for each of the ids. mean: (dim,)."""
        return Drawn([mean], [sigma], np.zeros(len(ids), dtype=np.intp), ids, noise)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def shape(self) -> tuple[int, int]:
        """(k, dim)."""
        return len(self._ids), len(self._centres[0])

    def __getitem__(self, rows: Any) -> Any:
        """One row as an array (dim,), or several as `Drawn`."""
        if isinstance(rows, int | np.integer):
            row = np.arange(len(self))[rows]  # IndexError where there is none
            return np.asarray(self._rows(np.array([row])))[0]
        return self._rows(rows)

    def __iter__(self) -> Iterator[Array]:
        return (self[row] for row in range(len(self)))

    def _rows(self, rows: Any) -> Drawn:
        which, centres, sigmas = self._which[rows], self._centres, self._sigmas
        if len(centres) > 1:  # those that no row needs are let go
            used, which = np.unique(which, return_inverse=True)
            kept = used.tolist() or [0]
            centres, sigmas = tuple(centres[i] for i in kept), tuple(sigmas[i] for i in kept)
        return Drawn(centres, sigmas, which, self._ids[rows], self._noise)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All points: k * dim numbers."""
        if copy is False:
            raise ValueError("points that are drawn have to be made")
        X = np.empty(self.shape)
        step = max(1, BLOCK // max(1, X.shape[1]))
        for start in range(0, len(X), step):
            self._make(X[start : start + step], slice(start, start + step))
        return X if dtype is None else X.astype(dtype, copy=False)

    def _make(self, X: Array, rows: slice) -> None:
        """Writes the points of some rows into X."""
        which, ids = self._which[rows], self._ids[rows]
        if len(self._centres) == 1 and self._sigmas[0] != 0:  # almost always
            np.multiply(self._noise.rows(ids, X.shape[1]), self._sigmas[0], out=X)
            X += self._centres[0]  # ~ N(mean, sigma^2 I)
            return
        for i, (centre, sigma) in enumerate(zip(self._centres, self._sigmas, strict=True)):
            mine = which == i
            if sigma == 0:
                X[mine] = centre
            else:
                X[mine] = self._noise.rows(ids[mine], X.shape[1]) * sigma + centre

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **how: Any) -> Any:
        """Arithmetic and comparison, with arrays of the points."""
        made = [np.asarray(x) if isinstance(x, Drawn) else x for x in inputs]
        return getattr(ufunc, method)(*made, **how)

    def tobytes(self) -> bytes:
        """Of all points."""
        return np.asarray(self).tobytes()

    def checksum(self) -> int:
        """CRC-32 of all that makes the points, and of a few numbers of the first row's stream."""
        crc = zlib.crc32(f"{self._noise.seed} {self._noise.path} {self._noise.mirrored}".encode())
        for centre, sigma in zip(self._centres, self._sigmas, strict=True):
            crc = zlib.crc32(np.ascontiguousarray(centre).data, crc)
            crc = zlib.crc32(np.float64(sigma).tobytes(), crc)
        crc = zlib.crc32(self._ids.tobytes(), zlib.crc32(self._which.tobytes(), crc))
        if len(self):
            first = np.maximum(self._ids[:1], 0)
            crc = zlib.crc32(self._noise.rows(first, _WITNESS).tobytes(), crc)
        return crc

    def __pack__(self) -> dict[str, Any]:
        return {
            "centres": list(self._centres),
            "sigmas": list(self._sigmas),
            "which": np.ascontiguousarray(self._which),
            "ids": np.ascontiguousarray(self._ids),
            "noise": (self._noise.seed, self._noise.path, self._noise.mirrored),
        }

    @classmethod
    def __unpack__(cls, plain: Any) -> Drawn:
        centres, sigmas = plain["centres"], plain["sigmas"]
        return cls(centres, sigmas, plain["which"], plain["ids"], Noise(*plain["noise"]))


def is_drawn(X: Any) -> bool:
    """Whether these points are made when they are looked at."""
    return isinstance(X, Drawn)


def checksum(X: Any) -> int:
    """CRC-32 of points, or of what they are drawn from. X: (k, dim)."""
    return X.checksum() if isinstance(X, Drawn) else zlib.crc32(X.tobytes())


def noise_of(X: Any) -> Array:
    """z of rows that a distribution has drawn. X: (k, dim) `Drawn`. Returns: (k, dim)."""
    assert isinstance(X, Drawn)
    return X._noise.rows(X._ids, X.shape[1])


def as_array(X: Drawn) -> Array:
    """X, where the type checker has to take it for what it stands for."""
    return cast("Array", X)


def stacked(blocks: Sequence[Any]) -> Any:
    """The rows of all blocks, arrays or `Drawn`, in order; `Drawn` if one of them is."""
    drawn = next((X for X in blocks if isinstance(X, Drawn)), None)
    if drawn is None:
        return np.concatenate(blocks)
    centres: list[Array] = []
    sigmas: list[float] = []
    which, ids = [], []
    for X in blocks:
        parts = X if isinstance(X, Drawn) else _fixed(X, drawn._noise)
        place = []
        for centre, sigma in zip(parts._centres, parts._sigmas, strict=True):
            same = (i for i, c in enumerate(centres) if c is centre and sigmas[i] == sigma)
            at = next(same, len(centres))
            if at == len(centres):
                centres.append(centre)
                sigmas.append(sigma)
            place.append(at)
        which.append(np.array(place, dtype=np.intp)[parts._which])
        ids.append(parts._ids)
    return Drawn(centres, sigmas, np.concatenate(which), np.concatenate(ids), drawn._noise)


def _fixed(X: Array, noise: Noise) -> Drawn:
    """Rows that are kept as they are. X: (k, dim)."""
    k = len(X)
    rows = np.arange(k)
    return Drawn(list(X.copy()), [0.0] * k, rows, np.full(k, -1), noise)

"""Many reflections of a vector at once, d <- (1 - c_i) d + c_i (m_i . d) m_i for i = 1..m.

All d lie in the span of z, where they begin, and of the directions m_i, the rows of M. With
P = Z M^T, G = M M^T, r_i = c_i / (1 - c_i) and L the part of G below its diagonal,

    D = alpha (Z + P K M),  alpha = (1 - c_1) ... (1 - c_m),  (I - diag(r) L) K^T = diag(r),

so that two matrix products do what m sweeps over each vector would; and by the formula of Woodbury
the reflections are undone by

    Z = D / alpha - U M,  (I + diag(r) (G - L)) U^T = diag(r) M D^T / alpha.

Not in a paper; the sequential form is the oracle of its test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reflections:
    """Rates of m reflections, of which the first `used` are done.

    Attributes:
        rates: (m,) r = c / (1 - c).
        below: (m, m) -r_i below the diagonal, 0 elsewhere.
        alphas: (m + 1,) alpha, by `used`.
    """

    rates: Array
    below: Array
    alphas: tuple[float, ...]

    @staticmethod
    def of(c: Array) -> Reflections:
        """c: (m,) in (0, 1)."""
        rates = c / (1 - c)
        below = -np.tril(np.tile(rates[:, None], len(c)), -1)
        return Reflections(rates, below, (1.0, *np.cumprod(1 - c).tolist()))

    def matrix(self, G: Array, used: int) -> Array:
        """K. G: (m, m). Returns: (used, used)."""
        A = self.below[:used, :used] * G[:used, :used]
        A.flat[:: used + 1] = 1.0  # I - diag(r) L
        return np.ascontiguousarray(np.linalg.solve(A, np.diag(self.rates[:used])).T)

    def undone(self, G: Array, M: Array, D: Array) -> Array:
        """Z. G: (m, m); M: (used, n); D: (k, n). Returns: (k, n)."""
        used = len(M)
        rates, Z = self.rates[:used, None], D / self.alphas[used]
        A = np.eye(used) + rates * np.triu(G[:used, :used])
        return np.asarray(Z - np.linalg.solve(A, rates * M.dot(Z.T)).T.dot(M), dtype=np.float64)

    def axes(self, G: Array, K: Array) -> Array:
        """Lengths of the axes that a unit sphere is mapped to, ascending: those in the span of the
        directions, and alpha for all that is orthogonal to it. Returns: (m + 1,)."""
        used = len(K)
        values, B = np.linalg.eigh(G[:used, :used])
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * B.T  # M in an orthonormal basis
        inside = np.linalg.svd(np.eye(used) + root.dot(K.T).dot(root.T), compute_uv=False)
        rest = np.ones(len(G) + 1 - used)
        return np.sort(self.alphas[used] * np.concatenate([inside, rest]))

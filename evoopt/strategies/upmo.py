"""UP-MO-CMA-ES: the population is all that no other point dominates, however many.

When: two objectives and up to some 100 variables; no population size and no reference point to be
chosen; from some points of the front on (`hmo-cma-es` finds them first). When not: a multimodal
problem without a good start. Cost: O(n^2) a candidate, after a success O(n^3) for a factorisation;
O(N n^2) memory for a front of N points.

Each member of the front has a step size, a smoothed success rate and a covariance of its own. One
in five candidates comes from an extreme of the front, the others from members drawn with
probability ~ contribution^3. Before it draws, a parent looks at its two neighbours on the front:
what lies between them is where the front goes on.

Source: O. Krause, T. Glasmachers, N. Hansen & C. Igel, Unbounded population MO-CMA-ES for the
bi-objective BBOB test suite, GECCO 2016 companion, hal-01381653; its constants as its authors'
library anguilla has them. Differences from the source: a rejected candidate lowers the success rate
of its parent, so that step sizes can shrink (they cannot in that library); the target success rate
is the 0.5 of the library's code, where its notes have 1/(5+1/2); points that come from elsewhere
take over the distribution of the nearer neighbour on the front, with a step size that reaches it;
no parallel fronts: `hmo-cma-es` looks for other basins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.archive import BiobjectiveArchive
from evoopt.result import StopReason, Values
from evoopt.strategies.base import Claims, Path, Population, Portrait, new_rows
from evoopt.strategies.fronts import (
    OpenRows,
    Row,
    beside,
    given_up,
    middle,
    told_rows,
    two_objectives,
    uniform,
)

Array = NDArray[np.float64]

_P_TARGET = 0.5  # see the source
_P_EXTREME = 0.2  # how often a parent is one of the extremes
_SIGMA_LEAST = 1e-20  # of a step size, absolute, as in the library
_SIGMA_MOST = 1e20  # keeps every product finite


class Member:
    """A point of the front with its search distribution N(x, sigma^2 C).

    Attributes:
        x: (dim,). sigma: step size. p: smoothed success rate.
        C: (dim, dim) covariance. A: (dim, dim), A A^T = C; None until it is asked for.
    """

    __slots__ = ("A", "C", "p", "sigma", "x")

    def __init__(self, x: Array, sigma: float, p: float, C: Array, A: Array | None = None) -> None:
        self.x, self.sigma, self.p, self.C, self.A = x, sigma, p, C, A

    def factor(self) -> Array:
        """A. Where rounding has left no positive matrix, C becomes the identity."""
        A = self.A
        if A is None:
            try:
                A = np.asarray(np.linalg.cholesky(self.C))
            except np.linalg.LinAlgError:
                A = self.C = np.eye(len(self.x))
            self.A = A
        return A


class Members:
    """Tag in the archive -> member."""

    def __init__(self) -> None:
        self.of: dict[int, Member] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Members:
        twin = Members()  # arrays are never written to
        twin.of = {t: Member(m.x, m.sigma, m.p, m.C, m.A) for t, m in self.of.items()}
        return twin

    def __pack__(self) -> dict[str, Any]:
        members = list(self.of.values())
        if not members:
            return {"tags": []}
        unique = {id(m.C): m.C for m in members}
        place = {key: i for i, key in enumerate(unique)}
        return {
            "tags": list(self.of),
            "X": np.stack([m.x for m in members]),
            "sigma": [m.sigma for m in members],
            "p": [m.p for m in members],
            "C": np.stack(list(unique.values())),
            "which": [place[id(m.C)] for m in members],
        }

    @classmethod
    def __unpack__(cls, plain: Any) -> Members:
        found = cls()
        if not plain["tags"]:
            return found
        matrices = [np.array(C) for C in plain["C"]]
        parts = (plain["tags"], plain["X"], plain["sigma"], plain["p"], plain["which"])
        for tag, x, sigma, p, which in zip(*parts, strict=True):
            found.of[tag] = Member(np.array(x), sigma, p, matrices[which])
        return found


class UPState(NamedTuple):
    """All that changes; the first three parts are changed in place.

    Attributes:
        front: all that no other point dominates; its tags name members.
        members: with their distributions.
        open: id -> (tag of the parent, covariance that it drew from), of rows being evaluated.
        next_id: number of the next candidate. next_tag: of the next member.
        told, failed: rows told, and how many of the last ones failed.
        x0: (dim,), sigma0, seed, path: as given to `init`.
    """

    front: BiobjectiveArchive
    members: Members
    open: OpenRows
    next_id: int
    next_tag: int
    told: int
    failed: int
    x0: Array
    sigma0: float
    seed: int
    path: Path


@dataclass(frozen=True, slots=True)
class UPMOCMAES:
    """Constants of the method; `default` computes them.

    Attributes:
        popsize: candidates asked together.
        d: damping of the step size. c_p: rate of the success rate.
        c_cov: rate of the covariance. c_r: share of the neighbours in it.
    """

    dim: int
    popsize: int
    d: float
    c_p: float
    c_cov: float
    c_r: float
    p_target: float = _P_TARGET
    name: str = "up-mo-cma-es"
    claims: Claims = Claims(
        monotone=False,
        rotation=True,
        options=frozenset({"popsize", "inject", "asynchronous"}),
        consumes=True,
        least_obj=2,
        most_obj=2,
    )

    @staticmethod
    def default(dim: int, *, objectives: int = 2, popsize: int | None = None) -> UPMOCMAES:
        """The constants of the source, Table 1.

        Raises:
            ConfigurationError: other than two objectives.
        """
        two_objectives(objectives, "up-mo-cma-es")
        c_cov = 2 / (dim**2.1 + 3)
        lam = 1 if popsize is None else popsize
        return UPMOCMAES(dim, lam, 1 + dim / 2, _P_TARGET / (2 + _P_TARGET), c_cov, c_cov / 2)

    def init(self, x0: Array, sigma0: float, seed: int, path: Path = ()) -> UPState:
        """The first candidate is x0; what is asked before its value is known is near it."""
        return UPState(
            front=BiobjectiveArchive(),
            members=Members(),
            open=OpenRows(),
            next_id=0,
            next_tag=0,
            told=0,
            failed=0,
            x0=np.array(x0, dtype=np.float64),
            sigma0=float(sigma0),
            seed=seed,
            path=path,
        )

    def ask(self, state: UPState, k: int) -> tuple[Population, UPState]:
        """k candidates of parents drawn independently."""
        first, n = state.next_id, self.dim
        X: Array
        Z = rng.normals(state.seed, state.path, first, k, n + 4)
        ids, epochs = new_rows(first, k, state.told)
        if not len(state.front):
            X = state.x0 + state.sigma0 * Z[:, :n]
            if first == 0 and k:
                X[0] = state.x0
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # of points from far away
                X = np.array([self._offspring(state, first + i, z) for i, z in enumerate(Z)])
        return Population(ids, epochs, X.reshape(k, n)), state._replace(next_id=first + k)

    def _offspring(self, state: UPState, i: int, z: Array) -> Array:
        """The point of candidate i, and a note of its parent. z: (dim + 4,) normal."""
        n, front = self.dim, state.front
        which, lot = z[n + 2 :].tolist()
        tag = self._drawn(front, uniform(which), uniform(lot))
        members = state.members.of
        parent = members[tag]
        y = math.sqrt(1 - self.c_r) * (parent.factor() @ z[:n])
        C = (1 - self.c_r) * parent.C
        near = beside(front, tag)
        for j, neighbour in enumerate(near):
            step = (members[neighbour].x - parent.x) / parent.sigma
            y += math.sqrt(self.c_r / len(near)) * z[n + j] * step
            C += self.c_r / len(near) * np.multiply.outer(step, step)
        if not near:
            y, C = parent.factor() @ z[:n], parent.C
        state.open.note(i, (tag, C))
        x: Array = parent.x + parent.sigma * y
        return x if math.isfinite(x @ x) else parent.x.copy()

    @staticmethod
    def _drawn(front: BiobjectiveArchive, which: float, lot: float) -> int:
        """Tag of a parent. which, lot: uniform in [0, 1)."""
        if len(front) <= 2 or which < _P_EXTREME:  # nothing between the extremes
            return front.extremes[lot < 0.5]  # each of the two alike
        return front.draw(lot)

    def tell(self, state: UPState, population: Population, values: Values) -> UPState:
        """Each row is an update, in the order of their ids."""
        for row in told_rows(population, values.F):
            state = self.learnt(state, row)
        return state

    def learnt(self, state: UPState, row: Row) -> UPState:
        """The state after one row."""
        with np.errstate(over="ignore", invalid="ignore"):  # of points from far away
            self._learn(state, row)
        finite = math.isfinite(row.f1) and math.isfinite(row.f2)
        failed = 0 if finite else state.failed + 1
        return state._replace(next_tag=state.next_tag + 1, told=state.told + 1, failed=failed)

    def _learn(self, state: UPState, row: Row) -> None:
        """One row enters the front, or not, and its parent learns from that."""
        front, members, tag = state.front, state.members.of, state.next_tag
        parent_tag, C = state.open.close(row.id) or (-1, None)
        parent = members.get(parent_tag)
        removed = front.add((row.f1, row.f2), tag)
        if removed is not None:
            for gone in removed:
                del members[gone]
            if parent is None or C is None:
                members[tag] = self._stranger(state, np.array(row.x), tag)
        if parent is None or C is None:
            return
        success = removed is not None
        sigma, p, own = parent.sigma, parent.p, parent.C
        p = (1 - self.c_p) * p + self.c_p * success
        grown = math.exp((p - self.p_target) / ((1 - self.p_target) * self.d))
        parent.p, parent.sigma = p, min(max(sigma * grown, _SIGMA_LEAST), _SIGMA_MOST)
        if success:
            y = (row.x - parent.x) / sigma
            step = self.c_cov * np.multiply.outer(y, y)
            members[tag] = Member(np.array(row.x), parent.sigma, p, (1 - self.c_cov) * C + step)
            parent.C, parent.A = (1 - self.c_cov) * own + step, None

    def _stranger(self, state: UPState, x: Array, tag: int) -> Member:
        """A member that comes from elsewhere: like the nearer neighbour, with steps to there."""
        members = state.members.of
        sigma, p, C = state.sigma0, self.p_target, None
        near = [members[t] for t in state.front.neighbours(tag) if t is not None]
        if near:
            away = [m.x - x for m in near]
            distances = [math.sqrt(d @ d) for d in away]
            i = distances.index(min(distances))
            far = distances[i] / math.sqrt(self.dim)
            sigma = max(near[i].sigma, min(far, state.sigma0)) if far < math.inf else sigma
            p, C = near[i].p, near[i].C
            if far > near[i].sigma:  # another region: what was learnt there is not known here
                p, C = self.p_target, None
        return Member(x, sigma, p, np.eye(self.dim) if C is None else C)

    def batch(self, state: UPState) -> int:
        """As many as are asked together."""
        return self.popsize

    def generation(self, state: UPState) -> int:
        """Rows told, in units of popsize."""
        return state.told // self.popsize

    def stop(self, state: UPState) -> StopReason | None:
        """When nothing but failures comes."""
        return given_up(state.failed, self.popsize, state.front)

    def portrait(self, state: UPState) -> Portrait:
        """Of a member in the midst of the front."""
        if not len(state.front):
            mean, sigma, axes = state.x0, state.sigma0, np.ones(self.dim)
        else:
            member = state.members.of[middle(state.front)]
            mean, sigma, axes = member.x, member.sigma, np.sqrt(np.diag(member.C))
        return Portrait(mean, sigma, np.sort(axes), self.generation(state))

"""Small timings behind docs/decisions: best of many repetitions, microseconds."""

import timeit
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evoopt import rng
from evoopt.strategies import cmaes


class Tuple(NamedTuple):
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int


@dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int


@dataclass(slots=True)
class Plain:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int


def best(statement: str, **names: object) -> float:
    """Microseconds of one execution."""
    times = timeit.repeat(statement, globals=names, number=500, repeat=200)
    return 1e6 * min(times) / 500


for cls in (Frozen, Tuple, Plain):
    print(f"{best('cls(1, 2, 3, 4, 5, 6, 7, 8, 9)', cls=cls):6.2f}  {cls.__name__}, nine fields")
draw = "at(1, (), 'normals', 5).standard_normal((6, 2))"
print(f"{best(draw, at=rng._at):6.2f}  12 normal numbers, each draw from the start of a block")
print(f"{best('normals(1, (), 6, 6, 2)', normals=rng.normals):6.2f}  the same from the block kept")
for n in (2, 10, 40):
    A = np.random.default_rng(1).standard_normal((n, n))
    C = A @ A.T
    for name, eigh in (("np.linalg.eigh", np.linalg.eigh), ("LAPACK alone", cmaes._eigh)):
        print(f"{best('eigh(C)', eigh=eigh, C=C):6.2f}  {name}, n = {n}")

"""Curves that COCO has published of the bi-objective workshop of 2016, and its virtual best.

Curves are shares of the 58 targets on all of the 55 functions of bbob-biobj; nothing is known here
of single functions. The best of 2016 ships with cocopp, see `best2009`; its file has five targets a
decade, so that a target between two of them counts as met with the finer one, and the curve lies
below the algorithms that it is made of where these are quick. Counted as here it differs from its
published curve by 0.002 at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from evoopt.result import Array
from evoopt_bench import best2009
from evoopt_bench.biobj import table
from evoopt_bench.catalogue import SUITES
from evoopt_bench.measure import per_dimension
from evoopt_bench.targets import BIOBJ_TARGETS

CURVES = "published_biobj_2016.csv"
YEAR = "2016"
SHOWN = ("HMO-CMA-ES", "UP-MO-CMA-ES")  # beside runs; the others are in the file
BEST = "best 2016"
_FILE = "best2016-bbob-biobj.tar.gz"
_ALL = SUITES["bbob-biobj"].functions
DIMENSIONS = SUITES["bbob-biobj"].dimensions


@lru_cache(maxsize=1)
def curves() -> dict[tuple[str, int], tuple[Array, Array]]:
    """(algorithm, dim) -> (r,) evaluations per dimension and (r,) share of targets met by then."""
    head, *rows = table(CURVES)
    budgets = 10.0 ** np.array(head[2:], dtype=np.float64)
    return {
        (name, int(dim)): (budgets, np.array(shares, dtype=np.float64))
        for dim, name, *shares in rows
    }


def shares(name: str, dim: int, budgets: Sequence[int]) -> dict[int, float]:
    """b -> published share, for those of the budgets that the curve has; see `measure`."""
    if (name, dim) not in curves():
        return {}
    at, share = curves()[name, dim]
    exact = {b: per_dimension(b) for b in budgets}
    return {
        b: float(np.interp(np.log10(x), np.log10(at), share))
        for b, x in exact.items()
        if x <= at[-1] * best2009.ROUNDED
    }


def is_comparable(suite: str, functions: Iterable[int]) -> bool:
    """Whether runs on these functions of the suite can stand beside the curves."""
    return SUITES[suite].n_obj == 2 and tuple(sorted(functions)) == _ALL


def best2016(function: int, dim: int, targets: Array = BIOBJ_TARGETS) -> Array:
    """Expected evaluations of the best algorithm of 2016 to each target.

    Args:
        function: 1 to 55.
        dim: 2, 3, 5, 10, 20 or 40.
        targets: (t,) missing hypervolumes.

    Returns:
        (t,) ERT; inf where none reached the target.

    Raises:
        MissingDependencyError: cocopp is not installed.
    """
    return best2009.expected(best2009.tables(_FILE)[function, dim], targets)


def best_times(suite: str, dim: int, functions: Iterable[int]) -> Array | None:
    """Expected evaluations per dimension of the best of 2016 to all targets of the functions.

    Returns:
        (functions * 58,) ascending, inf where none reached a target; None where functions or
        dimension are not its own.
    """
    chosen = list(functions)
    if SUITES[suite].n_obj != 2 or dim not in DIMENSIONS or not set(chosen) <= set(_ALL):
        return None
    return np.sort(np.ravel([best2016(function, dim) for function in chosen]) / dim)

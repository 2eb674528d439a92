"""The virtual best algorithm of BBOB 2009, the reference data that ship inside cocopp.

For each function, dimension and target: the lowest expected run time (ERT) among the 31 algorithms
of the 2009 workshop. The data are read from cocopp's package folder; cocopp itself is not imported,
because its import takes seconds and looks for a network.
"""

from __future__ import annotations

import importlib.util
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from evoopt.errors import missing
from evoopt.result import Array
from evoopt_bench.targets import TARGETS

NAME = "best 2009"
DIMENSIONS = (2, 3, 5, 10, 20, 40)
_FILE = "best2009-bbob.tar.gz"
ROUNDED = 1 + 1e-9  # the file's targets have 16 digits: 10**-7.8 there and here may differ


@lru_cache(maxsize=2)
def tables(name: str) -> dict[tuple[int, int], Array]:
    """(function, dim) -> (r, 2) expected run times and the precision reached by then.

    name: of the file in cocopp's folder of reference algorithms.
    """
    spec = importlib.util.find_spec("cocopp")
    if spec is None or not spec.submodule_search_locations:
        raise missing("cocopp", "bench", f"the reference {name.split('-')[0]}")
    found = {}
    folder = Path(spec.submodule_search_locations[0]) / "refalgs"
    with tarfile.open(folder / name) as archive:
        for member in archive:
            if not member.name.endswith(".dat"):
                continue
            function, dim = member.name.removesuffix(".dat").split("_")[-2:]
            file = archive.extractfile(member)
            assert file is not None  # .dat members are regular files
            lines = [line.split()[:2] for line in file if not line.startswith(b"%")]
            found[int(function[1:]), int(dim[1:])] = np.array(lines, dtype=np.float64)
    return found


def best2009(function: int, dim: int, targets: Array = TARGETS) -> Array:
    """Expected evaluations of the best algorithm of 2009 to each target.

    Args:
        function: 1 to 24.
        dim: one of `DIMENSIONS`.
        targets: (t,) precisions, 1e-8 or above.

    Returns:
        (t,) ERT, rounded to whole evaluations in cocopp's file; inf where none reached the target.

    Raises:
        MissingDependencyError: cocopp is not installed.
    """
    return expected(tables(_FILE)[function, dim], targets)


def expected(table: Array, targets: Array) -> Array:
    """(t,) ERT to each of the (t,) targets; inf where none reached it. table: see `tables`."""
    rounded = targets + np.abs(targets) * (ROUNDED - 1)
    first = np.searchsorted(-table[:, 1], -rounded, side="left")
    reached = first < len(table)
    return np.where(reached, table[np.minimum(first, len(table) - 1), 0], np.inf)

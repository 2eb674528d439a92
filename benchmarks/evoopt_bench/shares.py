"""The closing table of a run with two objectives: shares of targets, beside what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evoopt_bench import published
from evoopt_bench.biobj import INSTANCES
from evoopt_bench.measure import SHARE, covers, per_dimension
from evoopt_bench.targets import Run


@dataclass(frozen=True, slots=True)
class Shares:
    """An algorithm in one dimension.

    Attributes:
        dim: number of variables.
        name: of the algorithm.
        problems: on which it was run; None for what is published.
        shares: b -> share of the 58 targets met within b evaluations per dimension; see `measure`.
    """

    dim: int
    name: str
    problems: int | None
    shares: Mapping[int, float]


def shares(suite: str, label: str, runs: Sequence[Run]) -> list[Shares]:
    """The runs in each dimension, each followed by what is published of it.

    Curves of whole algorithms are there for all functions of bbob-biobj only, and nothing is known
    of instances above 10, which have no reference.
    """
    found = []
    for dim in sorted({run.dim for run in runs}):
        here = [run for run in runs if run.dim == dim]
        functions = sorted({run.function for run in here})
        budgets = covered(here)
        own = {b: SHARE.mean(here, b) for b in budgets}
        found.append(Shares(dim, label, len(here), own))
        if {run.instance for run in here} <= set(INSTANCES):
            found += known(suite, dim, functions, budgets)
    return found


def covered(runs: Sequence[Run]) -> list[int]:
    """The budgets that all runs had."""
    least = [(run.evaluations, run.dim) for run in runs if not run.is_complete]
    return [b for b in SHARE.budgets if all(covers(spent, dim, b) for spent, dim in least)]


def known(
    suite: str, dim: int, functions: Sequence[int], budgets: Sequence[int] = SHARE.budgets
) -> list[Shares]:
    """What is published of the functions, in one dimension."""
    found = []
    if published.is_comparable(suite, functions):
        found = [
            Shares(dim, f"{name} {published.YEAR}", None, values)
            for name in published.SHOWN
            if (values := published.shares(name, dim, budgets))
        ]
    best = published.best_times(suite, dim, functions)
    if best is not None:
        at = {b: float(np.mean(best <= per_dimension(b))) for b in budgets}
        found.append(Shares(dim, published.BEST, None, at))
    return found


def rows(found: Sequence[Shares]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text."""
    budgets = [b for b in SHARE.budgets if any(b in line.shares for line in found)]
    headings = ["dim", "algorithm", "problems", *(f"{b} D" for b in budgets)]
    body = []
    for line in found:
        problems = "" if line.problems is None else str(line.problems)
        cells = [f"{line.shares[b]:.3f}" if b in line.shares else "" for b in budgets]
        body.append([str(line.dim), line.name, problems, *cells])
    return headings, body

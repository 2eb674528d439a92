"""The closing table of a suite run: function by dimension, as data and as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evoopt_bench.runtime import by_function, ert, run_times
from evoopt_bench.targets import Run, common_targets


@dataclass(frozen=True, slots=True)
class Cell:
    """What the runs on one function in one dimension came to.

    Attributes:
        function, dim: which.
        runs: how many instances were run.
        solved: how many of them reached the last target, 1e-8, with two objectives 1e-5.
        evaluations: spent by all of them.
        target: that one where a run reached it, else the smallest target that a run reached; None
            where none reached any.
        ert: expected evaluations to that target; None without one.
        best: the best precision f - f_opt over the runs.
    """

    function: int
    dim: int
    runs: int
    solved: int
    evaluations: int
    target: float | None
    ert: float | None
    best: float


def cells(runs: Iterable[Run]) -> list[Cell]:
    """One cell per dimension and function, in ascending order."""
    return [_cell(group) for group in by_function(runs).values()]


def _cell(group: Sequence[Run]) -> Cell:
    targets = common_targets(group[0].n_obj)
    times, spent = run_times(group, targets)
    expected = ert(times, spent)
    reached = np.flatnonzero(np.isfinite(expected))
    return Cell(
        function=group[0].function,
        dim=group[0].dim,
        runs=len(group),
        solved=int(np.isfinite(times[:, -1]).sum()),
        evaluations=int(spent.sum()),
        target=float(targets[reached[-1]]) if reached.size else None,
        ert=float(expected[reached[-1]]) if reached.size else None,
        best=min(run.precision for run in group),
    )


def rows(table: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of text: a row per function, three columns per dimension.

    The columns are the expected evaluations to 1e-8 over the dimension (where no run reached it, in
    brackets the smallest target that one did), solved runs of all, and evaluations spent. The last
    row sums solved runs and evaluations.
    """
    dims = sorted({cell.dim for cell in table})
    by_key = {(cell.function, cell.dim): cell for cell in table}
    headings = ["f", *(text for d in dims for text in (f"{d}-D ERT/D", "solved", "evals"))]
    body = []
    for function in sorted({cell.function for cell in table}):
        line = [str(function)]
        for dim in dims:
            cell = by_key.get((function, dim))
            line += _texts(cell) if cell else ["", "", ""]
        body.append(line)
    total = ["all"]
    for dim in dims:
        chosen = [cell for cell in table if cell.dim == dim]
        solved, n = sum(c.solved for c in chosen), sum(c.runs for c in chosen)
        total += ["", f"{solved}/{n}", f"{sum(c.evaluations for c in chosen)}"]
    return headings, [*body, total]


def _texts(cell: Cell) -> list[str]:
    if cell.ert is None or cell.target is None:
        expected = "-"
    elif cell.solved:
        expected = f"{cell.ert / cell.dim:.4g}"
    else:
        expected = f"[{cell.target:.0e}]"
    return [expected, f"{cell.solved}/{cell.runs}", str(cell.evaluations)]


def render(table: Sequence[Cell]) -> str:
    """The table as plain text with aligned columns."""
    headings, body = rows(table)
    lines = [headings, *body]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headings))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )

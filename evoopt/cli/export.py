"""`evoopt export`: what a run has found, as a table for other programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from evoopt.cli import console
from evoopt.cli.options import run_argument
from evoopt.errors import ConfigurationError, StateError

if TYPE_CHECKING:
    from evoopt.space import Space

Rows = Iterable[tuple[Any, Any]]  # points (dim,) and their value or values


@click.command(epilog="Example:  evoopt export runs/first -o front.csv")
@run_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Not stdout.")
@click.option("--subset", type=int, metavar="K", help="At most K points of the front.")
@click.option("--all", "every", is_flag=True, help="Every evaluation, those that failed as nan.")
def export(run: Path, output: Path | None, subset: int | None, every: bool) -> None:
    """Write the front of RUN as CSV, or the best point of one objective.

    A line has the variables, then the value or the values, in the sense of the user's function. A
    subset of the front is chosen for the hypervolume that it has. Without a space, what is written
    can be read by --warm-start.
    """
    from evoopt.cli.spacefile import space_of
    from evoopt.earlier import evaluations
    from evoopt.rundir import RunDirectory

    _refuse(run, subset)
    about = RunDirectory.read(run).manifest.get("problem", {})
    space = space_of(about["space"], f"{run}/manifest.json") if "space" in about else None
    if every and subset is not None:
        raise ConfigurationError(f"--subset must be left out with --all; got {subset}")
    if every:
        rows: Rows = zip(*evaluations(run, space), strict=True)
    else:
        rows = _best(run, space, subset)
    n_obj = about.get("objectives", 1)
    values = ["f"] if n_obj == 1 else [f"f{i}" for i in range(1, n_obj + 1)]
    names = [f"x{i}" for i in range(1, about.get("dim", 0) + 1)] if space is None else space.names
    table = [_line(x, f, space) for x, f in rows]
    if output is None:
        csv.writer(sys.stdout).writerows([[*names, *values], *table])
        return
    try:
        with output.open("w", newline="") as file:
            csv.writer(file).writerows([[*names, *values], *table])
    except OSError as error:
        raise StateError(f"{output} cannot be written: {error.strerror}") from error
    console.note(f"{len(table)} lines in {output}")


def _refuse(run: Path, subset: int | None) -> None:
    """What cannot be written."""
    from evoopt.cli.suite import a_problem_of, is_comparison, is_suite_run

    if subset is not None and subset < 1:
        raise ConfigurationError(f"--subset must be a positive whole number; got {subset}")
    if is_suite_run(run) or is_comparison(run):
        raise ConfigurationError(
            f"RUN must be a single run; {run} is of a whole suite: export {a_problem_of(run)}"
        )


def _best(run: Path, space: Space | None, subset: int | None) -> Rows:
    """The front, or the best point, of a run that has ended or goes on."""
    from evoopt.earlier import replayed
    from evoopt.runs import finished
    from evoopt.strategies.stopping import reason

    search, plan = replayed(run, space)
    result = finished(search, plan, reason("callback", 1, 1), None)
    if result.x is None:
        return []
    if result.front is None:
        if subset is not None:
            raise ConfigurationError(f"--subset must be left out with one objective; got {subset}")
        return [(result.x, result.f)]
    front = result.front if subset is None else result.subset(subset)
    return list(zip(front.X, front.F, strict=True))


def _line(x: Any, f: Any, space: Space | None) -> Sequence[object]:
    """The words of one line. x: (dim,). f: a value, or (m,)."""
    import numpy as np

    point = np.asarray(x, dtype=np.float64)
    named = point.tolist() if space is None else space.point(point).values()
    return [*named, *np.atleast_1d(f).tolist()]

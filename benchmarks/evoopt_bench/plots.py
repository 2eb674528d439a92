"""Run-time distributions as COCO draws them: over all functions, or over groups of functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evoopt.plots import style
from evoopt.result import Array
from evoopt_bench.catalogue import SUITES
from evoopt_bench.gallery import (
    BELOW,
    REFERENCES,
    TITLES,
    Algorithms,
    check_exhibits,
    grid,
    head,
    leftmost,
    look,
    lowest,
    named_handles,
    read_exhibits,
    what,
)
from evoopt_bench.references import references
from evoopt_bench.runtime import run_time_distribution
from evoopt_bench.suites import number_list
from evoopt_bench.targets import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ALL = "all functions"


def ecdf(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    groups: bool = False,
    dim: int | None = None,
    algorithms: Sequence[str] = (),
) -> Path:
    """Draw the run-time distributions of suite runs and comparisons beside what is published.

    Args:
        runs: folders; a suite run is one algorithm, a comparison several.
        out: the picture; its suffix is the format: svg, png or pdf.
        groups: a panel for each group of functions, in one dimension, instead of one for each
            dimension.
        dim: of the groups; default: the largest.
        algorithms: names of those to draw; default: all.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, nothing done in one of them, or another format.
        StateError: a folder holds no suite run.
        MissingDependencyError: matplotlib is not installed.
    """
    found = read_exhibits(runs, "ecdf", algorithms)
    if groups:
        here = found.in_dimension(dim, "ecdf")[1]
        return draw_ecdf_groups(here, Path(out), suite=found.suite)
    shown = found.algorithms if dim is None else found.in_dimension(dim, "ecdf")[1]
    return draw_ecdf(shown, Path(out), suite=found.suite)


def draw_ecdf(algorithms: Algorithms, out: Path, *, suite: str = "bbob", seed: int = 1) -> Path:
    """Draw the run-time distributions of algorithms, a panel for each dimension.

    Args:
        algorithms: name -> its runs.
        out: the picture.
        suite: of all runs.
        seed: of the simulated restarts.

    Returns:
        `out`.
    """
    style.check_format(out, "ecdf")
    check_exhibits(algorithms, "ecdf")
    return _drawn(_by_dimension(algorithms), algorithms, out, suite, seed)


def draw_ecdf_groups(
    algorithms: Algorithms, out: Path, *, suite: str = "bbob", seed: int = 1
) -> Path:
    """Draw the same in the largest dimension, a panel for each group of functions and for all.

    Args:
        algorithms, out, suite, seed: as in `draw_ecdf`.

    Returns:
        `out`.
    """
    style.check_format(out, "ecdf")
    check_exhibits(algorithms, "ecdf")
    dim = max(run.dim for runs in algorithms.values() for run in runs)
    here = {n: [r for r in runs if r.dim == dim] for n, runs in algorithms.items()}
    return _drawn(_by_group(here, suite), here, out, suite, seed, f"{dim}-D, ")


Panels = dict[str, dict[str, list[Run]]]  # title -> name -> the runs shown there


def _by_dimension(algorithms: Algorithms) -> Panels:
    dims = sorted({run.dim for runs in algorithms.values() for run in runs})
    return {
        f"{dim}-D": {n: [r for r in runs if r.dim == dim] for n, runs in algorithms.items()}
        for dim in dims
    }


def _by_group(algorithms: Algorithms, suite: str) -> Panels:
    """Groups of which some function was run, then all functions."""
    shown = {run.function for runs in algorithms.values() for run in runs}
    panels = {
        f"{name}, f{number_list(members)}": {
            n: [r for r in runs if r.function in members] for n, runs in algorithms.items()
        }
        for name, members in SUITES[suite].groups
        if shown & set(members)
    }
    return {**panels, _ALL: {n: list(runs) for n, runs in algorithms.items()}}


def _drawn(
    panels: Panels,
    algorithms: Algorithms,
    out: Path,
    suite: str,
    seed: int,
    prefix: str = "",
) -> Path:
    from matplotlib import rc_context

    with rc_context({**style.RC, **TITLES}):
        return style.save(_figure(panels, algorithms, suite, seed, prefix), out)


def _figure(
    panels: Panels,
    algorithms: Algorithms,
    suite: str,
    seed: int,
    prefix: str = "",
) -> Figure:
    figure, axes = grid(len(panels), (3.1, 2.7), (0.6 if len(algorithms) < 6 else 2.0, 1.1))
    longest = max(run.evaluations / run.dim for runs in algorithms.values() for run in runs)
    decades = max(2, math.ceil(math.log10(longest) + 0.5))  # room for the simulated restarts
    for axis, (title, shown) in zip(axes, panels.items(), strict=True):
        _panel(axis, shown, suite, 10.0**decades, seed)
        axis.set_title(title)
    for axis in lowest(axes):
        axis.set_xlabel("log10(evaluations / dimension)")
    for axis in leftmost(axes):
        axis.set_ylabel("share of (function, target) pairs")
    separator = "\n" if len(panels) == 1 or prefix else "; "
    says = f"{what(suite, algorithms)}, {_targets(suite)}"
    says += f"{separator}cross: end of the runs, then simulated restarts"
    handles = named_handles(axes)
    if len(handles) > BELOW:  # in the order of the lines at the end of the last panel
        last = named_handles(axes[-1:])
        handles = dict(sorted(handles.items(), key=lambda item: -_height(last.get(item[0]))))
    head(figure, prefix + says, handles)
    return figure


def _targets(suite: str) -> str:
    return "51 targets 1e2 to 1e-8" if SUITES[suite].n_obj == 1 else "58 targets 1 to -1e-4"


def _height(line: Any) -> float:
    """Where a line ends; the references are above all."""
    if line is None:
        return 0.0
    return 2.0 if line.get_label() in REFERENCES else float(line.get_ydata()[-1])


def _panel(axis: Axes, shown: Algorithms, suite: str, end: float, seed: int) -> None:
    """One panel: the references below, a line per algorithm."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

    points = np.geomspace(1, end, 400)
    runs = [run for own in shown.values() for run in own]
    dim, functions = runs[0].dim, sorted({run.function for run in runs})
    for known in references(suite, dim, functions, points):
        looks: dict[str, Any] = {"color": known.colour, "linewidth": known.width}
        axis.plot(points, known.on(points), label=known.name, **looks)
    for k, (name, own) in enumerate(shown.items()):
        if own:
            _line(axis, k, name, run_time_distribution(own, seed=seed), _budget(own), points)
    axis.set(xscale="log", xlim=(1, end), ylim=(0, 1))
    axis.xaxis.set_major_locator(LogLocator(numticks=12))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{math.log10(x):.0f}"))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def _line(axis: Axes, k: int, name: str, times: Array, budget: float, grid: Array) -> None:
    """The k-th algorithm: its line, a cross where its runs ended, thin what was simulated."""
    looks = look(k)
    run, simulated = np.append(grid[grid < budget], budget), grid[grid >= budget]
    every = (40 + 9 * k % 70, 70)
    axis.plot(run, _share(times, run), markevery=every, label=name, zorder=3, **looks)
    colour, dashes = looks["color"], looks["linestyle"]
    axis.plot(simulated, _share(times, simulated), color=colour, linestyle=dashes, linewidth=0.8)
    axis.plot(
        [budget], _share(times, run[-1:]), color=colour, marker="x", markersize=9, mew=2, zorder=4
    )


def _share(times: Array, grid: Array) -> Array:
    """The share of the sorted times that are at most each entry of the grid."""
    return np.searchsorted(times, grid, side="right") / times.size


def _budget(runs: Sequence[Run]) -> float:
    """Where runs ended: median evaluations / dimension of those that missed the last target, or
    the longest run if none did."""
    missed = [run.evaluations / run.dim for run in runs if np.isinf(run.times()[-1])]
    return float(np.median(missed)) if missed else max(run.evaluations / run.dim for run in runs)

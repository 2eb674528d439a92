"""Pictures of benchmark runs: run-time distributions as COCO draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evoopt.errors import ConfigurationError
from evoopt.plots import style
from evoopt.result import Array
from evoopt_bench import best2009
from evoopt_bench.records import read_manifest, read_runs
from evoopt_bench.runtime import run_time_distribution
from evoopt_bench.suites import number_list
from evoopt_bench.targets import TARGETS, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE_COLOUR = "#C4C4C4"
REFERENCE = "best 2009"
_MAX_COLUMNS = 3
_TITLES: dict[Any, Any] = {"axes.titlelocation": "center"}  # a panel's title is its dimension


def ecdf(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the run-time distributions of suite runs, one panel per dimension.

    Args:
        runs: folders of suite runs; each is one algorithm.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, nothing done in one of them, or another format.
        StateError: a folder holds no suite run.
        MissingDependencyError: matplotlib is not installed.
    """
    algorithms: dict[str, list[Run]] = {}
    for run in map(Path, runs):
        label = read_manifest(run).label
        algorithms[f"{label} ({run.name})" if label in algorithms else label] = read_runs(run)
    return draw_ecdf(algorithms, Path(out))


def draw_ecdf(algorithms: Mapping[str, Sequence[Run]], out: Path, *, seed: int = 1) -> Path:
    """Draw the run-time distributions of algorithms, given their runs on bbob.

    Args:
        algorithms: name -> its runs.
        out: the picture.
        seed: of the simulated restarts.

    Returns:
        `out`.
    """
    style.check_format(out, "ecdf")
    empty = [name for name, runs in algorithms.items() if not runs]
    if empty or not algorithms:
        raise ConfigurationError(f"ecdf(runs=...) must hold finished problems; got none in {empty}")
    from matplotlib import rc_context

    with rc_context({**style.RC, **_TITLES}):
        return style.save(_figure(algorithms, seed), out)


def _figure(algorithms: Mapping[str, Sequence[Run]], seed: int) -> Figure:
    from matplotlib.figure import Figure  # alone, without pyplot: no window, no global state

    dims = sorted({run.dim for runs in algorithms.values() for run in runs})
    columns = min(len(dims), _MAX_COLUMNS)
    rows = -(-len(dims) // columns)
    figure = Figure(figsize=(max(5.4, 0.6 + 3.1 * columns), 1.1 + 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    longest = max(run.evaluations / run.dim for runs in algorithms.values() for run in runs)
    decades = max(2, math.ceil(math.log10(longest) + 0.5))  # room for the simulated restarts
    for axis, dim in zip(axes.flat, dims, strict=False):
        _panel(axis, dim, algorithms, 10.0**decades, seed)
    for axis in axes.flat[len(dims) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(dims) - columns) : len(dims)]:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("log10(evaluations / dimension)")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of (function, target) pairs")
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False
    )
    figure.suptitle(_what(algorithms, "\n" if columns == 1 else "; "), fontsize="medium")
    return figure


def _panel(
    axis: Axes, dim: int, algorithms: Mapping[str, Sequence[Run]], end: float, seed: int
) -> None:
    """One dimension: the reference below, a line per algorithm."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

    grid = np.geomspace(1, end, 400)
    functions = sorted({r.function for runs in algorithms.values() for r in runs if r.dim == dim})
    if dim in best2009.DIMENSIONS:
        known = np.sort(np.ravel([best2009.best2009(f, dim) for f in functions]) / dim)
        axis.plot(grid, _share(known, grid), color=REFERENCE_COLOUR, linewidth=4, label=REFERENCE)
    for k, (name, runs) in enumerate(algorithms.items()):
        here = [run for run in runs if run.dim == dim]
        if here:
            _line(axis, k, name, run_time_distribution(here, seed=seed), _budget(here), grid)
    axis.set(title=f"{dim}-D", xscale="log", xlim=(1, end), ylim=(0, 1))
    axis.xaxis.set_major_locator(LogLocator(numticks=12))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{math.log10(x):.0f}"))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def _line(axis: Axes, k: int, name: str, times: Array, budget: float, grid: Array) -> None:
    """The k-th algorithm: its line, a cross where its runs ended, thin what was simulated."""
    colour, dashes = style.COLOURS[k % len(style.COLOURS)], style.DASHES[k % len(style.DASHES)]
    run, simulated = np.append(grid[grid < budget], budget), grid[grid >= budget]
    axis.plot(
        run,
        _share(times, run),
        color=colour,
        linestyle=dashes,
        linewidth=1.8,
        marker=style.MARKS[k % len(style.MARKS)],
        markevery=(40 + 9 * k, 70),
        markersize=5,
        markerfacecolor="white",
        label=name,
        zorder=3,
    )
    axis.plot(simulated, _share(times, simulated), color=colour, linestyle=dashes, linewidth=0.8)
    axis.plot(
        [budget], _share(times, run[-1:]), color=colour, marker="x", markersize=9, mew=2, zorder=4
    )


def _share(times: Array, grid: Array) -> Array:
    """The share of the sorted times that are at most each entry of the grid."""
    return np.searchsorted(times, grid, side="right") / times.size


def _budget(runs: Sequence[Run]) -> float:
    """Where runs ended: median evaluations / dimension of those that missed the last target."""
    missed = [run for run in runs if np.isinf(run.times()[-1])] or runs
    return float(np.median([run.evaluations / run.dim for run in missed]))


def _what(algorithms: Mapping[str, Sequence[Run]], separator: str) -> str:
    """Functions, instances and targets; then what the marks mean."""
    runs = [run for group in algorithms.values() for run in group]
    functions = number_list(sorted({run.function for run in runs}))
    instances = len({run.instance for run in runs})
    plural = "s" if instances > 1 else ""
    shown = f"bbob f{functions}, {instances} instance{plural}, {TARGETS.size} targets 1e2 to 1e-8"
    return shown + separator + "cross: end of the runs, then simulated restarts"

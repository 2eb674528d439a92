"""Best f against evaluations on a suite: medians and quartile bands over the instances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evoopt.plots import style
from evoopt.result import Array
from evoopt_bench.catalogue import SUITES
from evoopt_bench.gallery import (
    TITLES,
    Algorithms,
    grid,
    head,
    label_axes,
    look,
    named_handles,
    read_exhibits,
    what,
)
from evoopt_bench.targets import Run, common_targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 200  # at which a course is drawn
_QUARTILES = (25, 50, 75)
_FLOOR = 1e-9  # what lies below is drawn there: solved to 1e-8 is solved
_TOP_SHARE = 99.0  # percentile of the values at which the axis ends


def anytime_of_suites(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    dim: int | None = None,
    algorithms: Sequence[str] = (),
) -> Path:
    """Draw the course of algorithms on each function, in one dimension.

    Args:
        runs: folders of suite runs and comparisons.
        out: the picture; its suffix is the format: svg, png or pdf.
        dim: default: the largest.
        algorithms: names of those to draw; default: all.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, or runs on different suites.
        StateError: a folder holds no runs.
        MissingDependencyError: matplotlib is not installed.
    """
    file = Path(out)
    style.check_format(file, "anytime")
    found = read_exhibits(runs, "anytime", algorithms)
    chosen, shown = found.in_dimension(dim, "anytime")
    return draw_anytime(shown, file, suite=found.suite, dim=chosen)


def draw_anytime(algorithms: Algorithms, out: Path, *, suite: str, dim: int) -> Path:
    """The same from runs in one dimension: name -> runs."""
    from matplotlib import rc_context

    with rc_context({**style.RC, **TITLES, "font.size": 8}):
        return style.save(_figure(algorithms, suite, dim), out)


def _figure(algorithms: Algorithms, suite: str, dim: int) -> Figure:
    functions = sorted({run.function for runs in algorithms.values() for run in runs})
    figure, axes = grid(len(functions), (2.05, 1.75), (0.7 if len(algorithms) < 6 else 2.2, 1.1))
    spent = max(run.evaluations for runs in algorithms.values() for run in runs)
    points = np.unique(np.geomspace(1, spent, _POINTS).astype(int))
    n_obj = SUITES[suite].n_obj
    solved = float(common_targets(n_obj)[-1])
    lows, tops = [np.float64(solved)], list[np.float64]()
    for axis, function in zip(axes, functions, strict=True):
        for k, (name, runs) in enumerate(algorithms.items()):
            own = [run for run in runs if run.function == function]
            if own:
                bands = quartiles(own, points)
                _band(axis, k, name, points / dim, bands, len(own))
                lows.append(np.nanmin(bands))
                tops.append(np.nanpercentile(bands, _TOP_SHARE))
        axis.set(xscale="log", yscale="log", title=f"f{function}")
        axis.axhline(solved, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    top = 10.0 ** math.ceil(math.log10(max(tops)))
    axes[0].set(xlim=(1 / dim, spent / dim), ylim=(max(_FLOOR, min(lows)) / 3, top))
    values = "best f - f_opt" if n_obj == 1 else "missing hypervolume"
    label_axes(figure, axes, "evaluations / dimension", values)
    says = f"{what(suite, algorithms)}, {dim}-D\nmedian and quartiles over the instances"
    head(figure, says, named_handles(axes))
    return figure


def quartiles(runs: Sequence[Run], points: Array) -> Array:
    """(3, p) quartiles over the runs of the best precision after each number of evaluations.

    A run that ended early keeps its best value; where fewer than a quarter of the runs have a value
    the result is NaN.

    Args:
        runs: on one function.
        points: (p,) numbers of evaluations, ascending.
    """
    table = np.full((len(runs), len(points)), np.inf)
    for row, run in zip(table, runs, strict=True):
        last = np.searchsorted(run.at, points, side="right") - 1
        begun = last >= 0
        row[begun] = np.maximum(run.f[last[begun]] - run.f_opt, _FLOOR)
    found = np.percentile(table, _QUARTILES, axis=0, method="nearest")
    return np.where(np.isfinite(found), found, np.nan)


def _band(axis: Axes, k: int, name: str, at: Array, bands: Array, runs: int) -> None:
    looks = look(k, width=1.4) | {"markersize": 3.5, "markevery": (15 + 7 * k % 40, 40)}
    axis.plot(at, bands[1], label=name, zorder=3, **looks)
    if runs > 1:
        axis.fill_between(at, bands[0], bands[2], color=looks["color"], alpha=0.15, linewidth=0)

"""Expected run time against dimension, a panel for each function and one for their median."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evoopt.errors import ConfigurationError
from evoopt.plots import style
from evoopt.result import Array
from evoopt_bench import best2009, published
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
from evoopt_bench.references import BEST_COLOUR
from evoopt_bench.runtime import by_function, ert, run_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FINEST = 1e-8
OF_ONE = (1e1, 1e-1, 1e-3, 1e-5, FINEST)  # targets shown of a single algorithm
OF_TWO = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # with two objectives: those of COCO's tables
_SHARE = 0.5  # of functions on which a target must be reached to be chosen for several
_MEDIAN = "median of the functions"


def ert_against_dimension(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    targets: Sequence[float] = (),
    algorithms: Sequence[str] = (),
) -> Path:
    """Draw the expected run time over the dimension.

    Args:
        runs: folders of suite runs and comparisons.
        out: the picture; its suffix is the format: svg, png or pdf.
        targets: precisions; default: `shown_targets` for a single algorithm, for several the
            smallest of them that was reached on half of the functions in some dimension. Several
            algorithms take one target.
        algorithms: names of those to draw; default: all.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, runs on different suites, or several targets with several
            algorithms.
        StateError: a folder holds no runs.
        MissingDependencyError: matplotlib is not installed.
    """
    file = Path(out)
    style.check_format(file, "ert")
    found = read_exhibits(runs, "ert", algorithms)
    return draw_ert(found.algorithms, file, suite=found.suite, targets=targets)


def draw_ert(
    algorithms: Algorithms, out: Path, *, suite: str = "bbob", targets: Sequence[float] = ()
) -> Path:
    """The same from runs: name -> runs."""
    several = len(algorithms) > 1
    if several and len(targets) > 1:
        got = ", ".join(f"{target:g}" for target in targets)
        raise ConfigurationError(
            f"ert(targets=...) must be one target for several algorithms; got {got}"
        )
    if not all(0 < target < math.inf for target in targets):
        raise ConfigurationError(f"ert(targets=...) must be positive; got {list(targets)}")
    usual = shown_targets(suite)
    chosen = tuple(targets) or ((_reachable(algorithms, usual),) if several else usual)
    from matplotlib import rc_context

    with rc_context({**style.RC, **TITLES, "font.size": 8}):
        return style.save(_figure(algorithms, suite, np.array(chosen)), out)


def shown_targets(suite: str) -> tuple[float, ...]:
    """The targets that are shown of a single algorithm, descending."""
    return OF_ONE if SUITES[suite].n_obj == 1 else OF_TWO


def _reachable(algorithms: Algorithms, usual: tuple[float, ...]) -> float:
    """The smallest of the usual targets that half of the functions have seen reached."""
    runs = [run for own in algorithms.values() for run in own]
    functions = {run.function for run in runs}
    for target in sorted(usual):
        goal = np.array([target])
        reached = {run.function for run in runs if np.isfinite(run.times(goal)[0])}
        if len(reached) >= _SHARE * len(functions):
            return target
    return usual[0]


def _figure(algorithms: Algorithms, suite: str, targets: Array) -> Figure:
    functions = sorted({run.function for runs in algorithms.values() for run in runs})
    titles = [f"f{function}" for function in functions]
    titles += [_MEDIAN] if len(functions) > 1 else []
    names = len(algorithms) if len(algorithms) > 1 else len(targets)
    figure, axes = grid(len(titles), (2.05, 1.75), (0.7 if names < 6 else 2.2, 1.1))
    dims = sorted({run.dim for runs in algorithms.values() for run in runs})
    curves = {name: _times(runs, targets) for name, runs in algorithms.items()}
    for axis, function in zip(axes, functions, strict=False):
        _reference(axis, suite, [function], dims, targets)
        _panel(axis, {n: times.get(function, {}) for n, times in curves.items()}, targets)
    if len(functions) > 1:
        _reference(axes[-1], suite, functions, dims, targets)
        _panel(axes[-1], {n: _medians(times, functions) for n, times in curves.items()}, targets)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontweight="bold" if title == _MEDIAN else "normal")
        _scales(axis, dims)
    label_axes(figure, axes, "dimension", "ERT / dimension")
    says = what(suite, algorithms)
    says += f", {next(iter(algorithms))}" if len(algorithms) == 1 else ""
    says += f", precision {targets[0]:g}" if len(algorithms) > 1 else ""
    head(figure, f"{says}\nhollow: reached by some of the runs only", named_handles(axes))
    return figure


Curve = dict[int, tuple[Array, Array]]  # dim -> (t,) ERT / dim, (t,) share of runs that got there


def _times(runs: Sequence[Any], targets: Array) -> dict[int, Curve]:
    """function -> dim -> ERT over dim and success rate, for each target."""
    found: dict[int, Curve] = {}
    for (dim, function), group in by_function(runs).items():
        times, spent = run_times(group, targets)
        rate = np.isfinite(times).mean(axis=0)
        found.setdefault(function, {})[dim] = (ert(times, spent) / dim, rate)
    return found


def _medians(times: dict[int, Curve], functions: Sequence[int]) -> Curve:
    """The median over the functions, those never solved being infinite; where all were run."""
    dims = {dim for curve in times.values() for dim in curve}
    found: Curve = {}
    for dim in sorted(dims):
        each = [times[f][dim] for f in functions if dim in times.get(f, {})]
        if len(each) == len(functions):
            rows = np.array([row for row, _ in each])
            found[dim] = (np.sort(rows, axis=0)[len(rows) // 2], np.ones(rows.shape[1]))
    return found


def _panel(axis: Axes, curves: dict[str, Curve], targets: Array) -> None:
    for k, (name, curve) in enumerate(curves.items()):
        dims = np.array(sorted(curve))
        for j, target in enumerate(targets):
            which = k if len(curves) > 1 else j
            label = name if len(curves) > 1 else f"{target:.0e}"
            times = np.array([curve[dim][0][j] for dim in dims])
            rates = np.array([curve[dim][1][j] for dim in dims])
            _line(axis, which, dims, times, rates, label)


def _line(axis: Axes, k: int, dims: Array, times: Array, rates: Array, label: str) -> None:
    """A line through what was reached; marks are filled where all runs got there."""
    shown = np.where(np.isfinite(times), times, np.nan)
    looks = look(k, width=1.3) | {"markersize": 4, "zorder": 3}
    line = {key: value for key, value in looks.items() if not key.startswith("marker")}
    axis.plot(dims, shown, **line)
    for full in (True, False):
        some = (rates == 1) if full else (rates < 1)
        colour = looks["color"] if full else "white"
        marks = looks | {"linestyle": "none", "markerfacecolor": colour, "mew": 0.9}
        axis.plot(dims[some], shown[some], **marks)
    axis.plot([], [], label=label, **(looks | {"markerfacecolor": looks["color"]}))


def _reference(
    axis: Axes, suite: str, functions: Sequence[int], dims: Sequence[int], targets: Array
) -> None:
    """The best of 2009, or with two objectives of 2016, to the last target."""
    best, name = best2009.best2009, best2009.NAME
    if SUITES[suite].n_obj > 1:
        best, name = published.best2016, published.BEST
    known = [dim for dim in dims if dim in best2009.DIMENSIONS]
    if not _has_reference(suite, functions) or not known or targets[-1] < shown_targets(suite)[-1]:
        return
    last = targets[-1:]
    each = [[best(f, dim, last)[0] / dim for f in functions] for dim in known]
    middle = [np.sort(row)[len(functions) // 2] for row in each]
    finite = np.where(np.isfinite(middle), middle, np.nan)
    label = name if len(targets) == 1 else f"{name}, {targets[-1]:.0e}"
    axis.plot(known, finite, color=BEST_COLOUR, linewidth=4, label=label, zorder=1)


def _has_reference(suite: str, functions: Sequence[int]) -> bool:
    if SUITES[suite].n_obj > 1:
        return set(functions) <= set(SUITES["bbob-biobj"].functions)
    return suite == "bbob"


def _scales(axis: Axes, dims: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axis.set(xscale="log", yscale="log", xlim=(dims[0] / 1.25, dims[-1] * 1.25))
    axis.xaxis.set_major_locator(FixedLocator(dims))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.yaxis.set_major_locator(LogLocator(numticks=9))
    axis.yaxis.set_minor_locator(NullLocator())

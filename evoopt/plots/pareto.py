"""Fronts of runs with several objectives, with their ideal and nadir points and the knee.

Each pair of objectives has a panel. One run shows all that it evaluated, too; of several the ideal
and nadir points are those of all fronts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.front import Front
from evoopt.hypervolume import hypervolume
from evoopt.plots.style import COLOURS, GREY, MARKS, RC, check_format, save
from evoopt.plots.told import (
    Told,
    common_reference,
    names_of,
    read_comparable,
    reference_in_words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

MOST_RUNS = 7  # that can be told apart
MOST_OBJECTIVES = 4  # six panels
_MARGIN = 0.15  # of the range of the fronts, around them
_MOST_POINTS = 20_000  # of those that are dominated, the newest; more would only make a grey area
_CROWDED = 60  # points of a front, from which on its marks become small


def draw(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the fronts of runs.

    Args:
        runs: run directories, finished or not, on one problem.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, too many, on several problems, of one objective or of too many,
            or another format.
        StateError: a folder holds no run, or one without a successful evaluation.
        MissingDependencyError: a package is not installed.
    """
    file = Path(out)
    check_format(file, "pareto")
    told = read_comparable(runs, "pareto")
    m = told[0].F.shape[1]
    if len(told) > MOST_RUNS:
        raise ConfigurationError(
            f"pareto(runs=...) must be 1 to {MOST_RUNS} runs; got {len(told)}: draw eaf or "
            "hypervolume"
        )
    if m > MOST_OBJECTIVES:
        raise ConfigurationError(
            f"pareto(runs=...) must have 2 to {MOST_OBJECTIVES} objectives; got {m}"
        )
    from matplotlib import rc_context

    with rc_context(RC):
        return save(figure(told), file)


def figure(told: Sequence[Told]) -> Figure:
    """The figure of at least one run, all of them on one problem."""
    from matplotlib.figure import Figure

    pairs = list(combinations(range(told[0].F.shape[1]), 2))
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    size = (5.4, 4.6) if len(pairs) == 1 else (3.3 * columns, 0.9 + 3.0 * rows)
    drawn = Figure(figsize=size, layout="constrained")
    fronts = [each.front() for each in told]
    for axis, pair in zip(drawn.subplots(rows, columns, squeeze=False).flat, pairs, strict=True):
        _panel(axis, told, fronts, pair)
    _head(drawn, drawn.axes[0], told, fronts)
    return drawn


def _panel(
    axis: Axes, told: Sequence[Told], fronts: Sequence[Array], pair: tuple[int, int]
) -> None:
    """Two of the objectives."""
    i, j = pair
    first = told[0]
    together = np.concatenate(fronts)
    low, high = first.shown(together.min(axis=0)), first.shown(together.max(axis=0))
    if len(told) == 1:
        others = first.shown(first.F[np.isfinite(first.F).all(axis=1)][-_MOST_POINTS:])
        axis.scatter(
            others[:, i], others[:, j], s=5, color="#C4C4C4", linewidths=0, label="evaluated"
        )
    for k, (each, front) in enumerate(zip(told, fronts, strict=True)):
        _draw_front(axis, k, each, front, pair, names_of(told)[k])
    for point, name, mark in ((low, "ideal", "*"), (high, "nadir", "X")):
        axis.plot(
            point[i], point[j], mark, color="#404040", markersize=8, label=name, linestyle="none"
        )
    box = ([low[i], low[i], high[i]], [high[j], low[j], low[j]])
    axis.plot(*box, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    _limits(axis, low, high, pair)
    signs = ["maximised" if flag else "minimised" for flag in first.maximize]
    says = [f"f{o + 1}" + (f", {signs[o]}" if any(first.maximize) else "") for o in pair]
    axis.set(xlabel=says[0], ylabel=says[1])


def _draw_front(
    axis: Axes, k: int, told: Told, front: Array, pair: tuple[int, int], name: str
) -> None:
    """The k-th run: what it attains, its points, and its knee."""
    i, j = pair
    colour = COLOURS[k % len(COLOURS)]
    shown = told.shown(front)
    if front.shape[1] == 2:
        axis.plot(*told.shown(stairs(front)).T, color=colour, linewidth=1.0, zorder=2)
    axis.plot(
        shown[:, i],
        shown[:, j],
        MARKS[k % len(MARKS)],
        color=colour,
        markersize=4 if len(front) < _CROWDED else 2.2,
        linestyle="none",
        label=f"{name} ({len(front)} point{'' if len(front) == 1 else 's'})",
        zorder=3,
    )
    knee = shown[Front(front, front, front.max(axis=0)).knee]
    axis.plot(
        knee[i],
        knee[j],
        "o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=1.4,
        linestyle="none",
        label="knee" if k == 0 else None,
        zorder=4,
    )


def stairs(front: Array) -> Array:
    """(2k - 1, 2) the corners of what a front of two objectives attains. front: (k, 2) by f1."""
    corners = np.repeat(front, 2, axis=0)[:-1]
    corners[1::2, 0] = front[1:, 0]
    return corners


def _limits(axis: Axes, low: Array, high: Array, pair: tuple[int, int]) -> None:
    """The fronts and a margin: what is far away would press them into a corner."""
    ends = []
    for o in pair:
        first, last = sorted((float(low[o]), float(high[o])))
        margin = _MARGIN * ((last - first) or abs(last) or 1.0)
        ends.append((first - margin, last + margin))
    axis.set(xlim=ends[0], ylim=ends[1])


def _head(drawn: Figure, axis: Axes, told: Sequence[Told], fronts: Sequence[Array]) -> None:
    """What the picture shows, and what its marks mean."""
    labels = sorted({each.label for each in told})
    says = "; ".join([told[0].problem, *(labels if len(labels) == 1 else [])])
    if len(told) == 1:
        volume = hypervolume(fronts[0], common_reference(told)[0])
        says += f"\nhypervolume {volume:.6g}, {reference_in_words(told)}"
    drawn.suptitle(says, fontsize="medium")
    handles, names = axis.get_legend_handles_labels()
    columns = max(1, min(4, 72 // max(map(len, names))))
    drawn.legend(handles, names, loc="outside lower center", ncols=columns)

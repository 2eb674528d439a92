"""Attainment surfaces of runs with two objectives, and where two algorithms differ, by moocore.

The surface of a share of the runs separates what at least so many of them have attained, that is
found or bettered, from the rest: a median and quartiles of whole fronts. Of two algorithms the
differences of the shares of runs are drawn, too, those in favour of each in a panel of its own.

Source: Grunert da Fonseca, Fonseca & Hall (2001), doi:10.1007/3-540-44719-9_15; Lopez-Ibanez,
Paquete & Stutzle (2010), doi:10.1007/978-3-642-02538-9_9, for the differences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.hypervolume import moocore, nondominated
from evoopt.plots.bands import FEWEST
from evoopt.plots.pareto import stairs
from evoopt.plots.style import COLOURS, DASHES, RC, check_format, save
from evoopt.plots.told import Told, read_comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Groups = Mapping[str, Sequence[Told]]

MOST_ALGORITHMS = 7  # that can be told apart
QUARTILES = (25.0, 50.0, 75.0)
_MARGIN = 0.08  # of the range of all fronts, beyond them
_CELLS = 300  # of each axis, about a pixel, where fronts have more points than that
_LEAST = 0.2  # share of the runs by which two algorithms must differ to be coloured


def draw(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the attainment surfaces of runs.

    Args:
        runs: run directories, finished or not, on one problem with two objectives; at least
            `FEWEST` of each algorithm.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: other runs, or another format.
        StateError: a folder holds no run, or one without a successful evaluation.
        MissingDependencyError: a package is not installed.
    """
    file = Path(out)
    check_format(file, "eaf")
    told = read_comparable(runs, "eaf")
    found = by_label(told)
    if told[0].F.shape[1] != 2:
        raise ConfigurationError(
            f"eaf(runs=...) must have two objectives; got {told[0].F.shape[1]}: draw pareto"
        )
    fewest = min(len(own) for own in found.values())
    if fewest < FEWEST or len(found) > MOST_ALGORITHMS:
        raise ConfigurationError(
            f"eaf(runs=...) must be at least {FEWEST} runs of each algorithm, and up to "
            f"{MOST_ALGORITHMS} algorithms; got {fewest} of one, and {len(found)}: draw pareto"
        )
    moocore()
    from matplotlib import rc_context

    with rc_context(RC):
        return save(figure(found), file)


def by_label(told: Sequence[Told]) -> dict[str, list[Told]]:
    """Label -> its runs."""
    found: dict[str, list[Told]] = defaultdict(list)
    for each in told:
        found[each.label].append(each)
    return dict(found)


def figure(found: Groups) -> Figure:
    """The figure of several runs of each algorithm, after as many evaluations as all had."""
    from matplotlib.figure import Figure

    every = [each for own in found.values() for each in own]
    spent = min(each.evaluations for each in every)
    limits = _limits([each.front(spent) for each in every])
    panels = 3 if len(found) == 2 else 1
    size = (9.9, 4.0) if panels == 3 else (5.4, 4.6)
    drawn = Figure(figsize=size, layout="constrained")
    axes = drawn.subplots(1, panels, squeeze=False)[0]
    _draw_surfaces(axes[0], found, spent, limits)
    if panels == 3:
        _draw_differences(drawn, axes[1:], found, spent, limits)
    signs = ["maximised" if flag else "minimised" for flag in every[0].maximize]
    says = [f"f{o + 1}" + (f", {signs[o]}" if any(every[0].maximize) else "") for o in (0, 1)]
    x, y = every[0].shown(limits).T
    for axis in axes:
        axis.set(xlabel=says[0], ylabel=says[1], xlim=sorted(x), ylim=sorted(y))
    head = f"{every[0].problem}; attained after {spent} evaluations"
    drawn.suptitle(head, fontsize="medium")
    handles, names = axes[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)))
    return drawn


def surfaces(fronts: Sequence[Array], shares: Sequence[float]) -> list[Array]:
    """For each share the points (k, 2) of the surface that so many of the runs attain, by f1.

    Args:
        fronts: of each run, as minimised.
        shares: in percent.
    """
    points, sets = np.concatenate(fronts), _numbers(fronts)
    table = moocore().eaf(points, sets, percentiles=list(shares))
    found = [table[np.isclose(table[:, 2], share)][:, :2] for share in shares]
    return [surface[np.argsort(surface[:, 0])] for surface in found]


def differences(first: Sequence[Array], second: Sequence[Array]) -> Array:
    """(r, 5) rectangles: low f1 and f2, high f1 and f2, and by how large a share of its runs the
    first attains it more often than the second; as many runs of each.

    Args:
        first, second: the fronts of each run, as minimised.
    """
    assert len(first) == len(second)
    tables = [
        np.column_stack((np.concatenate(fronts), _numbers(fronts))) for fronts in (first, second)
    ]
    found: Array = np.array(moocore().eafdiff(*tables, rectangles=True))
    found[:, 4] /= len(first)
    return found


def rounded(front: Array, limits: Array) -> Array:
    """A front on a grid, its values made worse by less than a cell. front: (k, 2)."""
    cell = (limits[1] - limits[0]) / _CELLS
    coarse = limits[0] + np.ceil((front - limits[0]) / cell) * cell
    kept: Array = coarse[nondominated(coarse)]
    return kept


def _numbers(fronts: Sequence[Array]) -> NDArray[np.int64]:
    """Of the run, for each point of all fronts; from 1."""
    return np.repeat(np.arange(1, len(fronts) + 1), [len(front) for front in fronts])


def _draw_surfaces(axis: Axes, found: Groups, spent: int, limits: Array) -> None:
    """The median of each algorithm, and what lies between its quartiles."""
    for k, (label, own) in enumerate(found.items()):
        colour = COLOURS[k % len(COLOURS)]
        found_now = surfaces([each.front(spent) for each in own], QUARTILES)
        low, middle, high = (own[0].shown(_closed(surface, limits)) for surface in found_now)
        axis.plot(
            *middle.T,
            color=colour,
            linestyle=DASHES[k % len(DASHES)],
            label=f"{label}: median of {len(own)} runs, quartiles",
            zorder=3,
        )
        between = np.concatenate((low, high[::-1]))
        axis.fill(*between.T, color=colour, alpha=0.2, linewidth=0, zorder=2)
    axis.set_title("attainment surfaces")


def _draw_differences(
    drawn: Figure, axes: Sequence[Axes], found: Groups, spent: int, limits: Array
) -> None:
    """Where one of two algorithms attains with more of its runs, in shades of its colour."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap

    (one, first), (two, second) = found.items()
    runs = min(len(first), len(second))
    exact = [[each.front(spent) for each in own[:runs]] for own in (first, second)]
    long = max(len(front) for own in exact for front in own) > _CELLS  # millions of rectangles
    fronts = [[rounded(front, limits) for front in own] for own in exact] if long else exact
    table = differences(*fronts)
    ends = np.clip(table[:, :4].reshape(-1, 2, 2), limits[0], limits[1])
    # low and high f1 and f2 of each rectangle, in the order of its corners
    corners = first[0].shown(np.stack((ends[:, [0, 1, 1, 0], 0], ends[:, [0, 0, 1, 1], 1]), -1))
    for axis, label, sign, colour in zip(axes, (one, two), (1, -1), COLOURS, strict=False):
        shades = LinearSegmentedColormap.from_list(label, ["#FFFFFF", colour])
        rows = sign * table[:, 4] >= _LEAST
        colours = shades(sign * table[rows, 4])
        axis.add_collection(
            PolyCollection(list(corners[rows]), facecolors=colours, linewidth=0, zorder=2)
        )
        axis.set_title(f"{label} attains more")
        bad1, bad2 = (not flag for flag in first[0].maximize)  # the corner where nothing is drawn
        scale = axis.inset_axes((0.6 if bad1 else 0.06, 0.93 if bad2 else 0.16, 0.34, 0.04))
        scale.imshow(np.linspace(0, 1, 64)[None], cmap=shades, aspect="auto", extent=(0, 100, 0, 1))
        scale.set(yticks=[], xticks=[0, 50, 100])
        scale.grid(visible=False)
        scale.set_xlabel("by % of the runs", fontsize="small")
        scale.tick_params(labelsize="small")


def _closed(surface: Array, limits: Array) -> Array:
    """The corners of a surface, led on to the edges of the picture. surface: (k, 2)."""
    right, high = limits[1]
    if not len(surface):
        return np.array([[right, high]])
    ends = np.array([[surface[0, 0], high]]), np.array([[right, surface[-1, 1]]])
    return np.concatenate((ends[0], stairs(surface), ends[1]))


def _limits(fronts: Sequence[Array]) -> Array:
    """(2, 2) least and largest values that are shown, as minimised."""
    points = np.concatenate(fronts)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * np.where(high > low, high - low, 1.0)
    return np.array([low - margin, high + margin])

"""What pictures of benchmark runs share: where runs come from, looks of lines, legends, grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoopt.errors import ConfigurationError
from evoopt.plots import style
from evoopt_bench import best2009, published
from evoopt_bench.records import read_manifest, read_runs
from evoopt_bench.suites import number_list
from evoopt_bench.targets import Run
from evoopt_bench.units import by_algorithm, is_comparison, read_comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Algorithms = Mapping[str, Sequence[Run]]  # name -> its runs

REFERENCES = (  # what was not run here; first in a legend
    best2009.NAME,
    published.BEST,
    *(f"{name} {published.YEAR}" for name in published.SHOWN),
)
BELOW = 5  # names that fit below a picture; more stand at its right
_FEW_COLUMNS = 3
_HANDLE_INCHES, _LETTER_INCHES = 0.55, 0.075  # widths in a legend
TITLES: dict[Any, Any] = {"axes.titlelocation": "center"}  # a panel's title is what it shows


@dataclass(frozen=True, slots=True)
class Exhibits:
    """What is to be drawn.

    Attributes:
        suite: of all runs.
        algorithms: name -> its runs.
    """

    suite: str
    algorithms: Algorithms

    def in_dimension(self, dim: int | None, kind: str) -> tuple[int, Algorithms]:
        """The dimension asked for, or the largest, and the runs in it.

        Raises:
            ConfigurationError: nothing was run in it.
        """
        dims = sorted({run.dim for runs in self.algorithms.values() for run in runs})
        chosen = dims[-1] if dim is None else dim
        if chosen not in dims:
            raise ConfigurationError(
                f"{kind}(dim=...) must be among {number_list(dims)}; got {chosen}"
            )
        kept = {
            name: own
            for name, runs in self.algorithms.items()
            if (own := [run for run in runs if run.dim == chosen])
        }
        return chosen, kept


def read_exhibits(folders: Sequence[Path | str], kind: str, only: Sequence[str] = ()) -> Exhibits:
    """The runs in folders of suite runs and of comparisons.

    Args:
        folders: a suite run is one algorithm, a comparison several.
        kind: of the picture, for messages.
        only: names of those to take, in this order; none for all.

    Raises:
        ConfigurationError: no runs, nothing done in one of them, runs on different suites, or a
            name that is not there.
        StateError: a folder holds neither.
    """
    found: dict[str, Sequence[Run]] = {}
    suites = []
    for folder in map(Path, folders):
        if is_comparison(folder):
            comparison = read_comparison(folder)
            suites.append(comparison.suite)
            groups = by_algorithm(comparison.outcomes)
            named = {name: [o.run for o in group] for name, group in groups.items()}
        else:
            manifest = read_manifest(folder)
            suites.append(manifest.selection.suite)
            named = {manifest.label: read_runs(folder)}
        for name, runs in named.items():
            found[f"{name} ({folder.name})" if name in found else name] = runs
    missed = [name for name in only if name not in found]
    if missed:
        raise ConfigurationError(
            f"{kind}(algorithms=...) must be among {', '.join(found)}; got {missed[0]!r}"
        )
    found = {name: found[name] for name in only} or found
    check_exhibits(found, kind)
    if len(set(suites)) > 1:
        different = ", ".join(sorted(set(suites)))
        raise ConfigurationError(f"{kind}(runs=...) must be on one suite; got {different}")
    return Exhibits(suites[0], found)


def check_exhibits(algorithms: Algorithms, kind: str) -> None:
    """Refuse an empty picture.

    Raises:
        ConfigurationError: no algorithm, or one without a run.
    """
    empty = [name for name, runs in algorithms.items() if not runs]
    if empty or not algorithms:
        raise ConfigurationError(
            f"{kind}(runs=...) must hold finished problems; got none in {empty}"
        )


def look(k: int, width: float = 1.8) -> dict[str, Any]:
    """Colour, dashes and mark of the k-th line; lines of one colour differ in the other two."""
    again = k // len(style.COLOURS)
    return {
        "color": style.COLOURS[k % len(style.COLOURS)],
        "linestyle": style.DASHES[k % len(style.DASHES)],
        "marker": style.MARKS[(k + 3 * again) % len(style.MARKS)],
        "markersize": 5,
        "markerfacecolor": "white",
        "linewidth": width,
    }


def head(figure: Figure, title: str, handles: Mapping[str, Any]) -> None:
    """A title above and a legend below, or at the right where there are many names."""
    lines, names = list(handles.values()), list(handles)
    if len(handles) <= BELOW:
        fit = figure.get_figwidth() / (_HANDLE_INCHES + _LETTER_INCHES * max(map(len, names)))
        columns = max(1, min(4, int(fit)))
        figure.legend(lines, names, loc="outside lower center", ncols=columns, frameon=False)
    else:
        figure.legend(lines, names, loc="outside right center", frameon=False)
    figure.suptitle(title, fontsize="medium")


def named_handles(axes: Sequence[Axes]) -> dict[str, Any]:
    """Name -> line, from all panels; the references first, then in the order drawn."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return {name: found[name] for name in REFERENCES if name in found} | found


def grid(
    panels: int, size: tuple[float, float], margin: tuple[float, float]
) -> tuple[Figure, Sequence[Axes]]:
    """A figure with as many panels, near the shape of a page, and its axes in reading order.

    Args:
        panels: how many.
        size: width and height of one in inches.
        margin: what is added for title, labels and legend.
    """
    from matplotlib.figure import Figure  # alone, without pyplot: no window, no global state

    columns = min(panels, _FEW_COLUMNS if panels <= 2 * _FEW_COLUMNS else 5)
    rows = -(-panels // columns)
    shape = (max(5.4, margin[0] + size[0] * columns), margin[1] + size[1] * rows)
    figure = Figure(figsize=shape, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[panels:]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, panels - columns) : panels]:
        axis.tick_params(labelbottom=True)
    shown: list[Axes] = list(axes.flat[:panels])
    return figure, shown


def lowest(axes: Sequence[Axes]) -> list[Axes]:
    """The panels with nothing below them, which carry the label of the x axis."""
    specs = [axis.get_subplotspec() for axis in axes]
    columns = {spec.colspan.start: axis for spec, axis in zip(specs, axes, strict=True) if spec}
    return list(columns.values())


def label_axes(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> None:
    """A label below each column and one for all y axes, where panels are many."""
    for axis in lowest(axes):  # one for the whole figure would lie on the legend
        axis.set_xlabel(x)
    figure.supylabel(y, fontsize="medium")


def leftmost(axes: Sequence[Axes]) -> list[Axes]:
    """The panels of the first column, which carry the label of the y axis."""
    return [axis for axis in axes if (spec := axis.get_subplotspec()) and not spec.colspan.start]


def what(suite: str, algorithms: Algorithms) -> str:
    """Suite, functions and number of instances in words."""
    runs = [run for group in algorithms.values() for run in group]
    functions = number_list(sorted({run.function for run in runs}))
    if len({frozenset(run.function for run in own) for own in algorithms.values()}) > 1:
        functions += " (not all by each)"
    counts = {len({run.instance for run in own}) for own in algorithms.values()}
    low, high = min(counts), max(counts)
    instances = f"{high}" if low == high else f"{low} to {high}"
    return f"{suite} f{functions}, {instances} instance{'s' if high > 1 else ''}"

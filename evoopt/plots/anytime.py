"""Best f, step size, axis ratio and axes of runs against evaluations, in small multiples.

Up to `MOST_RUNS` runs are drawn each by itself. Where every algorithm has at least `bands.FEWEST`
of them, each algorithm is drawn instead: the median of its runs, and the band of its quartiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.plots import bands
from evoopt.plots.course import Course, read_course
from evoopt.plots.style import COLOURS, DASHES, GREY, MARKS, RC, check_format, save
from evoopt.plots.told import read_comparable, with_one_reference
from evoopt.plots.values import WIDE, Values, choose_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Array = NDArray[np.float64]

MOST_RUNS = 7  # that can be told apart
_LEGEND = 96  # characters that fit side by side in the legend
_SIGMA, _RATIO = "step size sigma", "axis ratio (its square: condition number)"
_MOST_LINES = 60  # restarts drawn as lines; more would hide the curves


def draw(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the course of runs.

    Args:
        runs: run directories, finished or not.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, too many, or another format.
        StateError: a folder holds no run, or one without a complete generation.
        MissingDependencyError: matplotlib is not installed.
    """
    file = Path(out)
    check_format(file, "plot")
    courses = read(runs)
    if not courses or (len(courses) > MOST_RUNS and not bands.are_comparable(courses)):
        raise ConfigurationError(
            f"draw(runs=...) must be 1 to {MOST_RUNS} runs, or at least {bands.FEWEST} of each "
            f"algorithm on one problem; got {len(runs)}"
        )
    from matplotlib import rc_context

    with rc_context(RC):
        return save(figure(courses), file)


def read(runs: Sequence[Path | str]) -> list[Course]:
    """The courses of runs; hypervolumes of several are counted from one reference point."""
    courses = [read_course(Path(run)) for run in runs]
    if len({course.n_obj for course in courses}) > 1:
        counts = ", ".join(f"{course.n_obj} in {course.name}" for course in courses)
        raise ConfigurationError(f"draw(runs=...) must have as many objectives each; got {counts}")
    if len(courses) > 1 and courses[0].n_obj > 1:
        return with_one_reference(courses, read_comparable(runs, "anytime"))
    return courses


def figure(courses: Sequence[Course]) -> Figure:
    """The figure of at least one run."""
    from matplotlib.figure import Figure  # alone, without pyplot: no window, no global state

    many = bands.are_comparable(courses)
    panels = _band_panels(courses) if many else _panels(courses)
    columns = min(3 if many else 2, len(panels))
    rows = -(-len(panels) // columns)
    size = (5.4, 3.4) if len(panels) == 1 else (3.9 * columns, (1.3 if many else 0.9) + 2.2 * rows)
    drawn = Figure(figsize=size, layout="constrained")
    axes = drawn.subplots(rows, columns, sharex=True, squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        panel(axis, courses)
    scale = _evaluations_scale(courses)
    for i, axis in enumerate(axes.flat):
        if i >= len(panels):
            axis.set_visible(False)
            continue
        axis.set_xscale(scale)
        _plain_ticks(axis)
        if not many:
            _mark_restarts(axis, courses)
        if i + columns >= len(panels):
            axis.set_xlabel("evaluations")
            axis.tick_params(labelbottom=True)
    _head(drawn, axes.flat[0], courses, many)
    return drawn


def _band_panels(courses: Sequence[Course]) -> list[Callable[[Axes, Sequence[Course]], None]]:
    """Values, and where there are some step sizes and axis ratios, as medians and quartiles."""
    points = bands.evaluation_points(courses, _evaluations_scale(courses))
    found = bands.groups(courses)

    def values(axis: Axes, courses: Sequence[Course]) -> None:
        chosen = choose_values(courses)

        def shown(course: Course) -> Array:
            y = chosen.shown(course)
            # the best of all is no distance away, which a logarithmic axis cannot show: not missing
            return np.where(np.isnan(y) & np.isfinite(course.history.f), 0.0, y)

        bands.draw_bands(axis, found, shown, points)
        _dress_values(axis, chosen)

    def sigma(axis: Axes, courses: Sequence[Course]) -> None:
        bands.draw_bands(axis, found, lambda c: c.history.sigma, points)
        axis.set_title(_SIGMA)
        axis.set_yscale("log")

    def ratio(axis: Axes, courses: Sequence[Course]) -> None:
        bands.draw_bands(axis, found, lambda c: c.history.axis_ratio, points)
        axis.set_title(_RATIO)
        axis.set_yscale("log")

    panels: list[Callable[[Axes, Sequence[Course]], None]] = [values, sigma, ratio]
    return panels[: len(_panels(courses))]


def _panels(courses: Sequence[Course]) -> list[Callable[[Axes, Sequence[Course]], None]]:
    """Those that have something to show: random search has neither sigma nor axes."""
    panels: list[Callable[[Axes, Sequence[Course]], None]] = [_draw_values]
    if any(np.isfinite(c.history.sigma).any() for c in courses):
        panels.append(_draw_sigma)
    if any(np.isfinite(c.history.axes).any() and c.history.axes.shape[1] > 1 for c in courses):
        panels += [_draw_ratio, _draw_axes]
    return panels


def _draw_values(axis: Axes, courses: Sequence[Course]) -> None:
    values = choose_values(courses)
    for k, course in enumerate(courses):
        f = values.shown(course)
        line = _line(axis, k, course.history.evaluations, f, label=_names(courses)[k])
        line.set_drawstyle("steps-post")  # the best value stays until there is a better one
    _dress_values(axis, values)


def _dress_values(axis: Axes, values: Values) -> None:
    """Title, scale and target."""
    axis.set_title(values.title)
    if values.scale == "symlog":
        axis.set_yscale("symlog", linthresh=1.0)
    else:
        axis.set_yscale(values.scale)
    if np.isfinite(values.bar):
        axis.axhline(values.bar, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axis.annotate(
            "target",
            (0.0, values.bar),
            xycoords=("axes fraction", "data"),
            xytext=(3, 2),
            textcoords="offset points",
            color="#5A5A5A",
            fontsize="small",
        )


def _draw_sigma(axis: Axes, courses: Sequence[Course]) -> None:
    for k, course in enumerate(courses):
        _line(axis, k, *_broken(course, course.history.sigma))
    axis.set_title(_SIGMA)
    axis.set_yscale("log")


def _draw_ratio(axis: Axes, courses: Sequence[Course]) -> None:
    for k, course in enumerate(courses):
        _line(axis, k, *_broken(course, course.history.axis_ratio))
    axis.set_title(_RATIO)
    axis.set_yscale("log")


def _draw_axes(axis: Axes, courses: Sequence[Course]) -> None:
    """All axes of a single run; of several the shortest and the longest."""
    for k, course in enumerate(courses):
        lengths = course.history.axes
        if len(courses) == 1:
            for j in range(lengths.shape[1]):
                shade = 0.35 + 0.65 * j / max(1, lengths.shape[1] - 1)
                at, length = _broken(course, lengths[:, j])
                axis.plot(at, length, color=COLOURS[0], alpha=shade, linewidth=1.0)
        else:
            _line(axis, k, *_broken(course, lengths[:, 0]))
            _line(axis, k, *_broken(course, lengths[:, -1]))
    which = "axes" if len(courses) == 1 else "shortest and longest axis"
    axis.set_title(f"{which} in units of sigma")
    axis.set_yscale("log")


def _broken(course: Course, y: Array) -> tuple[Array, Array]:
    """Evaluations and y, with a gap at each restart, where the distribution jumps. y: (r,)."""
    at = course.history.evaluations.astype(float)
    gaps = np.searchsorted(at, course.restarts)  # rows that tell of the new start
    gaps = np.unique(gaps[(gaps > 0) & (gaps < len(at))])
    return np.insert(at, gaps, at[gaps]), np.insert(y, gaps, np.nan)


def _line(axis: Axes, k: int, at: NDArray[Any], y: Array, label: str | None = None) -> Line2D:
    """The k-th run: its line, and a mark at its end. at, y: (r,)."""
    there = np.flatnonzero(np.isfinite(y))
    (line,) = axis.plot(
        at,
        np.where(np.isfinite(y), y, np.nan),
        color=COLOURS[k % len(COLOURS)],
        linestyle=DASHES[k % len(DASHES)],
        marker=MARKS[k % len(MARKS)],
        markevery=[int(there[-1])] if there.size else [],
        markersize=4.5,
        label=label,
        zorder=3,
    )
    return line


def _plain_ticks(axis: Axes) -> None:
    """0.5, 1, 2 rather than powers of ten on a logarithmic axis of few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_ylim()
    if axis.get_yscale() == "log" and high < WIDE * low:
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def _mark_restarts(axis: Axes, courses: Sequence[Course]) -> None:
    """Lines where a single run was started again; ticks at the lower edge where several were."""
    for k, course in enumerate(courses):
        if len(courses) == 1:
            for at in course.restarts[:_MOST_LINES]:
                axis.axvline(float(at), color=GREY, linewidth=0.7, linestyle=":", zorder=0.5)
        elif course.restarts.size:
            low = (0.0, 0.035)[k % 2]
            axis.vlines(
                course.restarts.astype(float),
                low,
                low + 0.03,
                colors=COLOURS[k % len(COLOURS)],
                linewidth=1.0,
                transform=axis.get_xaxis_transform(),
            )


def _evaluations_scale(courses: Sequence[Course]) -> str:
    """Logarithmic over decades, but not where restarts would crowd at its end."""
    first = min(int(c.history.evaluations[0]) for c in courses)
    last = max(int(c.history.evaluations[-1]) for c in courses)
    restarted = any(c.restarts.size for c in courses)
    return "linear" if restarted or last < WIDE * first else "log"


def _names(courses: Sequence[Course]) -> list[str]:
    """The shortest that tells the runs apart: what ran, the problem, both, or the folder."""
    ways: tuple[Callable[[Course], str], ...] = (
        lambda c: c.label,
        lambda c: c.problem,
        lambda c: f"{c.problem}, {c.label}",
    )
    for way in ways:
        names = [way(course) for course in courses]
        if len(set(names)) == len(names):
            return names
    return [course.name for course in courses]


def _head(drawn: Figure, axis: Axes, courses: Sequence[Course], many: bool) -> None:
    """What the picture shows, and which line is which run."""
    problems = sorted({c.problem for c in courses})
    labels = sorted({c.label for c in courses})
    parts = [problems[0] if len(problems) == 1 else f"{len(problems)} problems"]
    parts += labels if len(labels) == 1 else []
    if many:
        parts.append("medians and quartiles")
    elif any(c.restarts.size for c in courses):
        parts.append("dotted: restarts" if len(courses) == 1 else "ticks: restarts")
    drawn.suptitle("; ".join(parts), fontsize="medium")
    if len(courses) > 1:
        handles, names = axis.get_legend_handles_labels()
        columns = max(1, min(3, _LEGEND // max(map(len, names))))
        drawn.legend(handles, names, loc="outside lower center", ncols=columns)

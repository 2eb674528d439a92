"""Courses of many runs: for each algorithm the median of its runs and the band of its quartiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evoopt.plots.course import Course
from evoopt.plots.style import COLOURS, DASHES, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Groups = Mapping[str, Sequence[Course]]

FEWEST = 3  # runs of an algorithm whose quartiles say something
_POINTS = 300  # of a line
_QUARTILES = (25, 50, 75)


def groups(courses: Sequence[Course]) -> dict[str, list[Course]]:
    """Label -> its runs, in the order in which labels come."""
    found: dict[str, list[Course]] = defaultdict(list)
    for course in courses:
        found[course.label].append(course)
    return dict(found)


def are_comparable(courses: Sequence[Course]) -> bool:
    """Whether medians can be taken: enough runs of each algorithm, on one problem or with known
    optima."""
    enough = all(len(own) >= FEWEST for own in groups(courses).values())
    one = len({course.problem for course in courses}) == 1
    return enough and (one or all(np.isfinite(course.f_opt) for course in courses))


def quartiles(courses: Sequence[Course], values: Callable[[Course], Array], points: Array) -> Array:
    """(3, p) quartiles over the runs at each number of evaluations.

    A run that has ended keeps its last value, one that has not begun or has no value counts as
    infinite; where that makes a quartile infinite it is NaN.

    Args:
        courses: of one algorithm.
        values: a course -> (r,) what is drawn of it.
        points: (p,) numbers of evaluations, ascending.
    """
    table = np.full((len(courses), len(points)), np.inf)
    for row, course in zip(table, courses, strict=True):
        last = np.searchsorted(course.history.evaluations, points, side="right") - 1
        there = last >= 0
        y = values(course)[last[there]]
        row[there] = np.where(np.isfinite(y), y, np.inf)
    found = np.percentile(table, _QUARTILES, axis=0, method="nearest")
    return np.where(np.isfinite(found), found, np.nan)


def evaluation_points(courses: Sequence[Course], scale: str) -> Array:
    """(p,) numbers of evaluations, evenly spread on an axis of that scale."""
    first = min(int(c.history.evaluations[0]) for c in courses)
    last = max(int(c.history.evaluations[-1]) for c in courses)
    spread = np.geomspace if scale == "log" else np.linspace
    points: Array = np.unique(spread(first, last, _POINTS).round())
    return points


def draw_bands(axis: Axes, found: Groups, values: Callable[[Course], Array], points: Array) -> None:
    """A line and a band for each algorithm; nothing for one without values."""
    for k, (label, own) in enumerate(found.items()):
        low, middle, high = quartiles(own, values, points)
        if np.isnan(middle).all():
            continue
        colour = COLOURS[k % len(COLOURS)]
        axis.plot(
            points,
            middle,
            color=colour,
            linestyle=DASHES[k % len(DASHES)],
            marker=MARKS[k % len(MARKS)],
            markevery=(20 + 11 * k % 60, 60),
            markersize=4.5,
            markerfacecolor="white",
            drawstyle="steps-post",
            label=f"{label} ({len(own)} runs)",
            zorder=3,
        )
        axis.fill_between(
            points, low, high, step="post", color=colour, alpha=0.18, linewidth=0, zorder=2
        )

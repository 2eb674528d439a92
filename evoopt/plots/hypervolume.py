"""Hypervolume of runs with several objectives against evaluations, and what is missing to the best.

All runs count for one reference point, and what is missing is missing to the front of all of them
together. Where every algorithm has at least `bands.FEWEST` runs, each algorithm is drawn: the
median of its runs, and the band of its quartiles. Else up to `MOST_RUNS` runs are drawn each by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evoopt import hypervolume
from evoopt.errors import ConfigurationError
from evoopt.plots import bands
from evoopt.plots.course import Course
from evoopt.plots.style import COLOURS, DASHES, MARKS, RC, check_format, save
from evoopt.plots.told import (
    Told,
    common_reference,
    names_of,
    read_comparable,
    reference_in_words,
)
from evoopt.plots.values import WIDE
from evoopt.result import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Values = Callable[[Course], Array]

MOST_RUNS = 7  # that can be told apart


def draw(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the hypervolume of runs.

    Args:
        runs: run directories, finished or not, on one problem.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no runs, too many, on several problems, of one objective, or another
            format.
        StateError: a folder holds no run, or one without a successful evaluation.
        MissingDependencyError: a package is not installed.
    """
    file = Path(out)
    check_format(file, "hypervolume")
    told = read_comparable(runs, "hypervolume")
    if len(told) > MOST_RUNS and not _are_many(told):
        raise ConfigurationError(
            f"hypervolume(runs=...) must be 1 to {MOST_RUNS} runs, or at least {bands.FEWEST} of "
            f"each algorithm; got {len(told)}"
        )
    from matplotlib import rc_context

    with rc_context(RC):
        return save(figure(told), file)


def figure(told: Sequence[Told]) -> Figure:
    """The figure of at least one run, all of them on one problem."""
    from matplotlib.figure import Figure

    reference, _ = common_reference(told)
    courses = [_course(each, reference) for each in told]
    best = hypervolume.hypervolume(np.concatenate([each.front() for each in told]), reference)
    drawn = Figure(figsize=(7.8, 3.9), layout="constrained")
    axes = drawn.subplots(1, 2)
    last = max(int(c.history.evaluations[-1]) for c in courses)
    scale = "log" if last >= WIDE else "linear"
    values: tuple[Values, Values] = (lambda c: c.history.f, lambda c: _missing(best, c.history.f))
    whose = "all runs together" if len(told) > 1 else "the end"
    titles = ("hypervolume", f"missing to that of {whose}")
    for axis, title, value in zip(axes, titles, values, strict=True):
        if _are_many(told):
            points = bands.evaluation_points(courses, scale)
            bands.draw_bands(axis, bands.groups(courses), value, points)
        else:
            _draw_runs(axis, courses, value, names_of(told))
        axis.set(title=title, xscale=scale, xlabel="evaluations")
    _log_axis(axes[1], best)
    _head(drawn, told)
    return drawn


def _missing(best: float, volumes: Array) -> Array:
    """To the best; NaN where it overflows. volumes: (r,)."""
    with np.errstate(invalid="ignore"):
        return best - volumes


def _are_many(told: Sequence[Told]) -> bool:
    """Whether each algorithm has enough runs for its quartiles to say something."""
    labels = [each.label for each in told]
    return all(labels.count(label) >= bands.FEWEST for label in labels)


def _course(told: Told, reference: Array) -> Course:
    """The hypervolume of a run as its history."""
    at, volume = told.volumes(reference)
    nothing = np.full(len(at), np.nan)
    return Course(
        name=told.name,
        problem=told.problem,
        label=told.label,
        history=History(at, volume, nothing, nothing[:, None]),
        restarts=np.empty(0, dtype=np.int64),
        target=np.nan,
        f_opt=np.nan,
        maximize=True,
        finished=True,
    )


def _draw_runs(axis: Axes, courses: Sequence[Course], values: Values, names: Sequence[str]) -> None:
    """A line and a mark at its end for each run."""
    for k, (course, name) in enumerate(zip(courses, names, strict=True)):
        axis.plot(
            course.history.evaluations,
            values(course),
            color=COLOURS[k % len(COLOURS)],
            linestyle=DASHES[k % len(DASHES)],
            marker=MARKS[k % len(MARKS)],
            markevery=[-1],
            markersize=4.5,
            drawstyle="steps-post",
            label=name,
            zorder=3,
        )


def _log_axis(axis: Axes, best: float) -> None:
    """Differences that are only rounding are nothing."""
    least = best * np.finfo(np.float64).eps * 16
    shown = [y for line in axis.get_lines() for y in np.asarray(line.get_ydata()) if y > least]
    if not shown:
        return
    axis.set_yscale("log", nonpositive="mask")
    axis.set_ylim(min(shown) / 1.5, max(shown) * 1.5)


def _head(drawn: Figure, told: Sequence[Told]) -> None:
    labels = sorted({each.label for each in told})
    parts = [told[0].problem, *(labels if len(labels) == 1 else [])]
    parts += ["medians and quartiles"] if _are_many(told) else []
    drawn.suptitle("; ".join(parts) + f"\n{reference_in_words(told)}", fontsize="medium")
    if len(told) > 1:
        handles, names = drawn.axes[0].get_legend_handles_labels()
        columns = max(1, min(4, 84 // max(map(len, names))))
        drawn.legend(handles, names, loc="outside lower center", ncols=columns)

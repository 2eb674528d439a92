"""Learning rates and weight-norm targets of training configurations against steps, without a run.

Drawn is what `optimizers.set_group` sets for the matrices of the model, step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, missing
from evoopt.plots.style import COLOURS, DASHES, RC, check_format, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evoopt_llm.config import TrainConfig

Array = NDArray[np.float64]
Curves = dict[str, tuple[Array, Array]]  # steps (k,) and values (k,) by title

MOST = len(COLOURS)  # configurations that can be told apart
RATE, RATIO, NORM = "learning rate", "norm target, of the initial norm", "norm target"
REPLAY, K = "norm target, of the recorded norm", "update rate k, or decay a step"
TITLES = (RATE, RATIO, NORM, REPLAY, K)  # of panels, in their order
_POINTS = 2000  # of a curve, beside restarts: more than a picture has columns


def draw(configs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the schedules of configurations.

    Args:
        configs: files as `evoopt-train` takes them.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: a file is no configuration, too many of them, or another format.
        MissingDependencyError: matplotlib or the extra `llm` is not installed.
    """
    file, paths = Path(out), [Path(config) for config in configs]
    check_format(file, "plot")
    if not 1 <= len(paths) <= MOST:
        raise ConfigurationError(f"draw(configs=...) must be 1 to {MOST} files; got {len(paths)}")
    found = dict(zip(_names(paths), (curves(_load(path)) for path in paths), strict=True))
    from matplotlib import rc_context

    with rc_context(RC):
        return save(figure(found), file)


def _names(paths: Sequence[Path]) -> list[str]:
    """Of the files: without folder and ending, where that tells them apart."""
    names = [path.stem for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _load(path: Path) -> TrainConfig:
    try:
        from evoopt_llm.config import load
    except ImportError as error:
        raise missing(error.name or "torch", "llm", "a training configuration") from error
    return load(path)


def curves(config: TrainConfig) -> Curves:
    """What the configuration sets, over its steps."""
    from evoopt_llm.optimizers import group_of, set_group
    from evoopt_llm.optimizersettings import SGDSettings
    from evoopt_llm.schedules import multiplier, period

    total, settings = config.total_steps, config.optimizer
    group = group_of(settings, "matrix", total)
    steps = _steps(config)
    rows: dict[str, list[float]] = {}
    for step in steps:
        factor = multiplier(config.schedule, step, total)
        by_period = getattr(settings, "normalised_decay", None) is not None
        restart = period(config.schedule, step, total) if by_period else None
        set_group(group, settings, factor, step / max(1, total - 1), restart)
        for title, value in _values(group, getattr(settings, "replay", None)).items():
            rows.setdefault(title, []).append(value)
    if isinstance(settings, SGDSettings):
        del rows[K]  # its decay goes through the momentum: no rate of a step
    return {title: (np.array(steps, float), np.array(row)) for title, row in rows.items()}


def _values(group: dict[str, Any], replay: str | None) -> dict[str, float]:
    """Of the group of an optimizer at one step, by title."""
    k = group.get("update_rate")
    found = {RATE: group["lr"], K: group["lr"] * group["weight_decay"] if k is None else k}
    if group.get("target_norm") is not None:
        found[NORM] = group["target_norm"]
    elif "target_ratio" in group:
        found[RATIO if replay is None else REPLAY] = group["target_ratio"]
    return found


def _steps(config: TrainConfig) -> list[int]:
    """Those to draw: all, or evenly some and the steps around each restart."""
    from evoopt_llm.schedules import decay_start, restarts, warmup

    total, schedule = config.total_steps, config.schedule
    again = restarts(schedule, total, _POINTS)  # more of them than columns cannot be seen
    marks = [warmup(schedule, total), decay_start(schedule, total), *again]
    last = max(1, min(total, _POINTS) - 1)
    even = (i * (total - 1) // last for i in range(last + 1))  # whole: they may exceed a float
    return sorted({*even, *marks, *(mark - 1 for mark in marks if mark)})


def figure(found: dict[str, Curves]) -> Figure:
    """The figure of the curves of at least one configuration, by name."""
    from matplotlib.figure import Figure  # alone, without pyplot: no window, no global state

    given = {title for of_one in found.values() for title in of_one}
    steered = given & {RATIO, NORM, REPLAY}  # else the decay follows the learning rate
    titles = [title for title in TITLES if title in given and (steered or title == RATE)]
    drawn = Figure(figsize=(5.4, 0.6 + 2.4 * len(titles)), layout="constrained")
    axes = drawn.subplots(len(titles), 1, sharex=True, squeeze=False)[:, 0]
    for axis, title in zip(axes, titles, strict=True):
        _panel(axis, title, found)
    axes[-1].set_xlabel("step")
    if len(found) > 1:
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    else:
        drawn.suptitle(next(iter(found)), fontsize="medium", x=0.02, ha="left")
    return drawn


def _panel(axis: Axes, title: str, found: dict[str, Curves]) -> None:
    for i, (name, of_one) in enumerate(found.items()):
        if title in of_one:
            colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
            axis.plot(*of_one[title], color=colour, linestyle=dash, label=name)
    axis.set_title(title)
    axis.set_ylim(bottom=0.0)

"""Loss curves of training runs, also while they go on: bits per byte against tokens.

Held-out losses are lines, training losses thin ones behind them. Runs whose configs differ in their
seeds alone are one method: its median is drawn, and its runs behind it. A run that is named twice
is drawn once; of folders with the same name as much of the path is shown as tells them apart.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError, StateError, missing
from evoopt.plots.style import COLOURS, DASHES, MARKS, RC, check_format, save
from evoopt_llm.runfolder import METRICS, read_config, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Points = tuple[Array, Array]  # tokens (k,) and bits per byte (k,)

MOST = len(COLOURS) * len(DASHES)  # methods that can be told apart
_SEEDS = ("seed", "data_seed")
_WIDE = 30.0  # last over first number of tokens from which on the axis is logarithmic
_HEADROOM = 1.05


@dataclass(frozen=True, slots=True)
class Curve:
    """A run.

    Attributes:
        name: of its folder, or the end of its path.
        method: its config without seeds, as text.
        valid, train: its reports.
    """

    name: str
    method: str
    valid: Points
    train: Points


def draw(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Draw the loss curves of runs.

    Args:
        runs: folders as `evoopt-train` writes them.
        out: the picture; its suffix is the format: svg, png or pdf.

    Returns:
        `out`.

    Raises:
        ConfigurationError: no run, too many of them, or another format.
        StateError: a folder holds no training run, or one without a report.
        MissingDependencyError: matplotlib is not installed.
    """
    file = Path(out)
    check_format(file, "plot")
    methods = by_method(curves(runs))
    if not 1 <= len(methods) <= MOST:
        raise ConfigurationError(
            f"draw(runs=...) must be of 1 to {MOST} methods; got {len(methods)}"
        )
    from matplotlib import rc_context

    with rc_context(RC):
        return save(figure(methods), file)


def curves(runs: Sequence[Path | str]) -> list[Curve]:
    """Those of the runs, each once, under names that differ.

    Raises:
        StateError: as of `read_curve`.
    """
    folders = list(dict.fromkeys(Path(run).resolve() for run in runs))
    read = [read_curve(folder) for folder in folders]
    names = tails(folders)
    return [replace(curve, name=name) for curve, name in zip(read, names, strict=True)]


def tails(paths: Sequence[Path]) -> list[str]:
    """Of paths that differ the shortest ends that do, too."""

    def tail(path: Path) -> Path:
        ends = (path.parts[-k:] for k in range(1, len(path.parts)))
        own = (end for end in ends if sum(p.parts[-len(end) :] == end for p in paths) == 1)
        return Path(*next(own, path.parts))

    return [str(tail(path)) for path in paths]


def read_curve(folder: Path) -> Curve:
    """The curve of a run.

    Raises:
        StateError: there is no training run, none of its reports has come yet, or it is damaged.
    """
    config, reports = read_config(folder), read_metrics(folder)
    if not all(isinstance(config.get(table), dict) for table in ("run", "data")):
        raise StateError(f"{folder} is no training run of evoopt-train")
    if not reports:
        raise StateError(f"{folder} has no report yet: there is nothing to draw")
    try:
        valid, train = (_points(reports, kind) for kind in ("valid", "train"))
    except OverflowError:
        raise StateError(f"{folder / METRICS} is damaged: a number is too large") from None
    return Curve(folder.resolve().name, _method_of(config), valid, train)


def _method_of(config: dict[str, Any]) -> str:
    """What decides the curve but for its seeds, as text."""
    try:
        from evoopt_llm.config import decisive
    except ImportError as error:
        raise missing(error.name or "torch", "llm", "a training run") from error
    run = {key: value for key, value in config["run"].items() if key not in _SEEDS}
    return json.dumps(decisive({**config, "run": run}), sort_keys=True)


def _points(reports: list[dict[str, Any]], kind: str) -> Points:
    rows = [(row["tokens"], row["loss"] / math.log(2)) for row in reports if row["kind"] == kind]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def by_method(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Name -> its runs, in the order in which methods come."""
    found: dict[str, list[Curve]] = defaultdict(list)
    for curve in curves:
        found[curve.method].append(curve)
    named: dict[str, list[Curve]] = {}
    for number, own in enumerate(found.values(), 1):
        name, seeds = _name(own), f" ({len(own)} seeds)" if len(own) > 1 else ""
        full = f"{name or f'method {number}'}{seeds}"
        named[full if full not in named else f"{name}, method {number}{seeds}"] = own
    return named


def _name(own: Sequence[Curve]) -> str:
    """The name of a single run; of several what their names begin with, which may be nothing."""
    if len(own) == 1:
        return own[0].name
    first, last = min(names := [curve.name for curve in own]), max(names)  # these differ first
    same = next((i for i, letter in enumerate(first) if letter != last[i]), len(first))
    shared = first[:same].rstrip("-_./0123456789")
    return shared.removesuffix("seed").rstrip("-_./")


def median(curves: Sequence[Points]) -> Points:
    """Of runs, where all of them have a report."""
    shared = sorted(set.intersection(*(set(tokens.tolist()) for tokens, _ in curves)))
    at = np.array(shared, dtype=np.float64)
    rows = [bits[np.searchsorted(tokens, at)] for tokens, bits in curves]
    return at, np.median(np.array(rows).reshape(len(curves), len(at)), axis=0)


def figure(methods: dict[str, list[Curve]]) -> Figure:
    """The figure of at least one method."""
    from matplotlib.figure import Figure  # alone, without pyplot: no window, no global state

    drawn = Figure(figsize=(6.0, 3.8), layout="constrained")
    axis = drawn.subplots()
    for number, (name, own) in enumerate(methods.items()):
        _method(axis, number, name, own)
    _dress(axis, [curve for own in methods.values() for curve in own])
    drawn.legend(loc="outside lower center", ncols=2, fontsize="small")
    return drawn


def _method(axis: Axes, number: int, name: str, own: list[Curve]) -> None:
    """Runs of one method: the median of their held-out losses, and what lies behind it."""
    colour = COLOURS[number % len(COLOURS)]
    for curve in own:
        axis.plot(*curve.train, color=colour, linewidth=0.6, alpha=0.35, zorder=1)
    if len(own) > 1:
        for curve in own:
            axis.plot(*curve.valid, color=colour, linewidth=0.8, alpha=0.6, zorder=2)
    tokens, bits = median([curve.valid for curve in own])
    last = f"{name}: {bits[-1]:.3f}" if len(bits) else f"{name}: not measured"
    axis.plot(
        tokens,
        bits,
        color=colour,
        linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
        marker=MARKS[number % len(MARKS)],
        markersize=3.5,
        label=last,
        zorder=3,
    )


def _dress(axis: Axes, curves: Sequence[Curve]) -> None:
    """Scales, and limits that do not show how the first steps begin where all begin alike."""
    held_out = [curve.valid for curve in curves if len(curve.valid[0])]
    shown = held_out or [curve.train for curve in curves]
    tokens = np.concatenate([points[0] for points in shown])
    bits = np.concatenate([points[1] for points in shown])
    if tokens.max() > _WIDE * tokens.min():
        axis.set_xscale("log")
    finite = bits[np.isfinite(bits)]
    if len(finite):
        axis.set_ylim(finite.min() / _HEADROOM, finite.max() * _HEADROOM)
    axis.set_xlabel("tokens")
    axis.set_title("bits per byte, held out; thin: in training")

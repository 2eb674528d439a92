"""How pictures look, and how they are written: the same runs give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoopt.errors import ConfigurationError, StateError, missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart; dashes and marks tell them again
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
MARKS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#8A8A8A"
FORMATS = (".svg", ".png", ".pdf")
DPI = 160
RC: dict[Any, Any] = {  # matplotlib types each key
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "svg.hashsalt": "evoopt",  # names inside the file that do not change from run to run
}


def check_format(out: Path, kind: str) -> None:
    """Refuse a file name whose suffix is no format.

    Raises:
        ConfigurationError: another suffix than those of `FORMATS`.
        MissingDependencyError: matplotlib is not installed.
    """
    if out.suffix not in FORMATS:
        raise ConfigurationError(
            f"{kind}(output=...) must end in {', '.join(FORMATS)}; got '{out.name}'"
        )
    try:
        import matplotlib as matplotlib
    except ImportError as error:
        raise missing("matplotlib", "plot", "a picture") from error


def save(figure: Figure, out: Path) -> Path:
    """Write a figure under a temporary name and rename it: it is there whole or not at all.

    Raises:
        StateError: the file system refused.
    """
    # no suffix that a reader would take for a picture; so the format is given by name
    temporary = out.with_name(f".{out.name}.drawing")
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        figure.savefig(temporary, format=out.suffix[1:], dpi=DPI, metadata=dates.get(out.suffix))
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StateError(f"{out} cannot be written: {error.strerror}") from error
    return out

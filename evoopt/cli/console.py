"""What the commands print: tables and pairs, rich on a terminal, plain and aligned elsewhere."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# what a terminal would obey instead of show: a stored name or message must not steer it
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text on one line, without control characters."""
    return _CONTROL.sub("", " ".join(text.split("\n")))


def note(text: str) -> None:
    """A line for the person, on stderr."""
    print(plain(text), file=sys.stderr, flush=True)


def number(value: float, digits: int = 6) -> str:
    """A number as people read it; what is not finite as "nan", "inf" or "-inf"."""
    return f"{value:.{digits}g}"


def counted(count: int, noun: str) -> str:
    """1 point, 2 points."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def vector(values: Sequence[float] | None, most: int = 10, digits: int = 6) -> str:
    """[1, 2.5, ...], cut after `most` numbers."""
    if values is None:
        return "none"
    shown = ", ".join(number(v, digits) for v in values[:most])
    return f"[{shown}{', ...' if len(values) > most else ''}]"


def document(content: Mapping[str, Any]) -> None:
    """One JSON document on stdout; numbers that JSON lacks (NaN, infinities) are null."""
    print(json.dumps(_finite(content), indent=2, allow_nan=False))


def pairs(rows: Sequence[tuple[str, str]], title: str = "") -> None:
    """Names and what they stand for, on stdout."""
    if sys.stdout.isatty():
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", show_header=False, box=None)
        table.add_column(style="bold cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in rows:
            table.add_row(name, _escaped(text))
        _rich(table)
        return
    if title:
        print(title)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:<{width}}  {plain(text)}".rstrip())


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Rows under headings, on stdout; the first `left` columns start at their left edge."""
    if sys.stdout.isatty():
        from rich import box
        from rich.table import Table

        drawn = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
        for i, heading in enumerate(headings):
            drawn.add_column(heading, justify="left" if i < left else "right", overflow="fold")
        for row in rows:
            drawn.add_row(*map(_escaped, row))
        _rich(drawn)
        return
    lines = [[plain(text) for text in row] for row in (headings, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    for line in lines:
        cells = [
            f"{text:<{width}}" if i < left else f"{text:>{width}}"
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(plain(text))


def _rich(renderable: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(renderable)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

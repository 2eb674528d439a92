"""Tables in a file a user wrote: TOML, or JSON where its name ends in .json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evoopt.errors import ConfigurationError


def read_tables(path: Path, argument: str) -> Any:
    """What the file holds.

    Args:
        path: of the file.
        argument: what it was given as, for the message.

    Raises:
        ConfigurationError: it cannot be read, or a key comes twice in a table.
    """
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_without_repetition)
        return tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{argument} {path} cannot be read: {what}") from None
    except (ValueError, RecursionError) as error:  # of either language
        raise ConfigurationError(f"{argument} {path}: {error}") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; TOML refuses a key that comes twice by itself."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' comes twice")
    return table

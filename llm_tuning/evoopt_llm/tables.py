"""Tables of a TOML or JSON file, and values on a command line that go before them; unchecked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evoopt import tablefile
from evoopt.checks import shown
from evoopt.errors import ConfigurationError

Tables = dict[str, Any]


def read_tables(path: Path) -> Tables:
    """The tables of a TOML or JSON file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    plain = tablefile.read_tables(path, "CONFIG")
    if not isinstance(plain, dict):
        raise ConfigurationError(f"CONFIG {path} must hold tables such as [model]; got {plain!r}")
    return plain


def overridden(plain: Mapping[str, Any], overrides: Iterable[str]) -> Tables:
    """The tables with values replaced; those given are left as they are.

    Args:
        plain: tables.
        overrides: texts like optimizer.lr=3e-3; a value is read as TOML reads it, or else is a
            text; `none` takes the key away, so that its default holds.

    Raises:
        ConfigurationError: one of them is not of that form.
    """
    changed: Tables = {key: copied(value) for key, value in plain.items()}
    for text in overrides:
        place, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not all(place.split(".")):
            raise ConfigurationError(f"--set must be like optimizer.lr=3e-3; got {shown(text)}")
        _replace(changed, place, _value(value))
    return changed


def copied(value: Any) -> Any:
    """With tables and lists of its own."""
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, list) else value


def _replace(plain: Tables, place: str, value: Any) -> None:
    """Set the key that a dotted name stands for, in place. value: None takes it away."""
    *tables, key = place.split(".")
    table = plain
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"--set {place}: '{name}' is no table")
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _value(text: str) -> Any:
    """What TOML reads in the text; the text where it reads nothing."""
    if text.lower() in ("none", "null"):
        return None
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, lists in lists in ...
        raise ConfigurationError(f"--set has a value that cannot be read: {error}") from None
    return table["value"] if table.keys() == {"value"} else text

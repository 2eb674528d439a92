"""`--space FILE`: named parameters from a TOML or JSON file, each problem told with its place.

    [rate]
    type = "float"
    low = 1e-5
    high = 0.1
    log = true

    [layers]
    type = "integer"
    low = 1
    high = 8

    [act]
    type = "categorical"
    choices = ["relu", "gelu"]

``act = ["relu", "gelu"]`` says the same as the last three lines.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoopt.errors import ConfigurationError
from evoopt.tablefile import read_tables

if TYPE_CHECKING:
    from evoopt.space import Space

_CALL = re.compile(r"\w+\((\w+)=\.\.\.[^)]*\)")  # Float(low=...), which is "low" in a file
# type -> keys that must be there, and keys that may be
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "float": (("low", "high"), ("log", "step")),
    "integer": (("low", "high"), ("log", "step")),
    "categorical": (("choices",), ()),
}


def read_space(path: Path) -> Space:
    """The space that a file describes.

    Raises:
        ConfigurationError: the file cannot be read, or describes no space; with all its problems.
    """
    return space_of(read_tables(path, "--space"), str(path))


def space_of(tables: Any, place: str) -> Space:
    """The space of parameters in the words of a file, as `Space.plain` gives them.

    Args:
        tables: name -> type, low, high, ..., or a list of choices.
        place: where they come from, for messages.

    Raises:
        ConfigurationError: they describe no space; with all problems.
    """
    from evoopt.space import Space

    if not isinstance(tables, Mapping) or not tables:
        raise ConfigurationError(f"{place} must name a parameter, as in [rate]; it names none")
    parameters, problems = {}, []
    for name, table in tables.items():
        wrong = _problems(table)
        if not wrong:
            try:
                parameters[name] = _parameter(table)
            except ConfigurationError as error:
                wrong = [_CALL.sub(r"\1", str(error))]
        problems += [f"[{name}] {text}" for text in wrong]
    if problems:
        raise ConfigurationError(f"{place}: {'; '.join(problems)}")
    return Space(parameters)


def read_point(text: str, space: Space, option: str) -> dict[str, Any]:
    """A point of the space from text like rate=0.01,layers=3,act=gelu.

    Raises:
        ConfigurationError: it is not of that form, or a choice is unknown.
    """
    from evoopt.space import Categorical

    point: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in space.names:
            raise ConfigurationError(
                f"{option} must be like {space.names[0]}=VALUE,... with the names "
                f"{', '.join(space.names)}; got '{part.strip()}'{_suggestion(name, space.names)}"
            )
        parameter = space.parameters[name]
        if isinstance(parameter, Categorical):
            point[name] = _choice(value, parameter.choices, f"{option} {name}")
        else:
            point[name] = _number(value, f"{option} {name}")
    return point


def _problems(table: Any) -> list[str]:
    """What is wrong with the keys of one parameter."""
    if isinstance(table, list):
        return []
    if not isinstance(table, Mapping):
        return [f"must be a table with a type, or a list of choices; got {table!r}"]
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        got = "there is none" if kind is None else f"got {kind!r}{_suggestion(kind, _KEYS)}"
        return [f"type must be one of {', '.join(_KEYS)}; {got}"]
    needed, more = _KEYS[kind]
    known = ("type", *needed, *more)
    unknown = [key for key in table if key not in known]
    found = [f"unknown key '{key}'{_suggestion(key, known)}" for key in unknown]
    return found + [f"{key} is missing" for key in needed if key not in table]


def _parameter(table: Any) -> Any:
    """One parameter, whose keys are right."""
    from evoopt.space import Categorical, Float, Integer

    if isinstance(table, list):
        return Categorical(tuple(table))
    words = {key: value for key, value in table.items() if key != "type"}
    if table["type"] == "categorical":
        return Categorical(words["choices"])
    return (Float if table["type"] == "float" else Integer)(**words)


def _choice(text: str, choices: Iterable[Any], option: str) -> Any:
    """The choice that a text names, as Python or as JSON writes it."""
    known = list(choices)
    for choice in known:
        if text in (str(choice), json.dumps(choice, default=str)):
            return choice
    shown = ", ".join(map(str, known))
    raise ConfigurationError(f"{option} must be one of {shown}; got '{text}'")


def _number(text: str, option: str) -> int | float:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    raise ConfigurationError(f"{option} must be a number; got '{text}'")


def _suggestion(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""

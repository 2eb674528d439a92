"""What is wrong with a config, in sentences: each with its place, what came, and a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from evoopt.checks import shown
from evoopt_llm.settings import Settings

_SAID = {  # pydantic's words, and ours
    "Input should be a valid integer": "must be a whole number",
    "Input should be a valid number": "must be a number",
    "Input should be a finite number": "must be a finite number",
    "Input should be a valid boolean": "must be true or false",
    "Input should be a valid string": "must be a text",
    "Input should be a valid array": "must be a list",
    "Input should be a valid tuple": "must be a list",
    "Input should be an object": "must be a table",
    "Input should": "must",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


def problems(error: ValidationError, root: type[Settings]) -> list[str]:
    """A sentence for each problem that validation found.

    Args:
        error: as `root.model_validate_json` raised it.
        root: the settings that were asked for.
    """
    return [_sentence(details, root) for details in error.errors(include_url=False)]


def variants(annotation: Any) -> list[type[Settings]]:
    """The classes of settings that a field may hold."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Settings) else []
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [found for part in get_args(annotation) for found in variants(part)]
    return []


def kind_of(settings: type[Settings]) -> str | None:
    """The word that names a variant; None of settings without variants."""
    field = settings.model_fields.get("kind")
    words = get_args(field.annotation) if field is not None else ()
    return str(words[0]) if len(words) == 1 else None


def suggestion(word: object, known: Iterable[str]) -> str:
    """; did you mean 'this'?, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _sentence(details: ErrorDetails, root: type[Settings]) -> str:
    names, holder = _place(details["loc"], root)
    place, kind, got = ".".join(names), details["type"], details.get("input")
    if kind == "extra_forbidden":
        known = holder.model_fields if holder is not None else ()
        word = kind_of(holder) if holder is not None else None
        of = f" with kind {word}" if word else ""
        return f"unknown key '{place}'{of}{suggestion(names[-1], known)}"
    if kind == "missing":
        return f"{place} is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _kind_sentence(place, holder, names, got)
    if kind == "value_error":
        said = str(details.get("ctx", {}).get("error", details["msg"]))
        return f"{place}: {said}" if place else said
    text = details["msg"]
    for theirs, ours in _SAID.items():
        text = text.replace(theirs, ours)
    words = details.get("ctx", {}).get("expected")
    hint = suggestion(got, str(words).replace("'", "").replace(" or ", ", ").split(", "))
    return f"{place} {text}; got {shown(got)}{hint if words else ''}"


def _kind_sentence(place: str, holder: type[Settings] | None, names: list[str], got: object) -> str:
    """A table whose `kind` is missing or unknown."""
    field = holder.model_fields.get(names[-1]) if holder is not None else None
    kinds = [str(kind_of(v)) for v in variants(field.annotation)] if field is not None else []
    word = got.get("kind") if isinstance(got, Mapping) else got
    came = "there is none" if word is None else f"got {shown(word)}{suggestion(word, kinds)}"
    return f"{place}.kind must be one of {', '.join(kinds)}; {came}"


def _place(
    loc: tuple[int | str, ...], root: type[Settings]
) -> tuple[list[str], type[Settings] | None]:
    """The keys that lead to a problem, and the settings that hold the last of them: pydantic also
    names the variant on the way."""
    names: list[str] = []
    holder: type[Settings] | None = root
    choices: list[type[Settings]] = []
    for i, part in enumerate(loc):
        chosen = [v for v in choices if len(choices) > 1 and kind_of(v) == part]
        if chosen:
            holder, choices = chosen[0], []
            continue
        names.append(str(part))
        if i + 1 == len(loc):
            break
        field = holder.model_fields.get(str(part)) if holder is not None else None
        choices = variants(field.annotation) if field is not None else []
        holder = choices[0] if len(choices) == 1 else holder if choices else None
    return names, holder

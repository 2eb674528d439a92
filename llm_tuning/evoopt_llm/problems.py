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
    "Tuple should": "must",
    "List should": "must",
    " after validation": "",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


def problems(error: ValidationError, root: type[Settings]) -> list[str]:
    """A sentence for each problem that validation found.

    Args:
        error: as `root.model_validate_json` raised it.
        root: the settings that were asked for.
    """
    return [_sentence(found, root) for found in _once(error.errors(include_url=False), root)]


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


def _once(found: list[ErrorDetails], root: type[Settings]) -> list[ErrorDetails]:
    """Of a field that takes a number or a list, pydantic tells what is wrong with each of the two:
    here that of the one which was meant, or one problem that names both."""
    fields: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for details in found:
        form = _place(details["loc"], root)[2]
        key = details["loc"] if form is None else details["loc"][:form]
        fields.setdefault(key, []).append(details)
    return [details for key, group in fields.items() for details in _meant(group, len(key))]


def _meant(group: list[ErrorDetails], depth: int) -> list[ErrorDetails]:
    """Of the problems of one field, whose place has `depth` parts."""
    if all(len(details["loc"]) == depth for details in group):
        return group
    inside = [details for details in group if len(details["loc"]) > depth + 1]
    others = [details for details in group if not details["type"].endswith("_type")]
    if inside or others:
        return inside or others
    kinds = [_ours(details["msg"]).removeprefix("must be ") for details in group]
    return [{**group[0], "msg": f"must be {' or '.join(kinds)}"}]


def _ours(text: str) -> str:
    """What pydantic says, in our words."""
    for theirs, ours in _SAID.items():
        text = text.replace(theirs, ours)
    return text


def _sentence(details: ErrorDetails, root: type[Settings]) -> str:
    names, holder, _ = _place(details["loc"], root)
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
    text = _ours(details["msg"])
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


def _is_plain_union(annotation: Any) -> bool:
    """Whether a field takes values of several forms, none of them settings, None left out."""
    if get_origin(annotation) is Annotated:
        return _is_plain_union(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType) or variants(annotation):
        return False
    forms = [part for part in get_args(annotation) if part is not type(None)]
    return len(forms) > 1 or any(_is_plain_union(part) for part in forms)


def _place(
    loc: tuple[int | str, ...], root: type[Settings]
) -> tuple[list[str], type[Settings] | None, int | None]:
    """The keys that lead to a problem, the settings that hold the last of them, and the place in
    `loc` of the form of a value: pydantic also names variants and forms on the way."""
    names: list[str] = []
    holder: type[Settings] | None = root
    choices: list[type[Settings]] = []
    form: int | None = None
    for i, part in enumerate(loc):
        if i == form:
            continue
        chosen = [v for v in choices if len(choices) > 1 and kind_of(v) == part]
        if chosen:
            holder, choices = chosen[0], []
            continue
        names.append(str(part))
        if i + 1 == len(loc):
            break
        field = holder.model_fields.get(str(part)) if holder is not None else None
        if field is not None and _is_plain_union(field.annotation):
            form = i + 1
        choices = variants(field.annotation) if field is not None else []
        holder = choices[0] if len(choices) == 1 else holder if choices else None
    return names, holder, form

"""All keys that a config may have, with defaults and meaning, as the settings declare them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from evoopt_llm.config import TrainConfig
from evoopt_llm.problems import kind_of, variants
from evoopt_llm.settings import Settings


class Key(NamedTuple):
    """One key.

    Attributes:
        name: dotted, the kind of a variant in brackets: optimizer[adamwn].target_ratio.
        default: as JSON, or "required".
        text: what it is, in words.
    """

    name: str
    default: str
    text: str


def keys(
    settings: type[Settings] = TrainConfig, head: str = "", given: Mapping[str, Any] | None = None
) -> list[Key]:
    """Of the settings and all that they hold.

    Args:
        settings: whose keys.
        head: dotted names that lead to them.
        given: defaults that go before those of the fields.
    """
    found: list[Key] = []
    for name, field in settings.model_fields.items():
        default = (given or {}).get(name, PydanticUndefined)
        found += _of(head + name, field, field.default if default is PydanticUndefined else default)
    return found


def _of(name: str, field: FieldInfo, default: Any) -> Iterator[Key]:
    """The keys that a field stands for."""
    found = variants(field.annotation)
    inner = default.model_dump() if isinstance(default, BaseModel) else default
    for variant in found:
        kind = kind_of(variant) if len(found) > 1 else None
        same = isinstance(default, variant) or (len(found) == 1 and isinstance(inner, dict))
        inside = f"{name}[{kind}]." if kind else f"{name}."
        yield from keys(variant, inside, inner if same else None)
    is_kind = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    if not found and not is_kind:
        yield Key(name, _shown(default), field.description or "")


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    return "none" if default is None else json.dumps(default)

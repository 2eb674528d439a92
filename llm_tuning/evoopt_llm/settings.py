"""Settings as they come from a file: a strict schema, no key unknown, no value converted.

Every part of the package has its settings beside it, a class derived from `Settings`; `config.py`
puts them together.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Values of one part, never changed; an unknown key or a value of another type is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False
    )

"""Settings as they come from a file: a strict schema, no key unknown, no value converted.

Every part of the package has its settings beside it, a class derived from `Settings`; `config.py`
puts them together.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# The ceilings are far above all use. Below them no product of sizes overflows 64 bits and none of
# factors float32: what is too large is refused by the config, or is a lack of memory.
Size = Annotated[int, Field(gt=0, le=2**20)]
Count = Annotated[int, Field(gt=0, le=2**16)]  # of heads, experts and their like
Context = Annotated[int, Field(gt=0, le=2**30)]  # tokens of a sequence
Steps = Annotated[int, Field(gt=0, lt=2**63)]
Factor = Annotated[float, Field(gt=0, le=1e6)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Divisor = Annotated[float, Field(ge=1e-9, le=1e6)]
MOST_LAYERS = 2**12


class Settings(BaseModel):
    """Values of one part, never changed; an unknown key or a value of another type is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False
    )


def refuse_idle(settings: Settings, why: str, *names: str) -> None:
    """For validators: the fields that have no effect must be at their defaults. So a config that is
    written out in full can be read back.

    Args:
        settings: whose fields.
        why: they have none: "beside" or "without" another key.
        names: of the fields.

    Raises:
        ValueError: one of them is not.
    """
    for name in names:
        got = getattr(settings, name)
        if got != type(settings).model_fields[name].default:
            raise ValueError(f"{name} has no effect {why}: leave it out; got {got!r}")

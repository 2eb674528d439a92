"""Models. `MODELS` names them; `models.build` makes one with its weights drawn from a seed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from evoopt_llm.models.base import LanguageModel

MODELS = {
    "gpt": "evoopt_llm.models.gpt:GPT",
    "ngpt": "evoopt_llm.models.ngpt:NGPT",
    "nemotron": "evoopt_llm.models.nemotron:Nemotron",
}


class Named(Protocol):
    """Settings of a model, as `GPTSettings`."""

    @property
    def kind(self) -> str:
        """Key of `MODELS`."""


def build(settings: Named, seed: int) -> LanguageModel:
    """The model of these settings, its weights drawn from the seed."""
    module, _, name = MODELS[settings.kind].partition(":")
    model: LanguageModel = getattr(importlib.import_module(module), name)(settings, seed)
    return model

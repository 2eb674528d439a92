"""Search strategies: `STRATEGIES` names all that are not compositions of others.

An entry is "module:Class"; it is imported when `strategy_class` asks for it, so that looking at the
names costs nothing. Each class is a dataclass with `default(dim, *, popsize=None)`, which takes the
strategy's own options by name, and `objectives` where the strategy is for several only, and with a
field `claims` whose default says what holds for all of its instances.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from evoopt.errors import ConfigurationError

if TYPE_CHECKING:
    from evoopt.strategies.base import Claims

STRATEGIES: dict[str, str] = {
    "cma-es": "evoopt.strategies.cmaes:CMAES",
    "ma-es": "evoopt.strategies.maes:MAES",
    "sep-cma-es": "evoopt.strategies.sepcmaes:SepCMAES",
    "lm-ma-es": "evoopt.strategies.lmmaes:LMMAES",
    "bobyqa": "evoopt.strategies.bobyqa:BOBYQA",
    "cobyqa": "evoopt.strategies.cobyqa:COBYQA",
    "canonical-es": "evoopt.strategies.canonical:CanonicalES",
    "openai-es": "evoopt.strategies.openai:OpenAIES",
    "quadratic": "evoopt.strategies.quadratic:Quadratic",
    "hmo-cma-es": "evoopt.strategies.compose.hmo:HMOCMAES",
    "up-mo-cma-es": "evoopt.strategies.upmo:UPMOCMAES",
    "front-model": "evoopt.strategies.frontmodel:FrontModel",
    "mo-cma-es": "evoopt.strategies.mocmaes:MOCMAES",
    "random": "evoopt.strategies.random:RandomSearch",
}


AUTO = "auto"  # leaves the choice to us


def strategy_class(name: Any, owner: str = "strategy_class") -> Any:
    """The class registered under `name`; ConfigurationError for an unknown name."""
    if not isinstance(name, str) or name not in STRATEGIES:
        close = difflib.get_close_matches(str(name), [AUTO, *STRATEGIES], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        known = ", ".join([AUTO, *sorted(STRATEGIES)])
        raise ConfigurationError(
            f"{owner}(algorithm=...) must be one of {known}; got {name!r}{hint}"
        )
    module, _, attribute = STRATEGIES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def claims_of(name: str) -> Claims:
    """What the strategy registered under `name` claims, without making one."""
    defaults: dict[str, Any] = {f.name: f.default for f in fields(strategy_class(name))}
    claims: Claims = defaults["claims"]
    return claims

"""Search strategies: `STRATEGIES` names all that are not compositions of others.

An entry is "module:Class"; it is imported when `strategy_class` asks for it, so that looking at the
names costs nothing. Each class has `default(dim, *, popsize=None)`.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from evoopt.errors import ConfigurationError

STRATEGIES: dict[str, str] = {
    "cma-es": "evoopt.strategies.cmaes:CMAES",
    "ma-es": "evoopt.strategies.maes:MAES",
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

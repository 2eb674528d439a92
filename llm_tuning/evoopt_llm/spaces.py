"""Search spaces of training runs: named keys of a config, their ranges, and what is known of them.

    base = "tiny.toml"

    [space."optimizer.lr"]
    type = "float"
    low = 1e-3
    high = 1e-1
    log = true
    prior = 1e-2
    spread = 2.0

A parameter is named as `evoopt-train --set` names its key; `name[i]` is the i-th number of a list,
such as a knot of a spline. Its range is in the words of `evoopt minimize --space`. `prior` is where
a search begins, `spread` how sure that is: a standard deviation, as a factor where `log` is true.
`only = {"schedule.kind" = ["wsd"]}` leaves the parameter out where that key has another value.

Source of the step law: H. Li et al., Predictable scale (Step Law), arXiv:2503.04715.
Differences from the source: none; its grid begins at 214 M parameters, so that for a proxy it is an
extrapolation, and a prior at best.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.cli.spacefile import space_of
from evoopt.errors import ConfigurationError
from evoopt.space import Float, Integer, Space
from evoopt_llm.tables import copied

_OWN = ("prior", "spread", "only")  # keys of a parameter beside those of --space
_SPREAD = 0.2  # of the range, where a file says none: as `evoopt.minimize` begins
_INDEX = re.compile(r"(.*)\[(\d+)\]")
_KEY = re.compile(r"[A-Za-z_][\w.]*(\[\d+\])?")


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What may be searched, and where to begin.

    Attributes:
        space: the parameters.
        base: file of the config that they change.
        prior: a value of each.
        sigma0: (dim,) standard deviations, in the units of the search vector.
        only: parameter -> key -> its values under which the parameter counts.
    """

    space: Space
    base: Path
    prior: dict[str, Any]
    sigma0: NDArray[np.float64]
    only: Mapping[str, Mapping[str, tuple[Any, ...]]]

    @property
    def x0(self) -> NDArray[np.float64]:
        """(dim,) the search vector of the prior."""
        return self.space.encode(self.prior)


def read_space(path: Path) -> SearchSpace:
    """The search space in a TOML file.

    Raises:
        ConfigurationError: it cannot be read, or describes none; with all problems of its ranges.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # of TOML, or no UTF-8
        raise ConfigurationError(f"{path}: {error}") from None
    tables, base = plain.pop("space", None), plain.pop("base", None)
    if plain or not isinstance(tables, dict) or not isinstance(base, str):
        raise ConfigurationError(f"{path} must hold base = 'FILE' and tables [space.'KEY'] alone")
    space = space_of({name: _words(table) for name, table in tables.items()}, str(path))
    prior, sigma0, only = {}, [], {}
    for name, parameter in space.parameters.items():
        if not _KEY.fullmatch(name):
            raise ConfigurationError(f"{path}: [{name}] must be a key such as optimizer.lr")
        table = tables[name] if isinstance(tables[name], dict) else {}
        prior[name] = table.get("prior", parameter.decode(0.5))  # type: ignore[union-attr]
        sigma0.append(_sigma(f"{path}: [{name}]", parameter, table.get("spread")))
        only[name] = _conditions(f"{path}: [{name}]", table.get("only", {}))
    found = SearchSpace(space, path.parent / base, prior, np.array(sigma0), only)
    try:
        found.space.encode(prior)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: prior of {error}") from None
    return found


def apply(
    search: SearchSpace, values: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """The tables of a config with the values of a point in them.

    Args:
        search: whose parameters.
        values: a value of each.
        base: the tables of `search.base`, as `config.read_tables` gives them; left as they are.

    Raises:
        ConfigurationError: a parameter is missing or unknown, or a key leads through no table.
    """
    search.space.encode(values)  # checks names and ranges
    found: dict[str, Any] = copied(base)
    # whole tables and kinds first: what they hold, and what depends on them, comes after
    for name in sorted(values, key=lambda name: (bool(search.only[name]), name.count("."))):
        if all(_get(found, key) in among for key, among in search.only[name].items()):
            _set(found, name, values[name])
    return found


def step_law_rate(parameters: float, tokens: float) -> float:
    """The best learning rate of a run, as the Step Law fits it.

    Args:
        parameters: N, embeddings left out.
        tokens: D.
    """
    return float(1.79 * parameters**-0.713 * tokens**0.307)  # eta(N, D) of its abstract


def _words(table: Any) -> Any:
    """A parameter without the keys that are ours."""
    if not isinstance(table, dict):
        return table
    return {key: value for key, value in table.items() if key not in _OWN}


def _sigma(place: str, parameter: Any, spread: Any) -> float:
    """A spread in the units of the search vector, in which every range is 1."""
    if spread is None or not isinstance(parameter, Float | Integer):
        return _SPREAD
    number = spread if isinstance(spread, int | float) else math.nan
    if parameter.log:
        sigma = math.log(number) / math.log(parameter.high / parameter.low) if number > 1 else 0.0
    else:
        sigma = number / (parameter.high - parameter.low)
    if not 0 < sigma < math.inf:
        least = "a factor above 1" if parameter.log else "a number above 0"
        raise ConfigurationError(f"{place} spread must be {least}; got {spread!r}")
    return sigma


def _conditions(place: str, given: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(given, dict) or not all(isinstance(v, list) for v in given.values()):
        raise ConfigurationError(
            f"{place} only must be like {{'schedule.kind' = ['wsd']}}; got {given!r}"
        )
    return {key: tuple(among) for key, among in given.items()}


def _get(plain: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted key; None where there is none."""
    value: Any = plain
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _set(plain: dict[str, Any], name: str, value: Any) -> None:
    """Set a dotted key, or a number of a list; a list grows to hold it."""
    indexed = _INDEX.fullmatch(name)
    *tables, key = (indexed[1] if indexed else name).split(".")
    table: Any = plain
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"apply(values=...): {name} leads through '{part}', no table")
    if indexed is None:
        table[key] = copied(value)
        return
    numbers = list(table[key]) if isinstance(table.get(key), list) else []
    place = int(indexed[2])
    numbers += [value] * (place + 1 - len(numbers))
    numbers[place] = value
    table[key] = numbers

"""Which strategy takes which option, and whether what a user gave for one can be used.

`Claims.options` names all that a strategy takes: words of `minimize` that not every strategy can
serve (`SHARED`), and options of its own, which are parameters of its `default` and are given as
``options={"name": value}``.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from evoopt.checks import is_whole, refuse, shown
from evoopt.errors import ConfigurationError
from evoopt.settings import Settings
from evoopt.strategies import AUTO, STRATEGIES, claims_of, strategy_class

# word -> what it means that a strategy takes it, in the order of the table
SHARED = {
    "popsize": "candidates a generation",
    "restarts": "none, ipop or bipop",
    "bounds": "a box, by a transform or by itself",
    "inject": "learns from points that it did not ask for (AskTell.tell)",
    "warm_start": "a first distribution from evaluations of before",
    "asynchronous": "updates with each result, without waiting for a generation",
    "integers": "whole numbers, steps and categories (space)",
    "workers": "several evaluations at the same time",
    "objectives": "several objectives, to which the answer is a front",
}
_EVERYWHERE = frozenset({"bounds"})  # by a composition where the strategy itself has no part in it


def takes(algorithm: str, option: str) -> bool:
    """Whether the strategy of that name takes the option."""
    claims = claims_of(algorithm)
    if option == "workers":
        return not claims.sequential
    if option == "objectives":
        return claims.most_obj != 1
    if option == "warm_start" and claims.least_obj > 1:  # points to learn from
        return "inject" in claims.options
    return option in _EVERYWHERE or option in claims.options


def own_options(algorithm: str) -> dict[str, Any]:
    """The strategy's own options: name -> type of its values."""
    types_of = typing.get_type_hints(strategy_class(algorithm).default)
    named = claims_of(algorithm).options - SHARED.keys()
    return {name: hint for name, hint in types_of.items() if name in named}


def takers(option: str, n_obj: int = 1) -> list[str]:
    """The strategies that take the option, among those for so many objectives."""
    return [name for name in STRATEGIES if takes(name, option) and is_for(name, n_obj)]


def is_for(algorithm: str, n_obj: int) -> bool:
    """Whether the strategy of that name takes so many objectives."""
    claims = claims_of(algorithm)
    return claims.least_obj <= n_obj <= (claims.most_obj or math.inf)


def fits(algorithm: str, n_obj: int) -> bool:
    """Whether the algorithm, which may be left to us, can search with so many objectives."""
    return algorithm == AUTO or is_for(algorithm, n_obj)


def least_objectives(algorithm: Any) -> int | None:
    """How many objectives there are at least where only the algorithm was named, if it is for
    several; else None."""
    known = isinstance(algorithm, str) and algorithm in STRATEGIES
    least = claims_of(algorithm).least_obj if known else 1
    return least if least > 1 else None


def table() -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each strategy: what it takes of `SHARED`, and its own options."""
    rows = []
    for name in STRATEGIES:
        cells = [_cell(name, word) for word in SHARED]
        own = [f"{option}={_values(hint)}" for option, hint in sorted(own_options(name).items())]
        rows.append([name, *cells, ", ".join(own)])
    return ["algorithm", *SHARED, "options of its own"], rows


def markdown() -> str:
    """The table as it stands in README.md."""
    headings, rows = table()
    lines = [headings, ["---"] * len(headings)]
    for name, *cells, own in rows:
        lines.append([f"`{name}`", *cells, own.replace("|", " or ")])
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)


def _cell(name: str, word: str) -> str:
    """Whether, or for how many objectives, the strategy takes the word."""
    if not takes(name, word):
        return ""
    claims = claims_of(name)
    if word != "objectives":
        return "yes"
    more = {None: " or more", claims.least_obj: ""}.get(claims.most_obj, f" to {claims.most_obj}")
    return f"{claims.least_obj}{more}"


def _values(hint: Any) -> str:
    """The values that an option may have, in a word."""
    members = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
    if typing.get_origin(members[0]) is Literal:
        return "|".join(map(str, typing.get_args(members[0])))
    return {bool: "true|false", int: "N", float: "NUMBER"}.get(members[0], "TEXT")


def check_objectives(algorithm: str, n_obj: int, owner: str) -> None:
    """Refuses a strategy that is for another number of objectives.

    Raises:
        ConfigurationError: this is one.
    """
    if not is_for(algorithm, n_obj):
        fitting = ", ".join(name for name in STRATEGIES if is_for(name, n_obj))
        raise ConfigurationError(
            f"{owner}(algorithm=...) must be one of auto, {fitting} with "
            f"{'one objective' if n_obj == 1 else f'{n_obj} objectives'}; got {algorithm!r}"
        )


def check_shared(algorithm: str, settings: Settings, n_obj: int = 1) -> None:
    """Refuses words of `minimize` that this strategy does not take.

    Raises:
        ConfigurationError: one was given.
    """
    given = {
        "popsize": settings.popsize,
        "restarts": None if settings.restarts == "none" else settings.restarts,
        "warm_start": settings.warm_start,
        "asynchronous": settings.asynchronous or None,
        "workers": None if settings.workers == 1 else settings.workers,
    }
    for word, value in given.items():
        # with several objectives a warm start is a set of points to learn from
        option = "inject" if word == "warm_start" and n_obj > 1 else word
        if value is not None and not takes(algorithm, option):
            others = takers(option, n_obj)
            hint = f"it is for {', '.join(others)}; " if others else ""
            raise ConfigurationError(
                f"{settings.owner}({word}=...) must be left out with algorithm {algorithm!r}; "
                f"{hint}got {shown(value)}"
            )


def check_discrete(algorithm: str, owner: str, n_obj: int = 1, *, asked: str | None = None) -> None:
    """Refuses a strategy of real numbers for a problem with other variables.

    Args:
        algorithm: name of the strategy.
        owner: of the call.
        n_obj: objectives of the problem.
        asked: what the user named, where it was something else.

    Raises:
        ConfigurationError: this is one.
    """
    if not takes(algorithm, "integers"):
        names = [*(["auto"] if n_obj == 1 else []), *takers("integers", n_obj)]
        several = "" if n_obj == 1 else f" and there are {n_obj} objectives"
        one_of = "one of " if len(names) > 1 else ""
        raise ConfigurationError(
            f"{owner}(algorithm=...) must be {one_of}{', '.join(names)} where a "
            f"variable is discrete{several}; got {asked or algorithm!r}"
        )


def check_options(algorithm: str, options: Any, owner: str) -> dict[str, object]:
    """The options of the strategy's own, clean.

    Raises:
        ConfigurationError: no mapping; an unknown name, with a suggestion; an option of another
            strategy; a value of the wrong type.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise refuse(owner, "options", "a mapping from names to values", options)
    own = own_options(algorithm)
    for name in options:
        if name not in own:
            raise _unknown(algorithm, name, own, owner)
    return {name: _checked(name, value, own[name], owner) for name, value in options.items()}


def _unknown(algorithm: str, name: object, own: Mapping[str, Any], owner: str) -> Exception:
    """An option that the strategy does not have."""
    if name in SHARED:
        hint = f"{name} is a word of its own, no option"
    else:
        others = [other for other in STRATEGIES if name in own_options(other)]
        close = difflib.get_close_matches(str(name), own, n=1)
        known = f"it takes {', '.join(own)}" if own else "it takes none"
        hint = f"did you mean {close[0]!r}?" if close else known
        hint = f"it is for {', '.join(others)}" if others else hint
    return ConfigurationError(
        f"{owner}(options=...) must be options of algorithm {algorithm!r}; got {name!r}; {hint}"
    )


def _checked(name: str, value: Any, hint: Any, owner: str) -> object:
    """A value of the type that the strategy's `default` declares."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = typing.get_args(hint)
        if value is None and type(None) in members:
            return None
        hint = next(member for member in members if member is not type(None))
    if typing.get_origin(hint) is Literal:
        words = typing.get_args(hint)
        return _only(value, value in words, f"one of {', '.join(map(str, words))}", name, owner)
    if hint is bool:
        return _only(value, isinstance(value, bool), "true or false", name, owner)
    if hint is int:
        whole = is_whole(value) or (isinstance(value, float) and value.is_integer())
        return int(_only(value, whole, "a whole number", name, owner))
    if hint is float:
        real = is_whole(value) or isinstance(value, float)
        return float(_only(value, real and math.isfinite(value), "a finite number", name, owner))
    return _only(value, hint is not str or isinstance(value, str), "text", name, owner)


def _only(value: Any, good: bool, expected: str, name: str, owner: str) -> Any:
    """The value, if it is good."""
    if not good:
        raise refuse(owner, "options", f"given with {name} = {expected}", value)
    return value

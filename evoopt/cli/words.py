"""The words of a command line as values: targets, lists of numbers, durations, names of runs.

Whether a value makes sense is decided where the Python interface decides it; here it is read.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoopt.errors import ConfigurationError

RUNS = "runs"  # where runs are kept that were given no name
SUITES_MODULE = "evoopt_bench.suites"

_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)")


@dataclass(frozen=True, slots=True)
class Target:
    """What to minimize.

    Attributes:
        text: as the user wrote it.
        kind: "function", "program", "suite", or "problem" (one of a suite).
        name: of the function or program; the text for the others.
        words: of the program.
    """

    text: str
    kind: str
    name: str
    words: tuple[str, ...] = ()

    @property
    def again(self) -> tuple[str, ...]:
        """How the command line of `evoopt resume` names it."""
        return ("--", *self.words) if self.kind == "program" else (self.text,)


def suites() -> Any:
    """The module of the benchmark suites, which stands above this package."""
    return importlib.import_module(SUITES_MODULE)


def read_target(text: str) -> Target:
    """A suite, one problem of a suite, or a function.

    Raises:
        ConfigurationError: it is none of these; with a suggestion.
    """
    head, _, rest = text.partition(":")
    known = suites().SUITES
    if head in known:
        one = {part[:1] for part in rest.split(":")} == {"f", "d", "i"}
        single = one and len(suites().select(text)) == 1
        return Target(text, "problem" if single else "suite", text)
    place, _, name = text.rpartition(":")
    close = difflib.get_close_matches(head, known, n=1, cutoff=0.5)
    selects = all(re.fullmatch(r"[fdi]\d[\d,-]*", part) for part in rest.split(":"))
    if place and name and not (selects and close):  # a slip in a suite's name: bob:f8:d10:i1
        return Target(text, "function", name)
    if text.endswith(".py"):
        raise _no_target(text, f"the name of a function is missing, as in {text}:NAME")
    raise _no_target(text, f"did you mean '{close[0]}'?" if close else "see evoopt list suites")


def chosen_target(text: str | None, program: tuple[str, ...], *, named: bool = False) -> Target:
    """The target of a command: TARGET, or the program after `--`.

    Args:
        text: TARGET, or None.
        program: the words after `--`.
        named: its placeholders are names of a space, to be checked when that is known.

    Raises:
        ConfigurationError: neither was given, or both; or it cannot be used.
    """
    if program:
        from evoopt.evaluators.programs import Program, command_line, program_name

        if text is not None:
            raise ConfigurationError(
                f"TARGET must be left out with a program after --; got '{text}'"
            )
        name = program_name(program) if named else Program(program).name
        return Target(command_line(program), "program", name, program)
    if text is None:
        raise ConfigurationError(
            "TARGET must be given: module:function, file.py:function, a suite; or a program after "
            "--, as in -- ./sim {x1} {x2}"
        )
    return read_target(text)


def placeholders_dim(target: Target) -> str | None:
    """How many variables the placeholders of a program name, as --dim; None where they do not."""
    from evoopt.evaluators.programs import Program

    dim = Program(target.words).dim
    return None if dim is None else str(dim)


def _no_target(text: str, hint: str) -> ConfigurationError:
    return ConfigurationError(
        f"TARGET must be module:function, file.py:function, a suite ({', '.join(suites().SUITES)}) "
        f"or a problem of one (bbob:f8:d10:i1); got '{text}'; {hint}"
    )


def choose(word: str, words: Iterable[str], name: str) -> str:
    """The word, if it is one of the words.

    Raises:
        ConfigurationError: it is none of them; with a suggestion. name: what it was given as.
    """
    known = list(words)
    if word in known:
        return word
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise ConfigurationError(f"{name} must be one of {', '.join(known)}; got '{word}'{hint}")


def number(text: str | None, option: str) -> float | None:
    """One number."""
    values = numbers(text, option)
    if values is not None and len(values) != 1:
        raise ConfigurationError(f"{option} must be one number; got '{text}'")
    return None if values is None else values[0]


def numbers(text: str | None, option: str) -> list[float] | None:
    """Numbers between commas or blanks."""
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not values:
        raise ConfigurationError(
            f"{option} must be a number, or numbers like 1,2.5,-3; got '{text}'"
        )
    return values


def senses(text: str | None, objectives: int | None, *, maximize: bool) -> bool | list[bool]:
    """Which objectives are maximised, from text like min,max; without it, what `maximize` says.

    Raises:
        ConfigurationError: the text holds other words, or not as many as there are objectives, or
            comes with --maximize.
    """
    if text is None:
        return maximize
    if maximize:
        raise ConfigurationError(f"--maximize must be left out with --sense; got --sense {text}")
    words = text.replace(",", " ").split()
    if not words or not set(words) <= {"min", "max"}:
        raise ConfigurationError(f"--sense must be min or max for each objective; got '{text}'")
    if objectives not in (None, len(words)):
        raise ConfigurationError(
            f"--sense must be {objectives} words, min or max for each objective; got '{text}'"
        )
    return [word == "max" for word in words] if len(words) > 1 else words == ["max"]


def bounds(pairs: tuple[tuple[str, str], ...], dim: int | None) -> tuple[Any, Any] | None:
    """Lower and upper bounds as arrays, each of one number or of one per variable.

    Args:
        pairs: as given; one pair stands for all variables.
        dim: number of variables, if it was given.
    """
    if not pairs:
        return None
    lower = [_bound(low, -1) for low, _ in pairs]
    upper = [_bound(high, 1) for _, high in pairs]
    if dim is not None and len(pairs) not in (1, dim):
        raise ConfigurationError(
            f"--bounds must be given once, or once per variable ({dim}); got {len(pairs)} of them"
        )
    if len(pairs) == 1 and dim is not None:
        lower, upper = lower * dim, upper * dim
    import numpy as np

    return np.array(lower), np.array(upper)  # arrays: lists of two pairs could be read in two ways


def _bound(text: str, side: int) -> float:
    if text.lower() == "none":
        return side * float("inf")
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(
            f"--bounds must be two numbers like -5 5 (inf, -inf or none for no bound); got '{text}'"
        ) from None


def options(pairs: tuple[str, ...]) -> dict[str, object] | None:
    """Options of an algorithm from texts like mu=3, step_size=csa, mirrored=false."""
    given: dict[str, object] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not name or not equals:
            raise ConfigurationError(f"--set must be like NAME=VALUE; got '{pair}'")
        if name in given:
            raise ConfigurationError(f"--set must name each option once; got {name} twice")
        given[name] = _scalar(text)
    return given or None


def _scalar(text: str) -> object:
    """true, false, none, a number, or the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for read in (int, float):
        with contextlib.suppress(ValueError):
            return read(text)
    return text


def names(text: str | None, option: str) -> list[str] | None:
    """Words between commas."""
    if text is None:
        return None
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise ConfigurationError(f"{option} must be names between commas like 0,1; got '{text}'")
    return found


def seconds(text: str | None, option: str) -> float | None:
    """A duration: seconds, or a number with a unit, such as 90, 500ms, 10m, 2h."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS or float(match[1]) == 0:
        raise ConfigurationError(
            f"{option} must be a positive number of seconds, or one with a unit like 500ms, 10m, "
            f"2h; got '{text}'"
        )
    return float(match[1]) * _UNITS[match[2]]


def workers(text: str | None) -> int:
    """A number of processes; "auto" for as many as there are cores for this process."""
    if text is None:
        return 1
    if text == "auto":
        return cores()
    if not re.fullmatch(r"\d{1,6}", text) or int(text) < 1:
        raise ConfigurationError(f"--workers must be a whole number >= 1, or auto; got '{text}'")
    return int(text)


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fresh_run(target: Target) -> Path:
    """The folder of a run that was given no name: runs/<date>-<time>-<target>, not there yet."""
    name = target.name if target.kind in ("function", "program") else target.text
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60].strip("-")
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{word}"
    path, more = Path(RUNS) / stem, 1
    while path.exists():
        more += 1
        path = Path(RUNS) / f"{stem}-{more}"
    return path

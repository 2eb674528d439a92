"""Errors a caller can name: one base class, one class per way out, each with its exit code.

A message reads as one line: the argument in call form, what was expected, what came, and, where it
is not obvious, what to do: ``minimize(sigma0=...) must be positive; got -1.0``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evoopt.result import Result

OK = 0
TARGET_MISSED = 1
USAGE = 2
OBJECTIVE_FAILED = 3
STATE = 4
MISSING_DEPENDENCY = 5
SIGINT_EXIT = 130
SIGTERM_EXIT = 143


class EvooptError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = USAGE


class ConfigurationError(EvooptError, ValueError):
    """An argument or a configuration key cannot be used as given."""


class ObjectiveError(EvooptError):
    """The objective cannot be evaluated: wrong type or shape, or too many failures.

    Attributes:
        result: what the search had found by then, or None before the first evaluation.
        numbers: how many real numbers came where one was expected; else 0.
    """

    exit_code = OBJECTIVE_FAILED
    result: Result | None = None
    numbers: int = 0


class StateError(EvooptError):
    """A run directory or a saved state is missing, damaged, foreign, or of another version."""

    exit_code = STATE


class MissingDependencyError(EvooptError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""

    exit_code = MISSING_DEPENDENCY


class Interrupted(KeyboardInterrupt):
    """The user or the system asked to stop (SIGINT, SIGTERM); nothing told is lost.

    Attributes:
        result: what the search had found by then.
        exit_code: 130 after SIGINT, 143 after SIGTERM.
    """

    result: Result | None = None
    exit_code = SIGINT_EXIT


def missing(package: str, extra: str, purpose: str) -> MissingDependencyError:
    """One sentence naming the extra that brings `package`."""
    return MissingDependencyError(
        f"{purpose} needs the package '{package}'; install it with: pip install '.[{extra}]'"
    )

"""What `evoopt-train` was asked for, and which of its options make no sense together."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from evoopt.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Order:
    """The options of the command, by their names."""

    config: Path | None
    overrides: tuple[str, ...]
    out: Path | None
    resume: bool
    previous: bool
    branch_from: Path | None
    branches: tuple[str, ...]
    dry_run: bool
    keys: bool
    json: bool
    quiet: bool

    def check(self) -> None:
        """Refuses options that make no sense together.

        Raises:
            ConfigurationError: says which.
        """
        if self.keys:
            self._check_keys()
            return
        if self.config is None and not self.resume and self.branch_from is None:
            raise ConfigurationError("CONFIG must be given: a .toml or .json file; see --keys")
        if self.resume and self.out is None:
            raise ConfigurationError("--resume must come with --out RUN, the run to go on with")
        if self.resume and self.branch_from is not None:
            raise ConfigurationError("--resume cannot be used with --branch-from: leave one out")
        if self.previous and not self.resume:
            raise ConfigurationError("--previous must come with --resume")
        if self.branches and self.branch_from is None:
            raise ConfigurationError("--branch must come with --branch-from CKPT")
        if self.branches and self.dry_run:
            raise ConfigurationError(
                "--branch cannot be used with --dry-run: give the keys of one branch by --set"
            )

    def _check_keys(self) -> None:
        """The list of all keys is the same, whatever else is given."""
        others = {
            "CONFIG": self.config,
            "--set": self.overrides,
            "--out": self.out,
            "--resume": self.resume,
            "--previous": self.previous,
            "--branch-from": self.branch_from,
            "--branch": self.branches,
            "--dry-run": self.dry_run,
        }
        given = [name for name, value in others.items() if value]
        if given:
            raise ConfigurationError(f"--keys cannot be used with {given[0]}: leave one out")

    def named_branches(self) -> list[tuple[str, tuple[str, ...]]]:
        """Name and overrides of each --branch; without one, a branch without a name.

        Raises:
            ConfigurationError: one is not of that form.
        """
        return [_branch(text) for text in self.branches] or [("", ())]


def _branch(text: str) -> tuple[str, tuple[str, ...]]:
    """Name and overrides of --branch."""
    name, colon, rest = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"--branch must be like 'short: run.steps=600'; got '{text}'")
    try:
        return name.strip(), tuple(shlex.split(rest))
    except ValueError as error:  # a quotation without its end
        raise ConfigurationError(
            f"--branch must be like 'short: run.steps=600'; got '{text}': {str(error).lower()}"
        ) from None

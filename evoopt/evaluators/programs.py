"""Programs as objectives: a command in which placeholders stand for x, and how its output is read.

    ./sim {x1} {x2} {x3}          one word per variable
    ./sim {x}                     all of them, a word each
    ./sim --x={x} --seed={seed}   within a word, separated by commas

With a space, its names are the placeholders: ./train --rate={rate} --layers={layers}.
`{id}` is the number of the candidate, `{{name}}` stands for the text `{name}`. Numbers are written
so that reading them gives back every bit. f is the last number on stdout; where the last line is a
JSON object, its "f" (or "value"). With m objectives these are the last m numbers, or a list of m.
No shell reads the command.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt.errors import ConfigurationError, ObjectiveError
from evoopt.evaluators.base import Batch, merged
from evoopt.evaluators.printed import value_in
from evoopt.evaluators.tasks import Outcome, Task
from evoopt.objective import described, values_shape
from evoopt.problem import check_points, classified, sign_of
from evoopt.result import Values
from evoopt.space import Space

Array = NDArray[np.float64]

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]\w*)\}")
_VARIABLE = re.compile(r"x[1-9]\d*")


@dataclass(frozen=True, slots=True)
class Program:
    """A command with placeholders, to be minimised like a function.

    Attributes:
        words: program and arguments; a text is split as a shell does, and no shell is ever run.
        cwd: its working directory; default: the current one.
        env: variables besides those of this process.
        space: named parameters, whose names are then the placeholders.
    """

    words: Sequence[str]
    cwd: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    space: Space | None = None

    def __post_init__(self) -> None:
        """Raises: ConfigurationError, for words that cannot be run."""
        words = _split(self.words)
        if not words:
            raise _wrong("must name a program", "nothing")
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "env", dict(self.env))
        if self.space is not None:
            self._check_names(self.space.names)
        unknown = [name for name in self.placeholders if not _is_known(name)]
        if unknown and self.space is None:
            raise _wrong(
                "may hold the placeholders {x}, {x1}, {x2}, ..., {seed}, {id}",
                f"{{{unknown[0]}}}; {{{{{unknown[0]}}}}} stands for the text itself",
            )
        if self.space is None and not any(name[0] == "x" for name in self.placeholders):
            raise _wrong("must hold {x}, or {x1}, {x2} and so on", f"'{command_line(words)}'")
        _check_can_be_run(words[0], self.cwd)

    def _check_names(self, names: Sequence[str]) -> None:
        """Refuses placeholders that are not the parameters of the space."""
        found = set(self.placeholders)
        unknown = sorted(found - {*names, "seed", "id"})
        left_out = [name for name in names if name not in found]
        if unknown or left_out:
            expected = ", ".join(f"{{{name}}}" for name in names)
            got = f"{{{unknown[0]}}}" if unknown else f"no {{{left_out[0]}}}"
            raise _wrong(f"must hold {expected}, and may hold {{seed}}, {{id}}", got)

    @property
    def placeholders(self) -> list[str]:
        """The names in braces, in order."""
        found = (_PLACEHOLDER.findall(word) for word in self.words)
        return [name for names in found for _, name in names if name]

    @property
    def dim(self) -> int | None:
        """How many variables the placeholders name; None where only {x} is there.

        Raises:
            ConfigurationError: some in between are left out.
        """
        if self.space is not None:
            return self.space.dim
        numbers = {int(name[1:]) for name in self.placeholders if _VARIABLE.fullmatch(name)}
        if not numbers:
            return None
        left_out = set(range(1, max(numbers) + 1)) - numbers
        if left_out and "x" not in self.placeholders:
            raise _wrong(
                f"must use every variable up to x{max(numbers)}", f"no {{x{min(left_out)}}}"
            )
        return max(numbers)

    @property
    def name(self) -> str:
        """The command without the folder of the program."""
        return program_name(self.words)

    def check_dim(self, dim: int) -> None:
        """Refuses placeholders that are not those of `dim` variables.

        Raises:
            ConfigurationError: there are more or fewer.
        """
        named = self.dim
        if named is not None and (named > dim or (named < dim and "x" not in self.placeholders)):
            expected = f"must hold {{x1}} to {{x{dim}}} for {dim} variables"
            raise _wrong(expected, f"{{x{named}}} as the last")

    def argv(self, x: Array, seed: int | None, id_: int) -> list[str]:
        """The command for one point. x: (dim,)."""
        numbers = [repr(value) for value in x.tolist()]
        values = {"seed": str(seed), "id": str(id_)}
        if self.space is None:
            values |= {f"x{i}": text for i, text in enumerate(numbers, 1)}
            values["x"] = ",".join(numbers)
        else:
            values |= {name: str(value) for name, value in self.space.point(x).items()}

        def filled(match: re.Match[str]) -> str:
            return values[match[2]] if match[2] else f"{{{match[1]}}}"

        argv: list[str] = []
        for word in self.words:
            several = word == "{x}" and self.space is None
            argv += numbers if several else [_PLACEHOLDER.sub(filled, word)]
        return argv

    def __call__(self, x: ArrayLike, seed: int | None = None) -> float:
        """f at x: (dim,), by one run of the program.

        Raises:
            ObjectiveError: the run failed.
        """
        point = np.asarray(x, dtype=np.float64)
        free = np.full(len(point), np.inf)
        problem = ProgramProblem(self, len(point), -free, free)
        values = problem.evaluate(point[None, :], None if seed is None else [seed])
        if values.failures:
            raise ObjectiveError(f"{self.name}: {values.failures[0].message}")
        return float(values.F[0])


@dataclass(frozen=True, slots=True, eq=False)
class ProgramProblem:
    """A program as a problem: one run for each row. For the engine `process`.

    Attributes:
        program: what is run.
        dim: number of variables. lower, upper: (dim,) bounds, may be infinite.
        maximize: its value is to be maximised, or those that are True; F holds the negated values.
        n_obj: number of objectives: so many numbers are read.
    """

    program: Program
    dim: int
    lower: Array
    upper: Array
    maximize: bool | tuple[bool, ...] = field(kw_only=True, default=False)
    n_obj: int = field(kw_only=True, default=1)

    def __post_init__(self) -> None:
        self.program.check_dim(self.dim)

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def space(self) -> Space | None:
        return self.program.space

    @property
    def takes_seed(self) -> bool:
        return "seed" in self.program.placeholders

    def task(self, id_: int, x: Array, seed: int | None) -> Task:
        """The run that evaluates candidate `id_` at x: (dim,)."""
        env = {**self.program.env, "EVOOPT_ID": str(id_)}
        return Task(self.program.argv(x, seed, id_), env, self.program.cwd)

    def value(self, outcome: Outcome, deadline: float | None) -> Values:
        """The values of one row, from how its program ended."""
        F = np.full(values_shape(1, self.n_obj), math.nan)
        failure = outcome.failure(deadline)
        if failure is None:
            F[0], failure = value_in(outcome, self.n_obj)
        F *= sign_of(self.maximize)
        return classified(F, None, {} if failure is None else {0: failure})

    def close(self) -> None:
        """Nothing was made for the programs."""

    def evaluate(self, X: ArrayLike, seeds: Sequence[int] | None = None) -> Values:
        """The values of the rows of X: (k, dim), one run after another.

        Raises:
            ConfigurationError: X has another shape, or is not finite.
        """
        X = check_points(self, X)
        if not len(X):
            return Values(np.empty(values_shape(0, self.n_obj)))
        from evoopt.evaluators.slots import ProcessEvaluator

        slots = ProcessEvaluator(self, 1)
        try:
            slots.submit(np.arange(len(X)), X, seeds, None)
            batches: list[Batch] = []
            while sum(len(batch.ids) for batch in batches) < len(X):
                batch = slots.poll(1.0)
                batches += [] if batch is None else [batch]
        finally:
            slots.close()
        return merged(batches).values  # one slot: in the order of the rows


def command_line(words: Sequence[str]) -> str:
    """The words as a shell reads them, which may leave a placeholder without quotes."""
    return re.sub(r"'(\{\w+\})'", r"\1", shlex.join(words))


def _split(words: object) -> tuple[str, ...]:
    if isinstance(words, str):
        try:
            return tuple(shlex.split(words))
        except ValueError as error:
            raise _wrong("must be words as a shell reads them", f"'{words}' ({error})") from None
    if isinstance(words, Sequence) and all(isinstance(word, str) for word in words):
        return tuple(words)
    raise _wrong("must be a text, or a list of texts", described(words))


def program_name(words: Sequence[str]) -> str:
    """A command without the folder of its program."""
    return command_line([os.path.basename(words[0]), *words[1:]])


def _is_known(name: str) -> bool:
    return name in ("x", "seed", "id") or _VARIABLE.fullmatch(name) is not None


def _check_can_be_run(word: str, cwd: str | None) -> None:
    """Refuses a program that is not there, or that may not be run."""
    path = os.path.join(cwd or os.curdir, word) if os.sep in word else word
    if cwd is not None and not os.path.isdir(cwd):
        raise ConfigurationError(f"Program(cwd=...) must be a folder; got '{cwd}'")
    if shutil.which(path) is not None:
        return
    local = os.path.join(cwd or os.curdir, word)
    if os.path.isdir(path):
        why = "a folder"
    elif os.sep in word and os.path.exists(path):
        why = f"which is not executable; chmod +x {word}"
    elif os.path.isfile(local) and os.sep not in word:
        why = f"which is not on the PATH; did you mean ./{word}?"
    else:
        why = "which is not there"
    raise _wrong("must begin with a program that can be run", f"'{word}', {why}")


def _wrong(expected: str, got: str) -> ConfigurationError:
    return ConfigurationError(f"Program(words=...) {expected}; got {got}")

"""Benchmark suites: which problems there are, how a user names them, and each as a Problem.

A selection of problems reads ``bbob`` (the suite with its defaults) or ``bbob:f1-4,8:d10:i1`` (any
of the three parts, each a list of numbers and ranges). The order of problems is cocoex's: by
dimension, then function, then instance. Names are cocoex's too: ``bbob_f008_i01_d10``.

Parsing needs numpy alone; cocoex (extra ``bench``) is imported when a problem is made.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evoopt.errors import ConfigurationError, missing
from evoopt.result import NAN, NEGINF, POSINF, Array, Failure, Values

if TYPE_CHECKING:
    from types import ModuleType

FINAL_PRECISION = 1e-8  # COCO calls a problem solved at f <= f_opt + 1e-8


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """What a suite offers and how a search on it starts.

    Attributes:
        name: the name cocoex knows it by.
        n_obj: number of objectives.
        functions: all function numbers.
        dimensions: all dimensions.
        default_dimensions: those taken when the user names none: small enough for a first try.
        default_instances: those taken when the user names none.
        start: lower and upper end of the box in which a search starts, the same for each variable.
        sigma0: initial step size.
        box: lower and upper end of the region of interest.
        bounds_apply: whether points outside the box are infeasible.
    """

    name: str
    n_obj: int
    functions: tuple[int, ...]
    dimensions: tuple[int, ...]
    default_dimensions: tuple[int, ...]
    default_instances: tuple[int, ...]
    start: tuple[float, float]
    sigma0: float
    box: tuple[float, float]
    bounds_apply: bool


SUITES: dict[str, SuiteSpec] = {
    "bbob": SuiteSpec(
        name="bbob",
        n_obj=1,
        functions=tuple(range(1, 25)),
        dimensions=(2, 3, 5, 10, 20, 40),
        default_dimensions=(2, 3, 5),
        default_instances=(1, 2, 3),
        start=(-4.0, 4.0),
        sigma0=2.0,
        box=(-5.0, 5.0),
        bounds_apply=False,
    ),
}


@dataclass(frozen=True, slots=True, order=True)
class ProblemId:
    """One problem of a suite. Sorting gives the suite's order."""

    suite: str
    dim: int
    function: int
    instance: int

    @property
    def name(self) -> str:
        """The id that cocoex gives this problem."""
        return f"{self.suite}_f{self.function:03d}_i{self.instance:02d}_d{self.dim:02d}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The problems of one suite that a user asked for, each part in ascending order."""

    suite: str
    functions: tuple[int, ...]
    dimensions: tuple[int, ...]
    instances: tuple[int, ...]

    def __str__(self) -> str:
        """As `select` takes it: bbob:f1-4,8:d2,3,5:i1-15."""
        functions, dimensions, instances = map(
            number_list, (self.functions, self.dimensions, self.instances)
        )
        return f"{self.suite}:f{functions}:d{dimensions}:i{instances}"

    def __len__(self) -> int:
        return len(self.functions) * len(self.dimensions) * len(self.instances)

    def problems(self) -> tuple[ProblemId, ...]:
        """All problems, in the suite's order."""
        return tuple(
            ProblemId(self.suite, dim, function, instance)
            for dim in self.dimensions
            for function in self.functions
            for instance in self.instances
        )


def is_suite(target: str) -> bool:
    """Whether the word before the first colon is a suite's name."""
    return target.split(":", 1)[0] in SUITES


def suite_spec(name: str) -> SuiteSpec:
    """The suite of that name.

    Raises:
        ConfigurationError: no suite has that name.
    """
    if name not in SUITES:
        close = difflib.get_close_matches(name, SUITES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"suite must be one of {', '.join(SUITES)}; got {name!r}{hint}")
    return SUITES[name]


def select(
    target: str,
    *,
    function: str | None = None,
    dim: str | None = None,
    instance: str | None = None,
) -> Selection:
    """The selection that `target` and the three options name together.

    Args:
        target: a suite with none, some or all parts: ``bbob``, ``bbob:f8:d10``.
        function: numbers as in `parse_ids`; the value of ``--function``.
        dim: the value of ``--dim``.
        instance: the value of ``--instance``.

    Raises:
        ConfigurationError: unknown suite, number out of range, or one part given twice.
    """
    name, *parts = target.split(":")
    spec = suite_spec(name)
    options = {"--function": function, "--dim": dim, "--instance": instance}
    for part in parts:
        option = {"f": "--function", "d": "--dim", "i": "--instance"}.get(part[:1])
        if option is None:
            raise ConfigurationError(
                f"{target!r} must consist of parts like f8, d10 or i1 after the suite; got {part!r}"
            )
        if options[option] is not None:
            raise ConfigurationError(f"{option} was given twice; {target!r} already says {part!r}")
        options[option] = part[1:]
    chosen = {option: text for option, text in options.items() if text is not None}
    return Selection(
        suite=name,
        functions=parse_ids(chosen["--function"], "--function", spec.functions)
        if "--function" in chosen
        else spec.functions,
        dimensions=parse_ids(chosen["--dim"], "--dim", spec.dimensions)
        if "--dim" in chosen
        else spec.default_dimensions,
        instances=parse_ids(chosen["--instance"], "--instance")
        if "--instance" in chosen
        else spec.default_instances,
    )


def parse_ids(
    text: str, option: str = "--function", allowed: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Numbers named by a list of numbers and ranges: "1-4,8" is (1, 2, 3, 4, 8).

    Args:
        text: the list; spaces do not count, repeated numbers count once.
        option: how a message names what was set.
        allowed: the numbers that exist; None for every number from 1 on. A range takes those of
            them that lie inside it ("2-10" of dimensions 2, 3, 5, 10, 20 is (2, 3, 5, 10)).

    Raises:
        ConfigurationError: not a list of numbers and ranges, or a number that does not exist.
    """
    chosen: set[int] = set()
    for item in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", item)
        if match is None:
            raise ConfigurationError(f"{option} must be a list like 1-4,8; got {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise ConfigurationError(f"{option} must have ranges that go up; got {item!r}")
        ends_exist = {first, last} <= set(allowed) if allowed is not None else first >= 1
        if not ends_exist:
            expected = f"among {number_list(allowed)}" if allowed is not None else "1 or more"
            raise ConfigurationError(f"{option} must be {expected}; got {item!r}")
        chosen.update(n for n in (allowed or range(first, last + 1)) if first <= n <= last)
    return tuple(sorted(chosen))


def number_list(numbers: Sequence[int]) -> str:
    """The inverse of `parse_ids`: "1-4,8" for 1, 2, 3, 4, 8, which must ascend."""
    spans: list[list[int]] = []
    for n in numbers:
        if spans and n == spans[-1][-1] + 1:
            spans[-1].append(n)
        else:
            spans.append([n])
    return ",".join(f"{s[0]}-{s[-1]}" if len(s) > 2 else ",".join(map(str, s)) for s in spans)


class CocoProblem:
    """One noiseless COCO problem behind evoopt's Problem protocol.

    It evaluates rows in cocoex's C code without logging anything; `coco_data` writes COCO's files.

    Attributes:
        id: which problem.
        name: cocoex's id of it.
        dim, n_obj: number of variables and objectives.
        lower, upper: (dim,) the region of interest.
        bounds_apply: False where points outside the region are as good as any (bbob).
        f_opt: the optimal value.
        target: COCO's final target value: reached when f <= target.
        start_lower, start_upper: (dim,) the box in which a search starts.
        sigma0: initial step size.
    """

    def __init__(self, problem: ProblemId) -> None:
        spec = suite_spec(problem.suite)
        ones = np.ones(problem.dim)
        self.id = problem
        self.name = problem.name
        self.dim = problem.dim
        self.n_obj = spec.n_obj
        self.lower, self.upper = spec.box[0] * ones, spec.box[1] * ones
        self.bounds_apply = spec.bounds_apply
        self.start_lower, self.start_upper = spec.start[0] * ones, spec.start[1] * ones
        self.sigma0 = spec.sigma0
        self._bare = cocoex().BareProblem(
            problem.suite, problem.function, problem.dim, problem.instance
        )
        # the optimal *value* may be asked for; asking for its place would taint the problem
        self.f_opt = float(self._bare.best_value())
        self.target = self.f_opt + FINAL_PRECISION  # as cocoex's final_target_hit computes it

    def __reduce__(self) -> tuple[type[CocoProblem], tuple[ProblemId]]:
        return CocoProblem, (self.id,)

    def evaluate(self, X: Array) -> Values:
        """Objective values of the rows of X: (k, dim). Rows without a finite value are failures."""
        F = self._bare(np.array(X, dtype=np.float64, order="C", ndmin=2))
        wrong = np.flatnonzero(~np.isfinite(F))
        if wrong.size == 0:
            return Values(F)
        failures = {int(row): _failure(float(F[row])) for row in wrong}
        F[wrong] = np.nan
        return Values(F, failures=failures)


def _failure(f: float) -> Failure:
    kind = NAN if np.isnan(f) else POSINF if f > 0 else NEGINF
    return Failure(kind, f"the benchmark function returned {f}")


def cocoex() -> ModuleType:
    """The module cocoex.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("cocoex")
    except ImportError as error:
        raise missing("coco-experiment", "bench", "a COCO suite") from error

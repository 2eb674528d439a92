"""Benchmark suites: which problems there are, how a user names them, and each as a Problem.

A selection of problems reads ``bbob`` (the suite with its defaults) or ``bbob:f1-4,8:d10:i1`` (any
of the three parts, each a list of numbers and ranges). The order of problems is cocoex's: by
dimension, then function, then instance. A name reads ``bbob_f008_i01_d10``, as cocoex's id does,
with the suite in front always.

Parsing needs numpy alone; cocoex (extra ``bench``) is imported when a problem is made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evoopt.errors import ConfigurationError
from evoopt.result import NAN, NEGINF, POSINF, Array, Failure, Values
from evoopt_bench import noise
from evoopt_bench.biobj import Extremes, extremes
from evoopt_bench.catalogue import SUITES as SUITES
from evoopt_bench.catalogue import SuiteSpec
from evoopt_bench.coco_c import Bare, bare, bare_bbob
from evoopt_bench.coco_c import cocoex as cocoex
from evoopt_bench.indicator import Indicator
from evoopt_bench.targets import Improvements, Run

_COCO_INSTANCES = 15  # of the bi-objective suites, from 1 on
FINAL_PRECISION = 1e-8  # COCO calls a problem solved at f <= f_opt + 1e-8


@dataclass(frozen=True, slots=True, order=True)
class ProblemId:
    """One problem of a suite. Sorting gives the suite's order."""

    suite: str
    dim: int
    function: int
    instance: int

    @property
    def name(self) -> str:
        """What it is called here: the suite, then function, instance and dimension."""
        return f"{self.suite}_f{self.function:03d}_i{self.instance:02d}_d{self.dim:02d}"

    @property
    def coco_id(self) -> str:
        """The id that cocoex gives this problem."""
        numbers = {"function": self.function, "instance": self.instance, "dim": self.dim}
        return SUITES[self.suite].coco_id.format(**numbers)

    @property
    def coco_options(self) -> tuple[str, str]:
        """The two texts that make cocoex.Suite hold this problem alone."""
        spec = SUITES[self.suite]
        index = self.function - spec.first_function + 1
        chosen = f"dimensions: {self.dim} function_indices: {index}"
        if spec.n_obj > 1 and self.instance <= _COCO_INSTANCES:
            # its files name a problem by its place in the whole suite
            return "", f"{chosen} instance_indices: {self.instance}"
        return f"instances: {self.instance}", chosen


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
    """One COCO problem behind evoopt's Problem protocol.

    It evaluates rows in cocoex's C code without logging anything; `coco_data` writes COCO's files.
    Values of bbob-noisy depend on the point and the seed of the evaluation, see `noise`.

    Attributes:
        id: which problem.
        name: the suite's name of it.
        dim, n_obj: number of variables and objectives.
        lower, upper: (dim,) the region of interest; with two objectives the box of the suite.
        bounds_apply: False where points outside the region are as good as any (bbob).
        integers: (dim,) which variables take whole numbers only; COCO rounds them.
        f_opt: the optimal value; 0 with two objectives, see `targets.Run`.
        extremes: of two objectives, see `biobj`; else None.
        target: COCO's final target value: reached when f <= target; -inf with two objectives.
        start_lower, start_upper: (dim,) the box in which a search starts.
        start: (dim,) where every search begins; None where it is drawn from that box.
        sigma0: initial step size; one per variable where their ranges differ.
        takes_seed: a value depends on a seed, too.
    """

    def __init__(self, problem: ProblemId) -> None:
        spec = suite_spec(problem.suite)
        self.id = problem
        self.name = problem.name
        self.dim = problem.dim
        self.n_obj = spec.n_obj
        self.bounds_apply = spec.bounds_apply
        self.takes_seed = spec.is_noisy
        self._bare = _bare(problem)
        self.f_opt = self._bare.f_opt
        self.lower, self.upper = self._bare.lower, self._bare.upper
        self.integers = np.arange(problem.dim) < self._bare.n_integers
        self.target = self.f_opt + FINAL_PRECISION  # as cocoex's final_target_hit computes it
        self.extremes: Extremes | None = None
        if spec.n_obj > 1:
            self.extremes = extremes(self._bare.value, problem.function, problem.instance)
            self.lower, self.upper = (np.full(problem.dim, side) for side in spec.box)
            self.target = -np.inf
        self.start = None if spec.x0 is None else np.full(problem.dim, spec.x0)
        scale = (self.upper - self.lower) / (spec.box[1] - spec.box[0])
        self.start_lower = self.lower + scale * (spec.start[0] - spec.box[0])
        self.start_upper = self.upper - scale * (spec.box[1] - spec.start[1])
        steps = (scale * spec.sigma0).tolist()
        self.sigma0: float | list[float] = steps if self._bare.n_integers else spec.sigma0
        self._noise = noise.Noise.of(problem.function, problem.dim) if spec.is_noisy else None

    def __reduce__(self) -> tuple[type[CocoProblem], tuple[ProblemId]]:
        return CocoProblem, (self.id,)

    def evaluate(self, X: Array, seeds: Sequence[int] | None = None) -> Values:
        """Objective values of the rows of X: (k, dim). Rows without a finite value are failures.

        Raises:
            ConfigurationError: the problem is noisy and there are not k seeds.
        """
        X = np.array(X, dtype=np.float64, order="C", ndmin=2)
        if self._noise is None:
            F = self._bare.values(X)
        else:
            if seeds is None or len(seeds) != len(X):
                got = "none" if seeds is None else len(seeds)
                raise ConfigurationError(
                    f"evaluate(seeds=...) must hold {len(X)} numbers; got {got}"
                )
            excess = noise.noise_free(self._noise, self._bare.value, self.f_opt, X)
            noisy = self._noise.applied(excess, *noise.seeded_draws(seeds))
            F = noisy + self.f_opt + noise.penalty(X)
        finite = np.isfinite(F)
        wrong = np.flatnonzero(~(finite if F.ndim == 1 else finite.all(axis=1)))
        if wrong.size == 0:
            return Values(F)
        failures = {int(row): _failure(float(np.sum(F[row]))) for row in wrong}
        F[wrong] = np.nan
        return Values(F, failures=failures)

    def course(self) -> Improvements | Indicator:
        """What judges a run: it takes values as they come, and `run` makes it a Run."""
        if self.extremes is None:
            return Improvements()
        return Indicator(self.extremes.ideal, self.extremes.nadir, self.extremes.reference)

    def run(self, course: Improvements | Indicator) -> Run:
        """The run whose values went into `course`."""
        which = self.id
        at, f = course.arrays()
        numbers = which.function, which.dim, which.instance, course.evaluations
        return Run(*numbers, self.f_opt, at, f, self.n_obj)

    def value(self, x: Array) -> float:
        """The value at x: (dim,), NaN or inf included; quick, and not of a noisy problem."""
        return float(self._bare.value(x))

    def judged(self, X: Array, F: Array) -> Array:
        """(k,) the values by which COCO judges the rows of X: (k, dim), evaluated to F: (k,).

        They are F, but the noise-free values where the problem is noisy.
        """
        if self._noise is None:
            return F
        return noise.noise_free(self._noise, self._bare.value, self.f_opt, X) + self.f_opt


def _bare(problem: ProblemId) -> Bare:
    """What cocoex has of the problem."""
    if problem.suite == "bbob":
        return bare_bbob(problem.function, problem.dim, problem.instance, SUITES["bbob"].box)
    return bare(problem.suite, problem.coco_options, problem.coco_id)


def _failure(f: float) -> Failure:
    kind = NAN if np.isnan(f) else POSINF if f > 0 else NEGINF
    return Failure(kind, f"the benchmark function returned {f}")

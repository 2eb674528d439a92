"""One search from the command line: a user's function, with progress, a report and an exit code."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from evoopt.cli import console
from evoopt.cli.words import Target
from evoopt.errors import OBJECTIVE_FAILED, OK, TARGET_MISSED, Interrupted, ObjectiveError

if TYPE_CHECKING:
    from evoopt.api import Settings
    from evoopt.problem import Problem
    from evoopt.result import Result
    from evoopt.space import Space

_UNMEASURED = ("interrupted", "invalid", "callback")  # criteria without a quantity
_SPENT = ("maxfevals", "timeout")  # more of which helps only if something succeeds
_FAILED = ("allfailed", "maxfailures")  # criteria that say that the objective is of no use


def minimize_function(
    target: Target, path: Path, words: dict[str, Any], *, json: bool, quiet: bool
) -> int:
    """Search with a user's function; the keywords are those of `evoopt.minimize`, and dim.

    Returns:
        The exit code.
    """
    from evoopt.api import Settings
    from evoopt.bounds import check_bounds
    from evoopt.earlier import evaluations

    dim, box, space = words.pop("dim"), words.pop("bounds"), words.pop("space")
    if words["warm_start"] is not None:
        words["warm_start"] = evaluations(words["warm_start"], space, words["objectives"] or 1)
    lower, upper = check_bounds(box, dim) if space is None else (space.lower, space.upper)
    settings = Settings(**words)
    problem = function_problem(target, dim, lower, upper, settings, space)
    if (path / "manifest.json").exists() and not quiet:
        console.note(f"{path} holds a run: going on with it, if it was asked for in the same words")
    job = Job(problem, settings, path, target.again, settings.target)
    return carry_out(job, json=json, quiet=quiet)


def function_problem(
    target: Target,
    dim: int,
    lower: Any,
    upper: Any,
    settings: Settings,
    space: Space | None = None,
) -> Problem:
    """The function or program that the target names, as a problem. lower, upper: (dim,)."""
    from evoopt.goal import check_maximize
    from evoopt.problem import FunctionProblem, load_function

    n_obj = settings.objectives or 1
    maximize = check_maximize(settings.maximize, n_obj, settings.owner)
    if target.kind == "program":
        from evoopt.evaluators.programs import Program, ProgramProblem

        program = Program(target.words, space=space)
        return ProgramProblem(program, dim, lower, upper, maximize=maximize, n_obj=n_obj)
    if space is not None:
        return space.problem(
            load_function(target.text),
            name=target.name,
            vectorized=settings.vectorized,
            maximize=maximize,
            n_obj=n_obj,
        )
    return FunctionProblem(
        load_function(target.text),
        dim,
        lower,
        upper,
        name=target.name,
        vectorized=settings.vectorized,
        maximize=maximize,
        n_obj=n_obj,
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A search, and what the command line has to know of it.

    Attributes:
        problem, settings: what to search, and how.
        path: the run directory.
        again: what `evoopt resume` has to be told besides the run.
        target: the value that the user asked for.
        known: what else is to be reported of a result, by name.
    """

    problem: Problem
    settings: Settings
    path: Path
    again: tuple[str, ...] = ()
    target: float | None = None
    known: Callable[[Result], Mapping[str, Any]] | None = None


def carry_out(job: Job, *, json: bool, quiet: bool) -> int:
    """Search, or go on with a search; show how it goes, and report what came of it.

    Args:
        job: what to do.
        json: report by a JSON document.
        quiet: no progress and no hints.

    Returns:
        The exit code.
    """
    from evoopt.api import solve
    from evoopt.evaluators.programs import command_line
    from evoopt.observers.progress import Progress
    from evoopt.plan import resolve

    problem, settings = job.problem, job.settings
    again = command_line(["evoopt", "resume", str(job.path), *job.again])
    plan = resolve(problem, settings)  # to show what was chosen; `solve` decides by itself
    progress = Progress(f"{problem.name}, {problem.dim}-D", plan, enabled=not quiet)
    try:
        with progress:
            result = solve(problem, settings, run_dir=job.path, observers=(progress,))
    except Interrupted as error:
        if error.result is not None:
            report(error.result, json=json, status="interrupted")
        console.note(f"interrupted: what was evaluated is kept; go on with: {again}")
        return error.exit_code
    except ObjectiveError as error:
        if error.result is not None and error.result.evaluations:
            report(error.result, json=json, status="failed")
            console.note(f"what was evaluated is kept; correct it, then: {again}")
        raise
    known = job.known(result) if job.known else {}
    report(result, json=json, status="done", known=known)
    code = exit_code(result, job.target)
    _closing_words(result, code, quiet)
    return code


def exit_code(result: Result, target: float | None) -> int:
    """What a search that came to its end returns. target: if one was asked for."""
    if result.x is None or result.reason.criterion in _FAILED:
        return OBJECTIVE_FAILED
    if target is not None and result.reason.criterion != "ftarget":
        return TARGET_MISSED
    return OK


def report(
    result: Result, *, json: bool, status: str, known: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """The result on stdout.

    Args:
        result: to be reported.
        json: as one JSON document.
        status: "done", "interrupted" or "failed".
        known: what else there is to say, by name.
    """
    if json:
        console.document({"status": status, **as_document(result), **known})
        return
    rows = as_pairs(result)
    for name, value in known.items():
        text = console.number(value) if isinstance(value, float) else str(value)
        rows.append((name.replace("_", " "), text))
    console.pairs(rows)


def as_document(result: Result) -> dict[str, Any]:
    """A result as JSON values but for numbers that are not finite; without its history."""
    points = result.front_points
    plain = asdict(replace(result, failures=dict(result.failures), front=None, front_points=None))
    del plain["history"], plain["front"], plain["front_points"]
    plain["x"] = None if result.x is None else result.x.tolist()
    plain["mean"] = result.mean.tolist()
    plain["notes"] = list(result.notes)
    if result.front is not None:
        plain["f"] = result.f.tolist()
        plain |= {
            "hypervolume": result.hypervolume,
            "reference": result.reference.tolist(),
            "knee": result.knee,
            "extremes": list(result.extremes),
            "front_x": result.front_x.tolist(),
            "front_f": result.front_f.tolist(),
        }
    if points is not None:
        plain["front_points"] = list(points)
    return plain


def as_pairs(result: Result) -> list[tuple[str, str]]:
    """A result as names and texts, the most important first."""
    from evoopt.result import named_values

    reason = result.reason
    number = console.number
    measured = f"value {number(reason.value)}, limit {number(reason.threshold)}"
    f = "none: no evaluation succeeded"
    if result.x is not None and result.front is None:
        f = number(result.f, 10)
    elif result.front is not None:
        f = f"{console.vector(result.f.tolist(), digits=10)} at the knee"
    rows = [
        *_about_front(result),
        ("f", f),
        ("point", "" if result.point is None else named_values(result.point)),
        ("x", "" if result.x is None else console.vector(result.x.tolist(), digits=10)),
        ("success", "yes" if result.success else "no"),
        ("evaluations", str(result.evaluations)),
        ("generations", str(result.generations)),
        ("sigma", number(result.sigma)),
        ("reason", f"{reason.criterion}: {reason.message}"),
        ("", measured if reason.criterion not in _UNMEASURED else ""),
        ("advice", reason.advice if result.x is not None or reason.criterion not in _SPENT else ""),
        ("failures", ", ".join(f"{n} {kind}" for kind, n in sorted(result.failures.items()))),
        ("first failure", result.first_failure),
        ("restarts", str(result.restarts) if result.restarts else ""),
        ("algorithm", result.algorithm),
        ("seed", str(result.seed)),
        *(("chosen" if not i else "", text) for i, text in enumerate(result.notes)),
        ("run", result.run_dir or ""),
    ]
    return [(name, text) for name, text in rows if text]


def _about_front(result: Result) -> list[tuple[str, str]]:
    """What there is to say of the front of several objectives."""
    if result.front is None:
        return []
    best = [result.front_f[i] for i in result.extremes]
    return [
        ("front", f"{console.counted(len(result.front), 'point')}; evoopt export writes the front"),
        ("hypervolume", console.number(result.hypervolume, 10)),
        ("reference", console.vector(result.reference.tolist(), digits=10)),
        ("extremes", " and ".join(console.vector(f.tolist()) for f in best)),
    ]


def _closing_words(result: Result, code: int, quiet: bool) -> None:
    """What to know and what to do next, on stderr."""
    if code == OBJECTIVE_FAILED:
        times = sum(result.failures.values())
        console.note(f"error: the objective failed {times} times; first: {result.first_failure}")
    elif code == TARGET_MISSED:
        console.note(f"the target was missed: {result.reason.criterion}: {result.reason.message}")
    if not quiet and result.run_dir and result.x is not None:
        run = shlex.quote(result.run_dir)
        several = result.front is not None
        kind = "pareto" if several else "anytime"
        export = f"; evoopt export {run} -o {run}/front.csv" if several else ""
        console.note(f"next: evoopt plot {kind} {run} -o {run}/{kind}.png{export}")

"""Running a suite: its problems in parallel, resumable, and closed by COCO data, table, picture.

The problem is the unit. Its seed is a hash of the run's seed and its own name, and its files come
from its own log alone; so neither the number of workers, nor their speed, nor an interruption
changes anything in the result. See `records` for the folder, `crew` for the processes.
"""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

import evoopt
from evoopt import rng
from evoopt.checks import check_count, check_seed, refuse
from evoopt.errors import MissingDependencyError, StateError
from evoopt.plan import resolve
from evoopt.settings import Settings
from evoopt_bench import plots
from evoopt_bench.coco_data import merge_parts, recorded_evaluations
from evoopt_bench.crew import alone_in, run_tasks, stoppable
from evoopt_bench.records import (
    MANIFEST,
    PART,
    SCHEMA,
    TRACE,
    Progress,
    SuiteManifest,
    problem_dir,
    read_manifest,
    read_trace,
    write_json,
    write_manifest,
)
from evoopt_bench.shares import Shares, shares
from evoopt_bench.single import problem_settings, run_problem
from evoopt_bench.suites import SUITES, CocoProblem, ProblemId, Selection, cocoex
from evoopt_bench.table import Cell, cells
from evoopt_bench.targets import Run

BUDGET = "100D"  # evaluations for each problem, where none are given
# what each problem of a suite decides for itself
_OWN = frozenset({"x0", "seed", "target", "start_lower", "start_upper", "ignore_bounds"})
_OWN |= {"workers", "isolate", "vectorized", "maximize", "asynchronous"}
_OWN |= {"engine", "ray_address", "gpus", "warm_start", "objectives", "reference"}


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a suite run came to, and where it lies.

    Attributes:
        out: the folder of the run.
        manifest: what was asked for.
        runs: the run on each problem, in the suite's order.
        table: a cell per dimension and function.
        shares: with two objectives, the shares of targets beside what is published; else none.
        coco_data: COCO's data folder; ``python -m cocopp`` reads it.
        table_file: the table as JSON.
        picture: the run-time distributions; None where matplotlib is not installed.
    """

    out: Path
    manifest: SuiteManifest
    runs: tuple[Run, ...]
    table: tuple[Cell, ...]
    shares: tuple[Shares, ...]
    coco_data: Path
    table_file: Path
    picture: Path | None

    @property
    def solved(self) -> int:
        """How many problems were solved to 1e-8; with two objectives to 1e-5."""
        return sum(cell.solved for cell in self.table)

    @property
    def evaluations(self) -> int:
        """How many evaluations were spent on all problems."""
        return sum(run.evaluations for run in self.runs)


def run_suite(
    selection: Selection,
    settings: Settings,
    out: Path,
    *,
    label: str | None = None,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> SuiteResult:
    """Run one algorithm on the problems of a suite.

    Args:
        selection: the problems.
        settings: algorithm, budget (5000, "100D", "1000*D"; default `BUDGET`), seed, sigma0,
            popsize, restarts, ...; start, target and bounds are the problem's.
        out: the folder of the run; it must not hold a run yet.
        label: the algorithm's name in data, tables and pictures; default: algorithm and restarts.
        workers: how many problems at a time, each in a process of its own.
        progress: called at the start and after each problem.

    Raises:
        ConfigurationError: settings that cannot be used on a suite.
        StateError: `out` holds a run, or is in use.
        Interrupted: SIGINT or SIGTERM; `resume_suite` goes on.
    """
    seed = rng.fresh_seed() if settings.seed is None else check_seed(settings.seed, settings.owner)
    budget = BUDGET if settings.budget is None else settings.budget
    settings = replace(settings, seed=None, budget=budget)
    _check(selection, settings, seed, workers)
    if (out / MANIFEST).exists():
        raise StateError(f"{out} holds a run; go on with `evoopt resume {out}`, or name another")
    given = {word: value for word, value in settings.plain().items() if word not in _OWN}
    manifest = SuiteManifest(selection, label or _label(settings), seed, given, _versions())
    (out / "problems").mkdir(parents=True, exist_ok=True)
    write_manifest(out, manifest)
    return resume_suite(out, workers=workers, progress=progress)


def resume_suite(
    out: Path, *, workers: int = 1, progress: Callable[[Progress], None] | None = None
) -> SuiteResult:
    """Go on with a suite run: what is done stays, what is begun is continued, bit for bit.

    Args:
        out: the folder of the run.
        workers: how many problems at a time; may differ from before.
        progress: called at the start and after each problem.

    Raises:
        StateError: no suite run is there, it is damaged, or in use.
        Interrupted: SIGINT or SIGTERM.
    """
    manifest = read_manifest(out)
    problems = manifest.selection.problems()
    report = progress or (lambda event: None)
    with alone_in(out / "problems"), stoppable():  # beside the crew, all steps can be done again
        runs = _runs_done(out, problems)
        event = _progress(runs.values(), len(problems))
        report(event)

        def done(problem: ProblemId, run: Run) -> None:
            nonlocal event
            runs[problem] = run
            event = Progress(
                event.done + 1,
                event.total,
                event.solved + run.solved,
                event.evaluations + run.evaluations,
                problem.name,
            )
            report(event)

        # the longest first, so that no worker is left alone with them in the end
        left = sorted((p for p in problems if p not in runs), key=lambda p: -p.dim)
        work = functools.partial(_run_in, out)
        run_tasks(left, work, workers=workers, folder=out / "problems", done=done)
        return _closed(out, manifest, [runs[p] for p in problems])


def suite_progress(out: Path) -> Progress:
    """How far the suite run in `out` is, whether it is under way or not.

    Raises:
        StateError: no suite run is there, or it is damaged.
    """
    problems = read_manifest(out).selection.problems()
    return _progress(_runs_done(out, problems).values(), len(problems))


def _run_in(out: Path, problem: ProblemId) -> Run:
    """One problem of the suite run in `out`; the work of a worker process."""
    manifest = read_manifest(out)
    settings = problem_settings(Settings(**manifest.settings), problem, manifest.seed)
    directory = problem_dir(out, problem)
    info = f"evoopt {manifest.versions['evoopt']}, seed {manifest.seed}"
    info += f", budget {manifest.settings['budget']}"
    return run_problem(problem, settings, directory, label=manifest.label, info=info)[1]


def _runs_done(out: Path, problems: Sequence[ProblemId]) -> dict[ProblemId, Run]:
    """The problems that have a trace and a COCO part of as many evaluations."""
    found = {
        p: read_trace(problem_dir(out, p))
        for p in problems
        if (problem_dir(out, p) / TRACE).exists()
    }
    return {
        p: run
        for p, run in found.items()
        if recorded_evaluations(problem_dir(out, p) / PART) == run.evaluations
    }


def _progress(runs: Collection[Run], total: int) -> Progress:
    solved, spent = sum(run.solved for run in runs), sum(run.evaluations for run in runs)
    return Progress(len(runs), total, solved, spent, None)


def _closed(out: Path, manifest: SuiteManifest, runs: list[Run]) -> SuiteResult:
    """Merge COCO's data, write the table, draw the picture. Doing it again gives the same."""
    parts = [problem_dir(out, p) / PART for p in manifest.selection.problems()]
    coco_data = merge_parts(parts, out / "coco" / re.sub(r"[^\w.+-]+", "-", manifest.label))
    table = cells(runs)
    table_file = out / "table.json"
    suite = manifest.selection.suite
    content = {"schema": SCHEMA, "label": manifest.label, "cells": [asdict(c) for c in table]}
    of_two = shares(suite, manifest.label, runs) if SUITES[suite].n_obj > 1 else []
    if of_two:
        content["shares"] = [asdict(line) for line in of_two]
    write_json(table_file, content)
    picture: Path | None = None
    try:
        picture = plots.draw_ecdf({manifest.label: runs}, out / "ecdf.svg", suite=suite)
    except MissingDependencyError:  # the numbers are there; `evoopt plot` says what is missing
        picture = None
    tables = tuple(table), tuple(of_two)
    return SuiteResult(out, manifest, tuple(runs), *tables, coco_data, table_file, picture)


def _check(selection: Selection, settings: Settings, seed: int, workers: int) -> None:
    """Refuse what cannot be run, before a folder is made."""
    cocoex()
    default = Settings()
    for word in sorted(_OWN - {"seed", "workers"}):
        if getattr(settings, word) != getattr(default, word):
            got = getattr(settings, word)
            raise refuse(settings.owner, word, "left out on a suite", got)
    check_count(workers, settings.owner, "workers")
    for dim in selection.dimensions:
        problem = replace(selection.problems()[0], dim=dim)
        resolve(CocoProblem(problem), problem_settings(settings, problem, seed))


def _label(settings: Settings) -> str:
    """cma-es-bipop for algorithm cma-es with restarts bipop."""
    restarts = settings.restarts
    return settings.algorithm + (f"-{restarts}" if restarts and restarts != "none" else "")


def _versions() -> Mapping[str, str]:
    return {
        "evoopt": evoopt.__version__,
        "cocoex": metadata.version("coco-experiment"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

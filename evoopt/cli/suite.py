"""Benchmark suites from the command line: whole suites, and single problems of them.

The suites stand above this package (`evoopt_bench`), so they are named by strings.
"""

from __future__ import annotations

import importlib
import math
import re
import shlex
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from evoopt.cli import console
from evoopt.cli.words import Target, cores, number, options, suites, workers
from evoopt.errors import OK, Interrupted
from evoopt.observers.progress import Display, duration

_LEGEND = (
    "ERT/D: expected evaluations to a precision of 1e-8, over the dimension; where no run got "
    "there, [the best of COCO's 51 targets that one reached]"
)
_SHARES = (
    "share of COCO's 58 targets of the missing hypervolume met within so many evaluations per "
    "dimension (3, 32, 316: powers of the root of 10); 2016: as COCO has published"
)
_PROBLEM = re.compile(r"(?P<suite>[a-z-]+)_f(?P<function>\d+)_i(?P<instance>\d+)_d(?P<dim>\d+)")
_TAKEN = ("algorithm", "budget", "seed", "popsize", "restarts")


def _module(name: str) -> Any:
    return importlib.import_module(f"evoopt_bench.{name}")


def minimize_suite(
    target: Target, path: Path, given: dict[str, Any], *, json: bool, quiet: bool
) -> int:
    """Run an algorithm on the problems that the target and the options select.

    Args:
        target: a suite, with or without parts, or one problem.
        path: the folder of the run.
        given: the options of `evoopt minimize`.
        json: report by a JSON document.
        quiet: no progress and no hints.

    Returns:
        The exit code.
    """
    from evoopt.api import Settings

    chosen = suites().select(
        target.text, function=given["function"], dim=given["dim"], instance=given["instance"]
    )
    settings = Settings(
        sigma0=number(given["sigma0"], "--sigma0"),
        options=options(given["own"]),
        **{word: given[word] for word in _TAKEN},
    )
    crew = cores() if given["worker_text"] is None else workers(given["worker_text"])
    if target.kind == "problem":
        return _minimize_problem(chosen.problems()[0], settings, path, json=json, quiet=quiet)
    experiment = _module("experiment")
    with SuiteProgress(f"{target.text}, {settings.algorithm}", crew, enabled=not quiet) as progress:
        return _closed(
            lambda: experiment.run_suite(
                chosen, settings, path, workers=crew, progress=progress.report
            ),
            path,
            json=json,
            quiet=quiet,
        )


def resume_suite(path: Path, crew: int | None, *, json: bool, quiet: bool) -> int:
    """Go on with a suite run."""
    experiment = _module("experiment")
    count = cores() if crew is None else crew
    with SuiteProgress(str(path), count, enabled=not quiet) as progress:
        return _closed(
            lambda: experiment.resume_suite(path, workers=count, progress=progress.report),
            path,
            json=json,
            quiet=quiet,
        )


def _closed(work: Any, path: Path, *, json: bool, quiet: bool) -> int:
    """The end of a suite run: table and paths, or how to go on."""
    run = shlex.quote(str(path))
    try:
        result = work()
    except Interrupted as error:
        if (path / "manifest.json").exists():
            console.note(f"interrupted: nothing is lost; go on with: evoopt resume {run}")
        return error.exit_code
    if json:
        console.document(_document(result))
    else:
        _print_table(result.table, result.shares)
        console.pairs(_paths(result))
    if not quiet:
        console.note(f"next: evoopt plot ecdf {run} -o {run}/ecdf.png")
    return OK


def _print_table(cells: Any, shares: Any) -> None:
    """The closing table: with two objectives, of the shares of targets."""
    if shares:
        headings, body = _module("shares").rows(shares)
        console.table(headings, body, left=2)
        print(_SHARES)
    else:
        console.table(*_module("table").rows(cells))
        print(_LEGEND)
    print()


def _paths(result: Any) -> list[tuple[str, str]]:
    picture = str(result.picture) if result.picture else "none: it needs pip install '.[plot]'"
    return [
        ("algorithm", f"{result.manifest.label}, seed {result.manifest.seed}"),
        ("solved", f"{result.solved} of {len(result.runs)} problems"),
        ("evaluations", str(result.evaluations)),
        ("run", str(result.out)),
        ("table", str(result.table_file)),
        ("picture", picture),
        ("COCO data", f"{result.coco_data} (for python -m cocopp)"),
    ]


def _document(result: Any) -> dict[str, Any]:
    return {
        "status": "done",
        "algorithm": result.manifest.label,
        "seed": result.manifest.seed,
        "problems": len(result.runs),
        "solved": result.solved,
        "evaluations": result.evaluations,
        "cells": [asdict(cell) for cell in result.table],
        "shares": [asdict(line) for line in result.shares],
        "run_dir": str(result.out),
        "table": str(result.table_file),
        "picture": str(result.picture) if result.picture else None,
        "coco_data": str(result.coco_data),
    }


def _minimize_problem(problem: Any, settings: Any, path: Path, *, json: bool, quiet: bool) -> int:
    """One problem: a search like that of a function, whose log then makes COCO's data."""
    from evoopt import rng

    seed = rng.fresh_seed() if settings.seed is None else settings.seed
    budget = settings.budget or _module("experiment").BUDGET
    own = _module("single").problem_settings(replace(settings, budget=budget), problem, 0)
    # the seed as it was given: here no other problem shares it
    own = replace(own, seed=seed, owner="minimize")
    return _carry_out(problem, own, path, json=json, quiet=quiet)


def resume_problem(path: Path, manifest: dict[str, Any], *, json: bool, quiet: bool) -> int:
    """Go on with the search of one problem of a suite."""
    from evoopt.cli.stored import stored_settings

    match = _PROBLEM.fullmatch(manifest["problem"]["name"])
    assert match is not None, "is_suite_problem was asked before"
    numbered = {part: int(match[part]) for part in ("dim", "function", "instance")}
    problem = suites().ProblemId(match["suite"], **numbered)
    return _carry_out(problem, stored_settings(path, manifest), path, json=json, quiet=quiet)


def _carry_out(problem: Any, settings: Any, path: Path, *, json: bool, quiet: bool) -> int:
    from evoopt.cli.single import Job, carry_out

    coco = suites().CocoProblem(problem)

    def known(result: Any) -> dict[str, Any]:
        """How good it is, and where COCO's data are, which a replay of the log makes."""
        restarts = f"-{settings.restarts}" if settings.restarts not in (None, "none") else ""
        label = f"{settings.algorithm}{restarts}"
        _, run = _module("single").run_problem(problem, settings, path, label=label)
        part = path / _module("records").PART
        if coco.n_obj > 1:
            return {"missing_hypervolume": run.precision, "coco_data": str(part)}
        return {"f_opt": coco.f_opt, "precision": result.f - coco.f_opt, "coco_data": str(part)}

    return carry_out(Job(coco, settings, path, known=known), json=json, quiet=quiet)


def is_suite_problem(manifest: dict[str, Any]) -> bool:
    """Whether the manifest is that of a search on one problem of a suite."""
    match = _PROBLEM.fullmatch(str(manifest.get("problem", {}).get("name")))
    return match is not None and match["suite"] in suites().SUITES


def is_suite_run(path: Path) -> bool:
    """Whether the folder holds a suite run."""
    found: bool = (path / "manifest.json").exists() and _module("records").is_suite_run(path)
    return found


def is_comparison(path: Path) -> bool:
    """Whether the folder holds a comparison, see `evoopt bench`."""
    found: bool = (path / "manifest.json").exists() and _module("units").is_comparison(path)
    return found


def show_suite(path: Path, *, json: bool) -> None:
    """The table of a suite run as far as it is, and what was asked for."""
    records, table = _module("records"), _module("table")
    manifest, runs = records.read_manifest(path), records.read_runs(path)
    cells = table.cells(runs)
    suite = manifest.selection.suite
    two = suites().SUITES[suite].n_obj > 1
    shares = _module("shares").shares(suite, manifest.label, runs) if two else []
    status = suite_facts(path)
    if json:
        content = {**status, "cells": [asdict(cell) for cell in cells], "asked": asdict(manifest)}
        content["shares"] = [asdict(line) for line in shares]
        console.document(content)
        return
    _print_table(cells, shares)
    console.pairs([(name, str(value)) for name, value in status.items()])
    print()
    chosen = asdict(manifest.selection) | dict(manifest.settings)
    said = {k: v for k, v in chosen.items() if v not in (None, False)}
    for part in ("functions", "dimensions", "instances"):
        said[part] = suites().number_list(said[part])
    console.pairs([(k, str(v)) for k, v in (said | dict(manifest.versions)).items()], "asked for")


def suite_status(path: Path, *, json: bool) -> None:
    """How far a suite run is."""
    status = suite_facts(path)
    if json:
        console.document(status)
    else:
        console.pairs([(name, str(value)) for name, value in status.items()])


def suite_facts(path: Path) -> dict[str, Any]:
    """How far a suite run is, by names."""
    from evoopt.cli.stored import in_use

    progress = _module("experiment").suite_progress(path)
    manifest = _module("records").read_manifest(path)
    state = "finished" if progress.done == progress.total else "stopped"
    lock = path / "problems" / ".lock"
    if lock.exists() and in_use(lock):
        state = "running"
    status = {
        "run": str(path),
        "state": state,
        "algorithm": manifest.label,
        "seed": manifest.seed,
        "problems": progress.total,
        "done": progress.done,
        "solved": progress.solved,
        "evaluations": progress.evaluations,
    }
    if state == "stopped":
        status["go on"] = f"evoopt resume {shlex.quote(str(path))}"
    return status


def problem_folders(path: Path) -> list[Path]:
    """The run directories of the problems of a suite run that have begun."""
    records = _module("records")
    problems = records.read_manifest(path).selection.problems()
    folders = [records.problem_dir(path, problem) for problem in problems]
    return [folder for folder in folders if (folder / "log.jsonl").exists()]


def a_problem_of(path: Path) -> str:
    """Words that name the run of one problem of a whole suite, where there is one by itself."""
    folders = problem_folders(path) if is_suite_run(path) else []
    return f"one of its problems, as {folders[0]}" if folders else "the run of one problem"


class SuiteProgress:
    """How a suite run goes, on stderr."""

    def __init__(self, title: str, crew: int, *, enabled: bool, what: str = "problems") -> None:
        """crew: how many run at the same time. what: they are."""
        self._display = Display(title, enabled=enabled)
        self._what = what
        self._crew = crew
        self._begin = time.monotonic()
        self._at_begin: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._display.close()

    def report(self, event: Any) -> None:
        """Told by the suite run when it begins and after each problem."""
        now = time.monotonic()
        if self._at_begin is None:
            self._begin, self._at_begin = now, event
            before = f", {event.done} of them done before" if event.done else ""
            self._display.open(f"{event.total} {self._what}{before}, {self._crew} at a time")
        if self._display.is_due(now):
            self._display.show(self.facts(event, now), now)

    def facts(self, event: Any, now: float) -> list[tuple[str, str]]:
        """What there is to say. now: monotonic seconds."""
        spent = max(now - self._begin, 1e-9)
        done = event.done - self._at_begin.done
        rate = (event.evaluations - self._at_begin.evaluations) / spent
        left = (event.total - event.done) / done * spent if done else math.inf
        facts = [
            (self._what, f"{event.done} of {event.total}"),
            ("solved", str(event.solved)),
            ("evaluations", str(event.evaluations)),
            ("evals/s", f"{rate:.4g}"),
            ("workers", str(self._crew)),
        ]
        facts += [("last", event.last)] if event.last else []
        return [*facts, ("ETA", duration(left))] if left < math.inf else facts

"""`evoopt show` and `evoopt status`: what a run came to, or how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from evoopt.cli import console
from evoopt.cli.options import as_json, run_argument

if TYPE_CHECKING:
    from evoopt.cli.stored import Stored

_SHOWN_BOUNDS = 10  # variables


@click.command(epilog="Example:  evoopt show runs/first")
@run_argument
@as_json
def show(run: Path, json: bool) -> None:
    """Result, reason of the stop, settings and environment of RUN.

    Works on finished and on killed runs, and while another process writes.
    """
    from evoopt.cli.suite import is_comparison, is_suite_run, show_suite

    if is_suite_run(run):
        show_suite(run, json=json)
        return
    if is_comparison(run):
        from evoopt.cli.bench import show_comparison

        show_comparison(run, json=json)
        return
    from evoopt.cli.stored import read

    stored = read(run)
    if json:
        console.document(_document(stored))
        return
    console.pairs(_outcome(stored))
    print()
    console.pairs(_settings(stored.manifest), "asked for")
    print()
    console.pairs([(k, str(v)) for k, v in _environment(stored.manifest).items()], "environment")


@click.command(epilog="Example:  evoopt status runs/first")
@run_argument
@as_json
def status(run: Path, json: bool) -> None:
    """How far RUN is: its state, evaluations and best f."""
    from evoopt.cli.suite import is_comparison, is_suite_run, suite_status

    if is_suite_run(run):
        suite_status(run, json=json)
        return
    if is_comparison(run):
        from evoopt.cli.bench import comparison_status

        comparison_status(run, json=json)
        return
    from evoopt.cli.stored import read

    stored = read(run)
    if json:
        facts = _document(stored)
        names = ["run", "state", "evaluations", "f", "sigma", "restarts", "idle_seconds"]
        names += ["hypervolume", "front_size"] if "hypervolume" in facts else []
        console.document({name: facts.get(name) for name in names})
        return
    console.pairs(_status(stored))


def _status(stored: Stored) -> list[tuple[str, str]]:
    rows = [("state", _state(stored)), ("evaluations", _of_budget(stored))]
    several = stored.front is not None
    if stored.front is not None:
        rows.append(("front", console.counted(len(stored.front), "point")))
    rows.append(("hypervolume" if several else "f", console.number(stored.f, 10)))
    if stored.tally is not None:
        tally = stored.tally
        rows.append(("restarts", str(tally.restarts)))
        failed = sum(tally.failures.values())
        rows += [("failures", str(failed))] if failed else []
    if stored.state == "stopped":
        rows.append(("go on", go_on(stored)))
    return rows


def _state(stored: Stored) -> str:
    if stored.result is not None:
        return f"finished: {stored.result.reason.criterion}"
    idle = time.time() - _written(stored)
    words = "a process holds it" if stored.state == "running" else "interrupted or killed"
    if stored.manifest.get("kind") == "ask" and stored.state == "stopped":
        words = "waits for evoopt ask and evoopt tell"
    return f"{stored.state}: {words}, last written {idle:.0f} s ago"


def _written(stored: Stored) -> float:
    return (stored.path / "log.jsonl").stat().st_mtime


def _of_budget(stored: Stored) -> str:
    budget = stored.manifest.get("settings", {}).get("budget")
    return f"{stored.evaluations}{f' of {budget}' if budget is not None else ''}"


def go_on(stored: Stored) -> str:
    """The command that continues a run."""
    from evoopt.cli.resume import resume_command

    return resume_command(stored.path, stored.manifest)


def _outcome(stored: Stored) -> list[tuple[str, str]]:
    from evoopt.cli.single import as_pairs

    if stored.result is not None:
        return [("state", "finished"), *as_pairs(stored.result)]
    tally = stored.tally
    assert tally is not None
    x = "not in the log; it is drawn again when the run goes on"
    if tally.x is not None:
        x = console.vector(tally.x.tolist(), digits=10)
    best = [("x", x)]
    if tally.front is not None:
        reference = None if tally.reference is None else tally.reference.tolist()
        best = [("reference", console.vector(reference, digits=10))]
    rows = [
        *_status(stored)[: 3 if tally.front is None else 4],
        *best,
        ("sigma", "" if math.isnan(tally.sigma) else console.number(tally.sigma)),
        ("axis ratio", "" if math.isnan(tally.axis_ratio) else console.number(tally.axis_ratio)),
        ("restarts", str(tally.restarts)),
        ("failures", ", ".join(f"{n} {kind}" for kind, n in sorted(tally.failures.items()))),
        ("first failure", tally.first_failure),
        ("algorithm", str(stored.manifest.get("label"))),
        ("seed", str(stored.manifest.get("seed"))),
        ("run", str(stored.path)),
        ("go on", go_on(stored) if stored.state == "stopped" else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _settings(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """What the user said; what was left to its default is left out."""
    problem = manifest.get("problem", {})
    said = {
        name: value
        for name, value in manifest.get("settings", {}).items()
        if value not in (None, False)
    }
    rows = [("problem", f"{problem.get('name')}, {problem.get('dim')} variables")]
    named = problem.get("space", {})
    rows += [(f"[{name}]", _words(parameter)) for name, parameter in named.items()]
    if not named:
        rows += [("bounds", _pairs(problem.get("lower") or (), problem.get("upper") or ()))]
    if "warm_start" in said:
        said["warm_start"] = f"{len(said['warm_start'][1])} evaluations"
    rows += [(name, str(value)) for name, value in said.items()]
    return [*rows, ("command", " ".join(map(str, manifest.get("argv", []))))]


def _pairs(lower: Sequence[Any], upper: Sequence[Any]) -> str:
    """Lower and upper bound of each variable; once if all have the same."""
    pairs = [f"[{low}, {high}]" for low, high in zip(lower, upper, strict=True)]
    if len(set(pairs)) == 1:
        return f"{pairs[0]} for each"
    more = f" ... ({len(pairs)} in all)" if len(pairs) > _SHOWN_BOUNDS else ""
    return " ".join(pairs[:_SHOWN_BOUNDS]) + more


def _words(parameter: dict[str, Any]) -> str:
    """A parameter of a space: float, low 1e-05, high 0.1, log."""
    words = [str(parameter.get("type"))]
    for key, value in parameter.items():
        if key != "type":
            words.append(key if value is True else f"{key} {value}")
    return ", ".join(words)


def _environment(manifest: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in manifest.get("environment", {}).items() if v is not None}


def _document(stored: Stored) -> dict[str, Any]:
    from evoopt.cli.single import as_document

    content: dict[str, Any] = {"run": str(stored.path), "state": stored.state}
    if stored.result is not None:
        content |= as_document(stored.result)
    tally = stored.tally
    if tally is not None:
        content |= {
            "x": None if tally.x is None else tally.x.tolist(),
            "f": tally.f,
            "sigma": tally.sigma,
            "axis_ratio": tally.axis_ratio,
            "evaluations": tally.evaluations,
            "restarts": tally.restarts,
            "failures": dict(tally.failures),
            "first_failure": tally.first_failure,
            "idle_seconds": time.time() - _written(stored),
        }
    if tally is not None and tally.front is not None:
        content |= {
            "f": None,
            "hypervolume": tally.f,
            "reference": None if tally.reference is None else tally.reference.tolist(),
            "front_f": tally.front.tolist(),
        }
    if stored.front is not None:
        content["front_size"] = len(stored.front)
    return {**content, "manifest": stored.manifest}

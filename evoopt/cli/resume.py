"""`evoopt resume`: go on with a run where it was interrupted or killed, bit for bit."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich_click as click

from evoopt.cli.options import as_json, quiet
from evoopt.cli.words import read_target, seconds, workers
from evoopt.errors import ConfigurationError


@click.command(epilog="Example:  evoopt resume runs/f mymodule:f")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("target_text", metavar="[TARGET]", required=False)
@click.option("--workers", "worker_text", metavar="N", help="Processes, or auto for all cores.")
@click.option("--time-limit", metavar="T", help="Stop after 90 (seconds), 10m or 2h from now.")
@click.option("--eval-timeout", metavar="T", help="An evaluation may take so long.")
@as_json
@quiet
def resume(
    run: Path,
    target_text: str | None,
    worker_text: str | None,
    time_limit: str | None,
    eval_timeout: str | None,
    json: bool,
    quiet: bool,
) -> int:
    """Go on with RUN, as if it had never been interrupted.

    The run of a user's function needs TARGET once more: a folder never says which code to run.
    """
    from evoopt.cli.suite import is_suite_problem, is_suite_run, resume_problem, resume_suite

    limits: dict[str, Any] = {
        "time_limit": seconds(time_limit, "--time-limit"),
        "eval_timeout": seconds(eval_timeout, "--eval-timeout"),
    }
    count = None if worker_text is None else workers(worker_text)
    if is_suite_run(run):
        _only_functions(run, target_text, limits)
        return resume_suite(run, count, json=json, quiet=quiet)
    from evoopt.rundir import RunDirectory

    manifest = RunDirectory.read(run).manifest
    if is_suite_problem(manifest):
        _only_functions(run, target_text, limits)
        return resume_problem(run, manifest, json=json, quiet=quiet)
    changes = {"workers": count, **limits}
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("workers", 1) > 1 or eval_timeout:
        given["isolate"] = True
    return _resume_function(run, manifest, target_text, given, json=json, quiet=quiet)


def _resume_function(
    run: Path,
    manifest: dict[str, Any],
    target_text: str | None,
    given: dict[str, Any],
    *,
    json: bool,
    quiet: bool,
) -> int:
    from evoopt.cli.single import Job, carry_out, function_problem
    from evoopt.cli.stored import stored_settings
    from evoopt.rundir import decode_values

    if target_text is None:
        raise ConfigurationError(
            "resume needs the function once more, for a run never says which code to run: "
            f"{resume_command(run, manifest)}"
        )
    target, there = read_target(target_text), manifest["problem"]
    if target.name != there["name"]:
        raise ConfigurationError(
            f"TARGET must name the function of {run}, which is '{there['name']}'; "
            f"got '{target_text}'"
        )
    settings = replace(stored_settings(run, manifest), **given)
    lower, upper = decode_values(there["lower"]), decode_values(there["upper"])
    problem = function_problem(target, there["dim"], lower, upper, settings)
    job = Job(problem, settings, run, target_text, settings.target)
    return carry_out(job, json=json, quiet=quiet)


def resume_command(run: Path, manifest: dict[str, Any]) -> str:
    """The command that continues a run of this manifest."""
    from evoopt.cli.suite import is_suite_problem

    words = ["evoopt", "resume", str(run)]
    if not is_suite_problem(manifest):
        words.append(recorded_target(manifest))
    return shlex.join(words)


def recorded_target(manifest: dict[str, Any]) -> str:
    """TARGET as the command line of the first process had it; a pattern of it if none had."""
    name = str(manifest.get("problem", {}).get("name", "NAME"))
    said = (str(word) for word in manifest.get("argv", []))
    return next((word for word in said if word.endswith(f":{name}")), f"MODULE:{name}")


def _only_functions(run: Path, target: str | None, limits: dict[str, Any]) -> None:
    """What a suite run does not take."""
    wrong = {"TARGET": target, "--time-limit": limits["time_limit"]}
    wrong["--eval-timeout"] = limits["eval_timeout"]
    for name, value in wrong.items():
        if value is not None:
            raise ConfigurationError(f"{name} cannot be used with {run}, a run of a suite")

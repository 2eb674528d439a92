"""`evoopt resume`: go on with a run where it was interrupted or killed, bit for bit."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich_click as click

from evoopt.cli.options import ProgramCommand, as_json, program_words, quiet
from evoopt.cli.words import chosen_target, seconds, workers
from evoopt.errors import ConfigurationError


@click.command(cls=ProgramCommand, epilog="Example:  evoopt resume runs/f mymodule:f")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("target_text", metavar="[TARGET]", required=False)
@click.option("--workers", "worker_text", metavar="N", help="Processes, or auto for all cores.")
@click.option("--engine", metavar="NAME", help="Another one; see evoopt list engines.")
@click.option("--ray-address", metavar="ADDRESS", help="Of a running cluster (ray).")
@click.option("--time-limit", metavar="T", help="Stop after 90 (seconds), 10m or 2h from now.")
@click.option("--eval-timeout", metavar="T", help="An evaluation may take so long.")
@as_json
@quiet
def resume(
    run: Path,
    target_text: str | None,
    worker_text: str | None,
    engine: str | None,
    ray_address: str | None,
    time_limit: str | None,
    eval_timeout: str | None,
    json: bool,
    quiet: bool,
) -> int:
    """Go on with RUN, as if it had never been interrupted.

    The run of a user's function needs TARGET once more, that of a program its command after --:
    a folder never says which code to run.
    """
    from evoopt.cli.suite import (
        is_comparison,
        is_suite_problem,
        is_suite_run,
        resume_problem,
        resume_suite,
    )

    if is_comparison(run):
        raise ConfigurationError(
            f"RUN must be the run of a search or of a suite; {run} is a comparison, which goes on "
            f"with the same evoopt bench compare ... --out {run}"
        )
    limits: dict[str, Any] = {
        "time_limit": seconds(time_limit, "--time-limit"),
        "eval_timeout": seconds(eval_timeout, "--eval-timeout"),
        "engine": engine,
        "ray_address": ray_address,
    }
    count = None if worker_text is None else workers(worker_text)
    asked = target_text or (shlex.join(program_words()) or None)
    if is_suite_run(run):
        _only_functions(run, asked, limits)
        return resume_suite(run, count, json=json, quiet=quiet)
    from evoopt.rundir import RunDirectory

    manifest = RunDirectory.read(run).manifest
    if manifest.get("kind") == "ask":
        raise ConfigurationError(
            f"RUN must be the run of a function; {run} goes on by evoopt ask {run} and evoopt tell"
        )
    if is_suite_problem(manifest):
        _only_functions(run, asked, limits)
        return resume_problem(run, manifest, json=json, quiet=quiet)
    changes = {"workers": count, **limits}
    given = {name: value for name, value in changes.items() if value is not None}
    if engine is not None:  # nothing of the old one holds
        given = {"isolate": None, "ray_address": None, "gpus": None} | given
    elif given.get("workers", 1) > 1 or eval_timeout:
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
    from evoopt.cli.spacefile import space_of
    from evoopt.cli.stored import stored_settings
    from evoopt.rundir import decode_values

    there, program = manifest["problem"], program_words()
    if target_text is None and not program:
        what = "program" if _is_program(there["name"]) else "function"
        raise ConfigurationError(
            f"resume needs the {what} once more, for a run never says which code to run: "
            f"{resume_command(run, manifest)}"
        )
    target = chosen_target(target_text, program, named="space" in there)
    if target.name != there["name"]:
        what = "be the program" if _is_program(there["name"]) else "name the function"
        raise ConfigurationError(
            f"TARGET must {what} of {run}, which is '{there['name']}'; got '{target.text}'"
        )
    settings = replace(stored_settings(run, manifest), **given)
    lower, upper = decode_values(there["lower"]), decode_values(there["upper"])
    space = space_of(there["space"], f"{run}/manifest.json") if "space" in there else None
    problem = function_problem(target, there["dim"], lower, upper, settings, space)
    job = Job(problem, settings, run, target.again, settings.target)
    return carry_out(job, json=json, quiet=quiet)


def resume_command(run: Path, manifest: dict[str, Any]) -> str:
    """The command that continues a run of this manifest."""
    from evoopt.cli.suite import is_suite_problem
    from evoopt.evaluators.programs import command_line

    if manifest.get("kind") == "ask":
        return command_line(["evoopt", "ask", str(run)])
    words = ["evoopt", "resume", str(run)]
    if not is_suite_problem(manifest):
        words += recorded_target(manifest)
    return command_line(words)


def recorded_target(manifest: dict[str, Any]) -> list[str]:
    """TARGET as the command line of the first process had it, or the program that it had after --;
    a pattern of it if it had none."""
    name = str(manifest.get("problem", {}).get("name", "NAME"))
    said = [str(word) for word in manifest.get("argv", [])]
    if _is_program(name):
        return ["--", *(said[said.index("--") + 1 :] if "--" in said else shlex.split(name))]
    return [next((word for word in said if word.endswith(f":{name}")), f"MODULE:{name}")]


def _is_program(name: str) -> bool:
    """Whether this is the name of a program: it has placeholders, which no function has."""
    return "{" in name


def _only_functions(run: Path, target: str | None, limits: dict[str, Any]) -> None:
    """What a suite run does not take."""
    for word, value in {"TARGET": target, **limits}.items():
        if value is not None:
            name = word if word == "TARGET" else f"--{word.replace('_', '-')}"
            raise ConfigurationError(f"{name} cannot be used with {run}, a run of a suite")

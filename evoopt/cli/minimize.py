"""`evoopt minimize`: the options, and which kind of target takes which of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from evoopt.cli.options import (
    ProgramCommand,
    algorithm_names,
    as_json,
    program_words,
    quiet,
)
from evoopt.cli.words import (
    Target,
    bounds,
    chosen_target,
    fresh_run,
    names,
    number,
    numbers,
    options,
    placeholders_dim,
    seconds,
    senses,
    workers,
)
from evoopt.errors import ConfigurationError

if TYPE_CHECKING:
    from evoopt.space import Space

# options that only functions take, and that only suites take
_FUNCTION_ONLY = (
    "bounds", "space", "x0", "target", "time_limit", "eval_timeout", "max_failures", "isolate",
    "maximize", "vectorized", "engine", "ray_address", "gpus", "asynchronous", "warm_start",
    "objectives", "reference", "sense",
)  # fmt: skip
_SUITE_ONLY = ("function", "instance")
_EPILOG = "Example:  evoopt minimize mymodule:f --dim 4 --bounds -5 5 --budget 1000D --out runs/f"
_SEARCH, _LIMITS, _EVALUATION = "How to search", "When to stop", "How to evaluate"
_SUITE = "Problems of a suite"


@click.command(cls=ProgramCommand, epilog=_EPILOG)
@click.argument("target_text", metavar="TARGET", required=False)
@click.option("--dim", metavar="N", help="Variables; for a suite a list: 2,3,5,10.", panel=_SEARCH)
@click.option(
    "--bounds",
    nargs=2,
    multiple=True,
    metavar="LO HI",
    help="Bounds of all variables, or repeated, of each; inf or none for no bound.",
    panel=_SEARCH,
)
@click.option(
    "--space",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Named parameters, from a .toml or .json file; TARGET then takes a dict.",
    panel=_SEARCH,
)
@click.option(
    "--x0", metavar="X,X,...", help="Start [default: centre of the bounds].", panel=_SEARCH
)
@click.option(
    "--sigma0",
    metavar="S",
    help="Initial step size, or one per variable [default: a fifth of the bounds].",
    panel=_SEARCH,
)
@click.option(
    "--algorithm",
    default="auto",
    metavar="NAME",
    help="auto, cma-es, lm-ma-es, ...; see evoopt list algorithms [default: auto].",
    shell_complete=algorithm_names,
    panel=_SEARCH,
)
@click.option("--popsize", type=int, metavar="N", help="Candidates a generation.", panel=_SEARCH)
@click.option(
    "--set",
    "own",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the algorithm's own; repeatable; see evoopt list algorithms --options.",
    panel=_SEARCH,
)
@click.option(
    "--restarts",
    metavar="POLICY",
    help="none, ipop or bipop [default: bipop with auto, else none].",
    panel=_SEARCH,
)
@click.option("--seed", type=int, metavar="N", help="[default: drawn, and shown]", panel=_SEARCH)
@click.option(
    "--warm-start",
    metavar="RUN|FILE",
    help="Begin from the evaluations of an earlier run, or a .csv or .json file of them.",
    panel=_SEARCH,
)
@click.option("--maximize", is_flag=True, help="Search for the largest value.", panel=_SEARCH)
@click.option(
    "--objectives", type=int, metavar="M", help="Values of each point [default: 1].", panel=_SEARCH
)
@click.option(
    "--reference",
    metavar="F,F,...",
    help="Worst values of interest of several objectives: hypervolume counts from there.",
    panel=_SEARCH,
)
@click.option(
    "--sense", metavar="min,max,...", help="Of each of several objectives.", panel=_SEARCH
)
@click.option(
    "--budget",
    metavar="N",
    help="Evaluations: 5000, 1e4, 100D or '100*D' [default: 10000D; 100D for each problem "
    "of a suite].",
    panel=_LIMITS,
)
@click.option(
    "--target",
    metavar="F",
    help="A value, or a hypervolume; exit code 1 if it is missed.",
    panel=_LIMITS,
)
@click.option("--time-limit", metavar="T", help="90 (seconds), 10m or 2h.", panel=_LIMITS)
@click.option(
    "--max-failures",
    type=int,
    metavar="N",
    help="Failed evaluations tolerated [default: any number, but no 5 generations of them].",
    panel=_LIMITS,
)
@click.option(
    "--workers",
    "worker_text",
    metavar="N",
    help="Processes, or auto for all cores [default: 1; auto for a suite].",
    panel=_EVALUATION,
)
@click.option(
    "--asynchronous",
    is_flag=True,
    help="Use each value as it comes, without waiting for its generation.",
    panel=_EVALUATION,
)
@click.option(
    "--engine", metavar="NAME", help="See evoopt list engines [default: pool].", panel=_EVALUATION
)
@click.option(
    "--ray-address", metavar="ADDRESS", help="Of a running cluster (ray).", panel=_EVALUATION
)
@click.option(
    "--gpus", metavar="LIST", help="Dealt out among workers (process).", panel=_EVALUATION
)
@click.option(
    "--isolate/--no-isolate",
    default=None,
    help="In a process of its own, which may crash, hang or exit [default: isolate].",
    panel=_EVALUATION,
)
@click.option(
    "--eval-timeout", metavar="T", help="For one evaluation: 30, 500ms, 5m.", panel=_EVALUATION
)
@click.option("--vectorized", is_flag=True, help="It takes X (k, dim).", panel=_EVALUATION)
@click.option("--function", metavar="LIST", help="1-24, or 1,8,10-14.", panel=_SUITE)
@click.option("--instance", metavar="LIST", help="1-15.", panel=_SUITE)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Folder of the run [default: runs/<date>-<target>].",
)
@as_json
@quiet
def minimize(
    target_text: str | None, out: Path | None, json: bool, quiet: bool, **given: Any
) -> int:
    """Minimize TARGET, a function or a benchmark suite, or the program after --.

    TARGET is module:function, path/file.py:function, a suite (bbob), or one problem of a suite
    (bbob:f8:d10:i1). A program is given as -- ./sim {x1} {x2}; its value is the last number that
    it prints, or "f" or "value" of a JSON object in its last line. With --objectives M a function
    returns M values, a program prints them last. The run is kept in a folder, from which it can be
    resumed.
    """
    target = chosen_target(target_text, program_words(), named=given["space"] is not None)
    _refuse(target, given)
    if target.words and given["dim"] is None and given["space"] is None:
        given["dim"] = placeholders_dim(target)
    path = out or fresh_run(target)
    if target.kind in ("function", "program"):
        from evoopt.cli.single import minimize_function

        return minimize_function(target, path, function_words(given), json=json, quiet=quiet)
    from evoopt.cli.suite import minimize_suite

    return minimize_suite(target, path, given, json=json, quiet=quiet)


def _refuse(target: Target, given: dict[str, Any]) -> None:
    """Options that make no sense for this kind of target."""
    wrong = _FUNCTION_ONLY if target.kind in ("suite", "problem") else _SUITE_ONLY
    for name in wrong:
        value = given[name]
        left_out = value is None or value == () or (value is False and name != "isolate")
        if not left_out:
            what = "a suite decides it" if wrong is _FUNCTION_ONLY else "it is for suites"
            raise ConfigurationError(
                f"--{name.replace('_', '-')} cannot be used with '{target.text}': {what}"
            )
    if target.kind == "problem" and given["worker_text"] is not None:
        raise ConfigurationError(
            f"--workers cannot be used with '{target.text}': one problem takes one process"
        )


def function_words(given: dict[str, Any]) -> dict[str, Any]:
    """The keywords of `evoopt.minimize`, and dim."""
    dim, space = _dim(given["dim"]), None
    if given["space"] is not None:
        space, x0 = _named(given)
        dim = space.dim
    else:
        x0 = numbers(given["x0"], "--x0")
    if dim is not None and x0 is not None and len(x0) != dim:
        raise ConfigurationError(f"--x0 must be {dim} numbers (--dim {dim}); got {len(x0)}")
    box = bounds(given["bounds"], dim if x0 is None else len(x0))
    if dim is None and x0 is None and (box is None or len(box[0]) == 1):
        raise ConfigurationError(
            "--dim must be given, or --x0, or --bounds once per variable; got none of them"
        )
    sigma0 = numbers(given["sigma0"], "--sigma0")
    reference = numbers(given["reference"], "--reference")
    maximize = senses(given["sense"], given["objectives"], maximize=bool(given["maximize"]))
    isolate, engine = given["isolate"], given["engine"]
    return {
        "dim": dim or len(x0 or box[0]),  # type: ignore[index]  # one of them is there
        "bounds": box,
        "space": space,
        "x0": x0,
        "sigma0": sigma0[0] if sigma0 is not None and len(sigma0) == 1 else sigma0,
        "algorithm": given["algorithm"],
        "budget": given["budget"],
        "target": number(given["target"], "--target"),
        "seed": given["seed"],
        "popsize": given["popsize"],
        "restarts": given["restarts"],
        "workers": workers(given["worker_text"]),
        "time_limit": seconds(given["time_limit"], "--time-limit"),
        "eval_timeout": seconds(given["eval_timeout"], "--eval-timeout"),
        "max_failures": given["max_failures"],
        "isolate": True if isolate is None and engine is None else isolate,
        "vectorized": bool(given["vectorized"]),
        "maximize": maximize,
        "objectives": _objectives(given, reference, maximize),
        "reference": reference,
        "options": options(given["own"]),
        "engine": engine,
        "ray_address": given["ray_address"],
        "gpus": names(given["gpus"], "--gpus"),
        "asynchronous": bool(given["asynchronous"]),
        "warm_start": given["warm_start"],
    }


def _objectives(
    given: dict[str, Any], reference: list[float] | None, maximize: bool | list[bool]
) -> int | None:
    """How many objectives the words say, or the algorithm needs; None for one."""
    from evoopt.goal import objectives_of
    from evoopt.options import least_objectives

    said = objectives_of(given["objectives"], maximize, reference, "minimize")
    return least_objectives(given["algorithm"]) if said is None else said


def _named(given: dict[str, Any]) -> tuple[Space, list[float] | None]:
    """The space of a file, and the start in it."""
    from evoopt.cli.spacefile import read_point, read_space

    for option in ("dim", "bounds"):
        if given[option]:
            raise ConfigurationError(f"--{option} cannot be used with --space, which says it")
    space = read_space(given["space"])
    if given["x0"] is None:
        return space, None
    return space, space.encode(read_point(given["x0"], space, "--x0")).tolist()


def _dim(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise ConfigurationError(f"--dim must be a whole number >= 1; got '{text}'")
    return int(text)

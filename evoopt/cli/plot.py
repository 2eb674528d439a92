"""`evoopt plot`: pictures of runs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import rich_click as click

from evoopt.cli import console
from evoopt.cli.words import choose, numbers
from evoopt.errors import ConfigurationError
from evoopt.plots import KINDS, OF_CONFIGS, OF_TRAINING, SINGLE, SUITE_KINDS

_TAKEN = {  # options by kind
    "anytime": ("algorithms", "dim"),
    "eaf": (),
    "ecdf": ("algorithms", "dim", "groups"),
    "ert": ("algorithms", "targets"),
    "hypervolume": (),
    "loss": (),
    "pareto": (),
    "schedule": (),
}
_OF_EITHER = "anytime"  # suite runs or single ones
_GIVEN_AS = {
    "algorithms": "--algorithms",
    "dim": "--dim",
    "groups": "--groups",
    "targets": "--target",
}


@click.command(epilog="Example:  evoopt plot anytime runs/first -o first.svg")
@click.argument("kind", metavar="KIND")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--groups", is_flag=True, help="ecdf: a panel for each group of functions.")
@click.option("--dim", type=int, metavar="N", help="Of suites: the dimension [default: largest].")
@click.option("--algorithms", metavar="NAME,...", help="Of suites: which to draw [default: all].")
@click.option("--target", metavar="LIST", help="ert: precisions such as 1e1,1e-1,1e-8.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The picture, svg, png or pdf [default: KIND.svg].",
)
def plot(
    kind: str,
    runs: tuple[Path, ...],
    groups: bool,
    dim: int | None,
    algorithms: str | None,
    target: str | None,
    output: Path | None,
) -> None:
    """Draw KIND of one or several runs.

    anytime: best f, sigma, axis ratio and axes against evaluations; of many runs, of suites and
    comparisons, medians with quartile bands.
    ecdf: run-time distributions of suite runs and comparisons, beside the best of 2009 or 2016.
    ert: expected run time against dimension, of suite runs and comparisons.
    pareto: fronts of runs with several objectives, with their ideal, nadir and knee.
    hypervolume: of such runs against evaluations; medians with quartile bands of three and more
    (of suites: anytime).
    eaf: attainment surfaces of three runs and more, and the differences of two algorithms.
    loss: bits per byte against tokens of training runs, those of evoopt-train.
    schedule: learning rates and weight-norm targets of training configurations, the files of
    evoopt-train, in the place of runs.
    """
    choose(kind, KINDS, "KIND")
    names = None if algorithms is None else algorithms.replace(" ", "").split(",")
    targets = numbers(target, "--target")
    options = {"groups": groups or None, "dim": dim, "algorithms": names, "targets": targets}
    given = {word: value for word, value in options.items() if value is not None}
    of_suites = kind not in (*OF_CONFIGS, *OF_TRAINING) and _of_suites(kind, runs)
    _refuse(kind, given, of_suites)
    module, _, attribute = (SUITE_KINDS if of_suites else KINDS)[kind].partition(":")
    draw = getattr(importlib.import_module(module), attribute)
    print(console.plain(str(draw(list(runs), output or Path(f"{kind}.svg"), **given))))


def _refuse(kind: str, given: dict[str, Any], of_suites: bool) -> None:
    """Options that this picture does not take."""
    for word in given:
        if word not in _TAKEN[kind] or not of_suites:
            what = kind if word not in _TAKEN[kind] else f"{kind} of single runs"
            raise ConfigurationError(f"{_GIVEN_AS[word]} cannot be used with {what}: leave it out")


def _of_suites(kind: str, runs: tuple[Path, ...]) -> bool:
    """Whether the runs are of suites; all of them are, or none."""
    from evoopt.cli.suite import a_problem_of, is_comparison, is_suite_run

    whole = [run for run in runs if is_suite_run(run) or is_comparison(run)]
    single = [run for run in runs if (run / "log.jsonl").exists()]
    if kind not in SUITE_KINDS and whole:
        one = a_problem_of(whole[0])
        raise ConfigurationError(
            f"{kind} draws single runs; {whole[0]} is of a whole suite: draw {one}; or "
            f"{_OF_EITHER}, which has the hypervolume of bbob-biobj against evaluations"
        )
    if single and (whole or kind not in SINGLE):
        what = "runs of whole suites" if kind != _OF_EITHER else "either suite runs or single ones"
        raise ConfigurationError(
            f"{kind} draws {what}; {single[0]} is a single one"
            + (": draw anytime" if kind != _OF_EITHER else f", {whole[0]} is not")
        )
    return bool(whole) or kind not in SINGLE

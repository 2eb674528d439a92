"""`evoopt plot`: pictures of runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import rich_click as click

from evoopt.cli import console
from evoopt.cli.words import choose
from evoopt.errors import ConfigurationError
from evoopt.plots import KINDS


@click.command(epilog="Example:  evoopt plot anytime runs/first -o first.svg")
@click.argument("kind", metavar="KIND")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The picture, svg, png or pdf [default: KIND.svg].",
)
def plot(kind: str, runs: tuple[Path, ...], output: Path | None) -> None:
    """Draw KIND of one or several runs.

    anytime: best f, sigma, axis ratio and axes against evaluations.
    ecdf: run-time distributions of suite runs, beside the best of 2009.
    """
    choose(kind, KINDS, "KIND")
    module, _, attribute = KINDS[kind].partition(":")
    draw = getattr(importlib.import_module(module), attribute)
    print(console.plain(str(draw(_fitting(kind, runs), output or Path(f"{kind}.svg")))))


def _fitting(kind: str, runs: tuple[Path, ...]) -> list[Path]:
    """The runs, if they are what this kind draws: suite runs, or single ones."""
    from evoopt.cli.suite import is_suite_run, problem_folders

    for run in runs:
        if is_suite_run(run) and kind != "ecdf":
            example = next(iter(problem_folders(run)), run / "problems" / "NAME")
            raise ConfigurationError(
                f"{kind} draws single runs; name problems of {run}, such as {example}, or draw ecdf"
            )
        if kind == "ecdf" and (run / "log.jsonl").exists():
            raise ConfigurationError(
                f"ecdf draws runs of whole suites; {run} is a single one: draw anytime"
            )
    return list(runs)

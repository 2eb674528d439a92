"""Options and arguments that several commands share, and what completes them in a shell."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


def algorithm_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The algorithms that begin as typed."""
    from evoopt.strategies import STRATEGIES

    return [name for name in ("auto", *STRATEGIES) if name.startswith(incomplete)]


as_json = click.option("--json", is_flag=True, help="One JSON document on stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress and no hints.")
run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))

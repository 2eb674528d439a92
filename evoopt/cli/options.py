"""Options and arguments that several commands share, and what completes them in a shell."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

PROGRAM = "evoopt.program"


class ProgramCommand(click.RichCommand):
    """A command that takes a program after `--`: its words are in `ctx.meta[PROGRAM]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps what stands after the first `--` from being read as options."""
        if "--" in args:
            cut = args.index("--")
            args, ctx.meta[PROGRAM] = args[:cut], tuple(args[cut + 1 :])
        return super().parse_args(ctx, args)


def program_words() -> tuple[str, ...]:
    """The words after `--` of the command that runs; () without."""
    context = click.get_current_context()
    assert context is not None
    words: tuple[str, ...] = context.meta.get(PROGRAM, ())
    return words


def algorithm_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The algorithms that begin as typed."""
    from evoopt.strategies import STRATEGIES

    return [name for name in ("auto", *STRATEGIES) if name.startswith(incomplete)]


as_json = click.option("--json", is_flag=True, help="One JSON document on stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress and no hints.")
run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))

"""The `evoopt` command itself: a group whose commands are imported when they are asked for."""

from __future__ import annotations

import difflib
import importlib
import sys

import rich_click as click
from click import Command, Group, HelpFormatter

import evoopt as package
from evoopt.cli import COMMANDS

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.RichGroup):
    """A group that knows its commands as text."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Rich on a terminal; elsewhere plain, which takes half the time."""
        if sys.stdout.isatty():
            return super().get_help(ctx)
        formatter = HelpFormatter(width=100)
        self.format_usage(ctx, formatter)
        Group.format_help_text(self, ctx, formatter)
        Command.format_options(self, ctx, formatter)
        Group.format_commands(self, ctx, formatter)
        Group.format_epilog(self, ctx, formatter)
        return formatter.getvalue().rstrip("\n")


@click.group(
    cls=LazyGroup,
    context_settings=CONTEXT,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="Example:  evoopt minimize bbob",
)
@click.version_option(package.__version__, prog_name="evoopt")
@click.pass_context
def evoopt(ctx: click.Context) -> None:
    """Black-box optimization by evolution strategies.

    Results go to stdout, all else to stderr. `evoopt COMMAND --help` shows an example.
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())

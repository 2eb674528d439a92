"""`evoopt completion`: the script that lets a shell complete commands, options and names."""

from __future__ import annotations

import rich_click as click

from evoopt.cli.exits import COMPLETE
from evoopt.cli.words import choose

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog='Example:  eval "$(evoopt completion bash)"')
@click.argument("shell", metavar="bash|zsh|fish")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    To have it always, put the line of the example into the file that your shell reads at start;
    for fish it reads: evoopt completion fish | source
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(choose(shell, SHELLS, "completion"))
    assert found is not None, "the choice holds shells that click knows"
    script = found(ctx.find_root().command, {}, "evoopt", COMPLETE)
    print(script.source_template % script.source_vars())

"""The `evoopt` command: `COMMANDS` names its parts, each loaded when it is asked for.

Modules of this package import nothing heavy at the top, so that help and completion are quick:
numpy and all that stands on it are imported by the function that runs.
"""

from __future__ import annotations

from collections.abc import Sequence

# name -> "module:command", in the order of the help page
COMMANDS = {
    "minimize": "evoopt.cli.minimize:minimize",
    "resume": "evoopt.cli.resume:resume",
    "ask": "evoopt.cli.asktell:ask",
    "tell": "evoopt.cli.asktell:tell",
    "status": "evoopt.cli.show:status",
    "show": "evoopt.cli.show:show",
    "export": "evoopt.cli.export:export",
    "plot": "evoopt.cli.plot:plot",
    "bench": "evoopt.cli.bench:bench",
    "list": "evoopt.cli.listing:listing",
    "verify": "evoopt.cli.audit:verify",
    "repair": "evoopt.cli.audit:repair",
    "doctor": "evoopt.cli.doctor:doctor",
    "completion": "evoopt.cli.completion:completion",
}

__all__ = ["COMMANDS", "main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line. args: without the program's name; default: those of the process.

    Returns:
        The exit code, see `evoopt.errors`; no exception gets past it but SystemExit.
    """
    from evoopt.cli.exits import run
    from evoopt.cli.group import evoopt

    return run(evoopt, args)

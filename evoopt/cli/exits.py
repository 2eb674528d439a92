"""How a command ends: every error one line on stderr, and an exit code that says what happened.

0 done, 1 an explicit --target was missed, 2 usage or configuration, 3 the objective failed beyond
tolerance, 4 state missing, damaged or incompatible, 5 a package is missing, 130 and 143 interrupted
by SIGINT and SIGTERM with nothing lost, 70 a bug of evoopt.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence

import rich_click as click
from click.exceptions import Exit

from evoopt.cli.console import plain
from evoopt.errors import OK, SIGINT_EXIT, STATE, USAGE, EvooptError, Interrupted

BUG = 70  # EX_SOFTWARE of sysexits.h
BROKEN_PIPE = 141  # 128 + SIGPIPE: whoever read our output has left
DEBUG = "EVOOPT_DEBUG"
COMPLETE = "_EVOOPT_COMPLETE"  # what the completion script sets when it asks for completions

# arguments of the Python interface that the command line calls otherwise
_OPTIONS = {
    "fun": "TARGET",
    "run_dir": "--out",
    "runs": "RUN",
    "path": "--out",
    "to_record": "--to",
    "options": "--set",
    "words": "PROGRAM",
    "cwd": "PROGRAM",
    "id": "ID",
    "value": "VALUE",
    "names": "--algorithms or --peers",
}
_LOAD = re.compile(r"load_function\('([^']*)'\):")
_SAY = re.compile(r"\bsay (objectives)=(\d+)")  # a way out
_CALL = re.compile(r"\b\w+(?:\.\w+)?\((\w+)=\.\.\.\)")


def run(
    command: click.Command,
    args: Sequence[str] | None,
    *,
    name: str = "evoopt",
    reworded: Callable[[str], str] | None = None,
) -> int:
    """Run a command; what it returns, if it is a whole number, is the exit code.

    Args:
        command: to be run. args: its words; default: those of the process.
        name: of the program. reworded: an error's message as the user reads it; default:
            `in_options`.
    """
    reworded = reworded or in_options
    if COMPLETE in os.environ:  # a shell asks how words go on; this exits
        command.main(args, prog_name=name)
    try:
        words = sys.argv[1:] if args is None else list(args)
        with command.make_context(name, words) as context:
            code = command.invoke(context)
        sys.stdout.flush()  # a pipe whose reader has left shows here
    except Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _said(_usage(error), USAGE)
    except EvooptError as error:
        _trace()
        return _said(reworded(str(error)), error.exit_code)
    except Interrupted as error:
        return _said(str(error) or "interrupted", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _said("interrupted", SIGINT_EXIT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return BROKEN_PIPE
    except OSError as error:
        _trace()
        return _said(str(error), STATE)
    except Exception as error:  # noqa: BLE001  # the last line of defence
        return _bug(error)
    return code if isinstance(code, int) else OK


def in_options(message: str) -> str:
    """A message about an argument of a Python call as one about the option of that name."""

    def option(call: re.Match[str]) -> str:
        return _OPTIONS.get(call[1]) or f"--{call[1].replace('_', '-')}"

    message = _LOAD.sub(r"TARGET '\1':", message)
    message = _SAY.sub(r"say --\1 \2", message)
    return _CALL.sub(option, message)


def _usage(error: click.ClickException) -> str:
    """One line that says what was wrong with the words of the command."""
    text = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "evoopt"
    return f"{text} (see {path} --help)"


def _said(message: str, code: int) -> int:
    print(f"error: {plain(message)}", file=sys.stderr)
    return code


def _bug(error: Exception) -> int:
    _trace()
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = ""
    if step is not None:
        where = f" at {os.path.basename(step.tb_frame.f_code.co_filename)}:{step.tb_lineno}"
    return _said(
        f"{type(error).__name__}: {error}{where}; this is a bug of evoopt: please report it with "
        f"the command and what it prints with {DEBUG}=1 in the environment",
        BUG,
    )


def _trace() -> None:
    if os.environ.get(DEBUG) == "1":
        traceback.print_exc()

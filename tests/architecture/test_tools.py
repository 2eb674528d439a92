"""Formatter, linter, type checker and import contracts, as `make lint` runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = re.search(r"^lint:\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.M)
assert LINES, "the Makefile has no target `lint`"
COMMANDS = [line.strip() for line in LINES[1].splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_tool_finds_nothing(command: str) -> None:
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        command.split(),
        cwd=ROOT,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_the_four_tools_are_all_run() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"ruff", "mypy", "lint-imports"}

"""A folder with objectives, and two ways to run the command line: in this process, and in one of
its own where the process matters."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evoopt.cli import main

ROOT = Path(__file__).parents[2]
OBJECTIVES = """
import os
import time


def sphere(x):
    return float(x @ x)


def rastrigin(x):
    import numpy as np
    return float(10 * len(x) + (x * x - 10 * np.cos(2 * np.pi * x)).sum())


def linear(x):
    return float(x[0])


def rows(X):
    return (X * X).sum(axis=1)


def slow(x):
    time.sleep(0.02)
    return float(x @ x)


def nothing(x):
    return None


def nan(x):
    return float("nan")


def half(x):
    return float(x @ x) if x[0] < 0.5 else float("nan")


def raises(x):
    raise ValueError("no \\x1b[31msuch\\nthing")


def dies(x):
    if x[0] > 2:
        os._exit(1)
    return float(x @ x)
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with obj.py; modules and paths that loading it adds are taken away."""
    (tmp_path / "obj.py").write_text(OBJECTIVES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["evoopt"])
    yield tmp_path
    sys.modules.pop("obj", None)


@dataclass
class Said:
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command in this process."""

    def run(*args: object) -> Said:
        words = [str(arg) for arg in args]
        monkeypatch.setattr(sys, "argv", ["evoopt", *words])
        capsys.readouterr()
        code = main(words)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command in a process of its own; what still runs at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def run(*args: object, stdout: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        processes.append(_started(stdout, *args))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _started(stdout: Any, *args: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks")))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "evoopt", *map(str, args)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )

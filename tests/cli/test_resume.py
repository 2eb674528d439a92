"""`evoopt resume`: after any end, the run goes on as if nothing had happened."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoopt.rundir import RunDirectory

Cli = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]
SLOW = ("minimize", "obj.py:slow", "--dim", "3", "--bounds", "-5", "5", "--seed", "1")
BUDGET = ("--budget", "56")


def wait_for_evaluations(run: Path, count: int) -> None:
    """Until the log says that so many rows were evaluated."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (run / "log.jsonl").exists() and b"\n" in (run / "log.jsonl").read_bytes():
            records = RunDirectory.read(run).records()
            if sum(len(r["i"]) for r in records if r["t"] == "eval") >= count:
                return
        time.sleep(0.02)
    pytest.fail(f"{run} has no {count} evaluations after a minute")


def undisturbed(cli: Cli) -> Any:
    assert cli(*SLOW, *BUDGET, "--out", "reference", "-q").code == 0
    return json.loads(Path("reference/result.json").read_text())


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    signum: int, code: int, cli: Cli, start: Start
) -> None:
    process = start(*SLOW, *BUDGET, "--out", "r")
    wait_for_evaluations(Path("r"), 10)
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    if signum != signal.SIGKILL:
        assert "go on with: evoopt resume r obj.py:slow" in err
        assert "Traceback" not in err
        assert out.startswith("f ")  # what had been found by then
    assert not Path("r/result.json").exists()

    assert cli("status", "r").out.startswith("state        stopped")
    said = cli("resume", "r", "obj.py:slow", "--json")
    assert said.code == 0
    assert said.document["status"] == "done"
    assert json.loads(Path("r/result.json").read_text()) == undisturbed(cli)


@pytest.fixture
def stopped(cli: Cli) -> Path:
    """A run whose end was cut off, and with it the result."""
    words = ("--dim", "3", "--bounds", "-5", "5", "--seed", "1", "--no-isolate", "--budget", "300")
    words = (*words, "--algorithm", "cma-es")
    cli("minimize", "obj.py:sphere", *words, "--target", "1e-9", "--out", "whole", "-q")
    cli("repair", "whole", "--to", "40", "--into", "r")
    return Path("r")


def test_the_function_has_to_be_named_again(stopped: Path, cli: Cli) -> None:
    said = cli("resume", stopped)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert said.err.endswith("evoopt resume r obj.py:sphere\n")


def test_a_run_started_from_python_says_what_to_fill_in(stopped: Path, cli: Cli) -> None:
    from evoopt.cli.resume import recorded_target

    manifest = {"argv": ["script.py", "--x:sphere.txt"], "problem": {"name": "sphere"}}
    assert recorded_target(manifest) == ["MODULE:sphere"]


def test_another_function_is_refused(stopped: Path, cli: Cli) -> None:
    said = cli("resume", stopped, "obj.py:slow")
    assert said.code == 2
    assert "which is 'sphere'; got 'obj.py:slow'" in said.err


def test_a_repaired_run_comes_to_the_same_end(stopped: Path, cli: Cli) -> None:
    said = cli("resume", stopped, "obj.py:sphere", "-q")
    assert said.code == json.loads(cli("show", "whole", "--json").out)["success"] ^ 1
    results = [json.loads(Path(run, "result.json").read_text()) for run in ("whole", "r")]
    assert results[0] == results[1]


def test_a_run_that_has_ended_gives_its_result_again(stopped: Path, cli: Cli) -> None:
    first = cli("resume", stopped, "obj.py:sphere", "--json").document
    assert cli("resume", stopped, "obj.py:sphere", "--json").document == first


def test_workers_may_differ_when_a_run_goes_on(stopped: Path, cli: Cli) -> None:
    shutil.copytree(stopped, "two")
    one = cli("resume", stopped, "obj.py:sphere", "--json").document
    two = cli("resume", "two", "obj.py:sphere", "--workers", "2", "--json").document
    assert {**one, "run_dir": None} == {**two, "run_dir": None}


def test_a_manifest_with_unknown_settings_is_refused(stopped: Path, cli: Cli) -> None:
    manifest = RunDirectory.read(stopped).manifest
    with RunDirectory.create("odd", {**manifest, "settings": {"surprise": 1}}):
        pass
    said = cli("resume", "odd", "obj.py:sphere")
    assert said.code == 4
    assert "surprise" in said.err


def test_a_run_in_use_is_not_taken_up(stopped: Path, cli: Cli) -> None:
    with RunDirectory.open(stopped):
        said = cli("resume", stopped, "obj.py:sphere")
    assert said.code == 4
    assert "is in use" in said.err

"""Suites and problems of them from the command line."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
Start = Callable[..., subprocess.Popen[str]]
SMALL = ("--function", "1,8", "--dim", "2", "--instance", "1", "--budget", "30D", "--seed", "1")


@pytest.fixture
def suite(cli: Cli) -> Path:
    """A finished suite run of two problems."""
    assert cli("minimize", "bbob", *SMALL, "--workers", "1", "--out", "runs/s", "-q").code == 0
    return Path("runs/s")


def test_a_suite_ends_with_a_table_and_the_paths_of_what_it_wrote(cli: Cli) -> None:
    said = cli("minimize", "bbob", *SMALL, "--workers", "2", "--out", "runs/s")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split()[:2] == ["f", "2-D"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "8", "all"]
    pairs = dict(line.split("  ", 1) for line in lines[6:])
    assert Path(pairs["picture"].strip()).exists()
    assert Path(pairs["table"].strip()).exists()
    assert Path(pairs["COCO data"].split()[0]).is_dir()
    assert "next: evoopt plot ecdf runs/s -o runs/s/ecdf.png" in said.err
    assert "bbob, auto: 2 problems, 2 at a time" in said.err


def test_a_suite_run_as_one_document(suite: Path, cli: Cli) -> None:
    said = cli("resume", suite, "--json", "-q")
    assert said.err == ""
    document = said.document
    assert (document["problems"], document["seed"], document["evaluations"]) == (2, 1, 67)
    assert [cell["function"] for cell in document["cells"]] == [1, 8]


def test_show_status_and_verify_read_a_suite_run(suite: Path, cli: Cli) -> None:
    shown = cli("show", suite)
    assert "functions   1,8" in shown.out
    status = cli("status", suite, "--json").document
    assert (status["state"], status["done"], status["problems"]) == ("finished", 2, 2)
    verified = cli("verify", suite)
    assert verified.code == 0
    assert verified.out.count("sound") == 2
    listed = cli("list", "runs", "--json").document["runs"]
    assert listed[0]["problem"] == "2 of 2 problems"


def test_damage_in_one_problem_is_found(suite: Path, cli: Cli) -> None:
    log = suite / "problems" / "bbob_f008_i01_d02" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"e":1', b'"e":2', 1))
    said = cli("verify", suite)
    assert said.code == 4
    assert "bbob_f008_i01_d02" in said.out
    assert "damaged at byte" in said.out


def test_each_picture_wants_its_own_kind_of_run(suite: Path, cli: Cli) -> None:
    problem = suite / "problems" / "bbob_f001_i01_d02"
    said = cli("plot", "anytime", suite, problem)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert str(problem) in said.err
    assert cli("plot", "ecdf", problem).code == 2
    said = cli("plot", "pareto", suite)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "pareto draws single runs" in said.err
    assert f"draw one of its problems, as {problem}; or anytime" in said.err
    said = cli("export", suite)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"export one of its problems, as {problem}" in said.err
    assert cli("plot", "anytime", suite, "-o", "s.svg").out == "s.svg\n"
    assert cli("plot", "anytime", problem, "-o", "a.svg").out == "a.svg\n"
    assert cli("plot", "ecdf", suite, "-o", "e.svg").out == "e.svg\n"
    assert Path("a.svg").exists()
    assert Path("e.svg").exists()


def test_a_suite_run_takes_no_function(suite: Path, cli: Cli) -> None:
    said = cli("resume", suite, "obj.py:sphere")
    assert said.code == 2
    assert said.err.startswith("error: TARGET cannot be used with runs/s")


def test_one_problem_is_a_search_that_can_be_resumed_alone(cli: Cli) -> None:
    words = ("minimize", "bbob:f8:d2:i1", "--seed", "5", "--budget", "2000D")
    said = cli(*words, "--out", "p", "--json")
    assert said.code == 0
    assert said.document["seed"] == 5
    assert said.document["precision"] == said.document["f"] - said.document["f_opt"] <= 1e-8
    assert list(Path(said.document["coco_data"]).glob("*.info"))
    copied = cli("repair", "p", "--to", "50", "--into", "q")
    assert copied.err == "next: evoopt resume q\n"
    again = cli("resume", "q", "--json").document
    assert (again["x"], again["f"]) == (said.document["x"], said.document["f"])
    assert cli("resume", "q", "obj.py:sphere").code == 2


def test_an_interrupted_suite_run_says_how_to_go_on(cli: Cli, start: Start) -> None:
    words = ("--function", "15-24", "--dim", "5", "--instance", "1", "--budget", "2000D")
    process = start("minimize", "bbob", *words, "--seed", "1", "--workers", "1", "--out", "s")
    end = time.monotonic() + 60
    while not list(Path("s").glob("problems/*/log.jsonl")) and time.monotonic() < end:
        time.sleep(0.02)
    assert cli("status", "s", "--json").document["state"] == "running"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert err.splitlines()[-1] == ("interrupted: nothing is lost; go on with: evoopt resume s")
    status = cli("status", "s", "--json").document
    assert status["state"] == "stopped"
    assert status["go on"] == "evoopt resume s"
    assert json.loads(Path("s/manifest.json").read_text())["seed"] == 1

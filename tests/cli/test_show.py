"""`show`, `status`, `verify`, `repair`, `list`, `doctor`, `completion`."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evoopt.cli import main, stored
from evoopt.rundir import RunDirectory
from evoopt.storage import loaded

Cli = Callable[..., Any]
RASTRIGIN = ("minimize", "obj.py:rastrigin", "--dim", "2", "--bounds", "-5", "5", "--no-isolate")


@pytest.fixture
def run(cli: Cli) -> Path:
    """A finished run with restarts."""
    words = (*RASTRIGIN, "--algorithm", "cma-es", "--restarts", "bipop", "--seed", "1")
    said = cli(*words, "--budget", "2000", "--out", "runs/a", "-q")
    assert said.code == 0
    return Path("runs/a")


def killed(run: Path) -> Path:
    """A copy as a killed process leaves it: no result, a torn last record."""
    copy = run.with_name(f"{run.name}-killed")
    shutil.copytree(run, copy)
    (copy / "result.json").unlink()
    with (copy / "log.jsonl").open("ab") as log:
        log.write(b'0badc0de {"k":')
    return copy


def test_a_log_sums_up_to_what_the_result_says(run: Path) -> None:
    finished, summed = stored.read(run), stored.read(killed(run))
    assert (finished.state, summed.state) == ("finished", "stopped")
    result, tally = finished.result, summed.tally
    assert result is not None
    assert tally is not None
    assert tally.evaluations == result.evaluations == summed.evaluations
    assert tally.f == result.f == summed.f
    assert tally.restarts == result.restarts > 0
    assert tally.x is not None
    assert (tally.x == result.x).all()  # from the last snapshot
    assert tally.axis_ratio == result.history.axis_ratio[-1]


def test_the_point_of_an_unsnapshotted_cheap_run_is_said_to_be_missing(run: Path, cli: Cli) -> None:
    copy = killed(run)
    shutil.rmtree(copy / "snapshots")
    assert "drawn again when the run goes on" in cli("show", copy).out
    assert cli("show", copy, "--json").document["x"] is None


def test_a_point_of_an_older_snapshot_is_not_taken_for_the_best(run: Path) -> None:
    copy = killed(run)
    with RunDirectory.open(copy) as directory:
        later = {"i": 2000, "n": 1, "e": 99, "x": "00000000", "f": [-1.0]}
        directory.append("gen", later)
    assert stored.read(copy).f == -1.0
    tally = stored.read(copy).tally
    assert tally is not None
    assert tally.x is None


def test_failures_and_maximized_values_are_read_from_the_log(cli: Cli) -> None:
    words = ("--dim", "2", "--bounds", "-5", "5", "--seed", "1", "--no-isolate", "--budget", "200")
    cli("minimize", "obj.py:half", *words, "--maximize", "--out", "h", "-q")
    finished, summed = stored.read(Path("h")), stored.read(killed(Path("h")))
    assert finished.result is not None
    assert summed.tally is not None
    assert summed.f == finished.f > 1
    assert dict(summed.tally.failures) == dict(finished.result.failures) != {}
    assert summed.tally.first_failure == finished.result.first_failure != ""


def test_bounds_are_shown_as_they_are_given(cli: Cli) -> None:
    words = ("--budget", "20", "--no-isolate", "-q", "--out")
    box = ("--bounds", "0", "1", "--bounds", "10", "30")
    cli("minimize", "obj.py:half", "--dim", "2", *box, *words, "a")
    cli("minimize", "obj.py:half", "--dim", "2", *box[:3], *words, "b")
    cli("minimize", "obj.py:half", "--dim", "2", *box[:3], *words, "c", "--warm-start", "b")
    assert "[0.0, 1.0] [10.0, 30.0]" in cli("show", "a").out
    assert "[0.0, 1.0] for each" in cli("show", "b").out
    assert re.search(r"^warm_start +\d+ evaluations$", cli("show", "c").out, re.M)


def test_a_run_that_a_process_holds_is_running(run: Path, cli: Cli) -> None:
    copy = killed(run)
    with RunDirectory.open(copy):
        assert stored.read(copy).state == "running"
        assert cli("status", copy).out.startswith("state        running: a process holds it")
        assert cli("show", copy).code == 0
    assert stored.read(copy).state == "stopped"


def test_show_tells_result_settings_and_environment(run: Path, cli: Cli) -> None:
    said = cli("show", run)
    result = loaded(json.loads((run / "result.json").read_text()), None)
    for text in (f"{result.f:.10g}", result.reason.advice, "asked for", "rastrigin", "numpy"):
        assert text in said.out
    document = cli("show", run, "--json").document
    assert document["f"] == result.f
    assert document["manifest"]["settings"]["budget"] == "2000"


def test_status_says_how_to_go_on(run: Path, cli: Cli) -> None:
    copy = killed(run)
    assert f"go on        evoopt resume {copy} obj.py:rastrigin" in cli("status", copy).out
    document = cli("status", copy, "--json").document
    assert (document["state"], document["evaluations"]) == ("stopped", 2000)


def test_stored_words_cannot_steer_the_terminal(cli: Cli) -> None:
    problem = {"name": "\x1b[31mred", "dim": 1, "lower": [0.0], "upper": [1.0]}
    with RunDirectory.create("odd", {"problem": problem, "label": "\x1b]0;title\x07"}):
        pass
    for command in (("show", "odd"), ("status", "odd"), ("list", "runs", "--in", ".")):
        said = cli(*command)
        assert said.code == 0
        assert "\x1b" not in said.out
        assert "\x07" not in said.out


def test_verify_finds_a_flipped_bit_and_repair_saves_what_is_before_it(run: Path, cli: Cli) -> None:
    assert cli("verify", run).out.startswith("verdict   sound")
    data = bytearray((run / "log.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "log.jsonl").write_bytes(data)
    said = cli("verify", run, "--json")
    assert said.code == 4
    assert said.document["sound"] is False
    records = said.document["runs"][0]["records"]
    copied = cli("repair", run, "--into", "copy", "--json")
    assert copied.document == {"run": "copy", "records": records + 1}  # a note says so
    assert cli("verify", "copy").code == 0
    assert (
        "next: evoopt resume copy2 obj.py:rastrigin"
        in cli("repair", run, "--to", "9", "--into", "copy2").err
    )


def test_a_torn_tail_is_no_damage(run: Path, cli: Cli) -> None:
    said = cli("verify", killed(run))
    assert said.code == 0
    assert "torn" in said.out


def test_all_algorithms_suites_and_engines_are_listed(cli: Cli) -> None:
    from evoopt.evaluators import EVALUATORS
    from evoopt.strategies import STRATEGIES
    from evoopt_bench.suites import SUITES

    for what, names in {
        "algorithms": ["auto", *STRATEGIES],
        "suites": SUITES,
        "engines": EVALUATORS,
    }.items():
        lines = cli("list", what).out.splitlines()
        assert [line.split()[0] for line in lines[1:]] == list(names)
        rows = cli("list", what, "--json").document[what]
        assert all(all(row.values()) for row in rows)


def test_runs_are_listed_with_their_state_even_damaged_ones(run: Path, cli: Cli) -> None:
    copy = killed(run)
    (Path("runs") / "b").mkdir()
    (Path("runs") / "b" / "manifest.json").write_text("{}")
    rows = {row["run"]: row for row in cli("list", "runs", "--json").document["runs"]}
    assert rows[str(run)]["state"] == "finished"
    assert rows[str(copy)]["state"] == "stopped"
    assert rows["runs/b"]["state"].startswith("damaged: ")
    assert float(rows[str(copy)]["f"]) == float(rows[str(run)]["f"])


def test_a_result_of_another_version_is_said_to_be_one(run: Path, cli: Cli) -> None:
    (run / "result.json").write_text('{"f": [1.0]}')
    for command in (("show", run), ("plot", "anytime", run, "-o", "a.svg")):
        said = cli(*command)
        assert said.code == 4
        assert "another evoopt wrote it" in said.err


def test_an_empty_folder_has_no_runs(cli: Cli) -> None:
    said = cli("list", "runs")
    assert (said.code, said.out, said.err) == (0, "", "there are no runs in runs\n")


def test_the_doctor_names_versions_and_tries_the_run_folder(cli: Cli) -> None:
    said = cli("doctor", "--json")
    assert said.code == 0
    assert said.document["numpy"] == np.__version__
    assert said.document["run_folder_fault"] is None
    assert not list(Path().glob(".doctor*"))


def test_the_doctor_misses_what_is_needed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evoopt.cli.doctor.EXTRAS", {"plot": {"no_such_package": "none-such"}})
    said = cli("doctor", "--need", "plot")
    assert said.code == 5
    assert "error: none-such missing; install with: pip install '.[plot]'" in said.err
    assert cli("doctor").code == 0


def test_the_doctor_says_where_runs_cannot_be_kept(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("evoopt.cli.doctor.fcntl.flock", refuse)
    said = cli("doctor")
    assert said.code == 4
    assert "runs cannot be kept here: Operation not supported" in said.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_this_command(shell: str, cli: Cli) -> None:
    said = cli("completion", shell)
    assert said.code == 0
    assert f"_EVOOPT_COMPLETE={shell}_complete" in said.out


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("evoopt min", {"minimize"}),
        ("evoopt re", {"resume", "repair"}),
        ("evoopt minimize bbob --algorithm ma", {"ma-es"}),
        ("evoopt minimize bbob --bud", {"--budget"}),
    ],
)
def test_a_shell_is_told_how_words_go_on(
    typed: str,
    completions: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_EVOOPT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    said = capsys.readouterr().out.splitlines()
    assert {line.partition(",")[2] for line in said} == completions


def test_numbers_that_json_lacks_are_null() -> None:
    from evoopt.cli.console import _finite

    assert _finite({"a": [math.inf, math.nan, 1.5], 2: (-math.inf, "x")}) == {
        "a": [None, None, 1.5],
        "2": [None, "x"],
    }

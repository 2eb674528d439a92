"""`evoopt ask` and `evoopt tell`: a search on disk, driven from outside."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.errors import StateError
from evoopt.rundir import RunDirectory
from evoopt.settings import Settings
from evoopt.turns import Words, take_turn

Cli = Callable[..., Any]
BEGIN = ("--dim", 2, "--bounds", -5, 5, "--algorithm", "cma-es", "--seed", 3, "--popsize", 6)
LOWER, UPPER = np.full(2, -5.0), np.full(2, 5.0)


def f(x: Any) -> float:
    return float((np.asarray(x) ** 2).sum() + x[0])


def candidates(text: str) -> dict[int, list[float]]:
    lines = [line.split() for line in text.splitlines()]
    return {int(words[0]): [float(word) for word in words[1:]] for words in lines}


def begun(**words: Any) -> Words:
    given = {"algorithm": "cma-es", "seed": 3, "popsize": 6, **words}
    return Words(LOWER, UPPER, Settings(**given))


def driven(run: Path, values: int, **words: Any) -> None:
    """So many turns of one ask and one tell each."""
    for _ in range(values):
        with take_turn(run, begun(**words)) as turn:
            rows = turn.ask(1)
        for i, x in rows:
            with take_turn(run) as turn:
                turn.tell({i: f(x)})


def test_what_is_asked_and_told_by_turns_is_the_search_of_minimize(cli: Cli) -> None:
    for _ in range(3):  # generations
        asked = candidates(cli("ask", "runs/a", *BEGIN, "-n", 6).out)
        for i in reversed(asked):  # told in any order
            assert cli("tell", "runs/a", i, f(asked[i])).code == 0
    whole = evoopt.minimize(
        f, bounds=(LOWER, UPPER), algorithm="cma-es", seed=3, popsize=6, budget=18
    )
    shown = cli("show", "runs/a", "--json").document
    assert shown["evaluations"] == 18
    assert shown["f"] == whole.f
    assert shown["x"] == list(whole.x)  # type: ignore[arg-type]  # something was found


def test_a_run_by_turns_goes_on_as_an_ask_tell_object_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evoopt.turns._SNAPSHOT_RECORDS", 16)
    driven(tmp_path / "a", 20)
    assert list((tmp_path / "a" / "snapshots").iterdir())
    es = evoopt.AskTell("cma-es", seed=3, bounds=(LOWER, UPPER), popsize=6)
    for _ in range(20):
        ((i, x),) = es.ask_ids(1)
        es.tell(i, f(x))
    with take_turn(tmp_path / "a") as turn:
        ((i, x),) = turn.ask(1)
    ((j, y),) = es.ask_ids(1)
    assert (i, x.tobytes()) == (j, y.tobytes())


def test_the_first_call_begins_a_run_and_later_ones_may_leave_out_its_words(cli: Cli) -> None:
    first = cli("ask", "runs/a", *BEGIN)
    second = cli("ask", "runs/a")
    third = cli("ask", "runs/a", *BEGIN)
    ids = [list(candidates(said.out)) for said in (first, second, third)]
    assert ids == [[0], [1], [2]]


def test_other_words_than_those_of_the_run_are_refused(cli: Cli) -> None:
    cli("ask", "runs/a", *BEGIN)
    said = cli("ask", "runs/a", *BEGIN[:-1], 7)
    assert said.code == 4
    assert "holds another run (popsize=7, there 6)" in said.err
    assert not said.out


def test_candidates_are_printed_to_the_last_bit(cli: Cli) -> None:
    text = candidates(cli("ask", "runs/a", *BEGIN, "-n", 3).out)
    rows = cli("ask", "runs/a", "--open", "-n", 3, "--json").document["candidates"]
    assert text == {row["id"]: row["x"] for row in rows}


def test_candidates_that_got_lost_can_be_asked_for_once_more(cli: Cli) -> None:
    first = cli("ask", "runs/a", *BEGIN, "-n", 3).out
    cli("tell", "runs/a", 1, 0.5)
    again = candidates(cli("ask", "runs/a", "--open", "-n", 9).out)
    assert again == {i: x for i, x in candidates(first).items() if i != 1}


def test_values_come_as_words_or_as_json_lines(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("ask", "runs/a", *BEGIN, "-n", 5)
    assert cli("tell", "runs/a", 0, "-1.5", 1, "nan", 2, "failed").code == 0
    lines = '{"id": 3, "value": -2.5}\n\n{"id": 4, "value": null}\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    state = cli("tell", "runs/a", "-", "--json").document
    assert state["evaluations"] == 5
    assert state["f"] == -2.5
    failures = cli("show", "runs/a", "--json").document["failures"]
    assert failures == {"nan": 1, "raised": 2}


def test_tell_says_when_the_search_is_over_and_ask_then_prints_nothing(cli: Cli) -> None:
    cli("ask", "runs/a", *BEGIN, "--target", 0.1, "-n", 3)
    assert cli("tell", "runs/a", 0, 0.5).out == ""
    assert cli("tell", "runs/a", 1, 0.05).out.startswith("stop: ftarget: ")
    over = cli("ask", "runs/a")
    assert (over.code, over.out) == (0, "")
    assert "the search is over: ftarget" in over.err
    assert cli("ask", "runs/a", "--json").document["stop"]["criterion"] == "ftarget"
    assert cli("status", "runs/a", "--json").document["state"] == "finished"


def test_a_value_that_comes_after_the_end_still_counts(cli: Cli) -> None:
    cli("ask", "runs/a", *BEGIN, "--target", 0.1, "-n", 3)
    cli("tell", "runs/a", 1, 0.05)
    cli("tell", "runs/a", 2, 0.01)
    shown = cli("show", "runs/a", "--json").document
    assert (shown["f"], shown["evaluations"]) == (0.01, 2)


def test_the_budget_is_never_exceeded(cli: Cli) -> None:
    asked = candidates(cli("ask", "runs/a", *BEGIN, "--budget", 4, "-n", 9).out)
    assert list(asked) == [0, 1, 2, 3]
    said = cli("ask", "runs/a", "-n", 9)
    assert (said.code, said.out) == (0, "")
    assert "nothing to ask before more is told: 4 open" in said.err
    cli("tell", "runs/a", 0, 1, 1, 1, 2, 1)
    assert cli("tell", "runs/a", 3, 1).out.startswith("stop: maxfevals")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((2, 1.0), "tell(id=...) must be an id of ask (0 to 1); got 2"),
        ((0, 1.0), "tell(id=...) must be told once; 0 was told before"),
        ((1, 1.0, 1, 2.0), "tell must name each id once; got 1 twice"),
        ((1,), "tell must be given pairs of ID and VALUE"),
        ((1, "abc"), "VALUE must be a number, nan or failed; got 'abc'"),
        (("x", 1.0), "ID must be a whole number that ask has printed; got 'x'"),
        ((1, 1.0, 7, 1.0), "tell(id=...) must be an id of ask (0 to 1); got 7"),
    ],
)
def test_a_tell_that_cannot_be_used_changes_nothing(
    cli: Cli, words: tuple[Any, ...], says: str
) -> None:
    cli("ask", "runs/a", *BEGIN, "-n", 2)
    cli("tell", "runs/a", 0, 1.0)
    before = Path("runs/a/log.jsonl").read_bytes()
    said = cli("tell", "runs/a", *words)
    assert (said.code, said.out) == (2, "")
    assert says.replace("tell(id=...)", "ID") in said.err
    assert said.err.count("\n") == 1
    assert Path("runs/a/log.jsonl").read_bytes() == before


@pytest.mark.parametrize("line", ["3 1.5", "[3, 1.5]", '{"id": 3}', '{"id": -1, "value": 2}'])
def test_a_line_that_is_no_value_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    cli("ask", "runs/a", *BEGIN)
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    said = cli("tell", "runs/a", "-")
    assert said.code == 2
    assert "must be a" in said.err


def test_a_run_has_to_be_begun_before_it_is_told(cli: Cli) -> None:
    assert "holds no run yet: begin it by evoopt ask runs/a" in cli("tell", "runs/a", 0, 1).err
    assert cli("ask", "runs/a").code == 2
    assert not Path("runs").exists()


def test_the_folder_of_a_suite_is_no_run_to_ask(cli: Cli) -> None:
    Path("runs/s").mkdir(parents=True)
    Path("runs/s/manifest.json").write_text("{}")
    for words in (("ask", "runs/s"), ("tell", "runs/s", 0, 1)):
        said = cli(*words)
        assert said.code == 4
        assert "runs/s was not begun by evoopt ask: see evoopt show runs/s" in said.err


def test_a_run_of_minimize_is_not_asked_and_the_other_way_round(cli: Cli) -> None:
    cli("minimize", "obj.py:sphere", "--dim", 2, "--bounds", -5, 5, "--budget", 9, "--out", "m")
    said = cli("ask", "m")
    assert said.code == 4
    assert "was not begun by evoopt ask" in said.err
    cli("ask", "runs/a", *BEGIN)
    assert "goes on by evoopt ask runs/a" in cli("resume", "runs/a", "obj.py:sphere").err
    assert "evoopt ask runs/a" in cli("status", "runs/a").out


def test_fewer_candidates_than_wanted_are_explained(cli: Cli) -> None:
    said = cli("ask", "runs/a", "--dim", 2, "--bounds", -5, 5, "--algorithm", "cobyqa", "-n", 4)
    assert len(said.out.splitlines()) == 1
    assert "1 of 4: for the rest, values have to come first" in said.err
    words = ("--dim", 2, "--bounds", -5, 5, "--seed", 1, "--workers", 4)
    assert len(cli("ask", "runs/b", *words, "-n", 4).out.splitlines()) == 4
    assert len(cli("ask", "runs/b", "-n", 4).out.splitlines()) == 4


def test_the_largest_value_is_searched_if_asked(cli: Cli) -> None:
    cli("ask", "runs/a", *BEGIN, "--maximize", "--target", 2, "-n", 3)
    assert cli("tell", "runs/a", 0, 1.0, 1, -3).out == ""
    assert cli("tell", "runs/a", 2, 2.5).out.startswith("stop: ftarget")
    assert cli("show", "runs/a", "--json").document["f"] == 2.5


def test_each_value_is_used_as_it_comes_where_several_evaluate(tmp_path: Path) -> None:
    words = begun(workers=3, asynchronous=True)
    with take_turn(tmp_path / "a", words) as turn:
        rows = turn.ask(3)
    for i, x in rows[1:]:
        with take_turn(tmp_path / "a") as turn:
            turn.tell({i: f(x)})
    kinds = [record["t"] for record in RunDirectory.read(tmp_path / "a").records()]
    assert kinds.count("tell") == 2


def test_the_run_can_be_shown_verified_and_plotted(cli: Cli, tmp_path: Path) -> None:
    driven(tmp_path / "a", 12)
    assert cli("verify", "a").code == 0
    assert "waits for evoopt ask and evoopt tell" in cli("status", "a").out
    assert cli("plot", "anytime", "a", "-o", "a.png").code == 0
    assert "ask, 2-D" in cli("list", "runs", "--in", ".").out


def test_a_turn_that_is_killed_has_happened_or_not(tmp_path: Path) -> None:
    """Cut off after each record that it writes: the next turn goes on from what is there."""
    run = tmp_path / "a"
    driven(run, 8)
    with take_turn(run) as turn:
        ((i, x),) = turn.ask(1)
    log = run / "log.jsonl"
    before = log.read_bytes()
    with take_turn(run) as turn:
        turn.tell({i: f(x)})
    after = log.read_bytes()
    ends = [k + 1 for k in range(len(before), len(after)) if after[k : k + 1] == b"\n"]
    assert len(ends) > 1
    for end in [len(before), *ends, *(end - 3 for end in ends)]:
        log.write_bytes(after[:end])
        with take_turn(run) as turn:
            if [j for j, _ in turn.open()] == [i]:  # the value did not get there
                turn.tell({i: f(x)})
            assert turn.evaluations == 9
            ((j, _),) = turn.ask(1)
            assert j == i + 1


def test_turns_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    run = tmp_path / "a"
    with take_turn(run, begun()):
        pass
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:  # pragma: no cover  # not in this process
            code = 1
            try:
                with take_turn(run) as turn:
                    ((i, x),) = turn.ask(1)
                with take_turn(run) as turn:
                    turn.tell({i: f(x)})
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    with take_turn(run) as turn:
        assert turn.evaluations == 3
        assert turn.open() == []


def test_a_run_that_somebody_holds_for_long_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evoopt.turns.PATIENCE_SECONDS", 0.02)
    with take_turn(tmp_path / "a", begun()), pytest.raises(StateError, match="is in use by"):
        take_turn(tmp_path / "a")


SPACE = """
[rate]
type = "float"
low = 1e-4
high = 1.0
log = true

[layers]
type = "integer"
low = 1
high = 8

act = ["relu", "gelu"]
"""


def test_parameters_may_have_names(cli: Cli) -> None:
    Path("space.toml").write_text(SPACE.replace("act =", "[act]\ntype = 'categorical'\nchoices ="))
    words = ("--space", "space.toml", "--seed", 1)
    line = cli("ask", "runs/a", *words).out.split()
    assert line[0] == "0"
    assert [word.partition("=")[0] for word in line[1:]] == ["rate", "layers", "act"]
    (row,) = cli("ask", "runs/a", "--open", "--json").document["candidates"]
    assert line[1] == f"rate={row['point']['rate']!r}"
    assert line[2] == f"layers={row['point']['layers']}"
    assert line[3] == f"act={row['point']['act']}"
    assert cli("tell", "runs/a", 0, 1.5, "--json").document["evaluations"] == 1
    for i in range(1, 12):
        cli("ask", "runs/a", *words)
        cli("tell", "runs/a", i, i)
    warm = cli("ask", "runs/b", *words, "--algorithm", "cma-es", "--warm-start", "runs/a")
    assert warm.code == 0
    other = cli("ask", "runs/c", *BEGIN, "--warm-start", "runs/a")
    assert other.code == 2
    assert "must be a run in the same space" in other.err


def test_a_shell_script_needs_nothing_but_these_two_commands(cli: Cli) -> None:
    values = 0
    while line := cli("ask", "runs/a", *BEGIN, "--budget", 12).out.split():
        values += 1
        said = cli("tell", "runs/a", line[0], f([float(word) for word in line[1:]]))
    assert values == 12
    assert said.out.startswith("stop: maxfevals")

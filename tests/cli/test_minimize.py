"""`evoopt minimize` with functions of a user: the same search as from Python, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt

Cli = Callable[..., Any]
IN_PROCESS = ("--no-isolate",)
BOX = ("--dim", "3", "--bounds", "-5", "5", "--seed", "1", *IN_PROCESS)


def sphere(x: Any) -> float:
    return float(x @ x)


def test_the_command_does_what_the_function_does(cli: Cli) -> None:
    said = cli("minimize", "obj.py:sphere", *BOX, "--budget", "300", "--json")
    r = evoopt.minimize(sphere, bounds=([-5.0] * 3, [5.0] * 3), seed=1, budget=300)
    found = said.document
    assert said.code == 0
    assert r.x is not None
    assert found["x"] == r.x.tolist()
    assert (found["f"], found["sigma"], found["evaluations"]) == (r.f, r.sigma, r.evaluations)
    assert found["reason"]["criterion"] == r.reason.criterion
    assert found["algorithm"] == r.algorithm


OPTIONS: list[tuple[str, str, Any]] = [
    ("--algorithm ma-es", "algorithm", "ma-es"),
    ("--x0 1,2,-3", "x0", [1.0, 2.0, -3.0]),
    ("--sigma0 0.5", "sigma0", 0.5),
    ("--sigma0 1,2,3", "sigma0", [1.0, 2.0, 3.0]),
    ("--budget 20D", "budget", "20D"),
    ("--budget 20*D", "budget", "20*D"),
    ("--budget 6e1", "budget", "6e1"),
    ("--target -1e3", "target", -1000.0),
    ("--popsize 6", "popsize", 6),
    ("--restarts ipop", "restarts", "ipop"),
    ("--time-limit 1m", "time_limit", 60.0),
    ("--max-failures 3", "max_failures", 3),
    ("--maximize", "maximize", True),
    ("--no-isolate", "isolate", False),
]


@pytest.mark.parametrize(("words", "name", "value"), OPTIONS)
def test_an_option_reaches_the_search(words: str, name: str, value: Any, cli: Cli) -> None:
    budget = () if name == "budget" else ("--budget", "60")
    cli("minimize", "obj.py:sphere", *BOX, *budget, *words.split(), "--out", "r", "-q")
    manifest = json.loads(Path("r/manifest.json").read_text())
    assert manifest["settings"][name] == value
    if name == "budget":
        assert json.loads(Path("r/result.json").read_text())["evaluations"] == 60


def test_a_user_function_is_isolated_unless_told_otherwise(cli: Cli) -> None:
    words = ("minimize", "obj.py:dies", "--dim", "2", "--bounds", "-5", "5", "--seed", "1")
    words = (*words, "--algorithm", "cma-es", "--budget", "30")
    said = cli(*words, "--x0", "1.9,0", "--out", "r", "--json")
    assert said.code == 0
    assert said.document["failures"]["killed"] > 0
    assert said.document["f"] < 5
    assert said.document["first_failure"].startswith("killed: ")


def test_bounds_of_each_variable_are_kept(cli: Cli) -> None:
    pairs = ("--bounds", "-5", "-1", "--bounds", "2", "inf", "--bounds", "0", "1")
    words = ("--x0", "-2,3,0.5", "--seed", "1", "--budget", "90", *IN_PROCESS)
    said = cli("minimize", "obj.py:sphere", *pairs, *words, "--out", "r", "--json")
    problem = json.loads(Path("r/manifest.json").read_text())["problem"]
    assert problem["lower"] == [-5.0, 2.0, 0.0]
    assert problem["upper"] == [-1.0, "inf", 1.0]
    x = np.array(said.document["x"])
    assert (x >= [-5, 2, 0]).all()
    assert (x <= [-1, np.inf, 1]).all()


def test_vectorized_functions_take_all_rows(cli: Cli) -> None:
    said = cli("minimize", "obj.py:rows", *BOX, "--vectorized", "--budget", "300", "--json")
    r = evoopt.minimize(sphere, bounds=([-5.0] * 3, [5.0] * 3), seed=1, budget=300)
    assert said.document["f"] == pytest.approx(r.f, rel=1e-6)  # the sums are added in another order


@pytest.mark.parametrize(("target", "code"), [("1e-3", 0), ("-1", 1)])
def test_a_target_that_was_asked_for_decides_on_the_exit_code(
    target: str, code: int, cli: Cli
) -> None:
    said = cli("minimize", "obj.py:sphere", *BOX, "--budget", "600", "--target", target)
    assert said.code == code
    assert ("the target was missed" in said.err) == bool(code)


@pytest.mark.parametrize(
    ("function", "words", "reason"),
    [
        ("nan", "", "allfailed"),
        ("raises", "", "allfailed"),
        ("half", "--max-failures 2", "maxfailures"),
        ("nan", "--budget 5", "maxfevals"),
    ],
)
def test_an_objective_that_fails_beyond_tolerance_has_exit_code_3(
    function: str, words: str, reason: str, cli: Cli
) -> None:
    said = cli("minimize", f"obj.py:{function}", *BOX, *words.split(), "--json")
    assert said.code == 3
    assert said.document["reason"]["criterion"] == reason
    assert said.err.count("error: ") == 1
    kind = said.document["first_failure"].split(":")[0]
    assert kind in said.document["failures"]
    assert f" times; first: {kind}: " in said.err


def test_an_objective_that_returns_no_number_is_told_what_to_return(cli: Cli) -> None:
    said = cli("minimize", "obj.py:nothing", *BOX, "--out", "r", "-q")
    assert said.code == 3
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith("error: the objective must return one real number")
    assert "got None" in said.err


def test_what_an_exception_says_cannot_steer_the_terminal(cli: Cli) -> None:
    said = cli("minimize", "obj.py:raises", *BOX)
    assert "\x1b" not in said.err + said.out
    assert "first: raised: ValueError: no" in said.err


def test_maximize_reports_values_in_the_sign_of_the_function(cli: Cli) -> None:
    words = ("--dim", "2", "--bounds", "-5", "5", "--seed", "1", *IN_PROCESS, "--budget", "400")
    said = cli("minimize", "obj.py:linear", *words, "--maximize", "--target", "4.999", "--json")
    assert said.code == 0
    assert said.document["f"] >= 4.999


def test_the_table_names_result_reason_and_run(cli: Cli) -> None:
    said = cli("minimize", "obj.py:sphere", *BOX, "--budget", "90", "--out", "runs/a")
    rows = dict(line.split(None, 1) for line in said.out.splitlines() if line[0] != " ")
    assert float(rows["f"]) == pytest.approx(
        json.loads(Path("runs/a/result.json").read_text())["f"][0]
    )
    assert rows["evaluations"] == "90"
    assert rows["reason"] == "maxfevals: the budget is spent"
    assert rows["run"] == "runs/a"
    assert rows["seed"] == "1"
    assert "next: evoopt plot anytime runs/a -o runs/a/anytime.png" in said.err


def test_a_run_without_a_name_is_kept_under_runs(cli: Cli) -> None:
    said = cli("minimize", "obj.py:sphere", *BOX, "--budget", "30", "--json")
    (run,) = Path("runs").iterdir()
    assert said.document["run_dir"] == str(run)
    assert run.name.endswith("-sphere")


def test_quiet_leaves_stderr_empty(cli: Cli) -> None:
    said = cli("minimize", "obj.py:sphere", *BOX, "--budget", "30", "-q")
    assert said.err == ""
    assert said.out


def test_the_same_words_again_give_the_stored_result(cli: Cli) -> None:
    words = ("minimize", "obj.py:sphere", *BOX, "--budget", "60", "--out", "r", "--json")
    first, log = cli(*words), Path("r/log.jsonl").read_bytes()
    again = cli(*words)
    assert again.document == first.document
    assert Path("r/log.jsonl").read_bytes() == log
    assert "r holds a run" in again.err


def test_other_words_for_the_same_run_are_refused(cli: Cli) -> None:
    words = ("minimize", "obj.py:sphere", *BOX, "--out", "r")
    cli(*words, "--budget", "60")
    said = cli(*words, "--budget", "61")
    assert said.code == 4
    assert said.err.splitlines()[-1].startswith("error: r holds another run (budget='61'")


def test_a_document_has_null_where_json_has_no_number(cli: Cli) -> None:
    said = cli("minimize", "obj.py:nan", *BOX, "--budget", "5", "--json")
    assert said.document["f"] is None
    assert said.document["x"] is None

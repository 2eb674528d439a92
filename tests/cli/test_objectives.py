"""Several objectives from the command line: searching, ask and tell, and what is shown of a run."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.observers.progress import Progress
from evoopt.rundir import RunDirectory

Cli = Callable[..., Any]
BOTH = """
import os


def two(x):
    return float(x @ x), float(((x - 1) ** 2).sum())


def named(p):
    return p["u"], 1 - p["u"]


def stops(x):
    if x[0] > 4 and not os.path.exists("go"):
        raise KeyboardInterrupt
    return two(x)
"""
WORDS = ("--dim", 2, "--bounds", -5, 5, "--algorithm", "random", "--seed", 1, "--no-isolate", "-q")
SEARCH = ("minimize", "both.py:two", *WORDS, "--budget", 60, "--objectives", 2)


def two(x: Any) -> tuple[float, float]:
    x = np.asarray(x)
    return float(x @ x), float(((x - 1) ** 2).sum())


@pytest.fixture(autouse=True)
def functions(workplace: Path) -> None:
    (workplace / "both.py").write_text(BOTH)


def table(text: str) -> tuple[list[str], np.ndarray]:
    """Headings and numbers of CSV."""
    headings, *rows = csv.reader(io.StringIO(text))
    return headings, np.array(rows, dtype=float)


def whole(**words: Any) -> evoopt.Result:
    given = {"algorithm": "random", "seed": 1, "budget": 60, "objectives": 2, **words}
    return evoopt.minimize(two, bounds=[(-5, 5)] * 2, **given)


def test_the_report_has_the_front_its_hypervolume_and_the_knee(cli: Cli) -> None:
    r = whole()
    said = cli(*SEARCH, "--out", "a")
    assert said.code == 0
    assert f"front        {len(r.front_f)} points" in said.out
    assert f"hypervolume  {r.hypervolume:.10g}" in said.out
    assert "at the knee" in said.out
    told = cli(*SEARCH, "--out", "b", "--json").document
    assert told["front_f"] == r.front_f.tolist()
    assert told["front_x"] == r.front_x.tolist()
    assert (told["hypervolume"], told["knee"]) == (r.hypervolume, r.knee)
    assert told["f"] == r.f.tolist()
    assert told["reference"] == r.reference.tolist()


def test_reference_sense_and_target_are_those_of_minimize(cli: Cli) -> None:
    words = {"reference": [40, -5], "maximize": [False, True]}
    r = whole(**words)
    line = (*SEARCH, "--reference", "40,-5", "--sense", "min,max", "--json")
    told = cli(*line, "--out", "a").document
    assert told["front_f"] == r.front_f.tolist()
    assert told["hypervolume"] == r.hypervolume
    assert cli(*line, "--target", r.hypervolume / 2, "--out", "b").code == 0
    missed = cli(*line, "--target", r.hypervolume * 2, "--out", "c")
    assert missed.code == 1
    assert missed.document["reason"]["criterion"] == "maxfevals"
    assert cli(*SEARCH[:-2], "--reference", "40,40", "--out", "d").code == 0  # says how many


BAD = [
    ("--objectives 0", "objectives"),
    ("--objectives two", "--objectives"),
    ("--objectives 2 --algorithm cma-es", "algorithm"),
    ("--objectives 2 --reference 1", "reference"),
    ("--objectives 2 --reference 1,a", "--reference"),
    ("--objectives 2 --reference 1,2,3", "reference"),
    ("--objectives 2 --sense min", "--sense must be 2 words"),
    ("--objectives 3 --sense min,max", "--sense must be 3 words"),
    ("--objectives 2 --sense min,up", "--sense"),
    ("--sense min,max --maximize", "--maximize"),
    ("--objectives 2 --target 3", "reference"),
]


@pytest.mark.parametrize(("words", "names"), BAD)
def test_a_bad_option_is_one_line(words: str, names: str, cli: Cli, workplace: Path) -> None:
    said = cli("minimize", "both.py:two", *WORDS, *words.split())
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert names in line
    assert not (workplace / "runs").exists()


def test_objectives_of_a_suite_are_its_own(cli: Cli) -> None:
    for words in (("--objectives", 2), ("--reference", "1,2"), ("--sense", "min,max")):
        said = cli("minimize", "bbob", *words)
        assert said.code == 2
        assert words[0] in said.err


def test_a_function_of_several_values_asks_to_be_told_so(cli: Cli) -> None:
    said = cli("minimize", "both.py:two", *WORDS)
    assert said.code == 3
    assert "for 2 objectives say --objectives 2" in said.err
    assert len(said.err.splitlines()) == 1


def test_a_program_prints_its_values_last(cli: Cli) -> None:
    words = ("--bounds", -5, 5, "--algorithm", "random", "--seed", 1, "--budget", 3, "-q", "--json")
    told = cli("minimize", *words, "--objectives", 2, "--", "echo", "f", "{x1}", "{x2}").document
    assert told["front_f"] == told["front_x"]
    assert told["evaluations"] == 3


def test_a_finished_run_is_shown_and_its_front_written(cli: Cli, workplace: Path) -> None:
    r = whole()
    cli(*SEARCH, "--out", "a")
    assert f"front        {len(r.front_f)} points" in cli("show", "a").out
    assert f"hypervolume  {r.hypervolume:.10g}" in cli("status", "a").out
    assert cli("status", "a", "--json").document["front_size"] == len(r.front_f)
    assert cli("show", "a", "--json").document["front_f"] == r.front_f.tolist()
    headings, rows = table(cli("export", "a").out)
    assert headings == ["x1", "x2", "f1", "f2"]
    np.testing.assert_array_equal(rows, np.hstack([r.front_x, r.front_f]))
    _, some = table(cli("export", "a", "--subset", 2).out)
    np.testing.assert_array_equal(some[:, 2:], r.subset(2).F)
    said = cli("export", "a", "--all", "-o", "all.csv")
    assert said.out == ""
    assert said.err == "60 lines in all.csv\n"
    headings, rows = table((workplace / "all.csv").read_text())
    assert [two(x) for x in rows[:, :2]] == [tuple(f) for f in rows[:, 2:]]
    later = cli(*SEARCH[:-4], "--objectives", 2, "--budget", 5, "--warm-start", "all.csv",
                "--out", "b", "--json")  # fmt: skip
    also = cli(*SEARCH[:-4], "--objectives", 2, "--budget", 5, "--warm-start", "a",
               "--out", "c", "--json")  # fmt: skip
    assert later.document["front_f"] == also.document["front_f"]
    assert {tuple(f) for f in r.front_f} <= {tuple(f) for f in later.document["front_f"]}


STOPPED: dict[tuple[str, ...], dict[str, Any]] = {  # options, words
    (): {},
    ("--reference", "40,40"): {"reference": [40, 40]},
    ("--sense", "min,max", "--reference", "40,-5"): {
        "maximize": [False, True],
        "reference": [40, -5],
    },
}


@pytest.mark.parametrize("options", STOPPED)
def test_a_run_that_was_stopped_is_shown_written_and_goes_on(
    cli: Cli, options: tuple[str, ...]
) -> None:
    line = ("minimize", "both.py:stops", *WORDS, "--objectives", 2, "--budget", 60, *options)
    assert cli(*line, "--out", "a").code == 130
    told = cli("show", "a", "--json").document
    assert told["state"] == "stopped"
    n = told["evaluations"]
    assert 0 < n < 60
    so_far = whole(budget=n, **STOPPED[options])
    assert told["front_f"] == so_far.front_f.tolist()
    assert told["hypervolume"] == pytest.approx(so_far.hypervolume)
    assert told["reference"] == so_far.reference.tolist()
    k = len(so_far.front_f)
    assert f"front        {k} point{'' if k == 1 else 's'}\n" in cli("status", "a").out
    _, rows = table(cli("export", "a").out)
    np.testing.assert_array_equal(rows[:, 2:], so_far.front_f)
    Path("go").touch()
    again = cli("resume", "a", "both.py:stops", "--json", "-q")
    assert again.code == 0
    assert again.document["front_f"] == whole(**STOPPED[options]).front_f.tolist()


@pytest.mark.parametrize("k", [0, -1])
def test_a_subset_has_at_least_a_point(cli: Cli, k: int) -> None:
    cli(*SEARCH, "--out", "a")
    said = cli("export", "a", "--subset", k)
    assert said.code == 2
    assert said.err == f"error: --subset must be a positive whole number; got {k}\n"


def test_names_of_a_space_head_the_columns(cli: Cli, workplace: Path) -> None:
    (workplace / "s.toml").write_text('[u]\ntype = "float"\nlow = 0\nhigh = 2\n')
    cli("minimize", "both.py:named", "--space", "s.toml", "--objectives", 2, "--budget", 9,
        "--algorithm", "random", "--seed", 1, "--no-isolate", "-q", "--out", "a")  # fmt: skip
    headings, rows = table(cli("export", "a").out)
    assert headings == ["u", "f1", "f2"]
    np.testing.assert_array_equal(rows[:, 0], rows[:, 1])


def test_the_best_point_is_written_of_one_objective(cli: Cli) -> None:
    cli("minimize", "obj.py:sphere", *WORDS, "--budget", 30, "--out", "a")
    headings, rows = table(cli("export", "a").out)
    assert headings == ["x1", "x2", "f"]
    assert len(rows) == 1
    assert rows[0, 2] == pytest.approx((rows[0, :2] ** 2).sum())
    assert cli("export", "a", "--subset", 2).code == 2
    assert cli("export", "a", "--all", "--subset", 2).code == 2
    assert cli("export", "nothere").code == 4
    said = cli("export", "a", "-o", "no/such.csv")
    assert (said.code, said.err) == (
        4,
        "error: no/such.csv cannot be written: No such file or directory\n",
    )


def asked(text: str) -> dict[int, list[float]]:
    lines = [line.split() for line in text.splitlines()]
    return {int(words[0]): [float(word) for word in words[1:]] for words in lines}


def test_asked_and_told_by_turns_it_is_the_search_of_minimize(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = (*WORDS[:-2], "--objectives", 2, "-n", 10)
    for lines in (False, True):
        points = asked(cli("ask", "a", *begin).out)
        if lines:
            text = "\n".join(
                json.dumps({"id": i, "value": two(x)}) for i, x in reversed(points.items())
            )
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            assert cli("tell", "a", "-").code == 0
        else:
            words = [word for i, x in points.items() for word in (i, *two(x))]
            assert cli("tell", "a", *words).code == 0
    r = whole(budget=20)
    _, rows = table(cli("export", "a").out)
    np.testing.assert_array_equal(rows, np.hstack([r.front_x, r.front_f]))
    state = cli("ask", "a", "--open", "--json").document
    assert state["front_size"] == len(r.front_f)
    assert state["hypervolume"] == r.hypervolume


TELLS = [
    (("0", "1"), "ID and 2 VALUES each"),
    (("0", "1", "2", "1", "3"), "ID and 2 VALUES each"),
    (("0", "1", "a"), "VALUE must be a number"),
    (("0", "1", "2", "0", "3", "4"), "0 twice"),
    (("0", "1", "2", "7", "3", "4"), "ID must be an id of ask"),
]


@pytest.mark.parametrize(("words", "says"), TELLS)
def test_what_cannot_be_told_is_one_line_and_changes_nothing(
    cli: Cli, words: tuple[str, ...], says: str
) -> None:
    cli("ask", "a", *WORDS[:-2], "--objectives", 2, "-n", 2)
    before = cli("show", "a", "--json").document["evaluations"]
    said = cli("tell", "a", *words)
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert says in line
    assert cli("show", "a", "--json").document["evaluations"] == before
    assert cli("tell", "a", "0", "failed", "1", "nan", "2").code == 0
    assert cli("show", "a", "--json").document["failures"] == {"raised": 1, "nan": 1}


def test_a_number_is_refused_as_a_line_of_several(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("ask", "a", *WORDS[:-2], "--objectives", 2)
    for value in ("1.5", "[1, 2, 3]", "[1]"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f'{{"id": 0, "value": {value}}}'))
        said = cli("tell", "a", "-")
        assert said.code == 2
        assert "VALUE must be 2 numbers" in said.err
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": 0, "value": [1, "failed"]}'))
    assert cli("tell", "a", "-").code == 0


def test_progress_shows_the_front_and_its_hypervolume() -> None:
    shown: list[dict[str, str]] = []
    asked = SimpleNamespace(
        label="", budget=60, time_limit=np.inf, workers=1, maximize=False
    )  # fmt: skip
    progress = Progress("f", asked, enabled=False)

    class Watching:
        wants_replay = False

        def started(self, search: Any) -> None: ...
        def finished(self, result: Any) -> None: ...
        def told(self, search: Any, ids: Any, X: Any, values: Any) -> None:
            shown.append(dict(progress.facts(search, 1.0)))

    from evoopt.api import solve
    from evoopt.problem import FunctionProblem
    from evoopt.settings import Settings

    problem = FunctionProblem(two, 2, [-5] * 2, [5] * 2, n_obj=2)  # type: ignore[arg-type]  # lists
    settings = Settings(algorithm="random", seed=1, budget=60)
    r = solve(problem, settings, observers=(Watching(),))
    assert shown[-1]["front"] == str(len(r.front_f))
    assert shown[-1]["hypervolume"] == f"{r.hypervolume:.8g}"


def test_the_next_step_is_a_picture_of_the_front_and_its_points(cli: Cli) -> None:
    said = cli(*(word for word in SEARCH if word != "-q"), "--out", "a")
    next_step = "next: evoopt plot pareto a -o a/pareto.png; evoopt export a -o a/front.csv"
    assert said.err.splitlines()[-1] == next_step


def test_the_sense_of_one_objective_is_one_word(cli: Cli) -> None:
    line = ("minimize", "both.py:first", *WORDS, "--budget", 30, "--json")
    Path("both.py").write_text(BOTH + "\n\ndef first(x):\n    return two(x)[0]\n")
    told = [
        cli(*line, *words, "--out", f"run{i}").document
        for i, words in enumerate((("--sense", "max"), ("--maximize",), ("--sense", "min"), ()))
    ]
    assert told[0]["f"] == told[1]["f"] > told[2]["f"] == told[3]["f"]


def test_a_file_of_several_values_asks_to_be_told_so(cli: Cli, workplace: Path) -> None:
    (workplace / "known.csv").write_text("x1,x2,f1,f2\n0,0,0,2\n1,1,2,0\n")
    said = cli("minimize", "both.py:two", *WORDS[:5], "-q", "--warm-start", "known.csv")
    assert said.code == 2
    assert said.err.endswith("; for 2 objectives say --objectives 2\n")


def test_a_run_that_took_too_few_values_goes_on_in_better_words(cli: Cli) -> None:
    line = ("minimize", "both.py:two", *WORDS, "--budget", 60, "--out", "a")
    assert cli(*line).code == 3
    assert cli(*line, "--objectives", 2, "--json").document["front_f"] == whole().front_f.tolist()


def test_verify_and_list_know_a_run_of_several_objectives(cli: Cli) -> None:
    cli(*SEARCH, "--out", "runs/a")
    assert cli("verify", "runs/a").code == 0
    (row,) = cli("list", "runs", "--json").document["runs"]
    assert float(row["f"]) == pytest.approx(whole().hypervolume, rel=1e-4)
    assert row["problem"] == "two, 2-D, 2 objectives"
    assert RunDirectory.read(Path("runs/a")).manifest["settings"]["objectives"] == 2

"""`evoopt bench` and the pictures of suites from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evoopt.cli import main
from evoopt_bench.peers import PEERS
from evoopt_bench.suites import SUITES

pytest.importorskip("cocoex", reason="needs the extra bench")

Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "c"
    words = "--algorithms ma-es --peers scipy-bfgs,random --dim 2 --function 1,5 --instance 1"
    command = f"bench compare {words} --budget 20D --workers 1 --quiet --out"
    assert main([*command.split(), str(out)]) == 0
    return out


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    capsys.readouterr()
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_same_command_again_runs_nothing_and_prints_the_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "runs.jsonl").read_bytes()
    words = "bench compare --algorithms ma-es --dim 2 --function 1,5 --instance 1 --budget 20D"
    code, out, err = said(capsys, *words.split(), "--workers", "1", "--out", str(folder))
    assert code == 0
    assert (folder / "runs.jsonl").read_bytes() == before
    assert [line.split()[0] for line in out.splitlines()[:1]] == ["2-D"]
    assert {"ma-es", "scipy-bfgs", "random"} <= {line.split()[0] for line in out.splitlines()[1:5]}
    assert "2 of them done before" in err


def test_a_report_can_be_had_at_any_time_and_as_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "bench", "report", str(folder), "--reference", "random", "--json")
    assert code == 0
    (dimension,) = json.loads(out)["dimensions"]
    assert dimension["reference"] == "random"
    assert (folder / "compare.md").exists()


def test_a_comparison_can_be_shown_and_listed_and_says_how_it_is_resumed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "show", str(folder))
    assert (code, out.split()[0]) == (0, "2-D")
    code, out, _ = said(capsys, "status", str(folder), "--json")
    facts = json.loads(out)
    assert facts["algorithms"] == {"ma-es": 2, "scipy-bfgs": 2, "random": 2}
    assert (facts["state"], facts["problems"], facts["runs"]) == ("stopped", 2, 6)
    _, out, _ = said(capsys, "list", "runs", "--in", str(folder.parent), "--json")
    (row,) = json.loads(out)["runs"]
    assert (row["problem"], row["algorithm"]) == ("bbob, 2 problems", "3 algorithms")
    code, _, err = said(capsys, "resume", str(folder))
    assert code == 2
    assert "evoopt bench compare" in err


def test_all_that_can_be_compared_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "bench", "list", "--json")
    names = [row["name"] for row in json.loads(out)["algorithms"]]
    assert code == 0
    assert len(names) == len(set(names))
    assert {"auto", "cma-es", *PEERS} <= set(names)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("compare --out {out}", "--algorithms or --peers"),
        ("compare --algorithms cmaes-es --out {out}", "'cmaes-es'"),
        ("compare --algorithms ma-es --suite bob --out {out}", "did you mean 'bbob'"),
        ("compare --algorithms ma-es --dim 7 --out {out}", "--dim"),
        ("compare --algorithms ma-es --budget 0 --out {out}", "budget"),
        ("compare --algorithms ma-es --seed -1 --out {out}", "seed"),
        ("compare --algorithms ma-es --workers 0 --out {out}", "--workers"),
        ("compare --algorithms ma-es", "--out"),
        ("report {out}", "manifest.json"),
        ("copmare", "'compare'"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "bench", *words.format(out=tmp_path / "c").split())
    assert code in (2, 4)
    assert named in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1


@pytest.mark.parametrize(
    "words",
    [
        "ecdf --groups",
        "ert",
        "ert --target 1e-1",
        "anytime --dim 2",
        "ecdf --dim 2",
        "ert --algorithms ma-es",
    ],
)
def test_every_picture_of_suites_is_drawn_from_the_command_line(
    words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    code, out, _ = said(capsys, "plot", *words.split(), str(folder), "-o", str(picture))
    assert (code, out.strip()) == (0, str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("ert --groups", "--groups cannot be used with ert"),
        ("anytime --groups", "--groups cannot be used with anytime"),
        ("ecdf --target 1", "--target cannot be used with ecdf"),
        ("ert --target 1,2", "one target for several algorithms; got 1, 2"),
        ("ert --target 0", "must be positive"),
        ("anytime --dim 3", "must be among 2; got 3"),
        ("ecdf --algorithms ma-es,cma", "must be among ma-es, scipy-bfgs, random; got 'cma'"),
    ],
)
def test_options_that_a_picture_does_not_take_are_refused(
    words: str, named: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(tmp_path / "a.png")
    code, _, err = said(capsys, "plot", *words.split(), str(folder), "-o", picture)
    assert code == 2
    assert named in err


def test_single_runs_and_suites_are_not_drawn_together(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "log.jsonl").touch()
    for kind in ("anytime", "ecdf", "ert"):
        code, _, err = said(capsys, "plot", kind, str(folder), str(tmp_path / "one"))
        assert code == 2
        assert str(tmp_path / "one") in err
    code, _, err = said(capsys, "plot", "anytime", "--dim", "2", str(tmp_path / "one"))
    assert (code, "--dim cannot be used" in err) == (2, True)


@pytest.mark.parametrize("name", SUITES)
def test_one_problem_of_every_suite_is_minimized_and_resumed(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = SUITES[name]
    target = f"{name}:f{spec.functions[0]}:d{spec.dimensions[0]}:i1"
    run = tmp_path / "one"
    algorithm = "ma-es" if spec.n_obj == 1 else "random"
    words = ("--budget", "60", "--seed", "1", "--algorithm", algorithm, "--quiet", "--json")
    code, out, _ = said(capsys, "minimize", target, *words, "--out", str(run))
    first = json.loads(out)
    assert (code, first["evaluations"]) == (0, 60)
    for path in (run / "result.json", run / "trace.json"):
        path.unlink()
    log = (run / "log.jsonl").read_bytes()
    (run / "log.jsonl").write_bytes(log[: len(log) // 2])
    code, out, _ = said(capsys, "resume", str(run), "--quiet", "--json")
    again = json.loads(out)
    assert (code, again["f"], again["x"]) == (0, first["f"], first["x"])

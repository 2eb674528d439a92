"""A suite run: the same files whatever the workers, the order and the interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, StateError
from evoopt.settings import Settings
from evoopt_bench.coco_data import recorded_evaluations
from evoopt_bench.experiment import (
    Progress,
    SuiteResult,
    resume_suite,
    run_suite,
    suite_progress,
)
from evoopt_bench.records import (
    is_suite_run,
    problem_dir,
    read_manifest,
    read_runs,
    read_trace,
)
from evoopt_bench.single import problem_seed, problem_settings, run_problem
from evoopt_bench.suites import SUITES, CocoProblem, ProblemId, select

cocoex = pytest.importorskip("cocoex", reason="needs the extra bench")

SELECTION = select("bbob:f1,5,8:d2,3:i1,2")
SETTINGS = Settings(algorithm="cma-es", restarts="bipop", budget="150D", seed=5)
SCRIPT = """
import sys, time
from pathlib import Path
from evoopt.errors import Interrupted
from evoopt.settings import Settings
from evoopt_bench.experiment import run_suite
from evoopt_bench.suites import select

def progress(event):
    Path("progress").write_text(str(event.done))
    time.sleep(0.2 if event.done > 2 else 0)  # it must not be over before the signal comes

if __name__ == "__main__":
    settings = Settings(algorithm="cma-es", restarts="bipop", budget="150D", seed=5)
    try:
        run_suite(select("bbob:f1,5,8:d2,3:i1,2"), settings, Path("run"), workers=2,
                  progress=progress)
    except Interrupted as error:
        sys.exit(error.exit_code)
"""


def _outcome(out: Path) -> dict[str, bytes]:
    """All files that do not say when, where or how often a run was begun."""
    kept = [out / "manifest.json", out / "table.json", out / "ecdf.svg", *out.rglob("trace.json")]
    kept += [path for path in out.rglob("*dat") if path.is_file()]
    kept += [*out.rglob("*.info"), *out.rglob("result.json")]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def events() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, events: list[Progress]) -> SuiteResult:
    """An undisturbed run with one worker."""
    out = tmp_path_factory.mktemp("plain") / "run"
    return run_suite(SELECTION, SETTINGS, out, workers=1, progress=events.append)


def test_a_run_leaves_data_table_and_picture_and_nothing_half_done(plain: SuiteResult) -> None:
    assert plain.coco_data == plain.out / "coco" / "cma-es-bipop"
    assert plain.picture is not None
    assert plain.picture.read_bytes().startswith(b"<?xml")
    assert json.loads(plain.table_file.read_text())["cells"][0]["function"] == 1
    top = {path.name for path in plain.out.iterdir()}
    assert top == {"manifest.json", "problems", "coco", "table.json", "ecdf.svg"}
    hidden = {path.name for path in plain.out.rglob(".*")}
    assert hidden == {".lock", ".workers"}


def test_progress_is_told_at_the_start_and_after_each_problem(
    plain: SuiteResult, events: list[Progress]
) -> None:
    assert [event.done for event in events] == list(range(13))
    assert events[0] == Progress(0, 12, 0, 0, None)
    longest_first = sorted(SELECTION.problems(), key=lambda problem: -problem.dim)
    assert [event.last for event in events[1:]] == [problem.name for problem in longest_first]
    assert events[-1].solved == plain.solved >= 4  # f5 is solved at once
    assert events[-1].evaluations == plain.evaluations
    assert suite_progress(plain.out) == Progress(12, 12, plain.solved, plain.evaluations, None)


def test_traces_are_the_improvements_of_the_search_that_was_logged(plain: SuiteResult) -> None:
    for problem, run in zip(SELECTION.problems(), plain.runs, strict=True):
        directory = problem_dir(plain.out, problem)
        assert read_trace(directory).f.tolist() == run.f.tolist()
        coco = CocoProblem(problem)
        result = json.loads((directory / "result.json").read_text())
        assert (run.function, run.dim, run.instance) == (
            problem.function,
            problem.dim,
            problem.instance,
        )
        assert run.evaluations == result["evaluations"] <= 150 * problem.dim
        assert recorded_evaluations(directory / "coco") == run.evaluations
        assert run.f_opt == coco.f_opt
        assert (np.diff(run.f) < 0).all()
        assert (np.diff(run.at) > 0).all()
        solved = bool(run.f[-1] <= coco.target)
        assert solved == result["success"] == np.isfinite(run.times()[-1])
        assert solved or run.evaluations == 150 * problem.dim


def test_the_number_of_workers_changes_no_byte(plain: SuiteResult, tmp_path: Path) -> None:
    run_suite(SELECTION, SETTINGS, tmp_path / "run", workers=2)
    assert _outcome(tmp_path / "run") == _outcome(plain.out)


@pytest.mark.parametrize(
    "signum",
    [signal.SIGKILL, signal.SIGTERM, signal.SIGINT],
    ids=["sigkill", "sigterm", "sigint"],
)
def test_an_interrupted_run_resumes_to_the_same_bytes(
    plain: SuiteResult, tmp_path: Path, signum: signal.Signals
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path)
    mark = tmp_path / "progress"
    while process.poll() is None and not (mark.exists() and mark.read_text() not in ("", "0")):
        time.sleep(0.002)
    process.send_signal(signum)
    expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[signum]
    assert process.wait(timeout=60) == expected
    before = suite_progress(tmp_path / "run")
    assert 1 <= before.done < 12
    resumed: list[Progress] = []
    resume_suite(tmp_path / "run", workers=2, progress=resumed.append)
    assert resumed[0].done >= before.done  # what is done is not done again
    assert len(resumed) == 1 + 12 - resumed[0].done
    assert _outcome(tmp_path / "run") == _outcome(plain.out)


@pytest.mark.parametrize("name", [name for name in SUITES if name != "bbob"])
def test_a_run_on_any_suite_resumes_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    spec = SUITES[name]
    first, last = spec.functions[0], spec.functions[-1]
    target = f"{name}:f{first},{last}:d{spec.dimensions[0]}:i1"
    settings = Settings(algorithm="ma-es", restarts="bipop", budget="20D", seed=5)
    if spec.n_obj > 1:
        settings = Settings(algorithm="random", budget="20D", seed=5)
    whole = run_suite(select(target), settings, tmp_path / "whole")
    shutil.copytree(whole.out, tmp_path / "cut")
    for problem in select(target).problems():
        directory = problem_dir(tmp_path / "cut", problem)
        log = (directory / "log.jsonl").read_bytes()
        (directory / "log.jsonl").write_bytes(log[: 2 * len(log) // 3])
        for made in ("trace.json", "result.json"):
            (directory / made).unlink()
        for made in ("coco", "snapshots"):
            shutil.rmtree(directory / made)
    resume_suite(tmp_path / "cut")
    assert _outcome(tmp_path / "cut") == _outcome(whole.out)
    assert {run.evaluations for run in whole.runs} == {20 * spec.dimensions[0]}


@pytest.mark.parametrize("lost", ["trace.json", "coco", "coco/data_f8", "snapshots", "all"])
def test_what_a_log_leads_to_is_made_anew_from_it_without_an_evaluation(
    plain: SuiteResult, tmp_path: Path, lost: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(plain.out, out)
    problem = SELECTION.problems()[4]
    directory = problem_dir(out, problem)
    if lost == "all":
        for name in ("coco", "snapshots"):
            shutil.rmtree(directory / name)
        for name in ("trace.json", "result.json"):
            (directory / name).unlink()
    elif (directory / lost).is_dir():
        shutil.rmtree(directory / lost)
    else:
        (directory / lost).unlink()
    values = _logged_values(directory)
    resume_suite(out)
    assert _outcome(out) == _outcome(plain.out)
    assert _logged_values(directory) == values


def _logged_values(directory: Path) -> list[str]:
    """The lines of the log that hold values of the objective."""
    lines = (directory / "log.jsonl").read_text().splitlines()
    return [line for line in lines if '"t":"gen"' in line or '"t":"eval"' in line]


def test_resuming_a_finished_run_closes_it_again_with_the_same_bytes(
    plain: SuiteResult, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(plain.out, out)
    for name in ("coco", "table.json", "ecdf.svg"):
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    again = resume_suite(out)
    assert _outcome(out) == _outcome(plain.out)
    assert again.table == plain.table


def test_each_problem_has_its_own_seed_which_depends_on_the_run_s_seed() -> None:
    problems = select("bbob", dim="2-40", instance="1-15").problems()
    seeds = {problem_seed(seed, problem) for seed in (1, 2) for problem in problems}
    assert len(seeds) == 2 * len(problems)
    assert problem_seed(1, ProblemId("bbob", 2, 1, 1)) == 3744030773  # old runs resume with it


def test_starts_are_drawn_from_the_start_box_and_the_box_is_no_bound() -> None:
    settings = problem_settings(SETTINGS, ProblemId("bbob", 3, 8, 1), seed=1)
    assert settings.start_lower == [-4.0] * 3
    assert settings.start_upper == [4.0] * 3
    assert settings.sigma0 == 2.0
    assert settings.ignore_bounds
    assert settings.target == CocoProblem(ProblemId("bbob", 3, 8, 1)).target


def test_random_search_draws_from_the_box() -> None:
    settings = problem_settings(Settings(algorithm="random"), ProblemId("bbob", 3, 8, 1), seed=1)
    assert not settings.ignore_bounds


def test_one_problem_runs_by_itself_and_a_second_call_gives_the_same(tmp_path: Path) -> None:
    problem = ProblemId("bbob", 2, 5, 1)
    settings = problem_settings(SETTINGS, problem, seed=5)
    first, run = run_problem(problem, settings, tmp_path / "one", label="cma-es")
    again, run_again = run_problem(problem, settings, tmp_path / "one", label="cma-es")
    assert (first.f, first.evaluations, first.success) == (
        again.f,
        again.evaluations,
        again.success,
    )
    assert run.at.tolist() == run_again.at.tolist()


@pytest.mark.parametrize("log", [None, b"", b'0a1b2c3d {"t":"hea'], ids=["none", "empty", "torn"])
def test_a_problem_killed_before_its_first_record_begins_again(
    plain: SuiteResult, tmp_path: Path, log: bytes | None
) -> None:
    problem = SELECTION.problems()[2]
    shutil.copytree(problem_dir(plain.out, problem), tmp_path / "one")
    for path in (tmp_path / "one").iterdir():
        if path.name != "manifest.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if log is not None:
        (tmp_path / "one" / "log.jsonl").write_bytes(log)
    settings = problem_settings(SETTINGS, problem, seed=5)
    _, run = run_problem(problem, settings, tmp_path / "one", label="cma-es")
    assert run.f.tolist() == plain.runs[2].f.tolist()


def test_a_folder_that_holds_a_run_is_refused_with_the_way_out(plain: SuiteResult) -> None:
    with pytest.raises(StateError, match="evoopt resume"):
        run_suite(SELECTION, SETTINGS, plain.out)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(algorithm="cma"), "cma"),
        (Settings(budget="many"), "budget"),
        (Settings(budget=0), "budget"),
        (Settings(x0=[1.0, 2.0]), "x0"),
        (Settings(seed=-1), "seed"),
        (Settings(maximize=True), "maximize"),
        (Settings(engine="pool"), "engine"),
        (Settings(warm_start=([[0.0, 0.0]], [1.0])), "warm_start"),
        (Settings(restarts="sometimes"), "restarts"),
    ],
)
def test_what_cannot_be_run_is_refused_before_a_folder_is_made(
    tmp_path: Path, settings: Settings, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        run_suite(SELECTION, settings, tmp_path / "run")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="workers"):
        run_suite(SELECTION, SETTINGS, tmp_path / "run", workers=0)
    assert list(tmp_path.iterdir()) == []


def test_only_a_suite_run_is_taken_for_one(plain: SuiteResult, tmp_path: Path) -> None:
    assert is_suite_run(plain.out)
    assert not is_suite_run(problem_dir(plain.out, SELECTION.problems()[0]))
    assert not is_suite_run(tmp_path)
    with pytest.raises(StateError, match="manifest"):
        resume_suite(tmp_path)
    assert read_manifest(plain.out) == plain.manifest
    assert len(read_runs(plain.out)) == 12


def test_a_seed_that_was_not_given_is_drawn_and_kept(tmp_path: Path) -> None:
    seeds = set()
    for name in ("a", "b"):
        settings = Settings(algorithm="random", budget=3)
        out = tmp_path / name
        run_suite(select("bbob:f1:d2:i1"), settings, out)
        seeds.add(read_manifest(out).seed)
    assert len(seeds) == 2


def test_a_suite_run_writes_only_into_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run_suite(
        select("bbob:f1:d2:i1"), Settings(algorithm="random", budget=9, seed=1), tmp_path / "o"
    )
    assert os.listdir(elsewhere) == []
    assert capfd.readouterr() == ("", "")

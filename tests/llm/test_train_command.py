"""`evoopt-train`: what it prints, and the exit code of each way to end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training import curve, tables

from evoopt_llm import train as command
from evoopt_llm import trial
from evoopt_llm.accounts import Progress
from evoopt_llm.shown import facts
from evoopt_llm.train import main


@pytest.fixture
def config(tmp_path: Path, tiny_cache: str) -> str:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tables(tiny_cache)))
    return str(path)


def refused(words: list[str], capsys: pytest.CaptureFixture[str], code: int) -> str:
    """What it says on stderr, which is one line."""
    assert main(words) == code
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert out == ""
    assert len(said) == 1
    return said[0]


def test_a_run_ends_with_its_result_on_stdout_and_nothing_else(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([config, "--out", str(tmp_path / "run"), "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == json.loads((tmp_path / "run" / "result.json").read_text())
    assert main([config, "--out", str(tmp_path / "again")]) == 0
    assert "status       ok: all 12 steps done" in capsys.readouterr().out


def test_a_second_run_into_the_folder_is_refused_and_resume_goes_on(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert main([config, "--out", out, "-q"]) == 0
    before = curve(tmp_path / "run")
    capsys.readouterr()
    assert "go on with --resume" in refused([config, "--out", out, "-q"], capsys, 2)
    assert main(["--out", out, "--resume", "-q"]) == 0
    assert curve(tmp_path / "run") == before


def interrupted(config: str, out: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a run that gets SIGTERM after a step."""
    train = trial.train

    def trained(*args, watch, **more):
        def watched(progress):
            if progress.step == step:
                os.kill(os.getpid(), signal.SIGTERM)

        return train(*args, watch=watched, **more)

    with monkeypatch.context() as patch:
        patch.setattr(trial, "train", trained)
        return main([config, "--out", str(out), "-q", "--set", "run.checkpoint_every=3"])


def test_sigterm_returns_143_and_resume_needs_no_config(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interrupted(config, tmp_path / "run", 7, monkeypatch) == 143
    assert main(["--out", str(tmp_path / "run"), "--resume", "-q"]) == 0
    assert main([config, "--out", str(tmp_path / "whole"), "-q"]) == 0
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


def test_a_damaged_checkpoint_is_passed_over_only_if_that_is_said(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    interrupted(config, run, 7, monkeypatch)
    capsys.readouterr()
    last = sorted((run / "checkpoints").glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-1])
    before = curve(run)
    assert "--previous" in refused(["--out", str(run), "--resume"], capsys, 4)
    assert curve(run) == before
    assert main(["--out", str(run), "--resume", "--previous", "-q"]) == 0
    assert main([config, "--out", str(tmp_path / "whole"), "-q"]) == 0
    assert curve(run) == curve(tmp_path / "whole")


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main([config, "--out", str(run), "-q"])
    capsys.readouterr()
    before = curve(run)
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    other = [config, "--out", str(run), "--resume", "-q", "--set", "run.batch=8"]
    assert "is of another config: run.batch 4; 8" in refused(other, capsys, 4)
    assert main(["--out", str(run), "--resume", "-q"]) == 0
    assert curve(run) == before


def test_a_checkpoint_of_another_config_returns_4(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    main([config, "--out", out, "-q"])
    capsys.readouterr()
    words = [config, "--out", out, "--resume", "--set", "optimizer.lr=0.5"]
    assert "is of another config: optimizer.lr 0.001; 0.5" in refused(words, capsys, 4)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ([], 2, "CONFIG must be given"),
        (["nowhere.toml"], 2, "nowhere.toml cannot be read: No such file"),
        (["--resume"], 2, "--resume must come with --out"),
        (["--previous"], 2, "CONFIG must be given"),
        (["a.toml", "--previous"], 2, "--previous must come with --resume"),
        (["a.toml", "--branch", "a: b=1"], 2, "--branch must come with --branch-from"),
        (["--branch-from", "a", "--resume", "--out", "b"], 2, "leave one out"),
        (["--branch-from", "nowhere"], 4, "nowhere is not there"),
        (["--resume", "--out", "nowhere"], 4, "cannot be opened: No such file"),
        (["--branch-from", "a", "--branch", "a: b=1", "--dry-run"], 2, "by --set"),
        (["--keys", "a.toml"], 2, "--keys cannot be used with CONFIG"),
        (["--keys", "--dry-run"], 2, "--keys cannot be used with --dry-run"),
        (["--dry-run", "--resume", "--out", "nowhere"], 4, "cannot be opened: No such file"),
        (["--dry-run", "--branch-from", "nowhere"], 4, "nowhere is not there"),
        (["--resum"], 2, "No such option"),
    ],
)
def test_words_that_cannot_be_used_are_one_line(
    words: list[str], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(words, capsys, code)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("model.dimm=3", "unknown key 'model.dimm' with kind gpt; did you mean 'dim'?"),
        ("data.kind=path", "data: kind path needs path"),
        ("run.valid_windows=99999", "valid_windows(count=...) must be 1 to"),
        ("model.context=150000", "train_windows(context=...) must fit twice"),
    ],
)
def test_a_config_that_cannot_be_used_makes_no_folder(
    word: str, expected: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [config, "--set", word, "--out", str(tmp_path / "run"), "-q"]
    if word.startswith("data"):
        words += ["--set", "data.states=none", "--set", "data.size=none"]
    assert expected in refused(words, capsys, 2)
    assert not (tmp_path / "run").exists()


def test_a_missing_corpus_is_named(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", f"data={{kind = 'path', path = '{tmp_path / 'nowhere'}'}}"]
    words += ["--set", "model.vocabulary=256"]
    said = refused([config, *words, "--out", str(tmp_path / "run"), "-q"], capsys, 2)
    assert "nowhere" in said


def test_branches_begin_at_the_trunk_and_get_folders_of_their_own(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trunk, out = tmp_path / "trunk", tmp_path / "out"
    stable = ["--set", "schedule.kind=constant", "--set", "run.keep_steps=[6]", "-q"]
    assert main([config, "--out", str(trunk), *stable]) == 0
    capsys.readouterr()
    ends = "schedule.kind=wsd schedule.decay_share=0.3"
    words = ["--branch-from", str(trunk / "checkpoints" / "step-00000006.json")]
    words += ["--branch", f"short: run.steps=10 {ends}"]
    words += ["--branch", f"long: run.steps=12 {ends} schedule.tail=cosine"]
    assert main([*words, "--out", str(out), "--json", "-q"]) == 0
    results = json.loads(capsys.readouterr().out)["branches"]
    assert [(r["folder"], r["steps"]) for r in results] == [
        (str(out / "short"), 10),
        (str(out / "long"), 12),
    ]
    assert all(r["branch_of"] == {"folder": str(trunk), "step": 6} for r in results)
    assert [row[1] for row in curve(out / "short")] == [9, 10, 10]


def test_a_dry_run_prints_what_it_would_take_and_makes_nothing(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([config, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == 12 * 4 * 16
    assert main([config, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("parameters", "tokens", "FLOPs", "memory"))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.json"]


def test_a_dry_run_takes_the_config_of_the_run_that_goes_on(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main([config, "--out", run, "-q"]) == 0
    capsys.readouterr()
    for words in (["--resume", "--out", run], ["--branch-from", run, "--set", "run.steps=24"]):
        assert main([*words, "--dry-run", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["steps"] == (24 if "--set" in words else 12)


def test_a_stored_config_of_other_kinds_is_refused_when_the_run_goes_on(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main([config, "--out", str(run), "-q"])
    capsys.readouterr()
    (run / "config.json").write_text('{"run": 3}')
    said = refused(["--out", str(run), "--resume"], capsys, 4)
    assert "config.json holds no config of a run: its model is no table" in said


def test_a_branch_with_half_a_quotation_is_refused(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    main([config, "--out", run, "-q"])
    capsys.readouterr()
    words = ["--branch-from", run, "--branch", "a: run.steps='8", "--out", str(tmp_path / "b")]
    assert "run.steps='8': no closing quotation" in refused(words, capsys, 2)


def test_going_on_with_another_number_of_threads_says_so(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path / "run")
    main([config, "--out", run, "-q"])
    capsys.readouterr()
    assert main(["--out", run, "--resume", "-q"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(trial.machine, "threads", lambda: 4)
    assert main(["--out", run, "--resume", "-q"]) == 0
    monkeypatch.undo()
    capsys.readouterr()
    assert main(["--out", run, "--resume", "-q"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "was written with threads 4; 1 (then; now)" in line


def test_progress_goes_to_stderr_and_names_step_and_loss(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evoopt.observers.progress import Display

    monkeypatch.setattr(Display, "is_due", lambda self, now: True)
    assert main([config, "--out", str(tmp_path / "run"), "--json"]) == 0
    out, err = capsys.readouterr()
    json.loads(out)
    assert "gpt, 12 steps, seed 7" in err
    assert "step 12 of 12, loss 2." in err


def test_a_bar_shows_the_share_of_the_steps_that_is_done() -> None:
    found = dict(facts(Progress(25, 100, 1e4, 2.5, None, 0.2), bar=True))
    assert found["done"] == "█████░░░░░░░░░░░░░░░ 25%"
    assert (found["loss"], found["ETA"]) == ("2.5000 nats", "15 s")
    assert "held out" not in found


def test_a_package_that_is_missing_is_one_line_with_its_extra(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(command.importlib, "import_module", absent)
    said = refused([config], capsys, 5)
    assert "evoopt-train needs the package 'torch'; install it with: pip install '.[llm]'" in said


def test_the_help_page_loads_neither_torch_nor_numpy() -> None:
    code = """
import sys
from evoopt_llm.train import main
assert main(["--help"]) == 0
assert not {"torch", "numpy", "pydantic"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--branch-from" in done.stdout
    assert "Example:" in done.stdout

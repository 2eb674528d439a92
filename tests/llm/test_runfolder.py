"""The folder of a run: one run writes it, and what was damaged in it is one line."""

import json
from pathlib import Path

import pytest

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm import runfolder
from evoopt_llm.runfolder import RunFolder, read_metrics

LINE = {"kind": "train", "step": 3, "tokens": 9, "loss": 1.5, "seconds": 0.1}


def test_of_two_processes_that_make_one_folder_the_first_one_keeps_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "run", runfolder._check_unused
    winners = []

    def looked(path: Path) -> None:
        real(path)
        if not winners:  # the other one comes between the look and what follows it
            winners.append(True)
            winners.append(RunFolder.create(path, {"who": "first"}))

    monkeypatch.setattr(runfolder, "_check_unused", looked)
    with pytest.raises(StateError, match="in use by another process"):
        RunFolder.create(folder, {"who": "second"})
    assert json.loads((folder / "config.json").read_text()) == {"who": "first"}
    winners[1].__exit__()
    with pytest.raises(ConfigurationError, match="exists and is not empty"):
        RunFolder.create(folder, {"who": "third"})
    assert json.loads((folder / "config.json").read_text()) == {"who": "first"}


def test_a_folder_whose_process_was_killed_while_it_was_made_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "config.json.tmp").write_text("{")
    with RunFolder.create(tmp_path, {"a": 1}):
        assert json.loads((tmp_path / "config.json").read_text()) == {"a": 1}


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.json", "mine"])
def test_a_folder_with_anything_in_it_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("kept")
    with pytest.raises(ConfigurationError, match="exists and is not empty"):
        RunFolder.create(tmp_path, {"a": 1})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "kept")]


@pytest.mark.parametrize(
    "change",
    [
        {"step": None},
        {"step": "3"},
        {"step": True},
        {"step": 1.5},
        {"step": -1},
        {"tokens": []},
        {"loss": "x"},
        {"loss": None, "kind": "other"},
        {"kind": 3},
    ],
)
def test_a_report_with_a_value_of_another_kind_is_damaged(change: dict, tmp_path: Path) -> None:
    lines = [LINE, {**LINE, **change}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(StateError, match="line 2 is damaged"):
        read_metrics(tmp_path)
    with pytest.raises(StateError, match="line 2 is damaged"):
        RunFolder.reopen(tmp_path, 3)
    assert (tmp_path / "metrics.jsonl").read_text() == text


@pytest.mark.parametrize("key", ["kind", "step", "tokens", "loss"])
def test_a_report_that_lacks_a_key_is_damaged(key: str, tmp_path: Path) -> None:
    line = {name: value for name, value in LINE.items() if name != key}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(StateError, match="line 1 is damaged"):
        read_metrics(tmp_path)


def test_reports_whose_steps_go_back_are_damaged(tmp_path: Path) -> None:
    lines = (LINE, {**LINE, "step": 2})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(StateError, match="line 2 is damaged"):
        read_metrics(tmp_path)


def test_a_loss_that_is_no_number_comes_back_as_nan(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({**LINE, "loss": None}) + "\n" + "torn")
    (found,) = read_metrics(tmp_path)
    assert found["loss"] != found["loss"]


def test_what_refuses_to_be_opened_again_is_not_left_locked(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    for _ in range(2):
        with pytest.raises(StateError, match="line 1 is damaged"):
            RunFolder.reopen(tmp_path, 0)

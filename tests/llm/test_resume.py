"""Going on: the curve of a run that was not interrupted, or one line that says why not."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from training import curve, tiny

from evoopt.errors import StateError
from evoopt_llm import checkpoint, learner, machine, trial
from evoopt_llm.accounts import Progress
from evoopt_llm.norms import NormTrace
from evoopt_llm.runfolder import read_metrics, read_result
from evoopt_llm.shown import changed
from evoopt_llm.trial import train

NVFP4 = {"kind": "nvfp4", "keep_last": 0}


class Killed(BaseException):
    """What ends a process within a test."""


def killed_at_evaluation(config, folder: Path) -> None:
    """A run that is gone when its held-out loss is to be measured."""

    def gone(self: learner.Learner) -> float:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner.Learner, "valid_loss", gone)
        with pytest.raises(Killed):
            train(config, folder)


def killed_at(step: int):
    """A watch under which the process is gone after a step."""

    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return watch


def resumed(config, folder: Path, *, previous: bool = False, watch=None):
    start = checkpoint.load(checkpoint.find(folder, before_last=previous))
    return train(config, folder, mode="resume", start=start, watch=watch)


@pytest.mark.parametrize("part", [{"switch_at": 0.5}, {"stochastic_inputs": True}])
def test_a_run_killed_at_its_last_evaluation_ends_as_one_that_was_not(
    part: dict, tmp_path: Path, tiny_cache: str
) -> None:
    run = {"eval_every": None, "checkpoint_every": 6, "accumulation": 2}
    config = tiny(tiny_cache, precision={**NVFP4, **part}, run=run)
    whole = train(config, tmp_path / "whole")
    killed_at_evaluation(config, tmp_path / "killed")
    assert checkpoint.find(tmp_path / "killed").stem == "step-00000012"
    assert resumed(config, tmp_path / "killed").valid_loss == whole.valid_loss
    assert [row.get("rounding") for row in read_metrics(tmp_path / "killed")] == [
        row.get("rounding") for row in read_metrics(tmp_path / "whole")
    ]


def stopping_at_the_end(progress: Progress) -> None:
    if progress.step == progress.total:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_at_the_last_step_ends_no_run_that_has_nothing_left_to_do(
    tmp_path: Path, tiny_cache: str
) -> None:
    result = train(tiny(tiny_cache), tmp_path / "run", watch=stopping_at_the_end)
    assert (result.status, result.exit_code) == ("ok", 0)
    assert result.valid_loss is not None


def test_a_signal_at_the_last_step_leaves_the_evaluation_to_the_session_that_goes_on(
    tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, run={"eval_every": None}, precision={**NVFP4, "switch_at": 0.5})
    whole = train(config, tmp_path / "whole")
    first = train(config, tmp_path / "stopped", watch=stopping_at_the_end)
    assert (first.status, first.steps, first.valid_loss) == ("killed", 12, None)
    again = resumed(config, tmp_path / "stopped")
    assert (again.status, again.valid_loss) == ("ok", whole.valid_loss)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")


def test_after_going_on_from_the_checkpoint_before_the_later_one_is_gone(
    tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, run={"checkpoint_every": 4, "report_every": 1})
    train(config, tmp_path / "whole")
    folder = tmp_path / "run"
    train(config, folder)
    with pytest.raises(Killed):
        resumed(config, folder, previous=True, watch=killed_at(10))
    assert [path.stem for path in checkpoint.listed(folder / "checkpoints")] == ["step-00000008"]
    assert resumed(config, folder).status == "ok"
    assert curve(folder) == curve(tmp_path / "whole")  # without a hole


def test_checkpoint_and_result_tell_threads_and_versions_and_a_change_is_said(
    tmp_path: Path, tiny_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = train(tiny(tiny_cache), tmp_path / "run")
    assert result.threads == torch.get_num_threads() == 1
    more = checkpoint.load(checkpoint.find(tmp_path / "run")).more
    assert (more["threads"], more["versions"]) == (1, machine.versions())
    assert changed(more, "it") == []
    old = {**more, "versions": {**more["versions"], "torch": "1.0"}, "threads": 4}
    (line,) = changed(old, "it")
    assert "it was written with torch 1.0; " in line
    assert "threads 4; 1 (then; now)" in line
    assert "up to rounding" in line


def test_a_result_names_the_seed_of_the_order_of_the_data(tmp_path: Path, tiny_cache: str) -> None:
    result = train(tiny(tiny_cache, run={"steps": 1, "data_seed": 77}), tmp_path / "run")
    assert (result.seed, result.data_seed) == (7, 77)


def test_other_norms_under_the_name_of_those_that_were_replayed_are_refused(
    tmp_path: Path, tiny_cache: str
) -> None:
    train(tiny(tiny_cache, run={"norms_every": 4}), tmp_path / "source")
    path = tmp_path / "norms.npz"
    trace = NormTrace.load(tmp_path / "source" / "norms.npz")
    trace.save(path)
    optimizer = {"kind": "adamwn", "replay": str(path), "update_rate": 1.0, "apply": "after"}
    config = tiny(tiny_cache, optimizer=optimizer, run={"checkpoint_every": 4})
    train(config, tmp_path / "run")
    resumed(config, tmp_path / "run")  # the same norms
    NormTrace(trace.names, trace.sizes, trace.steps, 3 * np.asarray(trace.norms)).save(path)
    with pytest.raises(StateError, match="was trained with other norms than are now in"):
        resumed(config, tmp_path / "run")


def test_norms_can_be_recorded_from_a_later_session_on(tmp_path: Path, tiny_cache: str) -> None:
    train(tiny(tiny_cache, run={"checkpoint_every": 5}), tmp_path / "run")
    recording = tiny(tiny_cache, run={"checkpoint_every": 5, "norms_every": 3})
    assert resumed(recording, tmp_path / "run", previous=True).status == "ok"
    assert NormTrace.load(tmp_path / "run" / "norms.npz").steps.tolist() == [12]
    before = [path.stem for path in checkpoint.listed(tmp_path / "run" / "checkpoints")]
    assert before == ["step-00000010", "step-00000012"]


def test_norms_that_were_not_recorded_yet_leave_no_file_that_cannot_be_read(
    tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, run={"checkpoint_every": 4})
    with pytest.raises(Killed):
        train(config, tmp_path / "run", watch=killed_at(5))
    recording = tiny(tiny_cache, run={"checkpoint_every": 2, "norms_every": 9})
    with pytest.raises(Killed):
        resumed(recording, tmp_path / "run", watch=killed_at(7))  # a checkpoint without a record
    assert resumed(recording, tmp_path / "run").status == "ok"
    assert NormTrace.load(tmp_path / "run" / "norms.npz").steps.tolist() == [9, 12]


def test_a_last_checkpoint_that_cannot_be_written_leaves_the_result(
    tmp_path: Path, tiny_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **more: object) -> None:
        raise StateError("it cannot be written")

    monkeypatch.setattr(trial.checkpoints, "save", full)
    with pytest.raises(StateError, match="cannot be written"):
        train(tiny(tiny_cache), tmp_path / "run")
    result = read_result(tmp_path / "run")
    assert result is not None
    assert (result.status, result.steps) == ("ok", 12)
    assert result.valid_loss is not None


@pytest.mark.parametrize("change", [{"accounts": {}}, {"folder": None, "accounts": 3}, {}])
def test_a_checkpoint_that_lacks_what_the_run_counted_is_damaged(
    change: dict, tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache)
    train(config, tmp_path / "run")
    start = checkpoint.load(checkpoint.find(tmp_path / "run"))
    kept = {name: start.more[name] for name in ("corpus_digest", "versions", "replay_digest")}
    start.more.clear()
    start.more.update(kept | change)
    with pytest.raises(StateError, match=r"is damaged: .* --previous"):
        train(config, tmp_path / "run", mode="resume", start=start)


@pytest.mark.parametrize(
    ("switch", "words", "bits"),
    [
        ({}, "nvfp4 emulated", None),
        ({"switch_at": 1.0}, "nvfp4 emulated", None),
        ({"switch_at": 0.5}, "nvfp4 emulated, high precision from 50 %", 32.0),
        (
            {"switch_at": 0.5, "switch": "forward", "rest": "bf16"},
            "nvfp4 emulated, forward in high precision from 50 %",
            16.0,
        ),
    ],
)
def test_a_result_tells_the_precision_that_its_last_evaluation_had(
    switch: dict, words: str, bits: float | None, tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, precision={**NVFP4, **switch}, run={"steps": 4})
    result = train(config, tmp_path / "run")
    assert result.precision == words
    if bits is None:
        assert result.bits_per_weight < 32
        without = tiny(tiny_cache, precision=NVFP4, run={"steps": 4})
        assert result.valid_loss == train(without, tmp_path / "without").valid_loss
    else:
        assert result.bits_per_weight == bits


def test_a_run_that_ends_before_its_switch_was_measured_in_four_bits(
    tmp_path: Path, tiny_cache: str
) -> None:
    run = {"timeout_seconds": 1e-9}
    config = tiny(tiny_cache, precision={**NVFP4, "switch_at": 0.5}, run=run)
    result = train(config, tmp_path / "run")
    assert (result.status, result.steps) == ("timeout", 1)
    assert result.bits_per_weight < 32

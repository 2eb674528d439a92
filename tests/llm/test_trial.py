"""A training run: what it reaches, that it goes on exactly, and each way that it can end."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training import GPT, NEMOTRON, NGPT, curve, tables, tiny

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm import checkpoint, learner
from evoopt_llm.accounts import Progress
from evoopt_llm.machine import NoDevice, versions
from evoopt_llm.markov import Source
from evoopt_llm.runfolder import read_config, read_metrics, read_result
from evoopt_llm.trial import train

MODELS = {"gpt": GPT, "ngpt": NGPT, "nemotron": NEMOTRON}
NVFP4 = {"kind": "nvfp4", "keep_last": 0}
FULL_STATE = {  # of the parts that may forget what they should keep: here each keeps something
    "gpt": {"optimizer": {"kind": "adamwn", "target_ratio": [1.0, 1.2, 0.9]}},
    "ngpt": {},
    "nemotron": {"schedule": {"kind": "sgdr", "t_0": 5}},
    "nvfp4": {"precision": NVFP4},
}


def stopping_at(step: int, signum: int):
    """A watch that sends this process a signal after a step."""

    def watch(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signum)

    return watch


def stopped_then_resumed(config, folder: Path, step: int):
    """The result of a run that got SIGTERM after a step and then went on."""
    first = train(config, folder, watch=stopping_at(step, signal.SIGTERM))
    assert (first.status, first.steps, first.exit_code) == ("killed", step, 143)
    start = checkpoint.load(checkpoint.find(folder))
    return train(config, folder, mode="resume", start=start)


def test_the_loss_falls_towards_the_entropy_rate_of_the_source_and_not_below(
    tmp_path: Path, tiny_cache: str
) -> None:
    run = {"steps": 80, "batch": 8, "report_every": 40, "eval_every": 80, "valid_windows": 64}
    config = tiny(tiny_cache, run=run, optimizer={"kind": "adamw", "lr": 3e-2})
    result = train(config, tmp_path / "run")
    rate = Source(16, config.data.seed).entropy_bits
    assert result.status == "ok"
    assert result.bits_per_byte is not None
    assert rate - 0.05 < result.bits_per_byte < rate + 0.1  # 4 bits is no model at all
    assert result.bits_per_byte == pytest.approx((result.valid_loss or 0) / math.log(2))


@pytest.mark.parametrize("what", FULL_STATE)
def test_a_run_that_was_stopped_and_resumed_has_the_curve_of_one_that_was_not(
    what: str, tmp_path: Path, tiny_cache: str
) -> None:
    parts = {"model": MODELS.get(what, GPT), **FULL_STATE[what]}
    config = tiny(tiny_cache, **parts)
    whole = train(config, tmp_path / "whole")
    resumed = stopped_then_resumed(config, tmp_path / "stopped", 5)  # in the midst of a report
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")
    assert (resumed.valid_loss, resumed.best_valid_loss) == (
        whole.valid_loss,
        whole.best_valid_loss,
    )


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from pathlib import Path
from training import tiny
from evoopt_llm.trial import train

def watch(progress):
    if progress.step == 8:
        os.kill(os.getpid(), signal.SIGKILL)

train(tiny({cache!r}, run={{"checkpoint_every": 5}}), Path({folder!r}), watch=watch)
"""


@pytest.mark.slow
def test_a_process_that_was_killed_loses_nothing_but_the_steps_since_its_checkpoint(
    tmp_path: Path, tiny_cache: str, tiny_corpus: object
) -> None:
    here, folder = str(Path(__file__).parent), tmp_path / "killed"
    code = KILLED.format(here=here, cache=tiny_cache, folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (folder / "result.json").exists()
    assert [row["step"] for row in read_metrics(folder)] == [3, 6, 6]
    config = tiny(tiny_cache, run={"checkpoint_every": 5})
    start = checkpoint.load(checkpoint.find(folder))
    assert start.step == 5
    train(config, folder, mode="resume", start=start)
    train(config, tmp_path / "whole")
    assert curve(folder) == curve(tmp_path / "whole")


def test_a_checkpoint_of_another_config_is_refused_with_what_differs(
    tmp_path: Path, tiny_cache: str
) -> None:
    train(tiny(tiny_cache), tmp_path / "run")
    start = checkpoint.load(checkpoint.find(tmp_path / "run"))
    other = tiny(tiny_cache, optimizer={"kind": "adamw", "lr": 0.5})
    with pytest.raises(StateError, match=r"another config: optimizer\.lr 0\.001; 0\.5"):
        train(other, tmp_path / "run", mode="resume", start=start)


def test_what_does_not_decide_the_curve_may_differ_between_sessions(
    tmp_path: Path, tiny_cache: str
) -> None:
    train(tiny(tiny_cache), tmp_path / "run", watch=stopping_at(4, signal.SIGINT))
    start = checkpoint.load(checkpoint.find(tmp_path / "run"))
    other = tiny(tiny_cache, run={"timeout_seconds": 100.0, "checkpoint_every": 2})
    assert train(other, tmp_path / "run", mode="resume", start=start).status == "ok"


def test_a_changed_corpus_is_refused(tmp_path: Path, tiny_cache: str) -> None:
    text = tmp_path / "text"
    text.write_bytes(bytes(range(16)) * 500)
    data = {"kind": "path", "path": str(text), "cache": str(tmp_path / "cache")}
    model = {**GPT, "vocabulary": 256}
    config = tiny(tiny_cache, data=data, model=model)
    train(config, tmp_path / "run", watch=stopping_at(4, signal.SIGINT))
    text.write_bytes(bytes(range(16)) * 501)
    start = checkpoint.load(checkpoint.find(tmp_path / "run"))
    with pytest.raises(StateError, match="another state of the corpus"):
        train(config, tmp_path / "run", mode="resume", start=start)


def test_no_run_is_written_over(tmp_path: Path, tiny_cache: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("kept")
    with pytest.raises(ConfigurationError, match="exists and is not empty"):
        train(tiny(tiny_cache), tmp_path / "run")
    assert (tmp_path / "run" / "mine").read_text() == "kept"


def test_two_processes_cannot_write_one_run(tmp_path: Path, tiny_cache: str) -> None:
    config = tiny(tiny_cache)

    def second(progress: Progress) -> None:
        with pytest.raises(StateError, match="in use by another process"):
            train(config, tmp_path / "run", mode="resume")

    assert train(config, tmp_path / "run", watch=second).status == "ok"


def test_a_result_and_its_file_say_the_same(tmp_path: Path, tiny_cache: str) -> None:
    config = tiny(tiny_cache)
    result = train(config, tmp_path / "run")
    assert read_result(tmp_path / "run") == result
    assert read_config(tmp_path / "run") == config.plain()
    assert (result.steps, result.tokens) == (12, 12 * 4 * 16)
    assert (result.precision, result.bits_per_weight) == ("fp32", 32.0)
    assert result.exit_code == 0


def test_a_result_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"status": "ok"}')
    with pytest.raises(StateError, match="is not the result of a training run"):
        read_result(tmp_path)


def test_a_result_in_four_bits_says_that_they_were_emulated(
    tmp_path: Path, tiny_cache: str
) -> None:
    result = train(tiny(tiny_cache, precision=NVFP4, run={"steps": 1}), tmp_path / "run")
    assert "emulated" in result.precision
    assert 4.5 < result.bits_per_weight < 32  # embedding and head stay as they are


def spoiled(monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    """Every training step reports this loss."""
    step = learner.Learner.step

    def stepped(self: learner.Learner, number: int) -> learner.Step:
        return step(self, number)._replace(loss=torch.tensor(loss))

    monkeypatch.setattr(learner.Learner, "step", stepped)


@pytest.mark.parametrize(
    ("loss", "status"), [(math.nan, "nan"), (math.inf, "nan"), (6.0, "diverged")]
)
def test_a_loss_that_is_no_number_or_too_large_ends_the_run_at_its_report(
    loss: float, status: str, tmp_path: Path, tiny_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, loss)  # 2 ln 16 is 5.5
    result = train(tiny(tiny_cache), tmp_path / "run")
    assert (result.status, result.steps, result.exit_code) == (status, 3, 3)
    assert result.valid_loss is None
    assert read_result(tmp_path / "run").status == status
    assert not checkpoint.listed(tmp_path / "run" / "checkpoints")


def test_a_rate_that_is_far_too_large_diverges_by_itself(tmp_path: Path, tiny_cache: str) -> None:
    config = tiny(tiny_cache, optimizer={"kind": "sgd", "lr": 1e4}, run={"steps": 60})
    assert train(config, tmp_path / "run").status in ("diverged", "nan")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_a_status(
    error: Exception, tmp_path: Path, tiny_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: learner.Learner, number: int) -> learner.Step:
        raise error

    monkeypatch.setattr(learner.Learner, "step", step)
    result = train(tiny(tiny_cache), tmp_path / "run")
    assert (result.status, result.exit_code) == ("oom", 3)


def test_an_error_that_is_no_lack_of_memory_is_not_hidden(
    tmp_path: Path, tiny_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: learner.Learner, number: int) -> learner.Step:
        raise RuntimeError("a bug")

    monkeypatch.setattr(learner.Learner, "step", step)
    with pytest.raises(RuntimeError, match="a bug"):
        train(tiny(tiny_cache), tmp_path / "run")


def test_the_clock_ends_a_run_with_its_held_out_loss_and_it_can_go_on(
    tmp_path: Path, tiny_cache: str
) -> None:
    config = tiny(tiny_cache, run={"timeout_seconds": 1e-9})
    result = train(config, tmp_path / "run")
    assert (result.status, result.steps, result.exit_code) == ("timeout", 1, 3)
    assert result.valid_loss is not None
    start = checkpoint.load(checkpoint.find(tmp_path / "run"))
    longer = tiny(tiny_cache)
    assert train(longer, tmp_path / "run", mode="resume", start=start).status == "ok"
    train(longer, tmp_path / "whole")
    losses = [row for row in curve(tmp_path / "run") if row[:2] != ("valid", 1)]
    assert losses == curve(tmp_path / "whole")


def test_interruption_from_the_keyboard_returns_130(tmp_path: Path, tiny_cache: str) -> None:
    result = train(tiny(tiny_cache), tmp_path / "run", watch=stopping_at(2, signal.SIGINT))
    assert (result.status, result.exit_code) == ("killed", 130)


def test_a_run_that_is_done_is_done_again_at_once(tmp_path: Path, tiny_cache: str) -> None:
    first = train(tiny(tiny_cache), tmp_path / "run")
    start = checkpoint.load(checkpoint.find(tmp_path / "run"))
    again = train(tiny(tiny_cache), tmp_path / "run", mode="resume", start=start)
    assert (again.status, again.valid_loss) == ("ok", first.valid_loss)


def test_parts_of_a_batch_add_up_to_it(tmp_path: Path, tiny_cache: str) -> None:
    train(tiny(tiny_cache), tmp_path / "whole")
    train(tiny(tiny_cache, run={"accumulation": 2}), tmp_path / "parts")
    pairs = zip(curve(tmp_path / "whole"), curve(tmp_path / "parts"), strict=True)
    for (_, step, whole), (_, other, parts) in pairs:
        assert step == other
        assert parts == pytest.approx(whole, rel=1e-5)


def test_norms_recorded_in_two_sessions_are_those_of_one_and_can_be_replayed(
    tmp_path: Path, tiny_cache: str
) -> None:
    from evoopt_llm.norms import NormTrace

    run = {"norms_every": 4}
    train(tiny(tiny_cache, run=run), tmp_path / "whole")
    stopped_then_resumed(tiny(tiny_cache, run=run), tmp_path / "stopped", 5)
    source = NormTrace.load(tmp_path / "whole" / "norms.npz")
    again = NormTrace.load(tmp_path / "stopped" / "norms.npz")
    assert source.steps.tolist() == again.steps.tolist() == [0, 4, 8, 12]
    assert (source.norms == again.norms).all()
    path = str(tmp_path / "whole" / "norms.npz")
    decay = {"embedding": 1.0, "head": 1.0, "scalar": 1.0}
    optimizer = {"kind": "adamwn", "replay": path, "update_rate": 1.0, "scheduled_rate": False}
    optimizer |= {"apply": "after", "decay_of": decay}
    train(tiny(tiny_cache, run=run, optimizer=optimizer), tmp_path / "replayed")
    replayed = NormTrace.load(tmp_path / "replayed" / "norms.npz")
    assert abs(replayed.norms / source.norms - 1).max() < 1e-6


def test_the_weights_are_drawn_by_the_seed_and_the_order_by_its_own(
    tmp_path: Path, tiny_cache: str
) -> None:
    runs = {"a": {}, "b": {"data_seed": 8}, "c": {"seed": 8, "data_seed": 7}}
    first = {}
    for name, run in runs.items():
        config = tiny(tiny_cache, run={"steps": 1, "report_every": 1, **run})
        train(config, tmp_path / name)
        first[name] = curve(tmp_path / name)
    assert first["a"][0] != first["b"][0]  # other windows
    assert first["a"][0] != first["c"][0]  # other weights


def test_a_device_that_is_not_there_is_named(
    tmp_path: Path, tiny_cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NoDevice, match="no CUDA device") as caught:
        train(tiny(tiny_cache, run={"device": "cuda"}), tmp_path / "run")
    assert caught.value.exit_code == 5
    assert not (tmp_path / "run").exists()


def test_versions_name_what_decides_a_bit() -> None:
    assert set(versions()) == {"evoopt", "python", "torch"}
    assert tables("here")["data"]["cache"] == "here"

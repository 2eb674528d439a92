"""Norm replay: what is recorded, how it is kept, and that a replay has the very norms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from evoopt.errors import StateError
from evoopt_llm.adamwn import AdamWN
from evoopt_llm.norms import NormRecorder, NormReplay, NormTrace

STEPS = 40


class Two(nn.Module):
    """Two matrices, of which a sequence of gradients is drawn."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(5)
        self.a = nn.Parameter(torch.randn(6, width, generator=draw))
        self.b = nn.Parameter(torch.randn(3, 3, generator=draw))


def gradients(model: Two, step: int) -> None:
    draw = torch.Generator().manual_seed(step)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=draw) + p.detach()


def source(every: int = 1, **options: Any) -> tuple[Two, NormTrace]:
    """A run of AdamW, and its norms."""
    model = Two()
    optimizer = torch.optim.AdamW(model.parameters(), **{"lr": 0.05, "weight_decay": 0.5} | options)
    recorder = NormRecorder(model, every, STEPS)
    recorder.record(0)
    for step in range(STEPS):
        gradients(model, step)
        optimizer.step()
        recorder.record(step + 1)
    return model, recorder.trace


def replayed(trace: NormTrace, steps: int = STEPS, **options: Any) -> tuple[Two, list[list[float]]]:
    """A run of AdamWN along these norms, and the norms that it had."""
    model = Two()
    optimizer = AdamWN(
        model.parameters(), lr=0.05, **{"update_rate": 1.0, "apply": "after"} | options
    )
    replay = NormReplay(trace, model, optimizer, steps)
    found = []
    for step in range(steps):
        gradients(model, step)
        replay.set(step)
        optimizer.step()
        found.append([p.detach().double().norm().item() for p in model.parameters()])
    return model, found


def test_the_norms_of_every_step_are_recorded_and_those_before_the_first() -> None:
    model, trace = source()
    assert trace.names == ("a", "b")
    assert trace.sizes == (24, 9)
    assert trace.steps.tolist() == list(range(STEPS + 1))
    first = [p.detach().double().norm().item() for p in Two().parameters()]
    last = [p.detach().double().norm().item() for p in model.parameters()]
    assert trace.norms[0].tolist() == pytest.approx(first, rel=1e-6)
    assert trace.norms[-1].tolist() == pytest.approx(last, rel=1e-6)


def test_a_replay_has_the_norms_of_its_source_at_every_step_to_1e_6() -> None:
    _, trace = source()
    _, found = replayed(trace)
    assert np.array(found) == pytest.approx(trace.norms[1:], rel=1e-6)


def test_a_replay_before_the_step_starts_each_step_at_the_norms_of_the_source() -> None:
    _, trace = source()
    model = Two()
    optimizer = AdamWN(model.parameters(), lr=0.0, update_rate=1.0, apply="before")
    replay = NormReplay(trace, model, optimizer, STEPS)
    for step in range(STEPS):
        gradients(model, step)
        replay.set(step)
        optimizer.step()  # of lr = 0: the norms are those that the step began with
        found = [p.detach().double().norm().item() for p in model.parameters()]
        assert found == pytest.approx(trace.norms[step].tolist(), rel=1e-6)


def test_the_replay_of_a_run_without_decay_is_that_run() -> None:
    model, trace = source(weight_decay=0.0)
    again, _ = replayed(trace)
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_a_factor_varies_the_norms_that_are_played_back() -> None:
    _, trace = source()
    _, found = replayed(trace, target_ratio=1.25)
    assert np.array(found) == pytest.approx(1.25 * trace.norms[1:], rel=1e-6)


def test_a_replay_of_another_length_is_stretched() -> None:
    _, trace = source()
    _, found = replayed(trace, steps=2 * STEPS)
    assert np.array(found)[1::2] == pytest.approx(trace.norms[1:], rel=1e-6)


def test_norms_between_two_records_lie_on_a_straight_line_and_the_last_step_is_a_record() -> None:
    _, whole = source()
    _, sparse = source(every=16)
    assert sparse.steps.tolist() == [0, 16, 32, 40]
    assert sparse.at(16).tolist() == whole.norms[16].tolist()
    middle = (whole.norms[16] + whole.norms[32]) / 2
    assert sparse.at(24) == pytest.approx(middle, rel=1e-12)
    assert sparse.at(99).tolist() == whole.norms[40].tolist()


def test_a_trace_comes_back_from_its_file(tmp_path: Path) -> None:
    _, trace = source()
    again = NormTrace.load(trace.save(tmp_path / "norms.npz"))
    assert (again.names, again.sizes) == (trace.names, trace.sizes)
    assert np.array_equal(again.steps, trace.steps)
    assert np.array_equal(again.norms, trace.norms)
    assert [file.name for file in tmp_path.iterdir()] == ["norms.npz"]


def test_a_run_that_goes_on_from_an_earlier_step_records_anew_from_there() -> None:
    model, trace = source()
    recorder = NormRecorder(model, 1, STEPS)
    recorder.resume(trace, 25)
    recorder.record(26)
    assert recorder.trace.steps.tolist() == list(range(27))
    assert np.array_equal(recorder.trace.norms[:26], trace.norms[:26])


def test_a_file_that_is_missing_damaged_or_of_something_else_is_refused(tmp_path: Path) -> None:
    _, trace = source()
    path = trace.save(tmp_path / "norms.npz")
    with pytest.raises(StateError, match="is missing: record norms of a run first"):
        NormTrace.load(tmp_path / "no.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StateError, match="is damaged, or holds no norms"):
        NormTrace.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(StateError, match="is damaged, or holds no norms"):
        NormTrace.load(path)
    path.write_text("norms")
    with pytest.raises(StateError, match="is damaged, or holds no norms"):
        NormTrace.load(path)
    for steps in (trace.steps[:-1], trace.steps[::-1]):
        NormTrace(trace.names, trace.sizes, steps, trace.norms).save(path)
        with pytest.raises(StateError, match="its parts do not fit"):
            NormTrace.load(path)


def test_a_trace_of_another_model_is_refused() -> None:
    _, trace = source()
    for model, said in (
        (Two(width=5), "a has 30 numbers and the trace has 24"),
        (nn.Linear(2, 2), "weight has 4 numbers and the trace lacks it"),
    ):
        with pytest.raises(StateError, match=said):
            NormReplay(trace, model, AdamWN(model.parameters()), STEPS)


def test_a_trace_that_cannot_be_written_is_one_line_and_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trace = source()
    with pytest.raises(StateError, match="cannot be written: No such file or directory"):
        trace.save(tmp_path / "nowhere" / "norms.npz")
    path = trace.save(tmp_path / "norms.npz")
    earlier = path.read_bytes()

    def full(*args: Any, **arrays: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StateError, match="cannot be written: No space left on device"):
        trace.save(path)
    assert path.read_bytes() == earlier
    assert [file.name for file in tmp_path.iterdir()] == ["norms.npz"]

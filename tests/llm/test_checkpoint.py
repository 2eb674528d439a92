"""Checkpoints: whole or not there, the last two, and one line about each that cannot be used."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from evoopt.errors import StateError
from evoopt_llm import checkpoint
from evoopt_llm.checkpoint import find, listed, load, restore, save


class Tied(nn.Module):
    """Two names of one matrix, a buffer, and a matrix of its own."""

    def __init__(self, seed: int = 0, dim: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(4, dim, generator=generator))
        self.head = self.embedding
        self.own = nn.Parameter(torch.randn(dim, dim, generator=generator))
        self.register_buffer("count", torch.arange(3))


def trained(seed: int = 0) -> tuple[Tied, torch.optim.Optimizer]:
    """A model after two steps of an optimizer that has a state."""
    model = Tied(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        (model.embedding.square().sum() + model.own.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def saved(folder: Path, step: int, **more: object) -> Path:
    model, optimizer = trained()
    return save(folder, step, model, optimizer, config={"a": 1}, more={"b": 0.1}, **more)


def test_what_is_restored_is_what_was_saved_to_the_bit(tmp_path: Path) -> None:
    path = saved(tmp_path / "c", 7)
    found = load(path)
    assert (found.step, found.config, found.more) == (7, {"a": 1}, {"b": 0.1})
    model, optimizer = trained()
    other = Tied(seed=1)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.3)
    restore(found, other, fresh)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    assert other.head is other.embedding
    want, got = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert want.keys() == got.keys()
    for number, state in want.items():
        assert all(torch.equal(got[number][word], value) for word, value in state.items())
    assert fresh.param_groups[0]["lr"] == 0.3  # rates come from the config


def test_shared_numbers_are_stored_once(tmp_path: Path) -> None:
    found = load(saved(tmp_path / "c", 1))
    assert found.aliases == {"head": "embedding"}
    assert "model.head" not in found.tensors


def test_the_last_two_are_kept_and_those_that_were_asked_for(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        saved(tmp_path / "c", step, forever=(2,))
    names = [f"step-{step:08d}" for step in (2, 4, 5)]
    assert [path.stem for path in listed(tmp_path / "c")] == names
    assert sorted(path.stem for path in (tmp_path / "c").glob("*.safetensors")) == names


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_checkpoint_of_before(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "c", 1)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(StateError, match="cannot be written"):
        saved(tmp_path / "c", 2)
    monkeypatch.undo()
    assert load(find(tmp_path / "c")).step == 1
    assert not list((tmp_path / "c").glob("*.tmp"))


def test_tensors_without_their_json_are_no_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "c", 1)
    saved(tmp_path / "c", 2).unlink()  # the process was killed between the two files
    assert load(find(tmp_path / "c")).step == 1


def flipped(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_single_bit_is_noticed_and_the_way_out_named(place: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "c", 1)
    flipped(path.with_suffix(".safetensors"), place)
    with pytest.raises(StateError, match=r"damaged: its SHA-256 .* --previous") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_and_one_that_is_missing_are_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "c", 1)
    tensors = path.with_suffix(".safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-10])
    with pytest.raises(StateError, match="damaged"):
        load(path)
    tensors.unlink()
    with pytest.raises(StateError, match="cannot be read: No such file"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"format_version": 99}'])
def test_a_json_that_is_none_of_ours_is_refused_in_a_line(text: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "c", 1)
    path.write_text(text)
    with pytest.raises(StateError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensors_that_are_half_written_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"x" * 1000)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.safetensors.torch, "save_file", full)
    with pytest.raises(StateError, match=r"cannot be written: .* --resume"):
        saved(tmp_path / "c", 2)
    assert list((tmp_path / "c").iterdir()) == []


CHANGES = {
    "another number": lambda plain: plain["more"].update(b=0.2),
    "no step": lambda plain: plain.pop("step"),
    "another step": lambda plain: plain.update(step=3),
    "a step in words": lambda plain: plain.update(step="x"),
    "no config": lambda plain: plain.update(config=3),
    "a list": lambda plain: plain.update(optimizer=[]),
    "no state": lambda plain: plain.update(optimizer={"own": 3}),
    "another alias": lambda plain: plain.update(aliases={"x": "y"}),
}


@pytest.mark.parametrize(
    ("change", "sealed"),
    [(change, False) for change in CHANGES]
    + [(change, True) for change in CHANGES if "another" not in change or "step" in change],
)
def test_a_json_that_was_changed_is_damaged_and_the_way_out_named(
    change: str, sealed: bool, tmp_path: Path
) -> None:
    path = saved(tmp_path / "c", 1)
    plain = json.loads(path.read_text())
    CHANGES[change](plain)
    if sealed:  # as another program would have written it
        plain.pop("self_sha256")
        plain["self_sha256"] = checkpoint._digest(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(StateError, match=r"damaged: .*--previous") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_an_alias_of_a_tensor_that_is_not_there_is_of_another_model(tmp_path: Path) -> None:
    found = load(saved(tmp_path / "c", 1))
    found.aliases["more"] = "nowhere"
    found.aliases["head"] = "nowhere"
    with pytest.raises(StateError, match="another model: head differs"):
        restore(found, Tied(), None)


def test_what_is_of_later_steps_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        saved(tmp_path, step, forever=(1, 2, 3))
    (tmp_path / "step-00000003.safetensors.tmp").touch()
    (tmp_path / "mine").touch()
    checkpoint.drop_after(tmp_path, 1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["mine", "step-00000001.json", "step-00000001.safetensors"]
    checkpoint.drop_after(tmp_path / "nowhere", 1)


def test_checkpoints_of_very_many_steps_are_found_in_their_order(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000):
        saved(tmp_path, step)
    assert find(tmp_path).stem == "step-100000000"
    assert load(find(tmp_path)).step == 100_000_000


def test_a_json_that_lacks_a_part_is_damaged(tmp_path: Path) -> None:
    path = saved(tmp_path / "c", 1)
    plain = json.loads(path.read_text())
    del plain["more"]
    path.write_text(json.dumps(plain))
    with pytest.raises(StateError, match="damaged"):
        load(path)


def test_a_model_of_another_shape_or_other_names_is_refused(tmp_path: Path) -> None:
    found = load(saved(tmp_path / "c", 1))
    with pytest.raises(StateError, match="another model: embedding differs"):
        restore(found, Tied(dim=5), None)
    with pytest.raises(StateError, match="another model"):
        restore(found, nn.Linear(2, 2), None)


def test_a_checkpoint_is_found_by_its_files_its_folder_and_its_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    first, last = (saved(run / "checkpoints", step) for step in (1, 2))
    assert find(run) == find(run / "checkpoints") == find(last) == last
    assert find(last.with_suffix(".safetensors")) == last
    assert find(run, before_last=True) == first


def test_where_there_is_no_checkpoint_a_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="has no checkpoint"):
        find(tmp_path)
    saved(tmp_path, 1)
    with pytest.raises(StateError, match="has no checkpoint before its last"):
        find(tmp_path, before_last=True)
    with pytest.raises(StateError, match="is not there"):
        find(tmp_path / "step-00000009.json")
    with pytest.raises(StateError, match=r"nowhere is not there; it must be a checkpoint or the"):
        find(tmp_path / "nowhere")


def test_state_that_is_no_tensor_comes_back(tmp_path: Path) -> None:
    model, optimizer = trained()
    for number, state in enumerate(optimizer.state.values()):
        state["number"] = 0.5 + number
    found = load(save(tmp_path, 1, model, optimizer, config={}, more={}))
    fresh = torch.optim.AdamW(Tied().parameters(), lr=0.1)
    other = Tied()
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    restore(found, other, fresh)
    assert [state["number"] for state in fresh.state.values()] == [0.5, 1.5]
    assert checkpoint.KEPT == 2

"""Checkpoints: weights and the optimizer's state as safetensors, all else as JSON beside them.

`step-00000400.safetensors` holds the tensors, `step-00000400.json` the step, the config and the
SHA-256 of the tensors and of itself. The tensors are written first and each file appears by a
rename, so that a checkpoint whose JSON is there is whole, whenever the process was killed; a disk
that loses bytes later shows in the SHA-256. There are no random states in it: what is drawn depends
on the seed and the step alone. The two last ones are kept, and those that were asked to be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn
from torch.optim import Optimizer

from evoopt.checks import shown
from evoopt.errors import StateError
from evoopt.rundir.files import (
    JSON_LIMIT,
    from_json,
    read_file,
    sync_folder,
    to_json,
    write_atomic,
)
from evoopt_llm import modelstate
from evoopt_llm.modelstate import Plain

FORMAT_VERSION = 2
KEPT = 2  # the last ones; the one before the last is the way out of a damaged last one
_NAME = re.compile(r"step-(\d{8,19})\.json")
_ANY = re.compile(r"step-(\d{8,19})\.(json|safetensors)(\.tmp)?")  # what a killed process leaves
_TYPES = {"step": int, "config": dict, "more": dict, "optimizer": dict, "aliases": dict}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes:
        path: of its JSON file.
        step: steps done.
        config: of the run that wrote it, as JSON values.
        more: what the trainer keeps beside the tensors, as JSON values.
        tensors: "model.<name>" and "optimizer.<parameter>.<name>".
        plain_state: the optimizer's state that is no tensor, by parameter.
        aliases: names of the model's tensors that share their numbers with another.
    """

    path: Path
    step: int
    config: dict[str, Any]
    more: dict[str, Any]
    tensors: dict[str, Tensor]
    plain_state: Plain
    aliases: dict[str, str]

    @contextlib.contextmanager
    def reading(self) -> Iterator[dict[str, Any]]:
        """Gives `more`.

        Raises:
            StateError: something was not found in it, or was of another kind.
        """
        try:
            yield self.more
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(self.path, repr(error)) from error


def save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    config: Mapping[str, Any],
    more: Mapping[str, Any],
    forever: Collection[int] = (),
) -> Path:
    """Write a checkpoint, and remove those before the last two.

    Args:
        folder: of the run's checkpoints; made if it is not there.
        step: steps done.
        model, optimizer: whose state it is.
        config: of the run, as JSON values.
        more: what else is to come back, as JSON values.
        forever: steps whose checkpoints are not removed.

    Returns: the path of its JSON file.

    Raises:
        StateError: the file system refused; the checkpoints of before are still there.
    """
    path = folder / f"step-{step:08d}.json"
    tensors, aliases = modelstate.model_tensors(model)
    states, plain_state = modelstate.optimizer_tensors(model, optimizer)
    tensors |= states
    try:
        folder.mkdir(exist_ok=True)
        digest = _write_tensors(path.with_suffix(".safetensors"), tensors)
    except (OSError, safetensors.SafetensorError) as error:
        raise StateError(
            f"{path} cannot be written: {error}; free some space, then go on with --resume"
        ) from error
    written: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "sha256": digest,
        "config": config,
        "more": more,
        "optimizer": plain_state,
        "aliases": aliases,
    }
    write_atomic(path, to_json(path, {**written, "self_sha256": _digest(written)}))
    for old in listed(folder)[:-KEPT]:
        if _step_of(old) not in forever:
            _remove(old)
    return path


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), key=_step_of)


def drop_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps: those steps will be done again.

    Args:
        folder: of the run's checkpoints.
        step: steps done by the checkpoint that the run goes on from.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []  # of a checkpoint, the JSON first
    for path in found:
        name = _ANY.fullmatch(path.name)
        if name and int(name[1]) > step:
            path.unlink(missing_ok=True)


def find(place: Path, *, before_last: bool = False) -> Path:
    """The checkpoint that a user names: its JSON or tensors, or the last one of a run.

    Args:
        place: a file, a folder of checkpoints, or the folder of a run.
        before_last: of a folder, the one before the last.

    Raises:
        StateError: there is none.
    """
    if place.suffix in (".json", ".safetensors"):
        path = place.with_suffix(".json")
        if not path.is_file():
            raise StateError(f"{path} is not there; a checkpoint is named step-00000400.json")
        return path
    if not place.exists():
        raise StateError(f"{place} is not there; it must be a checkpoint or the folder of a run")
    inside = place / "checkpoints"
    found = listed(inside if inside.is_dir() else place)
    if len(found) < 1 + before_last:
        what = "a checkpoint before its last one" if before_last else "a checkpoint"
        raise StateError(f"{place} has no {what[2:]}: start the run again in another folder")
    return found[-2 if before_last else -1]


def load(path: Path, device: str = "cpu") -> Checkpoint:
    """Read and check a checkpoint. path: of its JSON file; device: where the tensors go.

    Raises:
        StateError: it is missing, damaged, or of another format.
    """
    plain = _checked(path)
    file = path.with_suffix(".safetensors")
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != plain.get("sha256"):
            raise _damaged(file, f"its SHA-256 is not the one in {path.name}")
        tensors = safetensors.torch.load_file(file, device=device)
    except OSError as error:
        raise StateError(
            f"{file} cannot be read: {error.strerror}; go on from the checkpoint before it with "
            f"--previous"
        ) from error
    except safetensors.SafetensorError as error:
        raise _damaged(file, str(error)) from error
    return Checkpoint(
        path=path,
        step=plain["step"],
        config=plain["config"],
        more=plain["more"],
        tensors=tensors,
        plain_state=plain["optimizer"],
        aliases=plain["aliases"],
    )


def _checked(path: Path) -> dict[str, Any]:
    """The JSON half of a checkpoint.

    Raises:
        StateError: as `load`.
    """
    try:
        plain = from_json(path, read_file(path, JSON_LIMIT))
    except StateError as error:
        raise StateError(f"{error}; go on from the checkpoint before it with --previous") from None
    version = plain.get("format_version")
    if version != FORMAT_VERSION:
        raise StateError(
            f"{path} is no checkpoint of format {FORMAT_VERSION}, which this version reads; its "
            f"format is {shown(version)}"
        )
    if plain.pop("self_sha256", None) != _digest(plain):
        raise _damaged(path, "its SHA-256 is not the one in it")
    odd = [name for name, kind in _TYPES.items() if not isinstance(plain.get(name), kind)]
    if odd or not all(isinstance(state, dict) for state in plain["optimizer"].values()):
        raise _damaged(path, f"its {odd[0] if odd else 'optimizer'} is missing or of another kind")
    if plain["step"] != _step_of(path):
        raise _damaged(path, f"it is of step {plain['step']}")
    return plain


def _digest(plain: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values, however they are laid out."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(path: Path, why: str) -> StateError:
    return StateError(
        f"{path} is damaged: {why}; go on from the checkpoint before it with --previous"
    )


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Give a model its weights again, and an optimizer its state.

    Args:
        checkpoint: of a model of the same shape.
        model: that gets the weights.
        optimizer: over this model's parameters; None where the weights are enough.

    Raises:
        StateError: names or shapes differ.
    """
    try:
        modelstate.load_model(model, checkpoint.tensors, checkpoint.aliases)
    except (ValueError, RuntimeError) as error:
        raise StateError(f"{checkpoint.path} is of another model: {error}") from error
    if optimizer is None:
        return
    try:
        modelstate.load_optimizer(model, optimizer, checkpoint.tensors, checkpoint.plain_state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise StateError(f"{checkpoint.path} is of another optimizer: {error}") from error


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """The file, there whole or not at all. Returns: its SHA-256."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        safetensors.torch.save_file(tensors, temporary)
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()  # gone where the name changed
    sync_folder(path.parent)
    return digest


def _step_of(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


def _remove(path: Path) -> None:
    """The JSON first: what is left without it is no checkpoint."""
    for file in (path, path.with_suffix(".safetensors")):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()

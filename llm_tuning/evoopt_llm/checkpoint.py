"""Checkpoints: weights and the optimizer's state as safetensors, all else as JSON beside them.

`step-00000400.safetensors` holds the tensors, `step-00000400.json` the step, the config and the
SHA-256 of the tensors. The tensors are written first and each file appears by a rename, so that a
checkpoint whose JSON is there is whole, whenever the process was killed; a disk that loses bytes
later shows in the SHA-256. There are no random states in it: what is drawn depends on the seed and
the step alone. The two last ones are kept, and those that were asked to be.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn
from torch.optim import Optimizer

from evoopt.errors import StateError
from evoopt.rundir.files import (
    JSON_LIMIT,
    from_json,
    read_file,
    sync_folder,
    to_json,
    write_atomic,
)

FORMAT_VERSION = 1
KEPT = 2  # the last ones; the one before the last is the way out of a damaged last one
_NAME = re.compile(r"step-(\d{8})\.json")
_MODEL, _OPTIMIZER = "model.", "optimizer."


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
    plain_state: dict[str, dict[str, Any]]
    aliases: dict[str, str]


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
    tensors, aliases = _model_tensors(model)
    states, plain_state = _optimizer_state(model, optimizer)
    tensors |= states
    try:
        folder.mkdir(exist_ok=True)
        digest = _write_tensors(path.with_suffix(".safetensors"), tensors)
    except (OSError, safetensors.SafetensorError) as error:
        raise StateError(f"{path} cannot be written: {error}; free some space") from error
    written = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "sha256": digest,
        "config": config,
        "more": more,
        "optimizer": plain_state,
        "aliases": aliases,
    }
    write_atomic(path, to_json(path, written))
    for old in listed(folder)[:-KEPT]:
        if _step_of(old) not in forever:
            _remove(old)
    return path


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


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
    plain = from_json(path, read_file(path, JSON_LIMIT))
    version = plain.get("format_version")
    if version != FORMAT_VERSION:
        raise StateError(f"{path} has the format {version}; this version reads {FORMAT_VERSION}")
    file = path.with_suffix(".safetensors")
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != plain["sha256"]:
            raise StateError(
                f"{file} is damaged: its SHA-256 is not the one in {path.name}; go on from the "
                f"checkpoint before it with --previous"
            )
        tensors = safetensors.torch.load_file(file, device=device)
        return Checkpoint(
            path=path,
            step=plain["step"],
            config=plain["config"],
            more=plain["more"],
            tensors=tensors,
            plain_state=plain["optimizer"],
            aliases=plain["aliases"],
        )
    except OSError as error:
        raise StateError(
            f"{file} cannot be read: {error.strerror}; go on from the checkpoint before it with "
            f"--previous"
        ) from error
    except (KeyError, safetensors.SafetensorError) as error:
        raise StateError(f"{path} is damaged: {error!r}; try --previous") from error


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Give a model its weights again, and an optimizer its state.

    Args:
        checkpoint: of a model of the same shape.
        model: that gets the weights.
        optimizer: over this model's parameters; None where the weights are enough.

    Raises:
        StateError: names or shapes differ.
    """
    tensors = checkpoint.tensors
    weights = {n[len(_MODEL) :]: t for n, t in tensors.items() if n.startswith(_MODEL)}
    weights |= {name: weights[other] for name, other in checkpoint.aliases.items()}
    own = model.state_dict()
    differing = sorted(own.keys() ^ weights.keys()) or [
        name for name, tensor in own.items() if tensor.shape != weights[name].shape
    ]
    if differing:
        raise StateError(f"{checkpoint.path} is of another model: {differing[0]} differs")
    model.load_state_dict(weights)
    if optimizer is not None:
        _restore_optimizer(checkpoint, model, optimizer)


def _restore_optimizer(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer) -> None:
    """The state of each parameter; the groups' numbers come from the config."""
    found: dict[str, dict[str, Any]] = {n: dict(s) for n, s in checkpoint.plain_state.items()}
    for key, tensor in checkpoint.tensors.items():
        if key.startswith(_OPTIMIZER):
            name, _, word = key[len(_OPTIMIZER) :].rpartition(".")
            found.setdefault(name, {})[word] = tensor
    names = _names(model, optimizer)
    states = {number: found[name] for number, name in enumerate(names) if name in found}
    groups = optimizer.state_dict()["param_groups"]
    try:
        optimizer.load_state_dict({"state": states, "param_groups": groups})
    except (KeyError, ValueError, RuntimeError) as error:
        raise StateError(f"{checkpoint.path} is of another optimizer: {error}") from error


def _model_tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parameters and buffers, each once, and the further names of those that are shared."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and place in first:
            aliases[name] = first[place]
        else:
            first[place] = name
            tensors[_MODEL + name] = tensor.detach().contiguous()
    return tensors, aliases


def _optimizer_state(
    model: nn.Module, optimizer: Optimizer
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Its tensors by name, and what is no tensor by parameter."""
    names = _names(model, optimizer)
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, state in optimizer.state_dict()["state"].items():
        for word, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{names[number]}.{word}"] = value.detach().contiguous()
            elif value is not None:
                plain.setdefault(names[number], {})[word] = value
    return tensors, plain


def _names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Of the optimizer's parameters, in the order of its groups."""
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """The file, there whole or not at all. Returns: its SHA-256."""
    temporary = path.with_name(path.name + ".tmp")
    safetensors.torch.save_file(tensors, temporary)
    with temporary.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
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

"""The state of a model and of its optimizer as tensors with names, which is what files hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

_MODEL, _OPTIMIZER = "model.", "optimizer."

Plain = dict[str, dict[str, Any]]


def model_tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
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


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> tuple[dict[str, Tensor], Plain]:
    """Its tensors by name, and what is no tensor by parameter."""
    names = _names(model, optimizer)
    tensors: dict[str, Tensor] = {}
    plain: Plain = {}
    for number, state in optimizer.state_dict()["state"].items():
        for word, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{names[number]}.{word}"] = value.detach().contiguous()
            elif value is not None:
                plain.setdefault(names[number], {})[word] = value
    return tensors, plain


def load_model(model: nn.Module, tensors: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """The inverse of `model_tensors`.

    Raises:
        ValueError: names or shapes are not those of this model.
    """
    weights = {n[len(_MODEL) :]: t for n, t in tensors.items() if n.startswith(_MODEL)}
    weights |= {name: weights[other] for name, other in aliases.items() if other in weights}
    own = model.state_dict()
    differing = sorted(own.keys() ^ weights.keys()) or [
        name for name, tensor in own.items() if tensor.shape != weights[name].shape
    ]
    if differing:
        raise ValueError(f"{differing[0]} differs")
    model.load_state_dict(weights)


def load_optimizer(
    model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor], plain: Plain
) -> None:
    """The inverse of `optimizer_tensors`; the groups' numbers come from the config.

    Raises:
        KeyError, ValueError, RuntimeError: it is the state of another one.
    """
    found: Plain = {name: dict(state) for name, state in plain.items()}
    for key, tensor in tensors.items():
        if key.startswith(_OPTIMIZER):
            name, _, word = key[len(_OPTIMIZER) :].rpartition(".")
            found.setdefault(name, {})[word] = tensor
    names = _names(model, optimizer)
    states = {number: found[name] for number, name in enumerate(names) if name in found}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Of the optimizer's parameters, in the order of its groups."""
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(p)] for group in optimizer.param_groups for p in group["params"]]

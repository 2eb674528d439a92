"""What a training run would take: parameters, tokens, operations and memory, without training.

All but the activations is counted of a model without numbers, whatever its size. The activations
are not guessed but measured: a single sequence goes forward, and what autograd keeps of it for the
way back is counted. So the estimate holds for every model and precision. What does not fit into the
memory of this machine is not tried: its activations are left out.
Cost: building the model, and a forward pass of one sequence, on the CPU.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evoopt.errors import ConfigurationError
from evoopt_llm import fp4linear, models
from evoopt_llm.config import TrainConfig
from evoopt_llm.models.base import LanguageModel

_FLOAT_BYTES = 4  # weights, gradients and moments are float32
_BUILDING = 8  # times its own size while a table of positions is made, in float64
_SHORT = (
    80  # tokens, above the most predicted ahead: what longer ones keep is at least in proportion
)
_MOMENTS = {"adamw": 2, "adamwn": 2, "sgd": 1}  # numbers that the optimizer keeps of a weight


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of a run.

    Attributes:
        parameters: numbers that are trained. parameters_of: by kind of parameter.
        steps, tokens: of the run.
        token_flops, flops: operations a token, and of the run, as `LanguageModel.flops` counts.
        weight_bytes, gradient_bytes, optimizer_bytes: of a process.
        activation_bytes: kept of a process's part of a batch for the backward pass; None where this
            machine has no room to measure them.
        memory_bytes: all of these; temporary results come on top. None as well.
        bits_per_weight, precision: as in the result of a run.
        rows: sequences that a process has on the way at a time.
    """

    parameters: int
    parameters_of: dict[str, int]
    steps: int
    tokens: int
    token_flops: int
    flops: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int | None
    memory_bytes: int | None
    bits_per_weight: float
    precision: str
    rows: int

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    def table(self) -> list[tuple[str, str]]:
        """Names and texts."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.parameters_of.items())
        return [
            ("parameters", f"{self.parameters} ({kinds})"),
            ("steps", str(self.steps)),
            ("tokens", str(self.tokens)),
            ("tokens a parameter", f"{self.tokens / self.parameters:.3g}"),
            ("FLOPs", f"{self.flops:.3g} ({self.token_flops:.3g} a token)"),
            ("memory", self._memory()),
            ("precision", f"{self.precision}; {self.bits_per_weight:.3g} bits a weight"),
        ]

    def _memory(self) -> str:
        """Whole and parts."""
        fixed = (
            f"weights {_size(self.weight_bytes)}, gradients {_size(self.gradient_bytes)}, "
            f"optimizer {_size(self.optimizer_bytes)}"
        )
        if self.memory_bytes is None or self.activation_bytes is None:
            least = _size(self.weight_bytes + self.gradient_bytes + self.optimizer_bytes)
            return f"above {least}: {fixed}; activations of {self.rows} sequences not measured"
        activations = f"activations {_size(self.activation_bytes)} of {self.rows} sequences"
        return f"{_size(self.memory_bytes)} and temporary results: {fixed}, {activations}"


def estimate(config: TrainConfig, processes: int = 1) -> Estimate:
    """What the run of a config takes.

    Args:
        config: resolved.
        processes: that share each batch.

    Raises:
        ConfigurationError: the batch cannot be dealt to them.
    """
    parts = config.run.accumulation * processes
    if config.run.batch % parts:
        raise ConfigurationError(
            f"run.batch must be a multiple of {parts}, accumulation times processes; "
            f"got {config.run.batch}"
        )
    with torch.device("meta"):  # sizes without numbers
        model = models.build(config.model, config.seed)
    report = fp4linear.convert(model, config.precision, config.seed)
    rows = config.run.batch // parts
    weights = sum(p.numel() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    sequence = _sequence_bytes(config, _FLOAT_BYTES * weights + _BUILDING * buffers)
    activations = None if sequence is None else rows * sequence
    tokens = config.total_steps * config.step_tokens
    token_flops = model.flops(config.model.context)
    fixed = _FLOAT_BYTES * weights
    moments = _MOMENTS[config.optimizer.kind] * fixed
    return Estimate(
        parameters=weights,
        parameters_of=_by_kind(model),
        steps=config.total_steps,
        tokens=tokens,
        token_flops=token_flops,
        flops=token_flops * tokens,
        weight_bytes=fixed + buffers,
        gradient_bytes=fixed,
        optimizer_bytes=moments,
        activation_bytes=activations,
        memory_bytes=None if activations is None else 2 * fixed + buffers + moments + activations,
        bits_per_weight=report.bits_at(1.0),
        precision=report.precision,
        rows=rows,
    )


def _sequence_bytes(config: TrainConfig, model_bytes: int) -> int | None:
    """What autograd keeps of one sequence; None where there is no room to measure it.

    Args:
        config: of the run.
        model_bytes: at most in use while its model is made.
    """
    room = _machine_bytes() // 2 - model_bytes
    if room < model_bytes:  # while weights are drawn, the largest may be there twice
        return None
    context, autocast = config.model.context, config.precision.autocast
    model = models.build(config.model, config.seed)
    fp4linear.convert(model, config.precision, config.seed)
    if context > _SHORT and kept_bytes(model, _SHORT, autocast) * context // _SHORT > room:
        return None
    return kept_bytes(model, context, autocast)


def _machine_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def kept_bytes(model: LanguageModel, context: int, autocast: bool = False) -> int:
    """What autograd keeps of one sequence for the backward pass, the weights left out.

    Args:
        model: on the CPU.
        context: tokens of the sequence.
        autocast: matrix products in bfloat16.
    """
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    windows = torch.zeros(1, context + 1, dtype=torch.long)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model.losses(windows).total  # holds what was kept, so that no address comes twice
    del loss
    return sum(found.values())


def _by_kind(model: LanguageModel) -> dict[str, int]:
    kinds, found = model.kinds(), dict[str, int]()
    named: list[tuple[str, nn.Parameter]] = list(model.named_parameters())
    for name, parameter in named:
        found[kinds[name]] = found.get(kinds[name], 0) + parameter.numel()
    return found


def _size(count: int) -> str:
    """In decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"

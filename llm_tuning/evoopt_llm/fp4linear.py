"""A model's linear layers in emulated four-bit precision, by settings that a search can turn.

When: to find out on any machine what NVFP4 or MXFP4 would cost in loss. When not: for speed; here
four bits are slower than sixteen.
Cost: see `fp4matmul`.

Source: NVIDIA, Pretraining large language models with NVFP4, 2025, arXiv:2509.25149.
Embedding, head, norms and whatever is no linear layer inside of the model stay as they are.
Differences from the source: see `fp4settings`, where the parts of the recipe are.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from evoopt.errors import ConfigurationError
from evoopt_llm.fourbit import BlockPolicy, Statistics
from evoopt_llm.fp4matmul import Clock, Multiplier, Operand, Recipe
from evoopt_llm.fp4settings import (
    AHEAD,
    BF16Settings,
    FP32Settings,
    MXFP4Settings,
    NVFP4Settings,
    PrecisionSettings,
)

# a layer of one of the model's blocks: its dense models, and Nemotron
_BLOCK = re.compile(r"(?:blocks|trunk\.layers)\.(\d+)\b")
_KEPT_BITS = 16  # of a weight that stays in high precision: BF16, as the recipe keeps it
_FP32_BITS = 32
_PRODUCTS = {"off": (), "wgrad": ("wgrad",), "all": ("fprop", "dgrad", "wgrad")}


class FP4Linear(nn.Linear):
    """A linear layer whose products `multiplier` computes, of the weight and bias it is given."""

    def __init__(self, linear: nn.Linear, multiplier: Multiplier) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.multiplier = multiplier
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in). Returns: (..., out)."""
        y = self.multiplier(x, self.weight)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class Report(NamedTuple):
    """What `convert` did.

    Attributes:
        precision: in words; of four bits it says "emulated".
        four_bit: names of the layers that are in four bits. kept: of the others, and why.
        bits_per_weight: mean storage of all parameters as the products read them.
        high_bits: the same in high precision. switch_at: share of the training from which Fprop is
            in high precision; None for never.
    """

    precision: str
    four_bit: tuple[str, ...]
    kept: dict[str, str]
    bits_per_weight: float
    high_bits: float
    switch_at: float | None = None

    def bits_at(self, share_done: float) -> float:
        """`bits_per_weight` of Fprop, and so of an evaluation, at this share of the training."""
        late = self.switch_at is not None and share_done >= self.switch_at
        return self.high_bits if late else self.bits_per_weight


@dataclass(frozen=True, slots=True)
class _Layer:
    """A linear layer of a model, of one matrix or of one for each expert."""

    name: str
    module: nn.Module
    weight: Tensor


def convert(model: nn.Module, settings: PrecisionSettings, seed: int = 0) -> Report:
    """Puts the linear layers of a model into the precision that the settings say, in place.

    Args:
        model: a `LanguageModel`, whose `kinds` tell the matrices inside from embedding and head; of
            any other module all linear layers are taken. Parameters stay the same objects under the
            same names.
        settings: of precision; fp32 and bf16 change nothing.
        seed: of stochastic rounding and of fresh signs.

    Raises:
        ConfigurationError: the settings leave no layer in four bits, or the model is converted
            already.
    """
    if isinstance(settings, FP32Settings | BF16Settings):
        bits = _KEPT_BITS if settings.autocast else _FP32_BITS
        return Report(settings.kind, (), {}, float(bits), float(bits))
    if _multipliers(model):
        raise ConfigurationError("convert(model=...) must be in high precision; it is in four bits")
    layers = list(_linear_layers(model))
    kept = _kept(model, layers, settings)
    chosen = [layer for layer in layers if layer.name not in kept]
    if not chosen:
        raise ConfigurationError(
            f"precision must leave a layer in {settings.kind}; got"
            f" keep_first={settings.keep_first}, keep_last={settings.keep_last},"
            f" keep={settings.keep} for a model of {_blocks(layers)} blocks"
        )
    clock = Clock(seed, settings.switch_share, settings.switch == "all")
    recipe = _recipe(settings)
    for number, layer in enumerate(chosen):
        _install(model, layer, Multiplier(recipe, clock, number))
    names = tuple(layer.name for layer in chosen)
    mean, high = _bits(model, recipe, chosen, settings), _high_bits(settings)
    return Report(settings.words, names, kept, mean, high, settings.switch_share)


def set_step(model: nn.Module, step: int, share_done: float, part: int = 0) -> None:
    """Tells the layers in four bits where the training is; nothing where there are none.

    Args:
        step: number of the step of the optimizer, which names its random numbers.
        share_done: of the training, in [0, 1]: whether it is time to switch.
        part: of the batch, where a step adds up several, in all processes counted.
    """
    clocks = {id(m.clock): m.clock for m in _multipliers(model).values()}
    for clock in clocks.values():
        clock.step, clock.part = step, part
        late = clock.switch_at is not None and share_done >= clock.switch_at
        clock.forward = not late
        clock.backward = not (late and clock.switch_all)


@contextmanager
def recording(model: nn.Module) -> Iterator[None]:
    """Within, forward and backward passes are measured for `diagnostics`, which forgets what was
    measured before. They take about three times as long."""
    multipliers = _multipliers(model).values()
    for multiplier in multipliers:
        multiplier.tallies.clear()
        multiplier.noise.clear()
        multiplier.clock.recording = True
    try:
        yield
    finally:
        for multiplier in multipliers:
            multiplier.clock.recording = False


class Diagnosis(NamedTuple):
    """Of one layer.

    Attributes:
        roles: fprop_input, fprop_weight, dgrad_gradient, dgrad_weight, wgrad_gradient and
            wgrad_input: what rounding did to these operands.
        gradient_to_noise: |dW| / |error of dW|, of dW without its rounding; None without a backward
            pass. Training stalls below about sqrt(3) (B. Chmiel et al., FP4 all the way, 2025,
            arXiv:2505.19115), where each number of dW counts.
    """

    roles: dict[str, Statistics]
    gradient_to_noise: float | None


def diagnostics(model: nn.Module) -> dict[str, Diagnosis]:
    """Of each layer in four bits, by name, what `recording` measured last."""
    return {
        name: Diagnosis(multiplier.statistics(), multiplier.gradient_to_noise())
        for name, multiplier in _multipliers(model).items()
        if multiplier.tallies
    }


def plain(found: dict[str, Diagnosis]) -> dict[str, dict[str, float | None]]:
    """Of each layer, as JSON values: decibels of each role as `fprop_input_db`, and
    `gradient_to_noise`; None for what is not finite."""
    return {name: dict(_plain(diagnosis)) for name, diagnosis in found.items()}


def _plain(diagnosis: Diagnosis) -> Iterator[tuple[str, float | None]]:
    for role, statistics in diagnosis.roles.items():
        yield f"{role}_db", _finite(statistics.sqnr_db)
    yield "gradient_to_noise", _finite(diagnosis.gradient_to_noise)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)


def _linear_layers(model: nn.Module) -> Iterator[_Layer]:
    """In the order of the model."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) or hasattr(module, "multiply"):
            assert isinstance(weight, Tensor)
            yield _Layer(name, module, weight)


def _kept(
    model: nn.Module, layers: list[_Layer], settings: NVFP4Settings | MXFP4Settings
) -> dict[str, str]:
    """Names of the layers that stay in high precision, and why."""
    kinds: dict[str, str] = getattr(model, "kinds", dict)()
    blocks, kept = _blocks(layers), {}
    names = [layer.name for layer in layers]
    for given in settings.keep:
        if given != AHEAD and not any(fnmatch.fnmatchcase(name, given) for name in names):
            raise ConfigurationError(
                "precision.keep must be of patterns that match a layer, such as "
                f"{next(iter(names), 'none')}; got {given!r}"
            )
    for name in names:
        kind = kinds.get(f"{name}.weight", "head" if kinds else "matrix")
        block = _BLOCK.match(name)
        pattern = next((p for p in settings.keep if fnmatch.fnmatchcase(name, p)), None)
        if kind != "matrix":
            kept[name] = f"it is the {kind}"
        elif pattern is not None:
            kept[name] = f"keep has {pattern}"
        elif block and int(block[1]) < settings.keep_first:
            kept[name] = "keep_first"
        elif block and int(block[1]) >= blocks - settings.keep_last:
            kept[name] = "keep_last"
    return kept


def _blocks(layers: list[_Layer]) -> int:
    """Of the model."""
    found = [_BLOCK.match(layer.name) for layer in layers]
    return max((int(block[1]) + 1 for block in found if block), default=0)


def _high_bits(settings: NVFP4Settings | MXFP4Settings) -> float:
    """Of storage a weight outside of the layers in four bits."""
    return float(_KEPT_BITS if settings.autocast else _FP32_BITS)


def _recipe(settings: NVFP4Settings | MXFP4Settings) -> Recipe:
    policy: BlockPolicy = settings.policy
    square = policy.model_copy(update={"two_d": settings.two_d_weights})
    stochastic: dict[Operand, bool] = {
        "input": settings.stochastic_inputs,
        "weight": settings.stochastic_weights,
        "gradient": settings.stochastic_gradients,
    }
    return Recipe(
        policies={"input": policy, "weight": square, "gradient": policy},
        stochastic=frozenset(operand for operand, on in stochastic.items() if on),
        transformed=frozenset(_PRODUCTS[settings.rht]),
        size=settings.rht_size,
        fresh_signs=settings.rht_signs == "fresh",
    )


def _install(model: nn.Module, layer: _Layer, multiplier: Multiplier) -> None:
    """In place of the layer, or of the product of one that has a matrix for each expert."""
    if isinstance(layer.module, nn.Linear):
        owner, _, attribute = layer.name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, FP4Linear(layer.module, multiplier))
    else:
        layer.module.multiply = multiplier  # type: ignore[assignment]  # a plain attribute


def _bits(
    model: nn.Module,
    recipe: Recipe,
    chosen: list[_Layer],
    settings: NVFP4Settings | MXFP4Settings,
) -> float:
    """Mean over all parameters."""
    high = _high_bits(settings)
    total = sum(p.numel() for p in model.parameters())
    four = sum(layer.weight.numel() for layer in chosen)
    return (four * recipe.policies["weight"].bits + (total - four) * high) / total


def _multipliers(model: nn.Module) -> dict[str, Multiplier]:
    """Of the layers in four bits, by name."""
    found = {}
    for name, module in model.named_modules():
        for attribute in ("multiplier", "multiply"):
            value = getattr(module, attribute, None)
            if isinstance(value, Multiplier):
                found[name] = value
    return found

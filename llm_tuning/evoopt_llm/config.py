"""The config of a training run: one table for each part, from TOML or JSON, checked as a whole.

    [model]
    kind = "gpt"
    dim = 64

    [run]
    steps = 400
    batch = 16

What is left out has a default; `evoopt-train --keys` lists all keys. All problems are told at once,
each with its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from evoopt import rng
from evoopt.errors import ConfigurationError, StateError
from evoopt_llm.corpus import DataSettings
from evoopt_llm.fp4settings import PrecisionSettings
from evoopt_llm.models.gpt import GPTSettings
from evoopt_llm.models.nemotron import NemotronSettings
from evoopt_llm.models.ngpt import NGPTSettings
from evoopt_llm.optimizersettings import OptimizerSettings
from evoopt_llm.problems import problems
from evoopt_llm.schedules import Linear, ScheduleSettings, multiplier
from evoopt_llm.settings import Settings
from evoopt_llm.tables import overridden, read_tables

BYTES = 256  # values of a byte, the tokens of every corpus
ModelSettings = Annotated[
    GPTSettings | NGPTSettings | NemotronSettings, Field(discriminator="kind")
]

# of a table that names none
_KINDS = {"model": "gpt", "optimizer": "adamw", "schedule": "linear", "precision": "fp32"}
# of `run`: what does not decide the loss curve, beyond the rounding of another device
_MOST = 2**63 - 1  # of whole numbers: what fits into 64 bits
_INDIFFERENT = ("device", "timeout_seconds", "checkpoint_every", "keep_steps", "norms_every")


class RunSettings(Settings):
    """How long, how much at a time, where, and what is written."""

    steps: int | None = Field(
        default=None, gt=0, le=_MOST, description="of the optimizer; this or tokens"
    )
    tokens: int | None = Field(
        default=None, gt=0, le=_MOST, description="to train on, rounded up to whole steps"
    )
    batch: int = Field(
        default=16, gt=0, le=2**31, description="sequences a step, of all processes together"
    )
    accumulation: int = Field(
        default=1, gt=0, le=2**31, description="parts in which a process computes its share"
    )
    clip: float = Field(default=1.0, ge=0, description="longest gradient; 0 for any length")
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="of weights and of rounding; drawn where it is left out",
    )
    data_seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="of the order of the data; that of the weights"
    )
    report_every: int = Field(
        default=10, gt=0, le=_MOST, description="steps between two training losses"
    )
    eval_every: int | None = Field(
        default=None,
        gt=0,
        le=_MOST,
        description="steps between two held-out losses; at the end alone",
    )
    valid_windows: int = Field(
        default=64, gt=0, le=_MOST, description="held-out sequences, evenly spaced"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: cuda where it is"
    )
    compile: bool = Field(default=False, description="torch.compile of the model")
    checkpoint_every: int | None = Field(
        default=None,
        gt=0,
        le=_MOST,
        description="steps between two checkpoints; at the end alone",
    )
    keep_steps: tuple[int, ...] = Field(
        default=(), description="steps done at which a checkpoint is made and kept, as a trunk's"
    )
    norms_every: int | None = Field(
        default=None,
        gt=0,
        le=_MOST,
        description="steps between two records of the weights' norms; none",
    )
    timeout_seconds: float | None = Field(default=None, gt=0, description="of this session")
    diverged_above: float = Field(
        default=2.0, gt=0, description="a loss that ends the run, in units of ln(vocabulary)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps is None and self.tokens is None:
            raise ValueError("either steps or tokens must be given")
        if self.steps is not None and self.tokens is not None:
            raise ValueError("steps and tokens are both given: leave one out")
        if self.batch % self.accumulation:
            raise ValueError(
                f"batch must be a multiple of accumulation, {self.accumulation}; got {self.batch}"
            )
        return self


class TrainConfig(Settings):
    """All that a training run is."""

    model: ModelSettings = Field(default=GPTSettings(), description="what is trained")
    data: DataSettings = Field(
        default=DataSettings.model_validate({}), description="on which bytes"
    )
    optimizer: OptimizerSettings = Field(description="how weights follow gradients")
    schedule: ScheduleSettings = Field(default=Linear(), description="of the learning rate")
    precision: PrecisionSettings = Field(description="of the matrix products")
    run: RunSettings = Field(description="how long, how much at a time, where")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        found = []
        states = self.data.states if self.data.kind == "markov" else BYTES
        if self.model.vocabulary < states:
            found.append(
                f"model.vocabulary must be at least {states}, the values of a byte of this corpus; "
                f"got {self.model.vocabulary}"
            )
        try:
            for step in (0, self.total_steps - 1):
                multiplier(self.schedule, step, self.total_steps)
        except ConfigurationError as error:
            found.append(str(error))
        beyond = [step for step in self.run.keep_steps if not 0 < step <= self.total_steps]
        if beyond:
            found.append(f"run.keep_steps must be 1 to {self.total_steps}; got {beyond[0]}")
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def step_tokens(self) -> int:
        """Tokens that a step predicts."""
        return self.run.batch * self.model.context

    @property
    def total_steps(self) -> int:
        """Steps of the run."""
        run = self.run
        return run.steps or -(-(run.tokens or 0) // self.step_tokens)

    @property
    def seed(self) -> int:
        """Of a config that is resolved."""
        assert self.run.seed is not None
        return self.run.seed

    @property
    def data_seed(self) -> int:
        """Of the order of the data."""
        return self.seed if self.run.data_seed is None else self.run.data_seed

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the loss curve."""
        text = json.dumps(decisive(self.plain()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """As JSON values; `config_of` gives it back."""
        return self.model_dump(mode="json")

    def resolved(self) -> TrainConfig:
        """With a seed drawn where none was given."""
        if self.run.seed is not None:
            return self
        return self.model_copy(
            update={"run": self.run.model_copy(update={"seed": rng.fresh_seed()})}
        )


def decisive(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what may differ between runs of one loss curve. plain: as JSON values."""
    run = {key: value for key, value in plain["run"].items() if key not in _INDIFFERENT}
    data = {key: value for key, value in plain["data"].items() if key != "cache"}
    return {**plain, "run": run, "data": data}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What decides the loss curve and differs, as texts like optimizer.lr 0.003; 0.001.

    Args:
        there, here: two configs, as JSON values.
    """
    one, other = _flat(decisive(there)), _flat(decisive(here))
    return [
        f"{key} {one.get(key)}; {other.get(key)}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _flat(plain: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """With dotted keys, without tables."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        found |= _flat(value, f"{head}{key}.") if isinstance(value, dict) else {head + key: value}
    return found


def config_of(plain: Mapping[str, Any], place: str) -> TrainConfig:
    """The config that tables stand for.

    Args:
        plain: as a file gives them.
        place: where they come from, for the message.

    Raises:
        ConfigurationError: they do not; with all problems.
    """
    full = {"run": {}, **plain}
    for name, kind in _KINDS.items():
        table = full.setdefault(name, {})
        if isinstance(table, dict):
            full[name] = {"kind": kind, **table}
    try:
        text = json.dumps(full, default=str)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, lists in lists in ...
        raise ConfigurationError(f"{place}: {error}") from None
    try:
        return TrainConfig.model_validate_json(text)  # JSON has lists where Python has tuples
    except ValidationError as error:
        raise ConfigurationError(f"{place}: {'; '.join(problems(error, TrainConfig))}") from None


def check_stored(plain: Mapping[str, Any], place: Path) -> None:
    """Refuses what `TrainConfig.plain` has not written.

    Args:
        plain: as JSON values.
        place: where it stands, for the message.

    Raises:
        StateError: a table or the seed is missing or of another kind.
    """
    odd = [name for name in TrainConfig.model_fields if not isinstance(plain.get(name), dict)]
    if odd:
        raise StateError(f"{place} holds no config of a run: its {odd[0]} is no table")
    if type(plain["run"].get("seed")) is not int:
        raise StateError(f"{place} holds no config of a run: its run.seed is no whole number")


def load(path: Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """The config in a TOML or JSON file.

    Args:
        path: of the file; .json is JSON, all else TOML.
        overrides: texts like optimizer.lr=3e-3, which go before the file.

    Raises:
        ConfigurationError: the file cannot be read, or is no config; with all problems.
    """
    return config_of(overridden(read_tables(path), overrides), str(path))

"""What a training run counts: steps, losses and seconds, and what of them is kept with the weights.

The losses since the last report are kept too, so that a report after a resumption, or the first one
of a branch, is the mean over the same steps as in a run that was not interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from evoopt_llm.config import TrainConfig

Mode = Literal["new", "resume", "branch"]


class Progress(NamedTuple):
    """How far a run is: for whoever watches it.

    Attributes:
        step, total: steps done, and of the run.
        tokens_per_second: of this session.
        train_loss, valid_loss: of the last reports, nats a token; None before.
        step_seconds: a step takes, in this session.
    """

    step: int
    total: int
    tokens_per_second: float
    train_loss: float | None
    valid_loss: float | None
    step_seconds: float


class Accounts:
    """The counts of a run; they change with each step.

    Attributes:
        step, first_step: done, and done before this session.
        losses: () each, of the steps since the last one that was a time to report.
        train_loss, valid_loss, best_valid_loss: of the reports, nats a token; None before.
        reported_at, evaluated_at: the steps that the first two are of; -1 before.
        branch_of: folder and step of the trunk.
    """

    def __init__(self, config: TrainConfig) -> None:
        """Before the first step."""
        self._step_tokens, self._total = config.step_tokens, config.total_steps
        self._every = config.run.report_every
        self.step = self.first_step = 0
        self.losses: list[Tensor] = []
        self.train_loss: float | None = None
        self.valid_loss: float | None = None
        self.best_valid_loss: float | None = None
        self.reported_at = self.evaluated_at = -1
        self.branch_of: dict[str, Any] | None = None
        self._before = 0.0  # seconds of earlier sessions
        self._begin = time.monotonic()
        self._aside = 0.0  # seconds of this session that were no steps

    def stepped(self, loss: Tensor) -> bool:
        """A step is done. loss: (). Returns: whether it is time to report."""
        self.step += 1
        self.losses.append(loss)
        return self.step % self._every == 0 or self.step == self._total

    def reported(self, losses: list[float]) -> float:
        """The mean of the losses since the last report. losses: over all processes."""
        self.train_loss = math.fsum(losses) / len(losses)
        self.reported_at = self.step
        if self.step % self._every == 0:  # else a branch goes on with these
            self.losses.clear()
        return self.train_loss

    def evaluated(self, loss: float) -> None:
        """The held-out loss of the present step."""
        best = self.best_valid_loss
        self.valid_loss, self.evaluated_at = loss, self.step
        self.best_valid_loss = loss if best is None else min(best, loss)

    @property
    def tokens(self) -> int:
        """Trained on, all steps."""
        return self.step * self._step_tokens

    @property
    def seconds(self) -> float:
        """Of this session."""
        return time.monotonic() - self._begin

    @property
    def all_seconds(self) -> float:
        """Of all sessions."""
        return self._before + self.seconds

    @property
    def tokens_per_second(self) -> float:
        """Of the steps of this session."""
        done = (self.step - self.first_step) * self._step_tokens
        return done / max(self.seconds - self._aside, 1e-9)

    @property
    def progress(self) -> Progress:
        rate = self.tokens_per_second
        each = self._step_tokens / max(rate, 1e-9)
        return Progress(self.step, self._total, rate, self.train_loss, self.valid_loss, each)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done within is no step."""
        since = time.monotonic()
        yield
        self._aside += time.monotonic() - since

    def kept(self, losses: list[float]) -> dict[str, Any]:
        """As JSON values. losses: `self.losses`, over all processes."""
        return {
            "losses": losses,
            "train_loss": self.train_loss,
            "valid_loss": self.valid_loss,
            "best_valid_loss": self.best_valid_loss,
            "evaluated_at": self.evaluated_at,
            "seconds": self.all_seconds,
            "branch_of": self.branch_of,
        }

    def restore(
        self, step: int, kept: Mapping[str, Any], mode: Mode, folder: str, device: torch.device
    ) -> None:
        """What `kept` gave, after `step` steps. folder: of the run that it is of, for a branch."""
        self.step = self.first_step = step
        self.losses = [torch.tensor(loss, device=device) for loss in kept["losses"]]
        if mode == "branch":
            self.branch_of = {"folder": folder, "step": step}
            return
        self.train_loss, self.valid_loss = kept["train_loss"], kept["valid_loss"]
        self.best_valid_loss, self.evaluated_at = kept["best_valid_loss"], kept["evaluated_at"]
        self._before, self.branch_of = kept["seconds"], kept["branch_of"]

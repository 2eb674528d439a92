"""A model, its optimizer and its data: one step, one evaluation; what a training run repeats.

A step depends on its number, the config and the weights alone: nothing is drawn from a state that
would have to be kept. The rows of a batch are dealt to the processes in order, and within a process
to the parts of the accumulation, so that two processes, or one with two parts, compute the same
gradient up to rounding.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm import fp4linear, models, optimizers, schedules
from evoopt_llm.batches import train_windows, valid_windows, windows_in_epoch
from evoopt_llm.config import TrainConfig
from evoopt_llm.corpus import Corpus
from evoopt_llm.distributed import Group, LossOf, averaged, without_averaging
from evoopt_llm.norms import NormReplay, NormTrace


def replay_digest(config: TrainConfig) -> str | None:
    """SHA-256 of the recorded norms that the optimizer replays; None without such.

    Raises:
        StateError: the file cannot be read.
    """
    path = getattr(config.optimizer, "replay", None)
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise StateError(f"optimizer.replay {path} cannot be read: {error}") from error


class Step(NamedTuple):
    """What a step of the optimizer came to, on the device.

    Attributes:
        loss: (), mean over this process's rows before the step, nats a token.
        parts: of the loss's other terms, in the last part of the batch.
        gradient_norm: () of the whole gradient before it was clipped.
        lr: learning rate of the optimizer's first group.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    gradient_norm: Tensor
    lr: float


class Learner:
    """What is trained.

    Attributes:
        config: resolved. device: where it computes.
        model: the model; its weights are float32.
        optimizer: over its parameters.
        report: how its matrix products are computed.
    """

    def __init__(
        self, config: TrainConfig, corpus: Corpus, group: Group, device: torch.device
    ) -> None:
        """The model with its weights drawn, before the first step.

        Raises:
            ConfigurationError: the batch cannot be dealt to the processes, or the corpus is too
                short.
        """
        shares = config.run.accumulation * group.size
        if config.run.batch % shares:
            raise ConfigurationError(
                f"run.batch must be a multiple of {shares}, accumulation times processes; "
                f"got {config.run.batch}"
            )
        self.config, self.group, self.device = config, group, device
        self._corpus = corpus
        windows_in_epoch(corpus, config.model.context)  # refuses what is too short before training
        self._valid = valid_windows(corpus, config.model.context, config.run.valid_windows)
        self.model = models.build(config.model, config.seed).to(device)
        self.report = fp4linear.convert(self.model, config.precision, config.seed)
        self.optimizer = optimizers.build(self.model, config.optimizer, config.total_steps)
        self._replay = self._replayed()
        losses: nn.Module = LossOf(self.model)
        if config.run.compile:
            losses = torch.compile(losses)  # type: ignore[assignment]  # a module stays one
        self._losses = averaged(losses, group, device)

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(p.numel() for p in self.model.parameters())

    def share_done(self, step: int) -> float:
        """Of the run: from 0 at its first step to 1 at its last."""
        return step / max(1, self.config.total_steps - 1)

    def step(self, step: int) -> Step:
        """Step number `step`, from 0, of the optimizer."""
        config, done = self.config, self.share_done(step)
        multiplier = schedules.multiplier(config.schedule, step, config.total_steps)
        optimizers.set_step(self.optimizer, config.optimizer, multiplier, done, self._period(step))
        if self._replay is not None:
            self._replay.set(step)
        run, context = config.run, config.model.context
        rows = self._share(train_windows(self._corpus, step, run.batch, context, config.data_seed))
        losses, parts = [], {}
        pieces = np.split(rows, config.run.accumulation)
        for i, piece in enumerate(pieces):
            fp4linear.set_step(self.model, step, done, self.group.rank * len(pieces) + i)
            with without_averaging(self._losses, i + 1 == len(pieces)):
                with self._autocast():
                    main, total_loss, parts = self._losses(self._tokens(piece))
                (total_loss / len(pieces)).backward()
            losses.append(main.detach())
        norm = self._clipped()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.after_step()
        lr = float(self.optimizer.param_groups[0]["lr"])
        return Step(torch.stack(losses).mean(), parts, norm.detach(), lr)

    def _clipped(self) -> Tensor:
        """The length of the whole gradient, which is then cut to what is allowed. Returns: ()."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm: Tensor = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.config.run.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.config.run.clip, norm)
        return norm

    def evaluates_after(self, step: int) -> None:
        """What is measured from now on is of the weights after this step, counted from 0: in its
        precision, and rounded with random numbers that no batch has; whether the step was done in
        this process or in one before it."""
        part = -1 - self.group.rank
        fp4linear.set_step(self.model, step, self.share_done(step), part)

    def bits_after(self, step: int) -> float:
        """Mean storage of a weight, as an evaluation after this step uses it."""
        return self.report.bits_at(self.share_done(step))

    def valid_loss(self) -> float:
        """Mean over the held-out windows of all processes, nats a token."""
        run = self.config.run
        mine = self._valid[self.group.rank :: self.group.size]
        size = run.batch // (run.accumulation * self.group.size)
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.model.eval()
        with torch.no_grad(), self._autocast():
            for start in range(0, len(mine), size):
                piece = mine[start : start + size]
                loss = self.model.losses(self._tokens(piece)).main
                total += torch.stack((loss.double() * len(piece), loss.new_tensor(len(piece))))
        self.model.train()
        loss_sum, rows = self.group.sum(total).tolist()
        return float(loss_sum / rows)

    def _replayed(self) -> NormReplay | None:
        """The recorded norms that are the targets of the optimizer, if it has such."""
        path = getattr(self.config.optimizer, "replay", None)
        if path is None:
            return None
        trace = NormTrace.load(Path(path))
        return NormReplay(trace, self.model, self.optimizer, self.config.total_steps)

    def rounding(self) -> dict[str, dict[str, float | None]]:
        """What four bits lose in each layer, on the first held-out windows, as `fp4linear.plain`;
        empty where there are none. Weights, gradients and what the training draws stay."""
        config = self.config
        if not self.report.four_bit:
            return {}
        rows = max(1, config.run.batch // (config.run.accumulation * self.group.size))
        windows = valid_windows(self._corpus, config.model.context, config.run.valid_windows)
        self.model.eval()
        with fp4linear.recording(self.model):
            with self._autocast():
                loss = self.model.losses(self._tokens(windows[:rows])).total
            # no .backward(): nothing is added to the gradients, no other process waits for them
            torch.autograd.grad(loss, list(self.model.parameters()), allow_unused=True)
        self.model.train()
        return fp4linear.plain(fp4linear.diagnostics(self.model))

    def _period(self, step: int) -> float | None:
        """Steps that normalised decay is counted in: those of the restart period."""
        config = self.config
        if getattr(config.optimizer, "normalised_decay", None) is None:
            return None
        return schedules.period(config.schedule, step, config.total_steps)

    def _share(self, windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rows of this process."""
        share = len(windows) // self.group.size
        return windows[self.group.rank * share : (self.group.rank + 1) * share]

    def _tokens(self, windows: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(windows).to(self.device).long()

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if not self.config.precision.autocast:
            return contextlib.nullcontext()
        context: contextlib.AbstractContextManager[None] = torch.autocast(
            self.device.type, torch.bfloat16
        )
        return context

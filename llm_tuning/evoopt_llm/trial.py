"""One process, one trial: the loop of a training run, its reports, checkpoints and ways to end.

The curve of a run that was killed and resumed is that of a run that was not, to the bit on a CPU:
a step depends on its number, the config and the weights alone. What can end a run is looked at with
each report: losses that are no number or too large, the clock, and a signal; the latter two, in a
single process, at each step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from evoopt.errors import StateError
from evoopt.signals import StopRequest
from evoopt_llm import branches, ends, machine
from evoopt_llm import checkpoint as checkpoints
from evoopt_llm.accounts import Accounts, Mode, Progress
from evoopt_llm.checkpoint import Checkpoint
from evoopt_llm.config import TrainConfig
from evoopt_llm.corpus import Corpus, open_corpus
from evoopt_llm.distributed import Group
from evoopt_llm.ends import End
from evoopt_llm.learner import Learner, Step, replay_digest
from evoopt_llm.norms import NormRecorder, NormTrace
from evoopt_llm.result import Status, TrainResult
from evoopt_llm.runfolder import CHECKPOINTS, NORMS, RunFolder

Watch = Callable[[Progress], None]


def train(
    config: TrainConfig,
    folder: Path,
    *,
    mode: Mode = "new",
    start: Checkpoint | None = None,
    group: Group | None = None,
    watch: Watch | None = None,
) -> TrainResult:
    """Train a model.

    Args:
        config: resolved.
        folder: of the run.
        mode: new: a folder that is not there yet; resume: the run that is in it goes on; branch: a
            new folder, and the steps of another run, the trunk, count as done.
        start: the checkpoint to go on from; None: the first step.
        group: the processes that share each batch; only the first one writes.
        watch: told after each step.

    Returns:
        How it ended; the same in `result.json`.

    Raises:
        ConfigurationError: the folder is that of another run, the corpus is not there, or a branch
            cannot begin at this checkpoint.
        StateError: the checkpoint is of another config or corpus, the folder holds no run, or the
            file system refused; a run whose last checkpoint cannot be written has its result.
        NoDevice: the device is not there.
    """
    group = group or Group()
    step = 0 if start is None else start.step

    def checked() -> Trial:
        corpus, replay = open_corpus(config.data), replay_digest(config)
        branches.check_start(config, folder, mode, start, corpus.digest, replay)
        return Trial(config, folder, corpus, replay, group, watch or (lambda progress: None))

    def opened() -> RunFolder:
        if mode == "resume":
            later = folder / CHECKPOINTS
            return RunFolder.reopen(folder, step, lambda: checkpoints.drop_after(later, step))
        return RunFolder.create(folder, config.plain())

    with StopRequest() as request:
        trial = group.by_all(checked)
        group.check_equal("the config", trial.digests)
        # what cannot be used shows before there is a folder
        end = group.by_all(lambda: trial.prepare(start, mode))
        records = group.by_first(opened)
        with records or contextlib.nullcontext():
            return trial.run(records, end, request)


class Trial:
    """The loop; `prepare` and then `run` go through it once."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        corpus: Corpus,
        replay: str | None,
        group: Group,
        watch: Watch,
    ) -> None:
        """replay: SHA-256 of the norms that are replayed. The others as `train` takes them."""
        self.config, self.folder, self.corpus = config, folder, corpus
        self.replay, self.group, self.watch = replay, group, watch
        self.accounts = Accounts(config)
        self.device = machine.chosen_device(config.run.device, group.local_rank)
        self.learner: Learner | None = None
        self.norms: NormRecorder | None = None
        self.records: RunFolder | None = None

    @property
    def digests(self) -> str:
        """Of what decides the loss curve."""
        found = (self.config.digest, self.corpus.digest, self.replay, machine.versions())
        return " ".join(map(str, found))

    def prepare(self, start: Checkpoint | None, mode: Mode) -> End | None:
        """The model, at its first step or that of the checkpoint.

        Returns: how the run ends, where memory was too small for it.
        """
        machine.forget_peak(self.device)
        accounts = self.accounts
        try:
            with accounts.aside():
                learner = Learner(self.config, self.corpus, self.group, self.device)
                if start is not None:
                    checkpoints.restore(start, learner.model, learner.optimizer)
                    with start.reading() as more:
                        accounts.restore(
                            start.step, more["accounts"], mode, more["folder"], self.device
                        )
                self.learner = learner
        except (RuntimeError, MemoryError) as error:
            return ends.by_error(error)
        if self.config.run.norms_every is not None and self.group.is_first:
            self._record_norms(learner, self.config.run.norms_every, mode == "resume")
        return None

    def _record_norms(self, learner: Learner, every: int, resumed: bool) -> None:
        """Begin to, or go on."""
        self.norms = NormRecorder(learner.model, every, self.config.total_steps)
        there = self.folder / NORMS  # not there where the sessions before recorded none
        if resumed and self.accounts.step and there.exists():
            self.norms.resume(NormTrace.load(there), self.accounts.step)
        else:
            self.norms.record(self.accounts.step)

    def run(self, records: RunFolder | None, end: End | None, request: StopRequest) -> TrainResult:
        """To an end. records: None in all processes but one; end: where it has come already."""
        self.records = records
        refused: StateError | None = None
        try:
            status, reason = end or self._to_the_end(request)
        except (RuntimeError, MemoryError) as error:
            status, reason = ends.by_error(error)
        if self.learner is not None and status in ("ok", "timeout", "killed"):
            try:
                self._save(self.learner)
            except StateError as error:
                refused = error
        result = self._result(status, reason, request.signum if status == "killed" else 0)
        if records is not None:
            records.finish(result)
        if refused is not None:
            raise refused
        return result

    def _to_the_end(self, request: StopRequest) -> End:
        """The steps, and the held-out loss after the last one."""
        assert self.learner is not None
        status, reason = self._loop(self.learner, request)
        accounts = self.accounts
        if status in ("ok", "timeout") and accounts.evaluated_at != accounts.step:
            self._evaluate(self.learner)
            status, reason = ends.no_number(self.config, accounts) or (status, reason)
        return status, reason

    def _loop(self, learner: Learner, request: StopRequest) -> End:
        """Steps until an end."""
        run, total, accounts = self.config.run, self.config.total_steps, self.accounts
        while accounts.step < total:
            taken = learner.step(accounts.step)
            due = accounts.stepped(taken.loss)
            if self.norms is not None:
                self.norms.record(accounts.step)
            if due:
                self._report(taken)
            if run.eval_every is not None and accounts.step % run.eval_every == 0:
                self._evaluate(learner)
            self.watch(accounts.progress)
            looked = due or self.group.size == 1
            end = ends.no_number(self.config, accounts)
            if end is None and looked:
                end = ends.asked(self.config, accounts, request, self.group, self.device)
            if end is not None:
                return end
            every = run.checkpoint_every
            if (every and accounts.step % every == 0) or accounts.step in run.keep_steps:
                self._save(learner)
        return "ok", f"all {total} steps done"

    def _report(self, taken: Step) -> None:
        """The mean loss since the last report, over all processes."""
        loss = self.accounts.reported(self._shared_losses())
        values = {"loss": loss, "lr": taken.lr, "gradient_norm": float(taken.gradient_norm)}
        parts = {name: float(value) for name, value in taken.parts.items()}
        self._record("train", {**values, "parts": parts} if parts else values)

    def _shared_losses(self) -> list[float]:
        """Those since the last report, each the mean over all processes."""
        losses = self.accounts.losses
        if not losses:
            return []
        total: list[float] = self.group.sum(torch.stack(losses).double()).tolist()
        return [loss / self.group.size for loss in total]

    def _evaluate(self, learner: Learner) -> None:
        """The held-out loss of the weights as they are."""
        with self.accounts.aside():
            learner.evaluates_after(self.accounts.step - 1)
            loss = learner.valid_loss()
            self.accounts.evaluated(loss)
            values: dict[str, Any] = {"loss": loss, "bits_per_byte": loss / math.log(2)}
            rounding = learner.rounding()
            self._record("valid", {**values, "rounding": rounding} if rounding else values)

    def _record(self, kind: str, values: dict[str, Any]) -> None:
        if self.records is not None:
            accounts = self.accounts
            head = {"kind": kind, "step": accounts.step, "tokens": accounts.tokens}
            self.records.report({**head, **values, "seconds": round(accounts.all_seconds, 3)})

    def _save(self, learner: Learner) -> None:
        """A checkpoint, by the first process; the others meet it at their next exchange."""
        losses = self._shared_losses()
        if self.records is None:
            return
        with self.accounts.aside():
            self.records.sync()
            if self.norms is not None and len(self.norms.trace.steps):
                self.norms.trace.save(self.folder / NORMS)
            checkpoints.save(
                self.folder / CHECKPOINTS,
                self.accounts.step,
                learner.model,
                learner.optimizer,
                config=self.config.plain(),
                more={
                    "accounts": self.accounts.kept(losses),
                    "folder": str(self.folder),
                    "corpus_digest": self.corpus.digest,
                    "replay_digest": self.replay,
                    "versions": machine.versions(),
                    "threads": machine.threads(),
                },
                forever=self.config.run.keep_steps,
            )

    def _result(self, status: Status, reason: str, signum: int) -> TrainResult:
        """How it ended."""
        config, learner, accounts = self.config, self.learner, self.accounts
        failed = status in ("nan", "diverged", "oom")
        loss = None if failed else accounts.valid_loss
        return TrainResult(
            status=status,
            reason=reason,
            valid_loss=loss,
            bits_per_byte=None if loss is None else loss / math.log(2),
            best_valid_loss=accounts.best_valid_loss,
            train_loss=accounts.train_loss,
            steps=accounts.step,
            total_steps=config.total_steps,
            tokens=accounts.tokens,
            seconds=accounts.all_seconds,
            tokens_per_second=accounts.tokens_per_second,
            peak_memory_bytes=machine.peak_memory_bytes(self.device),
            parameters=0 if learner is None else learner.parameters,
            bits_per_weight=math.nan if learner is None else learner.bits_after(accounts.step - 1),
            precision=config.precision.kind if learner is None else learner.report.precision,
            seed=config.seed,
            data_seed=config.data_seed,
            device=machine.device_name(self.device),
            processes=self.group.size,
            config_digest=config.digest,
            corpus_digest=self.corpus.digest,
            versions=machine.versions(),
            threads=machine.threads(),
            branch_of=accounts.branch_of,
            folder=str(self.folder),
            signum=signum,
        )

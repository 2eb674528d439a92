"""What a training run came to: one record, the same in Python, in `result.json` and on stdout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from evoopt.errors import OBJECTIVE_FAILED, OK, SIGINT_EXIT, SIGTERM_EXIT, StateError

Status = Literal["ok", "nan", "diverged", "oom", "timeout", "killed"]
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a run ended and what it reached.

    Attributes:
        status: ok (all steps done); nan (a loss that is no finite number); diverged (a loss above
            the limit of the config); oom (out of memory); timeout; killed (by a signal).
        reason: the status in a sentence.
        valid_loss: nats a token on the held-out windows, the last one measured, which is that of
            the end after ok and timeout; None where there is none, and after nan, diverged and oom.
        bits_per_byte: the same in bits a byte.
        best_valid_loss: the lowest one measured.
        train_loss: mean over the steps of the last report, nats a token.
        steps, total_steps: done, and asked for.
        tokens: trained on, all steps.
        seconds: of all sessions of the run, evaluation and checkpoints included.
        tokens_per_second: in the steps alone, of this session.
        peak_memory_bytes: of the device (CUDA), or of the process (CPU); of this session.
        parameters: numbers that are trained.
        bits_per_weight: mean storage of a weight as the matrix products use it.
            A model that ends in high precision is measured so, and this is of that precision.
        precision: in words; of a format that is not computed natively it says "emulated".
        seed: of the weights. data_seed: of the order of the data.
        device: where it ran.
        processes: that shared the batch.
        config_digest, corpus_digest: SHA-256 of what decides the loss curve.
        versions: of what computed it. threads: of a process; another number rounds otherwise.
        branch_of: folder and step of the trunk; None of a run from the start.
        folder: of the run.
        signum: of the signal that ended it, or 0.
    """

    status: Status
    reason: str
    valid_loss: float | None
    bits_per_byte: float | None
    best_valid_loss: float | None
    train_loss: float | None
    steps: int
    total_steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    parameters: int
    bits_per_weight: float
    precision: str
    seed: int
    data_seed: int
    device: str
    processes: int
    config_digest: str
    corpus_digest: str
    versions: Mapping[str, str]
    threads: int
    branch_of: Mapping[str, Any] | None
    folder: str
    signum: int = 0

    @property
    def exit_code(self) -> int:
        """What a process returns: 0 after all steps, 143 or 130 after a signal, 3 for the rest."""
        if self.status == "killed":
            return SIGINT_EXIT if self.signum == SIGINT_EXIT - 128 else SIGTERM_EXIT
        return OK if self.status == "ok" else OBJECTIVE_FAILED

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def of(plain: Mapping[str, Any], place: str) -> TrainResult:
        """The inverse of `plain`. place: for the message.

        Raises:
            StateError: it is not the result of a training run of this version.
        """
        names = {field.name for field in dataclasses.fields(TrainResult)}
        if plain.keys() != names or plain["status"] not in STATUSES:
            raise StateError(f"{place} is not the result of a training run of this version")
        return TrainResult(**plain)

"""What ends a training run before its last step: its losses, the clock, a signal, memory."""

from __future__ import annotations

import math

import torch

from evoopt.signals import StopRequest
from evoopt_llm import machine
from evoopt_llm.accounts import Accounts
from evoopt_llm.config import TrainConfig
from evoopt_llm.distributed import Group
from evoopt_llm.result import Status

End = tuple[Status, str]  # and the reason

_LATE, _SIGNAL = 1000, 2000  # what the processes agree on; a signal adds its number


def no_number(config: TrainConfig, accounts: Accounts) -> End | None:
    """Whether a loss of this step ends the run; the same in all processes."""
    limit = config.run.diverged_above * math.log(config.model.vocabulary)
    by = f"by step {accounts.step}"
    if accounts.reported_at == accounts.step and accounts.train_loss is not None:
        loss = accounts.train_loss
        if not math.isfinite(loss):
            return "nan", f"the training loss was {loss} {by}"
        if loss > limit:
            factor = f"{config.run.diverged_above:g} ln(vocabulary)"
            return "diverged", f"the training loss was {loss:.4g} {by}, above {factor}"
    held_out = accounts.valid_loss if accounts.evaluated_at == accounts.step else None
    if held_out is not None and not math.isfinite(held_out):
        return "nan", f"the held-out loss was {held_out} {by}"
    return None


def asked(
    config: TrainConfig,
    accounts: Accounts,
    request: StopRequest,
    group: Group,
    device: torch.device,
) -> End | None:
    """Whether the clock or a signal ends the run; the same in all processes. A run that has nothing
    left to do is not ended."""
    limit, done = config.run.timeout_seconds, accounts.step == config.total_steps
    late = limit is not None and accounts.seconds >= limit
    code = _SIGNAL + request.signum if request.signum else _LATE * late
    code = group.most(code, device)
    if done and accounts.evaluated_at == accounts.step:
        return None
    if code > _SIGNAL:
        request.signum = code - _SIGNAL
        return "killed", f"signal {request.signum} came by step {accounts.step}"
    if code == _LATE and not done:
        return "timeout", f"{limit:g} s had passed by step {accounts.step}"
    return None


def by_error(error: RuntimeError | MemoryError) -> End:
    """By a lack of memory, if that is what the error says; else the error goes on."""
    reason = machine.lack_of_memory(error)
    if not reason:
        raise error
    return "oom", reason

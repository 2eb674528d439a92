"""Several processes that share each batch: `torchrun` starts them, gradients are averaged.

Search tools that let every process draw its own hyperparameters train a mixture of models without
a word. Here the first process reads the config and draws what is to be drawn, the others get it
from there, and each proves by a digest that it resolved the same one.

Source: S. Li et al., PyTorch Distributed, VLDB 2020, arXiv:2006.15704 (the averaging of gradients
is torch's DistributedDataParallel). Differences from the source: none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from evoopt.errors import (
    MISSING_DEPENDENCY,
    STATE,
    ConfigurationError,
    EvooptError,
    MissingDependencyError,
    StateError,
)
from evoopt_llm.models.base import LanguageModel

T = TypeVar("T")

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun's


class Told(EvooptError):
    """An error that the first process tells: the others end with it and say nothing."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a run.

    Attributes:
        rank: number of this one; 0 writes files and speaks.
        size: how many there are.
        local_rank: number of this one on its machine, which is that of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def shared(self, text: str) -> str:
        """The text of the first process."""
        if self.size == 1:
            return text
        box: list[str | None] = [text if self.is_first else None]
        distributed.broadcast_object_list(box, src=0)
        return str(box[0])

    def check_equal(self, what: str, text: str) -> None:
        """Refuses to go on unless the text is the same in all processes.

        Raises:
            StateError: it is not; in every process.
        """
        if self.size == 1:
            return
        texts: list[str | None] = [None] * self.size
        distributed.all_gather_object(texts, hashlib.sha256(text.encode()).hexdigest())
        other = [rank for rank, digest in enumerate(texts) if digest != texts[0]]
        if other:
            self._end(
                f"{what} of process {other[0]} is not that of process 0: all must run the same "
                f"versions on the same files",
                STATE,
            )

    def sum(self, numbers: Tensor) -> Tensor:
        """Over all processes; in place."""
        if self.size > 1:
            distributed.all_reduce(numbers)
        return numbers

    def most(self, number: int, device: torch.device) -> int:
        """The largest one of all processes."""
        if self.size == 1:
            return number
        box = torch.tensor(number, device=device)
        distributed.all_reduce(box, op=distributed.ReduceOp.MAX)
        return int(box)

    def by_first(self, action: Callable[[], T]) -> T | None:
        """What the first process gets from the action; None in the others.

        Raises:
            EvooptError: the action failed; in every process, so that none waits for another.
        """
        if self.size == 1:
            return action()
        found, said = None, ""
        try:
            found = action() if self.is_first else None
        except EvooptError as error:
            said = f"{error.exit_code} {error}"
        self._end_if(self.shared(said))
        return found

    def by_all(self, action: Callable[[], T]) -> T:
        """What this process gets from the action, which all of them do.

        Raises:
            EvooptError: the action failed in one of them; in every process, and the first one tells
                it.
        """
        if self.size == 1:
            return action()
        found, said = [], ""
        try:
            found.append(action())
        except EvooptError as error:
            said = f"{error.exit_code} {error}"
        texts = [""] * self.size
        distributed.all_gather_object(texts, said)
        self._end_if(next((text for text in texts if text), ""))
        return found[0]

    def _end_if(self, said: str) -> None:
        """Raises what one of the processes said, a code and a text; nothing where it is empty."""
        if said:
            code, _, text = said.partition(" ")
            self._end(text, int(code))

    def _end(self, text: str, code: int) -> None:
        """Raises an error: in the first process one that is told."""
        if not self.is_first:
            raise Told(text, code)
        kinds = {STATE: StateError, MISSING_DEPENDENCY: MissingDependencyError}
        raise kinds.get(code, ConfigurationError)(text)


@contextlib.contextmanager
def group() -> Iterator[Group]:
    """The processes that `torchrun` started, or this one alone.

    Raises:
        ConfigurationError: the environment is that of torchrun in part only.
    """
    given = [name for name in _VARIABLES if name in os.environ]
    if "RANK" not in given and "WORLD_SIZE" not in given:
        yield Group()
        return
    if len(given) < len(_VARIABLES):
        missing = next(name for name in _VARIABLES if name not in given)
        raise ConfigurationError(
            f"the environment has {given[0]} but no {missing}: start the processes with torchrun"
        )
    rank, size, local = (int(os.environ[name]) for name in _VARIABLES[:3])
    both = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"  # by the tensors' device
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    distributed.init_process_group(both)
    try:
        yield Group(rank, size, local)
    finally:
        distributed.destroy_process_group()


class LossOf(nn.Module):
    """A model's losses as a `forward`, which is what DistributedDataParallel and torch.compile
    take hold of."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """As `LanguageModel.losses`. windows: (batch, length + 1)."""
        return tuple(self.model.losses(windows))  # type: ignore[return-value]  # of Losses


def averaged(module: nn.Module, group: Group, device: torch.device) -> nn.Module:
    """The module, its gradients averaged over the processes as they come."""
    if group.size == 1:
        return module
    ids = [group.local_rank] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids)


def without_averaging(module: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
    """For all parts of an accumulated gradient but the last."""
    if last or not isinstance(module, DistributedDataParallel):
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[None] = module.no_sync()
    return context

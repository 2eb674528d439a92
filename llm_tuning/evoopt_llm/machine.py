"""The machine that a run is on: its device, its memory, and the versions that decide a bit."""

from __future__ import annotations

import platform
import resource
import sys

import torch

import evoopt
from evoopt.errors import MISSING_DEPENDENCY, EvooptError

_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


class NoDevice(EvooptError):
    """The device that was asked for is not there."""

    exit_code = MISSING_DEPENDENCY


def chosen_device(name: str, local_rank: int) -> torch.device:
    """Where a run computes.

    Args:
        name: auto, cpu or cuda.
        local_rank: of the process on its machine, which is the number of its GPU.

    Raises:
        NoDevice: there is no such device.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise NoDevice("run.device is cuda, and there is no CUDA device; leave it at auto")
    if name == "cpu" or not found:
        return torch.device("cpu")
    return torch.device("cuda", local_rank)


def device_name(device: torch.device) -> str:
    """cpu, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_memory_bytes(device: torch.device) -> int:
    """Of tensors on a GPU since `forget_peak`; else of this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak(device: torch.device) -> None:
    """Of a GPU: its peak is counted from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def lack_of_memory(error: BaseException) -> str:
    """What an error says, in one line, if it is a lack of memory; else nothing."""
    text = " ".join(str(error).split())[:200]
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if known or any(words in text for words in _OUT_OF_MEMORY):
        return f"out of memory: {text}"
    return ""


def threads() -> int:
    """That share an operation of torch on the CPU: another number adds up in another order."""
    return torch.get_num_threads()


def versions() -> dict[str, str]:
    """Of what computes a run."""
    return {
        "evoopt": evoopt.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }

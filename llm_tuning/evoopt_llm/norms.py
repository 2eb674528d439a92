"""Norm replay: the norms of a run's weights, recorded, and played back as targets of another.

The claim to be tried is that any run of AdamW that reaches some norms can be challenged by one of
AdamWN that is steered to the same norms; a factor over the run (`target_ratio` of the optimizer)
then varies them. Rates of 1 after the step (`apply = "after"`) give the very norms.
When: to tell what a decay does through the norm from what it does otherwise; to search norms near
those of a good run. When not: for a model of other shapes.
Cost: a pass over the weights at each record; a trace is 8 bytes a parameter tensor and record.

Source: I. Loshchilov, Weight norm control, arXiv:2311.11446, which states the claim.
Differences from the source: the paper has no such procedure; this one is ours.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from evoopt.errors import StateError
from evoopt_llm.adamwn import norm_of
from evoopt_llm.models.base import LanguageModel

Array = NDArray[np.float64]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class NormTrace:
    """Norms over a run.

    Attributes:
        names: of the parameters, (p,) of them. sizes: (p,) numbers in each.
        steps: (k,) steps that were done, from 0 (the initial weights) on, ascending.
        norms: (k, p) after these.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    steps: NDArray[np.int64]
    norms: Array

    def at(self, step: float) -> Array:
        """Norms (p,) after so many steps: between two records on a straight line, beyond them as
        at the nearest."""
        i = int(np.searchsorted(self.steps, step, "right")) - 1
        if not 0 <= i < len(self.steps) - 1:
            return np.asarray(self.norms[max(i, 0)])
        share = (step - self.steps[i]) / (self.steps[i + 1] - self.steps[i])
        return np.asarray((1 - share) * self.norms[i] + share * self.norms[i + 1])

    def save(self, path: Path) -> Path:
        """Writes an .npz under a temporary name and renames it.

        Raises:
            StateError: the file system refused.
        """
        temporary = path.with_name(f".{path.name}.writing")
        try:
            with temporary.open("wb") as file:
                np.savez(
                    file,
                    version=np.array(_VERSION),
                    names=np.array(self.names),
                    sizes=np.array(self.sizes, np.int64),
                    steps=self.steps,
                    norms=self.norms,
                )
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StateError(f"{path} cannot be written: {error.strerror}") from error
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of `save`.

        Raises:
            StateError: the file is missing, damaged, or of something else.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if int(file["version"]) != _VERSION:
                    raise StateError(
                        f"{path} must hold norms of version {_VERSION}; got {file['version']}"
                    )
                names, sizes = tuple(file["names"].tolist()), tuple(file["sizes"].tolist())
                steps, norms = file["steps"], file["norms"]
        except FileNotFoundError as error:
            raise StateError(f"{path} is missing: record norms of a run first") from error
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise StateError(f"{path} is damaged, or holds no norms: {error}") from error
        whole = norms.shape == (len(steps), len(names)) and len(sizes) == len(names) and len(steps)
        if not whole or not np.isfinite(norms).all() or (np.diff(steps) <= 0).any():
            raise StateError(f"{path} is damaged, or holds no norms: its parts do not fit")
        return cls(names, sizes, steps, norms)


class NormRecorder:
    """Collects the norms of a model while it is trained."""

    def __init__(self, model: LanguageModel, every: int, total: int) -> None:
        """Nothing is recorded yet.

        Args:
            model: whose parameters.
            every: steps between two records. total: steps of the run; the last one is recorded.
        """
        self._named = list(model.named_parameters())
        self._every, self._total = every, total
        self._records: dict[int, list[float]] = {}

    def resume(self, trace: NormTrace, done: int) -> None:
        """Continues the trace of a run that goes on after `done` steps."""
        pairs = zip(trace.steps.tolist(), trace.norms.tolist(), strict=True)
        self._records = {step: norms for step, norms in pairs if step <= done}

    @torch.no_grad()
    def record(self, done: int) -> None:
        """Records the weights as they are after `done` steps, where a record is due."""
        if done % self._every == 0 or done == self._total:
            self._records[done] = torch.stack([norm_of(p) for _, p in self._named]).tolist()

    @property
    def trace(self) -> NormTrace:
        """What was recorded."""
        names = tuple(name for name, _ in self._named)
        sizes = tuple(p.numel() for _, p in self._named)
        steps = np.array(list(self._records), np.int64)
        norms = np.array(list(self._records.values())).reshape(len(steps), len(names))
        return NormTrace(names, sizes, steps, norms)


class NormReplay:
    """Sets recorded norms as the targets of AdamWN."""

    def __init__(
        self, trace: NormTrace, model: LanguageModel, optimizer: Optimizer, total: int
    ) -> None:
        """Finds the parameters of the optimizer in the trace.

        Args:
            trace: of a run of a model of the same shapes.
            model: whose parameters. optimizer: AdamWN of them.
            total: steps of the run; the trace is stretched to it.

        Raises:
            StateError: the trace is of another model.
        """
        place = {name: i for i, name in enumerate(trace.names)}
        found = {}
        for name, p in model.named_parameters():
            if name not in place or trace.sizes[place[name]] != p.numel():
                what = "lacks it" if name not in place else f"has {trace.sizes[place[name]]}"
                raise StateError(
                    f"NormReplay(trace=...) must be of this model: {name} has {p.numel()} numbers "
                    f"and the trace {what}"
                )
            found[p] = place[name]
        self._trace, self._stretch = trace, float(trace.steps[-1]) / total
        self._groups: list[tuple[dict[str, Any], list[int]]] = [
            (group, [found[p] for p in group["params"]]) for group in optimizer.param_groups
        ]

    def set(self, step: int) -> None:
        """Targets of a step, from 0, times the groups' target_ratio: the norms that the run had
        before it, or after it where norms are set after Adam's step."""
        for group, columns in self._groups:
            done = step + (group["apply"] == "after")
            norms = self._trace.at(done * self._stretch)[columns] * group["target_ratio"]
            group["target_norm"] = norms.tolist()

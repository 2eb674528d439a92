"""Where and how rows are evaluated: in this process, or in worker processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import cast

from evoopt.errors import ConfigurationError
from evoopt.evaluators.base import Batch, Evaluator
from evoopt.problem import Problem

__all__ = ["EVALUATORS", "IN_PROCESS", "Batch", "Evaluator", "make_evaluator"]

IN_PROCESS = ("serial", "vectorized")  # no worker processes, hence no time-outs either

# name -> "module:callable" that takes (problem, workers), and by keyword what `OPTIONS` says
EVALUATORS = {
    "serial": "evoopt.evaluators.serial:SerialEvaluator",
    "vectorized": "evoopt.evaluators.serial:vectorized",
    "pool": "evoopt.evaluators.pool:PoolEvaluator",
    "process": "evoopt.evaluators.slots:ProcessEvaluator",
    "ray": "evoopt.evaluators.raypool:ray_pool",
}
OPTIONS = {"process": ("gpus", "folder"), "ray": ("ray_address",)}


def make_evaluator(
    name: str,
    problem: Problem,
    workers: int = 1,
    *,
    gpus: Sequence[str | int] | None = None,
    ray_address: str | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Evaluator:
    """The evaluator of that name in `EVALUATORS`, ready for the rows of `problem`.

    Args:
        name: of the evaluator.
        problem: what is evaluated.
        workers: how many rows at once.
        gpus: what "process" deals out among its slots.
        ray_address: of the cluster that "ray" uses.
        folder: where "process" keeps what its programs print.

    Raises:
        ConfigurationError: an unknown name, or what the evaluator itself refuses.
    """
    if name not in EVALUATORS:
        known = ", ".join(EVALUATORS)
        raise ConfigurationError(f"make_evaluator(name=...) must be one of {known}; got '{name}'")
    module, _, attribute = EVALUATORS[name].partition(":")
    given = {"gpus": gpus, "ray_address": ray_address, "folder": folder}
    options = {word: given[word] for word in OPTIONS.get(name, ())}
    made = getattr(import_module(module), attribute)(problem, workers, **options)
    return cast("Evaluator", made)

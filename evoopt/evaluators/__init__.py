"""Where and how rows are evaluated: in this process, or in worker processes."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from evoopt.errors import ConfigurationError
from evoopt.evaluators.base import Batch, Evaluator
from evoopt.problem import Problem

__all__ = ["EVALUATORS", "Batch", "Evaluator", "make_evaluator"]

# name -> "module:callable" that takes (problem, workers)
EVALUATORS = {
    "serial": "evoopt.evaluators.serial:SerialEvaluator",
    "vectorized": "evoopt.evaluators.serial:vectorized",
    "pool": "evoopt.evaluators.pool:PoolEvaluator",
}


def make_evaluator(name: str, problem: Problem, workers: int = 1) -> Evaluator:
    """The evaluator of that name in `EVALUATORS`, ready for the rows of `problem`.

    Raises:
        ConfigurationError: an unknown name, or what the evaluator itself refuses.
    """
    if name not in EVALUATORS:
        known = ", ".join(EVALUATORS)
        raise ConfigurationError(f"make_evaluator(name=...) must be one of {known}; got '{name}'")
    module, _, attribute = EVALUATORS[name].partition(":")
    return cast("Evaluator", getattr(import_module(module), attribute)(problem, workers))

"""What a user asks for: the words of `minimize`, unchecked, as they are kept in a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from evoopt.strategies import AUTO


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do with a problem: the words and meanings of `minimize`, and five more.

    Attributes:
        start_lower, start_upper: (dim,) box from which starts are drawn; default: the bounds, and
            the first start is their centre.
        ignore_bounds: search R^n although the problem has a box.
        batches: whoever evaluates wants several candidates at a time; `auto` then takes no method
            that asks for one after the other.
        objectives: of the problem, if it is to be checked; the problem knows.
        owner: how messages call the place where the arguments came from.
    """

    algorithm: str = AUTO
    x0: Sequence[float] | None = None
    sigma0: float | Sequence[float] | None = None
    budget: int | str | None = None
    target: float | None = None
    seed: int | None = None
    popsize: int | None = None
    restarts: str | None = None
    workers: int = 1
    time_limit: float | None = None
    eval_timeout: float | None = None
    max_failures: int | None = None
    isolate: bool | None = None
    vectorized: bool = False
    maximize: bool | Sequence[bool] = False
    start_lower: Sequence[float] | None = None
    start_upper: Sequence[float] | None = None
    ignore_bounds: bool = False
    asynchronous: bool = False
    options: Mapping[str, object] | None = None
    engine: str | None = None
    ray_address: str | None = None
    gpus: Sequence[str | int] | None = None
    warm_start: tuple[Any, Any] | None = None
    batches: bool = False
    objectives: int | None = None
    reference: Sequence[float] | None = None
    owner: str = "minimize"

    def plain(self) -> dict[str, Any]:
        """As JSON values, for a manifest; the owner is left out, being no part of the search."""
        words = {field.name: getattr(self, field.name) for field in fields(self)}
        del words["owner"]
        if self.warm_start is not None:
            words["warm_start"] = _succeeded(*self.warm_start)
        return {word: _json(value) for word, value in words.items()}


def _succeeded(X: Any, F: Any) -> tuple[Any, Any]:
    """A warm start without its failed evaluations, which teach nothing and are no JSON."""
    finite = np.isfinite(np.asarray(F, dtype=np.float64))
    good = finite if finite.ndim == 1 else np.asarray(finite.all(axis=1))
    return (X, F) if good.all() else (np.asarray(X)[good], np.asarray(F)[good])


def _json(value: Any) -> Any:
    """A word of a user as it comes back from a manifest: plain numbers, lists for sequences."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    return [_json(v) for v in value] if isinstance(value, list | tuple) else value

"""Drives a strategy through ask and tell, and compares states bit for bit."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping

import numpy as np

from evoopt.result import NAN, NEGINF, POSINF, Failure, Values
from evoopt.rundir import codec
from evoopt.strategies.states import state_classes


def values_of(F):
    """F as a problem reports it: NaN and a failure for every row that is not finite."""
    F = np.asarray(F, dtype=float)
    rows, failures = F.reshape(len(F), -1), {}
    is_finite = np.isfinite(rows).all(axis=1)
    for row in np.flatnonzero(~is_finite):
        f = rows[row][~np.isfinite(rows[row])][0]
        kind = NAN if np.isnan(f) else POSINF if f > 0 else NEGINF
        failures[int(row)] = Failure(kind, f"returned {f}")
    return Values(F=np.where(is_finite[:, None], rows, np.nan).reshape(F.shape), failures=failures)


def generation(strategy, state, fun):
    """Ask one batch, evaluate it row by row, tell it. Returns population, F, new state."""
    population, state = strategy.ask(state, strategy.batch(state))
    F = np.array([fun(x) for x in population.X])
    return population, F, strategy.tell(state, population, values_of(F))


def run(strategy, state, fun, generations):
    """The state after so many generations."""
    for _ in range(generations):
        _, _, state = generation(strategy, state, fun)
    return state


def evaluations_to(strategy, state, fun, target, most):
    """How many evaluations until fun <= target; infinite if not within `most`."""
    spent = 0
    while spent < most:
        _, F, state = generation(strategy, state, fun)
        reached = np.flatnonzero(F <= target)
        if len(reached):
            return spent + int(reached[0]) + 1
        spent += len(F)
    return np.inf


def altered(obj, **fields):
    """A dataclass or a named tuple with other fields."""
    replace = dataclasses.replace if dataclasses.is_dataclass(obj) else type(obj)._replace
    return replace(obj, **fields)


def restored(state):
    """The state after a trip to disk and back: JSON text and an npz file without pickle."""
    arrays, meta = codec.pack(state)
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        back = dict(loaded)
    return codec.unpack(back, json.loads(json.dumps(meta, allow_nan=False)), state_classes())


def fingerprint(obj):
    """A nested tuple that is equal for two objects exactly if every bit of them is."""
    if dataclasses.is_dataclass(obj):
        fields = dataclasses.fields(obj)
        return (
            type(obj).__qualname__,
            *((f.name, fingerprint(getattr(obj, f.name))) for f in fields),
        )
    if hasattr(obj, "__pack__"):
        return (type(obj).__qualname__, fingerprint(obj.__pack__()))
    if isinstance(obj, np.ndarray):
        return ("array", obj.dtype.str, obj.shape, obj.tobytes())
    if isinstance(obj, float | np.floating):
        return ("float", float(obj).hex())
    if isinstance(obj, Mapping):
        return ("map", *((key, fingerprint(obj[key])) for key in obj))
    if isinstance(obj, tuple | list):
        return (type(obj).__qualname__, *(fingerprint(item) for item in obj))
    assert obj is None or isinstance(obj, bool | int | str | bytes | np.generic), type(obj)
    return (type(obj).__qualname__, obj)


def floats_in(obj, name="state"):
    """(name, array) of every float that an object holds, however deep."""
    if dataclasses.is_dataclass(obj):
        for f in dataclasses.fields(obj):
            yield from floats_in(getattr(obj, f.name), f"{name}.{f.name}")
    elif isinstance(obj, Mapping):
        for key, item in obj.items():
            yield from floats_in(item, f"{name}[{key!r}]")
    elif isinstance(obj, tuple | list):
        labels = getattr(obj, "_fields", range(len(obj)))
        for label, item in zip(labels, obj, strict=True):
            yield from floats_in(item, f"{name}.{label}")
    elif isinstance(obj, float | np.ndarray) and np.asarray(obj).dtype.kind == "f":
        yield name, np.asarray(obj)

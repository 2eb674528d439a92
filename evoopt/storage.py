"""Results as JSON values, and back, exactly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from evoopt.front import Front
from evoopt.result import History, Result, StopReason
from evoopt.rundir import decode_values, encode_values


def stored(result: Result) -> dict[str, Any]:
    """A result as JSON values; `loaded` gives it back exactly."""
    history = result.history
    return {
        "x": None if result.x is None else encode_values(result.x),
        "f": encode_values(np.array([result.f])),
        "front": None if result.front is None else _stored_front(result.front),
        "mean": encode_values(result.mean),
        "sigma": encode_values(np.array([result.sigma])),
        "evaluations": result.evaluations,
        "generations": result.generations,
        "reason": {
            "criterion": result.reason.criterion,
            "value": encode_values(np.array([result.reason.value])),
            "threshold": encode_values(np.array([result.reason.threshold])),
            "message": result.reason.message,
            "advice": result.reason.advice,
            "converged": result.reason.converged,
        },
        "success": result.success,
        "seed": result.seed,
        "algorithm": result.algorithm,
        "history": {
            "evaluations": history.evaluations.tolist(),
            "f": encode_values(history.f),
            "sigma": encode_values(history.sigma),
            "axes": encode_values(history.axes),
        },
        "failures": dict(result.failures),
        "first_failure": result.first_failure,
        "restarts": result.restarts,
        "notes": list(result.notes),
        "point": None if result.point is None else as_plain(dict(result.point)),
    }


def loaded(plain: dict[str, Any], run_dir: str | None) -> Result:
    """The inverse of `stored`."""
    reason, history = plain["reason"], plain["history"]
    several = plain.get("front") is not None  # results of before do not have it
    return Result(
        x=None if plain["x"] is None else decode_values(plain["x"]),
        f=decode_values(plain["f"])[0] if several else float(decode_values(plain["f"])[0]),
        front=_loaded_front(plain["front"]) if several else None,
        mean=decode_values(plain["mean"]),
        sigma=float(decode_values(plain["sigma"])[0]),
        evaluations=plain["evaluations"],
        generations=plain["generations"],
        reason=StopReason(
            reason["criterion"],
            float(decode_values(reason["value"])[0]),
            float(decode_values(reason["threshold"])[0]),
            reason["message"],
            reason["advice"],
            reason["converged"],
        ),
        success=plain["success"],
        seed=plain["seed"],
        algorithm=plain["algorithm"],
        history=History(
            np.array(history["evaluations"], dtype=np.int64),
            decode_values(history["f"]),
            decode_values(history["sigma"]),
            decode_values(history["axes"]),
        ),
        failures=plain["failures"],
        first_failure=plain["first_failure"],
        restarts=plain["restarts"],
        notes=tuple(plain["notes"]),
        run_dir=run_dir,
        point=plain.get("point"),
    )


def _stored_front(front: Front) -> dict[str, Any]:
    return {
        "X": encode_values(front.X),
        "F": encode_values(front.F),
        "reference": encode_values(front.reference),
        "maximize": list(front.maximize),
    }


def _loaded_front(plain: dict[str, Any]) -> Front:
    X, F, reference = (decode_values(plain[word]) for word in ("X", "F", "reference"))
    return Front(X, F, reference, tuple(plain["maximize"]))


def as_plain(value: Any) -> Any:
    """As JSON gives it back; what JSON cannot hold, by its repr."""
    return json.loads(json.dumps(value, default=repr))

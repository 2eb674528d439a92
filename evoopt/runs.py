"""Runs on disk: taking one up, and results as files."""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

import evoopt
from evoopt import rng
from evoopt.errors import StateError
from evoopt.journal import Pending, resume
from evoopt.observers.base import Observer
from evoopt.plan import Plan, resolve
from evoopt.problem import Problem
from evoopt.result import History, Result, StopReason
from evoopt.rundir import RunDirectory, decode_values, encode_values, has_begun
from evoopt.search import Search
from evoopt.settings import Settings

# may differ at a resume
_PLACE_OF_WORK = (
    "workers", "isolate", "eval_timeout", "time_limit", "engine", "ray_address", "gpus",
)  # fmt: skip


@dataclass
class Run:
    """A run directory that this process holds, and the plan that belongs to it.

    Attributes:
        directory: open for writing.
        plan: what runs there.
        fresh: nothing is in the log yet.
    """

    directory: RunDirectory
    plan: Plan
    fresh: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.directory.close()

    def result(self) -> Result | None:
        """The stored result of a run that has ended; a run that only ran out of time goes on."""
        stored = self.directory.result()
        path = self.directory.path
        try:
            result = None if stored is None else loaded(stored, str(path))
        except (KeyError, TypeError) as error:
            raise StateError(
                f"{path}/result.json has not the form of this evoopt ({error!r}); remove it, and "
                "it is made anew from the log"
            ) from None
        if result is not None and result.reason.criterion == "timeout":
            self.directory.remove_result()
            return None
        if result is not None and result.x is not None and self.plan.space is not None:
            return replace(result, point=self.plan.space.point(result.x))  # of any type
        return result

    def replay(self, search: Search, observers: tuple[Observer, ...]) -> Pending:
        """Folds the log into the search; says in the log that another process goes on."""
        if self.fresh:
            return {}
        watching = tuple(o for o in observers if o.wants_replay)
        pending = resume(self.directory, search, watching)
        self.directory.append("open", {"pid": os.getpid()})
        return pending

    def store(self, result: Result) -> None:
        """Writes result.json."""
        self.directory.write_result(stored(result))


def take_up(path: str | os.PathLike[str], problem: Problem, plan: Plan) -> Run:
    """The run in `path`: a new one, or the one that is there if it was asked for in the same words.

    Raises:
        StateError: another run is there, or it is damaged or in use.
    """
    folder = Path(path)
    if not has_begun(folder):
        directory = RunDirectory.create(folder, manifest(problem, plan))
        return Run(directory, plan, fresh=True)
    directory = RunDirectory.open(folder)
    try:
        return Run(directory, continued(directory, problem, plan), fresh=False)
    except BaseException:
        directory.close()
        raise


def continued(directory: RunDirectory, problem: Problem, plan: Plan) -> Plan:
    """The plan of the run on disk, with the workers and time limits of `plan`."""
    there = directory.manifest
    asked = plan.settings.plain()
    had = {**Settings().plain(), **there.get("settings", {})}  # it may be older than some words
    if asked["seed"] is None:
        asked["seed"] = had.get("seed")
    for word in _PLACE_OF_WORK:
        asked.pop(word, None)
        had.pop(word, None)
    here = {"settings": asked, "problem": _described(problem)}
    before = {"settings": had, "problem": there.get("problem")}
    if here != before:
        word = _differing(here["problem"], before["problem"] or {}) or _differing(asked, had)
        raise StateError(
            f"{directory.path} holds another run ({word}); give another folder, or the same words"
        )
    again = resolve(problem, replace(plan.settings, seed=there["seed"]))
    if not plan.asynchronous:
        return again
    # the popsize grew with the workers that were there at first
    return replace(again, popsize=there["popsize"], notes=tuple(there["notes"]))


def _differing(here: dict[str, Any], there: dict[str, Any]) -> str:
    """The first word that differs, and of a space, the first parameter; "" if there is none."""
    for word in {**here, **there}:
        mine, other = here.get(word), there.get(word)
        if mine != other and isinstance(mine, dict) and isinstance(other, dict):
            inside = _differing(mine, other)
            return f"{word}: {inside}" if inside else f"{word} in another order"
        if mine != other:
            return f"{word}={mine!r}, there {other!r}"
    return ""


def manifest(problem: Problem, plan: Plan) -> dict[str, Any]:
    """What was asked for, and in which environment."""
    return {
        "kind": "minimize",
        "argv": sys.argv,
        "problem": _described(problem),
        "settings": plan.settings.plain(),
        "seed": plan.seed,
        "label": plan.label,
        "popsize": plan.popsize,
        "notes": list(plan.notes),
        "generator": rng.GENERATOR,
        "environment": environment(),
    }


def environment() -> dict[str, Any]:
    """Versions, BLAS, host and git revision: what a later reader needs to trust or repeat it."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "evoopt": evoopt.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name', '?')} {blas.get('version', '?')}",
        "machine": f"{platform.system()} {platform.machine()}",
        "host": platform.node(),
        "git": _revision(),
    }


@functools.cache
def _revision() -> str | None:
    """The git revision of the working directory, "+" if it has changes; None outside git."""
    command = ("git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _described(problem: Problem) -> dict[str, Any]:
    described = {
        "name": problem.name,
        "dim": problem.dim,
        "lower": encode_values(np.asarray(problem.lower, dtype=float)),
        "upper": encode_values(np.asarray(problem.upper, dtype=float)),
    }
    space = getattr(problem, "space", None)
    if space is not None:
        described["space"] = _plain(space.plain())
    return described


def _plain(value: Any) -> Any:
    """As JSON gives it back; what JSON cannot hold, by its repr."""
    return json.loads(json.dumps(value, default=repr))


def finished(search: Search, plan: Plan, reason: StopReason, run_dir: str | None) -> Result:
    """The result of a search, in the user's sign."""
    sign = -1.0 if plan.maximize else 1.0
    portrait = search.strategy.portrait(search.state)
    history = search.history()
    found = search.best_x is not None
    account = getattr(search.strategy, "account", None)  # what a composition ran, and why
    notes = plan.notes if search.lateness is None else (*plan.notes, search.lateness.note())
    if account is not None:
        notes = (*notes, *account(search.state))
    converged = reason.converged or getattr(search.state, "converged", 0) > 0
    success = found and (reason.criterion == "ftarget" if plan.target > -math.inf else converged)
    return Result(
        x=None if search.best_x is None else search.best_x.copy(),
        f=sign * search.best_f if found else math.nan,
        mean=portrait.mean.copy(),
        sigma=portrait.sigma,
        evaluations=search.evaluations,
        generations=portrait.generation,
        reason=replace(reason, value=sign * reason.value, threshold=sign * reason.threshold)
        if reason.criterion == "ftarget"
        else reason,
        success=bool(success),
        seed=search.seed,
        algorithm=plan.label,
        history=History(history.evaluations, sign * history.f, history.sigma, history.axes),
        failures=dict(search.failures),
        first_failure=search.first_failure,
        restarts=portrait.restarts,
        notes=notes,
        run_dir=run_dir,
        point=plan.space.point(search.best_x) if plan.space and search.best_x is not None else None,
    )


def stored(result: Result) -> dict[str, Any]:
    """A result as JSON values; `loaded` gives it back exactly."""
    history = result.history
    return {
        "x": None if result.x is None else encode_values(result.x),
        "f": encode_values(np.array([result.f])),
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
        "point": None if result.point is None else _plain(dict(result.point)),
    }


def loaded(plain: dict[str, Any], run_dir: str | None) -> Result:
    """The inverse of `stored`."""
    reason, history = plain["reason"], plain["history"]
    return Result(
        x=None if plain["x"] is None else decode_values(plain["x"]),
        f=float(decode_values(plain["f"])[0]),
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

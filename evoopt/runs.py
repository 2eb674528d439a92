"""Runs on disk: taking one up, and results as files."""

from __future__ import annotations

import functools
import math
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import evoopt
from evoopt import rng
from evoopt.errors import StateError
from evoopt.front import Front
from evoopt.journal import Pending, resume
from evoopt.observers.base import Observer
from evoopt.plan import Plan, build, resolve
from evoopt.problem import Problem, sign_of
from evoopt.result import History, Result, StopReason, Values
from evoopt.rundir import RunDirectory, encode_values, has_begun
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.space import Space
from evoopt.storage import as_plain, loaded, stored
from evoopt.strategies.base import Strategy
from evoopt.strategies.compose.bounds import Bounded

Array = NDArray[np.float64]

# may differ at a resume
_PLACE_OF_WORK = (
    "workers", "isolate", "eval_timeout", "time_limit", "engine", "ray_address", "gpus",
)  # fmt: skip


class AnotherRunError(StateError):
    """A folder holds a run that was asked for in other words."""


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
            points = _points(result.front, self.plan.space)
            point = self.plan.space.point(result.x)  # of any type
            return replace(result, point=point, front_points=points)
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

    A run in other words that has evaluated nothing is given up for the new one.

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
    except AnotherRunError:
        if directory.manifest.get("kind") != "minimize" or not directory.holds_nothing():
            directory.close()
            raise
        # it ended before its first value, perhaps to be asked for in better words
        directory.discard()
        return take_up(path, problem, plan)
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
        raise AnotherRunError(
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
    if problem.n_obj > 1:
        described["objectives"] = problem.n_obj
    space = getattr(problem, "space", None)
    if space is not None:
        described["space"] = as_plain(space.plain())
    return described


def fresh_search(plan: Plan) -> Search:
    """The search of a plan before its first ask."""
    search = Search(
        build(plan),
        plan.x0,
        plan.sigma0,
        plan.seed,
        asynchronous=plan.asynchronous,
        n_obj=plan.n_obj,
        reference=plan.reference,
        watched=plan.target > -math.inf,
    )
    if plan.known is not None:
        search.inject(plan.known[0], Values(plan.known[1]))
    return search


def front_of(search: Search, plan: Plan) -> Front | None:
    """What a search with several objectives has found, in the user's sign; None with one, or if it
    has found nothing."""
    if not search.found:
        return None
    sign, (X, F) = sign_of(plan.maximize), search.found.rows
    reference = search.found.worst if plan.reference is None else plan.reference
    many = plan.maximize if isinstance(plan.maximize, tuple) else (plan.maximize,) * plan.n_obj
    return Front(X, sign * F, sign * reference, many)


def finished(search: Search, plan: Plan, reason: StopReason, run_dir: str | None) -> Result:
    """The result of a search, in the user's sign."""
    # a hypervolume is maximised, and kept with a minus
    sign = sign_of(plan.maximize) if plan.n_obj == 1 else -1.0
    portrait = search.strategy.portrait(search.state)
    front, history = front_of(search, plan), search.history()
    x, f, course = search.best_x, sign * search.best_f, sign * history.f
    if search.found is not None:
        x, f = (None, math.nan) if front is None else (front.X[front.knee], front.F[front.knee])
        course = _volumes(search, front, history)
    found = x is not None
    notes = plan.notes if search.lateness is None else (*plan.notes, search.lateness.note())
    notes = (*notes, *_account(search.strategy, search.state))
    converged = reason.converged or getattr(search.state, "converged", 0) > 0
    success = found and (reason.criterion == "ftarget" if plan.target > -math.inf else converged)
    return Result(
        x=None if x is None else x.copy(),
        f=f if found else math.nan,
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
        history=History(history.evaluations, course, history.sigma, history.axes),
        failures=dict(search.failures),
        first_failure=search.first_failure,
        restarts=portrait.restarts,
        notes=notes,
        run_dir=run_dir,
        point=plan.space.point(x) if plan.space and x is not None else None,
        front=front,
        front_points=_points(front, plan.space),
    )


def _account(strategy: Strategy, state: Any) -> tuple[str, ...]:
    """What a composition ran, and why; also of one in a box."""
    if isinstance(strategy, Bounded):
        return _account(strategy.inner, state.inner)
    account = getattr(strategy, "account", None)
    return () if account is None else account(state)


def _points(front: Front | None, space: Space | None) -> tuple[dict[str, Any], ...] | None:
    """What the points of a front stand for."""
    return None if front is None or space is None else tuple(space.decode(front.X))


def _volumes(search: Search, front: Front | None, history: History) -> Array:
    """(r,) the hypervolume in each row of a history, for the reference of the result."""
    if search.found is None or front is None:
        return np.zeros(len(history))
    signs = np.where(front.maximize, -1.0, 1.0)
    return search.found.volumes(history.evaluations, signs * front.reference)

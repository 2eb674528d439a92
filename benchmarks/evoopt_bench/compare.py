"""Comparing algorithms: ours and those of others on the same problems, starts and budgets.

The unit is one algorithm on one problem. Each unit that is done is a line of a file, see `units`; a
comparison that was stopped, however, goes on with the units that are missing. A later call may add
algorithms, functions, dimensions, instances, or a larger budget; what is there is not run again.
"""

from __future__ import annotations

import difflib
import functools
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import evoopt
from evoopt.checks import check_budget, check_count, check_seed
from evoopt.errors import ConfigurationError
from evoopt.strategies import AUTO, claims_of
from evoopt_bench import peers
from evoopt_bench.biobj_trial import BiobjTrial
from evoopt_bench.crew import alone_in, run_tasks, stoppable
from evoopt_bench.records import Progress
from evoopt_bench.single import problem_seed
from evoopt_bench.suites import ProblemId, Selection, suite_spec
from evoopt_bench.trial import Over, Trial
from evoopt_bench.units import (
    RUNS,
    Comparison,
    Outcome,
    Unit,
    algorithms,
    as_line,
    claim,
    mend,
    peers_of,
    read_comparison,
    read_outcomes,
)

_OWNER = "compare"
_NICE = 10  # workers stand back behind what the machine does besides
_WARM_UP = 30  # evaluations before the clock runs: imports, caches


def compare(
    selection: Selection,
    names: Sequence[str],
    out: Path,
    *,
    budget: int | str,
    seed: int,
    workers: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Run what is missing in `out`.

    Args:
        selection: the problems.
        names: the algorithms, ours and peers.
        out: the folder; there already, or new.
        budget: evaluations for each unit: 5000, "100D".
        seed: from which each problem derives start and seeds, the same for all algorithms.
        workers: how many units at a time.
        progress: called at the start and after each unit.

    Raises:
        ConfigurationError: an unknown name.
        MissingDependencyError: a peer is not installed.
        StateError: `out` holds something else, or a comparison on another suite or seed.
        Interrupted: SIGINT or SIGTERM; the same call goes on.
    """
    check_seed(seed, _OWNER)
    check_count(workers, _OWNER, "workers")
    for name in names:
        _check_name(name, suite_spec(selection.suite).n_obj)
    # all of the first instance first: what is there at any time can be read
    problems = sorted(selection.problems(), key=lambda p: (p.instance, p.dim, p.function))
    units = [
        Unit(name, problem, check_budget(budget, problem.dim, _OWNER))
        for problem in problems
        for name in names
    ]
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out), stoppable():
        claim(out, selection.suite, seed)
        _run_missing(units, out, seed, workers, progress or (lambda event: None))
    return read_comparison(out)


def _run_missing(
    units: Sequence[Unit],
    out: Path,
    seed: int,
    workers: int,
    report: Callable[[Progress], None],
) -> None:
    done = {(o.unit.algorithm, o.unit.problem): o for o in read_outcomes(out)}
    kept, left = [], []
    for unit in units:
        outcome = done.get((unit.algorithm, unit.problem))
        if outcome is not None and (outcome.unit.budget >= unit.budget or outcome.run.is_complete):
            kept.append(outcome)  # more budget would not change it
        else:
            left.append(unit)
    spent, solved = sum(o.run.evaluations for o in kept), sum(o.run.solved for o in kept)
    event = Progress(len(kept), len(units), solved, spent, None)
    report(event)
    mend(out / RUNS)
    with (out / RUNS).open("a", encoding="utf-8") as file:

        def take(unit: Unit, outcome: Outcome) -> None:
            nonlocal event
            file.write(as_line(outcome))
            file.flush()
            event = Progress(
                event.done + 1,
                event.total,
                event.solved + outcome.run.solved,
                event.evaluations + outcome.run.evaluations,
                f"{unit.algorithm} {unit.problem.name}",
            )
            report(event)

        work = functools.partial(run_unit, seed=seed)
        run_tasks(left, work, workers=workers, folder=out, done=take)


def run_unit(unit: Unit, *, seed: int) -> Outcome:
    """Carry out one unit; the work of a worker process."""
    _be_nice()
    warnings.filterwarnings("ignore")  # of the peers
    name, problem = unit.algorithm, unit.problem
    _warm_up(name, problem.suite)
    trial = trial_on(problem, unit.budget, problem_seed(seed, problem))
    begin = time.process_time()
    _carry_out(name, trial)
    seconds = time.process_time() - begin
    others = peers_of(trial.n_obj)
    made_by = others[name].made_by if name in others else f"evoopt {evoopt.__version__}"
    return Outcome(unit, trial.run(), seconds, made_by)


def trial_on(problem: ProblemId, budget: int, seed: int) -> Trial | BiobjTrial:
    """A trial of the kind that the suite's problems are."""
    cls = Trial if suite_spec(problem.suite).n_obj == 1 else BiobjTrial
    return cls(problem, budget, seed)


def _carry_out(name: str, trial: Trial | BiobjTrial) -> None:
    with suppress(Over):  # our own end by themselves, but a noisy target is reached unseen
        others = peers_of(trial.n_obj)
        if name in others:
            others[name].run(trial)
        else:
            _ours(name, trial)


def _ours(name: str, trial: Trial | BiobjTrial) -> None:
    """A strategy of ours: with BIPOP restarts where it takes them."""
    from evoopt.api import solve
    from evoopt.settings import Settings

    inner = trial.problem
    takes_restarts = name != AUTO and "restarts" in claims_of(name).options
    settings = Settings(
        algorithm=name,
        restarts="bipop" if takes_restarts else None,
        x0=trial.start.tolist(),
        sigma0=trial.sigma0,
        start_lower=inner.start_lower.tolist(),
        start_upper=inner.start_upper.tolist(),
        ignore_bounds=not inner.bounds_apply and name != "random",
        budget=trial.budget,
        target=inner.target if inner.n_obj == 1 else None,
        seed=trial.seed,
        vectorized=True,
        owner=_OWNER,
    )
    solve(trial, settings)


@functools.lru_cache(maxsize=64)
def _warm_up(name: str, suite: str) -> None:
    spec = suite_spec(suite)
    first = ProblemId(suite, spec.dimensions[0], spec.functions[0], 1)
    _carry_out(name, trial_on(first, _WARM_UP, 1))


@functools.lru_cache(maxsize=1)
def _be_nice() -> None:
    os.nice(_NICE)


def _check_name(name: str, n_obj: int) -> None:
    own, others = algorithms(n_obj), peers_of(n_obj)
    if name in others:
        peers.check_peer(name, others[name])
    elif name not in own:
        known = ", ".join((*own, *others))
        close = difflib.get_close_matches(name, (*own, *others), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"compare(names=...) must be among {known}; got {name!r}{hint}")

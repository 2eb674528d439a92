"""`minimize`: from a function and a few words to a result; `solve`: the same for a Problem."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoopt.bounds import check_bounds
from evoopt.checks import check_start, refuse
from evoopt.errors import Interrupted, ObjectiveError
from evoopt.evaluators import Evaluator, make_evaluator
from evoopt.evaluators.programs import Program, ProgramProblem
from evoopt.goal import check_maximize, objectives_of
from evoopt.journal import Journal
from evoopt.objective import load_function
from evoopt.observers.base import Observer
from evoopt.options import fits, least_objectives
from evoopt.plan import Plan, resolve
from evoopt.problem import FunctionProblem, Problem, sign_of
from evoopt.result import Result, StopReason
from evoopt.runner import Limits, Runner
from evoopt.runs import finished, fresh_search, take_up
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.signals import StopRequest
from evoopt.space import Space
from evoopt.warm import dim_of

Array = NDArray[np.float64]

__all__ = ["Intermediate", "Settings", "minimize", "solve"]


@dataclass(frozen=True, slots=True)
class Intermediate:
    """What a callback sees after each generation.

    Attributes:
        x: (dim,) best point so far, or None. f: its value, in the user's sign. With several
            objectives None and NaN.
        mean: (dim,), sigma: of the search distribution.
        evaluations, generations: so far.
        front_size: points of the front of several objectives, else 0.
        hypervolume: of that front, where a reference was given, else NaN.
    """

    x: Array | None
    f: float
    mean: Array
    sigma: float
    evaluations: int
    generations: int
    front_size: int = 0
    hypervolume: float = math.nan


def minimize(
    fun: Callable[..., Any] | str,
    x0: ArrayLike | Mapping[str, Any] | None = None,
    *,
    bounds: Any = None,
    space: Space | Mapping[str, Any] | None = None,
    sigma0: float | Sequence[float] | None = None,
    algorithm: str = "auto",
    budget: int | str | None = None,
    target: float | None = None,
    seed: int | None = None,
    popsize: int | None = None,
    restarts: str | None = None,
    workers: int = 1,
    vectorized: bool = False,
    maximize: bool | Sequence[bool] = False,
    objectives: int | None = None,
    reference: Sequence[float] | None = None,
    time_limit: float | None = None,
    eval_timeout: float | None = None,
    max_failures: int | None = None,
    isolate: bool | None = None,
    options: Mapping[str, object] | None = None,
    engine: str | None = None,
    ray_address: str | None = None,
    gpus: Sequence[str | int] | None = None,
    asynchronous: bool = False,
    warm_start: tuple[ArrayLike, ArrayLike] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    callback: Callable[[Intermediate], Any] | None = None,
) -> Result:
    """Search for the x with the smallest fun(x), or for the front of several objectives.

    Args:
        fun: takes x (dim,) and returns a real number, or a tuple, a list or an array of one for
            each objective; or "module:function", "file.py:function"; or an `evoopt.Program`, a
            command with placeholders that prints the number.
            NaN, +inf, -inf, exceptions, time-outs and dead workers count as failed evaluations:
            they rank last and are reported in `Result.failures`. If it has a parameter named
            `seed` it gets one per evaluation.
        x0: (dim,) where to start; default: the centre of the bounds.
        bounds: (lower, upper), numbers or (dim,), or one such pair per variable; None, -inf and inf
            for no bound. No point outside is ever evaluated.
        space: named parameters, {"rate": Float(1e-5, 0.1, log=True), "layers": Integer(1, 8),
            "act": ["relu", "gelu"]} or a `Space`. fun then takes a dict (a list of k dicts if
            vectorized), x0 is one, and so is `Result.point`; bounds are left out.
        sigma0: initial step size in the units of x, one number or one per variable; about a fifth
            of the region of interest, and that of the bounds by default. In a space: in units of
            the range of each parameter, 0.2 by default.
        algorithm: "auto" (a quadratic model first, then BIPOP restarts of what fits the dimension)
            or a name of `evoopt.strategies.STRATEGIES`: "cma-es", "ma-es", "lm-ma-es", ... With
            several objectives "auto" is the first of hmo-cma-es, mo-cma-es that takes so many.
        budget: evaluations of fun, never exceeded; text such as "1000*D" counts in dimensions.
            Default: 10000 dim, or no limit if there is a time limit.
        target: stop after the generation in which a value is at least this good; with several
            objectives, in which the hypervolume for `reference` is at least this large.
        seed: 0 to 2**64 - 1; default: drawn, and reported in the Result.
        popsize: candidates per generation; default: 4 + floor(3 ln dim).
        restarts: "none", "ipop" or "bipop"; default: "bipop" with "auto", else "none".
        workers: processes that evaluate at the same time. The result does not depend on it.
        vectorized: fun takes X (k, dim) and returns k values, (k, m) with m objectives.
        maximize: search for the largest value instead; all values keep the sign of fun. One for all
            objectives, or one each.
        objectives: how many numbers fun returns. By default the first evaluation shows it, and
            where it shows several, the search begins again as one for a front; with run_dir or a
            program it has to be said.
        reference: (m,) worst values that are of interest, in the sign of fun: the hypervolume
            counts from there. By default the worst of all that was ever on the front.
        time_limit: seconds of this call; a run in run_dir that it ended goes on at the next call.
        eval_timeout: seconds for one evaluation (needs isolate).
        max_failures: failed evaluations that are tolerated; default: any number, but no more than
            5 generations in a row in which all fail (20 once one evaluation of the run has
            succeeded), 20 restarts in a row with restarts, and any number of them with "random".
        isolate: evaluate in worker processes, so that a crash, a hang or an exit of fun costs one
            evaluation and not the search; default: if workers > 1 or eval_timeout is given.
        options: own options of the algorithm by name, such as {"active": False}; `evoopt list
            algorithms` shows them. What an algorithm does not take is refused.
        engine: "serial" or "vectorized" (in this process), "pool" (worker processes), "process"
            (a process for each evaluation; for a `Program`), "ray" (actors of a Ray cluster);
            default: "pool" where isolate asks for it.
        ray_address: of a running cluster, for engine "ray"; default: one of its own on this host.
        gpus: dealt out among the workers of engine "process", as CUDA_VISIBLE_DEVICES names them.
        asynchronous: learn from each value as it comes instead of waiting for its generation: for
            several workers and evaluations of unequal length. Every value is used, however late,
            and popsize is by default at least half of workers. The result then depends on which
            value came first; `Result.notes` says how late they came.
        warm_start: (X, F), X (k, dim), or k dicts of a space, and F (k,): points and values of an
            earlier, similar search, from which the first distribution is made; x0 and sigma0 are
            then left out. With several objectives F (k, m): values of the same functions, which the
            strategy learns from before it asks, and which belong to the front.
        run_dir: keep a log there. If the folder holds a run of the same call, it is continued.
        callback: called after each generation with an `Intermediate`; may raise StopIteration, or
            return True, to stop.

    Returns:
        The result; see `Result`.

    Raises:
        ConfigurationError: an argument cannot be used.
        ObjectiveError: fun returned something that is no real number. Its `result` has what was
            found by then.
        Interrupted: Ctrl-C (a KeyboardInterrupt). Its `result` has what was found by then.
        StateError: run_dir holds another run, or is damaged.

    Example:
        >>> import evoopt
        >>> r = evoopt.minimize(lambda x: sum(x**2), [3.0, 3.0], sigma0=1.0, seed=1, target=1e-9)
        >>> r.f <= 1e-9, r.reason.criterion
        (True, 'ftarget')
    """
    if isinstance(fun, Program):
        if space is not None:
            raise refuse("minimize", "space", "left out with a program: Program(space=...)", space)
        space = fun.space
    if space is None:
        start = None if x0 is None else check_start(x0, "minimize")
        dim = fun.dim if isinstance(fun, Program) else dim_of(warm_start, bounds)
        lower, upper = check_bounds(bounds, dim if start is None else len(start))
        if len(lower) == 0:
            raise refuse("minimize", "bounds", "of at least one variable", bounds)
    else:
        space = Space.of(space)
        if not isinstance(x0, Mapping | None):
            raise refuse("minimize", "x0", "a dict of parameters with space", x0)
        start = None if x0 is None else space.encode(x0)
        warm_start = space.encoded(warm_start)
        if bounds is not None:
            raise refuse("minimize", "bounds", "left out with space, which has its own", bounds)
    if isinstance(fun, str):
        fun = load_function(fun)
    if not callable(fun):
        raise refuse("minimize", "fun", "callable, or text like 'module:function'", fun)
    if space is not None:
        lower, upper = space.lower, space.upper
    said = objectives_of(objectives, maximize, reference, "minimize")
    assumed = least_objectives(algorithm) if said is None else said
    settings = Settings(
        algorithm=algorithm,
        x0=None if start is None else start.tolist(),
        sigma0=sigma0,
        budget=budget,
        target=target,
        seed=seed,
        popsize=popsize,
        restarts=restarts,
        workers=workers,
        time_limit=time_limit,
        eval_timeout=eval_timeout,
        max_failures=max_failures,
        isolate=isolate,
        vectorized=bool(vectorized),
        maximize=check_maximize(maximize, assumed or 1, "minimize"),
        objectives=assumed,
        reference=reference,
        options=options,
        engine=engine,
        ray_address=ray_address,
        gpus=gpus,
        asynchronous=bool(asynchronous),
        warm_start=warm_start,
    )
    problem = _problem(fun, space, lower, upper, settings)
    try:
        return solve(problem, settings, run_dir=run_dir, callback=callback)
    except ObjectiveError as error:
        m, begun = error.numbers, error.result is not None and error.result.evaluations > 0
        if said is not None or m < 2 or begun or run_dir is not None or not fits(algorithm, m):
            raise
    settings = replace(settings, objectives=m)
    result = solve(_problem(fun, space, lower, upper, settings), settings, callback=callback)
    note = f"objectives={m}, as many as the first evaluation returned, which was done again"
    return replace(result, notes=(note, *result.notes))


def _problem(
    fun: Callable[..., Any], space: Space | None, lower: Array, upper: Array, s: Settings
) -> Problem:
    """What the user wants to be minimised. lower, upper: (dim,)."""
    n_obj = s.objectives or 1
    maximize = check_maximize(s.maximize, n_obj, s.owner)
    if isinstance(fun, Program):
        return ProgramProblem(fun, len(lower), lower, upper, maximize=maximize, n_obj=n_obj)
    name = getattr(fun, "__name__", type(fun).__name__)
    if space is not None:
        return space.problem(
            fun, name=name, vectorized=s.vectorized, maximize=maximize, n_obj=n_obj
        )
    return FunctionProblem(
        fun,
        len(lower),
        lower,
        upper,
        name=name,
        vectorized=s.vectorized,
        maximize=maximize,
        n_obj=n_obj,
    )


def solve(
    problem: Problem,
    settings: Settings,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    observers: tuple[Observer, ...] = (),
    evaluator: Evaluator | None = None,
    callback: Callable[[Intermediate], Any] | None = None,
    request: StopRequest | None = None,
) -> Result:
    """`minimize` for a Problem and Settings.

    Args:
        problem: values as minimised; where settings.maximize, they are negated in the result.
        settings: see `Settings`; the words of `minimize`.
        run_dir: as in `minimize`.
        observers: see `evoopt.observers.base`.
        evaluator: used instead of the one that the settings name; closed at the end.
        callback: as in `minimize`.
        request: the stop request to obey; default: one that catches SIGINT, and SIGTERM where
            there is a run_dir.

    Raises: as `minimize`.
    """
    plan = resolve(problem, settings)
    evaluator = evaluator or make_evaluator(
        plan.evaluator,
        problem,
        plan.workers,
        gpus=settings.gpus,
        ray_address=settings.ray_address,
        folder=None if run_dir is None else os.path.join(run_dir, "trials"),
    )
    try:
        if run_dir is None:
            return _run(problem, plan, None, observers, evaluator, callback, request)
        with take_up(run_dir, problem, plan) as run:
            stored = run.result()
            if stored is not None:
                return stored
            return _run(problem, run.plan, run, observers, evaluator, callback, request)
    finally:
        evaluator.close()


def _run(
    problem: Problem,
    plan: Plan,
    run: Any,
    observers: tuple[Observer, ...],
    evaluator: Evaluator,
    callback: Callable[[Intermediate], Any] | None,
    request: StopRequest | None,
) -> Result:
    """From the plan to the result; the log is kept where there is a `run`."""
    search = fresh_search(plan)
    pending = {} if run is None else run.replay(search, observers)
    journal = None if run is None else Journal(run.directory, search)
    if request is None:
        request = StopRequest() if run is not None else StopRequest.keyboard()
    where = None if run is None else str(run.directory.path)
    try:
        with request, _one_blas_thread():
            runner = Runner(
                search,
                evaluator,
                Limits(
                    budget=plan.budget,
                    target=plan.target,
                    seconds=plan.time_limit,
                    eval_timeout=plan.eval_timeout,
                    max_failures=plan.max_failures,
                ),
                journal=journal,
                pending=pending,
                observers=observers,
                callback=_adapted(callback, plan),
                request=request,
                takes_seed=bool(getattr(problem, "takes_seed", False)),
                asynchronous=plan.asynchronous,
            )
            reason = runner.run()
    except (Interrupted, ObjectiveError) as error:
        criterion = "interrupted" if isinstance(error, Interrupted) else "invalid"
        error.result = finished(search, plan, StopReason(criterion, 1, 1, str(error)), where)
        raise
    result = finished(search, plan, reason, where)
    if run is not None:
        run.store(result)
    for observer in observers:
        observer.finished(result)
    return result


def _adapted(
    callback: Callable[[Intermediate], Any] | None, plan: Plan
) -> Callable[[Search], object] | None:
    """The user's callback as the runner calls it."""
    if callback is None:
        return None
    sign = sign_of(plan.maximize)

    def call(search: Search) -> object:
        portrait = search.strategy.portrait(search.state)
        f = sign * search.best_f if search.best_x is not None else math.nan
        x = None if search.best_x is None else search.best_x.copy()
        front = (0, math.nan) if search.found is None else (len(search.found), search.found.volume)
        counts = search.evaluations, portrait.generation
        seen = Intermediate(x, f, portrait.mean.copy(), portrait.sigma, *counts, *front)
        try:
            asked = callback(seen)
            return isinstance(asked, bool | np.bool_) and bool(asked)
        except StopIteration:
            return True

    return call


def _one_blas_thread() -> AbstractContextManager[Any]:
    """One thread for the algebra of the search: its matrices are small, and bits may depend on the
    number of threads."""
    if os.environ.get("OPENBLAS_NUM_THREADS") == os.environ.get("OMP_NUM_THREADS") == "1":
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits

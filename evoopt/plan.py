"""From the words of a user to a plan: every default chosen, every argument checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.bounds import Transform
from evoopt.checks import check_budget, check_count, check_positive, check_seed, refuse
from evoopt.choice import evaluator_name, method
from evoopt.goal import goal_of
from evoopt.grid import Kinds, kinds_of
from evoopt.options import check_discrete, takes
from evoopt.problem import Problem
from evoopt.settings import Settings
from evoopt.space import Space
from evoopt.start import starting
from evoopt.strategies import AUTO, claims_of, strategy_class
from evoopt.strategies.base import Strategy
from evoopt.strategies.compose.bounds import Bounded
from evoopt.strategies.compose.mixed import Parts, Rounded
from evoopt.strategies.compose.portfolio import MOST_PER_VARIABLE, Portfolio
from evoopt.strategies.compose.restarts import Restarts
from evoopt.strategies.quadratic import Quadratic
from evoopt.strategies.stopping import Tolerances
from evoopt.strategies.weights import MIN_POPSIZE

Array = NDArray[np.float64]

POPSIZE_PER_WORKER = 0.5  # at least, without barrier: docs/decisions/0005-asynchronous.md
BUDGET_PER_VARIABLE = 10_000  # evaluations, where neither budget nor time limit is given


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided; what is not listed here is as in `Settings`.

    Attributes:
        settings: what was asked for.
        label: what runs, in words.
        options: of the strategy itself, checked.
        local: whether a local search by a quadratic model goes first.
        x0: (dim,), sigma0: of the first run; scale: (dim,) step sizes are multiples of it, or None.
        shape: (free, free) covariance of the first steps in these units, or None for the identity.
        lower, upper: (dim,) the box that is searched.
        known: points and values, as minimised, that are told before the first ask; or None.
        kinds: which variables are discrete.
        space: what the search vector stands for, where it has names.
        target: as minimised; -inf for none. budget, time_limit, max_failures: inf for none.
        n_obj, maximize, reference: see `evoopt.goal.Goal`.
        evaluator: name in `EVALUATORS`.
        notes: what was chosen for the user.
    """

    settings: Settings
    algorithm: str
    restarts: str
    label: str
    options: Mapping[str, object]
    local: bool
    x0: Array
    sigma0: float
    scale: Array | None
    shape: Array | None
    known: tuple[Array, Array] | None
    lower: Array
    upper: Array
    kinds: Kinds
    space: Space | None
    start_lower: Array | None
    start_upper: Array | None
    budget: float
    target: float
    seed: int
    popsize: int | None
    workers: int
    time_limit: float
    eval_timeout: float | None
    max_failures: float
    evaluator: str
    n_obj: int
    maximize: bool | tuple[bool, ...]
    reference: Array | None
    asynchronous: bool
    notes: tuple[str, ...]


def resolve(problem: Problem, settings: Settings) -> Plan:
    """Checks all and chooses what was left out.

    Raises:
        ConfigurationError: an argument cannot be used.
    """
    s, owner = settings, settings.owner
    dim = problem.dim
    goal = goal_of(problem, s)
    lower, upper = problem.lower, problem.upper
    if s.ignore_bounds:
        lower, upper = np.full(dim, -np.inf), np.full(dim, np.inf)
    if not (lower < upper).any():
        raise refuse(
            owner, "bounds", "wider than a point in at least one variable", "lower == upper"
        )
    kinds = kinds_of(problem)
    how = method(s, problem, int((lower < upper).sum()), kinds)
    if kinds.is_discrete:
        check_discrete(how.algorithm, owner, problem.n_obj)
    seed = rng.fresh_seed() if s.seed is None else check_seed(s.seed, owner)
    start = starting(s, lower, upper, seed, goal)
    notes = (*how.notes, *start.notes)
    time_limit = math.inf
    if s.time_limit is not None:
        time_limit = check_positive(s.time_limit, owner, "time_limit", " of seconds")
    budget: float = math.inf
    if s.budget is not None:
        budget = check_budget(s.budget, dim, owner)
    elif s.time_limit is None:
        budget = BUDGET_PER_VARIABLE * dim
        notes = (*notes, f"budget={budget} ({BUDGET_PER_VARIABLE} per variable)")
    most = math.inf
    if s.max_failures is not None:
        most = check_count(s.max_failures, owner, "max_failures", least=0)
    timeout = s.eval_timeout
    if timeout is not None:
        timeout = check_positive(timeout, owner, "eval_timeout", " of seconds")
    popsize = s.popsize
    if popsize is not None:
        popsize = check_count(popsize, owner, "popsize", least=MIN_POPSIZE)
    workers = check_count(s.workers, owner, "workers")
    evaluator = evaluator_name(problem, s, workers)
    plan = Plan(
        settings=s,
        algorithm=how.algorithm,
        restarts=how.restarts,
        label=how.label(s.algorithm == AUTO),
        options=how.options,
        local=how.local,
        x0=start.x0,
        sigma0=start.sigma0,
        scale=start.scale,
        shape=start.shape,
        known=start.known,
        lower=lower,
        upper=upper,
        kinds=kinds,
        space=getattr(problem, "space", None),
        start_lower=start.lower,
        start_upper=start.upper,
        budget=budget,
        target=goal.target,
        seed=seed,
        popsize=popsize,
        workers=workers,
        time_limit=time_limit,
        eval_timeout=timeout,
        max_failures=most,
        evaluator=evaluator,
        n_obj=goal.n_obj,
        maximize=goal.maximize,
        reference=goal.reference,
        asynchronous=s.asynchronous,
        notes=notes,
    )
    strategy = build(plan)  # what only the strategy can refuse is refused here
    least = math.ceil(POPSIZE_PER_WORKER * workers) if s.asynchronous else 0
    if popsize is None and strategy.popsize < least and takes(how.algorithm, "popsize"):
        grown = f"popsize={least} ({POPSIZE_PER_WORKER:g} per worker)"
        return replace(plan, popsize=least, notes=(*notes, grown))
    return replace(plan, notes=(*notes, *_idle(plan, strategy)))


def _idle(plan: Plan, strategy: Strategy) -> tuple[str, ...]:
    """A note on workers that wait for the end of generations that are smaller than they are many,
    where nobody chose them so. A local search at first waits for each value anyway."""
    busy, workers = strategy.popsize, plan.workers
    if plan.asynchronous or plan.local or plan.popsize is not None or busy >= workers:
        return ()
    return (
        f"{busy} of {workers} workers at a time, as many as there are candidates a generation; "
        f"popsize={workers} or asynchronous gives work to all",
    )


def build(plan: Plan) -> Strategy:
    """The strategy of the plan, with its compositions."""
    if plan.kinds.is_discrete:
        return _discrete(plan)
    cls, options = strategy_class(plan.algorithm), claims_of(plan.algorithm).options
    lower, upper, scale = plan.lower, plan.upper, plan.scale
    free = lower < upper
    dim = int(free.sum())
    boxed = bool(np.isfinite(lower).any() or np.isfinite(upper).any()) or scale is not None
    own = dict(plan.options)
    if claims_of(plan.algorithm).least_obj > 1:
        own["objectives"] = plan.n_obj
    if boxed and "bounds" in options:  # it keeps to the box by itself, in units of the scale
        units = 1.0 if scale is None else scale[free]
        own |= {"lower": lower[free] / units, "upper": upper[free] / units}
    if claims_of(plan.algorithm).starts and plan.start_lower is not None:
        assert plan.start_upper is not None
        own["start_lower"] = _inside(plan, plan.start_lower, boxed)
        own["start_upper"] = _inside(plan, plan.start_upper, boxed)

    @functools.cache
    def sized(popsize: int | None, warm: bool = False) -> Strategy:
        shape = {"shape": plan.shape} if warm else {}
        inner: Strategy = cls.default(dim, popsize=popsize, **own, **shape)
        if not boxed:
            return inner
        return Bounded.around(inner, lower, upper, scale, margins="bounds" not in options)

    first = sized(plan.popsize, plan.shape is not None)
    if plan.restarts != "none":
        box = (plan.start_lower, plan.start_upper)
        first = Restarts(first, sized, plan.restarts, *box, scale)
    return _after_local(plan, dim, boxed, first) if plan.local else first


def _after_local(plan: Plan, dim: int, boxed: bool, then: Strategy) -> Strategy:
    """`then` after a quadratic model, which begins in the middle of the box of starts."""
    centre = None
    if plan.start_lower is not None and plan.start_upper is not None:
        centre = _inside(plan, plan.start_lower / 2 + plan.start_upper / 2, boxed)
    model: Strategy = Quadratic.default(dim, centre=centre)
    if boxed:
        model = Bounded.around(model, plan.lower, plan.upper, plan.scale)
    return Portfolio(model, then, MOST_PER_VARIABLE * dim)


def _inside(plan: Plan, x: Array, boxed: bool) -> Array:
    """A point of the box as a strategy inside `Bounded` sees it. x: (dim,). Returns: (free,)."""
    if not boxed:
        return x
    free = plan.lower < plan.upper
    units = 1.0 if plan.scale is None else plan.scale[free]
    transform = Transform.of(plan.lower[free], plan.upper[free])
    seen: Array = transform.from_box(x[None, free])[0] / units
    return seen


def _discrete(plan: Plan) -> Strategy:
    """`build` where some variables are discrete."""
    cls, options = strategy_class(plan.algorithm), claims_of(plan.algorithm).options
    if "bounds" in options:  # random search
        return Rounded.around(
            lambda lower, upper: cls.default(
                len(lower), popsize=plan.popsize, lower=lower, upper=upper, **plan.options
            ),
            plan.kinds,
            plan.lower,
            plan.upper,
        )
    parts = Parts.of(plan.kinds, plan.lower, plan.upper)
    among = parts.numeric[plan.lower < plan.upper]
    scale = None if plan.scale is None else plan.scale[parts.numeric]

    @functools.cache
    def sized(popsize: int | None, warm: bool = False) -> Strategy:
        own = dict(plan.options)
        if warm and plan.shape is not None:
            own["shape"] = plan.shape[np.ix_(among, among)]

        def numeric(lam: int, tolerances: Tolerances) -> Strategy:
            n = int((parts.lower < parts.upper).sum())
            inner: Strategy = cls.default(n, popsize=lam, tolerances=tolerances, **own)
            return Bounded.around(inner, parts.lower, parts.upper, scale)

        return parts.make(numeric, popsize)

    first = sized(plan.popsize, plan.shape is not None)
    if plan.restarts == "none":
        return first
    return Restarts(first, sized, plan.restarts, plan.start_lower, plan.start_upper, plan.scale)

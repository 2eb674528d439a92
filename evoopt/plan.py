"""From the words of a user to a plan: every default chosen, every argument checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.checks import (
    check_budget,
    check_count,
    check_positive,
    check_seed,
    check_sigma,
    check_start,
    check_target,
    refuse,
)
from evoopt.errors import ConfigurationError
from evoopt.problem import Problem
from evoopt.strategies import AUTO, strategy_class
from evoopt.strategies.base import Strategy
from evoopt.strategies.compose.bounds import Bounded
from evoopt.strategies.compose.restarts import POLICIES, Restarts
from evoopt.strategies.random import RandomSearch
from evoopt.strategies.weights import MIN_POPSIZE

Array = NDArray[np.float64]

AUTO_ALGORITHM, AUTO_RESTARTS = "cma-es", "bipop"
BUDGET_PER_VARIABLE = 10_000  # evaluations, where neither budget nor time limit is given
SIGMA_SHARE = 0.2  # of the width of the box: a fifth, so that +-2.5 sigma span it
SIGMA_MOST = 1e100  # squares of steps stay finite
SIGMA_WIDTHS = 1e3  # of the box: beyond it, samples are uniform in the box whatever sigma is
_START_PATH = (-1,)  # stream of random numbers of the first start


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do with a problem: the words and meanings of `minimize`, and four more.

    Attributes:
        start_lower, start_upper: (dim,) box from which starts are drawn; default: the bounds, and
            the first start is their centre.
        ignore_bounds: search R^n although the problem has a box.
        asynchronous: apply each result as it comes, without waiting for its generation.
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
    maximize: bool = False
    start_lower: Sequence[float] | None = None
    start_upper: Sequence[float] | None = None
    ignore_bounds: bool = False
    asynchronous: bool = False
    owner: str = "minimize"

    def plain(self) -> dict[str, Any]:
        """As JSON values, for a manifest; the owner is left out, being no part of the search."""
        words = asdict(self)
        del words["owner"]
        return {word: _json(value) for word, value in words.items()}


def _json(value: Any) -> Any:
    """A word of a user as it comes back from a manifest: plain numbers, lists for sequences."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_json(v) for v in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided; what is not listed here is as in `Settings`.

    Attributes:
        settings: what was asked for.
        label: what runs, in words.
        x0: (dim,), sigma0: of the first run; scale: (dim,) step sizes are multiples of it, or None.
        lower, upper: (dim,) the box that is searched.
        target: as minimised; -inf for none. budget, time_limit, max_failures: inf for none.
        evaluator: name in `EVALUATORS`.
        notes: what was chosen for the user.
    """

    settings: Settings
    algorithm: str
    restarts: str
    label: str
    x0: Array
    sigma0: float
    scale: Array | None
    lower: Array
    upper: Array
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
    maximize: bool
    asynchronous: bool
    notes: tuple[str, ...]


def resolve(problem: Problem, settings: Settings) -> Plan:
    """Checks all and chooses what was left out.

    Raises:
        ConfigurationError: an argument cannot be used.
    """
    s, owner = settings, settings.owner
    dim = problem.dim
    if problem.n_obj != 1:
        raise refuse(owner, "fun", "of one objective", f"{problem.n_obj} objectives")
    lower, upper = problem.lower, problem.upper
    if s.ignore_bounds:
        lower, upper = np.full(dim, -np.inf), np.full(dim, np.inf)
    if not (lower < upper).any():
        raise refuse(
            owner, "bounds", "wider than a point in at least one variable", "lower == upper"
        )
    algorithm, restarts = _method(s)
    seed = rng.fresh_seed() if s.seed is None else check_seed(s.seed, owner)
    start_box = _start_box(s, lower, upper)
    x0, notes = _start(s, dim, lower, upper, start_box, seed)
    sigma, notes = _sigma(s, x0, lower, upper, notes)
    time_limit = math.inf
    if s.time_limit is not None:
        time_limit = check_positive(s.time_limit, owner, "time_limit", " of seconds")
    budget: float = math.inf
    if s.budget is not None:
        budget = check_budget(s.budget, dim, owner)
    elif s.time_limit is None:
        budget = BUDGET_PER_VARIABLE * dim
        notes = (*notes, f"budget={budget} ({BUDGET_PER_VARIABLE} per variable)")
    target = -math.inf
    if s.target is not None:
        target = check_target(s.target, owner) * (-1 if s.maximize else 1)
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
    evaluator = _evaluator(s, workers)
    sigma0 = float(sigma.max())
    scale = None if (sigma == sigma0).all() else sigma / sigma0
    prefix = "auto: " if s.algorithm == AUTO else ""
    suffix = "" if restarts == "none" else f" with {restarts.upper()} restarts"
    plan = Plan(
        settings=s,
        algorithm=algorithm,
        restarts=restarts,
        label=f"{prefix}{algorithm}{suffix}",
        x0=x0,
        sigma0=sigma0,
        scale=scale,
        lower=lower,
        upper=upper,
        start_lower=start_box[0],
        start_upper=start_box[1],
        budget=budget,
        target=target,
        seed=seed,
        popsize=popsize,
        workers=workers,
        time_limit=time_limit,
        eval_timeout=timeout,
        max_failures=most,
        evaluator=evaluator,
        maximize=s.maximize,
        asynchronous=s.asynchronous,
        notes=notes,
    )
    build(plan)  # what only the strategy can refuse is refused here
    return plan


def build(plan: Plan) -> Strategy:
    """The strategy of the plan, with its compositions."""
    cls = strategy_class(plan.algorithm)
    lower, upper = plan.lower, plan.upper
    if cls is RandomSearch:
        random: Strategy = RandomSearch.default(
            len(lower), popsize=plan.popsize, lower=lower, upper=upper
        )
        return random
    dim = int((lower < upper).sum())
    boxed = bool(np.isfinite(lower).any() or np.isfinite(upper).any()) or plan.scale is not None

    @functools.cache
    def sized(popsize: int | None) -> Strategy:
        inner: Strategy = cls.default(dim, popsize=popsize)
        return Bounded.around(inner, lower, upper, plan.scale) if boxed else inner

    if plan.restarts == "none":
        return sized(plan.popsize)
    return Restarts(
        sized(plan.popsize),
        sized,
        plan.restarts,
        plan.start_lower,
        plan.start_upper,
        plan.scale,
    )


def _method(s: Settings) -> tuple[str, str]:
    """Algorithm and restart policy."""
    if s.restarts is not None and s.restarts not in POLICIES:
        raise refuse(s.owner, "restarts", f"one of {', '.join(POLICIES)}", s.restarts)
    if s.algorithm == AUTO:
        return AUTO_ALGORITHM, s.restarts or AUTO_RESTARTS
    cls = strategy_class(s.algorithm, s.owner)  # refuses an unknown name, with a suggestion
    restarts = s.restarts or "none"
    if restarts != "none" and "restarts" not in cls.default(1).claims.options:
        raise ConfigurationError(
            f"{s.owner}(restarts=...) must be left out with algorithm {s.algorithm!r}, which never "
            f"stops by itself; got {restarts!r}"
        )
    return s.algorithm, restarts


def _start_box(s: Settings, lower: Array, upper: Array) -> tuple[Array | None, Array | None]:
    """Where restarts begin: the start box, the bounds if they are finite, or nowhere."""
    if s.start_lower is not None and s.start_upper is not None:
        return np.array(s.start_lower, dtype=float), np.array(s.start_upper, dtype=float)
    if np.isfinite(lower).all() and np.isfinite(upper).all():
        return lower, upper
    return None, None


def _start(
    s: Settings,
    dim: int,
    lower: Array,
    upper: Array,
    box: tuple[Array | None, Array | None],
    seed: int,
) -> tuple[Array, tuple[str, ...]]:
    """x0 as given, drawn from the start box, or the centre of the bounds; and notes."""
    if s.x0 is not None:
        x0 = check_start(s.x0, s.owner)
        if len(x0) != dim:
            raise refuse(s.owner, "x0", f"of length {dim}", s.x0)
        outside = np.flatnonzero((x0 < lower) | (x0 > upper))
        if outside.size:
            i = int(outside[0])
            raise ConfigurationError(
                f"{s.owner}(x0=...) must lie within the bounds; "
                f"got x0[{i}]={x0[i]:g} outside [{lower[i]:g}, {upper[i]:g}]"
            )
        return x0, ()
    if box[0] is None or box[1] is None:
        raise ConfigurationError(
            f"{s.owner}(x0=...) must be given where a variable has no finite bounds; got none"
        )
    if s.start_lower is not None:
        u = rng.uniforms(seed, _START_PATH, 0, 1, dim)[0]
        return box[0] * (1 - u) + box[1] * u, ()
    return box[0] / 2 + box[1] / 2, ("x0 is the centre of the bounds",)


def _sigma(
    s: Settings, x0: Array, lower: Array, upper: Array, notes: tuple[str, ...]
) -> tuple[Array, tuple[str, ...]]:
    """(dim,) initial step sizes as given, or a fifth of the width, or of the size of x0."""
    if s.sigma0 is not None:
        return _reaching(s, check_sigma(s.sigma0, len(x0), s.owner), x0, lower, upper), notes
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(upper - lower), upper - lower, np.maximum(1.0, abs(x0)))
    sigma = SIGMA_SHARE * np.where(width > 0, width, width.max())
    shown = f"{sigma[0]:g}" if (sigma == sigma[0]).all() else "one per variable"
    of = "the width of the bounds" if np.isfinite(upper - lower).all() else "max(1, |x0|)"
    return sigma, (*notes, f"sigma0={shown} ({SIGMA_SHARE:g} of {of})")


def _reaching(s: Settings, sigma: Array, x0: Array, lower: Array, upper: Array) -> Array:
    """The step sizes, if they neither vanish against x0 nor dwarf what is searched."""
    free = lower < upper
    lost = np.flatnonzero(free & (x0 + sigma == x0))
    if lost.size:
        expected = f"large enough to change x0[{lost[0]}]={x0[lost[0]]:g}"
        raise refuse(s.owner, "sigma0", expected, s.sigma0)
    with np.errstate(over="ignore", invalid="ignore"):
        most = min(SIGMA_MOST, SIGMA_WIDTHS * float((upper - lower)[free].max()))
    if (sigma[free] > most).any():
        raise refuse(s.owner, "sigma0", f"at most {most:g}, of the size of the region", s.sigma0)
    return sigma


def _evaluator(s: Settings, workers: int) -> str:
    """Name of the evaluator that serves workers, isolation and time-outs."""
    isolate = s.isolate
    if isolate is None:
        isolate = workers > 1 or s.eval_timeout is not None
    if not isolate and workers > 1:
        raise refuse(s.owner, "isolate", "true with more than one worker", s.isolate)
    if not isolate and s.eval_timeout is not None:
        raise refuse(s.owner, "isolate", "true for a time-out per evaluation", s.isolate)
    if isolate:
        return "pool"
    return "vectorized" if s.vectorized else "serial"

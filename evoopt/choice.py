"""What runs: the algorithm, by name or as `auto` chooses it, and the evaluator that serves it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from evoopt.checks import check_budget, refuse
from evoopt.evaluators import EVALUATORS, IN_PROCESS
from evoopt.evaluators.tasks import Tasked
from evoopt.grid import Kinds
from evoopt.options import check_discrete, check_objectives, check_options, check_shared, is_for
from evoopt.problem import Problem
from evoopt.settings import Settings
from evoopt.strategies import AUTO, STRATEGIES, claims_of, strategy_class
from evoopt.strategies.compose.restarts import POLICIES

MOST_LOCAL = 50  # variables of the quadratic model: its equations take O(dim^3) a step
MOST_FULL = 1000  # variables of cma-es: above, a generation takes it over 10 ms
SHORT = 100  # evaluations per variable, too few for a matrix: reports/2026-11-23-bbob-largescale
_FOR_SEVERAL = ("hmo-cma-es", "mo-cma-es", "random")  # the first that takes so many objectives


class Method(NamedTuple):
    """An algorithm of the registry, and what is around it.

    Attributes:
        algorithm: its name. restarts: policy, or "none".
        options: of the algorithm itself.
        local: whether `quadratic` goes before it.
        notes: why, where it was chosen for the user.
    """

    algorithm: str
    restarts: str
    options: dict[str, object]
    local: bool
    notes: tuple[str, ...]

    def label(self, auto: bool) -> str:
        """In words."""
        before = "auto: " if auto else ""
        first = "quadratic, then " if self.local else ""
        after = "" if self.restarts == "none" else f" with {self.restarts.upper()} restarts"
        return f"{before}{first}{self.algorithm}{after}"


def method(s: Settings, problem: Problem, dim: int, kinds: Kinds) -> Method:
    """The method that the settings name, or the right one. dim: variables that are not fixed.

    Raises:
        ConfigurationError: an unknown algorithm, or an option that it does not take.
    """
    if s.restarts is not None and s.restarts not in POLICIES:
        raise refuse(s.owner, "restarts", f"one of {', '.join(POLICIES)}", s.restarts)
    if s.algorithm == AUTO and problem.n_obj > 1:
        return _auto_several(s, problem.n_obj, kinds)
    if s.algorithm == AUTO:
        return _auto(s, problem, dim, kinds)
    strategy_class(s.algorithm, s.owner)  # refuses an unknown name, with a suggestion
    check_objectives(s.algorithm, problem.n_obj, s.owner)
    check_shared(s.algorithm, s, problem.n_obj)
    if kinds.is_discrete:
        check_discrete(s.algorithm, s.owner, problem.n_obj)
    options = check_options(s.algorithm, s.options, s.owner)
    algorithm, options, notes = _fitting(s.algorithm, options, dim)
    return Method(algorithm, s.restarts or "none", options, False, notes)


def _auto_several(s: Settings, n_obj: int, kinds: Kinds) -> Method:
    """What searches for a front best, as far as it takes so many objectives."""
    algorithm = next(n for n in _FOR_SEVERAL if n in STRATEGIES and is_for(n, n_obj))
    if kinds.is_discrete:
        check_discrete(algorithm, s.owner, n_obj, asked=AUTO)
    check_shared(algorithm, s, n_obj)
    options = check_options(algorithm, s.options, s.owner)
    return Method(algorithm, "none", options, False, (f"auto: {algorithm}: {n_obj} objectives",))


def _auto(s: Settings, problem: Problem, dim: int, kinds: Kinds) -> Method:
    """A quadratic model first, where it pays, then BIPOP restarts of what fits the dimension."""
    algorithm, because = _strategy(s, problem, dim, kinds)
    check_shared(algorithm, s)
    options = check_options(algorithm, s.options, s.owner)
    against = _against_local(s, problem, dim, kinds)
    if against:
        why = f"auto: {algorithm}{because} without a quadratic model before: {against}"
    else:
        why = f"auto: a quadratic model first, then {algorithm} from where it ends"
    return Method(algorithm, s.restarts or "bipop", options, not against, (why,))


def _strategy(s: Settings, problem: Problem, dim: int, kinds: Kinds) -> tuple[str, str]:
    """The evolution strategy, and why not the usual one."""
    if kinds.is_discrete:
        return "cma-es", ""
    if dim > MOST_FULL:
        return "lm-ma-es", ""
    plain = s.warm_start is None and not s.options and s.budget is not None
    if plain and dim >= claims_of("lm-ma-es").least_dim:
        budget = check_budget(s.budget, problem.dim, s.owner)
        if budget <= SHORT * dim:
            return "lm-ma-es", f", as a budget of {budget} is short for {dim} variables,"
    return "cma-es", ""


def _against_local(s: Settings, problem: Problem, dim: int, kinds: Kinds) -> str:
    """Why no quadratic model goes first; "" where it does."""
    if kinds.is_discrete:
        return "some variables are discrete"
    if getattr(problem, "takes_seed", False):
        return "the function is stochastic"
    if s.batches:
        return "several candidates are wanted at a time"
    if s.asynchronous:
        return "it would leave workers idle"
    if s.warm_start is not None:
        return "the search begins with earlier evaluations"
    if s.popsize is not None:
        return "a popsize was given"
    if dim > MOST_LOCAL:
        return f"more than {MOST_LOCAL} variables"
    return ""


def _fitting(
    algorithm: str, options: dict[str, object], dim: int
) -> tuple[str, dict[str, object], tuple[str, ...]]:
    """The strategy and its options, or the one that serves so few variables; and a note on it."""
    claims = claims_of(algorithm)
    if dim >= claims.least_dim:
        return algorithm, options, ()
    left = f", without its options ({', '.join(options)})" if options else ""
    note = (
        f"{claims.instead} in place of {algorithm}{left}: that one remembers a few directions of "
        f"many and is for {claims.least_dim} variables or more; here are {dim}"
    )
    return claims.instead, {}, (note,)


def evaluator_name(problem: Problem, s: Settings, workers: int) -> str:
    """Name of the evaluator that serves the problem, workers, isolation and time-outs."""
    if s.engine is not None and s.engine not in EVALUATORS:
        raise refuse(s.owner, "engine", f"one of {', '.join(EVALUATORS)}", s.engine)
    if s.ray_address is not None and s.engine != "ray":
        raise refuse(s.owner, "ray_address", "left out but with engine='ray'", s.ray_address)
    if isinstance(problem, Tasked):
        if s.engine not in (None, "process"):
            raise refuse(s.owner, "engine", "'process' for a program, or left out", s.engine)
        if s.isolate is False:
            raise refuse(s.owner, "isolate", "left out for a program", s.isolate)
        if s.vectorized:
            raise refuse(s.owner, "vectorized", "false for a program", s.vectorized)
        s = replace(s, engine="process")
    if s.gpus is not None and s.engine != "process":
        raise refuse(s.owner, "gpus", "left out but with engine='process'", s.gpus)
    if s.gpus is not None and not (isinstance(s.gpus, list | tuple) and s.gpus):
        raise refuse(s.owner, "gpus", "a list such as [0, 1]", s.gpus)
    if s.engine is not None:
        engine, word, way_out = s.engine, "engine", "left out, or another,"
    else:
        needed = workers > 1 or s.eval_timeout is not None
        apart = needed if s.isolate is None else s.isolate
        engine = "pool" if apart else "vectorized" if s.vectorized else "serial"
        word, way_out = "isolate", "true"
    inside = engine in IN_PROCESS
    if s.engine is not None and s.isolate is inside:
        raise refuse(s.owner, "isolate", f"left out with engine={engine!r}", s.isolate)
    if inside and workers > 1:
        raise refuse(s.owner, word, f"{way_out} with more than one worker", getattr(s, word))
    if inside and s.eval_timeout is not None:
        raise refuse(s.owner, word, f"{way_out} for a time-out per evaluation", getattr(s, word))
    return engine

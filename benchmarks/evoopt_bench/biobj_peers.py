"""Multi-objective optimizers of other projects behind one call: `BIOBJ_PEERS` names them.

Each takes a `BiobjTrial` and runs until it is over. All evaluate the same first point, the middle
of the box; those that sample at first take it into their first population, whose other members are
uniform in the box. Settings are the defaults of their authors but for what is said here. Packages
(extra ``mopeers``, Optuna's in ``peers``) are imported when they run.
"""

from __future__ import annotations

import functools
import importlib
import math
import types
from typing import Any

import numpy as np

from evoopt.result import Array
from evoopt_bench.biobj_trial import BiobjTrial
from evoopt_bench.peers import Peer

_EXTRA = "mopeers"
_KERNELS = 10  # of COMO-CMA-ES
_DEAP_MU = 10  # parents and offspring, as in DEAP's example cma_mo.py
_FOREVER = 10**9  # generations: the trial ends the search
_OLD_NUMPY = "numpy.random"  # the global generator, from which comocma and DEAP draw


def _module(name: str) -> types.ModuleType:
    return importlib.import_module(name)


def _first_population(trial: BiobjTrial, size: int) -> Array:
    """(size, dim) the start, then uniform in the box."""
    return np.array([trial.start, *(trial.draw() for _ in range(size - 1))])


def _pymoo(trial: BiobjTrial, algorithm: Any) -> None:
    """Run an algorithm of pymoo."""

    def evaluate(self: object, X: Array, out: dict[str, Array], *args: Any, **kw: Any) -> None:
        out["F"] = trial.rows(X)

    base = _module("pymoo.core.problem").Problem
    problem = type("Trial", (base,), {"_evaluate": evaluate})(
        n_var=trial.dim, n_obj=2, xl=trial.lower, xu=trial.upper
    )
    end = ("n_gen", _FOREVER)
    _module("pymoo.optimize").minimize(problem, algorithm, end, seed=trial.next_seed())


def _nsga2(trial: BiobjTrial, popsize: int) -> None:
    cls = _module("pymoo.algorithms.moo.nsga2").NSGA2
    _pymoo(trial, cls(pop_size=popsize, sampling=_first_population(trial, popsize)))


def _sms_emoa(trial: BiobjTrial, popsize: int) -> None:
    cls = _module("pymoo.algorithms.moo.sms").SMSEMOA
    _pymoo(trial, cls(pop_size=popsize, sampling=_first_population(trial, popsize)))


def _moead(trial: BiobjTrial, popsize: int) -> None:
    directions = _module("pymoo.util.ref_dirs").get_reference_directions
    weights = directions("das-dennis", 2, n_partitions=popsize - 1)
    cls = _module("pymoo.algorithms.moo.moead").MOEAD
    _pymoo(trial, cls(weights, sampling=_first_population(trial, popsize)))


def _comocma(trial: BiobjTrial) -> None:
    """Kernels begin at the start and at fresh ones; a kernel that ended is begun anew at another.

    It needs a reference point: the larger of the values at all first means in each objective; they
    are evaluated for it, and count.
    """
    package = _module("comocma")
    means = np.array([trial.next_start() for _ in range(_KERNELS)])
    reference = trial.rows(means).max(axis=0)
    # the first kernel seeds the generator that all share; NaN leaves it as it is
    seeds = [trial.next_seed() + 1, *[math.nan] * (_KERNELS - 1)]
    options = [{"seed": seed, "verbose": -9} for seed in seeds]
    kernels = package.get_cmas(means.tolist(), trial.sigma0, options)
    again = functools.partial(
        package.como.random_restart_kernel,
        x0_fct=lambda dim: trial.next_start(),
        opts={"seed": math.nan, "verbose": -9},
    )
    search = package.Sofomore(kernels, reference.tolist(), {"restart": again, "archive": False})
    while True:
        X = search.ask()
        search.tell(X, trial.rows(np.array(X)).tolist())


def _optuna(trial: BiobjTrial, sampler: str) -> None:
    optuna = _module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drawing = getattr(optuna.samplers, sampler)(seed=trial.next_seed())
    study = optuna.create_study(directions=["minimize"] * 2, sampler=drawing)
    names = [f"x{k}" for k in range(trial.dim)]
    study.enqueue_trial(dict(zip(names, trial.start.tolist(), strict=True)))
    box = list(zip(names, trial.lower.tolist(), trial.upper.tolist(), strict=True))

    def objective(asked: Any) -> list[float]:
        return trial([asked.suggest_float(*variable) for variable in box])

    study.optimize(objective, n_trials=trial.budget)


def _deap(trial: BiobjTrial) -> None:
    """The loop of DEAP's example cma_mo.py, whose first population is as for the others."""
    fitness = type("Fitness", (_module("deap.base").Fitness,), {"weights": (-1.0, -1.0)})

    class Individual(list[float]):
        def __init__(self, x: Array) -> None:
            list.__init__(self, np.asarray(x).tolist())
            self.fitness = fitness()

    def evaluated(individuals: list[Individual]) -> list[Individual]:
        for individual, values in zip(individuals, trial.rows(np.array(individuals)), strict=True):
            individual.fitness.values = tuple(values.tolist())
        return individuals

    _module(_OLD_NUMPY).seed(trial.next_seed())
    first = evaluated([Individual(x) for x in _first_population(trial, _DEAP_MU)])
    cls = _module("deap.cma").StrategyMultiObjective
    search = cls(first, sigma=trial.sigma0, mu=_DEAP_MU, lambda_=_DEAP_MU)
    while True:
        search.update(evaluated(search.generate(Individual)))


def _random(trial: BiobjTrial) -> None:
    trial(trial.start)
    while True:
        trial(trial.draw())


BIOBJ_PEERS: dict[str, Peer[BiobjTrial]] = {
    "nsga2-20": Peer(
        lambda trial: _nsga2(trial, 20),
        "pymoo's NSGA-II, population 20, in the box",
        "pymoo",
        _EXTRA,
    ),
    "nsga2-100": Peer(
        lambda trial: _nsga2(trial, 100), "the same, population 100", "pymoo", _EXTRA
    ),
    "sms-emoa": Peer(
        lambda trial: _sms_emoa(trial, 100),
        "pymoo's SMS-EMOA, population 100, in the box",
        "pymoo",
        _EXTRA,
    ),
    "moead": Peer(
        lambda trial: _moead(trial, 100),
        "pymoo's MOEA/D, 100 directions, in the box",
        "pymoo",
        _EXTRA,
    ),
    "comocma": Peer(
        _comocma,
        "COMO-CMA-ES, 10 kernels, restarted at random; reference point: the larger value at the "
        "first means",
        "comocma",
        _EXTRA,
    ),
    "optuna-nsga2": Peer(
        lambda trial: _optuna(trial, "NSGAIISampler"),
        "Optuna's NSGAIISampler, in the box",
        "optuna",
    ),
    "optuna-tpe": Peer(
        lambda trial: _optuna(trial, "TPESampler"), "Optuna's TPESampler, in the box", "optuna"
    ),
    "deap-mo-cma-es": Peer(
        _deap, "DEAP's MO-CMA-ES, 10 parents and offspring as in its example", "deap", _EXTRA
    ),
    "random": Peer(_random, "uniform in the box"),
}

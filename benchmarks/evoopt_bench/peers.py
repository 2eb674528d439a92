"""Optimizers of other projects behind one call: `PEERS` names them.

Each takes a `Trial`, a callable problem that knows start, step size, box, budget and target, and
runs until the trial is over or it has nothing more to try. All begin at the same start; those that
can be started again do so from fresh draws of the start box. Settings are the defaults of their
authors but for what is said here. Packages (extra ``peers``) are imported when they run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

from evoopt.errors import ConfigurationError, missing
from evoopt.result import Array
from evoopt_bench.trial import Over, Trial

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Peer(Generic[T]):
    """An optimizer of another project, for trials of type T.

    Attributes:
        run: carries a trial out.
        about: what it is, and what is not its author's default.
        package: the distribution that brings it; "" for none.
        extra: of ours that installs it.
    """

    run: Callable[[T], None]
    about: str
    package: str = ""
    extra: str = "peers"

    @property
    def made_by(self) -> str:
        """Package and version."""
        return f"{self.package} {metadata.version(self.package)}" if self.package else "evoopt"


def carry_out(name: str, trial: Trial) -> None:
    """Run a peer on the trial until it is over or the peer stops by itself."""
    with suppress(Over):
        PEERS[name].run(trial)


def check_peer(name: str, peer: Peer[Any]) -> None:
    """Refuse a peer that is not installed.

    Raises:
        MissingDependencyError: with the extra that brings it.
    """
    try:
        if peer.package:
            metadata.version(peer.package)
    except metadata.PackageNotFoundError as error:
        raise missing(peer.package, peer.extra, f"peer '{name}'") from error


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _one_step(trial: Trial) -> float:
    """The initial step size of a method that takes one number for all variables.

    Raises:
        ConfigurationError: the ranges of the variables differ.
    """
    if isinstance(trial.sigma0, list):
        raise ConfigurationError(
            f"this peer takes one step size for all variables; {trial.name} has variables of "
            "different ranges: leave the peer out"
        )
    return trial.sigma0


def _cma_options(trial: Trial, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "maxfevals": trial.budget,
        "ftarget": trial.target,
        "verbose": -9,
        "seed": trial.next_seed() + 1,
    }
    if isinstance(trial.sigma0, list):
        options["CMA_stds"] = trial.sigma0
    if trial.problem.bounds_apply:
        options["bounds"] = [trial.lower.tolist(), trial.upper.tolist()]
    if trial.integers.any():
        options["integer_variables"] = np.flatnonzero(trial.integers).tolist()
    return options | more


def _cma(trial: Trial, restarts: int = 0, *, bipop: bool = False, **more: Any) -> None:
    step = 1.0 if isinstance(trial.sigma0, list) else trial.sigma0
    options = _cma_options(trial, **more)
    starts = trial.next_start
    _module("cma").fmin2(trial, starts, step, options, restarts=restarts, bipop=bipop)


def _cma_vkd(trial: Trial) -> None:
    sampler = _module("cma.restricted_gaussian_sampler").GaussVkDSampler
    options = sampler.extend_cma_options(_cma_options(trial))
    _module("cma").fmin2(trial, trial.next_start, _one_step(trial), options, restarts=9)


def _cma_lq(trial: Trial) -> None:
    options = _cma_options(trial)
    _module("cma").fmin_lq_surr2(trial, trial.next_start, _one_step(trial), options, restarts=9)


def _cmaes(trial: Trial) -> None:
    """The IPOP loop of the package's README."""
    cls, popsize = _module("cmaes").CMA, None
    bounds = np.column_stack([trial.lower, trial.upper]) if trial.problem.bounds_apply else None
    while True:
        es = cls(
            mean=trial.next_start(),
            sigma=_one_step(trial),
            bounds=bounds,
            seed=trial.next_seed(),
            population_size=popsize,
        )
        while not es.should_stop():
            X = [es.ask() for _ in range(es.population_size)]
            es.tell([(x, trial(x)) for x in X])
        popsize = 2 * es.population_size


def _cmaes_margin(trial: Trial) -> None:
    """CMA-ES with margin, its variables scaled to a common range, restarted as `_cmaes` is."""
    cls, popsize = _module("cmaes").CMAwM, None
    unit = np.asarray(trial.sigma0) * np.ones(trial.dim)
    steps = np.where(trial.integers, 1.0 / unit, 0.0)
    box = np.column_stack([trial.lower / unit, trial.upper / unit])
    while True:
        es = cls(
            mean=trial.next_start() / unit,
            sigma=1.0,
            bounds=box,
            steps=steps,
            seed=trial.next_seed(),
            population_size=popsize,
        )
        while not es.should_stop():
            told = []
            for _ in range(es.population_size):
                x, tell = es.ask()
                told.append((tell, trial(x * unit)))
            es.tell(told)
        popsize = 2 * es.population_size


class _Generator:
    """The one call that fcmaes makes of a numpy Generator: it draws a seed."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._trial.next_seed() / 2**31


def _fcmaes(trial: Trial) -> None:
    minimize = _module("fcmaes.cmaescpp").minimize
    while True:
        minimize(
            trial,
            bounds=_scipy_box(trial) if trial.problem.bounds_apply else None,
            x0=trial.next_start(),
            input_sigma=_one_step(trial),
            max_evaluations=trial.left,
            stop_fitness=trial.target,
            rg=_Generator(trial),
            normalize=trial.problem.bounds_apply,
        )
        trial.check()


def _fcmaes_bite(trial: Trial) -> None:
    minimize, box = _module("fcmaes.bitecpp").minimize, _scipy_box(trial)
    while True:
        minimize(
            trial,
            bounds=box,
            x0=trial.next_start(),
            max_evaluations=trial.left,
            stop_fitness=trial.target,
            rg=_Generator(trial),
        )
        trial.check()


def _scipy_de(trial: Trial) -> None:
    evolve = _module("scipy.optimize").differential_evolution
    while True:
        evolve(
            trial,
            list(zip(trial.lower, trial.upper, strict=True)),
            x0=trial.next_start(),
            rng=trial.next_seed(),
            maxiter=trial.budget,
            integrality=trial.integers,
        )


def _scipy_bfgs(trial: Trial) -> None:
    minimize = _module("scipy.optimize").minimize
    while True:
        with np.errstate(all="ignore"):
            minimize(trial, trial.next_start(), method="BFGS")


def _pybobyqa(trial: Trial) -> None:
    solve, half = _module("pybobyqa").solve, np.min(trial.sigma0) / 2
    box = (trial.lower, trial.upper) if trial.problem.bounds_apply else None
    while True:
        solve(
            trial,
            trial.next_start(),
            bounds=box,
            npt=2 * trial.dim + 1,
            rhobeg=half,
            maxfun=max(trial.left, 2 * trial.dim + 2),
            objfun_has_noise=trial.noisy,
            do_logging=False,
        )


def _optuna_tpe(trial: Trial) -> None:
    optuna = _module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=trial.next_seed()))
    names = [f"x{k}" for k in range(trial.dim)]
    study.enqueue_trial(dict(zip(names, trial.next_start().tolist(), strict=True)))

    def objective(asked: Any) -> float:
        return trial([_suggested(asked, trial, k) for k in range(trial.dim)])

    study.optimize(objective, n_trials=trial.budget)


def _suggested(asked: Any, trial: Trial, k: int) -> float:
    low, high = trial.lower[k], trial.upper[k]
    if trial.integers[k]:
        return float(asked.suggest_int(f"x{k}", int(low), int(high)))
    return float(asked.suggest_float(f"x{k}", low, high))


def _random(trial: Trial) -> None:
    while True:
        x = trial.draw()
        trial(
            np.where(trial.integers, np.floor(trial.lower + (x - trial.lower) * _cells(trial)), x)
        )


def _cells(trial: Trial) -> Array:
    """Values over width of each integer variable, so that all are equally likely."""
    width = trial.upper - trial.lower
    return np.asarray((width + 1) / width)


def _scipy_box(trial: Trial) -> Any:
    return _module("scipy.optimize").Bounds(trial.lower, trial.upper)


PEERS: dict[str, Peer[Trial]] = {
    "cma": Peer(_cma, "pycma's fmin2: one run of CMA-ES, not restarted", "cma"),
    "cma-bipop": Peer(
        lambda trial: _cma(trial, 9, bipop=True),
        "pycma's fmin2(bipop=True, restarts=9)",
        "cma",
    ),
    "cma-sep": Peer(
        lambda trial: _cma(trial, 9, CMA_diagonal=True),
        "pycma's fmin2 with a diagonal covariance matrix, restarts=9 (IPOP)",
        "cma",
    ),
    "cma-vkd": Peer(_cma_vkd, "pycma's VkD-CMA, restarts=9 (IPOP)", "cma"),
    "cma-lq": Peer(
        _cma_lq, "pycma's fmin_lq_surr2: linear-quadratic surrogate, restarts=9 (IPOP)", "cma"
    ),
    "cmaes": Peer(_cmaes, "cmaes.CMA in the IPOP loop of its README", "cmaes"),
    "cmaes-margin": Peer(
        _cmaes_margin, "cmaes.CMAwM, CMA-ES with margin, in the same loop", "cmaes"
    ),
    "fcmaes": Peer(_fcmaes, "fcmaes' C++ active CMA-ES (popsize 31), restarted", "fcmaes"),
    "fcmaes-bite": Peer(_fcmaes_bite, "fcmaes' C++ BiteOpt, in the box", "fcmaes"),
    "scipy-de": Peer(_scipy_de, "scipy's differential_evolution, in the box, restarted", "scipy"),
    "scipy-bfgs": Peer(_scipy_bfgs, "scipy's BFGS with finite differences, restarted", "scipy"),
    "pybobyqa": Peer(
        _pybobyqa, "Py-BOBYQA, 2D+1 points, radius sigma0/2, restarted", "Py-BOBYQA", "bobyqa"
    ),
    "optuna-tpe": Peer(_optuna_tpe, "Optuna's TPESampler, in the box", "optuna"),
    "random": Peer(_random, "uniform in the box"),
}

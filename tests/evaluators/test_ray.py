"""Laws of the engine `ray`: what holds for the pool holds for actors, and Ray leaves no traces.

Ray takes some seconds to start and some 500 MB: all laws that need it are subtests of one test, so
that it is started once, however many processes share the tests.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import evoopt
from evoopt.errors import ConfigurationError, MissingDependencyError
from evoopt.evaluators import make_evaluator, raypool
from evoopt.evaluators.base import merged
from evoopt.problem import FunctionProblem, load_function
from evoopt.result import INVALID, KILLED, RAISED, TIMEOUT

DIM = 3
PATIENCE = 60.0  # seconds; reached only where something hangs
ROOT = Path(__file__).parents[2]
LAWS: list[Callable[..., None]] = []


def law(function):
    LAWS.append(function)
    return function


def pool(fun, dim=DIM, workers=2):
    bound = np.full(dim, np.inf)
    return make_evaluator("ray", FunctionProblem(fun, dim, -bound, bound), workers)


def evaluated(evaluator, X, seeds=None, deadline=None):
    """F and failures of all rows of X by one submit, in the order of X."""
    evaluator.submit(np.arange(len(X)), X, seeds, deadline)
    batches, end = [], time.monotonic() + PATIENCE
    while sum(len(batch.ids) for batch in batches) < len(X):
        assert time.monotonic() < end, "the engine hangs"
        batch = evaluator.poll(1.0)
        batches += [batch] if batch else []
    whole = merged(batches)
    order = np.argsort(whole.ids)
    assert whole.ids[order].tolist() == list(range(len(X)))
    return whole.values.F[order], {int(whole.ids[i]): f for i, f in whole.values.failures.items()}


def orders(*actions):
    return np.array([[action, 10.0 * row, 0.0] for row, action in enumerate(actions)])


def behaving(x):
    """x[0] says what to do; the return value is x[1]."""
    actions = {
        1: lambda: os._exit(0),
        3: lambda: os.kill(os.getpid(), signal.SIGKILL),
        4: lambda: ctypes.string_at(0),
        5: lambda: sys.exit(1),
        6: lambda: time.sleep(1000),
    }
    actions.get(int(x[0]), lambda: None)()
    return None if x[0] == 7 else float(x[1])


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


@law
def values_of_several_objectives_come_as_rows(evaluator, tmp_path):
    bound = np.full(DIM, np.inf)
    problem = FunctionProblem(lambda x: (x[0], 1 / x[1]), DIM, -bound, bound, n_obj=2)
    several = make_evaluator("ray", problem, 2)
    try:
        F, failures = evaluated(several, np.array([[1.0, 2, 0], [3, 0, 0]]))
    finally:
        several.close()
    np.testing.assert_array_equal(F, [[1.0, 0.5], [np.nan, np.nan]])
    assert list(failures) == [1]


@law
def a_search_is_that_of_the_serial_engine_bit_for_bit(evaluator, tmp_path):
    words = {"x0": [0.0] * 5, "sigma0": 0.5, "seed": 7, "budget": 600}
    for algorithm in ("cma-es", "canonical-es"):  # points as rows, and points made by the actors
        one = evoopt.minimize(rosenbrock, algorithm=algorithm, **words)
        ray = evoopt.minimize(rosenbrock, algorithm=algorithm, engine="ray", workers=2, **words)
        assert ray.f == one.f
        np.testing.assert_array_equal(ray.x, one.x)
        np.testing.assert_array_equal(ray.mean, one.mean)
        np.testing.assert_array_equal(ray.history.f, one.history.f)


@law
def actors_killed_at_random_lose_nothing(evaluator, tmp_path):
    """Each actor that meets an unlucky candidate dies; the second attempt succeeds."""

    def unlucky(x, seed):
        mark = tmp_path / str(seed)
        if seed % 25 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return rosenbrock(x)

    words = {"x0": [0.0] * 3, "sigma0": 0.5, "seed": 3, "budget": 60}
    ray = evoopt.minimize(unlucky, engine="ray", workers=2, **words)
    deaths = len(list(tmp_path.iterdir()))
    one = evoopt.minimize(unlucky, **words)  # the marks are there now
    assert deaths == len(list(tmp_path.iterdir())) > 0
    assert (ray.f, ray.evaluations, ray.failures) == (one.f, 60, {})
    np.testing.assert_array_equal(ray.x, one.x)


@law
def a_row_that_kills_its_actor_fails_alone_after_its_retries(evaluator, tmp_path):
    F, failures = evaluated(evaluator, orders(0, 0, 4, 0, 0))
    assert {row: failure.kind for row, failure in failures.items()} == {2: KILLED}
    assert failures[2].message.startswith("its worker died 4 times, at last (SYSTEM_ERROR ")
    np.testing.assert_array_equal(F, [0, 10, np.nan, 30, 40])


@law
def a_hang_is_stopped_at_its_deadline_and_its_actor_replaced(evaluator, tmp_path):
    F, failures = evaluated(evaluator, orders(0, 6, 0, 0), deadline=0.3)
    assert {row: (f.kind, f.message) for row, f in failures.items()} == {
        1: (TIMEOUT, "did not end within 0.3 s")
    }
    np.testing.assert_array_equal(F, [0, np.nan, 20, 30])


@law
def what_an_objective_returns_or_raises_is_told_as_in_process(evaluator, tmp_path):
    F, failures = evaluated(evaluator, orders(5, 7, 0), deadline=PATIENCE)
    assert {row: failure.kind for row, failure in failures.items()} == {0: RAISED, 1: INVALID}
    assert F[2] == 20


@law
def cheap_rows_travel_in_one_call_for_each_actor(evaluator, tmp_path):
    end = time.monotonic() + PATIENCE
    while sum(worker.idle for worker in evaluator._workers) < 2:
        assert time.monotonic() < end
        evaluator._pace.seconds = None
        evaluated(evaluator, orders(0, 0))
    evaluator._pace.seconds = 1e-6
    evaluator.submit(np.arange(20), orders(*[0] * 20), None, None)
    assert sorted(len(worker.rows) for worker in evaluator._workers) == [10, 10]
    while evaluator.poll(PATIENCE):
        pass


@law
def what_cannot_be_loaded_ends_the_search_in_one_line(evaluator, tmp_path):
    broken = pool(Unloadable(), workers=1)
    with pytest.raises(ConfigurationError, match="cannot be loaded by its workers: ModuleNotF"):
        evaluated(broken, orders(0))


class Unloadable:
    """Pickles here, and cannot be loaded elsewhere."""

    def __reduce__(self):
        return exec, ("import ev_absent",)

    def __call__(self, x):
        return 0.0


@law
def a_function_of_a_module_beside_the_driver_is_found(evaluator, tmp_path):
    (tmp_path / "ev_beside.py").write_text("def total(x):\n    return float(x.sum())\n")
    sys.path.insert(0, str(tmp_path))
    try:
        beside = pool(load_function("ev_beside:total"), workers=1)
        assert evaluated(beside, np.ones((1, DIM)))[0].tolist() == [DIM]
        beside.close()
    finally:
        sys.path.remove(str(tmp_path))


DRIVER = """
import os, signal, sys
import evoopt
def sphere(x):
    return float(x @ x)
before = dict(os.environ), signal.getsignal(signal.SIGTERM)
words = dict(x0=[1.0, 2.0], sigma0=0.5, budget=30, seed=1)
ray = evoopt.minimize(sphere, engine="ray", workers=2, ray_address=sys.argv[1] or None, **words)
after = dict(os.environ), signal.getsignal(signal.SIGTERM)
assert after == before, set(after[0].items()) ^ set(before[0].items())
assert ray.f == evoopt.minimize(sphere, **words).f
print("same", flush=True)
"""


def driven(tmp_path, address="", **environment):
    """A process that searches with the engine `ray`, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER, address],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )


@law
def a_running_cluster_is_used_by_its_address_and_goes_on(evaluator, tmp_path):
    import ray

    address = ray.get_runtime_context().gcs_address
    done = driven(tmp_path, address, **raypool._guarded)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr
    assert evaluated(evaluator, orders(0))[0].tolist() == [0]


@pytest.mark.slow  # Ray
def test_the_laws_of_the_pool_hold_for_actors(tmp_path, subtests, capfd):
    first = pool(behaving, workers=5)
    evaluated(first, orders(0))  # it starts Ray, and takes one of its five processors
    shared = pool(behaving, workers=2)
    for function in LAWS:
        with subtests.test(function.__name__.replace("_", " ")):
            (tmp_path / function.__name__).mkdir()
            function(shared, tmp_path / function.__name__)
    shared.close()
    folder = Path(first._crew._folder)
    assert folder.exists()
    first.close()
    assert not folder.exists()
    assert capfd.readouterr().out == ""  # whatever died, Ray has not said so where results go


@pytest.mark.slow  # Ray
def test_a_cluster_of_its_own_leaves_no_trace(tmp_path):
    (tmp_path / "t").mkdir()
    done = driven(tmp_path, TMPDIR=str(tmp_path / "t"))
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr
    assert not list((tmp_path / "t").iterdir())
    assert not (tmp_path / ".ray").exists()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError) as refusal:
        pool(behaving)
    assert str(refusal.value) == (
        "the engine 'ray' needs the package 'ray'; install it with: pip install '.[ray]'"
    )


def test_an_address_without_the_engine_is_refused():
    with pytest.raises(ConfigurationError, match=r"ray_address=...\) must be left out but with"):
        evoopt.minimize(rosenbrock, [0.0, 0.0], ray_address="auto")

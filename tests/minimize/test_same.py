"""What changes nothing in a search: its seed, the sign, workers, a vectorized objective."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spheres import BOX, Counting, assert_same, failing, noisy, rastrigin, sphere, spheres

import evoopt


@pytest.mark.parametrize("isolate", [False, True])
def test_maximizing_is_minimizing_the_negative_with_all_signs_turned(isolate: bool) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 300, "seed": 1}
    low = evoopt.minimize(sphere, **words)
    high = evoopt.minimize(lambda x: -sphere(x), maximize=True, isolate=isolate, **words)
    assert low.x is not None
    assert high.x is not None
    assert high.x.tobytes() == low.x.tobytes()
    assert high.f == -low.f
    assert (high.history.f == -low.history.f).all()


def test_a_target_and_a_callback_of_a_maximization_are_in_the_users_sign(tmp_path: Path) -> None:
    seen: list[float] = []

    def run(folder: Path | None) -> evoopt.Result:
        return evoopt.minimize(
            lambda x: 3 - sphere(x),
            bounds=BOX,
            maximize=True,
            target=2.9,
            seed=1,
            callback=lambda now: seen.append(now.f),
            run_dir=folder,
        )

    r = run(None)
    assert r.reason.criterion == "ftarget"
    assert r.success
    assert r.f >= 2.9
    assert (r.reason.value, r.reason.threshold) == (r.f, 2.9)
    assert seen[-1] == r.f
    assert sorted(seen) == seen
    run(tmp_path / "run")
    assert_same(run(tmp_path / "run"), r)  # as it was stored


@pytest.mark.parametrize(("value", "kind"), [(np.inf, "neginf"), (-np.inf, "posinf")])
def test_infinite_values_of_a_maximization_are_never_optima(value: float, kind: str) -> None:
    f = Counting(lambda x: value if len(f.seen) == 9 else -sphere(x))
    r = evoopt.minimize(f, bounds=BOX, budget=100, maximize=True, seed=1)
    assert np.isfinite(r.f)
    assert dict(r.failures) == {kind: 1}


def test_a_seed_reproduces_the_run_and_another_one_does_not() -> None:
    a, b, c = (evoopt.minimize(rastrigin, bounds=BOX, budget=200, seed=s) for s in (0, 0, 1))
    assert_same(a, b)
    assert a.mean.tobytes() != c.mean.tobytes()
    assert a.seed == 0  # a seed like any other


def test_a_drawn_seed_is_reported_and_reproduces_the_run() -> None:
    drawn = [evoopt.minimize(sphere, bounds=BOX, budget=50) for _ in range(2)]
    assert drawn[0].seed != drawn[1].seed  # false alarm: 2**-32
    assert_same(drawn[0], evoopt.minimize(sphere, bounds=BOX, budget=50, seed=drawn[0].seed))


def test_numpys_global_generator_is_neither_used_nor_moved() -> None:
    def noisy(x: np.ndarray) -> float:
        np.random.rand()  # noqa: NPY002  # what a user may do
        return sphere(x)

    np.random.seed(5)  # noqa: NPY002  # the global generator is what is watched
    a = evoopt.minimize(sphere, bounds=BOX, budget=100, seed=1)
    assert np.random.rand() == np.random.RandomState(5).rand()  # noqa: NPY002  # the global generator is what is watched
    assert_same(a, evoopt.minimize(noisy, bounds=BOX, budget=100, seed=1))


@pytest.mark.parametrize("fun", [sphere, noisy, failing])
def test_the_result_does_not_depend_on_the_workers(fun: Any) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 200, "seed": 3}
    alone = evoopt.minimize(fun, **words)
    for more in ({"isolate": True}, {"workers": 2}):
        assert_same(evoopt.minimize(fun, **words, **more), alone)


def test_a_vectorized_objective_gives_the_same_as_row_by_row() -> None:
    words: dict[str, Any] = {"bounds": BOX, "algorithm": "cma-es", "budget": 205, "seed": 3}
    shapes: list[tuple[int, ...]] = []

    def at_once(X: np.ndarray) -> np.ndarray:
        shapes.append(X.shape)
        return spheres(X)

    assert_same(
        evoopt.minimize(at_once, vectorized=True, **words), evoopt.minimize(sphere, **words)
    )
    assert set(shapes) == {(8, 4), (5, 4)}  # whole generations, and what the budget leaves
    assert_same(
        evoopt.minimize(spheres, vectorized=True, isolate=True, **words),
        evoopt.minimize(sphere, **words),
    )


def test_each_evaluation_gets_a_seed_of_its_own_that_the_run_reproduces() -> None:
    def run(seed: int) -> list[int]:
        seeds: list[int] = []

        def objective(x: np.ndarray, seed: int) -> float:
            seeds.append(seed)
            return sphere(x)

        evoopt.minimize(objective, bounds=BOX, budget=60, seed=seed)
        return seeds

    first = run(1)
    assert len(set(first)) == 60
    assert run(1) == first
    assert not set(run(2)) & set(first)

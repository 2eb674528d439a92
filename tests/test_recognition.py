"""Points that come back: which asked point they are, and what is learnt from others."""

import numpy as np
import pytest

import evoopt
from evoopt.options import is_for, takes
from evoopt.strategies import STRATEGIES

ONE = [name for name in STRATEGIES if is_for(name, 1)]  # objective
ALL = ["auto", *ONE]
LEARNING = [name for name in ONE if takes(name, "inject")]


def f(X: np.ndarray) -> np.ndarray:
    return ((np.asarray(X, dtype=float) - 0.3) ** 2).sum(axis=-1)


def made(algorithm: str = "cma-es", dim: int = 4) -> evoopt.AskTell:
    bounds = (np.full(dim, -2.0), np.full(dim, 2.0))
    return evoopt.AskTell(algorithm, np.full(dim, 1.1), 0.5, seed=4, bounds=bounds)


def single(X: np.ndarray) -> np.ndarray:
    return X.astype(np.float32)


@pytest.mark.parametrize("algorithm", ALL)
def test_points_rounded_to_float32_are_those_that_were_asked(algorithm: str) -> None:
    exact, rough = made(algorithm), made(algorithm)
    for _ in range(8):
        X = exact.ask()
        exact.tell(X, f(single(X)))
        Y = single(rough.ask())
        rough.tell(Y[::-1], f(Y)[::-1])
    assert rough.evaluations == exact.evaluations
    assert rough.result.mean.tobytes() == exact.result.mean.tobytes()
    assert rough.result.x.tobytes() == exact.result.x.tobytes()  # type: ignore[union-attr]  # found


def test_a_rounding_beyond_a_bound_is_no_point_outside() -> None:
    bounds = (np.array([0.1, 0.1]), np.array([0.3, 0.3]))  # float32(0.1) > 0.1 and so is 0.3
    es = evoopt.AskTell("random", bounds=bounds, seed=1)
    es.tell(single(np.clip(es.ask(), *bounds)), np.zeros(10))
    assert es.evaluations == 10


def test_rows_that_round_to_the_same_point_are_told_apart_by_their_order() -> None:
    es = evoopt.AskTell("ma-es", np.ones(2), 1e-12, seed=1)
    X = es.ask()
    assert len({x.tobytes() for x in single(X)}) == 1
    es.tell(single(X), np.arange(float(len(X))))
    assert es.evaluations == len(X)


def test_a_rounded_point_is_told_once() -> None:
    es = made()
    X = es.ask()
    es.tell(single(X), f(X))
    for again in (single(X), X):
        with pytest.raises(evoopt.ConfigurationError, match="once; got row 0, told before"):
            es.tell(again, f(X))
    assert es.evaluations == len(X)


def test_a_new_point_next_to_an_old_one_is_new() -> None:
    es = made()
    X = es.ask()
    es.tell(X, f(X))
    es.tell(X[0] + 1e-12, [-1.0])
    assert es.evaluations == len(X)
    assert es.result.f == -1.0


@pytest.mark.parametrize("algorithm", LEARNING)
def test_a_point_found_elsewhere_counts_as_the_best_but_not_as_an_evaluation(
    algorithm: str,
) -> None:
    es = made(algorithm)
    X = es.ask()
    es.tell([np.full(4, 0.3)], [-1.0])
    es.tell(X, f(X))
    assert es.evaluations == len(X)
    assert es.result.f == -1.0
    assert es.result.x.tolist() == [0.3] * 4  # type: ignore[union-attr]  # found


@pytest.mark.parametrize("algorithm", [name for name in LEARNING if name != "random"])
def test_points_found_elsewhere_draw_the_mean_to_them(algorithm: str) -> None:
    """One good point a generation, near the optimum, which the search has yet to find."""
    near = np.random.default_rng(1)
    with_help, alone = made(algorithm), made(algorithm)
    for es in (with_help, alone):
        for _ in range(12):
            X = es.ask()
            if es is with_help:
                good = 0.3 + 0.01 * near.standard_normal((1, 4))
                es.tell(good, f(good))
            es.tell(X, f(X))
    assert f(with_help.result.mean) < f(alone.result.mean)


@pytest.mark.parametrize("algorithm", [name for name in ONE if name not in LEARNING])
def test_a_strategy_that_cannot_learn_from_others_says_so_and_changes_nothing(
    algorithm: str,
) -> None:
    es = made(algorithm)
    X = es.ask()
    with pytest.raises(evoopt.ConfigurationError, match="can be told to cma-es"):
        es.tell([np.zeros(4)], [-1.0])
    es.tell(X, f(X))
    assert es.evaluations == len(X)
    assert es.result.f == f(X).min()


def test_points_that_are_never_told_are_not_kept_for_ever() -> None:
    es = made("random")
    for _ in range(11):
        es.ask(1000)
    with pytest.raises(evoopt.ConfigurationError, match="were asked and never told; tell NaN"):
        es.ask(1)

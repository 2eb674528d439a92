"""`method=evoopt.scipy_method(...)`: the contract of `scipy.optimize.minimize`."""

import functools
import inspect
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, minimize, rosen, rosen_der

import evoopt
from evoopt.options import is_for, own_options
from evoopt.scipy_bridge import ALIASES, WORDS
from evoopt.strategies import STRATEGIES

X0 = [1.3, 0.7]


def searched(fun: Any = rosen, x0: Any = X0, algorithm: str = "cma-es", **words: Any) -> Any:
    options = {"seed": 1, **words.pop("options", {})}
    method = evoopt.scipy_method(algorithm)
    return minimize(fun, x0, method=method, options=options, **words)


@pytest.mark.parametrize("algorithm", ["auto", *(n for n in STRATEGIES if is_for(n, 1))])
def test_it_is_the_search_of_minimize(algorithm: str) -> None:
    r = searched(algorithm=algorithm, bounds=[(-2, 2), (-2, 2)], options={"maxfev": 60})
    same = evoopt.minimize(
        rosen, X0, bounds=([-2, -2], [2, 2]), algorithm=algorithm, seed=1, budget=60
    )
    assert isinstance(r, OptimizeResult)
    assert r.x.tobytes() == same.x.tobytes()  # type: ignore[union-attr]  # something was found
    assert (r.fun, r.nfev, r.nit) == (same.f, same.evaluations, same.generations)
    assert r.result.seed == 1


def test_a_search_that_settles_is_a_success() -> None:
    r = searched()
    assert (r.success, r.status) == (True, 0)
    assert r.message.startswith("tolfun: ")
    assert np.allclose(r.x, 1, atol=1e-4)
    assert r.nfev == r.result.evaluations


@pytest.mark.parametrize(
    ("options", "status", "message", "success"),
    [
        ({"maxfev": 30}, 1, "maxfevals: ", False),
        ({"maxfun": 30}, 1, "maxfevals: ", False),
        ({"maxiter": 4}, 2, "maxiter: 4 generations", False),
        ({"target": 1e-2}, 0, "ftarget: ", True),
        ({"tol": 1e-2}, 0, "tol: ", True),
        ({"time_limit": 1e-9}, 3, "timeout: ", False),
    ],
)
def test_how_it_ended_is_a_number_and_a_sentence(
    options: dict[str, Any], status: int, message: str, success: bool
) -> None:
    r = searched(options=options)
    assert (r.status, r.success) == (status, success)
    assert r.message.startswith(message)


def test_tol_means_that_neither_the_step_nor_f_changes_by_more() -> None:
    r = searched(tol=1e-3)
    assert r.message.startswith("tol: ")
    assert r.result.sigma <= 1e-3
    assert r.nfev < searched().nfev
    assert r.fun < 1e-3


@pytest.mark.parametrize("algorithm", ["random", "cobyqa"])
def test_tol_does_not_end_a_search_whose_step_size_is_unknown(algorithm: str) -> None:
    r = searched(x0=[1.3] * 20, algorithm=algorithm, options={"maxfev": 200}, tol=1e-3)
    assert np.isnan(r.result.sigma)
    assert (r.status, r.success) == (1, False)


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(0, 2),
        Bounds([0, 0], [2, 2]),
        [(0, 2), (0, 2)],
        ((0, 2), (0, 2)),
        np.array([[0, 2], [0, 2]]),
    ],
)
def test_bounds_are_kept_in_each_of_their_forms(bounds: Any) -> None:
    seen = []

    def f(x: np.ndarray) -> float:
        seen.append(x.copy())
        return float(-x.sum())

    r = searched(f, bounds=bounds)
    assert ((np.array(seen) >= 0) & (np.array(seen) <= 2)).all()
    assert r.x.tolist() == pytest.approx([2, 2], abs=1e-6)


def test_a_pair_of_bounds_may_be_open() -> None:
    r = searched(lambda x: float((x**2).sum()), [3.0, 3.0], bounds=[(1, None), (None, 2.0**70)])
    assert r.x.tolist() == pytest.approx([1, 0], abs=1e-4)


@pytest.mark.parametrize("bounds", [[(0, 2)], [(0, 2, 3), (0, 2, 3)], 3, [("a", "b")] * 2])
def test_bounds_of_another_shape_are_refused(bounds: Any) -> None:
    with pytest.raises(evoopt.ConfigurationError, match="or a pair for each of 2"):
        searched(bounds=bounds)


def affine(x: np.ndarray, a: float, b: float) -> float:
    return float(a * x @ x + b)


@pytest.mark.parametrize("workers", [1, 2])
def test_args_are_given_to_the_function(workers: int) -> None:
    options = {"maxfev": 200, "workers": workers}
    assert searched(affine, args=(2.0, 3.0), options=options).fun == pytest.approx(3, abs=1e-2)
    assert searched(functools.partial(affine, b=5), args=1.0, options={"maxfev": 9}).fun > 5


def test_the_callback_sees_each_generation() -> None:
    seen: list[Any] = []

    def callback(intermediate_result: OptimizeResult) -> None:
        seen.append(intermediate_result)

    r = searched(callback=callback, options={"maxiter": 6})
    assert [s.nit for s in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].nfev == r.nfev
    assert seen[-1].fun == r.fun
    assert seen[-1].x.tobytes() == r.x.tobytes()


def test_a_callback_of_the_old_form_gets_the_point_and_may_change_it() -> None:
    seen = []

    def callback(xk: np.ndarray) -> None:
        seen.append(xk.copy())
        xk[:] = 99

    r = searched(callback=callback, options={"maxiter": 6})
    assert len(seen) == 6
    assert seen[-1].tobytes() == r.x.tobytes()


def test_stop_iteration_in_a_callback_ends_the_search() -> None:
    def callback(xk: np.ndarray) -> None:
        raise StopIteration

    r = searched(callback=callback)
    assert (r.status, r.success, r.nit) == (99, False, 1)
    assert "StopIteration" in r.message


def test_what_a_callback_returns_does_not_matter() -> None:
    assert searched(callback=lambda xk: True, options={"maxiter": 3}).nit == 3


@pytest.mark.parametrize(
    "words",
    [
        {"jac": rosen_der},
        {"hess": lambda x: np.eye(2)},
        {"hessp": lambda x, p: p},
    ],
)
def test_derivatives_are_not_used_and_that_is_said(words: dict[str, Any]) -> None:
    (name,) = words
    with pytest.warns(RuntimeWarning, match=rf"scipy_method\('cma-es'\) does not use {name}"):
        r = searched(options={"maxfev": 30}, **words)
    assert r.fun == searched(options={"maxfev": 30}).fun


def test_a_function_that_returns_its_gradient_too_is_taken() -> None:
    with pytest.warns(RuntimeWarning, match="does not use jac"):
        r = searched(lambda x: (rosen(x), rosen_der(x)), jac=True, options={"maxfev": 30})
    assert r.fun == searched(options={"maxfev": 30}).fun


@pytest.mark.parametrize(
    "constraints",
    [LinearConstraint([[1, 1]], 0, 1), {"type": "eq", "fun": sum}, [{"type": "eq", "fun": sum}]],
)
def test_constraints_are_refused(constraints: Any) -> None:
    with pytest.raises(evoopt.ConfigurationError, match="must be left out"):
        searched(constraints=constraints)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"maxfevs": 3}, "got 'maxfevs'; did you mean 'maxfev'?"),
        ({"activ": True}, "got 'activ'; did you mean 'active'?"),
        ({"maximize": True}, "got 'maximize'"),
        ({"budget": 10, "maxfev": 11}, "must be the same as budget=10; got 11"),
        ({"maxiter": 0}, "maxiter=...) must be a whole number >= 1; got 0"),
        ({"tol": -1}, "tol=...) must be a positive finite number; got -1"),
        ({"popsize": 1}, "popsize=...) must be a whole number >= 2; got 1"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_in_one_line(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(evoopt.ConfigurationError) as raised:
        searched(options=options)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_its_options_are_the_words_of_minimize_and_of_the_algorithm() -> None:
    words = set(inspect.signature(evoopt.minimize).parameters)
    left_out = {"fun", "x0", "bounds", "space", "algorithm", "maximize", "callback"}
    left_out |= {"objectives", "reference"}  # scipy has one
    assert words - left_out == WORDS
    assert set(ALIASES.values()) <= WORDS
    for name in own_options("cma-es"):
        assert searched(options={name: False, "maxfev": 30}).nfev == 30


def test_an_option_of_the_algorithm_may_be_given_in_both_places() -> None:
    direct = searched(options={"active": False, "maxfev": 90}).fun
    assert direct == searched(options={"options": {"active": False}, "maxfev": 90}).fun
    assert direct != searched(options={"maxfev": 90}).fun


def test_a_function_that_always_fails_has_no_point() -> None:
    r = searched(lambda x: x.missing)
    assert (r.success, r.status) == (False, 3)
    assert np.isnan(r.fun)
    assert r.x.tolist() == X0
    assert "no attribute 'missing'" in r.message


def test_an_unknown_algorithm_is_refused_at_once() -> None:
    with pytest.raises(evoopt.ConfigurationError, match="did you mean 'cma-es'"):
        evoopt.scipy_method("cmaes")


def test_a_method_tells_its_name() -> None:
    assert str(evoopt.scipy_method("ma-es")) == "evoopt.scipy_method('ma-es')"

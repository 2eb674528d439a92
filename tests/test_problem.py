"""Laws of a problem: shapes are checked in one place, wrappers compose, seeds arrive."""

import math
import pickle

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, ObjectiveError
from evoopt.problem import (
    FunctionProblem,
    Problem,
    SeededProblem,
    check_points,
    check_values,
    classified,
    evaluate,
    negated,
    scaled,
    shifted,
)
from evoopt.result import NAN, NEGINF, POSINF, RAISED, Failure, Values


def sphere(x):
    return float(x @ x)


def box(fun=sphere, **options):
    return FunctionProblem(fun, 2, np.array([-5.0, -4.0]), np.array([5.0, 4.0]), **options)


X = np.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 0.0]])


def test_a_function_is_a_problem_whose_values_are_those_of_its_rows():
    problem = box(name="sphere")
    assert isinstance(problem, Problem)
    assert (problem.name, problem.dim, problem.n_obj) == ("sphere", 2, 1)
    values = problem.evaluate(X)
    assert values.F.tolist() == [5.0, 9.25, 0.0]
    assert values.G is None
    assert values.failures == {}


def test_a_problem_owns_its_bounds_and_survives_pickling():
    lower = np.zeros(2)
    problem = pickle.loads(pickle.dumps(FunctionProblem(sphere, 2, lower, np.ones(2))))
    lower[0] = 9
    assert problem.lower.tolist() == [0, 0]
    assert problem.evaluate(X).F.tolist() == [5.0, 9.25, 0.0]


def test_maximising_negates_at_the_edge():
    assert box(maximize=True).evaluate(X).F.tolist() == [-5.0, -9.25, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fun": 3}, "FunctionProblem(fun=...) must be callable; got 3 (int)"),
        ({"dim": 0}, "FunctionProblem(dim=...) must be an integer >= 1; got 0"),
        ({"dim": 2.0}, "FunctionProblem(dim=...) must be an integer >= 1; got 2.0"),
        ({"lower": np.zeros(3)}, "FunctionProblem(lower=...) must have shape (2,); got (3,)"),
        ({"upper": np.zeros((1, 2))}, "FunctionProblem(upper=...) must have shape (2,)"),
        ({"upper": "wide"}, "FunctionProblem(upper=...) must hold numbers; got 'wide'"),
        ({"lower": np.array([0.0, 2.0])}, "must be <= upper; got 2 and 1 at index 1"),
        ({"lower": np.array([np.nan, 0.0])}, "must be <= upper; got nan and 1 at index 0"),
    ],
)
def test_a_problem_that_cannot_be_is_refused_in_call_form(arguments, message):
    good = {"fun": sphere, "dim": 2, "lower": np.zeros(2), "upper": np.ones(2)}
    with pytest.raises(ConfigurationError) as refusal:
        FunctionProblem(**good | arguments)
    assert message in str(refusal.value)


def test_a_fixed_variable_and_infinite_bounds_are_allowed():
    problem = FunctionProblem(sphere, 2, [1.0, -math.inf], [1.0, math.inf])
    assert problem.evaluate(np.ones((1, 2))).F.tolist() == [2.0]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros(2), "must have shape (k, 2); got (2,)"),
        (np.zeros((4, 3)), "must have shape (k, 2); got (4, 3)"),
        (np.array([[1, 1], [0, np.nan]]), "must be finite; got [0 nan] in row 1"),
        (np.array([[1, np.inf]]), "must be finite; got [1 inf] in row 0"),
        ([["a", "b"]], "must hold numbers"),
        ([[1], [1, 2]], "must hold numbers"),
    ],
)
def test_points_of_another_shape_or_not_finite_are_refused_before_any_call(points, message):
    calls = []
    problem = box(calls.append)
    with pytest.raises(ConfigurationError) as refusal:
        problem.evaluate(points)
    assert message in str(refusal.value)
    assert not calls


def test_checked_points_are_the_array_itself_where_nothing_is_to_be_changed():
    assert check_points(box(), X) is X
    assert check_points(box(), [[1, 2]]).dtype == np.float64


@pytest.mark.parametrize(
    ("F", "message"),
    [
        (np.zeros(2), "objective.evaluate(X).F must have shape (3,); got (2,)"),
        (np.zeros((3, 1)), "must have shape (3,); got (3, 1)"),
        (None, "must have shape (3,); got ()"),
        (["a", "b", "c"], "must hold numbers"),
    ],
)
def test_values_of_another_shape_are_refused(F, message):
    with pytest.raises(ObjectiveError) as refusal:
        check_values(box(), X, F)
    assert message in str(refusal.value)


def test_values_that_are_not_finite_become_failures_and_known_failures_stay():
    F = np.array([1.0, np.nan, np.inf, -np.inf, np.nan])
    known = Failure(RAISED, "ValueError")
    values = classified(F, None, {4: known})
    assert {row: failure.kind for row, failure in values.failures.items()} == {
        1: NAN,
        2: POSINF,
        3: NEGINF,
        4: RAISED,
    }
    assert values.failures[4] is known
    np.testing.assert_array_equal(values.F, [1, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(F, [1, np.nan, np.inf, -np.inf, np.nan])


def test_a_row_of_several_objectives_fails_as_a_whole():
    F = np.array([[1.0, 2.0], [np.inf, 1.0], [np.nan, -np.inf], [np.inf, -np.inf]])
    values = classified(F, None, {})
    kinds = {row: failure.kind for row, failure in values.failures.items()}
    assert kinds == {1: POSINF, 2: NAN, 3: NEGINF}
    assert np.isnan(values.F[1:]).all()


def test_a_shifted_problem_moves_its_optimum_and_its_box():
    problem = shifted(box(name="sphere"), [1.0, -2.0])
    assert problem.name == "sphere|shift"
    assert problem.lower.tolist() == [-4.0, -6.0]
    assert problem.upper.tolist() == [6.0, 2.0]
    assert problem.evaluate(np.array([[1.0, -2.0], [2.0, -2.0]])).F.tolist() == [0.0, 1.0]


def test_a_scaled_problem_is_the_same_in_other_units():
    problem = scaled(box(name="sphere"), 10)
    assert problem.upper.tolist() == [50.0, 40.0]
    np.testing.assert_allclose(problem.evaluate(10 * X).F, box().evaluate(X).F, rtol=1e-15)


def test_a_negated_problem_swaps_best_and_worst():
    values = {1.0: math.inf, -3.0: -math.inf, 0.0: math.nan}
    problem = negated(box(lambda x: values[x[0]]))
    kinds = [failure.kind for _, failure in sorted(problem.evaluate(X).failures.items())]
    assert kinds == [NEGINF, POSINF, NAN]
    assert negated(negated(box())).evaluate(X).F.tolist() == box().evaluate(X).F.tolist()


def test_wrappers_compose_and_their_name_tells_the_stack():
    problem = negated(shifted(scaled(box(name="sphere"), 2.0), 1.0))
    assert problem.name == "sphere|scale|shift|negate"
    assert problem.evaluate(2 * X + 1).F.tolist() == (-box().evaluate(X).F).tolist()


@pytest.mark.parametrize(
    "refused",
    [
        lambda: shifted(box(), [1.0, 2.0, 3.0]),
        lambda: shifted(box(), math.nan),
        lambda: scaled(box(), 0.0),
        lambda: scaled(box(), [1.0, -1.0]),
        lambda: scaled(box(), "wide"),
    ],
)
def test_a_wrapper_refuses_what_makes_no_problem(refused):
    with pytest.raises(ConfigurationError, match=r"(shift|scale)\("):
        refused()


def noisy(x, *, seed):
    return float(x @ x) + seed


def test_each_row_gets_its_seed_also_through_wrappers():
    for problem in (box(noisy), shifted(box(noisy), 0.0), negated(negated(box(noisy)))):
        assert isinstance(problem, SeededProblem)
        assert problem.takes_seed is True
        assert problem.evaluate(X, [10, 20, 30]).F.tolist() == [15.0, 29.25, 30.0]


def test_a_vectorized_objective_gets_all_seeds():
    problem = box(lambda X, *, seed: np.sum(X * X, axis=1) + seed, vectorized=True)
    assert problem.evaluate(X, [10, 20, 30]).F.tolist() == [15.0, 29.25, 30.0]


def test_seeds_go_only_where_they_are_asked_for():
    class Plain:
        name, dim, n_obj, lower, upper = "plain", 2, 1, np.zeros(2), np.ones(2)

        def evaluate(self, X):
            return Values(X.sum(axis=1))

    for problem in (box(), shifted(Plain(), 0.0), Plain(), box(noisy, takes_seed=False)):
        assert len(evaluate(problem, X, [1, 2, 3]).F) == 3
    assert evaluate(box(noisy), X, [1, 2, 3]).F.tolist() == [6.0, 11.25, 3.0]


@pytest.mark.parametrize("seeds", [None, [1, 2]])
def test_seeds_that_are_missing_are_refused(seeds):
    with pytest.raises(ConfigurationError, match=r"seeds=...\) must hold 3 numbers"):
        box(noisy).evaluate(X, seeds)

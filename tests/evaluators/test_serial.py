"""Laws of in-process evaluation: slices, identity of rows, and what an interruption leaves."""

import math
import signal

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt.evaluators import EVALUATORS, make_evaluator
from evoopt.evaluators.base import SLICE_SECONDS, Batch, Pace, guarded, merged
from evoopt.problem import FunctionProblem
from evoopt.result import INTERRUPTED, INVALID, RAISED, Failure, Values

DIM = 2
X = np.arange(12.0).reshape(6, DIM)
IDS = np.arange(100, 106)


def problem(fun, **options):
    return FunctionProblem(fun, DIM, np.full(DIM, -np.inf), np.full(DIM, np.inf), **options)


def total(x):
    return float(x.sum())


def drained(evaluator, timeout=20.0):
    """All batches until nothing is left."""
    return list(iter(lambda: evaluator.poll(timeout), None))


@pytest.mark.parametrize("name", ["serial", "vectorized"])
def test_every_row_comes_back_once_with_its_own_value(name):
    fun = (lambda X: X.sum(axis=1)) if name == "vectorized" else total
    evaluator = make_evaluator(name, problem(fun, vectorized=name == "vectorized"))
    evaluator.submit(IDS, X, None, None)
    evaluator.submit(IDS + 100, X + 1, None, None)
    batch = merged(drained(evaluator))
    assert batch.ids.tolist() == [*IDS, *IDS + 100]
    assert batch.values.F.tolist() == [*X.sum(axis=1), *(X + 1).sum(axis=1)]
    assert batch.seconds > 0
    assert evaluator.poll(0.0) is None


def test_the_first_slice_is_one_row_and_cheap_rows_then_travel_together():
    evaluator = make_evaluator("serial", problem(total))
    evaluator.submit(IDS, X, None, None)
    assert [len(batch.ids) for batch in drained(evaluator)] == [1, 5]
    evaluator.submit(IDS, X, None, None)
    assert [len(batch.ids) for batch in drained(evaluator)] == [6]


def test_an_expensive_objective_is_handed_over_row_by_row():
    evaluator = make_evaluator("serial", problem(total))
    evaluator._pace.measured(1, 10 * SLICE_SECONDS)
    evaluator.submit(IDS[:3], X[:3], None, None)
    assert len(evaluator.poll(0.0).ids) == 1


def test_a_slice_takes_about_its_time_and_an_outlier_is_forgotten():
    pace = Pace()
    assert pace.rows() == 1
    pace.measured(10, 10 * SLICE_SECONDS / 5)
    assert pace.rows() == 5
    pace.measured(1, 1000.0)
    assert pace.rows() == 1
    for _ in range(40):
        pace.measured(1, 1e-6)
    assert pace.rows() == pytest.approx(SLICE_SECONDS / 1e-6, rel=0.01)  # 1000 / 2**40 is left
    pace.measured(1, 0.0)
    assert pace.rows() > 1


def test_rows_of_a_vectorized_objective_that_were_submitted_together_stay_together():
    sizes = []
    evaluator = make_evaluator(
        "vectorized", problem(lambda X: sizes.append(len(X)) or X[:, 0], vectorized=True)
    )
    evaluator.submit(IDS, X, None, None)
    evaluator.submit(IDS[:2], X[:2], None, None)
    drained(evaluator)
    assert sizes == [6, 2]


def test_seeds_go_with_their_rows():
    evaluator = make_evaluator("serial", problem(lambda x, seed: float(seed)))
    evaluator.submit(IDS, X, [5, 4, 3, 2, 1, 0], None)
    assert merged(drained(evaluator)).values.F.tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("by", ["the objective", "a signal"])
def test_after_ctrl_c_finished_rows_are_kept_and_the_rest_comes_back_interrupted(by):
    def fun(x):
        if x[0] == 6:
            if by == "the objective":
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)
        return total(x)

    evaluator = make_evaluator("serial", problem(fun))
    evaluator._pace.measured(1, SLICE_SECONDS / 2)  # so that the queue holds more than the slice
    evaluator.submit(IDS, X, None, None)
    evaluator.submit(IDS + 100, X, None, None)
    batch = merged(drained(evaluator))
    assert batch.ids.tolist() == [*IDS, *IDS + 100]
    assert batch.values.F[:3].tolist() == [1, 5, 9]
    assert np.isnan(batch.values.F[3:]).all()
    assert {failure.kind for failure in batch.values.failures.values()} == {INTERRUPTED}
    assert sorted(batch.values.failures) == list(range(3, 12))


def test_an_invalid_row_does_not_cost_the_finished_ones():
    evaluator = make_evaluator("serial", problem(lambda x: None if x[0] == 4 else total(x)))
    evaluator.submit(IDS, X, None, None)
    batch = merged(drained(evaluator))
    assert {row: failure.kind for row, failure in batch.values.failures.items()} == {2: INVALID}
    np.testing.assert_array_equal(batch.values.F, [1, 5, np.nan, 13, 17, 21])


def test_cancel_drops_what_was_not_handed_over():
    evaluator = make_evaluator("serial", problem(total))
    evaluator.submit(IDS, X, None, None)
    evaluator.poll(0.0)
    evaluator.cancel()
    assert evaluator.poll(0.0) is None


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: make_evaluator("threads", problem(total)), "one of serial, vectorized, pool"),
        (lambda: make_evaluator("serial", problem(total), 2), "workers=...) must be 1; got 2"),
        (lambda: make_evaluator("pool", problem(total), 0), "workers=...) must be >= 1; got 0"),
        (
            lambda: make_evaluator("serial", problem(total)).submit(IDS, X, None, 5.0),
            "deadline=...) must be None; got 5",
        ),
    ],
)
def test_what_an_evaluator_cannot_do_is_refused(use, message):
    with pytest.raises(ConfigurationError) as refusal:
        use()
    assert message in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in EVALUATORS if name != "ray"])  # test_ray.py
def test_every_name_makes_an_evaluator(name):
    evaluator = make_evaluator(name, problem(total), 1)
    assert evaluator.capacity == 1
    evaluator.close()


class Foreign:
    """A problem that somebody else wrote."""

    name, dim, n_obj = "foreign", DIM, 1
    lower, upper = np.zeros(DIM), np.ones(DIM)

    def __init__(self, evaluate):
        self.evaluate = evaluate


def raising(error):
    def evaluate(X):
        raise error

    return evaluate


@pytest.mark.parametrize(
    ("evaluate", "kind"),
    [
        (raising(ValueError("no")), RAISED),
        (raising(KeyboardInterrupt()), INTERRUPTED),
        (lambda X: Values(np.zeros(5)), INVALID),
        (lambda X: Values(np.zeros((6, 1))), INVALID),
        (lambda X: None, RAISED),
        (lambda X: Values(np.full(6, math.nan)), "nan"),
    ],
)
def test_a_foreign_problem_that_misbehaves_has_failed_for_all_rows(evaluate, kind):
    values = guarded(Foreign(evaluate), X, None)
    assert [values.failures[row].kind for row in range(6)] == [kind] * 6
    assert np.isnan(values.F).all()


def test_merged_batches_keep_failures_and_constraints_with_their_rows():
    failure = Failure(RAISED, "no")
    one = Batch(np.array([7]), Values(np.array([np.nan]), None, {0: failure}), 1.0)
    two = Batch(np.array([3, 5]), Values(np.array([1.0, np.nan]), np.ones((2, 2)), {1: failure}), 2)
    batch = merged([two, one, two])
    assert batch.ids.tolist() == [3, 5, 7, 3, 5]
    assert sorted(batch.values.failures) == [1, 2, 4]
    assert np.isnan(batch.values.F).tolist() == [False, True, True, False, True]
    assert np.isnan(batch.values.G[:, 0]).tolist() == [False, False, True, False, False]
    assert batch.seconds == 5

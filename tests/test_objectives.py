"""Several objectives: what a function may return, and that a search keeps exactly its front."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.api import solve
from evoopt.found import Found
from evoopt.front import Front
from evoopt.hypervolume import hypervolume
from evoopt.problem import FunctionProblem
from evoopt.result import INTERRUPTED, INVALID, NAN, NEGINF, POSINF, RAISED
from evoopt.rundir import pack, unpack
from evoopt.settings import Settings
from evoopt.strategies.states import state_classes

DIM = 3
BOX = ([-5.0] * DIM, [5.0] * DIM)
X = np.arange(12.0).reshape(4, DIM)
Words = dict[str, Any]
RANDOM: Words = {"bounds": BOX, "algorithm": "random", "seed": 1, "budget": 200}


def spheres(x: np.ndarray) -> tuple[float, float]:
    return float(x @ x), float(((x - 1) ** 2).sum())


class Seen:
    """A function that keeps what it was asked and what it answered."""

    def __init__(self, fun: Callable[[np.ndarray], Any] = spheres) -> None:
        self.fun, self.X, self.F = fun, list[np.ndarray](), list[Any]()

    def __call__(self, x: np.ndarray) -> Any:
        self.X.append(x.copy())
        self.F.append(self.fun(x))
        return self.F[-1]


def fronts(F: np.ndarray) -> list[np.ndarray]:
    """The front after each row, by comparing all with all. F: (k, m), minimised."""
    found: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    for f in F:
        if np.isfinite(f).all() and not any((g <= f).all() for g in kept):
            kept = [*(g for g in kept if not (f <= g).all()), f]
        found.append(np.array(sorted(kept, key=tuple)))
    return found


def problem(fun: Callable[..., Any], n_obj: int = 2, **words: Any) -> FunctionProblem:
    return FunctionProblem(fun, DIM, *BOX, n_obj=n_obj, **words)  # type: ignore[arg-type]  # lists


GOOD = {
    "tuple": (1.0, 2.0),
    "list": [1, 2.0],
    "array": np.array([1.0, 2.0]),
    "float32": np.array([1.0, 2.0], dtype=np.float32),
    "arrays of one": (np.array([1.0]), np.array(2.0)),
    "numpy scalars": (np.float64(1), np.int32(2)),
    "objects": np.array([1, 2.0], dtype=object),
}


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD)
def test_numbers_of_any_sequence_are_a_row_of_values(value: Any) -> None:
    values = problem(lambda x: value).evaluate(X)
    np.testing.assert_array_equal(values.F, np.tile([1.0, 2.0], (4, 1)))
    assert not values.failures


BAD = {
    "too few": ((1.0,), "got (1.0,) (tuple)"),
    "too many": ([1.0, 2.0, 3.0], "got [1.0, 2.0, 3.0] (list)"),
    "one number": (1.0, "got 1.0 (float)"),
    "ragged": ([1.0, [2.0, 3.0]], "(list)"),
    "text": ("ab", "got 'ab' (str)"),
    "texts": (("1", "2"), "(tuple)"),
    "None within": ((1.0, None), "got (1.0, None) (tuple)"),
    "None": (None, "got None"),
    "dict": ({"a": 1.0, "b": 2.0}, "(dict)"),
    "a matrix": (np.ones((2, 2)), "got an array of shape (2, 2)"),
    "complex": ((1j, 1.0), "(tuple)"),
}


@pytest.mark.parametrize(("value", "got"), BAD.values(), ids=BAD)
def test_anything_else_is_invalid_in_one_line(value: Any, got: str) -> None:
    values = problem(lambda x: value if x[0] == 6 else spheres(x)).evaluate(X)
    assert {row: failure.kind for row, failure in values.failures.items()} == {2: INVALID}
    message = values.failures[2].message
    assert message.startswith("the objective must return 2 real numbers; got ")
    assert got in message
    assert "\n" not in message
    assert np.isnan(values.F[2]).all()
    assert np.isfinite(np.delete(values.F, 2, axis=0)).all()


def raising(x: np.ndarray) -> Any:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda x: (1.0, np.nan), NAN),
        (lambda x: (np.inf, 1.0), POSINF),
        (lambda x: (1.0, -np.inf), NEGINF),
        (raising, RAISED),
    ],
)
def test_a_row_with_one_value_that_is_no_number_has_failed_in_all(value: Any, kind: str) -> None:
    values = problem(lambda x: value(x) if x[0] == 3 else spheres(x)).evaluate(X)
    assert {row: failure.kind for row, failure in values.failures.items()} == {1: kind}
    assert np.isnan(values.F[1]).all()


def test_ctrl_c_in_a_row_leaves_it_and_those_after_it_undone() -> None:
    def stopped(x: np.ndarray) -> tuple[float, float]:
        if x[0] == 6:
            raise KeyboardInterrupt
        return spheres(x)

    values = problem(stopped).evaluate(X)
    assert {row: f.kind for row, f in values.failures.items()} == dict.fromkeys((2, 3), INTERRUPTED)


def test_a_vectorized_function_returns_a_row_of_values_per_point() -> None:
    expected = problem(spheres).evaluate(X).F
    table = problem(lambda X: np.stack([(X**2).sum(1), ((X - 1) ** 2).sum(1)], 1), vectorized=True)
    listed = problem(lambda X: [spheres(x) for x in X], vectorized=True)
    for one in (table, listed):
        np.testing.assert_allclose(one.evaluate(X).F, expected, rtol=1e-15)
    columns = problem(lambda X: ((X**2).sum(1), ((X - 1) ** 2).sum(1)), vectorized=True)
    assert "2 real numbers per row, shape (4, 2)" in columns.evaluate(X).failures[0].message
    assert problem(lambda X: X, vectorized=True).evaluate(X[:0]).F.shape == (0, 2)


def test_each_objective_has_a_sense_of_its_own() -> None:
    F = problem(spheres, maximize=(False, True)).evaluate(X).F
    np.testing.assert_array_equal(F, problem(spheres).evaluate(X).F * [1, -1])
    with pytest.raises(evoopt.ConfigurationError, match=r"FunctionProblem\(maximize=\.\.\.\)"):
        problem(spheres, maximize=(True,))


@pytest.mark.parametrize("m", [2, 3])
def test_the_front_of_a_result_is_that_of_all_evaluations(m: int) -> None:
    if m > 2:
        pytest.importorskip("moocore")
    fun = Seen(lambda x: (*spheres(x), float(x[0]))[:m])
    r = evoopt.minimize(fun, objectives=m, **RANDOM)
    F = np.array(fun.F)
    expected = fronts(F)
    np.testing.assert_array_equal(r.front_f, expected[-1])
    for x, f in zip(r.front_x, r.front_f, strict=True):
        np.testing.assert_array_equal(fun.fun(x), f)
    worst = np.max([front.max(axis=0) for front in expected], axis=0)
    np.testing.assert_array_equal(r.reference, worst)  # the worst nadir of the front at any time
    assert r.hypervolume == pytest.approx(hypervolume(expected[-1], worst))
    volumes = [hypervolume(expected[n - 1], worst) for n in r.history.evaluations]
    np.testing.assert_allclose(r.history.f, volumes)
    assert r.history.f[-1] == pytest.approx(r.hypervolume)
    np.testing.assert_array_equal(r.x, r.front_x[r.knee])
    np.testing.assert_array_equal(r.f, r.front_f[r.knee])
    assert [r.front_f[i][j] for j, i in enumerate(r.extremes)] == list(r.front_f.min(axis=0))
    assert len(r.subset(2)) == 2
    assert r.best_for([1.0] + [0.0] * (m - 1)) == r.extremes[0]
    assert f"front        {len(r.front_f)} points" in str(r)
    assert f"hypervolume  {r.hypervolume:.10g}, counted from [" in str(r)


def test_a_given_reference_is_that_of_the_result_and_its_hypervolume_a_target() -> None:
    fun = Seen()
    r = evoopt.minimize(fun, reference=[30, 40], target=1100, **RANDOM)
    assert r.success
    assert r.reason.criterion == "ftarget"
    assert r.reason.threshold == 1100
    assert r.reason.value == pytest.approx(r.hypervolume)
    np.testing.assert_array_equal(r.reference, [30, 40])
    volumes = [hypervolume(front, r.reference) for front in fronts(np.array(fun.F))]
    assert volumes[-1] == pytest.approx(r.hypervolume)
    assert volumes[-1] >= 1100 > volumes[-11]  # looked at after each generation of ten
    missed = evoopt.minimize(spheres, reference=[30, 40], target=1200, **RANDOM)
    assert not missed.success
    assert missed.reason.criterion == "maxfevals"


def test_maximising_an_objective_is_minimising_its_negative() -> None:
    down = evoopt.minimize(lambda x: (x[0], -spheres(x)[0]), reference=[5, 0], **RANDOM)
    up = evoopt.minimize(
        lambda x: (x[0], spheres(x)[0]), maximize=[False, True], reference=[5, 0], **RANDOM
    )
    both = evoopt.minimize(
        lambda x: (-x[0], spheres(x)[0]), maximize=True, reference=[-5, 0], **RANDOM
    )
    np.testing.assert_array_equal(up.front_x, down.front_x)
    np.testing.assert_array_equal(both.front_x, down.front_x)
    np.testing.assert_array_equal(up.front_f, down.front_f * [1, -1])
    np.testing.assert_array_equal(both.front_f, -down.front_f)
    assert up.hypervolume == both.hypervolume == down.hypervolume
    assert (up.knee, up.extremes) == (down.knee, down.extremes)


@pytest.mark.parametrize("vectorized", [False, True])
def test_several_objectives_are_noticed_at_the_first_evaluation(vectorized: bool) -> None:
    def fun(x: np.ndarray) -> Any:
        return np.stack([(x**2).sum(-1), x[..., 0]], axis=-1)

    words = {**RANDOM, "vectorized": vectorized}
    r = evoopt.minimize(fun, **words)
    said = evoopt.minimize(fun, objectives=2, **words)
    np.testing.assert_array_equal(r.front_f, said.front_f)
    assert r.evaluations == 200
    assert r.notes[0].startswith("objectives=2, as many as the first evaluation returned")
    assert r.notes[1:] == said.notes


def test_auto_is_a_method_for_as_many_objectives() -> None:
    r = evoopt.minimize(spheres, bounds=BOX, seed=1, budget=20)
    assert r.algorithm.startswith("auto: ")
    assert len(r.front_f)


def test_a_function_that_changes_its_mind_is_not_searched_again() -> None:
    calls = iter(range(1000))
    with pytest.raises(evoopt.ObjectiveError, match="say objectives=2"):
        evoopt.minimize(lambda x: 1.0 if next(calls) < 30 else (1.0, 2.0), **RANDOM)


def test_a_run_directory_wants_to_be_told_of_several_objectives(tmp_path: Any) -> None:
    with pytest.raises(evoopt.ObjectiveError, match=r"for 2 objectives say objectives=2$"):
        evoopt.minimize(spheres, run_dir=tmp_path / "run", **RANDOM)


@pytest.mark.parametrize("fails", [lambda x: (np.nan, 1.0), raising])
def test_a_search_in_which_all_fails_has_no_front(fails: Any) -> None:
    r = evoopt.minimize(fails, objectives=2, **{**RANDOM, "budget": 30})
    assert r.x is None
    assert np.isnan(r.f)
    assert r.front is None
    assert sum(r.failures.values()) == 30
    assert "f            nan" in str(r)
    with pytest.raises(AttributeError, match="no front"):
        r.front_x  # noqa: B018  # it is looked at


def test_failed_evaluations_are_counted_and_left_out() -> None:
    fun = Seen(lambda x: spheres(x) if x[0] < 0 else (np.nan, 0.0))
    r = evoopt.minimize(fun, objectives=2, **RANDOM)
    expected = fronts(np.array(fun.F))[-1]
    np.testing.assert_array_equal(r.front_f, expected)
    assert r.failures == {NAN: int(np.isnan(fun.F).any(axis=1).sum())}


def test_a_result_of_one_objective_has_no_front() -> None:
    r = evoopt.minimize(lambda x: float(x @ x), **RANDOM)
    assert r.front is None
    assert isinstance(r.f, float)
    with pytest.raises(AttributeError, match="one objective"):
        r.hypervolume  # noqa: B018  # it is looked at


def test_a_problem_of_several_objectives_says_so_itself() -> None:
    r = solve(problem(spheres), Settings(algorithm="random", seed=1, budget=200))
    np.testing.assert_array_equal(r.front_f, evoopt.minimize(spheres, **RANDOM).front_f)


def test_named_parameters_stand_beside_the_points_of_the_front() -> None:
    space = {"rate": evoopt.Float(1e-3, 1.0, log=True), "u": evoopt.Float(0, 1)}
    r = evoopt.minimize(
        lambda p: (p["rate"], (p["u"] - p["rate"]) ** 2),
        space=space, algorithm="random", seed=1, budget=50,
    )  # fmt: skip
    assert r.front_points is not None
    for point, f in zip(r.front_points, r.front_f, strict=True):
        assert f.tolist() == [point["rate"], (point["u"] - point["rate"]) ** 2]
    assert r.point == r.front_points[r.knee]


def test_the_callback_sees_the_front_grow() -> None:
    seen: list[Any] = []
    r = evoopt.minimize(spheres, reference=[50, 50], callback=seen.append, **RANDOM)
    volumes = [s.hypervolume for s in seen]
    assert volumes == sorted(volumes)
    assert volumes[-1] == pytest.approx(r.hypervolume)
    assert seen[-1].front_size == len(r.front_f)
    assert seen[-1].x is None


def test_what_was_found_goes_through_pack_and_restore_and_its_copy_goes_its_own_way() -> None:
    rng = np.random.default_rng(1)
    X, F = rng.random((40, 2)), rng.random((40, 2))
    found = Found(2, np.ones(2), watched=True)
    found.add(X[:30], F[:30], 0, counted=True)
    again = Found(2, np.ones(2), watched=True)
    arrays, content = pack(found.pack())
    again.restore(unpack(arrays, content, state_classes()))
    copy = found.copy()
    for one in (found, again):
        one.add(X[30:], F[30:], 30, counted=True)
    assert copy.volume < found.volume == again.volume
    for mine, other in zip(found.rows, again.rows, strict=True):
        np.testing.assert_array_equal(mine, other)
    evaluations = np.array([10, 40])
    np.testing.assert_array_equal(
        found.volumes(evaluations, np.ones(2)), again.volumes(evaluations, np.ones(2))
    )
    assert len(Front.of(X, F, np.ones(2))) == len(found)
    assert len(found._X) == len(found)  # points of rows that have left are forgotten


def test_of_three_objectives_some_rows_of_a_long_history_have_a_volume_the_last_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("moocore")
    monkeypatch.setattr("evoopt.found._MOST_VOLUMES", 5)
    r = evoopt.minimize(lambda x: (*spheres(x), float(x[0])), **RANDOM)
    computed = r.history.f[np.isfinite(r.history.f)]
    assert len(computed) == 5
    assert computed[-1] == r.history.f[-1] == pytest.approx(r.hypervolume)
    assert (np.diff(computed) >= 0).all()

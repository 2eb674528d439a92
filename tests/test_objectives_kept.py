"""Several objectives on every way that a value takes: logs, snapshots, workers, ask and tell."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt import stragglers
from evoopt.api import solve
from evoopt.evaluators import Batch, make_evaluator
from evoopt.evaluators.base import guarded
from evoopt.front import Front
from evoopt.options import is_for
from evoopt.problem import FunctionProblem
from evoopt.result import NAN, RAISED, TIMEOUT
from evoopt.rundir import RunDirectory
from evoopt.settings import Settings
from evoopt.strategies import STRATEGIES
from evoopt.turns import Words, take_turn

DIM = 3
BOX = ([-5.0] * DIM, [5.0] * DIM)
RANDOM: dict[str, Any] = {
    "bounds": BOX, "algorithm": "random", "seed": 1, "budget": 60, "objectives": 2,
}  # fmt: skip
METHODS = [name for name in STRATEGIES if is_for(name, 2)]


def spheres(x: np.ndarray) -> tuple[float, float]:
    return float(x @ x), float(((x - 1) ** 2).sum())


def failing(x: np.ndarray) -> tuple[float, float]:
    if x[1] > 3:
        raise ValueError("too far")
    return (np.nan, 1.0) if x[0] > 3 else spheres(x)


def assert_same(a: evoopt.Result, b: evoopt.Result) -> None:
    """Two results agree in every bit."""
    assert a.front is not None
    assert b.front is not None
    for name in ("X", "F", "reference"):
        assert getattr(a.front, name).tobytes() == getattr(b.front, name).tobytes(), name
    assert a.front.maximize == b.front.maximize
    assert a.history.f.tobytes() == b.history.f.tobytes()
    assert a.history.evaluations.tolist() == b.history.evaluations.tolist()
    assert a.f.tobytes() == b.f.tobytes()
    assert (a.evaluations, a.generations) == (b.evaluations, b.generations)
    assert a.failures == b.failures


def stopping(at: int, fun: Callable[..., Any] = failing) -> Callable[..., Any]:
    """The function, in which somebody presses Ctrl-C at one of its calls."""
    calls = iter(range(1, 10_000))

    def stopped(x: np.ndarray) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return fun(x)

    stopped.__name__ = "f"
    return stopped


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("snapshots", [True, False])
@pytest.mark.parametrize("at", [1, 10, 34])
def test_a_run_taken_up_again_ends_as_one_left_alone(
    tmp_path: Path, method: str, at: int, snapshots: bool
) -> None:
    words = {**RANDOM, "algorithm": method, "maximize": [True, False], "reference": [0, 90]}
    left = evoopt.minimize(stopping(0), run_dir=tmp_path / "left", **words)
    run = tmp_path / "run"
    with pytest.raises(evoopt.Interrupted) as stop:
        evoopt.minimize(stopping(at), run_dir=run, **words)
    assert stop.value.result is not None
    assert stop.value.result.evaluations == at - 1
    if not snapshots:
        for file in (run / "snapshots").iterdir():
            file.unlink()
    again = evoopt.minimize(stopping(0), run_dir=run, **words)
    assert_same(again, left)
    assert_same(evoopt.minimize(stopping(0), run_dir=run, **words), left)  # as it is stored


def test_a_run_in_other_words_is_refused(tmp_path: Path) -> None:
    evoopt.minimize(spheres, run_dir=tmp_path / "run", **RANDOM)
    for other in ({"reference": [1, 2]}, {"maximize": [True, False]}, {"objectives": 3}):
        with pytest.raises(evoopt.StateError, match=f"holds another run .*{next(iter(other))}"):
            evoopt.minimize(spheres, run_dir=tmp_path / "run", **{**RANDOM, **other})


@pytest.mark.parametrize(
    "words",
    [
        {"isolate": True},
        {"isolate": True, "workers": 2},
        {"engine": "process", "budget": 3},
        {"vectorized": True},
        {"vectorized": True, "isolate": True},
    ],
    ids=str,
)
def test_every_engine_finds_the_same_front(words: dict[str, Any]) -> None:
    def rows(X: np.ndarray) -> Any:
        return np.array([spheres(x) for x in X])

    fun = rows if "vectorized" in words else spheres
    one = evoopt.minimize(spheres, **{**RANDOM, "budget": words.get("budget", 60)})
    assert_same(evoopt.minimize(fun, **{**RANDOM, **words}), one)


@pytest.mark.parametrize("name", ["serial", "pool", "process"])
def test_a_failed_row_has_no_value_in_any_objective_whatever_the_engine(name: str) -> None:
    problem = FunctionProblem(failing, DIM, *BOX, n_obj=2)  # type: ignore[arg-type]  # lists
    evaluator = make_evaluator(name, problem)
    X = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])
    found: dict[int, Any] = {}
    try:
        evaluator.submit(np.arange(3), X, None, None)
        while len(found) < 3:
            batch = evaluator.poll(10.0)
            assert batch is not None
            assert batch.values.F.shape == (len(batch.ids), 2)
            for row, i in enumerate(batch.ids.tolist()):
                found[i] = batch.values.F[row], batch.values.failures.get(row)
    finally:
        evaluator.close()
    assert found[0][0].tolist() == [0.0, 3.0]
    assert np.isnan([found[1][0], found[2][0]]).all()
    assert (found[1][1].kind, found[2][1].kind) == (NAN, RAISED)


def test_worker_processes_say_how_many_objectives_they_see() -> None:
    for engine in ("pool", "process"):
        with pytest.raises(evoopt.ObjectiveError) as error:
            evoopt.minimize(spheres, **{**RANDOM, "objectives": 3}, engine=engine)
        assert error.value.numbers == 2


@pytest.mark.parametrize(
    "text", ["f 3 0.5 {x1}", "3\n0.5\n{x1}\n", '3\n{"f": [0.5, {x1}]}', '{"value": [5e-1, {x1}]}\n']
)
def test_a_program_prints_the_values_last(text: str) -> None:
    program = evoopt.Program(["printf", text])
    r = evoopt.minimize(program, **{**RANDOM, "bounds": [(-5, 5)], "budget": 4})
    assert r.front_f[:, 0].tolist() == [0.5]
    assert r.front_f[0, 1] == r.front_x[0, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("f is {x1}", "1 numbers instead of 2"),
        ('{"f": {x1}}', "a list of 2 numbers as 'f'"),
        ('{"f": [1, 2, {x1}]}', "a list of 2 numbers as 'f'"),
    ],
)
def test_a_program_that_prints_other_numbers_has_failed(text: str, says: str) -> None:
    program = evoopt.Program(["printf", text])
    r = evoopt.minimize(program, **{**RANDOM, "bounds": [(-5, 5)], "budget": 1})
    assert r.failures == {RAISED: 1}
    assert says in r.first_failure


@pytest.mark.parametrize("method", METHODS)
def test_results_told_one_by_one_make_the_front_of_all(method: str, tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    lock = threading.Lock()

    def kept(x: np.ndarray) -> tuple[float, float]:
        with lock:
            seen.append(spheres(x))
        return seen[-1]

    words = {**RANDOM, "algorithm": method, "asynchronous": True}
    r = evoopt.minimize(kept, run_dir=tmp_path / "run", **words)
    F = np.array(seen)
    np.testing.assert_array_equal(r.front_f, Front.of(F, F, r.reference).F)
    assert r.evaluations == len(F) == 60
    assert_same(evoopt.minimize(kept, run_dir=tmp_path / "run", **words), r)


class Losing:
    """An evaluator of which one row never comes back."""

    capacity = 4

    def __init__(self, lost: int) -> None:
        self.problem = FunctionProblem(spheres, DIM, *BOX, n_obj=2)  # type: ignore[arg-type]  # lists
        self.lost = lost
        self.rows: list[tuple[int, np.ndarray]] = []

    def submit(self, ids: Any, X: np.ndarray, seeds: Any, deadline: Any) -> None:
        self.rows += [row for row in zip(ids.tolist(), X, strict=True) if row[0] != self.lost]

    def poll(self, timeout: float) -> Batch | None:
        if not self.rows:
            return None
        i, x = self.rows.pop(0)
        return Batch(np.array([i]), guarded(self.problem, x[None], None), 0.0)

    def cancel(self) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_never_comes_back_fails_in_all_objectives(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stragglers, "SECONDS", 0.0)
    settings = Settings(method, seed=1, budget=50, workers=4, asynchronous=True)
    evaluator = Losing(7)
    r = solve(evaluator.problem, settings, evaluator=evaluator)
    assert r.failures == {TIMEOUT: 1}
    assert r.evaluations == 50
    assert len(r.front_f) > 1


@pytest.mark.parametrize("method", METHODS)
def test_told_by_rows_by_ids_or_all_at_once_it_is_the_search_of_minimize(method: str) -> None:
    words = {**RANDOM, "algorithm": method}
    one = evoopt.minimize(spheres, reference=[40, 40], **words)
    del words["budget"]
    rows = evoopt.AskTell(**words, reference=[40, 40])
    ids = evoopt.AskTell(**words, reference=[40, 40])
    while rows.evaluations < 60:
        k = min(rows.popsize, 60 - rows.evaluations)
        X = rows.ask(k)
        rows.tell(X, [spheres(x) for x in X])
        for i, x in reversed(ids.ask_ids(k)):
            ids.tell(i, spheres(x))
            assert ids.result.evaluations == ids.evaluations  # with those that wait
    for es in (rows, ids):
        assert es.result.front_f.tobytes() == one.front_f.tobytes()
        assert es.result.hypervolume == one.hypervolume


def test_a_state_dict_holds_the_front_and_what_waits() -> None:
    words: dict[str, Any] = {"bounds": BOX, "algorithm": "random", "seed": 1, "objectives": 2}
    es, twin = evoopt.AskTell(**words), evoopt.AskTell(**words)
    X = es.ask()
    es.tell(X, [spheres(x) for x in X])
    pairs = es.ask_ids(4)
    es.tell(pairs[0][0], [0.5, np.nan])
    es.tell(pairs[1][0], np.array([0.5, 0.25]))
    twin.load_state_dict(json_and_back(es.state_dict()))
    for i, x in pairs[2:]:
        es.tell(i, spheres(x))
        twin.tell(i, spheres(x))
    assert_same(es.result, twin.result)
    assert es.result.failures == {NAN: 1}
    other = evoopt.AskTell(**{**words, "objectives": 3})
    with pytest.raises(evoopt.StateError):
        other.load_state_dict(es.state_dict())


def json_and_back(state: dict[str, Any]) -> dict[str, Any]:
    """Through JSON, but for the arrays."""
    arrays = state.pop("arrays")
    return {**json.loads(json.dumps(state)), "arrays": arrays}


def test_a_point_from_elsewhere_is_on_the_front_and_costs_nothing() -> None:
    es = evoopt.AskTell("random", bounds=BOX, seed=1, objectives=2)
    es.tell([0.5] * 3, (0.1, 0.1))
    X = es.ask()
    es.tell(X, [spheres(x) for x in X])
    assert es.evaluations == len(X)
    assert [0.1, 0.1] in es.result.front_f.tolist()


@pytest.mark.parametrize(
    "values", [[1.0] * 10, [(1.0,)] * 10, [(1.0, 2.0, 3.0)] * 10, [(1.0, 2.0)] * 9, "ab", None, 1.0,
               [(1.0, 2.0)] * 9 + [(1.0, "a")], [(1.0, 2.0)] * 9 + [1.0]],
)  # fmt: skip
def test_values_of_another_shape_are_refused_and_change_nothing(values: Any) -> None:
    es = evoopt.AskTell("random", bounds=BOX, seed=1, objectives=2)
    X = es.ask()
    before = repr(es.state_dict())
    with pytest.raises(evoopt.EvooptError, match=r"^tell\(F=\.\.\.\)[^\n]*$"):
        es.tell(X, values)
    assert repr(es.state_dict()) == before
    with pytest.raises(evoopt.EvooptError, match=r"^tell\(F=\.\.\.\)[^\n]*$"):
        es.tell(0, [1.0, 2.0, 3.0])
    es.tell(X, [spheres(x) for x in X])


def test_a_hypervolume_can_be_the_target_of_ask_and_tell() -> None:
    es = evoopt.AskTell("random", bounds=BOX, seed=1, reference=[40, 40], target=600)
    while es.stop is None:
        X = es.ask()
        es.tell(X, [spheres(x) for x in X])
    assert es.stop.criterion == "ftarget"
    assert es.result.success
    assert es.result.reason.value == pytest.approx(es.result.hypervolume)
    assert es.result.hypervolume >= 600


@pytest.mark.parametrize("method", METHODS)
def test_earlier_points_are_learnt_before_the_first_ask_and_belong_to_the_front(
    method: str,
) -> None:
    words = {**RANDOM, "algorithm": method}
    first = evoopt.minimize(spheres, **words, maximize=[False, True])
    X = np.vstack([first.front_x, [[1.0, 1, 1]]])
    F = np.vstack([first.front_f, [[np.nan, 1]]])
    words |= {"seed": 2, "budget": 20, "maximize": [False, True]}
    r = evoopt.minimize(spheres, warm_start=(X, F), **words)
    assert r.evaluations == 20
    assert any(f"from {len(X) - 1} evaluations" in note for note in r.notes)
    both = np.vstack([first.front_f, r.front_f])
    best = Front.of(both, both, r.reference, (False, True))
    assert {tuple(f) for f in best.F} == {tuple(f) for f in r.front_f}
    again = evoopt.minimize(
        spheres, [0.5] * 3, warm_start=(X.tolist(), F.tolist()), sigma0=0.1, **words
    )
    assert len(again.front_f)


def test_a_run_that_began_with_earlier_points_goes_on_with_them(tmp_path: Path) -> None:
    words = {**RANDOM, "warm_start": ([[0.5] * 3], [[0.1, 0.1]])}
    left = evoopt.minimize(stopping(0), **words)
    with pytest.raises(evoopt.Interrupted):
        evoopt.minimize(stopping(25), run_dir=tmp_path / "run", **words)
    assert_same(evoopt.minimize(stopping(0), run_dir=tmp_path / "run", **words), left)
    assert [0.1, 0.1] in left.front_f.tolist()


def test_a_search_by_turns_takes_several_values_in_their_senses(tmp_path: Path) -> None:
    settings = Settings(algorithm="random", seed=1, objectives=2, maximize=[False, True])
    words = Words(np.full(2, -5.0), np.full(2, 5.0), settings)
    with take_turn(tmp_path / "a", words) as turn:
        rows = turn.ask(3)
    with take_turn(tmp_path / "a") as turn:
        turn.tell({rows[2][0]: [1.0, 2.0], rows[0][0]: None})
        with pytest.raises(evoopt.ConfigurationError, match=r"tell\(value=\.\.\.\) must be 2 numb"):
            turn.tell({rows[1][0]: 1.0})
    with take_turn(tmp_path / "a") as turn:
        turn.tell({rows[1][0]: (2.0, 3.0)})
        assert turn.result.front_f.tolist() == [[1.0, 2.0], [2.0, 3.0]]
        assert turn.result.failures == {RAISED: 1}


def test_a_log_holds_every_value(tmp_path: Path) -> None:
    r = evoopt.minimize(spheres, run_dir=tmp_path / "run", **RANDOM)
    directory = RunDirectory.read(tmp_path / "run")
    assert directory.manifest["problem"]["objectives"] == 2
    from evoopt.earlier import evaluations

    X, F = evaluations(tmp_path / "run", n_obj=2)
    np.testing.assert_array_equal([spheres(np.array(x)) for x in X], F)
    np.testing.assert_array_equal(Front.of(np.array(X), np.array(F), r.reference).F, r.front_f)


def test_solve_takes_the_words_of_settings() -> None:
    problem = FunctionProblem(spheres, DIM, *BOX, n_obj=2)  # type: ignore[arg-type]  # lists
    with pytest.raises(evoopt.ConfigurationError, match=r"minimize\(objectives=...\) must be 2"):
        solve(problem, Settings(algorithm="random", objectives=3))

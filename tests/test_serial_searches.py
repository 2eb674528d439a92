"""Solvers that ask one point at a time, by the words of `minimize` and `AskTell`: killed,
restarted, in boxes with fixed and scaled variables, and with words that they do not take."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.api import Settings
from evoopt.evaluators import make_evaluator
from evoopt.plan import build, resolve
from evoopt.runner import Limits, Runner
from evoopt.search import Search
from evoopt.strategies import conversation

MISSING = pytest.mark.skipif(
    importlib.util.find_spec("pybobyqa") is None, reason="needs the extra 'bobyqa'"
)
each_solver = pytest.mark.parametrize(
    "algorithm", ["cobyqa", pytest.param("bobyqa", marks=MISSING)]
)
BOX: dict[str, Any] = {"bounds": ([-5.0] * 3, [5.0] * 3), "seed": 3}


def rosenbrock(x: np.ndarray) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def two_valleys(x: np.ndarray) -> float:
    """The centre of the box leads into the wrong one."""
    return float(min(((x - 3) ** 2).sum(), ((x + 1) ** 2).sum() + 1))


class Stopping:
    """An objective that is interrupted at one call."""

    def __init__(self, at: int, fun: Any = rosenbrock) -> None:
        self.__name__, self.calls, self.at, self.fun = "f", 0, at, fun

    def __call__(self, x: np.ndarray) -> float:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return float(self.fun(x))


def same(a: evoopt.Result, b: evoopt.Result) -> bool:
    """Whether two results agree in every bit, but for the folder."""

    def plain(r: evoopt.Result) -> tuple[Any, ...]:
        assert r.x is not None
        rest = (r.f, r.evaluations, r.generations, r.reason, r.success, r.restarts, r.notes)
        return (r.history.f.tobytes(), r.history.evaluations.tobytes(), r.x.tobytes(), *rest)

    return plain(a) == plain(b)


@each_solver
def test_a_run_is_stopped_and_taken_up_at_every_single_evaluation(
    algorithm: str, tmp_path: Path
) -> None:
    words = {**BOX, "budget": 14, "algorithm": algorithm, "run_dir": tmp_path / "run"}
    for calls in range(1, 14):
        with pytest.raises(evoopt.Interrupted) as raised:  # one is evaluated, the next is not
            evoopt.minimize(Stopping(2), **words)
        conversation.live._renew()  # as in a new process: no solver is alive
        assert raised.value.result is not None
        assert raised.value.result.evaluations == calls
    expected = evoopt.minimize(rosenbrock, **{**words, "run_dir": None})
    assert same(evoopt.minimize(Stopping(-1), **words), expected)


@each_solver
@pytest.mark.parametrize("cut", [1, 200, 3000])
def test_a_torn_log_without_snapshots_is_mended_and_the_rest_evaluated_again(
    algorithm: str, cut: int, tmp_path: Path
) -> None:
    words = {**BOX, "algorithm": algorithm, "budget": 60, "restarts": "ipop"}
    run = tmp_path / "run"
    with pytest.raises(evoopt.Interrupted):
        evoopt.minimize(Stopping(40), run_dir=run, **words)
    log = run / "log.jsonl"
    with log.open("rb+") as file:
        file.truncate(log.stat().st_size - cut)
    for file in (run / "snapshots").iterdir():
        file.unlink()
    conversation.live._renew()
    resumed = evoopt.minimize(Stopping(-1), run_dir=run, **words)
    assert same(resumed, evoopt.minimize(rosenbrock, **words))


@each_solver
def test_restarts_go_on_from_other_starts(algorithm: str) -> None:
    words = {**BOX, "algorithm": algorithm, "sigma0": 0.5, "options": {"final_radius": 1e-5}}
    alone = evoopt.minimize(two_valleys, [-2.0] * 3, budget=2000, **words)
    assert alone.f > 0.9
    assert alone.reason.criterion in ("tolradius", "tolslow")
    assert alone.success
    again = evoopt.minimize(
        two_valleys, [-2.0] * 3, budget=600, restarts="ipop", target=1e-6, **words
    )
    assert again.f <= 1e-6
    assert again.restarts > 0


def test_restarts_go_on_for_as_long_as_there_is_budget() -> None:
    words = {**BOX, "algorithm": "cobyqa", "options": {"final_radius": 0.1}, "restarts": "ipop"}
    result = evoopt.minimize(rosenbrock, budget=400, **words)
    assert result.reason.criterion == "maxfevals"
    assert result.restarts > 11  # a population could not double as often


@each_solver
def test_fixed_and_scaled_variables_are_honoured(algorithm: str) -> None:
    seen = []

    def fun(x: np.ndarray) -> float:
        seen.append(x.copy())
        return float((x[0] - 3e5) ** 2 * 1e-10 + (x[2] - 1e-4) ** 2 * 1e8)

    lower, upper = np.array([-1e6, 7.0, -1e-3]), np.array([1e6, 7.0, 1e-3])
    result = evoopt.minimize(fun, bounds=(lower, upper), algorithm=algorithm, budget=60, seed=1)
    X = np.array(seen)
    assert (X[:, 1] == 7.0).all()
    assert ((lower <= X) & (upper >= X)).all()
    assert result.f < 1e-8


@each_solver
def test_asked_by_hand_it_gives_one_point_at_a_time_and_none_while_it_waits(algorithm: str) -> None:
    es = evoopt.AskTell(algorithm, [2.0] * 3, 0.5, seed=1)
    expected = evoopt.minimize(
        rosenbrock, [2.0] * 3, sigma0=0.5, seed=1, algorithm=algorithm, budget=40
    )
    for i in range(40):
        X = es.ask() if i % 2 else es.ask(5)
        assert X.shape == (1, 3)
        assert es.ask().shape == (0, 3)
        if i == 20:  # saved with the open point, and taken up elsewhere
            saved = es.state_dict()
            conversation.live._renew()
            es = evoopt.AskTell(algorithm, [2.0] * 3, 0.5, seed=1)
            es.load_state_dict(saved)
        es.tell(X, rosenbrock(X[0]))
    assert es.result.x is not None
    assert expected.x is not None
    assert es.result.x.tobytes() == expected.x.tobytes()


@each_solver
@pytest.mark.parametrize(
    "words",
    [{"popsize": 8}, {"workers": 2}, {"asynchronous": True}, {"options": {"final_radius": 2.0}},
     {"options": {"final_radius": "x"}}, {"options": {"mirrored": True}},
     {"warm_start": (np.ones((4, 3)), np.ones(4))}],
)  # fmt: skip
def test_words_that_it_does_not_take_are_refused_in_one_line(
    algorithm: str, words: dict[str, Any]
) -> None:
    with pytest.raises(evoopt.ConfigurationError) as raised:
        evoopt.minimize(rosenbrock, **BOX, algorithm=algorithm, budget=9, **words)
    assert "\n" not in str(raised.value)
    named = next(iter(words.get("options", words)))
    assert named in str(raised.value)


@MISSING
def test_the_number_of_points_of_the_model_is_checked() -> None:
    def run(points: object) -> evoopt.Result:
        options = {"points": points}
        return evoopt.minimize(rosenbrock, **BOX, algorithm="bobyqa", budget=20, options=options)

    assert run(10).f != run(7).f
    for points in (3, 11):
        with pytest.raises(
            evoopt.ConfigurationError, match=r"points=\.\.\.\) must be 4 to 10 in 3"
        ):
            run(points)


def test_a_missing_solver_is_one_sentence_that_names_the_extra_and_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = {**BOX, "algorithm": "bobyqa", "budget": 9, "run_dir": tmp_path / "run"}
    with pytest.raises(evoopt.MissingDependencyError) as raised:
        evoopt.minimize(rosenbrock, **words)
    text = str(raised.value)
    assert "\n" not in text
    assert "[bobyqa]" in text
    assert "'cobyqa'" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_loop_waits_where_nothing_is_to_be_asked(asynchronous: bool) -> None:
    """Also where idle workers would take more than the one row that there is."""
    problem = evoopt.FunctionProblem(rosenbrock, 2, [-5.0] * 2, [5.0] * 2, name="f")
    plan = resolve(problem, Settings(algorithm="cobyqa", budget=30, seed=1))

    def result(workers: int, asynchronous: bool) -> Search:
        search = Search(build(plan), plan.x0, plan.sigma0, plan.seed)
        evaluator = make_evaluator("pool" if workers > 1 else "serial", problem, workers)
        try:
            Runner(search, evaluator, Limits(budget=30), asynchronous=asynchronous).run()
        finally:
            evaluator.close()
        return search

    one, several = result(1, False), result(2, asynchronous)
    assert one.evaluations == several.evaluations == 30
    assert one.history().f.tobytes() == several.history().f.tobytes()

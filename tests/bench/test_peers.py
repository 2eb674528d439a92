"""Every peer and every strategy of ours meets the same terms: start, budget, target, seed."""

from __future__ import annotations

import math
import warnings
from importlib import metadata

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, MissingDependencyError
from evoopt_bench import peers
from evoopt_bench.peers import PEERS, Peer
from evoopt_bench.single import problem_settings
from evoopt_bench.suites import CocoProblem, ProblemId
from evoopt_bench.targets import TARGETS, hitting_times
from evoopt_bench.trial import Over, Trial

pytest.importorskip("cocoex", reason="needs the extra bench")
each_peer = pytest.mark.parametrize("name", PEERS)
ELLIPSOID = ProblemId("bbob", 2, 10, 1)
SLOPE = ProblemId("bbob", 2, 5, 1)


def carried_out(name: str, problem: ProblemId, budget: int, seed: int = 3) -> Trial:
    package = PEERS[name].package
    try:
        if package:
            metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs {package}, which the extra peers brings")
    trial = Trial(problem, budget, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peers.carry_out(name, trial)
    return trial


@each_peer
def test_a_peer_spends_its_budget_and_not_one_evaluation_more(name: str) -> None:
    assert carried_out(name, ELLIPSOID, 47).run().evaluations == 47


@each_peer
def test_a_peer_does_the_same_again(name: str) -> None:
    first, again = (carried_out(name, ELLIPSOID, 40).run() for _ in range(2))
    assert first.at.tolist() == again.at.tolist()
    assert first.f.tolist() == again.f.tolist()


@each_peer
def test_a_peer_ends_at_the_target(name: str) -> None:
    if name in ("random", "optuna-tpe"):
        pytest.skip("it does not reach the target within the budget of a test")
    run = carried_out(name, SLOPE, 3000).run()
    assert run.solved
    assert run.evaluations == run.at[-1] < 3000


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ("random", "fcmaes-bite")])
def test_a_peer_begins_at_or_around_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    call = Trial.__call__

    def watched(self: Trial, x: np.ndarray) -> float:
        seen.append(np.array(x))
        return call(self, x)

    monkeypatch.setattr(Trial, "__call__", watched)
    trial = carried_out(name, ELLIPSOID, 6)
    nearest = min(float(np.abs(x - trial.start).max()) for x in seen)
    sampled = name.startswith(("cma", "fcmaes"))
    # of six normal samples with sigma 2 in the plane none is within 4 once in 3000 seeds
    assert nearest <= (2 * 2.0 if sampled else 0.0)


@pytest.mark.parametrize("name", ["cma", "cmaes-margin", "scipy-de", "random"])
def test_integer_variables_can_be_searched(name: str) -> None:
    run = carried_out(name, ProblemId("bbob-mixint", 5, 1, 1), 60).run()
    assert run.evaluations == 60


def test_a_peer_with_one_step_size_refuses_variables_of_different_ranges() -> None:
    with pytest.raises(ConfigurationError, match="one step size for all variables; bbob-mixint_f"):
        carried_out("cma-lq", ProblemId("bbob-mixint", 5, 1, 1), 20)


def test_a_peer_that_is_not_installed_is_one_line_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PEERS, "none", Peer(lambda trial: None, "nothing", "no-such-package"))
    with pytest.raises(MissingDependencyError, match=r"peer 'none' needs .*\.\[peers\]"):
        peers.check_peer("none", PEERS["none"])


def test_the_start_is_the_one_that_a_strategy_of_ours_would_draw() -> None:
    from evoopt.plan import resolve

    trial = Trial(ELLIPSOID, 10, seed=17)
    settings = problem_settings_with_seed(17)
    assert resolve(trial.problem, settings).x0.tolist() == trial.start.tolist()


def problem_settings_with_seed(seed: int):  # type: ignore[no-untyped-def]  # Settings, in one place
    from dataclasses import replace

    from evoopt.settings import Settings

    return replace(problem_settings(Settings(algorithm="cma-es"), ELLIPSOID, 1), seed=seed)


def test_starts_are_uniform_in_the_start_box_and_differ() -> None:
    starts = np.array([Trial(ELLIPSOID, 10, seed=seed).start for seed in range(400)])
    assert (np.abs(starts) < 4).all()
    # mean of 800 uniform numbers in [-4, 4]: its standard deviation is 0.08
    assert abs(starts.mean()) < 0.3
    trial = Trial(ELLIPSOID, 10, seed=1)
    drawn = [tuple(trial.next_start()) for _ in range(5)]
    assert drawn[0] == tuple(trial.start)
    assert len(set(drawn)) == 5


def test_a_trial_is_over_at_the_budget_whether_points_come_one_by_one_or_in_rows() -> None:
    one, many = Trial(ELLIPSOID, 5, 1), Trial(ELLIPSOID, 5, 1)
    X = np.random.default_rng(1).normal(size=(9, 2))
    for x in X[:5]:
        one(x)
    with pytest.raises(Over):
        one(X[5])
    with pytest.raises(Over):
        many.evaluate(X)
    assert one.run().f.tolist() == many.run().f.tolist()
    assert one.run().evaluations == many.run().evaluations == 5


def test_a_trial_is_over_once_the_target_is_reached() -> None:
    trial = Trial(ProblemId("bbob", 2, 1, 1), 100, 1)
    import cocoex

    best = cocoex.BareProblem("bbob", 1, 2, 1).best_parameter()
    assert trial(best) <= trial.target
    with pytest.raises(Over):
        trial(best)
    assert trial.run().solved


def test_what_a_trial_keeps_of_its_course_hits_each_target_when_the_course_did() -> None:
    trial = Trial(ELLIPSOID, 4000, 1)
    optimum = pytest.importorskip("cocoex").BareProblem("bbob", 10, 2, 1).best_parameter()
    steps = np.random.default_rng(2).normal(size=(3000, 2))
    X = optimum + steps * 10.0 ** np.linspace(1.0, -4.2, 3000)[:, None]
    F = CocoProblem(ELLIPSOID).evaluate(X).F
    end = int(np.argmax(F <= trial.target)) + 1 if (F <= trial.target).any() else len(F)
    F = F[:end]
    for x in X[:end]:
        trial(x)
    run = trial.run()
    expected = hitting_times(np.arange(1, len(F) + 1), F, trial.problem.f_opt)
    assert run.times().tolist() == expected.tolist()
    assert np.isfinite(expected).sum() > 30
    assert run.f[-1] == F.min()
    assert len(run.at) <= TARGETS.size + 50


def test_a_failed_evaluation_is_a_large_number_for_a_peer_and_no_best_value() -> None:
    trial = Trial(ProblemId("bbob-boxed", 2, 1, 1), 10, 1)
    assert trial([9.0, 9.0]) == 1e300
    assert trial.run().f.size == 0
    assert math.isinf(trial.run().precision)


def test_a_noisy_trial_judges_by_noise_free_values() -> None:
    trial = Trial(ProblemId("bbob-noisy", 2, 109, 1), 50, 1)
    X = np.random.default_rng(1).normal(size=(20, 2))
    noisy = [trial(x) for x in X]
    run = trial.run()
    exact = trial.problem.judged(X, np.empty(0))
    assert run.f[-1] == exact.min() < min(noisy)

"""Every multi-objective peer meets the same terms: first point, budget, seed; nobody the nadir."""

from __future__ import annotations

import warnings
from contextlib import suppress
from importlib import metadata

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt_bench.biobj_peers import BIOBJ_PEERS
from evoopt_bench.biobj_trial import BiobjTrial
from evoopt_bench.compare import _carry_out, compare
from evoopt_bench.suites import CocoProblem, ProblemId, select
from evoopt_bench.trial import Over
from evoopt_bench.units import algorithms, by_algorithm, peers_of, read_comparison

pytest.importorskip("cocoex", reason="needs the extra bench")

PROBLEM = ProblemId("bbob-biobj", 2, 7, 1)
SPHERES = ProblemId("bbob-biobj", 5, 1, 1)
each_peer = pytest.mark.parametrize("name", BIOBJ_PEERS)


class Watched(BiobjTrial):
    """A trial that remembers what it was asked."""

    def __init__(self, problem: ProblemId, budget: int, seed: int) -> None:
        super().__init__(problem, budget, seed)
        self.seen: list[np.ndarray] = []

    def evaluate(self, X):  # type: ignore[no-untyped-def]  # as in the class
        self.seen.extend(np.array(X)[: max(self.left, 0)])
        return super().evaluate(X)


def carried_out(name: str, budget: int, seed: int = 3, problem: ProblemId = PROBLEM) -> Watched:
    package = BIOBJ_PEERS[name].package
    try:
        if package:
            metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs {package}, which an extra of peers brings")
    trial = Watched(problem, budget, seed)
    with warnings.catch_warnings(), suppress(Over):
        warnings.simplefilter("ignore")
        BIOBJ_PEERS[name].run(trial)
    return trial


@each_peer
def test_a_peer_evaluates_the_middle_first_and_spends_its_budget_to_the_last(name: str) -> None:
    trial = carried_out(name, 47)
    assert trial.seen[0].tolist() == [0.0, 0.0]
    assert len(trial.seen) == trial.run().evaluations == 47


@each_peer
def test_a_peer_does_the_same_again_whatever_ran_before(name: str) -> None:
    first = carried_out(name, 33)
    carried_out(name, 5, seed=4)
    again = carried_out(name, 33)
    assert np.array_equal(first.seen, again.seen)
    other = carried_out(name, 33, seed=4)
    assert not np.array_equal(first.seen, other.seen)


@pytest.mark.parametrize("name", [n for n in BIOBJ_PEERS if n not in ("comocma", "deap-mo-cma-es")])
def test_a_peer_that_needs_a_box_stays_in_that_of_the_optima(name: str) -> None:
    X = np.array(carried_out(name, 60).seen)
    assert (np.abs(X) <= 5).all()
    assert np.abs(X).max() > 3


@pytest.mark.parametrize("name", [n for n in BIOBJ_PEERS if not n.startswith(("random", "optuna"))])
def test_a_peer_that_learns_is_ahead_of_random_search(name: str) -> None:
    learnt, blind = (
        [carried_out(n, 500, seed, SPHERES).run() for seed in (1, 2, 3)] for n in (name, "random")
    )
    shares = [np.mean([np.isfinite(r.times()).mean() for r in runs]) for runs in (learnt, blind)]
    assert shares[0] > shares[1]  # seeds fixed


def test_a_trial_counts_rows_to_the_budget_and_evaluates_none_beyond() -> None:
    X = np.random.default_rng(1).uniform(-5, 5, (9, 2))
    one, many = BiobjTrial(PROBLEM, 5, 1), BiobjTrial(PROBLEM, 5, 1)
    values = [one(x) for x in X[:5]]
    with pytest.raises(Over):
        one(X[5])
    with pytest.raises(Over):
        many.rows(X)
    assert values == CocoProblem(PROBLEM).evaluate(X[:5]).F.tolist()
    assert one.run().at.tolist() == many.run().at.tolist()
    assert one.run().f.tolist() == many.run().f.tolist()
    assert (one.left, one.run().evaluations) == (0, 5)


def test_a_failed_evaluation_is_a_large_number_for_a_peer_and_nothing_for_the_indicator() -> None:
    trial = BiobjTrial(PROBLEM, 5, 1)
    assert trial([np.nan, 0.0]) == [1e300, 1e300]
    assert trial.run().f.size == 0


def test_ours_and_peers_are_compared_on_two_objectives_and_kept_in_order(tmp_path) -> None:  # type: ignore[no-untyped-def]  # tmp_path
    names = ["random", "nsga2-20"]
    found = compare(select("bbob-biobj:f1:d2:i1"), names, tmp_path / "c", budget="20D", seed=1)
    assert list(by_algorithm(found.outcomes)) == ["nsga2-20", "random"]
    for outcome in found.outcomes:
        assert (outcome.run.n_obj, outcome.run.evaluations) == (2, 40)
    again = read_comparison(tmp_path / "c")
    assert [o.run.times().tolist() for o in again.outcomes] == [
        o.run.times().tolist() for o in found.outcomes
    ]


@pytest.mark.parametrize("name", algorithms(2))
def test_every_strategy_of_ours_begins_in_the_middle_and_spends_the_budget(name: str) -> None:
    trial = Watched(PROBLEM, 60, 1)
    _carry_out(name, trial)
    assert trial.seen[0].tolist() == [0.0, 0.0]
    assert len(trial.seen) == trial.run().evaluations == 60


def test_who_takes_one_objective_only_is_refused_by_name(tmp_path) -> None:  # type: ignore[no-untyped-def]  # tmp_path
    for name in ("cma-es", "scipy-bfgs"):
        with pytest.raises(ConfigurationError, match=rf"must be among auto, .*nsga2-20.*'{name}'"):
            compare(select("bbob-biobj:f1:d2:i1"), [name], tmp_path / "c", budget=9, seed=1)
    assert not (tmp_path / "c").exists()
    assert not set(algorithms(2)) & set(peers_of(2))

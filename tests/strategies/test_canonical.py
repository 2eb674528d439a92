"""The canonical ES: its formulas, beside a literal transcription, and what only it does."""

import numpy as np
import pytest
from reference import canonical_literal, driving, objectives

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt.result import Values
from evoopt.strategies.canonical import CanonicalES

SEED, PATH = 7, (3,)


def noisy(x):
    """Ranks that have half to do with x; a function of x alone."""
    return float(np.log1p((x**2).sum()) + np.sin(1e4 * x.sum()))


@pytest.mark.parametrize("csa", [False, True])
@pytest.mark.parametrize(
    ("dim", "popsize", "mu"), [(1, 4, 1), (2, 6, 3), (10, 10, 5), (10, 30, 30), (600, 9, 2)]
)
def test_fifty_generations_are_those_of_the_literal_transcription(dim, popsize, mu, csa):
    """Sums in another order: 1e-16 a generation, which adds up and is not amplified."""
    strategy = CanonicalES.default(dim, popsize=popsize, mu=mu, csa=csa)
    c = canonical_literal.constants(dim, popsize, mu)
    x0 = np.linspace(0.5, 1.5, dim)
    state, twin = strategy.init(x0, 0.6, SEED, PATH), canonical_literal.start(x0, 0.6)
    for _ in range(50):
        population, state = strategy.ask(state, popsize)
        Z = rng.normals(SEED, PATH, int(population.id[0]), popsize, dim)
        X = canonical_literal.sample(twin, Z)
        np.testing.assert_allclose(population.X, X, rtol=1e-12, atol=1e-12)
        F = np.array([noisy(x) for x in X])
        state = strategy.tell(state, population, Values(F))
        canonical_literal.step(c, twin, Z, F, csa)
        d = state.distribution
        np.testing.assert_allclose(d.mean, twin.theta, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(d.sigma, twin.sigma, rtol=1e-12)
    assert (d.sigma == 0.6) == (not csa)


def test_the_weights_of_the_paper_have_its_selection_mass():
    strategy = CanonicalES.default(1_700_000, popsize=798, mu=50)
    assert strategy.mueff == pytest.approx(26.967, abs=5e-4)  # arXiv:1802.08842: 50 of 798
    assert strategy.weights.sum() == pytest.approx(1)
    assert strategy.c_sigma == pytest.approx(1.7e-5, rel=0.02)


def test_a_rotated_sphere_takes_the_same_course_in_distribution():
    """Medians over 40 seeds of log f after 30 generations, which fall by 7.4: the standard
    deviation of a run is 1, that of the difference of two medians 0.28."""
    R = objectives.rotation(6, seed=1)
    scale = np.array([1.0, 2, 3, 4, 5, 6])
    strategy = CanonicalES.default(6, popsize=12, csa=True)

    def median(fun, start):
        states = [strategy.init(start, 0.5, seed) for seed in range(40)]
        ends = [driving.run(strategy, s, fun, 30) for s in states]
        return np.median([np.log(fun(strategy.portrait(s).mean)) for s in ends])

    plain = median(lambda x: float(scale @ x**2), np.ones(6))
    rotated = median(lambda x: float(scale @ (R @ x) ** 2), R.T @ np.ones(6))
    assert plain < np.log(21) - 6
    assert abs(plain - rotated) < 1.0


def test_with_csa_it_converges_and_without_it_stays_within_a_step():
    ends = {}
    for csa in (False, True):
        strategy = CanonicalES.default(10, csa=csa)
        state = strategy.init(np.ones(10), 0.3, 1)
        ends[csa] = driving.run(strategy, state, objectives.sphere, 400)
        ends[csa] = objectives.sphere(strategy.portrait(ends[csa]).mean)
    assert ends[True] < 1e-8
    assert 1e-3 < ends[False] < 10 * 0.3**2


def test_it_stops_by_itself_once_nothing_comes_any_more():
    strategy = CanonicalES.default(3)
    state = strategy.init(np.zeros(3), 0.3, 1)
    generations = 0
    while strategy.stop(state) is None:
        _, _, state = driving.generation(strategy, state, objectives.sphere)
        generations += 1
        assert generations < 5000
    assert strategy.stop(state).criterion == "tolstagnation"


def test_a_plateau_is_no_reason_to_stop():
    strategy = CanonicalES.default(3)
    state = driving.run(strategy, strategy.init(np.zeros(3), 0.3, 1), lambda x: 0.0, 60)
    assert strategy.stop(state) is None


@pytest.mark.parametrize("mu", [0, -1, 9, 2.0, True, "3"])
def test_a_mu_that_cannot_be_is_refused_in_one_line(mu):
    with pytest.raises(
        ConfigurationError, match=r"CanonicalES\(mu=...\) must be a whole"
    ) as caught:
        CanonicalES.default(3, popsize=8, mu=mu)
    assert repr(mu) in str(caught.value)
    assert "\n" not in str(caught.value)

"""OpenAI-ES: its formulas, beside a literal transcription, and what only it does."""

import numpy as np
import pytest
from reference import driving, objectives, openai_literal

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt.result import Values
from evoopt.strategies.openai import OpenAIES, centred_ranks

SEED, PATH = 7, (3,)


def noisy(x):
    """Ranks that have half to do with x; a function of x alone."""
    return float(np.log1p((x**2).sum()) + np.sin(1e4 * x.sum()))


@pytest.mark.parametrize(("optimizer", "decay"), [("adam", 0.0), ("adam", 0.005), ("sgd", 0.01)])
@pytest.mark.parametrize(("dim", "pairs"), [(1, 1), (2, 3), (10, 20), (600, 4)])
def test_fifty_generations_are_those_of_the_literal_transcription(dim, pairs, optimizer, decay):
    """The constants of the source: sigma .02 and steps of .01 are a step size of .5."""
    strategy = OpenAIES.default(
        dim, popsize=2 * pairs, optimizer=optimizer, weight_decay=decay, step_size=0.01 / 0.02
    )
    x0 = np.linspace(0.5, 1.5, dim)
    state, twin = strategy.init(x0, 0.02, SEED, PATH), openai_literal.start(x0)
    for generation in range(50):
        population, state = strategy.ask(state, 2 * pairs)
        eps = rng.normals(SEED, PATH, generation * pairs, pairs, dim)
        X = openai_literal.sample(twin, 0.02, eps)
        np.testing.assert_allclose(population.X, X, rtol=1e-10, atol=1e-10)
        F = np.array([noisy(x) for x in X])
        state = strategy.tell(state, population, Values(F))
        openai_literal.step(twin, -F.reshape(-1, 2), eps, 0.01, decay, optimizer)
        np.testing.assert_allclose(state.distribution.mean, twin.theta, rtol=1e-10, atol=1e-10)


def test_ranks_are_those_of_the_source_and_ties_share_theirs():
    f = sorted(np.random.Generator(np.random.Philox(1)).normal(size=9).tolist())
    literal = openai_literal.centred_ranks(-np.array([f]))[0]
    np.testing.assert_allclose(centred_ranks(f), literal, atol=1e-16)
    assert centred_ranks([1.0, 1.0, 1.0]).tolist() == [0, 0, 0]
    assert centred_ranks([0.0, 1.0, 1.0, 2.0]).tolist() == [0.5, 0, 0, -0.5]
    assert centred_ranks([0.0, np.nan, np.nan]).tolist() == [0.5, -0.25, -0.25]


def test_the_two_of_a_pair_lie_opposite_each_other():
    strategy = OpenAIES.default(7, popsize=8)
    state = strategy.init(np.arange(7.0), 0.1, 1)
    rows, _ = strategy.ask(state, 8)
    X = np.asarray(rows.X) - np.arange(7.0)
    np.testing.assert_allclose(X[::2], -X[1::2], atol=1e-15)
    assert len(np.unique(X[::2].round(12), axis=0)) == 4
    plain = OpenAIES.default(7, popsize=8, mirrored=False)
    X = np.asarray(plain.ask(state, 8)[0].X) - np.arange(7.0)
    assert np.linalg.norm(X[0] + X[1]) > 0.01


def test_on_a_plateau_it_stays_where_it_is():
    strategy = OpenAIES.default(4)
    state = driving.run(strategy, strategy.init(np.ones(4), 0.3, 1), lambda x: 7.0, 20)
    assert strategy.portrait(state).mean.tolist() == [1, 1, 1, 1]
    assert strategy.stop(state) is None


@pytest.mark.parametrize("popsize", [5, 6])
def test_a_half_of_a_pair_that_fails_counts_as_the_worst_of_all(popsize):
    strategy = OpenAIES.default(2, popsize=popsize)
    state = strategy.init(np.zeros(2), 0.5, 3)
    rows, state = strategy.ask(state, popsize)
    F = np.arange(float(popsize))
    F[1] = np.nan
    after = strategy.tell(state, rows, driving.values_of(F))
    eps = rng.normals(3, (), 0, 3, 2)
    Z = np.array([s * e for e in eps for s in (1, -1)])[:popsize]
    rank = {i: r for r, i in enumerate([0, *range(2, popsize), 1])}
    ranks = np.array([0.5 - rank[i] / (popsize - 1) for i in range(popsize)])
    np.testing.assert_allclose(after.distribution.first, 0.1 * (-ranks @ Z) / popsize, atol=1e-15)


def test_an_odd_popsize_with_pairs_over_two_generations_still_finds_the_way():
    strategy = OpenAIES.default(5, popsize=11)
    state = strategy.init(np.full(5, 2.0), 0.1, 1)
    state = driving.run(strategy, state, objectives.sphere, 200)
    assert objectives.sphere(strategy.portrait(state).mean) < 0.1


def test_weight_decay_pulls_to_the_origin_and_is_no_longer_blind_to_where_that_is():
    strategy = OpenAIES.default(3, weight_decay=0.1)
    assert not strategy.claims.translation
    assert OpenAIES.default(3).claims.translation
    state = driving.run(strategy, strategy.init(np.ones(3), 0.1, 1), lambda x: 0.0, 40)
    assert np.abs(strategy.portrait(state).mean).max() < 0.5


@pytest.mark.parametrize(
    ("option", "value"),
    [("step_size", 0.0), ("step_size", -1.0), ("step_size", float("nan")), ("optimizer", "rmsprop"),
     ("weight_decay", -0.1), ("weight_decay", float("inf"))],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_refused_in_one_line(option, value):
    with pytest.raises(ConfigurationError, match=rf"OpenAIES\({option}=\.\.\.\) must be") as caught:
        OpenAIES.default(3, **{option: value})
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)

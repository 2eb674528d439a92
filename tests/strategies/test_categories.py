"""Categories: equal to the literal form, never without a choice, and the best ones are found."""

import numpy as np
import pytest
from reference import catcma_literal, driving
from reference.cases import SEED

from evoopt.result import Values
from evoopt.strategies import strategy_class
from evoopt.strategies.base import Population
from evoopt.strategies.compose.categories import Categories
from evoopt.strategies.compose.mixed import Nothing

CHOICES = np.array([0, 2, 0, 3, 5])
IS_CATEGORY = CHOICES > 0
COUNTS = CHOICES[IS_CATEGORY]


def made(popsize=10):
    return Categories.around(strategy_class("cma-es").default(2, popsize=popsize), CHOICES)


def numbers(X):
    return np.rint(X[:, IS_CATEGORY] * (COUNTS - 1)).astype(int)


def mixed(x):
    """Minimum 0 at numbers 0.5 and categories 1, 2, 0, which are worth 1 each."""
    wrong = numbers(x[None])[0] != [1, 2, 0]
    return float(((x[~IS_CATEGORY] - 0.5) ** 2).sum() + wrong.sum())


def test_the_probabilities_are_those_of_the_literal_form():
    strategy = made()
    state, literal = strategy.init(np.zeros(5), 1.0, SEED), catcma_literal.start(COUNTS.tolist())
    for _ in range(60):
        rows, F, state = driving.generation(strategy, state, mixed)
        chosen = numbers(rows.X[np.argsort(F, kind="stable")]).tolist()
        literal = catcma_literal.after(literal, chosen, strategy.weights.tolist())
        for row, expected in zip(state.P, literal.q, strict=True):
            # same operations, other order, over the generations so far
            np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-7)
            assert (row[len(expected) :] == 0).all()
        assert state.factor == pytest.approx(literal.Delta, rel=1e-7)
        assert state.gain == pytest.approx(literal.gamma, rel=1e-12)


def test_every_choice_keeps_its_floor_and_probabilities_sum_to_one():
    strategy = made()
    state = strategy.init(np.zeros(5), 1.0, SEED)
    least = (1 - 0.73 ** (1 / 3)) / (COUNTS - 1)
    for _ in range(100):
        _, _, state = driving.generation(strategy, state, mixed)
        for row, count, floor in zip(state.P, COUNTS, least, strict=True):
            assert row[:count].min() >= floor * (1 - 1e-9)
            assert row.sum() == pytest.approx(1, rel=1e-12)
    assert state.P.max(axis=1).min() > 0.7


def test_choices_are_drawn_with_their_probabilities():
    """20000 draws: a share lies within 4.5 standard errors but with probability 1e-5."""
    strategy = made()
    state = driving.run(strategy, strategy.init(np.zeros(5), 1.0, SEED), mixed, 3)
    rows, _ = strategy.ask(state, 20_000)
    for j, count in enumerate(COUNTS):
        share = np.bincount(numbers(rows.X)[:, j], minlength=count) / 20_000
        p = state.P[j, :count]
        assert (np.abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / 20_000)).all()


def test_a_category_is_its_place_among_the_choices_as_a_number_from_0_to_1():
    strategy = made()
    rows, _ = strategy.ask(strategy.init(np.zeros(5), 1.0, SEED), 200)
    for column, count in zip(rows.X[:, IS_CATEGORY].T, COUNTS, strict=True):
        assert sorted(set(column)) == [k / (count - 1) for k in range(count)]


def test_choices_and_restarts_share_no_random_numbers():
    strategy = made()
    rows, _ = strategy.ask(strategy.init(np.zeros(5), 1.0, SEED), 200)
    other, _ = strategy.ask(strategy.init(np.zeros(5), 1.0, SEED, (1,)), 200)
    assert not np.array_equal(numbers(rows.X), numbers(other.X))


def test_the_best_numbers_and_categories_are_found_together():
    """Median of 11 seeds: 250 evaluations."""
    strategy = made()
    spent = []
    for seed in range(11):
        state = strategy.init(np.zeros(5), 1.0, seed)
        spent.append(driving.evaluations_to(strategy, state, mixed, 1e-6, 2000))
    assert max(spent) < 2000
    assert 120 < np.median(spent) < 500


def test_the_choices_of_a_failed_candidate_count_for_nothing():
    strategy = made()
    rows, state = strategy.ask(strategy.init(np.zeros(5), 1.0, SEED), 10)
    F = np.full(10, np.nan)
    F[4] = 1.0
    X = rows.X.copy()
    X[np.arange(10) != 4] = [0.0, 1.0, 0.0, 1.0, 1.0]
    told, other = (
        strategy.tell(state, Population(rows.id, rows.epoch, x, inner=rows.inner), Values(F))
        for x in (rows.X, X)
    )
    np.testing.assert_array_equal(told.P, other.P)
    for j, number in enumerate(numbers(rows.X)[4]):
        assert told.P[j].argmax() == number


def test_an_injected_point_raises_the_probability_of_its_choices():
    strategy = made()
    state = strategy.init(np.zeros(5), 1.0, SEED)
    X = np.tile([0.5, 1.0, 0.5, 1.0, 0.25], (10, 1))
    told = strategy.tell(state, Population(*np.full((2, 10), -1), X), Values(np.arange(10.0)))
    assert [row.argmax() for row in told.P] == [1, 2, 1]


def test_categories_alone_are_searched_and_the_search_ends():
    inner = Nothing(0, 12)
    strategy = Categories.around(inner, np.full(6, 4))
    state = strategy.init(np.zeros(6), 1.0, SEED)
    best = np.inf
    while strategy.stop(state) is None:
        _, F, state = driving.generation(strategy, state, lambda x: float((x != 1 / 3).sum()))
        best = min(best, F.min())
    assert best == 0
    assert strategy.stop(state).criterion == "tolstagnation"
    assert strategy.portrait(state).mean.tolist() == [1 / 3] * 6


def test_categories_alone_end_after_failures():
    strategy = Categories.around(Nothing(0, 4), np.full(2, 3))
    state = strategy.init(np.zeros(2), 1.0, SEED)
    for generation in range(5):
        assert strategy.stop(state) is None, generation
        _, _, state = driving.generation(strategy, state, lambda x: np.nan)
    assert strategy.stop(state).criterion == "allfailed"

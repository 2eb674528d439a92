"""Points that are made when they are looked at: the same bits as an array of them, however made."""

import tracemalloc

import numpy as np
import pytest
from reference import driving

from evoopt import rng
from evoopt.result import Values
from evoopt.strategies.base import Population
from evoopt.strategies.canonical import CanonicalES
from evoopt.strategies.collect import latent_rows
from evoopt.strategies.drawn import Drawn, Noise, stacked
from evoopt.strategies.openai import OpenAIES

MEAN = np.linspace(-1.0, 1.0, 700)  # a row is most of a block of random numbers


def drawn(first=3, k=9, sigma=0.3, mean=MEAN, noise=None):
    return Drawn.around(mean, sigma, np.arange(first, first + k), noise or Noise(1, (2,), False))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("dim", [1, 3, 700, 5000])
def test_a_row_has_the_same_bits_alone_and_among_others_in_any_order(dim, mirrored):
    X = drawn(mean=np.arange(float(dim)), noise=Noise(1, (2,), mirrored))
    whole = np.asarray(X)
    assert whole.shape == X.shape == (9, dim)
    assert [x.tobytes() for x in X] == [row.tobytes() for row in whole]
    for rows in ([8, 2, 5], slice(1, None, 3), whole[:, 0] > 0, [4], np.array([0, 0, -1])):
        assert np.asarray(X[rows]).tobytes() == whole[rows].tobytes()
    assert X[-1].tobytes() == whole[-1].tobytes()
    with pytest.raises(IndexError):
        X[9]


def test_arithmetic_on_points_makes_them():
    X, whole = drawn(), np.asarray(drawn())
    np.testing.assert_array_equal((X - 1.0) ** 2, (whole - 1.0) ** 2)
    np.testing.assert_array_equal(whole * X, whole * whole)
    np.testing.assert_array_equal(np.abs(X).sum(axis=1), np.abs(whole).sum(axis=1))
    assert ((X >= -9.0) & (X <= 9.0)).all()


def test_the_points_are_mean_and_sigma_times_the_normal_numbers_of_the_ids():
    Z = rng.normals(1, (2,), 3, 9, 700)
    np.testing.assert_array_equal(drawn(), MEAN + 0.3 * Z)
    paired = np.asarray(drawn(first=4, k=4, noise=Noise(1, (2,), True))) - MEAN
    np.testing.assert_allclose(paired[0], 0.3 * rng.normals(1, (2,), 2, 1, 700)[0], atol=1e-15)
    np.testing.assert_allclose(paired[1], -paired[0], atol=1e-15)


def test_stacked_rows_of_several_distributions_and_of_none_stay_what_they_are():
    fixed = np.arange(1400.0).reshape(2, 700)
    blocks = [drawn(), fixed, drawn(20, 3, 0.1, MEAN + 1), drawn(40, 2)]
    whole = np.concatenate([np.asarray(b) for b in blocks])
    X = stacked(blocks)
    assert isinstance(X, Drawn)
    assert np.asarray(X).tobytes() == whole.tobytes()
    assert np.asarray(X[::-2]).tobytes() == whole[::-2].tobytes()
    again = stacked([X[:10], X[10:]])
    assert np.asarray(again).tobytes() == whole.tobytes()
    assert isinstance(stacked([whole, whole]), np.ndarray)


def test_the_checksum_knows_all_that_makes_the_points(monkeypatch):
    plain = drawn()
    assert plain.checksum() == drawn().checksum()
    others = [
        drawn(4), drawn(3, 8), drawn(sigma=0.31), drawn(mean=np.nextafter(MEAN, 2)),
        drawn(noise=Noise(2, (2,), False)), drawn(noise=Noise(1, (), False)),
        drawn(noise=Noise(1, (2,), True)),
    ]  # fmt: skip
    sums = {X.checksum() for X in others}
    draw = rng.normals
    monkeypatch.setattr(rng, "normals", lambda *a: np.nextafter(draw(*a), 9.0))
    sums.add(plain.checksum())
    assert len(sums | {drawn(5).checksum()}) == len(others) + 2


@pytest.mark.parametrize("strategy_class", [CanonicalES, OpenAIES])
def test_a_generation_never_holds_more_than_a_few_rows(strategy_class):
    dim, popsize = 200_000, 40
    strategy = strategy_class.default(dim, popsize=popsize)
    state = strategy.init(np.zeros(dim), 0.1, 1)
    tracemalloc.start()
    try:
        for late in (False, True):
            rows, state = strategy.ask(state, popsize)
            if late:
                state = strategy.tell(state, *_own(strategy, state, popsize))
            state = strategy.tell(state, rows, Values(np.arange(float(popsize))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < popsize / 2 * dim * 8


def _own(strategy, state, popsize):
    rows, _ = strategy.ask(state, popsize)
    return rows, Values(np.arange(float(popsize)))


@pytest.mark.parametrize("strategy_class", [CanonicalES, OpenAIES])
def test_points_of_any_ids_are_those_that_were_asked(strategy_class):
    strategy = strategy_class.default(6)
    state = driving.run(strategy, strategy.init(np.ones(6), 0.2, 5), lambda x: float(x.sum()), 3)
    rows, _ = strategy.ask(state, 7)
    ids = rows.id[[4, 1, 6]]
    assert strategy.points(state, ids).tobytes() == rows.X[[4, 1, 6]].tobytes()


@pytest.mark.parametrize("popsize", [2, 7])
def test_late_and_injected_rows_count_as_for_a_strategy_that_holds_its_noise(popsize):
    """Beside `latent_rows` on arrays of all points and of the noise that made them."""
    strategy = CanonicalES.default(4, popsize=popsize, mu=popsize)
    state = strategy.init(np.ones(4), 0.3, 5)
    late, state = strategy.ask(state, popsize)
    state = driving.run(strategy, state, lambda x: float((x**2).sum()), 2)
    fresh, state = strategy.ask(state, popsize)
    foreign = Population(np.array([-1]), np.array([-1]), np.full((1, 4), 0.4))
    X = stacked([late.X[: popsize // 2], foreign.X, fresh.X[: popsize - 1 - popsize // 2]])
    ids = np.concatenate([late.id[: popsize // 2], [-1], fresh.id[: popsize - 1 - popsize // 2]])
    epochs = np.where(np.isin(ids, late.id), 0, np.where(ids < 0, -1, strategy.generation(state)))
    Z = np.array([rng.normals(5, (), i, 1, 4)[0] if i >= 0 else np.zeros(4) for i in ids])
    d = state.distribution
    known = Population(ids, epochs, np.asarray(X), Z, Z)
    told, _ = latent_rows(
        known, np.arange(popsize), d.generation, d.mean, d.sigma, lambda Y: Y.copy()
    )
    F = np.arange(float(popsize))
    after = strategy.tell(state, Population(ids, epochs, X), Values(F))
    expected = d.mean + d.sigma * strategy.weights @ told
    np.testing.assert_allclose(after.distribution.mean, expected, rtol=1e-13)

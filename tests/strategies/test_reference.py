"""CMA-ES and MA-ES step by step beside the literal transcriptions of their papers.

Both see the same normal numbers and the same objective values. Each step repeats the same sums in
another order (relative error about 1e-15), and the update is a contraction on the paths but not on
C and M, whose errors pile up and are amplified by up to the condition number when y is mapped back:
after 60 generations at condition 1e3 the two agree to about 1e-11, and 1e-8 is asserted.
"""

import dataclasses
import math

import numpy as np
import pytest
from reference import cmaes_literal, driving, maes_literal, objectives

from evoopt import rng
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.maes import MAES

RTOL = 1e-8
SEED = 7
PATH = (3,)


def rotated_ellipsoid(n):
    R = objectives.rotation(n, seed=n)
    scale = 1e3 ** (np.arange(n) / max(1, n - 1))
    return lambda x: float(sum(scale * (R @ x) ** 2))


def noisy_ranks(n):
    """Ranks that have half to do with x, as on a noisy objective; a function of x alone."""
    smooth = rotated_ellipsoid(n)
    return lambda x: np.log(smooth(x)) + np.sin(1e4 * float(sum(x)))


OBJECTIVES = {"rotated ellipsoid": rotated_ellipsoid, "noisy ranks": noisy_ranks}
SETTINGS = [
    # dim, popsize, active
    (1, None, True), (2, None, True), (5, None, True), (10, None, True),
    (2, None, False), (5, None, False), (10, None, False),
    (5, 2, True), (5, 7, True), (5, 40, True), (10, 13, False),
]  # fmt: skip
CASES = [(o, *s) for o in OBJECTIVES for s in SETTINGS]


def every_generation(strategy):
    """With an eigendecomposition in every generation, as in the paper."""
    return dataclasses.replace(strategy, eigen_gap=0.0)


def together(strategy, literal, constants, fun, generations, latent, due=None):
    """Yields (state, literal state) after each generation on the same numbers."""
    n = strategy.dim
    x0 = np.linspace(0.5, 1.5, n)
    state = strategy.init(x0, 0.6, SEED, PATH)
    twin = literal.start(x0, 0.6)
    extra = {}
    for g in range(generations):
        population, state = strategy.ask(state, strategy.popsize)
        Z = rng.normals(SEED, PATH, int(population.id[0]), strategy.popsize, n)
        if latent:  # C leaves the signs and, of equal eigenvalues, the choice of axes open
            close(population.X, literal.sample(twin, Z), twin.sigma)
        F = np.array([fun(x) for x in population.X])
        state = strategy.tell(state, population, driving.values_of(F))
        if due is not None:
            extra = {"decompose_now": due(g + 1)}
        literal.step(constants, twin, Z if latent else population.X, F, **extra)
        yield state, twin


def close(actual, expected, scale):
    np.testing.assert_allclose(actual, expected, rtol=RTOL, atol=RTOL * scale)


def lower(matrix):
    """The lower triangle: the only part of C that CMA-ES reads."""
    return np.tril(matrix)


def assert_equal_cmaes(state, twin):
    d = state.distribution
    assert d.generation == twin.generation
    close(d.sigma, twin.sigma, 0)
    close(d.mean, twin.mean, twin.sigma)
    close(d.p_sigma, twin.p_sigma, 1)
    close(d.p_c, twin.p_c, np.linalg.norm(twin.p_c))
    close(lower(d.C), lower(twin.C), np.abs(twin.C).max())
    close((d.B * d.D**2) @ d.B.T, twin.root @ twin.root.T, np.abs(twin.C).max())


@pytest.mark.parametrize(("objective", "dim", "popsize", "active"), CASES)
def test_cmaes_equals_the_literal_transcription(objective, dim, popsize, active):
    strategy = every_generation(CMAES.default(dim, popsize=popsize, active=active))
    constants = cmaes_literal.constants(dim, popsize, active)
    fun = OBJECTIVES[objective](dim)
    for state, twin in together(strategy, cmaes_literal, constants, fun, 60, latent=False):
        assert_equal_cmaes(state, twin)
    assert twin.generation == 60


def test_cmaes_equals_the_literal_transcription_while_h_sigma_holds_the_path_back():
    """A far start makes p_sigma long; the stall of p_c and its correction of C must occur."""
    strategy = every_generation(CMAES.default(5))
    constants = cmaes_literal.constants(5)
    held = 0
    pairs = together(strategy, cmaes_literal, constants, lambda x: float(x[0]), 60, latent=False)
    for state, twin in pairs:
        assert_equal_cmaes(state, twin)
        held += 1 - twin.h_sigma
    assert 3 < held < 57


@pytest.mark.parametrize(("dim", "popsize"), [(5, 20), (5, 14), (12, 30)])
def test_h_sigma_is_corrected_for_the_short_past_of_the_first_generations(dim, popsize):
    """Where the corrected length of p_sigma lies near the bar, one generation more or less in the
    correction, 1 - (1 - c_sigma)^(2 (g + 1)), decides: 60 starts meet both sides of it."""
    strategy = every_generation(CMAES.default(dim, popsize=popsize))
    constants = cmaes_literal.constants(dim, popsize)
    answers = []
    for seed in range(60):
        state, twin = strategy.init(np.zeros(dim), 1.0, seed), cmaes_literal.start(np.zeros(dim), 1)
        for _ in range(2):
            population, state = strategy.ask(state, popsize)
            F = population.X[:, 0]
            state = strategy.tell(state, population, driving.values_of(F))
            cmaes_literal.step(constants, twin, population.X, F)
            close(state.distribution.p_c, twin.p_c, 1)
            answers.append(twin.h_sigma)
    assert 0 < sum(answers) < len(answers)


@pytest.mark.parametrize(
    ("dim", "gap", "active"),
    [
        (2, None, True),
        (5, None, True),
        (10, None, True),
        (10, None, False),
        (30, None, True),
        (2, 0.5, True),
        (10, 1, True),
        (2, 8, False),
        (10, 3.7, False),
        (10, 8, False),
    ],
)
def test_lazy_cmaes_equals_the_literal_form_on_the_same_schedule(dim, gap, active):
    strategy = CMAES.default(dim, active=active)
    gap = strategy.eigen_gap if gap is None else gap
    strategy = dataclasses.replace(strategy, eigen_gap=gap)
    constants = cmaes_literal.constants(dim, active=active)
    done = [0]

    def due(generation):
        """After more than `gap` generations since the last decomposition."""
        if generation - done[-1] > gap:
            done.append(generation)
            return True
        return False

    pairs = together(
        strategy, cmaes_literal, constants, rotated_ellipsoid(dim), 60, latent=False, due=due
    )
    for state, twin in pairs:
        assert_equal_cmaes(state, twin)
        d = state.distribution
        assert d.decomposed == done[-1]
    assert len(done) == 1 + 60 // (math.floor(gap) + 1)


@pytest.mark.parametrize(("objective", "dim", "popsize", "active"), CASES)
def test_maes_equals_the_literal_transcription(objective, dim, popsize, active):
    strategy = MAES.default(dim, popsize=popsize, active=active)
    constants = maes_literal.constants(dim, popsize, active)
    fun = OBJECTIVES[objective](dim)
    for state, twin in together(strategy, maes_literal, constants, fun, 60, latent=True):
        d = state.distribution
        close(d.sigma, twin.sigma, 0)
        close(d.mean, twin.mean, twin.sigma)
        close(d.p_sigma, twin.p_sigma, 1)
        close(d.M, twin.M, np.abs(twin.M).max())


@pytest.mark.parametrize("method", [CMAES, MAES])
def test_a_row_drawn_earlier_enters_with_the_steps_of_the_current_distribution(method):
    """Told in full, rows of another epoch act as y = (x - mean) / sigma, z = C^-1/2 y, clipped."""
    strategy = method.default(4)
    state = driving.run(strategy, strategy.init(np.ones(4), 0.5, SEED), rotated_ellipsoid(4), 10)
    population, state = strategy.ask(state, strategy.popsize)
    F = np.array([rotated_ellipsoid(4)(x) for x in population.X])
    fresh = strategy.portrait(strategy.tell(state, population, driving.values_of(F)))
    forgotten = dataclasses.replace(population, epoch=np.full(len(F), -1), Z=None, Y=None)
    told = strategy.portrait(strategy.tell(state, forgotten, driving.values_of(F)))
    limit = 2 + 2 * 4 / 6  # sqrt(n) + 2n/(n+2)
    assert (np.linalg.norm(population.Z, axis=1) < limit).all()  # so that nothing is clipped
    # y is recovered from x = mean + sigma y to eps |mean| / sigma, and z through D^-1
    np.testing.assert_allclose(told.mean, fresh.mean, rtol=1e-12)
    np.testing.assert_allclose(told.sigma, fresh.sigma, rtol=1e-10)
    np.testing.assert_allclose(told.axes, fresh.axes, rtol=1e-10)


@pytest.mark.parametrize("method", [CMAES, MAES])
def test_late_rows_among_current_ones_enter_as_the_rows_that_they_stand_for(method):
    """As if the current distribution had drawn them with this z and y (decision 5)."""
    strategy = method.default(4)
    fun = rotated_ellipsoid(4)
    state = driving.run(strategy, strategy.init(np.ones(4), 0.5, SEED), fun, 10)
    late, state = strategy.ask(state, 3)
    state = driving.run(strategy, state, fun, 3)
    current, state = strategy.ask(state, strategy.popsize - 3)
    d = state.distribution
    A = d.B * d.D if method is CMAES else d.M
    Y = 0.7 * late.Y + 0.3 * (late.X - d.mean) / d.sigma
    Z = np.linalg.solve(A, Y.T).T
    Z *= (np.linalg.norm(late.Z, axis=1) / np.linalg.norm(Z, axis=1))[:, None]
    now = np.full(3, current.epoch[0])
    alike = dataclasses.replace(late, epoch=now, Z=Z, Y=Z @ A.T)

    def told(*parts):
        after = state
        for rows in parts:
            F = np.array([fun(x) for x in rows.X])
            after = strategy.tell(after, rows, driving.values_of(F))
        return strategy.portrait(after)

    for one, other in (
        (told(late, current), told(alike, current)),
        (told(current, late), told(current, alike)),
    ):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
        np.testing.assert_allclose(one.sigma, other.sigma, rtol=1e-12)
        np.testing.assert_allclose(one.axes, other.axes, rtol=1e-10)
    stale = dataclasses.replace(late, epoch=now)
    assert told(late, current).sigma != told(stale, current).sigma

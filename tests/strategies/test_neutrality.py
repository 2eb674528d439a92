"""What the adaptation does where f says nothing, falls for ever, or ranks in a hostile way.

Under random ranks the update must be unbiased: E ln sigma does not move and E[C' | C] = C.
"""

import math

import numpy as np
import pytest
from reference import driving

from evoopt.result import Values
from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.maes import MAES

METHODS = [CMAES, MAES]


def neutral_step(strategy, state, random):
    """One generation whose ranks have nothing to do with the points."""
    population, state = strategy.ask(state, strategy.popsize)
    return strategy.tell(state, population, Values(random.random(strategy.popsize)))


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_random_ranks_leave_ln_sigma_where_it_is(method, active):
    """|mean change| of ln sigma per generation, 24 runs of 100 generations after 20 to let p_sigma
    fill (seeds 0 to 23). Its standard error is 0.0018 (measured); a chance of 5 of them: 1e-6."""
    strategy = method.default(10, active=active)
    random = np.random.default_rng(1)
    drifts = []
    for seed in range(24):
        state = strategy.init(np.zeros(10), 1.0, seed)
        for _ in range(20):
            state = neutral_step(strategy, state, random)
        start = math.log(strategy.portrait(state).sigma)
        for _ in range(100):
            state = neutral_step(strategy, state, random)
        drifts.append((math.log(strategy.portrait(state).sigma) - start) / 100)
    assert abs(np.mean(drifts)) < 0.009


def mean_change(strategy, matrix_of, settled, steps):
    """Mean over `steps` independent generations of the matrix after one step from the identity,
    less the identity, and the standard error of its entries."""
    n = strategy.dim
    random = np.random.default_rng(2)
    total, squares = np.zeros((n, n)), np.zeros((n, n))
    for seed in range(steps):
        state = settled(strategy.init(np.zeros(n), 1.0, seed), random)
        matrix = np.tril(matrix_of(neutral_step(strategy, state, random).distribution))
        total += matrix
        squares += matrix**2
    mean = total / steps
    error = np.sqrt((squares / steps - mean**2) / steps) + 1e-12
    return (mean - np.eye(n))[np.tril_indices(n)], error[np.tril_indices(n)]


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("dim", [2, 4])
@pytest.mark.parametrize("method", METHODS)
def test_random_ranks_change_the_covariance_by_nothing_on_average(method, dim, active):
    """2000 steps from C = I with paths as they are in the long run, N(0, I). The largest of 3 or 10
    entries passes 5 standard errors by chance with probability below 1e-5."""
    strategy = method.default(dim, active=active)

    def settled(state, random):
        changes = {"p_sigma": random.standard_normal(dim), "generation": 1000}
        if method is CMAES:
            changes |= {"p_c": random.standard_normal(dim), "decomposed": 1000}
        return driving.altered(state, distribution=driving.altered(state.distribution, **changes))

    matrix_of = (lambda d: d.C) if method is CMAES else (lambda d: d.M)
    change, error = mean_change(strategy, matrix_of, settled, 2000)
    assert (np.abs(change) < 5 * error).all()
    assert error.max() < 0.01  # so that a bias of a few hundredths could not hide


@pytest.mark.parametrize("dim", [1, 2, 5, 20])
@pytest.mark.parametrize("method", METHODS)
def test_on_a_linear_function_steps_grow_exponentially(method, dim):
    strategy = method.default(dim)
    state = strategy.init(np.zeros(dim), 1.0, 3)
    lengths = [0.0]
    for _ in range(10):
        state = driving.run(strategy, state, lambda x: float(x[0]), 12)
        p = strategy.portrait(state)
        lengths.append(math.log(p.sigma * p.axes.max()))
    slopes = np.diff(lengths) / 12
    assert (slopes[1:] > 0.03).all()  # grows in every stretch of 12 generations
    assert slopes.mean() > 0.08


@pytest.mark.parametrize("method", METHODS)
def test_sigma_grows_at_most_e_fold_in_a_generation(method):
    """A path longer than any selection makes it stands for one stretched by foreign points."""
    strategy = method.default(3)
    state = strategy.init(np.zeros(3), 0.5, 3)
    for length, growth in ((1e2, math.e), (1e100, math.e), (0.0, None)):
        d = driving.altered(state.distribution, p_sigma=np.full(3, length))
        told = driving.run(strategy, driving.altered(state, distribution=d), lambda x: x[0], 1)
        sigma = strategy.portrait(told).sigma
        assert sigma < 0.5 * 1.5 if growth is None else sigma == pytest.approx(0.5 * growth)


def along(axis):
    """Rows that vary most along `axis` are worst: the active update shrinks C there, every time."""
    return lambda Z: np.abs(Z @ axis)


def short_first(Z):
    """Short rows best: C shrinks in all directions."""
    return np.linalg.norm(Z, axis=1)


def hostile(dim):
    return {
        "first axis": along(np.eye(dim)[0]),
        "diagonal": along(np.ones(dim) / math.sqrt(dim)),
        "short first": short_first,
        "long first": lambda Z: -short_first(Z),
        "thrown dice": lambda Z: np.random.default_rng(int(1e6 * abs(Z[0, 0]))).random(len(Z)),
    }


@pytest.mark.parametrize("ranking", hostile(2))
@pytest.mark.parametrize(("dim", "popsize", "generations"), [(100, None, 120), (300, None, 24)])
def test_active_cmaes_stays_positive_definite_under_hostile_ranks(
    ranking, dim, popsize, generations
):
    strategy = CMAES.default(dim, popsize=popsize)
    assert strategy.eigen_gap > 1  # lazy: some generations pass without a decomposition
    values_of = hostile(dim)[ranking]
    state = strategy.init(np.zeros(dim), 1.0, 1)
    decompositions = set()
    for _ in range(generations):
        population, state = strategy.ask(state, strategy.popsize)
        state = strategy.tell(state, population, Values(values_of(population.Z)))
        d = state.distribution
        assert np.linalg.eigvalsh(d.C)[0] > 0
        decompositions.add(d.decomposed)
    assert 1 < len(decompositions) < generations


@pytest.mark.parametrize("popsize", [None, 4, 20, 100, 1000, 20_000])
@pytest.mark.parametrize("dim", [2, 5, 20, 100, 300, 1000])
def test_no_sequence_of_ranks_can_empty_an_eigenvalue_between_two_decompositions(dim, popsize):
    """From C = C_0, each update is at least C' >= a C - b C_0 in the order of matrices: a is the
    decay, b what the negative weights can take, each of length sqrt(n) in the metric of C_0."""
    s = CMAES.default(dim, popsize=popsize)
    a = 1 - s.c_1 - s.c_mu * s.weights.sum()
    b = s.c_mu * dim * -s.weights[s.weights < 0].sum()
    updates = math.floor(s.eigen_gap) + 1  # decomposed once more than eigen_gap have passed
    smallest = 1.0
    for _ in range(updates):
        smallest = a * smallest - b
    assert smallest > 0


@pytest.mark.parametrize(("dim", "gap"), [(20, 1.83973), (100, 5.71141), (1000, 39.09642)])
def test_the_lazy_gap_equals_that_of_purecma(dim, gap):
    """0.5 popsize n / ((c_1 + c_mu) n^2) evaluations, in generations."""
    s = CMAES.default(dim)
    assert s.eigen_gap == pytest.approx(0.5 / (dim * (s.c_1 + s.c_mu)), rel=1e-12)
    assert s.eigen_gap == pytest.approx(gap, abs=5.1e-6)


@pytest.mark.parametrize("eigenvalue", [0.0, -1e-20, -1e-3])
def test_an_eigenvalue_lost_to_rounding_is_repaired(eigenvalue):
    strategy = CMAES.default(3)
    state = strategy.init(np.zeros(3), 1.0, 1)
    broken = np.diag([eigenvalue, 1.0, 2.0])
    state = driving.altered(state, distribution=driving.altered(state.distribution, C=broken))
    random = np.random.default_rng(4)
    for _ in range(5):
        state = neutral_step(strategy, state, random)
        d = state.distribution
        assert np.isfinite(d.D).all()
        assert (d.D > 0).all()
        assert np.linalg.eigvalsh(d.C)[0] > 0


def test_the_factors_of_the_covariance_reproduce_it():
    strategy = CMAES.default(6)
    state = driving.run(strategy, strategy.init(np.ones(6), 1.0, 1), lambda x: x[0] + x[1] ** 2, 40)
    d = state.distribution
    C = np.tril(d.C) + np.tril(d.C, -1).T
    # eigh is backward stable: a few eps of the largest eigenvalue
    np.testing.assert_allclose((d.B * d.D**2) @ d.B.T, C, rtol=0, atol=1e-13 * np.abs(C).max())
    np.testing.assert_allclose(d.B.T @ d.B, np.eye(6), rtol=0, atol=1e-13)
    assert (np.diff(d.D) >= 0).all()


def test_the_axes_of_ma_es_are_those_of_m_times_its_transpose():
    """At the generations in which they are computed, and they are no older than `axes_gap`."""
    strategy = MAES.default(3)
    state = strategy.init(np.ones(3), 1.0, 1)
    fresh = 0
    for generation in range(1, 2 * strategy.axes_gap + 1):
        before = state.distribution
        state = driving.run(strategy, state, lambda x: 100 * x[0] ** 2 + x[1], 1)
        d = state.distribution
        assert (np.diff(d.D) >= 0).all()
        if generation % strategy.axes_gap:
            assert d.D is before.D
            continue
        fresh += 1
        C = d.M @ d.M.T
        np.testing.assert_allclose((d.B * d.D**2) @ d.B.T, C, rtol=0, atol=1e-13 * C.max())
        np.testing.assert_array_equal(strategy.portrait(state).axes, d.D)
    assert fresh == 2

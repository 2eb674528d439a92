"""Quadratic models of two objectives: what they are fitted to, and their compromises in a ball."""

import numpy as np
import pytest
from reference import objectives

from evoopt.strategies.biquadratic import Curve, Models, compromises, fitted, least

W = np.array([1.0, 0.999, 0.7, 0.5, 0.2, 0.001, 0.0])
SIZES = pytest.mark.parametrize("n", [1, 2, 5])


def models_with(low, high, n, seed=1):
    """Two models whose curvatures go from `low` to `high` along different axes."""
    random = np.random.default_rng(seed)
    H = np.empty((2, n, n))
    for i in range(2):
        R = objectives.rotation(n, seed + i)
        H[i] = R.T @ np.diag(np.linspace(low, high, n)) @ R
    return Models(random.normal(size=2), random.normal(size=(2, n)), H)


def value(models, U):
    """(k, 2), each model by itself."""
    return np.array([models.c + models.G @ u + (models.H @ u @ u) / 2 for u in U])


def points(k, n, seed=2):
    return np.random.default_rng(seed).normal(size=(k, n))


def columns(U):
    """1, u, and all products of two coordinates."""
    rows, cols = np.triu_indices(U.shape[1])
    return np.column_stack([np.ones(len(U)), U, U[:, rows] * U[:, cols]])


def size_of(n):
    return (n + 1) * (n + 2) // 2


@SIZES
@pytest.mark.parametrize("spare", [0, 7])
def test_as_many_points_as_a_quadratic_has_coefficients_determine_it(n, spare):
    """Up to the ridge, whatever the weights; one objective has a range 1e12 times the other's."""
    truth = models_with(-1.0, 3.0, n)
    U = points(size_of(n) + spare, n)
    scale = np.array([1.0, 1e12])
    found = fitted(U, value(truth, U) * scale + 5, np.linspace(0.5, 1, len(U)))
    error = 4e-3  # a ridge of 1e-6 over the smallest singular value of a random design, squared
    np.testing.assert_allclose(found.c, truth.c * scale + 5, rtol=error, atol=error)
    np.testing.assert_allclose(found.G / scale[:, None], truth.G, rtol=error, atol=error)
    H = found.H / scale[:, None, None]
    np.testing.assert_allclose(H, truth.H, rtol=error, atol=error)
    assert np.array_equal(found.H, found.H.transpose(0, 2, 1))


@SIZES
def test_too_many_points_are_met_in_the_sense_of_weighted_least_squares(n):
    U, random = points(3 * size_of(n), n), np.random.default_rng(3)
    F, weights = random.normal(size=(len(U), 2)), random.uniform(0.2, 1, len(U))
    found = fitted(U, F, weights)
    A = columns(U) * weights[:, None]
    best = columns(U) @ np.linalg.lstsq(A, F * weights[:, None], rcond=None)[0]
    np.testing.assert_allclose(value(found, U), best, atol=1e-4)


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("missing", [1, 2])
def test_few_points_are_interpolated_with_the_least_curvature(n, missing):
    """Of all quadratics through the points the one with the least sum of squared coefficients, of
    which slopes count a hundredth and the constant a millionth."""
    U, scale = points(size_of(n) - missing, n), np.array([1, 1e9])
    F = np.random.default_rng(4).normal(size=(len(U), 2))
    found = fitted(U, F * scale, np.linspace(0.5, 1, len(U)))
    np.testing.assert_allclose(value(found, U) / scale, F, atol=1e-3)
    weights = np.sqrt(np.array([1e6] + [1e2] * n + [1] * (size_of(n) - n - 1)))
    away = F - F.mean(axis=0)
    best = weights[:, None] * (np.linalg.pinv(columns(U) * weights) @ away)
    np.testing.assert_allclose(found.G.T / scale, best[1 : n + 1], atol=2e-3)
    rows, cols = np.triu_indices(n)
    halves = np.where(rows == cols, 0.5, 1.0)[:, None]
    np.testing.assert_allclose(found.H[:, rows, cols].T / scale * halves, best[n + 1 :], atol=2e-3)


@pytest.mark.parametrize(("k", "error"), [(4, 0.15), (9, 0.02)])
def test_a_plane_through_few_points_is_hardly_bent(k, error):
    U, slopes = points(k, 3), np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
    found = fitted(U, U @ slopes.T + np.array([4.0, -4.0]), np.ones(k))
    np.testing.assert_allclose(found.G, slopes, atol=error)
    np.testing.assert_allclose(found.H, 0, atol=error)


def test_values_that_are_all_alike_make_flat_models():
    found = fitted(points(8, 3), np.full((8, 2), 7.0), np.ones(8))
    np.testing.assert_allclose(found.c, 7.0)
    assert not found.G.any()
    assert not found.H.any()


def assert_least(models, w, u, radius):
    """The conditions of More & Sorensen (1983), which make u the least of the whole ball."""
    H = w * models.H[0] + (1 - w) * models.H[1]
    slope = w * models.G[0] + (1 - w) * models.G[1] + H @ u
    length, scale = np.linalg.norm(u), np.abs(H).max() * radius + np.abs(models.G).max()
    assert length <= radius * (1 + 1e-12)
    multiplier = max(0.0, -(slope @ u) / length**2) if length > 0.999 * radius else 0.0
    np.testing.assert_allclose(slope + multiplier * u, 0, atol=1e-3 * scale)
    assert np.linalg.eigvalsh(H)[0] + multiplier >= -1e-3 * np.abs(H).max()


@SIZES
@pytest.mark.parametrize("radius", [1e-3, 0.5, 100.0])
@pytest.mark.parametrize(
    ("low", "high"),
    [(1.0, 3.0), (1e-6, 1.0), (-1.0, 2.0), (-2.0, -1.0), (0.0, 0.0), (0.0, 1.0), (-1e-9, 1.0)],
)
def test_compromises_are_the_least_values_of_the_weighted_sum_in_the_ball(low, high, radius, n):
    for seed in range(5):
        models = models_with(low, high, n, seed)
        U, Q = compromises(models, W, radius)
        np.testing.assert_allclose(Q, value(models, U), rtol=1e-9, atol=1e-9)
        for w, u in zip(W, U, strict=True):
            assert_least(models, w, u, radius)


def test_no_point_of_a_fine_grid_is_better():
    """The same against brute force, in the plane, where a mistake in the conditions would show."""
    angle, length = np.meshgrid(np.linspace(0, 2 * np.pi, 400), np.linspace(0, 1, 100))
    grid = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1).reshape(-1, 2)
    for seed in range(8):
        models = models_with(-1.0 if seed % 2 else 0.5, 2.0, 2, seed)
        Q = models.c + grid @ models.G.T + ((grid @ models.H) * grid).sum(axis=2).T / 2
        _, least_q = compromises(models, W, 1.0)
        weights = np.stack([W, 1 - W])
        assert ((least_q * weights.T).sum(axis=1) <= (Q @ weights).min(axis=0) + 1e-3).all()


@pytest.mark.parametrize("slope", [1e-3, 1e-6])
def test_a_slope_that_is_nearly_square_to_the_lowest_curvature_is_followed(slope):
    """Nearly the hard case of the trust region: the multiplier is next to its pole."""
    H = np.diag([-1.0, 2.0, 3.0])
    models = Models(np.zeros(2), np.array([[slope, 0.1, 0.1]] * 2), np.stack([H, H]))
    U, _ = compromises(models, W, 1.0)
    for w, u in zip(W, U, strict=True):
        assert_least(models, w, u, 1.0)
        assert u[0] < -0.99


def test_where_nothing_says_to_which_side_to_go_none_is_chosen():
    """The hard case: the least values are two, and as good as one another; what lies between them
    is the least of all other directions."""
    H = np.diag([-1.0, 2.0])
    models = Models(np.zeros(2), np.array([[0.0, 0.3]] * 2), np.stack([H, H]))
    U, _ = compromises(models, np.array([0.5]), 1.0)
    np.testing.assert_allclose(U, [[0.0, -0.1]], atol=1e-8)


def test_without_any_slope_or_curvature_the_compromise_is_the_middle():
    flat = Models(np.array([1.0, 2.0]), np.zeros((2, 3)), np.zeros((2, 3, 3)))
    U, Q = compromises(flat, W, 0.5)
    assert not U.any()
    assert (Q == [1.0, 2.0]).all()


def test_without_curvature_the_compromises_go_down_the_slope_to_the_border():
    tilted = Models(np.zeros(2), np.array([[3.0, 4.0], [0.0, -1.0]]), np.zeros((2, 2, 2)))
    np.testing.assert_allclose(least(tilted, 1.0, 0.5), [-0.3, -0.4])
    np.testing.assert_allclose(least(tilted, 0.0, 0.5), [0.0, 0.5])
    np.testing.assert_allclose(least(tilted, 0.5, 0.5), [-0.5 / 2**0.5, -0.5 / 2**0.5])


def test_the_least_value_of_either_model_is_at_its_end():
    models = models_with(1.0, 4.0, 4)
    for w, i in ((1.0, 0), (0.0, 1)):
        expected = np.linalg.solve(models.H[i], -models.G[i])
        np.testing.assert_allclose(least(models, w, 10.0), expected, rtol=1e-9)


def test_on_the_curve_the_first_model_has_the_wanted_values():
    """With one weight in between looked for again: to a hundredth of what there is."""
    for seed in range(10):
        models = models_with(0.5, 2.0, 4, seed)
        curve = Curve(models, 10.0)
        low, high = curve.range
        wanted = np.linspace(low, high, 33)
        U = curve.at(wanted)
        np.testing.assert_allclose(value(models, U)[:, 0], wanted, atol=0.01 * (high - low))


def test_the_compromises_of_two_spheres_lie_between_their_optima():
    a, b = np.array([0.3, -0.1, 0.0]), np.array([-0.2, 0.2, 0.1])
    H = np.stack([2 * np.eye(3), 2 * np.eye(3)])
    models = Models(np.array([a @ a, b @ b]), -2 * np.stack([a, b]), H)
    t = np.linspace(0.05, 0.95, 7)
    U = Curve(models, 1.0).at(t**2 * ((a - b) @ (a - b)))
    np.testing.assert_allclose(U, a + t[:, None] * (b - a), atol=2e-3)


def test_values_beyond_the_curve_give_its_ends():
    models = models_with(0.5, 2.0, 3)
    curve = Curve(models, 10.0)
    low, high = curve.range
    U = curve.at(np.array([low - 1, low, high, high + 1, -np.inf, np.inf]))
    ends = [least(models, w, 10.0) for w in (0.999, 0.001)]
    expected = np.array(ends)[[0, 0, 1, 1, 0, 1]]
    np.testing.assert_allclose(U, expected, rtol=1e-9)
    np.testing.assert_allclose([low, high], value(models, np.array(ends))[:, 0], rtol=1e-9)


def test_a_curve_whose_values_do_not_rise_has_points_all_the_same():
    """Two models that agree: one point is the least of both."""
    models = models_with(1.0, 2.0, 2)
    same = Models(models.c, np.repeat(models.G[:1], 2, axis=0), np.repeat(models.H[:1], 2, axis=0))
    U = Curve(same, 10.0).at(np.array([-5.0, 0.0, 5.0]))
    np.testing.assert_allclose(U, np.repeat(least(same, 1.0, 10.0)[None], 3, axis=0), rtol=1e-9)

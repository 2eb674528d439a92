"""Laws of the front of a result, and of the ways to choose from it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoopt import hypervolume as volumes
from evoopt.errors import ConfigurationError
from evoopt.front import Front

pytest.importorskip("moocore")


def convex(k, m=2, seed=1):
    """A front that bulges towards the ideal: part of a sphere around (1, ..., 1)."""
    rows = np.abs(np.random.default_rng(seed).normal(size=(k, m)))
    F = 1 - rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Front.of(np.arange(2.0 * k).reshape(k, 2), F, np.full(m, 1.1))


def flipped(front, which):
    """The same with some objectives maximised."""
    signs = np.where(which, -1.0, 1.0)
    return Front(front.X, front.F * signs, front.reference * signs, which)


ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20)


@given(rows=ROWS)
def test_the_front_of_points_holds_those_that_no_other_dominates_in_order(rows):
    F = np.array([(math.nan, 0), *rows, (-math.inf, 0)], dtype=float)
    front = Front.of(np.arange(len(F))[:, None], F, [7, 7])
    best = {
        (a, b)
        for a, b in rows
        if not any((c <= a and d <= b) and (c, d) != (a, b) for c, d in rows)
    }
    assert list(map(tuple, front.F.tolist())) == sorted(best)
    assert front.X[:, 0].tolist() == [rows.index(f) + 1 for f in sorted(best)]


@pytest.mark.parametrize("m", [2, 3])
def test_maximised_objectives_are_minimised_ones_with_the_other_sign(m):
    front = convex(30, m)
    for which in itertools.product([False, True], repeat=m):
        other = flipped(front, which)
        again = Front.of(other.X, other.F, other.reference, which)
        assert again.X.tolist() == front.X.tolist()
        assert other.hypervolume == front.hypervolume
        assert other.knee == front.knee
        assert other.extremes == front.extremes
        assert other.best_for(range(1, m + 1)) == front.best_for(range(1, m + 1))
        assert other.subset(5).X.tolist() == front.subset(5).X.tolist()
        signs = np.where(which, -1.0, 1.0)
        assert other.ideal.tolist() == (front.F.min(axis=0) * signs).tolist()
        assert other.nadir.tolist() == (front.F.max(axis=0) * signs).tolist()


@pytest.mark.parametrize("m", [2, 3])
def test_choices_do_not_depend_on_the_units_of_the_objectives(m):
    front = convex(40, m)
    scale, shift = np.array([1e6, 1e-4, 3.0])[:m], np.array([-5.0, 100.0, 0.0])[:m]
    other = Front(front.X, front.F * scale + shift, front.reference * scale + shift)
    assert other.knee == front.knee
    assert other.extremes == front.extremes
    assert other.best_for([2, 1, 1][:m]) == front.best_for([2, 1, 1][:m])
    assert other.subset(7).X.tolist() == front.subset(7).X.tolist()
    assert other.hypervolume == pytest.approx(front.hypervolume * scale.prod())


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("exponent", [-900, -600, 600, 900])
def test_a_subset_does_not_depend_on_whether_volumes_overflow_or_vanish(m, exponent):
    front = convex(40, m)
    scaled = Front(front.X, np.ldexp(front.F, exponent), np.ldexp(front.reference, exponent))
    assert scaled.subset(7).X.tolist() == front.subset(7).X.tolist()


def test_the_hypervolume_of_values_out_of_all_bounds_is_infinite():
    assert (
        volumes.hypervolume(np.array([[1e200, 0.0], [0.0, 1e200]]), np.full(2, 2e200)) == math.inf
    )


def test_the_knee_is_where_the_front_bulges_to_the_ideal():
    F = np.array([[0, 100], [1, 90], [10, 12], [60, 8], [100, 0]])
    assert Front(F, F, F.max(axis=0)).knee == 2


def test_the_knee_of_a_hollow_front_is_no_extreme():
    at = np.linspace(0, 1, 21)
    F = np.column_stack((at, np.sqrt(1 - at**1.9)))
    assert 0 < Front(F, F, np.ones(2)).knee < 20


def test_the_extremes_are_best_in_one_objective_and_of_equals_better_in_the_others():
    F = np.array([[0, 5, 5], [0, 4, 6], [2, 0, 9], [3, 3, 1]], dtype=float)
    front = Front(F, F, np.full(3, 10.0))
    assert front.extremes == (1, 2, 3)
    assert [front.best_for(w) for w in np.eye(3)] == list(front.extremes)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0], ids=["bulge", "line", "hollow"])
def test_every_point_of_the_front_is_best_for_some_weights(power):
    at = np.linspace(0, 1, 23) ** (1 / power)
    front = Front(at[:, None], np.column_stack((at, (1 - at**power) ** (1 / power))), np.ones(2))
    for i, (a, b) in enumerate(front.F.tolist()):
        assert front.best_for([b, a]) == front.best_for([10 * b, 10 * a]) == i


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [-1, 2], [0, 0], [math.nan, 1], 3])
def test_other_weights_are_refused(weights):
    with pytest.raises(ConfigurationError, match=r"best_for\(weights=...\) must be 2 numbers"):
        convex(5).best_for(weights)


@pytest.mark.parametrize("m", [2, 3])
def test_a_subset_takes_the_largest_gain_at_each_step(m):
    front = convex(25, m)
    chosen = []
    for k in range(1, 9):
        gains = {
            row: volumes.hypervolume(front.F[[*chosen, row]], front.reference)
            for row in range(25)
            if row not in chosen
        }
        chosen.append(max(gains, key=gains.get))
        assert front.subset(k).F.tolist() == front.F[sorted(chosen)].tolist()
        assert front.subset(k).X.tolist() == front.X[sorted(chosen)].tolist()


def test_a_subset_has_more_than_its_guaranteed_share_of_the_best_hypervolume():
    front = convex(12)
    for k in (2, 3, 4):
        best = max(
            volumes.hypervolume(front.F[list(rows)], front.reference)
            for rows in itertools.combinations(range(12), k)
        )
        assert best * (1 - 1 / math.e) < front.subset(k).hypervolume <= best


@pytest.mark.parametrize("m", [2, 3])
def test_a_subset_has_k_points_even_where_the_reference_excludes_some(m):
    front = convex(20, m)
    front = Front(front.X, front.F, np.full(m, 0.5))
    assert [len(front.subset(k)) for k in (1, 10, 20, 99)] == [1, 10, 20, 20]
    assert len(np.unique(front.subset(19).F, axis=0)) == 19


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "3"])
def test_another_size_of_a_subset_is_refused(k):
    with pytest.raises(ConfigurationError, match=r"subset\(k=...\) must be a positive whole"):
        convex(5).subset(k)


def test_a_front_of_one_point_is_its_own_knee_and_extremes():
    front = Front.of(np.zeros((1, 3)), np.array([[2.0, 3.0]]), [4.0, 5.0])
    assert (front.knee, front.extremes, front.best_for([1, 3])) == (0, (0, 0), 0)
    assert front.hypervolume == 4.0

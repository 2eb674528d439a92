"""Levels, contributions and who stays: against the definitions, with ties, and with odd numbers."""

import numpy as np
import pytest
from reference import mocmaes_literal

from evoopt.strategies.selection import ahead, levels, survivors


def drawn(random, m, most_rows=14):
    """A few rows; of whole numbers, so that many are equal, or equal in one objective."""
    k = int(random.integers(1, most_rows))
    if random.random() < 0.5:
        return random.integers(0, 6, (k, m)).astype(float)
    F = np.abs(random.standard_normal((k, m)))
    return F / np.linalg.norm(F, axis=1)[:, None] if random.random() < 0.5 else F


def placed(F):
    """The foremost rows first, and their levels."""
    level, k = levels(F), len(F)
    i, j = np.nonzero(~np.eye(k, dtype=bool))
    behind = np.zeros(k, dtype=int)  # of how many others each is
    np.add.at(behind, j, ahead(F, level, i, j))
    assert sorted(behind.tolist()) == list(range(k))
    return np.argsort(behind).tolist(), level.tolist()


@pytest.mark.parametrize("m", [2, 3, 4])
def test_levels_equal_the_definition(m):
    random = np.random.default_rng(1)
    for _ in range(100):
        F = drawn(random, m)
        found = levels(F).tolist()
        for number, rows in enumerate(mocmaes_literal.levels([tuple(f) for f in F.tolist()])):
            assert all(found[row] == number for row in rows)


@pytest.mark.parametrize(("m", "sets"), [(2, 150), (3, 40)])
def test_rows_stand_as_the_hypervolumes_with_and_without_each_of_them_say(m, sets):
    if m > 2:
        pytest.importorskip("moocore")
    random = np.random.default_rng(2)
    for _ in range(sets):
        F = drawn(random, m, 10 if m > 2 else 14)
        order, _ = placed(F)
        assert order == mocmaes_literal.order([tuple(f) for f in F.tolist()])


@pytest.mark.parametrize("m", [2, 3])
def test_survivors_are_the_rows_that_stand_foremost(m):
    if m > 2:
        pytest.importorskip("moocore")
    random = np.random.default_rng(3)
    for _ in range(60):
        F = drawn(random, m)
        order, level = placed(F)
        for most in range(1, len(F) + 3):
            kept = survivors(F, most, np.array(level))
            assert np.flatnonzero(kept).tolist() == sorted(order[:most])


def test_no_rows_have_no_levels_and_no_places():
    nobody = np.empty((0, 2))
    assert levels(nobody).tolist() == levels(np.empty((0, 3))).tolist() == []
    assert ahead(nobody, levels(nobody), levels(nobody), levels(nobody)).tolist() == []
    assert survivors(nobody, 3, levels(nobody)).tolist() == []


def test_of_equal_rows_the_first_stays_even_at_the_ends_of_the_front():
    F = np.array([[0.0, 9.0], [0.0, 9.0], [9.0, 0.0], [5.0, 3.0], [9.0, 0.0], [5.0, 3.0]])
    level = levels(F)
    assert level.tolist() == [0] * 6
    assert np.flatnonzero(survivors(F, 3, level)).tolist() == [0, 2, 3]
    assert placed(F)[0] == [0, 2, 3, 1, 4, 5]


def test_of_equal_contributions_the_later_row_goes():
    F = np.array([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [4.0, 0.0]])
    assert placed(F)[0] == [0, 4, 2, 1, 3]  # once 3 is gone, 2 contributes more than 1


@pytest.mark.parametrize("m", [2, 3])
def test_factors_of_powers_of_two_and_whole_shifts_change_nothing(m):
    if m > 2:
        pytest.importorskip("moocore")
    random = np.random.default_rng(4)
    factors, shift = 2.0 ** np.array([40, -70, 3][:m]), np.arange(1.0, m + 1)
    for _ in range(30):
        F = np.round(drawn(random, m) * 2**20) / 2**20  # so that the shift is exact
        assert placed(F * factors) == placed(F)
        assert placed(F + shift) == placed(F)


def test_objectives_exchanged_change_nothing():
    random = np.random.default_rng(5)
    for _ in range(50):
        F = drawn(random, 2)
        assert placed(F[:, ::-1]) == placed(F)


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("scale", [1e308, 1e-300, 5e-324])
def test_huge_and_tiny_values_neither_overflow_nor_vanish(scale, m):
    if m > 2:
        pytest.importorskip("moocore")
    random = np.random.default_rng(6)
    F = np.sort(random.uniform(-1, 1, (9, m)) * scale, axis=0)
    F[:, 0] = F[::-1, 0]
    order, level = placed(F)
    assert sorted(order) == list(range(9))
    if scale > 1e-310:  # below, hardly two values differ
        assert level == [0] * 9
        assert m > 2 or order == placed(F * (1 / scale))[0]


def test_an_objective_that_does_not_vary_does_not_hide_the_others():
    pytest.importorskip("moocore")
    plane = np.array([[0.0, 9.0], [1.0, 8.9], [5.0, 5.0], [9.0, 0.0]])
    F = np.column_stack([plane, np.full(4, 3.0)])
    kept = survivors(F, 3, levels(F))
    assert np.flatnonzero(kept).tolist() == [0, 2, 3]

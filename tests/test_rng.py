"""Normal numbers by counter: pure functions of their arguments, in both precisions."""

import numpy as np
import pytest

from evoopt import rng

DTYPES = [np.float64, np.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cols", [1, 7, 128, 1000, 1025, 3000])
def test_a_row_is_the_same_however_many_are_drawn_with_it(dtype, cols):
    together = rng.normals(1, (2,), 0, 40, cols, dtype=dtype)
    assert together.dtype == dtype
    assert together.shape == (40, cols)
    random = np.random.default_rng(cols)
    for _ in range(30):
        first = int(random.integers(0, 40))
        rows = int(random.integers(0, 41 - first))
        apart = rng.normals(1, (2,), first, rows, cols, dtype=dtype)
        assert apart.tobytes() == together[first : first + rows].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_arguments_name_other_numbers(dtype):
    names = [(s, p, i, part) for s in (1, 2) for p in ((), (0,)) for i in (0, 1) for part in (0, 1)]
    draws = {rng.normals(s, p, i, 1, 50, dtype=dtype, part=part)[0, 0] for s, p, i, part in names}
    assert len(draws) == len(names)


def test_drawing_a_row_in_parts_overlaps_with_no_other_row():
    rows = [
        rng.normals(3, (), i, 1, 2000, dtype=dtype, part=part)
        for dtype in DTYPES
        for part in range(4)
        for i in range(4)
    ]
    for group in (rows[:16], rows[16:]):
        assert len(np.unique(np.concatenate(group))) > 0.999 * 16 * 2000


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_normal(dtype):
    """10^6 numbers, one seed: each figure lies within 5 of its standard errors, which happens by
    chance in 1 of 10^6 cases."""
    z = rng.normals(1, (), 0, 100, 10_000, dtype=dtype).astype(float).ravel()
    n = len(z)
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    for bar, share in ((0.1, 0.460172), (1.0, 0.158655), (3.0, 0.00134990), (4.0, 3.16712e-5)):
        for side in (z, -z):
            assert abs((side > bar).mean() - share) < 5 * np.sqrt(share / n)
    halves = z.reshape(100, 2, 5000)  # in single precision, cosine and sine of the same angle
    assert abs((halves[:, 0] * halves[:, 1]).mean()) < 5 / np.sqrt(n / 2)
    assert abs((halves[:, 0] ** 2 * halves[:, 1] ** 2).mean() - 1) < 5 * np.sqrt(8 / (n / 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_drawn_cannot_be_written_to(dtype):
    for rows in (1, 30):
        with pytest.raises(ValueError, match="read-only"):
            rng.normals(1, (), 0, rows, 100, dtype=dtype)[0, 0] = 1.0

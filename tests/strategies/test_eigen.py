"""The eigendecomposition of CMA-ES."""

import numpy as np
import pytest

from evoopt.strategies import cmaes


@pytest.mark.parametrize("n", [1, 2, 10, 40])
def test_the_decomposition_is_that_of_numpy(n):
    A = np.random.default_rng(n).standard_normal((n, n))
    C = A @ A.T
    same, B, D = cmaes._eigen(C)
    values, vectors = np.linalg.eigh(C)
    assert same is C
    assert (B == vectors).all()
    assert (D == np.sqrt(values)).all()


def test_a_covariance_that_is_not_finite_is_an_error():
    C = np.eye(3)
    C[1, 1] = np.nan
    with np.errstate(invalid="ignore"), pytest.raises(np.linalg.LinAlgError):
        cmaes._eigen(C)


def test_numpy_without_the_inner_function_is_used_by_its_public_one(monkeypatch):
    monkeypatch.delattr(np.linalg, "_umath_linalg")
    assert cmaes._lapack_eigh() is np.linalg.eigh

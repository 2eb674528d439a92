"""Default constants against the published table, and the dependency chain between them."""

import math

import numpy as np
import pytest
from reference import cmaes_literal, maes_literal

from evoopt.strategies.cmaes import CMAES
from evoopt.strategies.maes import MAES

# Tutorial (arXiv:1604.00772), Table 1; c_mu with the offset 1/4 and without. Recorded by hand from
# an evaluation of the formulas in double precision, confirmed by pycma's doctest at n = 20.
# n: (popsize, mu, mueff, c_1, c_mu active, c_mu, c_c, c_sigma, d_sigma, bounds of sum |w-|)
TABLE = {
    2: (6, 3, 2.028611, 0.15481540, 0.08559278, 0.05785909, 0.624555, 0.446205, 1.446205,
        (2.8087, 2.2073, 4.4372)),
    5: (8, 4, 2.600179, 0.04729230, 0.04785905, 0.03816916, 0.450200, 0.365088, 1.365088,
        (1.9882, 2.3943, 3.7813)),
    10: (10, 5, 3.167299, 0.01528382, 0.02355178, 0.02015428, 0.294990, 0.284429, 1.284429,
         (1.6489, 2.5440, 4.0811)),
    20: (12, 6, 3.729459, 0.00437235, 0.00921656, 0.00819140, 0.171767, 0.199428, 1.199428,
         (1.4744, 2.6667, 5.3513)),
    40: (15, 7, 4.540915, 0.00116943, 0.00340522, 0.00312250, 0.093009, 0.132031, 1.132031,
         (1.3434, 2.8007, 7.3081)),
    100: (17, 8, 5.096189, 0.00019480, 0.00068064, 0.00063260, 0.038913, 0.064454, 1.064454,
          (1.2862, 2.8844, 14.679)),
    1000: (24, 12, 7.026376, 1.99e-6, 1.079e-5, 1.030e-5, 0.003991, 0.008919, 1.008919,
           (1.1848, 3.1075, 92.64)),
}  # fmt: skip
WEIGHTS_20 = [
    0.402403, 0.253389, 0.166222, 0.104375, 0.056403, 0.017208,
    -0.050187, -0.140617, -0.220381, -0.291733, -0.356279, -0.415204,
]  # fmt: skip

METHODS = [CMAES, MAES]
LITERAL = {CMAES: cmaes_literal.constants, MAES: maes_literal.constants}


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("dim", TABLE)
@pytest.mark.parametrize("method", METHODS)
def test_defaults_equal_the_table_of_the_tutorial(method, dim, active):
    popsize, mu, mueff, c_1, c_mu_active, c_mu, c_c, c_sigma, d_sigma, bounds = TABLE[dim]
    s = method.default(dim, active=active)
    assert s.popsize == popsize
    assert s.mu == mu
    # half a unit of the last digit printed in the table
    assert s.mueff == pytest.approx(mueff, abs=5.1e-7)
    assert s.c_1 == pytest.approx(c_1, abs=5.1e-9)
    assert s.c_mu == pytest.approx(c_mu_active if active else c_mu, abs=5.1e-9)
    assert s.c_sigma == pytest.approx(c_sigma, abs=5.1e-7)
    assert s.d_sigma == pytest.approx(d_sigma, abs=5.1e-7)
    if method is CMAES:
        assert s.c_m == 1.0
        assert s.c_c == pytest.approx(c_c, abs=5.1e-7)
    expected = min(bounds) if active else 0.0
    assert -s.weights[mu:].sum() == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("method", METHODS)
def test_weights_at_dim_20_equal_those_of_pycma_to_six_digits(method):
    np.testing.assert_allclose(method.default(20).weights, WEIGHTS_20, rtol=0, atol=5.1e-7)


@pytest.mark.parametrize(("dim", "chi_n"), [(2, 1.25427274), (10, 3.08472657), (100, 9.97504762)])
@pytest.mark.parametrize("method", METHODS)
def test_chi_n_has_the_sign_of_the_tutorial(method, dim, chi_n):
    assert method.default(dim).chi_n == pytest.approx(chi_n, abs=5.1e-9)
    exact = math.sqrt(2) * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    # the expansion is off by less than half its last term; with the wrong sign by more than all
    assert abs(method.default(dim).chi_n - exact) < 0.5 * math.sqrt(dim) / (21 * dim**2)


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("popsize", [2, 3, 4, 5, 9, 10, 50, 1000])
@pytest.mark.parametrize("dim", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("method", METHODS)
def test_constants_equal_the_literal_chain_for_any_popsize(method, dim, popsize, active):
    s = method.default(dim, popsize=popsize, active=active)
    c = LITERAL[method](dim, popsize, active)
    # rtol: the same operations in another order; c_mu is a difference of numbers near 2, and where
    # c_1 + c_mu meets its cap 1 - 1e-8, so is the bound of the negative weights
    for key in ("mu", "mueff", "chi_n", "c_1", "c_sigma", "d_sigma"):
        assert getattr(s, key) == pytest.approx(getattr(c, key), rel=1e-12), key
    assert s.c_mu == pytest.approx(c.c_mu, rel=1e-10, abs=1e-15)
    np.testing.assert_allclose(s.weights, c.weights, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("popsize", [None, 2, 3, 11, 5000])
@pytest.mark.parametrize("dim", [1, 2, 10, 100])
@pytest.mark.parametrize("method", METHODS)
def test_the_inequalities_of_the_update_hold(method, dim, popsize):
    s = method.default(dim, popsize=popsize)
    assert len(s.weights) == s.popsize
    assert s.weights[: s.mu].sum() == pytest.approx(1.0, rel=1e-12)
    assert (s.weights[: s.mu] > 0).all()
    assert (s.weights[s.mu :] <= 0).all()
    assert (np.diff(s.weights) <= 0).all()
    assert 0 < s.c_1 < 1
    assert 0 <= s.c_mu
    assert s.c_1 + s.c_mu < 1
    # one update shrinks no direction of C to zero: 1 - c_1 - c_mu sum(w) > n c_mu sum|w-|
    negative = -s.weights[s.mu :].sum()
    kept = 1 - s.c_1 - s.c_mu * s.weights.sum()
    assert kept - dim * s.c_mu * negative > 0


@pytest.mark.parametrize("method", METHODS)
def test_without_active_the_worse_half_has_no_weight(method):
    s = method.default(10, active=False)
    assert (s.weights[s.mu :] == 0).all()

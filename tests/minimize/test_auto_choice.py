"""What `auto` picks where no quadratic model goes first."""

import numpy as np
import pytest

import evoopt


def sphere(x):
    return float(x @ x)


@pytest.mark.parametrize(
    ("dim", "budget", "words", "picked"),
    [
        (64, "100*D", {}, "lm-ma-es"),  # too few evaluations for a matrix
        (64, "101*D", {}, "cma-es"),
        (63, "100*D", {}, "cma-es"),  # lm-ma-es would be ma-es
        (64, "100*D", {"options": {"active": False}}, "cma-es"),  # an option of cma-es
        (64, "100*D", {"warm_start": (np.eye(64), np.arange(64.0))}, "cma-es"),
        (1001, "101*D", {}, "lm-ma-es"),
    ],
)
def test_a_short_budget_in_many_variables_is_for_lm_ma_es(dim, budget, words, picked):
    x0 = {} if "warm_start" in words else {"x0": np.ones(dim)}
    result = evoopt.minimize(
        sphere, sigma0=0.3, seed=1, budget=budget, target=1e9, **x0, **words,
        bounds=(np.full(dim, -5), np.full(dim, 5)),
    )  # fmt: skip
    assert result.algorithm == f"auto: {picked} with BIPOP restarts"
    assert result.notes[0].startswith(f"auto: {picked}")
    assert ("short" in result.notes[0]) == (dim == 64 and picked == "lm-ma-es")

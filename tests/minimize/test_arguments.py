"""The arguments of `minimize`: what is chosen where they are left out, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spheres import BOX, Counting, sphere

import evoopt
from evoopt.plan import resolve
from evoopt.settings import Settings


def test_without_x0_the_search_starts_at_the_centre_with_a_fifth_of_the_width() -> None:
    bounds = np.array([0, 10]), np.array([1, 30])
    r = evoopt.minimize(sphere, bounds=bounds, algorithm="cma-es", popsize=10, budget=9, seed=1)
    assert r.mean.tolist() == [0.5, 20.0]  # no generation is complete
    problem = evoopt.FunctionProblem(sphere, 2, [0, 10], [1, 30])
    plan = resolve(problem, Settings())
    assert plan.x0.tolist() == [0.5, 20.0]
    assert plan.scale is not None
    assert (plan.sigma0 * plan.scale).tolist() == [0.2, 4.0]
    assert any("centre" in note for note in r.notes)
    assert any("sigma0" in note for note in r.notes)


def test_without_bounds_sigma0_is_a_fifth_of_the_size_of_x0_and_at_least_a_fifth() -> None:
    problem = evoopt.FunctionProblem(sphere, 2, [-np.inf] * 2, [np.inf] * 2)
    plan = resolve(problem, Settings(x0=[100.0, 0.01]))
    assert plan.scale is not None
    assert (plan.sigma0 * plan.scale).tolist() == [20.0, 0.2]


def test_a_sigma0_for_each_variable_scales_its_steps() -> None:
    f = Counting()
    sigma = np.array([1e-3, 1.0, 1e3])
    evoopt.minimize(
        f, [0.0] * 3, sigma0=sigma, algorithm="cma-es", popsize=1000, budget=1000, seed=1
    )
    assert np.std(f.seen, axis=0) == pytest.approx(sigma, rel=0.1)  # 1000 draws: sd 2 %


def test_scaled_variables_are_searched_as_if_they_were_equal() -> None:
    scale = np.array([1e-3, 1.0, 1e3])
    words: dict[str, Any] = {"algorithm": "cma-es", "budget": 400, "seed": 1}
    even = evoopt.minimize(sphere, [2.0] * 3, sigma0=1.0, **words)
    uneven = evoopt.minimize(lambda x: sphere(x / scale), 2.0 * scale, sigma0=scale, **words)
    assert uneven.f == pytest.approx(even.f, rel=1e-6)  # the same search, up to rounding


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({}, "needs x0 or bounds"),
        ({"bounds": (-5, None), "x0": None}, "x0=...) must be given"),
        ({"x0": [1.0], "algorithm": "cmaes"}, "did you mean 'cma-es'"),
        ({"x0": [1.0], "restarts": "often"}, "restarts=...) must be one of none, ipop, bipop"),
        ({"x0": [1.0], "restarts": "ipop", "algorithm": "random"}, "it is for cma-es, ma-es"),
        ({"x0": [1.0], "workers": 0}, "workers=...) must be a whole number >= 1; got 0"),
        ({"x0": [1.0], "workers": 2, "isolate": False}, "isolate=...) must be true"),
        ({"x0": [1.0], "eval_timeout": 1.0, "isolate": False}, "isolate=...) must be true"),
        ({"x0": [1.0], "eval_timeout": 0}, "eval_timeout=...) must be a positive finite number"),
        ({"x0": [1.0], "time_limit": -1}, "time_limit=...) must be a positive finite number"),
        ({"x0": [1.0], "time_limit": np.nan}, "time_limit=...) must be"),
        ({"x0": [1.0], "max_failures": -1}, "max_failures=...) must be a whole number >= 0"),
        ({"x0": [1.0], "target": np.nan}, "target=...) must be a finite number; got nan"),
        ({"x0": [1.0], "target": "low"}, "target=...) must be a finite number; got 'low'"),
        ({"x0": [1.0, 2.0], "sigma0": [1.0, -1.0]}, "sigma0=...) must be a positive finite"),
        ({"x0": [1.0, 2.0], "sigma0": [1.0]}, "sigma0=...) must be a positive finite"),
        ({"x0": [1e17], "sigma0": 1.0}, "sigma0=...) must be large enough to change x0"),
        ({"x0": [1.0], "budget": "many"}, "budget=...) must be a whole number >= 1, or text"),
        ({"x0": [1.0], "budget": "0.3D"}, "budget=...) must be a whole number >= 1, or text"),
        ({"x0": [1.0], "seed": True}, "seed=...) must be a whole number from 0"),
        ({"x0": [1.0], "seed": 2**64}, "seed=...) must be a whole number from 0"),
        ({"x0": [1.0], "popsize": 1}, "popsize=...) must be a whole number >= 2; got 1"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named_in_one_line(
    words: dict[str, Any], says: str
) -> None:
    f = Counting()
    with pytest.raises(evoopt.ConfigurationError) as raised:
        evoopt.minimize(f, **words)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not f.seen


@pytest.mark.parametrize("fun", [None, 3, [sphere]])
def test_what_cannot_be_called_is_no_objective(fun: Any) -> None:
    with pytest.raises(evoopt.ConfigurationError, match=r"minimize\(fun=\.\.\.\) must be callable"):
        evoopt.minimize(fun, [1.0])


def test_an_objective_may_be_named_by_file_and_function(tmp_path: Path) -> None:
    file = tmp_path / "my_objective.py"
    file.write_text("def f1(x):\n    return float(((x - 0.5) ** 2).sum())\n")
    words: dict[str, Any] = {"bounds": BOX, "budget": 100, "seed": 1}
    by_name = evoopt.minimize(f"{file}:f1", **words)
    assert by_name.f == pytest.approx(evoopt.minimize(sphere, **words).f, rel=1e-12)

"""bbob-noisy: COCO's noise models, with numbers that a seed names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt_bench.coco_data import write_part
from evoopt_bench.coco_read import read_data
from evoopt_bench.noise import OFFSET, Noise, seeded_draws
from evoopt_bench.suites import SUITES, CocoProblem, ProblemId

cocoex = pytest.importorskip("cocoex", reason="needs the extra bench")

FUNCTIONS = SUITES["bbob-noisy"].functions
each_function = pytest.mark.parametrize("function", FUNCTIONS)


def _points(dim: int, rows: int) -> np.ndarray:
    return np.random.default_rng(dim).uniform(-6, 6, (rows, dim))


@each_function
def test_what_is_judged_is_what_coco_logs(function: int, tmp_path: Path) -> None:
    problem = ProblemId("bbob-noisy", 3, function, 2)
    X = _points(3, 40)
    best = np.minimum.accumulate(CocoProblem(problem).judged(X, np.empty(0)))
    write_part(problem, X, tmp_path / "part", "points")
    (run,) = read_data(tmp_path / "part").runs
    f_opt = CocoProblem(problem).f_opt
    # COCO writes ten digits of f - f_opt; undoing noise of 1e3 costs three of sixteen of f
    np.testing.assert_allclose(best[run.at - 1] - f_opt, run.f, rtol=1e-8, atol=1e-8)


@each_function
def test_the_noise_can_be_undone(function: int) -> None:
    noise = Noise.of(function, 5)
    U, N = seeded_draws(range(200))
    excess = 10.0 ** np.linspace(-3, 12, 200)
    noisy = noise.applied(excess, U, N)
    # the Cauchy model adds 1e3 and more: of 1e-3 beside it ten digits are left
    np.testing.assert_allclose(noise.undone(noisy, U, N), excess, rtol=1e-7, atol=1e-7)


def test_a_value_depends_on_point_and_seed_alone() -> None:
    problem, X = CocoProblem(ProblemId("bbob-noisy", 2, 107, 1)), _points(2, 6)
    seeds = [5, 6, 7, 5, 6, 7]
    F = problem.evaluate(X, seeds).F
    CocoProblem(ProblemId("bbob-noisy", 3, 103, 1)).evaluate(_points(3, 9), range(9))
    one_by_one = [problem.evaluate(x[None], [s]).F[0] for x, s in zip(X, seeds, strict=True)]
    assert F.tolist() == one_by_one
    assert problem.evaluate(X[:1], [5]).F[0] != problem.evaluate(X[:1], [6]).F[0]


@pytest.mark.parametrize("function", [101, 102, 103, 107, 108, 109])
def test_values_are_distributed_as_those_of_cocoex(function: int) -> None:
    problem = ProblemId("bbob-noisy", 2, function, 1)
    ours, x = CocoProblem(problem), np.array([[1.0, 2.0]])
    theirs = cocoex.Suite("bbob-noisy", *problem.coco_options).get_problem(problem.coco_id)
    n = 2000
    # values without an outlier agree up to rounding: they are compared as rounded
    A = np.sort(ours.evaluate(np.repeat(x, n, axis=0), range(n)).F.round(9))
    B = np.sort(np.round([theirs(x[0]) for _ in range(n)], 9))
    theirs.free()
    at = np.unique(np.concatenate([A, B]))
    below = (np.searchsorted(values, at, side="right") for values in (A, B))
    gap = np.abs(next(below) - next(below)).max()
    # Kolmogorov and Smirnov: exceeded once in a thousand by chance; the seeds are fixed
    assert gap / n < 1.95 * np.sqrt(2 / n)


def test_values_stay_above_the_final_target_as_those_of_coco_do() -> None:
    problem = CocoProblem(ProblemId("bbob-noisy", 2, 101, 1))
    F = problem.evaluate(_points(2, 50), range(50)).F
    assert (F >= problem.f_opt + OFFSET).all()
    assert OFFSET > 1e-8


@pytest.mark.parametrize("seeds", [None, [1]])
def test_a_noisy_problem_asks_for_a_seed_per_row(seeds: list[int] | None) -> None:
    with pytest.raises(ConfigurationError, match=r"evaluate\(seeds=...\) must hold 2 numbers"):
        CocoProblem(ProblemId("bbob-noisy", 2, 101, 1)).evaluate(np.zeros((2, 2)), seeds)

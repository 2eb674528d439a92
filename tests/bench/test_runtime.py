"""Targets, run times, their distribution and its area, against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt_bench import best2009
from evoopt_bench.runtime import (
    area,
    compare_areas,
    ert,
    mean_area,
    run_time_distribution,
    simulated_run_times,
)
from evoopt_bench.targets import TARGETS, Improvements, Run, hitting_times

INF = np.inf


def _run(times: dict[int, float], evaluations: int, *, function: int = 1, instance: int = 1) -> Run:
    """A run in 2-D with f_opt = 0 that found the value at each of the evaluation numbers."""
    at = np.array(list(times), dtype=np.int64)
    return Run(function, 2, instance, evaluations, 0.0, at, np.array(list(times.values())))


def test_targets_are_the_51_of_coco() -> None:
    assert TARGETS.size == 51
    assert TARGETS[0] == 1e2
    assert TARGETS[-1] == 1e-8
    np.testing.assert_allclose(TARGETS[:-1] / TARGETS[1:], 10**0.2, rtol=1e-13)  # rounding only


def test_a_target_is_hit_by_the_first_value_at_or_below_it() -> None:
    at, f = np.array([1, 4, 9]), np.array([7.0, 5.5, 5.0])
    targets = np.array([3.0, 2.0, 1.9, 0.5, 0.49, 0.0, -1.0])
    assert hitting_times(at, f, 5.0, targets).tolist() == [1, 1, 4, 4, 9, 9, INF]


def test_values_that_do_not_improve_or_failed_hit_nothing() -> None:
    at, f = np.array([1, 2, 3, 4]), np.array([2.0, np.nan, 3.0, 1.0])
    assert hitting_times(at, f, 0.0, np.array([2.5, 1.5])).tolist() == [1, 4]


def test_a_run_without_values_hits_no_target() -> None:
    empty = np.array([])
    assert np.isinf(hitting_times(empty.astype(np.int64), empty, 0.0)).all()
    assert Run(1, 2, 1, 5, 0.0, empty.astype(np.int64), empty).precision == INF


def test_the_last_target_is_hit_where_coco_says_so_despite_rounding() -> None:
    f_opt = 250.25  # doubles lie 3e-14 apart there: f - f_opt cannot equal 1e-8
    at, f = np.array([3]), np.array([f_opt + 1e-8])
    assert f[0] - f_opt > 1e-8
    assert hitting_times(at, f, f_opt)[-1] == 3
    assert Run(1, 2, 1, 9, f_opt, at, f).solved
    assert not Run(1, 2, 1, 9, f_opt, at, np.nextafter(f, np.inf)).solved


@pytest.mark.parametrize("blocks", [1, 3, 10])
def test_improvements_are_those_of_the_whole_sequence_however_it_is_cut(blocks: int) -> None:
    F = np.array([5.0, np.nan, 6.0, 4.0, 4.0, 3.0, np.nan, 3.5, 2.0, 9.0])
    seen = Improvements()
    for block in np.array_split(F, blocks):
        seen.add(block)
    at, f = seen.arrays()
    assert seen.evaluations == 10
    assert at.tolist() == [1, 4, 6, 9]
    assert f.tolist() == [5.0, 4.0, 3.0, 2.0]


def test_improvements_skip_failures_at_the_start() -> None:
    seen = Improvements()
    seen.add(np.array([np.nan, np.nan, 2.0]))
    assert [a.tolist() for a in seen.arrays()] == [[3], [2.0]]


def test_expected_run_time_counts_the_evaluations_of_runs_that_missed() -> None:
    times = np.array([[10.0, 40.0, INF], [30.0, INF, INF]])
    spent = np.array([50.0, 100.0])
    assert ert(times, spent).tolist() == [20.0, 140.0, INF]


def test_simulated_run_times_are_the_plain_ones_where_every_run_hit() -> None:
    times = np.array([[10.0], [20.0], [60.0]])
    sample = simulated_run_times(times, np.array([70.0, 70.0, 70.0]), samples=6)
    assert np.sort(sample).tolist() == [[10, 10, 20, 20, 60, 60]]


def test_simulated_run_times_add_whole_runs_that_missed_to_one_that_hit() -> None:
    times = np.array([[7.0], [INF], [INF]])
    sample = simulated_run_times(times, np.array([50.0, 100.0, 1000.0]), samples=300)[0]
    rest = sample - 7  # sums of 100s and 1000s
    assert (rest % 100 == 0).all()
    assert (sample == 7).sum() >= 100  # the first runs are taken in turn
    assert {7.0, 107.0, 1007.0} <= set(sample)


def test_the_mean_of_simulated_run_times_is_the_expected_run_time() -> None:
    times = np.array([[7.0, 80.0], [30.0, INF], [INF, INF], [12.0, INF]])
    spent = np.array([90.0, 100.0, 120.0, 50.0])
    sample = simulated_run_times(times, spent, samples=40_000, seed=3)
    # standard error of the second: about 270 / sqrt(40000) = 1.4, of the first 0.4; fixed seed
    np.testing.assert_allclose(sample.mean(axis=1), ert(times, spent), rtol=0.015)


def test_a_target_that_no_run_hit_has_no_run_time_and_the_others_are_not_touched() -> None:
    times = np.array([[5.0, INF], [INF, INF]])
    spent = np.array([10.0, 20.0])
    sample = simulated_run_times(times, spent, samples=10, seed=1)
    assert np.isfinite(sample[0]).all()
    assert np.isinf(sample[1]).all()


def test_simulated_run_times_depend_on_seed_and_path_alone() -> None:
    times, spent = np.array([[5.0], [INF], [INF]]), np.array([10.0, 20.0, 33.0])
    one = simulated_run_times(times, spent, seed=1, path=(2, 8))
    assert (one == simulated_run_times(times, spent, seed=1, path=(2, 8))).all()
    assert (one != simulated_run_times(times, spent, seed=2, path=(2, 8))).any()
    assert (one != simulated_run_times(times, spent, seed=1, path=(2, 9))).any()


def test_the_distribution_is_over_functions_and_targets_per_dimension() -> None:
    targets = np.array([1.0, 0.1])
    runs = [_run({4: 1.0, 10: 0.1}, 10), _run({6: 0.5}, 100, function=2)]
    shares = run_time_distribution(runs, targets=targets, samples=3)
    assert shares.tolist() == [2, 2, 2, 3, 3, 3, 5, 5, 5, INF, INF, INF]  # evaluations / 2


def test_instances_of_a_function_are_restarts_of_each_other() -> None:
    runs = [_run({4: 1.0}, 10), _run({1: 9.0}, 10, instance=2)]
    times = run_time_distribution(runs, targets=np.array([1.0]), samples=10) * 2
    assert (times[:5] == 4).all()  # those that begin with the run that hit
    assert set((times[5:] - 4) / 10) <= set(range(1, 60))
    assert (times[5:] > 4).all()


@pytest.mark.parametrize(
    ("t", "b", "expected"),
    [
        (2, 100, 1.0),  # one evaluation per dimension
        (1, 100, 1.0),  # less: clipped
        (20, 100, 0.5),  # half-way on the log axis
        (200, 100, 0.0),  # the whole budget
        (2000, 100, 0.0),  # beyond: clipped
        (INF, 100, 0.0),
        (20, 10, 0.0),
        (20, 1000, 2 / 3),
    ],
)
def test_the_area_of_one_target_is_its_place_on_the_log_axis(
    t: float, b: float, expected: float
) -> None:
    assert area(np.array([t]), 2, b) == pytest.approx(expected, abs=1e-15)


def test_the_area_is_the_mean_over_targets_instances_and_functions() -> None:
    runs = [_run({20: 0.0}, 20), _run({200: 0.0}, 200, instance=2), _run({1: 50.0}, 9, function=2)]
    # 51 targets at 10 evaluations per dimension; at 100; and the two targets 1e2 and 63 at once
    expected = (0.5 + 0.0 + 2 / 51) / 3
    assert mean_area(runs, 100) == pytest.approx(expected, abs=1e-15)


def test_the_area_is_that_under_the_distribution_of_run_times() -> None:
    rng = np.random.default_rng(0)
    times = 10 ** rng.uniform(-0.5, 3.5, 51)
    grid = np.linspace(0, 2, 200_001)
    shares = np.searchsorted(np.sort(times / 5), 10**grid, side="right") / 51
    # the trapezoids miss at most one step of the grid per target
    assert area(times, 5, 100) == pytest.approx(float(np.trapezoid(shares, grid) / 2), abs=1e-5)


def test_an_algorithm_compared_with_itself_differs_by_nothing() -> None:
    runs = [_run({3 * i: 1e-3}, 100, instance=i) for i in range(1, 9)]
    result = compare_areas(runs, list(reversed(runs)), 100, resamples=200)
    assert (result.difference, result.low, result.high, result.pairs) == (0, 0, 0, 8)


def test_pairing_takes_out_what_instances_have_in_common() -> None:
    first = [_run({2 * 10**i: 0.0}, 10**6, instance=i) for i in range(1, 5)]
    second = [_run({2 * 10**i * 2: 0.0}, 10**6, instance=i) for i in range(1, 5)]
    result = compare_areas(first, second, 1e6, resamples=500)
    shift = np.log10(2) / 6  # twice as slow on each
    assert result.difference == pytest.approx(shift, abs=1e-12)
    assert result.low == pytest.approx(shift, abs=1e-12)
    assert result.high == pytest.approx(shift, abs=1e-12)
    assert result.first - result.second == pytest.approx(shift, abs=1e-12)


def test_the_bootstrap_interval_is_that_of_the_normal_distribution_for_many_pairs() -> None:
    rng = np.random.default_rng(5)
    steps = 10 ** rng.uniform(0.2, 1.8, 400)
    first = [_run({int(20 * s): 0.0}, 10**6, instance=i) for i, s in enumerate(steps)]
    second = [_run({200: 0.0}, 10**6, instance=i) for i in range(400)]
    result = compare_areas(first, second, 1e4, resamples=4000)
    pairs = np.array([area(a.times(), 2, 1e4) - 0.5 for a in first])
    half = 1.96 * pairs.std() / np.sqrt(400)
    assert result.high - result.difference == pytest.approx(half, rel=0.1)  # seed fixed
    assert result.difference - result.low == pytest.approx(half, rel=0.1)


def test_runs_on_other_problems_are_not_compared() -> None:
    with pytest.raises(ConfigurationError, match="same problems; got 1 and 1, 0 of them common"):
        compare_areas([_run({1: 1.0}, 5)], [_run({1: 1.0}, 5, instance=2)], 10)


@pytest.mark.parametrize(
    ("function", "per_dim"),
    [
        (1, (2.3, 2.1, 2.1)),
        (2, (19.6, 20.6, 29.7)),
        (8, (135, 227, 303)),
        (15, (8080, 23193, 28799)),
    ],
)
def test_best_2009_has_the_published_run_times_to_1e_8(
    function: int, per_dim: tuple[float, ...]
) -> None:
    pytest.importorskip("cocoex", reason="needs the extra bench")
    for dim, expected in zip((10, 20, 40), per_dim, strict=True):
        found = best2009.best2009(function, dim)[-1] / dim
        assert found == pytest.approx(expected, abs=0.5 if expected > 100 else 0.05)


def test_best_2009_never_gets_faster_with_smaller_targets_and_misses_what_nobody_solved() -> None:
    for function in range(1, 25):
        for dim in best2009.DIMENSIONS:
            times = best2009.best2009(function, dim)
            assert (times[1:] >= times[:-1]).all()
    assert np.isinf(best2009.best2009(20, 40)[-1])


@pytest.mark.parametrize(
    ("dim", "expected"), [(5, (0.1096, 0.1914, 0.3347)), (20, (0.0942, 0.1497, 0.2485))]
)
def test_the_area_of_best_2009_is_that_of_cocopp_s_own_ert_table(
    dim: int, expected: tuple[float, ...]
) -> None:
    # recorded from cocopp 2.9.1, detERT of its reference data at the 51 targets, 2026-11-23
    found = [
        np.mean([area(best2009.best2009(f, dim), dim, b) for f in range(1, 25)])
        for b in (10, 100, 1000)
    ]
    np.testing.assert_allclose(found, expected, atol=5e-5)

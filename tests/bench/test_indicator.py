"""COCO's indicator of two objectives: its own logger says the same, and so does the definition."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from evoopt.result import Array
from evoopt_bench.biobj import INSTANCES, UNKNOWN, references
from evoopt_bench.coco_data import write_part
from evoopt_bench.indicator import Indicator
from evoopt_bench.suites import SUITES, CocoProblem, ProblemId
from evoopt_bench.targets import BIOBJ_NOMINAL, BIOBJ_TARGETS, hitting_times

cocoex = pytest.importorskip("cocoex", reason="needs the extra bench")

UNIT = ([0.0, 0.0], [1.0, 1.0], 1.0)  # ideal, nadir, reference


def values(indicator: Indicator, F: Array) -> list[float]:
    """The indicator after each of the rows."""
    found = []
    for f1, f2 in F.tolist():
        indicator.add_one(f1, f2)
        found.append(indicator.value)
    return found


def missing(F: Array) -> float:
    """By the definition: the area between the staircase and (1, 1) column by column, or the least
    distance to the square."""
    inside = F[(F <= 1).all(axis=1)]
    if not len(inside):
        return float(1 + np.hypot(*np.maximum(F - 1, 0).T).min())
    firsts = np.unique(np.append(inside[:, 0], 1.0))
    heights = [1 - inside[inside[:, 0] <= left, 1].min() for left in firsts[:-1]]
    return float(1 - np.diff(firsts) @ heights)


def towards_the_front(problem: CocoProblem, n: int, seed: int) -> Array:
    """Points around the segment between the two optima, ever nearer to it, and the optima."""
    first, second = (
        cocoex.BareProblem("bbob", *numbers).best_parameter() for numbers in halves(problem)
    )
    rng = np.random.default_rng(seed)
    along = rng.random((n, 1))
    X = along * first + (1 - along) * second
    X += rng.normal(size=X.shape) * np.geomspace(3, 0.01, n)[:, None]
    X[n // 2], X[3 * n // 4] = first, second
    return X


def halves(problem: CocoProblem) -> list[tuple[int, int, int]]:
    """Function, dimension and instance of both."""
    words = problem._bare.value.name.split("__")
    return [(int(w[6:9]), problem.dim, int(w.split("_i")[1].split("_")[0])) for w in words]


def logged(part: Path, suffix: str) -> list[tuple[int, float]]:
    """Evaluation numbers and indicators in a file of COCO's logger."""
    lines = next(part.glob(f"*/*_hyp.{suffix}")).read_text().splitlines()
    words = [line.split() for line in lines if not line.startswith("%")]
    return [(int(w[0]), float(w[1])) for w in words]


@pytest.mark.parametrize(
    ("suite", "dim", "function", "instance"),
    [
        ("bbob-biobj", 2, 1, 1),
        ("bbob-biobj", 5, 20, 3),
        ("bbob-biobj", 20, 41, 10),
        ("bbob-biobj", 3, 55, 2),
        ("bbob-biobj", 5, 7, 12),  # no reference is known
        ("bbob-biobj-ext", 3, 60, 1),
    ],
)
def test_the_indicator_is_that_of_coco_s_logger_in_every_digit(
    suite: str, dim: int, function: int, instance: int, tmp_path: Path
) -> None:
    problem = CocoProblem(ProblemId(suite, dim, function, instance))
    X = towards_the_front(problem, 1500, seed=function)
    course = problem.course()
    assert isinstance(course, Indicator)
    seen = values(course, problem.evaluate(X).F)
    write_part(problem.id, X, tmp_path / "part", "ALG")
    for suffix in ("dat", "tdat"):
        told = logged(tmp_path / "part", suffix)
        assert len(told) > 10
        # 16 digits are written
        assert [f"{value:.15e}" for _, value in told] == [f"{seen[k - 1]:.15e}" for k, _ in told]


def test_targets_are_hit_when_coco_s_logger_has_them_hit(tmp_path: Path) -> None:
    problem = CocoProblem(ProblemId("bbob-biobj", 2, 1, 1))
    X = towards_the_front(problem, 3000, seed=1)
    course = problem.course()
    course.add(problem.evaluate(X).F)
    run = problem.run(course)
    write_part(problem.id, X, tmp_path / "part", "ALG")
    at, f = map(np.array, zip(*logged(tmp_path / "part", "dat"), strict=True))
    expected = hitting_times(at, f, 0.0, BIOBJ_TARGETS)
    assert run.times().tolist() == expected.tolist()
    assert np.isfinite(expected).sum() > 25
    assert (run.evaluations, run.n_obj, run.f_opt) == (3000, 2, 0.0)
    assert run.precision == course.value


@pytest.mark.parametrize("seed", range(5))
def test_the_indicator_is_the_missing_area_whatever_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    F = rng.random((60, 2)) * rng.choice([1.0, 2.0], (60, 1)) + 0.001
    F[40] = F[3]  # a duplicate
    F[41, 1] = F[5, 1]  # ties
    F[42, 0] = F[7, 0]
    seen = values(Indicator(*UNIT), F)
    # rounding to 5e-13 moves each of 60 corners
    np.testing.assert_allclose(seen, [missing(F[: k + 1]) for k in range(60)], atol=1e-10)
    assert (np.diff(seen) <= 0).all()
    again = Indicator(*UNIT)
    again.add(F[rng.permutation(60)])
    assert again.value == pytest.approx(seen[-1], abs=1e-13)


def test_objectives_are_counted_from_the_ideal_in_units_of_the_nadir() -> None:
    indicator = Indicator([-10.0, 300.0], [-6.0, 302.0], 0.9)
    indicator.add([[-8.0, 301.0]])
    assert indicator.value == pytest.approx(0.9 - 0.25, abs=1e-12)


def test_outside_the_region_the_distance_to_it_counts() -> None:
    indicator = Indicator(*UNIT)
    F = np.array([[4.0, 5.0], [4.0, 0.5], [0.5, 3.0], [0.5, 3.5], [1.0, 0.5], [0.75, 0.75]])
    assert values(indicator, F) == pytest.approx([6.0, 4.0, 3.0, 3.0, 1.0, 0.9375], abs=1e-12)


def test_nothing_is_better_than_the_extremes() -> None:
    indicator = Indicator(*UNIT)
    indicator.add([[-1.0, 0.5], [0.5, -1.0]])  # taken for (0, 1) and (1, 0)
    assert indicator.value == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_failed_evaluation_counts_and_changes_nothing(bad: float) -> None:
    indicator = Indicator(*UNIT)
    indicator.add(np.array([[bad, 0.5], [0.5, bad]]))
    assert (indicator.evaluations, indicator.value) == (2, math.inf)
    at, f = indicator.arrays()
    assert at.size == f.size == 0
    indicator.add([[0.5, 0.5]])
    assert indicator.arrays()[0].tolist() == [3]


def test_what_is_kept_of_a_course_hits_every_target_when_the_course_did() -> None:
    rng = np.random.default_rng(3)
    first = rng.random(4000)
    F = np.stack([first, 1 - np.sqrt(first)], axis=1) + np.geomspace(1, 1e-7, 4000)[:, None]
    indicator = Indicator([0.0, 0.0], [1.0, 1.0], 0.6)  # surpassed in the end: 2/3 is dominated
    seen = np.array(values(indicator, F))
    at, f = indicator.arrays()
    expected = hitting_times(np.arange(1, 4001), seen, 0.0, BIOBJ_TARGETS)
    assert hitting_times(at, f, 0.0, BIOBJ_TARGETS).tolist() == expected.tolist()
    assert np.isfinite(expected).all()
    assert f[-1] == seen[-1]
    assert len(at) < 300
    assert (np.diff(at) > 0).all()
    assert (np.diff(f) < 0).all()


def test_there_are_58_targets_and_what_counts_is_at_most_one_step_below_its_name() -> None:
    assert len(BIOBJ_TARGETS) == len(BIOBJ_NOMINAL) == 58
    nominal = [10 ** (-k / 10) for k in range(51)] + [0.0]
    nominal += [-(10 ** (-5 + k / 5)) for k in range(6)]
    np.testing.assert_allclose(BIOBJ_NOMINAL, nominal, rtol=1e-13)  # rounding only
    assert (BIOBJ_TARGETS <= BIOBJ_NOMINAL).all()
    ratio = BIOBJ_TARGETS[:51] / BIOBJ_NOMINAL[:51]
    one_below = np.isclose(ratio, 10**-0.1, rtol=1e-9)
    assert one_below.sum() == 17
    np.testing.assert_allclose(ratio[~one_below], 1, rtol=1e-13)
    assert (np.diff(BIOBJ_TARGETS) <= 0).all()


@pytest.mark.slow
def test_run_times_are_those_that_cocopp_counts(tmp_path: Path) -> None:
    cocopp = pytest.importorskip("cocopp", reason="needs the extra bench")
    import warnings

    from evoopt_bench.coco_data import merge_parts

    runs, parts = {}, []
    for dim, function, instance in [(2, 1, 1), (2, 1, 2), (2, 20, 1), (5, 20, 1)]:
        problem = CocoProblem(ProblemId("bbob-biobj", dim, function, instance))
        X = towards_the_front(problem, 3000, seed=instance)
        course = problem.course()
        course.add(problem.evaluate(X).F)
        runs[dim, function, instance] = problem.run(course)
        parts.append(tmp_path / problem.name)
        write_part(problem.id, X, parts[-1], "ALG")
    merged = merge_parts(parts, tmp_path / "merged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sets = cocopp.load(str(merged))
        for found in sets:
            times = np.array(found.detEvals(BIOBJ_NOMINAL))
            for column, instance in enumerate(found.instancenumbers):
                run = runs.pop((found.dim, found.funcId, instance))
                assert np.nan_to_num(times[:, column], nan=np.inf).tolist() == run.times().tolist()
    assert not runs


def test_references_are_those_that_cocoex_writes_and_one_where_it_has_none(tmp_path: Path) -> None:
    table = references()
    assert len(table) == 55 * len(INSTANCES) * 6
    rng = np.random.default_rng(1)
    for k in range(12):
        dim = int(rng.choice(SUITES["bbob-biobj"].dimensions))
        which = ProblemId("bbob-biobj", dim, int(rng.integers(1, 56)), int(rng.integers(1, 13)))
        write_part(which, np.zeros((1, dim)), tmp_path / str(k), "ALG")
        head = next((tmp_path / str(k)).glob("*/*.dat")).read_text().splitlines()[2]
        known = CocoProblem(which).extremes
        assert known is not None
        assert f"{known.reference:.15e}" == head.split("reference value = ")[1]
        assert (known.reference == UNKNOWN) == (which.instance not in INSTANCES)


def test_ideal_and_nadir_are_the_values_at_the_optima_of_the_halves() -> None:
    for function in (1, 7, 30, 55):
        problem = CocoProblem(ProblemId("bbob-biobj", 5, function, 4))
        found = problem.extremes
        assert found is not None
        bare = [cocoex.BareProblem("bbob", *numbers) for numbers in halves(problem)]
        first, second = (half.best_parameter() for half in bare)
        assert found.ideal == tuple(half.best_value() for half in bare)
        F = problem.evaluate(np.array([first, second])).F
        assert (F[1, 0], F[0, 1]) == found.nadir
        np.testing.assert_allclose([F[0, 0], F[1, 1]], found.ideal, rtol=1e-12)  # rounding of C

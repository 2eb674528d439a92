"""Shares of targets with two objectives, beside what COCO has published."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from evoopt_bench import published
from evoopt_bench.coco_data import merge_parts, write_part
from evoopt_bench.coco_read import read_data
from evoopt_bench.measure import AREA, SHARE, covers, measure_of, per_dimension
from evoopt_bench.references import references
from evoopt_bench.shares import known, rows, shares
from evoopt_bench.standing import Row, Standing, standings
from evoopt_bench.suites import SUITES, CocoProblem, ProblemId
from evoopt_bench.table import cells
from evoopt_bench.targets import BIOBJ_TARGETS, Run
from evoopt_bench.units import Comparison, Outcome, Unit
from evoopt_bench.verdict import markdown

pytest.importorskip("cocoex", reason="needs the extra bench")

# the issue of the published HMO-CMA-ES at 3, 10, 32, 100, 316, 1000 D, read to three digits
HMO = {
    5: [0.089, 0.137, 0.200, 0.258, 0.329, 0.382],
    20: [0.092, 0.153, 0.191, 0.250, 0.313, 0.367],
}


def run(function: int, hits: dict[int, float], spent: int = 200, instance: int = 1) -> Run:
    """Two variables; the indicator falls to each value at that evaluation."""
    at, f = np.array(list(hits), dtype=np.int64), np.array(list(hits.values()))
    return Run(function, 2, instance, spent, 0.0, at, f, 2)


def all_functions(at: int, value: float, spent: int = 200) -> list[Run]:
    return [run(f, {at: value}, spent) for f in SUITES["bbob-biobj"].functions]


def test_a_share_is_the_part_of_the_targets_met_by_the_budget() -> None:
    one = run(1, {1: 0.5, 20: 0.05, 64: -1.0})
    met = [(BIOBJ_TARGETS >= value).mean() for value in (0.5, 0.05, -1.0)]
    # 20 = 10 D is in time, 64 > 10^1.5 * 2 = 63.2
    assert [SHARE.of(one, b) for b in (3, 10, 32, 100)] == [met[0], met[1], met[1], met[2]]
    assert met[2] == 1


def test_budgets_that_read_3_32_316_are_powers_of_the_root_of_10() -> None:
    exact = [per_dimension(b) for b in SHARE.budgets]
    np.testing.assert_allclose(np.log10(exact), np.arange(1, 9) / 2, rtol=1e-12)
    assert covers(316 * 5, 5, 316)
    assert covers(1000 * 5, 5, 1000)
    assert not covers(1000 * 5 - 1, 5, 1000)
    assert not covers(31 * 5, 5, 32)


@pytest.mark.parametrize("dim", HMO)
def test_the_published_shares_are_those_of_hmo_cma_es(dim: int) -> None:
    found = published.shares("HMO-CMA-ES", dim, SHARE.budgets)
    assert [round(found[b], 3) for b in (3, 10, 32, 100, 316, 1000)] == pytest.approx(
        HMO[dim], abs=0.0011
    )


@pytest.mark.parametrize("dim", published.DIMENSIONS)
def test_the_best_of_2016_is_its_published_curve(dim: int) -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    times = published.best_times("bbob-biobj", dim, SUITES["bbob-biobj"].functions)
    assert times is not None
    at, share = published.curves()["best 2016", dim]
    drawn = np.searchsorted(times, at, side="right") / times.size
    np.testing.assert_allclose(drawn, share, atol=0.0025)  # the curve was read off a picture


def test_the_table_has_a_line_for_the_runs_and_for_each_published_curve() -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    found = shares("bbob-biobj", "mine", all_functions(20, 0.05))
    names = ["mine", "HMO-CMA-ES 2016", "UP-MO-CMA-ES 2016", "best 2016"]
    assert [line.name for line in found] == names
    met = (BIOBJ_TARGETS >= 0.05).mean()
    # 200 evaluations are 100 D
    assert found[0].shares == pytest.approx({3: 0, 10: met, 32: met, 100: met})
    assert found[0].problems == 55
    headings, body = rows(found)
    assert headings == ["dim", "algorithm", "problems", "3 D", "10 D", "32 D", "100 D"]
    assert body[0] == ["2", "mine", "55", "0.000", *[f"{met:.3f}"] * 3]
    assert body[1][:3] == ["2", "HMO-CMA-ES 2016", ""]


def test_curves_of_all_functions_are_shown_beside_all_functions_only() -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    some = all_functions(20, 0.05)[:5]
    assert [line.name for line in shares("bbob-biobj", "mine", some)] == ["mine", "best 2016"]
    other = [run(60, {3: 0.5})]
    assert [line.name for line in shares("bbob-biobj-ext", "mine", other)] == ["mine"]
    beyond = [run(f, {3: 0.5}, instance=11) for f in SUITES["bbob-biobj"].functions]
    assert len(shares("bbob-biobj", "mine", beyond)) == 1  # it has no reference
    assert known("bbob", 2, range(1, 25)) == []


def test_references_of_a_picture_are_on_the_functions_and_in_the_dimension() -> None:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    points = np.geomspace(1, 1e4, 50)
    everything = SUITES["bbob-biobj"].functions
    found = references("bbob-biobj", 5, everything, points)
    assert [r.name for r in found] == ["best 2016", "HMO-CMA-ES 2016", "UP-MO-CMA-ES 2016"]
    assert found[1].on(np.array([1e2, 1e3])) == pytest.approx([0.2579, 0.3823], abs=1e-4)
    assert [r.name for r in references("bbob-biobj", 40, everything, points)] == ["best 2016"]
    assert [r.name for r in references("bbob-biobj", 5, [1, 2], points)] == ["best 2016"]
    assert [r.name for r in references("bbob", 5, [1, 2], points)] == ["best 2009"]
    assert references("bbob-boxed", 5, [1], points) == []


def outcome(name: str, one: Run) -> Outcome:
    unit = Unit(name, ProblemId("bbob-biobj", 2, one.function, one.instance), one.evaluations)
    return Outcome(unit, one, 0.001, "evoopt 0" if name == "auto" else "pymoo 0")


def row(standing: Standing, name: str) -> Row:
    (found,) = (row for row in standing.rows if row.name == name)
    return found


@pytest.fixture(scope="module")
def standing() -> Standing:
    pytest.importorskip("cocopp", reason="needs the extra bench")
    mine = [run(f, {1: 0.9, 2 * f: 0.01}) for f in SUITES["bbob-biobj"].functions]
    outcomes = [outcome("auto", one) for one in mine]
    outcomes += [outcome("nsga2-20", one) for one in all_functions(60, 0.1)]
    (found,) = standings(Comparison("bbob-biobj", 1, tuple(outcomes)))
    return found


def test_a_comparison_is_judged_by_shares_with_paired_intervals(standing: Standing) -> None:
    assert measure_of("bbob-biobj") is SHARE
    assert measure_of("bbob") is AREA
    assert standing.reference == "auto"
    assert standing.budgets == (3, 10, 32, 100)
    other = row(standing, "nsga2-20")
    met = (BIOBJ_TARGETS >= 0.1).mean()
    assert other.areas == pytest.approx({3: 0, 10: 0, 32: met, 100: met})
    difference = other.differences[32]
    assert difference.pairs == 55
    assert difference.difference == pytest.approx(met - row(standing, "auto").areas[32])
    assert difference.low < difference.difference < difference.high


def test_the_interval_of_a_share_is_that_of_the_normal_distribution(standing: Standing) -> None:
    mine = row(standing, "auto")
    each = [SHARE.of(run(f, {1: 0.9, 2 * f: 0.01}), 32) for f in range(1, 56)]
    low, high = mine.intervals[32]
    # 10,000 resamples of 55 problems: the ends lie within a tenth of a standard error
    error = np.std(each) / np.sqrt(55)
    assert [low, high] == pytest.approx(
        [np.mean(each) - 1.96 * error, np.mean(each) + 1.96 * error], abs=0.15 * error
    )


def test_published_curves_stand_in_the_comparison(standing: Standing) -> None:
    hmo, best = row(standing, "HMO-CMA-ES 2016"), row(standing, "best 2016")
    assert (hmo.kind, best.kind) == ("published", "virtual best")
    assert hmo.areas[100] == pytest.approx(0.2826, abs=1e-4)
    text = markdown(standing)
    assert "share(100), less auto [95 %]" in text
    assert "| `HMO-CMA-ES 2016` | published | 55 |" in text
    assert "separable - moderate" in text


def test_a_data_set_of_two_objectives_is_read_and_instances_without_reference_left_out(
    tmp_path: Path,
) -> None:
    parts, expected = [], {}
    for dim, function, instance in [(2, 1, 1), (2, 1, 12), (2, 8, 3), (3, 1, 1)]:
        problem = CocoProblem(ProblemId("bbob-biobj", dim, function, instance))
        X = np.random.default_rng(dim).normal(0, 2, (200, dim))
        course = problem.course()
        course.add(problem.evaluate(X).F)
        if instance <= 10:
            expected[dim, function, instance] = problem.run(course)
        parts.append(tmp_path / problem.name)
        write_part(problem.id, X, parts[-1], "ALG")
    merged = merge_parts(parts, tmp_path / "merged")
    info = next(merged.glob("1-separable_1-separable_hyp.info"))
    info.write_bytes(info.read_bytes().replace(b"\n%", b"\n% \xe9"))  # older data have such bytes
    shutil.make_archive(str(tmp_path / "ALG"), "gztar", merged)
    for path in (merged, tmp_path / "ALG.tar.gz"):
        found = read_data(path)
        assert found.name == "ALG"
        read = {(r.dim, r.function, r.instance): r for r in found.runs}
        assert read.keys() == expected.keys()
        for key, one in read.items():
            assert one.evaluations == 200
            assert one.times().tolist() == expected[key].times().tolist()


def test_a_cell_of_two_objectives_is_solved_at_1e_5() -> None:
    runs = [run(1, {10: 0.5, 30: 1e-6}), run(1, {10: 2e-5}, instance=2)]
    (cell,) = cells(runs)
    assert (cell.runs, cell.solved, cell.evaluations) == (2, 1, 400)
    assert cell.target == pytest.approx(1e-5)
    assert cell.ert == 30 + 200
    assert runs[0].solved
    assert not runs[0].is_complete  # there are targets below 0
    assert run(1, {3: BIOBJ_TARGETS[-1]}).is_complete

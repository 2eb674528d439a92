"""What a comparison came to: areas, intervals, ranks, and how they are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import StateError
from evoopt_bench.best2009 import best2009
from evoopt_bench.coco_read import DataSet
from evoopt_bench.compare import compare
from evoopt_bench.runtime import area, compare_areas, mean_area
from evoopt_bench.standing import Row, Standing, standings
from evoopt_bench.suites import ProblemId, select
from evoopt_bench.targets import Run
from evoopt_bench.units import Comparison, Outcome, Unit
from evoopt_bench.verdict import conclude, markdown

pytest.importorskip("cocoex", reason="needs the extra bench")


def run(function: int, instance: int, hit: int, budget: int = 200, dim: int = 2) -> Run:
    """Reaches 1e-3 with evaluation `hit` and no more."""
    at, f = np.array([1, hit], dtype=np.int64), np.array([1e4, 1e-3])
    return Run(function, dim, instance, budget, 0.0, at, f)


def outcome(algorithm: str, function: int, instance: int, hit: int, budget: int = 200) -> Outcome:
    unit = Unit(algorithm, ProblemId("bbob", 2, function, instance), budget)
    made_by = "evoopt 0" if algorithm == "ma-es" else "cma 4"
    return Outcome(unit, run(function, instance, hit, budget), 0.001, made_by)


def comparison(*more: Outcome) -> Comparison:
    outcomes = [
        *(outcome("cma-bipop", f, i, 100) for f in (1, 8) for i in (1, 2)),
        *(outcome("ma-es", f, i, 20 * f * i) for f in (1, 8) for i in (1, 2)),
        *more,
    ]
    return Comparison("bbob", 1, tuple(outcomes))


def row(standing: Standing, name: str) -> Row:
    (found,) = (row for row in standing.rows if row.name == name)
    return found


def test_areas_and_intervals_are_those_of_the_runs() -> None:
    found = comparison()
    (standing,) = standings(found)
    ours = [o.run for o in found.outcomes if o.unit.algorithm == "ma-es"]
    theirs = [o.run for o in found.outcomes if o.unit.algorithm == "cma-bipop"]
    mine = row(standing, "ma-es")
    assert dict(mine.areas) == {b: mean_area(ours, b) for b in (10, 100)}  # 1000 D was not given
    assert dict(mine.differences) == {b: compare_areas(ours, theirs, b) for b in (10, 100)}
    assert (mine.kind, mine.problems, mine.solved) == ("ours", 4, 0)
    assert mine.microseconds == pytest.approx(1e6 * 0.004 / 800)
    assert row(standing, "cma-bipop").differences == {}
    assert standing.reference == "cma-bipop"


def test_groups_have_the_areas_of_their_functions() -> None:
    found = comparison()
    (standing,) = standings(found)
    ours = [o.run for o in found.outcomes if o.unit.algorithm == "ma-es"]
    groups = row(standing, "ma-es").groups
    assert set(groups) == {"separable", "moderate"}
    assert groups["moderate"][100] == mean_area([r for r in ours if r.function == 8], 100)


def test_the_virtual_best_has_the_areas_of_its_expected_run_times() -> None:
    (standing,) = standings(comparison())
    best = row(standing, "best 2009")
    expected = np.mean([area(best2009(f, 2), 2, 100) for f in (1, 8)])
    assert best.areas[100] == pytest.approx(expected, rel=1e-12)
    assert standing.rows[0].name == "best 2009"


def test_an_algorithm_on_fewer_problems_is_compared_on_those_and_says_so() -> None:
    (standing,) = standings(comparison(outcome("scipy-de", 1, 1, 30)))
    few = row(standing, "scipy-de")
    assert few.differences[100].pairs == few.problems == 1
    assert "| 1 of 4 |" in markdown(standing)


def test_a_smaller_budget_has_no_area_beyond_it() -> None:
    (standing,) = standings(comparison(outcome("scipy-de", 1, 1, 15, budget=150)))
    assert set(row(standing, "scipy-de").areas) == {10}


def test_rows_stand_by_the_area_at_the_largest_budget_that_most_of_them_have() -> None:
    quick = [outcome("scipy-de", f, i, 3) for f in (1, 8) for i in (1, 2)]
    far = [outcome("cmaes", f, i, 150, 2000) for f in (1, 8) for i in (1, 2)]
    (standing,) = standings(comparison(*quick, *far))
    names = [row.name for row in standing.rows if row.kind in ("ours", "peer")]
    assert names == ["scipy-de", "ma-es", "cma-bipop", "cmaes"]  # by area(100), not area(1000)
    assert standing.budgets == (10, 100, 1000)


def test_a_data_set_is_shown_on_the_functions_that_were_run_if_it_has_them() -> None:
    runs = tuple(run(f, i, 50, 2000) for f in (1, 8, 9) for i in (41, 42))
    data = [DataSet("OLD", runs), DataSet("PART", runs[:2])]
    (standing,) = standings(comparison(), data=data)
    old = row(standing, "OLD")
    assert old.areas[100] == pytest.approx(mean_area(runs[:4], 100))
    assert (old.problems, old.microseconds, old.differences) == (4, None, {})
    assert "PART" not in {row.name for row in standing.rows}


def test_the_reference_can_be_chosen_and_falls_back_where_it_was_not_run() -> None:
    assert standings(comparison(), "ma-es")[0].reference == "ma-es"
    assert standings(comparison(), "fcmaes")[0].reference == "cma-bipop"
    only = Comparison("bbob", 1, (outcome("scipy-de", 1, 1, 30),))
    assert standings(only)[0].reference == "scipy-de"


@pytest.mark.parametrize(("hit", "bold"), [(8, True), (100, False)])
def test_an_interval_beside_zero_is_bold(hit: int, bold: bool) -> None:
    more = [outcome("scipy-de", f, i, hit) for f in (1, 8) for i in (1, 2)]
    standing = standings(comparison(*more))[0]
    line = next(x for x in markdown(standing).splitlines() if x.startswith("| `scipy-de`"))
    d = row(standing, "scipy-de").differences[100]
    assert (d.low > 0) == bold
    assert ("**[" in line) == bold
    assert f"{d.first:.4f}".removeprefix("0") in line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verdict") / "c"
    chosen = select("bbob:f1,5,20:d2,3:i1-2")
    compare(chosen, ["ma-es", "scipy-bfgs"], out, budget="20D", seed=1)
    return out


def test_a_verdict_is_written_as_markdown_json_and_pictures(folder: Path) -> None:
    verdict = conclude(folder, "scipy-bfgs")
    text = verdict.table.read_text()
    assert text.startswith("# bbob, seed 1\n\n## 2-D: functions 1,5,20, instances 1,2\n")
    document = json.loads(verdict.document.read_text())
    assert [d["dim"] for d in document["dimensions"]] == [2, 3]
    rows = {r["name"]: r for r in document["dimensions"][0]["rows"]}
    assert set(rows) == {"ma-es", "scipy-bfgs", "best 2009"}
    assert rows["ma-es"]["differences"]["10"]["pairs"] == 6
    assert [path.name for path in verdict.pictures] == ["ecdf.png", "ecdf-groups.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in verdict.pictures)


def test_an_empty_comparison_has_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        '{"schema": 1, "kind": "comparison", "suite": "bbob", "seed": 1}'
    )
    with pytest.raises(StateError, match="no unit that is done yet"):
        conclude(tmp_path)

"""A comparison: the same terms for all, and exact resumption of what was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, StateError
from evoopt.strategies import STRATEGIES, claims_of
from evoopt_bench.compare import _carry_out, compare, run_unit
from evoopt_bench.records import Progress
from evoopt_bench.single import problem_seed
from evoopt_bench.suites import ProblemId, select
from evoopt_bench.trial import Trial
from evoopt_bench.units import (
    RUNS,
    Comparison,
    Outcome,
    Unit,
    algorithms,
    by_algorithm,
    is_comparison,
    peers_of,
    read_comparison,
)

pytest.importorskip("cocoex", reason="needs the extra bench")

SELECTION = select("bbob:f1,5:d2:i1-2")
NAMES = ("ma-es", "scipy-bfgs", "random")


def claims_restarts(name: str) -> bool:
    return name != "auto" and "restarts" in claims_of(name).options


def substance(comparison: Comparison) -> list[tuple[object, ...]]:
    """Everything but the processor time."""
    return [
        (o.unit, o.run.evaluations, o.run.at.tolist(), o.run.f.tolist(), o.made_by)
        for o in comparison.outcomes
    ]


@pytest.fixture(scope="module")
def events() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, events: list[Progress]) -> Path:
    out = tmp_path_factory.mktemp("plain") / "compare"
    compare(SELECTION, NAMES, out, budget="40D", seed=3, progress=events.append)
    return out


def test_each_algorithm_is_run_on_each_problem_with_the_budget(plain: Path) -> None:
    found = by_algorithm(read_comparison(plain).outcomes)
    assert list(found) == ["ma-es", "scipy-bfgs", "random"]  # ours first
    for group in found.values():
        assert [o.unit.problem for o in group] == sorted(SELECTION.problems())
        for o in group:
            assert o.unit.budget == 80
            assert o.run.evaluations == 80 or o.run.solved
            assert 0 < o.seconds < 60
    assert found["scipy-bfgs"][0].made_by.startswith("scipy 1.")


def test_progress_counts_the_units(plain: Path, events: list[Progress]) -> None:
    assert [event.done for event in events] == list(range(13))
    assert {event.total for event in events} == {12}
    assert events[-1].last is not None


def test_a_unit_begins_at_the_start_that_seed_and_problem_name() -> None:
    problem = ProblemId("bbob", 2, 8, 1)
    start = Trial(problem, 10, problem_seed(3, problem)).start
    first = run_unit(Unit("scipy-bfgs", problem, 1), seed=3).run.f[0]
    assert first == Trial(problem, 1, problem_seed(3, problem))(start)
    others = [problem_seed(3, ProblemId("bbob", 2, 8, i)) for i in (1, 2)]
    assert len(set(others)) == 2


@pytest.mark.parametrize("name", [name for name in algorithms() if claims_restarts(name)])
def test_a_strategy_of_ours_begins_around_the_same_start(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    evaluate = Trial.evaluate

    def watched(self: Trial, X: np.ndarray, seeds: object = None) -> object:
        seen.append(X)
        return evaluate(self, X)

    monkeypatch.setattr(Trial, "evaluate", watched)
    trial = Trial(ProblemId("bbob", 2, 8, 1), 30, 3)
    trial.sigma0 = 1e-9
    _carry_out(name, trial)
    np.testing.assert_allclose(seen[0], np.tile(trial.start, (len(seen[0]), 1)), atol=1e-7)
    assert trial.left == 0


def test_the_number_of_workers_changes_nothing_but_the_order(plain: Path, tmp_path: Path) -> None:
    compare(SELECTION, NAMES, tmp_path / "c", budget="40D", seed=3, workers=2)
    assert substance(read_comparison(tmp_path / "c")) == substance(read_comparison(plain))


def test_what_is_there_is_not_run_again_and_a_torn_line_is_cut_off(
    plain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    out.mkdir()
    (out / "manifest.json").write_bytes((plain / "manifest.json").read_bytes())
    lines = (plain / RUNS).read_bytes().splitlines(keepends=True)
    (out / RUNS).write_bytes(b"".join(lines[:7]) + lines[7][:25])
    told: list[Progress] = []
    compare(SELECTION, NAMES, out, budget="40D", seed=3, progress=told.append)
    assert told[0].done == 7
    assert (out / RUNS).read_bytes().splitlines(keepends=True)[:7] == lines[:7]
    assert substance(read_comparison(out)) == substance(read_comparison(plain))


def test_a_killed_comparison_goes_on(plain: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from evoopt_bench.compare import compare\n"
        "from evoopt_bench.suites import select\n"
        "if __name__ == '__main__':\n"
        f"    compare(select({str(SELECTION)!r}), {NAMES!r}, Path('c'), budget='40D', seed=3)\n"
    )
    (tmp_path / "script.py").write_text(code)
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path)
    lines = tmp_path / "c" / RUNS
    while process.poll() is None and not (lines.exists() and lines.stat().st_size):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -9
    compare(SELECTION, NAMES, tmp_path / "c", budget="40D", seed=3)
    assert substance(read_comparison(tmp_path / "c")) == substance(read_comparison(plain))


def test_a_later_call_adds_algorithms_problems_and_budget(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "c"
    compare(select("bbob:f5:d2:i1"), ["ma-es"], out, budget="40D", seed=3)
    compare(select("bbob:f1,5:d2:i1"), ["ma-es"], out, budget="5D", seed=3)
    compare(select("bbob:f1:d2:i1"), ["scipy-bfgs"], out, budget="5D", seed=3)
    told: list[Progress] = []
    compare(SELECTION, NAMES, out, budget="40D", seed=3, progress=told.append)
    # kept: what was solved or had the budget; ma-es on f1 had less and is run again
    assert told[0].done == sum(o.run.solved or o.unit.budget == 80 for o in _before(out))
    found = read_comparison(out)
    runs = [(u, e, at, f) for u, e, at, f, _ in substance(found)]
    expected = [(u, e, at, f) for u, e, at, f, _ in substance(read_comparison(plain))]
    assert [r[1:] for r in runs] == [e[1:] for e in expected]


def _before(out: Path) -> list[Outcome]:
    """Outcomes of the first three calls."""
    lines = (out / RUNS).read_text().splitlines()[:3]
    kept = out.parent / "before"
    kept.mkdir()
    (kept / "manifest.json").write_bytes((out / "manifest.json").read_bytes())
    (kept / RUNS).write_text("\n".join(lines) + "\n")
    return list(read_comparison(kept).outcomes)


def test_another_suite_or_seed_or_folder_is_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="with seed 3; got bbob with seed 4: name another folder"):
        compare(SELECTION, NAMES, plain, budget="40D", seed=4)
    with pytest.raises(StateError, match="compares on bbob with seed 3; got bbob-boxed"):
        compare(select("bbob-boxed:f1:d2:i1"), NAMES, plain, budget="40D", seed=3)
    (tmp_path / "manifest.json").write_text('{"schema": 1, "kind": "suite"}')
    with pytest.raises(StateError, match="must be the folder of a comparison"):
        compare(SELECTION, NAMES, tmp_path, budget="40D", seed=3)
    assert is_comparison(plain)
    assert not is_comparison(tmp_path)
    assert not is_comparison(tmp_path / "nothere")


def test_an_unknown_name_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"compare\(names=...\) must be among .*'cmaa'"):
        compare(SELECTION, ["cmaa"], tmp_path / "c", budget="40D", seed=3)
    with pytest.raises(ConfigurationError, match="budget"):
        compare(SELECTION, ["ma-es"], tmp_path / "c", budget="40X", seed=3)
    assert not (tmp_path / "c").exists()


def test_every_strategy_can_be_compared_under_a_name_of_its_own() -> None:
    one, two = ({*algorithms(n), *peers_of(n)} for n in (1, 2))
    assert one | two >= {"auto", *STRATEGIES}
    for n in (1, 2):
        assert not set(algorithms(n)) & set(peers_of(n))


def test_a_unit_is_the_same_whatever_ran_before_it_in_its_process() -> None:
    unit = Unit("cma", ProblemId("bbob", 2, 10, 1), 60)
    pytest.importorskip("cma", reason="needs the extra peers")
    first = run_unit(unit, seed=1)
    run_unit(Unit("scipy-de", ProblemId("bbob", 3, 3, 1), 60), seed=1)
    again = run_unit(unit, seed=1)
    assert again.run.f.tolist() == first.run.f.tolist()


def test_lines_are_plain_json_without_a_number_that_json_lacks(plain: Path) -> None:
    for line in (plain / RUNS).read_text().splitlines():
        document = json.loads(line, parse_constant=lambda word: pytest.fail(word))
        assert np.isfinite(document["f"]).all()
    assert os.listdir(plain.parent) == ["compare"]

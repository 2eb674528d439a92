"""`minimize(run_dir=...)`: a run that is kept, taken up, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spheres import BOX, Counting, assert_same, rastrigin, sphere

import evoopt


def test_a_run_that_has_ended_is_read_and_not_evaluated_again(tmp_path: Path) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 100, "seed": 1, "run_dir": tmp_path / "run"}
    first, again = Counting(), Counting()
    a = evoopt.minimize(first, **words)
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    b = evoopt.minimize(again, **words)
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log
    assert (len(first.seen), len(again.seen)) == (100, 0)
    assert_same(a, b)
    assert a.reason == b.reason
    assert (a.notes, a.success, a.algorithm, a.seed) == (b.notes, b.success, b.algorithm, b.seed)
    assert a.run_dir == b.run_dir == str(tmp_path / "run")


def test_a_log_changes_nothing_in_the_search(tmp_path: Path) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 500, "seed": 1}
    assert_same(
        evoopt.minimize(rastrigin, run_dir=tmp_path / "run", **words),
        evoopt.minimize(rastrigin, **words),
    )


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"budget": 101},
        {"algorithm": "ma-es"},
        {"popsize": 9},
        {"sigma0": 1.0},
        {"maximize": True},
        {"bounds": (-4, 4)},
        {"target": 1.0},
    ],
)
def test_a_folder_with_another_run_is_refused_and_left_alone(
    other: dict[str, Any], tmp_path: Path
) -> None:
    words: dict[str, Any] = {"bounds": BOX, "budget": 100, "seed": 1, "run_dir": tmp_path / "run"}
    evoopt.minimize(sphere, **words)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.*")}
    f = Counting()
    f.__name__ = "sphere"
    with pytest.raises(evoopt.StateError, match="holds another run"):
        evoopt.minimize(f, **{**words, **other})
    assert not f.seen
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.*")} == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(evoopt.EvooptError, match=str(tmp_path)):
        evoopt.minimize(sphere, bounds=BOX, budget=10, run_dir=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_refused_call_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(evoopt.ConfigurationError):
        evoopt.minimize(sphere, bounds=BOX, budget=0, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_without_seed_is_taken_up_with_the_seed_that_was_drawn(tmp_path: Path) -> None:
    def run(stop_at: int) -> evoopt.Result:
        f = Counting()

        def objective(x: np.ndarray) -> Any:
            if len(f.seen) == stop_at:
                raise KeyboardInterrupt
            return f(x)

        return evoopt.minimize(objective, bounds=BOX, budget=100, run_dir=tmp_path / "run")

    with pytest.raises(evoopt.Interrupted):
        run(42)
    r = run(-1)
    assert_same(r, evoopt.minimize(sphere, bounds=BOX, budget=100, seed=r.seed))

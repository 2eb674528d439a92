"""Several objectives: what a user is told who left something out, and what goes on after it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.plan import resolve
from evoopt.problem import FunctionProblem
from evoopt.rundir import RunDirectory
from evoopt.settings import Settings

BOX = ([-5.0] * 2, [5.0] * 2)
WORDS: dict[str, Any] = {"bounds": BOX, "algorithm": "random", "seed": 1, "budget": 30}


def spheres(x: np.ndarray) -> tuple[float, float]:
    return float(x @ x), float(((x - 1) ** 2).sum())


def test_a_folder_whose_run_has_no_value_yet_is_taken_by_a_run_in_other_words(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with pytest.raises(evoopt.ObjectiveError, match="say objectives=2"):
        evoopt.minimize(spheres, run_dir=run, **WORDS)
    kept = evoopt.minimize(spheres, run_dir=run, objectives=2, **WORDS)
    left = evoopt.minimize(spheres, objectives=2, **WORDS)
    assert kept.front_f.tolist() == left.front_f.tolist()
    assert RunDirectory.read(run).manifest["settings"]["objectives"] == 2
    (again,) = [record for record in RunDirectory.read(run).records() if record["k"] == 0]
    assert again["t"] == "header"


def test_a_folder_with_one_value_is_not(tmp_path: Path) -> None:
    values = iter([1.0, (1.0, 2.0)])
    words = {**WORDS, "popsize": 2, "run_dir": tmp_path / "run"}
    with pytest.raises(evoopt.ObjectiveError):
        evoopt.minimize(lambda x: next(values), **words)
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with pytest.raises(evoopt.StateError, match="holds another run"):
        evoopt.minimize(spheres, objectives=2, **words)
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before


def test_a_folder_with_a_file_of_somebody_else_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(evoopt.ObjectiveError):
        evoopt.minimize(spheres, run_dir=run, **WORDS)
    (run / "notes.txt").write_text("mine")
    with pytest.raises(evoopt.StateError, match="holds another run"):
        evoopt.minimize(spheres, run_dir=run, objectives=2, **WORDS)
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        ({}, True),
        ({"popsize": 2}, False),
        ({"asynchronous": True}, False),
        ({"workers": 1}, False),
        ({"algorithm": "mo-cma-es"}, False),
    ],
)
def test_workers_that_would_wait_for_small_generations_are_noted(
    words: dict[str, Any], idle: bool
) -> None:
    problem = FunctionProblem(spheres, 2, *map(np.array, BOX), n_obj=2)
    notes = resolve(problem, Settings(**{"workers": 2, **words})).notes
    told = [note for note in notes if note.startswith("1 of 2 workers at a time")]
    assert len(told) == idle
    assert all("popsize=2 or asynchronous" in note for note in told)


@pytest.mark.parametrize("bounds", [BOX, None])
def test_what_a_composition_ran_is_told_with_bounds_and_without(bounds: Any) -> None:
    words = {"objectives": 2, "seed": 1, "budget": 20, "sigma0": 1.0}
    r = evoopt.minimize(spheres, [0.5, 0.5], bounds=bounds, **words)
    (account,) = [note for note in r.notes if note.startswith("evaluations: ")]
    assert sum(int(part.split()[-1]) for part in account.split(",")) == r.evaluations


def test_earlier_values_of_several_objectives_name_the_word_that_takes_them() -> None:
    X, words = np.zeros((3, 2)), {**WORDS, "algorithm": "auto"}
    with pytest.raises(evoopt.ConfigurationError, match=r"; for 2 objectives say objectives=2$"):
        evoopt.minimize(spheres, warm_start=(X, np.zeros((3, 2))), **words)
    with pytest.raises(evoopt.ConfigurationError, match=r"got shapes \(3, 2\) and \(2,\)$"):
        evoopt.minimize(spheres, warm_start=(X, np.zeros(2)), **words)


def test_a_front_of_one_point_is_told_as_one() -> None:
    r = evoopt.minimize(lambda x: (1.0, 2.0), objectives=2, **WORDS)
    assert "front        1 point, the knee below" in str(r)

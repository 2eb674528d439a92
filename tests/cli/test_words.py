"""Words of the command line as values."""

import math
import re

import numpy as np
import pytest

from evoopt.cli.words import (
    Target,
    bounds,
    choose,
    fresh_run,
    numbers,
    read_target,
    seconds,
    workers,
)
from evoopt.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90.0), ("0.5", 0.5), (".5s", 0.5), ("500ms", 0.5), ("10m", 600.0), ("2h", 7200.0)],
)
def test_a_duration_is_a_number_with_or_without_a_unit(text: str, value: float) -> None:
    assert seconds(text, "--time-limit") == value


@pytest.mark.parametrize("text", ["", "m", "-1", "0", "0m", "1y", "1 2", "nan", "inf"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--time-limit must be"):
        seconds(text, "--time-limit")


@pytest.mark.parametrize("text", ["1,2.5,-3", "1, 2.5, -3", "1 2.5 -3", "1.0,25e-1,-3"])
def test_numbers_stand_between_commas_or_blanks(text: str) -> None:
    assert numbers(text, "--x0") == [1.0, 2.5, -3.0]


def listed(pairs: tuple[tuple[str, str], ...], dim: int | None) -> tuple[list[float], list[float]]:
    """Bounds as lists; they are arrays, which minimize never reads as pairs per variable."""
    both = bounds(pairs, dim)
    assert both is not None
    assert all(isinstance(side, np.ndarray) for side in both)
    return both[0].tolist(), both[1].tolist()


def test_one_pair_of_bounds_holds_for_all_variables() -> None:
    assert listed((("-5", "5"),), 3) == ([-5.0] * 3, [5.0] * 3)


def test_several_pairs_of_bounds_are_those_of_the_variables_in_turn() -> None:
    assert listed((("-5", "5"), ("0", "inf")), None) == ([-5.0, 0.0], [5.0, math.inf])


def test_none_is_no_bound_on_its_side() -> None:
    assert listed((("none", "none"),), 1) == ([-math.inf], [math.inf])


def test_auto_workers_are_the_processors_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert workers("auto") == 3
    assert workers(None) == 1
    assert workers("7") == 7


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("bbob", "suite", "bbob"),
        ("bbob:f1-4:d2", "suite", "bbob:f1-4:d2"),
        ("bbob:f1:d2:i1-2", "suite", "bbob:f1:d2:i1-2"),
        ("bbob:f8:d10:i1", "problem", "bbob:f8:d10:i1"),
        ("bbob:i1:d10:f8", "problem", "bbob:i1:d10:f8"),
        ("mymodule:f", "function", "f"),
        ("my.module:Class.method", "function", "Class.method"),
        ("dir/obj.py:f", "function", "f"),
    ],
)
def test_a_target_is_a_suite_a_problem_or_a_function(text: str, kind: str, name: str) -> None:
    assert read_target(text) == Target(text, kind, name)


def test_a_run_without_a_name_gets_one_that_is_not_taken() -> None:
    target = Target("bbob:f1-4:d2", "suite", "bbob:f1-4:d2")
    first = fresh_run(target)
    assert re.fullmatch(r"runs/\d{8}-\d{6}-bbob-f1-4-d2(-\d+)?", str(first))
    taken = {first}
    for _ in range(3):
        taken.add(path := fresh_run(target))
        path.mkdir(parents=True)
    assert all(path.name[:4].isdigit() for path in taken)
    assert not fresh_run(target).exists()


def test_a_word_close_to_a_known_one_is_suggested() -> None:
    with pytest.raises(
        ConfigurationError, match=r"KIND must be one of a, ecdf.*did you mean 'ecdf'"
    ):
        choose("edcf", ["a", "ecdf"], "KIND")

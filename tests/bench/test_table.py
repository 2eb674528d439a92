"""The closing table: figures worked out by hand, and its text."""

from __future__ import annotations

import numpy as np
import pytest

from evoopt_bench.table import cells, render, rows
from evoopt_bench.targets import Run


def _run(function: int, dim: int, instance: int, at: list[int], f: list[float], n: int) -> Run:
    return Run(function, dim, instance, n, 0.0, np.array(at, dtype=np.int64), np.array(f))


RUNS = [
    _run(2, 2, 1, [1, 8], [500.0, 0.5], 10),
    _run(1, 2, 1, [5], [0.0], 5),
    _run(1, 2, 2, [3], [1.0], 25),
    _run(1, 3, 1, [3], [1e5], 30),
]


def test_a_solved_function_shows_its_expected_run_time_to_the_last_target() -> None:
    cell = cells(RUNS)[0]
    assert (cell.function, cell.dim, cell.runs, cell.solved, cell.evaluations) == (1, 2, 2, 1, 30)
    assert cell.target == 1e-8
    assert cell.ert == 30  # 5 + 25 evaluations, one success
    assert cell.best == 0


def test_an_unsolved_function_shows_the_smallest_target_that_was_reached() -> None:
    cell = cells(RUNS)[1]
    assert (cell.function, cell.dim, cell.solved) == (2, 2, 0)
    assert cell.target == pytest.approx(10**-0.2)
    assert cell.ert == 8
    assert cell.best == 0.5


def test_a_function_on_which_nothing_was_reached_has_neither_target_nor_run_time() -> None:
    cell = cells(RUNS)[2]
    assert (cell.dim, cell.target, cell.ert, cell.best) == (3, None, None, 1e5)


def test_rows_are_functions_columns_are_dimensions_and_the_last_row_sums() -> None:
    headings, body = rows(cells(RUNS))
    assert headings == ["f", "2-D ERT/D", "solved", "evals", "3-D ERT/D", "solved", "evals"]
    assert body == [
        ["1", "15", "1/2", "30", "-", "0/1", "30"],
        ["2", "[6e-01]", "0/1", "10", "", "", ""],
        ["all", "", "1/3", "40", "", "0/1", "30"],
    ]


def test_the_text_has_aligned_columns() -> None:
    lines = render(cells(RUNS)).splitlines()
    assert len(lines) == 4
    assert " ".join(lines[0].split()) == "f 2-D ERT/D solved evals 3-D ERT/D solved evals"
    ends = [len(line) for line in lines]
    assert ends[0] == ends[1] == ends[3]
    assert lines[1].index(" 1/2 ") - lines[0].index("solved ") == 2  # to the right in its column

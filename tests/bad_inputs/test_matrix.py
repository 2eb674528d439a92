"""The 78 bad inputs and a few more, each said through every interface that can say it.

Each test says how many cases it ran: a test that runs none is green, too.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import bad_cases as cases
import bad_objectives as objectives
import judging
import numpy as np
import pytest

import evoopt

ALGORITHMS = ("cma-es", "ma-es", "random")
HERE = [case for case in cases.RETURNED if not case.isolated]
APART = [case for case in cases.RETURNED if case.isolated]


@pytest.fixture(autouse=True)
def _own_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(objectives.RECORD, str(tmp_path / "nothing"))


def bad_ones(
    table: Iterable[cases.Returned | cases.Call], interface: str, algorithm: str, tmp_path: Path
) -> tuple[dict[str, str], int]:
    """The cases that are not good, with the reason; and how many ran."""
    found, ran = {}, 0
    for i, case in enumerate(table):
        folder = tmp_path / f"{i}"
        folder.mkdir()
        verdict = judging.verdict(case, interface, algorithm, folder)
        ran += 1
        if verdict.word != judging.GOOD:
            found[case.name] = f"{verdict.word}: {verdict.why}"
    return found, ran


def test_the_table_is_complete_and_names_nothing_twice() -> None:
    names = [case.name for case in (*cases.RETURNED, *cases.CALLS)]
    assert len(cases.RETURNED) == 35
    assert len(cases.CALLS) == 45  # the list that is headed by 43 names so many
    assert len(set(names)) == 80
    assert {case.name for case in cases.RETURNED} == set(objectives.RETURNS)


def test_every_objective_is_dealt_with_in_the_process(tmp_path: Path) -> None:
    assert bad_ones(HERE, "minimize", "auto", tmp_path) == ({}, 31)


def test_every_call_is_right_or_refused(tmp_path: Path) -> None:
    assert bad_ones(cases.CALLS, "minimize", "auto", tmp_path) == ({}, 45)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_algorithm_makes_a_difference(algorithm: str, tmp_path: Path) -> None:
    assert bad_ones([*HERE, *cases.CALLS], "minimize", algorithm, tmp_path) == ({}, 76)


def test_every_value_can_be_told_or_is_refused(tmp_path: Path) -> None:
    table = [case for case in cases.RETURNED if case.told]
    assert bad_ones(table, "ask/tell", "auto", tmp_path) == ({}, 28)


def test_every_call_of_ask_tell_is_right_or_refused(tmp_path: Path) -> None:
    table = [case for case in cases.CALLS if case.told]
    assert bad_ones(table, "ask/tell", "auto", tmp_path) == ({}, 42)


def test_the_command_line_deals_with_every_objective(tmp_path: Path) -> None:
    assert bad_ones(HERE, "command line", "auto", tmp_path) == ({}, 31)


def test_every_command_is_right_or_refused(tmp_path: Path) -> None:
    table = [case for case in cases.CALLS if case.line is not None]
    assert bad_ones(table, "command line", "auto", tmp_path) == ({}, 41)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory is in use")
@pytest.mark.parametrize("interface", ["isolated", "command line"])
def test_a_process_that_ends_hangs_or_starves_costs_one_evaluation(
    interface: str, tmp_path: Path
) -> None:
    assert bad_ones(APART, interface, "auto", tmp_path) == ({}, 4)


def test_workers_return_the_same_verdict_as_the_process(tmp_path: Path) -> None:
    names = (
        "nan_storm",
        "ninf_once",
        "none_once",
        "shape2",
        "kbd",
        "sysexit_once",
        "mutate",
        "dec",
    )
    table = [case for case in HERE if case.name in names]
    assert bad_ones(table, "isolated", "auto", tmp_path) == ({}, 8)


def test_the_judge_sees_each_kind_of_fault() -> None:
    """It has to, or the tests above are worth nothing."""
    good = {"x": objectives.OPTIMUM, "reason": "maxfevals", "evaluations": cases.BUDGET}
    case = next(case for case in cases.RETURNED if case.name == "nan_30")
    refused = next(case for case in cases.CALLS if case.name == "sigma0 -1")
    some = np.zeros((3, objectives.DIM))
    told = {"nan": 3}

    def word(case: cases.Returned | cases.Call, **seen: object) -> str:
        given = judging.Seen(**{"points": some, **seen})  # type: ignore[arg-type]
        return judging.judge(case, "minimize", "auto", given).word

    assert word(case, **good, failures=told) == judging.GOOD
    assert word(case, **good) == judging.SILENT  # failures that are not counted
    assert word(case, **{**good, "x": objectives.OPTIMUM + 1}, failures=told) == judging.SILENT
    assert word(case, **good, failures=told, harm=["outside"]) == judging.SILENT
    assert word(case, error="ValueError", said="NaN") == judging.OBSCURE
    assert word(case, error="ObjectiveError", said="NaN", ours=True) == judging.LATE
    assert word(refused, **good) == judging.SILENT
    said = "minimize(sigma0=...) must be positive; got -1"
    assert word(refused, error="ConfigurationError", said=said, ours=True) == judging.LATE
    assert (
        word(refused, error="ConfigurationError", said=said, ours=True, points=some[:0])
        == judging.GOOD
    )


def tell_with_nan(X: np.ndarray, F: np.ndarray) -> tuple[object, object]:
    X[1, 2] = np.nan
    return X, F


TELLS = {
    "NaN in x": tell_with_nan,
    "too few values": lambda X, F: (X, F[:-1]),
    "too many values": lambda X, F: (X, [*F, 1.0]),
    "values in a column and a half": lambda X, F: (X, np.stack([F, F], axis=1)),
    "another dimension": lambda X, F: (X[:, 1:], F),
    "no rows": lambda X, F: (X[:0], F[:0]),
    "a point outside the box": lambda X, F: (X + 100, F),
    "text": lambda X, F: (X, [*F[:-1], "abc"]),
    "None": lambda X, F: (X, [*F[:-1], None]),
    "complex": lambda X, F: (X, F + 1j),
    "one value for all": lambda X, F: (X, 1.0),
    "an id that was never given": lambda X, F: (999, 1.0),
    "one of the rows twice": lambda X, F: (np.vstack([X, X[:1]]), [*F, F[0]]),
}


@pytest.mark.parametrize("case", TELLS)
@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
def test_a_tell_that_is_refused_leaves_the_search_bit_identical(algorithm: str, case: str) -> None:
    es = evoopt.AskTell(algorithm, [2.0] * 5, 1.0, seed=1, bounds=(-5, 5))
    for _ in range(3):
        X = es.ask()
        es.tell(X, (X**2).sum(axis=1))
    X = es.ask()
    before, points = judging.frozen(es.state_dict()), X.copy()
    with pytest.raises(evoopt.EvooptError, match=r"^tell\((X|F|id)=\.\.\.\)[^\n]*$"):
        es.tell(*TELLS[case](X, (X**2).sum(axis=1)))
    assert judging.frozen(es.state_dict()) == before
    es.tell(points, (points**2).sum(axis=1))  # and it goes on
    assert es.evaluations == 4 * len(points)


def test_rows_told_twice_are_refused_and_leave_the_search_bit_identical() -> None:
    es = evoopt.AskTell("cma-es", [2.0] * 5, 1.0, seed=1)
    X = es.ask()
    F = (X**2).sum(axis=1)
    es.tell(X, F)
    before = judging.frozen(es.state_dict())
    with pytest.raises(evoopt.ConfigurationError, match="told before"):
        es.tell(X, F)
    assert judging.frozen(es.state_dict()) == before


def test_rows_that_were_never_asked_for_are_learnt_from_and_not_counted() -> None:
    es = evoopt.AskTell("cma-es", [2.0] * 5, 1.0, seed=1)
    X = es.ask()
    es.tell(np.full((1, 5), 0.5), [0.0])
    assert es.evaluations == 0
    assert es.result.f == 0.0
    es.tell(X, (X**2).sum(axis=1))  # those that were asked for are still waited for
    assert es.evaluations == len(X)

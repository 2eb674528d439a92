"""Stopping criteria in whole runs, and the record of values that they look back on."""

import dataclasses
import math

import numpy as np
import pytest
from reference import driving

from evoopt.strategies import strategy_class
from evoopt.strategies.course import Growing
from evoopt.strategies.maes import MAES
from evoopt.strategies.stopping import Tolerances


def bars_only(**bars):
    """All criteria off but these."""
    return dataclasses.replace(Tolerances.off(), allfailed=None, **bars)


def noise(x):
    """A number in [0, 1) that has nothing to do with x but is a function of it."""
    return math.modf(1e7 * abs(math.sin(1e5 * float(x.sum()))))[0]


IN_A_RUN = {  # criterion: (bars, objective)
    "tolx": ({"tolx": 1e-6}, lambda x: float((x**2).sum())),
    "tolfun": ({"tolfun": 1e-9}, lambda x: float((x**2).sum())),
    "tolfunhist": ({"tolfunhist": 1e-9}, lambda x: float((x**2).sum())),
    "tolfunrel": ({"tolfunrel": 1e-3}, lambda x: float((x**2).sum())),
    "tolflatfitness": ({"tolflatfitness": 1}, lambda x: 1.0 + float((x**2).sum())),
    "tolfacupx": ({"tolfacupx": 1e3}, lambda x: float(x[0])),
    "tolconditioncov": ({"tolconditioncov": 1e8}, lambda x: float(1e10 * x[0] ** 2 + x[1] ** 2)),
    "tolxstagnation": ({"tolxstagnation": (1e-3, 20, 0.1)}, lambda x: float((x**2).sum())),
    "tolstagnation": ({"tolstagnation": 100}, noise),
    "noeffectaxis": ({"noeffect": True}, lambda x: float(((x - 1) ** 2).sum())),
    "noeffectcoord": ({"noeffect": True}, lambda x: float((x[0] - 1) ** 2 + x[1] ** 2)),
    "maxiter": ({"maxiter": 30}, lambda x: float((x**2).sum())),
}


RUNS = [(m, c) for m in ("cma-es", "ma-es") for c in IN_A_RUN]
RUNS.remove(("ma-es", "noeffectaxis"))  # its axes are some generations old: the other fires first


@pytest.mark.parametrize(("method", "criterion"), RUNS)
def test_each_criterion_ends_a_run_that_gives_it_cause(method, criterion):
    bars, objective = IN_A_RUN[criterion]
    strategy = strategy_class(method).default(2, tolerances=bars_only(**bars))
    state = strategy.init(np.array([1.0, 2.0]), 0.5, 3)
    generations = 0
    while strategy.stop(state) is None and generations < 1500:
        _, _, state = driving.generation(strategy, state, objective)
        generations += 1
    assert strategy.stop(state).criterion == criterion
    assert generations > 5


def test_the_steps_of_ma_es_are_those_of_m_times_its_transpose():
    for bar, expected in ((4.9, "tolfacupx"), (5.1, None)):
        strategy = MAES.default(2, tolerances=bars_only(tolfacupx=bar))
        state = driving.run(strategy, strategy.init(np.zeros(2), 1.0, 3), lambda x: x[0], 1)
        M = np.array([[3.0, 4.0], [0.0, 0.1]])  # rows of length 5 and 0.1, columns of 3 and 4.001
        d = driving.altered(state.distribution, M=M, sigma=1.0)
        reason = strategy.stop(driving.altered(state, distribution=d))
        assert (reason.criterion if reason else None) == expected


def test_growing_rows_branch_without_changing_one_another():
    rows = Growing([], 0)
    trunk = [rows := rows.append((float(k), 0.0)) for k in range(200)]
    for length in (1, 63, 64, 65, 128, 150, 200):
        old = trunk[length - 1]
        left, right = old.append((-1.0, 1.0)), old.append((-2.0, 2.0))
        assert list(left.last(1)) == [(-1.0, 1.0)]
        assert list(right.last(1)) == [(-2.0, 2.0)]
        assert [row[0] for row in old.last(9**9)] == list(range(length))
        assert [row[0] for row in right.last(2)] == [length - 1, -2.0]
    assert [len(rows) for rows in trunk] == list(range(1, 201))


def test_growing_rows_restored_from_disk_grow_like_those_that_were_not():
    """On a run so long that old rows are dropped, when they are must not depend on the history of
    the object, or a resumed run would differ from an undisturbed one."""
    rows = Growing([], 0)
    copies = []
    for k in range(140_000):
        rows = rows.append((float(k), 1.0))
        copies = [copy.append((float(k), 1.0)) for copy in copies]
        if k in (30_000, 39_999, 70_000, 101_000):
            copies.append(Growing.__unpack__(rows.__pack__()))
    assert len(rows) < 140_000
    for copy in copies:
        assert len(copy) == len(rows)
        assert copy.last(200_000) == rows.last(200_000)

"""Calls with several objectives that cannot be meant: each is refused in one line, before anything
is evaluated, through every interface that can say it."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.options import is_for
from evoopt.problem import FunctionProblem
from evoopt.strategies import STRATEGIES

BOX = ([-5.0, -5.0], [5.0, 5.0])
BASE: dict[str, Any] = {"bounds": BOX, "algorithm": "random", "seed": 1}
X = np.zeros((3, 2))
NAN, INF = math.nan, math.inf

# name -> words, the argument that is named, what is quoted
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no objective": ({"objectives": 0}, "objectives", "got 0"),
    "half an objective": ({"objectives": 1.5}, "objectives", "got 1.5"),
    "objectives in words": ({"objectives": "two"}, "objectives", "got 'two'"),
    "true objectives": ({"objectives": True}, "objectives", "got True"),
    "short reference": ({"objectives": 3, "reference": [1, 2]}, "reference", "3 finite numbers"),
    "long reference": ({"objectives": 2, "reference": [1, 2, 3]}, "reference", "got [1, 2, 3]"),
    "NaN in reference": ({"reference": [1, NAN]}, "reference", "2 finite numbers"),
    "inf in reference": ({"reference": [1, INF]}, "reference", "2 finite numbers"),
    "text in reference": ({"reference": [1, "a"]}, "reference", "got [1, 'a']"),
    "ragged reference": ({"reference": [1, [2, 3]]}, "reference", "got [1, [2, 3]]"),
    "a number as reference": ({"objectives": 2, "reference": 3.0}, "reference", "got 3.0"),
    "text as reference": ({"objectives": 2, "reference": "12"}, "reference", "got '12'"),
    "reference of one": ({"objectives": 1, "reference": [1.0]}, "reference", "one objective"),
    "reference unasked": ({"reference": [1.0]}, "reference", "one objective"),
    "target without reference": ({"objectives": 2, "target": 5.0}, "target", "reference"),
    "target that is none": ({"reference": [1, 1], "target": -1.0}, "target", "got -1.0"),
    "NaN as target": ({"reference": [1, 1], "target": NAN}, "target", "got nan"),
    "one objective alone": (
        {"objectives": 2, "algorithm": "cma-es"}, "algorithm", "with 2 objectives; got 'cma-es'"
    ),
    "restarts": ({"objectives": 2, "restarts": "ipop"}, "restarts", "got 'ipop'"),
    "short warm start": ({"objectives": 2, "warm_start": (X, X[:2])}, "warm_start", "(k, 2)"),
    "warm start of one": ({"objectives": 2, "warm_start": (X, X[:, 0])}, "warm_start", "(3,)"),
    "ragged warm start": (
        {"objectives": 2, "warm_start": (X, [[1, 2], [1], [2]])}, "warm_start", "(k, 2)"
    ),
    "warm start without a value": (
        {"objectives": 2, "warm_start": (X, X * NAN)}, "warm_start", "no finite value"
    ),
    "warm start outside": (
        {"objectives": 2, "warm_start": (X + 9, X)}, "warm_start", "outside [-5, 5]"
    ),
}  # fmt: skip
MINIMIZE_ALONE: dict[str, tuple[dict[str, Any], str, str]] = {
    "short senses": ({"objectives": 3, "maximize": [True, False]}, "maximize", "got [True, False]"),
    "senses of one": ({"objectives": 1, "maximize": [True]}, "maximize", "one objective"),
    "numbers as senses": ({"maximize": [1, 2]}, "maximize", "got [1, 2]"),
}
INTERFACES: dict[str, Callable[..., Any]] = {
    "minimize": lambda **words: evoopt.minimize(never, budget=10, **words),
    "AskTell": evoopt.AskTell,
}


def never(x: np.ndarray) -> float:
    raise AssertionError("it was evaluated")


def refused_in_one_line(owner: str, case: tuple[dict[str, Any], str, str]) -> None:
    words, argument, says = case
    with pytest.raises(evoopt.ConfigurationError) as raised:
        INTERFACES[owner](**{**BASE, **words})
    said = str(raised.value)
    assert said.startswith(f"{owner}({argument}=...) must ")
    assert says in said
    assert "\n" not in said
    assert len(said) < 300


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("owner", INTERFACES)
def test_it_is_refused_before_anything_is_evaluated(owner: str, name: str) -> None:
    refused_in_one_line(owner, REFUSED[name])


@pytest.mark.parametrize("name", MINIMIZE_ALONE)
def test_senses_that_fit_no_objectives_are_refused(name: str) -> None:
    refused_in_one_line("minimize", MINIMIZE_ALONE[name])


@pytest.mark.parametrize("algorithm", [name for name in STRATEGIES if not is_for(name, 2)])
def test_a_method_of_one_objective_names_those_of_several(algorithm: str) -> None:
    with pytest.raises(evoopt.ConfigurationError) as raised:
        evoopt.minimize(never, bounds=BOX, algorithm=algorithm, objectives=2)
    named = set(re.split(r"[ ,;']+", str(raised.value)))
    assert {name for name in STRATEGIES if is_for(name, 2)} | {"auto", algorithm} <= named


@pytest.mark.parametrize("algorithm", [name for name in STRATEGIES if not is_for(name, 1)])
def test_a_method_of_several_objectives_names_those_of_one(algorithm: str) -> None:
    with pytest.raises(evoopt.ConfigurationError, match="with one objective") as raised:
        evoopt.minimize(never, bounds=BOX, algorithm=algorithm, objectives=1)
    named = set(re.split(r"[ ,;']+", str(raised.value)))
    assert {name for name in STRATEGIES if is_for(name, 1)} | {"auto", algorithm} <= named


@pytest.mark.parametrize("algorithm", [name for name in STRATEGIES if not is_for(name, 2)])
def test_a_method_of_one_objective_is_told_what_the_function_returns(algorithm: str) -> None:
    with pytest.raises(evoopt.ObjectiveError, match=r"say objectives=2$"):
        evoopt.minimize(lambda x: (1.0, 2.0), bounds=([-5.0] * 3, [5.0] * 3), algorithm=algorithm)


def test_discrete_variables_are_for_few_methods_of_several_objectives() -> None:
    space = {"n": evoopt.Integer(0, 9), "u": evoopt.Float(0, 1)}
    several = [name for name in STRATEGIES if is_for(name, 2) and name != "random"]
    for algorithm in ("auto", *several):
        refusal = f"must be random where a variable is discrete .*; got '{algorithm}'$"
        with pytest.raises(evoopt.ConfigurationError, match=refusal):
            evoopt.minimize(never, space=space, algorithm=algorithm, objectives=2)
    r = evoopt.minimize(
        lambda p: (p["n"], p["u"] - p["n"]), space=space, algorithm="random", budget=20, seed=1
    )
    assert r.front_points is not None
    assert all(isinstance(point["n"], int) for point in r.front_points)


@pytest.mark.parametrize("n_obj", [0, -1, 1.5, "2", None])
def test_a_problem_has_a_whole_number_of_objectives(n_obj: Any) -> None:
    with pytest.raises(evoopt.ConfigurationError, match=r"^FunctionProblem\(n_obj=\.\.\.\)"):
        FunctionProblem(never, 2, *BOX, n_obj=n_obj)  # type: ignore[arg-type]  # what is refused


def test_scipy_knows_one_objective() -> None:
    from scipy.optimize import minimize

    method = evoopt.scipy_method("random")
    words: dict[str, Any] = {"bounds": [(-5, 5)] * 2, "method": method}
    with pytest.raises(evoopt.ConfigurationError, match=r"scipy_method\(fun=.* got '2 numbers'"):
        minimize(lambda x: [1.0, 2.0], [0.0, 0.0], **words)
    with pytest.raises(evoopt.ConfigurationError, match="objectives"):
        minimize(never, [0.0, 0.0], options={"objectives": 2}, **words)


def test_a_missing_package_is_named_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "moocore", None)
    with pytest.raises(evoopt.MissingDependencyError, match=r"\.\[hv\]"):
        evoopt.minimize(never, **BASE, objectives=3)

"""Which strategy takes which option: what the table says is done, the rest is refused in a line."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import evoopt
from evoopt.options import SHARED, check_options, markdown, own_options, table, takers, takes
from evoopt.plan import resolve
from evoopt.problem import FunctionProblem
from evoopt.settings import Settings
from evoopt.strategies import STRATEGIES, claims_of, strategy_class
from evoopt.strategies.base import Claims

LOWER, UPPER = np.full(3, -5.0), np.full(3, 5.0)
EARLIER = (np.linspace(-1, 1, 60).reshape(20, 3), np.arange(20.0))
CELLS = [(name, word) for name in STRATEGIES for word in SHARED]
OWN = [(name, option) for name in STRATEGIES for option in own_options(name)]


def f(x: np.ndarray) -> float:
    return float(((x - 0.5) ** 2).sum())


def both(x: np.ndarray) -> tuple[float, float]:
    return f(x), f(x + 1.0)


def fun_for(algorithm: str) -> Callable[[np.ndarray], Any]:
    """A function of as many objectives as the strategy takes at least."""
    return f if claims_of(algorithm).least_obj == 1 else both


def found(algorithm: str, **words: Any) -> evoopt.Result:
    given: dict[str, Any] = {"bounds": (LOWER, UPPER), "seed": 1, "budget": 40, **words}
    return evoopt.minimize(fun_for(algorithm), algorithm=algorithm, **given)


def in_popsize(name: str) -> None:
    generations = {n: found(name, popsize=n).generations for n in (8, 10)}
    assert generations[8] > generations[10]


def in_restarts(name: str) -> None:
    assert "IPOP" in found(name, restarts="ipop").algorithm


def in_bounds(name: str) -> None:
    def outside(x: np.ndarray) -> Any:  # the optimum lies outside
        assert ((x >= LOWER) & (x <= UPPER)).all()
        return float(x.sum()) if fun_for(name) is f else (float(x.sum()), float(x[0]))

    r = evoopt.minimize(outside, bounds=(LOWER, UPPER), algorithm=name, seed=1, budget=60)
    assert r.failures == {}


def in_inject(name: str) -> None:
    es = evoopt.AskTell(name, bounds=(LOWER, UPPER), seed=1)
    es.ask()
    one = fun_for(name) is f
    es.tell([[0.5, 0.5, 0.5]], [-1.0] if one else [[-1.0, -1.0]])
    assert np.all(es.result.f == -1.0)


def in_warm_start(name: str) -> None:
    X, F = EARLIER
    r = found(name, warm_start=(X, F if fun_for(name) is f else np.stack([F, -F], axis=1)))
    assert any("from 20 evaluations" in note for note in r.notes)


def in_asynchronous(name: str) -> None:
    assert found(name, asynchronous=True).evaluations == 40


def in_integers(name: str) -> None:
    space = {"n": evoopt.Integer(0, 9), "u": evoopt.Float(0, 1)}
    r = evoopt.minimize(lambda p: p["n"] + p["u"], space=space, algorithm=name, seed=1, budget=40)
    assert isinstance(r.point["n"], int)  # type: ignore[index]  # there is one


def in_workers(name: str) -> None:
    n_obj = claims_of(name).least_obj
    problem = FunctionProblem(fun_for(name), 3, LOWER, UPPER, name="f", n_obj=n_obj)
    assert resolve(problem, Settings(name, seed=1, workers=2)).workers == 2


def in_objectives(name: str) -> None:
    r = evoopt.minimize(
        both, bounds=(LOWER, UPPER), algorithm=name, seed=1, budget=40, objectives=2
    )
    assert len(r.front_f) > 1


USES: dict[str, Callable[[str], None]] = {
    "popsize": in_popsize,
    "restarts": in_restarts,
    "bounds": in_bounds,
    "inject": in_inject,
    "warm_start": in_warm_start,
    "asynchronous": in_asynchronous,
    "integers": in_integers,
    "workers": in_workers,
    "objectives": in_objectives,
}


def test_every_column_of_the_table_is_tried() -> None:
    assert list(USES) == list(SHARED)


@pytest.mark.parametrize(("name", "word"), CELLS)
def test_a_cell_is_honoured_or_refused_in_one_line(name: str, word: str) -> None:
    if takes(name, word):
        USES[word](name)
        return
    with pytest.raises(evoopt.ConfigurationError) as raised:
        USES[word](name)
    said = str(raised.value)
    assert "\n" not in said
    assert name in said
    n_obj = 2 if word == "objectives" else claims_of(name).least_obj
    assert set(takers(word, n_obj)) <= set(re.split(r"[ ,;']+", said))  # the way out


@pytest.mark.parametrize("name", STRATEGIES)
def test_half_a_box_a_fixed_variable_and_unequal_steps_are_kept_to(name: str) -> None:
    lower, upper = np.array([0.0, -np.inf, 2.0, -np.inf]), np.array([np.inf, 1.0, 2.0, np.inf])
    seen = []

    def down(x: np.ndarray) -> Any:  # towards the bounds
        seen.append(x.copy())
        value = float(x[0] - x[1] + x[2] + (x[3] / 7) ** 2)
        return value if fun_for(name) is f else (value, float((x[3] / 7 - 1) ** 2))

    words: dict[str, Any] = {"sigma0": [0.5, 0.5, 1.0, 7.0], "seed": 1, "budget": 60}
    evoopt.minimize(down, [1.0, 0.0, 2.0, 3.0], bounds=(lower, upper), algorithm=name, **words)
    points = np.array(seen)
    assert ((points >= lower) & (points <= upper)).all()
    assert np.ptp(points[:, 3]) > np.ptp(points[:, 0])  # steps in their units


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_a_strategy_claims_to_take_its_default_takes(name: str) -> None:
    parameters = inspect.signature(strategy_class(name).default).parameters
    own = claims_of(name).options - SHARED.keys()
    assert own == own_options(name).keys()
    assert own <= parameters.keys()
    if "bounds" in claims_of(name).options:
        assert {"lower", "upper"} <= parameters.keys()
    if "warm_start" in claims_of(name).options and claims_of(name).least_obj == 1:
        assert "shape" in parameters


@pytest.mark.parametrize(("name", "option"), OWN)
def test_an_option_of_its_own_is_given_by_name(name: str, option: str) -> None:
    default = inspect.signature(strategy_class(name).default).parameters[option].default
    assert np.array_equal(found(name, options={option: default}).f, found(name).f)


@pytest.mark.parametrize(("name", "option"), OWN)
def test_an_option_of_the_wrong_type_is_refused(name: str, option: str) -> None:
    with pytest.raises(evoopt.ConfigurationError, match=rf"options=\.\.\.\).* {option} "):
        found(name, options={option: [1, 2]})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"activ": True}, "got 'activ'; did you mean 'active'?"),
        ({"mirrored": True}, "got 'mirrored'; it is for lm-ma-es, openai-es"),
        ({"zzz": 1}, "got 'zzz'; it takes active"),
        ({"popsize": 9}, "got 'popsize'; popsize is a word of its own, no option"),
        ({3: 1}, "got 3; it takes active"),
        ({"active": 1}, "must be given with active = true or false; got 1"),
        ([("active", True)], "must be a mapping from names to values"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: Any, says: str) -> None:
    with pytest.raises(evoopt.ConfigurationError) as raised:
        found("cma-es", options=options)
    assert says in str(raised.value)


class Made:
    """Stands for a strategy with an option of each type."""

    @staticmethod
    def default(
        dim: int,
        *,
        whole: int | None = None,
        real: float = 1.0,
        flag: bool = True,
        word: Literal["a", "b"] = "a",
        text: str = "",
    ) -> None: ...


@pytest.mark.parametrize(
    ("option", "given", "taken"),
    [
        ("whole", 3, 3),
        ("whole", 1e4, 10_000),
        ("whole", None, None),
        ("whole", 2.5, "a whole number"),
        ("whole", True, "a whole number"),
        ("real", 3, 3.0),
        ("real", np.float64(0.5), 0.5),
        ("real", float("nan"), "a finite number"),
        ("real", "3", "a finite number"),
        ("real", None, "a finite number"),
        ("flag", False, False),
        ("flag", "no", "true or false"),
        ("word", "b", "b"),
        ("word", "c", "one of a, b"),
        ("text", "x", "x"),
        ("text", 3, "text"),
    ],
)
def test_the_type_of_a_parameter_decides_what_an_option_may_be(
    monkeypatch: pytest.MonkeyPatch, option: str, given: Any, taken: Any
) -> None:
    claims = Claims(options=frozenset({"whole", "real", "flag", "word", "text"}))
    monkeypatch.setattr("evoopt.options.strategy_class", lambda name: Made)
    monkeypatch.setattr("evoopt.options.claims_of", lambda name: claims)
    if isinstance(taken, str) and taken != given:
        with pytest.raises(evoopt.ConfigurationError, match=f"with {option} = {taken}; got"):
            check_options("made", {option: given}, "minimize")
    else:
        clean = check_options("made", {option: given}, "minimize")[option]
        assert (clean, type(clean)) == (taken, type(taken))


def test_the_table_has_a_row_for_each_strategy_and_a_column_for_each_option() -> None:
    headings, rows = table()
    assert headings == ["algorithm", *SHARED, "options of its own"]
    assert [row[0] for row in rows] == list(STRATEGIES)
    for row in rows:
        assert len(row) == len(headings)
        assert set(row[1:-2]) <= {"yes", ""}
        assert row[-2] in {"", "1 or more", "2 or more", "2"}  # objectives
        assert all(option in row[-1] for option in own_options(row[0]))


def test_the_readme_shows_the_table() -> None:
    """To renew it: python -c "from evoopt.options import markdown; print(markdown())"."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    shown = text.split("<!-- options -->\n\n")[1].split("\n\n<!-- /options -->")[0]
    assert shown == markdown()
    for word, meaning in SHARED.items():
        assert f"`{word}`: {meaning}" in " ".join(text.split())

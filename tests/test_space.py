"""Laws of named parameters: what is evaluated is what is logged, and nothing leaves its range."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import evoopt
from evoopt.errors import ConfigurationError, StateError
from evoopt.grid import kinds_of
from evoopt.space import Categorical, Float, Integer, Space

UNIT = st.floats(0, 1)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@st.composite
def floats(draw):
    """Any parameter that `Float` takes."""
    log = draw(st.booleans())
    side = st.floats(1e-300 if log else -1e300, 1e300)
    low, high = sorted((draw(side), draw(side)))
    assume(0 < high - low < math.inf)
    step = draw(st.none() | st.floats(1e-3, 1).map(lambda part: part * (high - low)))
    assume(step is None or 0 < step <= high - low)
    assume(step is None or not log or high <= low * 1e300)
    return Float(low, high, log=log, step=step)


@st.composite
def integers(draw):
    """Any parameter that `Integer` takes, but for its size."""
    log = draw(st.booleans())
    side = st.integers(1 if log else -(10**9), 10**9)
    low, high = sorted((draw(side), draw(side)))
    assume(low < high)
    return Integer(low, high, log=log, step=draw(st.integers(1, high - low)))


@st.composite
def categoricals(draw):
    """Any parameter that `Categorical` takes, with choices such as JSON has."""
    key = lambda value: (type(value), value)  # noqa: E731
    return Categorical(draw(st.lists(VALUES, min_size=1, max_size=6, unique_by=key)))


PARAMETERS = floats() | integers() | categoricals()


@given(PARAMETERS, UNIT)
def test_a_decoded_value_survives_the_way_back(parameter, t):
    value = parameter.decode(t)
    again = parameter.decode(parameter.encode(value))
    assert again == value
    assert type(again) is type(value)


@given(floats() | integers(), st.floats(-1e300, 1e300))
def test_decoded_values_stay_between_low_and_high_even_for_points_outside(parameter, t):
    assert parameter.low <= parameter.decode(t) <= parameter.high


@given(floats() | integers(), UNIT, UNIT)
def test_decoding_keeps_the_order(parameter, t, u):
    low, high = (parameter.decode(c) for c in sorted((t, u)))
    assert low <= high or math.isclose(low, high, rel_tol=1e-14)  # rounding of pow


@given(PARAMETERS, UNIT)
def test_coordinates_lie_in_the_unit_interval(parameter, t):
    assert 0 <= parameter.encode(parameter.decode(t)) <= 1


@given(floats() | integers())
def test_the_ends_of_the_unit_interval_are_the_ends_of_the_range(parameter):
    assert parameter.encode(parameter.low) == 0
    assert parameter.decode(0.0) == parameter.low
    step = parameter.step
    if step is None or step == 1:
        assert parameter.decode(1.0) == parameter.high


@given(st.lists(floats() | integers(), min_size=1, max_size=4), st.data())
def test_what_lies_on_the_grid_of_a_space_decodes_to_the_value_of_its_cell(parameters, data):
    space = Space({str(i): p for i, p in enumerate(parameters)})
    x = np.array([data.draw(UNIT) for _ in parameters])
    on_grid = space.grid.nearest(x[None])[0]
    assert (space.lower <= on_grid).all()
    assert (space.upper >= on_grid).all()
    again = space.encode(space.point(on_grid))
    # a value of a fine grid may be its neighbour's by rounding, never farther off
    coarse = [p.levels is not None and p.levels.high < 1e6 for p in parameters]
    np.testing.assert_allclose(again[coarse], on_grid[coarse], rtol=1e-9, atol=1e-12)


def test_a_log_parameter_is_linear_in_the_logarithm():
    rate = Float(1e-6, 1e2, log=True)
    exponents = [math.log10(rate.decode(t)) for t in (0, 0.25, 0.5, 0.75, 1)]
    np.testing.assert_allclose(exponents, [-6, -4, -2, 0, 2], atol=1e-14)  # rounding of pow
    batch = Integer(1, 1024, log=True)
    assert [batch.decode(t) for t in (0, 0.1, 0.5, 0.9, 1)] == [1, 2, 32, 512, 1024]


def test_a_step_rounds_to_the_nearest_point_of_the_grid_from_low():
    parameter = Float(1, 2, step=0.3)  # 1, 1.3, 1.6, 1.9
    values = {parameter.decode(t) for t in np.linspace(0, 1, 101)}
    assert values == {1 + 0 * 0.3, 1 + 1 * 0.3, 1 + 2 * 0.3, 1 + 3 * 0.3}
    assert parameter.decode(0.14) == 1
    assert parameter.decode(0.16) == 1.3
    assert {Integer(0, 10, step=4).decode(t) for t in np.linspace(0, 1, 101)} == {0, 4, 8}


def test_high_is_on_the_grid_where_the_step_divides_the_range_up_to_rounding():
    assert Float(0, 0.3, step=0.1).decode(1.0) == 0.3  # 0.3 / 0.1 is below 3


def test_true_one_and_one_point_zero_are_three_choices():
    parameter = Categorical([True, 1, 1.0, None])
    again = [parameter.decode(parameter.encode(value)) for value in (True, 1, 1.0, None)]
    assert list(map(repr, again)) == ["True", "1", "1.0", "None"]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Float, {"low": 1, "high": 1}, "low=...) must be < high"),
        (Float, {"low": 2, "high": 1}, "low=...) must be < high"),
        (Float, {"low": -1e308, "high": 1e308}, "difference finite"),
        (Float, {"low": math.nan, "high": 1}, "low=...) must be a finite number; got nan"),
        (Float, {"low": 0, "high": math.inf}, "high=...) must be a finite number; got inf"),
        (Float, {"low": "0", "high": 1}, "low=...) must be a finite number; got '0' (str)"),
        (Float, {"low": 0, "high": True}, "high=...) must be a finite number; got True (bool)"),
        (Float, {"low": 0, "high": 1, "log": True}, "log=True) must be > 0; got 0"),
        (Float, {"low": 1, "high": 2, "log": 1}, "log=...) must be true or false; got 1"),
        (Float, {"low": 0, "high": 1, "step": 0}, "step=...) must be > 0"),
        (Float, {"low": 0, "high": 1, "step": 2}, "<= high - low; got 2"),
        (Float, {"low": 0, "high": 1, "step": 10**400}, "step=...) must be a finite number"),
        (Float, {"low": 0, "high": 1, "step": 1e-300}, "at most 2**50 values"),
        (Float, {"low": 1e-200, "high": 1e200, "step": 1, "log": True}, "of at most 1e300; got"),
        (Integer, {"low": 1, "high": 1}, "low=...) must be < high"),
        (Integer, {"low": 1.5, "high": 3}, "low=...) must be a whole number; got 1.5 (float)"),
        (Integer, {"low": 0, "high": None}, "high=...) must be a whole number; got None"),
        (Integer, {"low": 0, "high": 8, "log": True}, "log=True) must be > 0; got 0"),
        (Integer, {"low": 1, "high": 8, "step": 0}, "step=...) must be > 0"),
        (Integer, {"low": 1, "high": 8, "step": 9}, "<= high - low; got 9"),
        (Integer, {"low": 0, "high": 10**20}, "at most 2**50 values"),
        (Categorical, {"choices": []}, "must hold a value; got none"),
        (Categorical, {"choices": ["a", "b", "a"]}, "must differ from one another; got 'a' twice"),
        (Categorical, {"choices": "abc"}, "must be a list of values; got 'abc'"),
        (Categorical, {"choices": 3}, "must be a list of values; got 3"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_in_one_line(kind, arguments, message):
    with pytest.raises(ConfigurationError) as refusal:
        kind(**arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


SPACE = Space(
    {
        "rate": Float(1e-4, 1, log=True),
        "decay": Float(0, 1),
        "width": Float(1, 8, step=1),
        "layers": Integer(1, 5),
        "act": ["relu", "gelu", None],
    }
)
POINT = {"rate": 0.1, "decay": 0.1, "width": 1, "layers": 2, "act": "gelu"}


@given(st.tuples(UNIT, UNIT, UNIT, UNIT, UNIT))
def test_a_decoded_point_survives_the_way_back(x):
    (point,) = SPACE.decode(np.array([x]))
    assert SPACE.decode(SPACE.encode(point)[None]) == [point]


def test_the_order_of_the_mapping_is_the_order_of_the_vector():
    assert SPACE.dim == 5
    assert SPACE.names == ("rate", "decay", "width", "layers", "act")
    assert SPACE.lower.tolist() == [0] * 5
    assert SPACE.upper.tolist() == [1] * 5
    first = {"rate": 1e-4, "decay": 0.0, "width": 1.0, "layers": 1, "act": "relu"}
    last = {"rate": 1.0, "decay": 1.0, "width": 8.0, "layers": 5, "act": None}
    expected = [{**first, name: last[name]} for name in SPACE.names]
    assert SPACE.decode(np.eye(5)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": 1}, "got rate, decay, width, layers, act, x"),
        ({"rate": 2}, "rate: Float.encode(value=...) must be in [0.0001, 1]; got 2"),
        ({"rate": math.nan}, "must be a finite number; got nan"),
        ({"layers": 1.5}, "layers: Integer.encode(value=...) must be a whole number; got 1.5"),
        ({"layers": 6}, "must be in [1, 5]; got 6"),
        ({"act": "rule"}, "act: Categorical.encode(value=...) must be one of 'relu', 'gelu', None"),
    ],
)
def test_a_point_of_another_space_is_refused(change, message):
    with pytest.raises(ConfigurationError, match="encode") as refusal:
        SPACE.encode({**POINT, **change})
    assert message in str(refusal.value)


def test_a_misspelt_parameter_is_refused_with_a_suggestion():
    wrong = {name.replace("layers", "layer"): value for name, value in POINT.items()}
    with pytest.raises(ConfigurationError, match="did you mean 'layers'"):
        SPACE.encode(wrong)
    with pytest.raises(ConfigurationError, match=r"must name .*; got \[1\]"):
        SPACE.encode([1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "must name a parameter; got none"),
        ([1], "must name a parameter; got [1]"),
        ({"a": (0, 1)}, "got a: (0, 1); a range is Float(low, high) or Integer(low, high)"),
        ({"a": 3}, "a list of choices; got a: 3"),
        ({"a": []}, "a: Categorical(choices=...) must hold a value"),
        ({3: Float(0, 1)}, "must have names that are text; got 3"),
    ],
)
def test_a_space_that_cannot_be_is_refused_in_one_line(parameters, message):
    with pytest.raises(ConfigurationError, match="Space") as refusal:
        Space(parameters)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_function_of_a_space_sees_the_decoded_dict():
    seen = []
    problem = SPACE.problem(lambda point: seen.append(point) or point["width"], name="net")
    X = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [0.4, 0.5, 0.6, 0.7, 1]])
    assert problem.evaluate(X).F.tolist() == [point["width"] for point in seen]
    assert seen == SPACE.decode(X)
    assert (problem.name, problem.dim, problem.takes_seed) == ("net", 5, False)


def test_the_function_of_a_space_gets_its_seed_and_may_be_maximised():
    problem = SPACE.problem(lambda point, seed: point["decay"] + seed, maximize=True)
    assert problem.evaluate(np.full((2, 5), 0.5), [10, 20]).F.tolist() == [-10.5, -20.5]


def test_a_function_of_many_points_sees_a_list_of_dicts():
    problem = SPACE.problem(lambda points: [p["layers"] for p in points], vectorized=True)
    assert problem.evaluate(np.array([[0] * 5, [1] * 5])).F.tolist() == [1, 5]


def test_a_function_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigurationError, match="must be callable; got 3"):
        SPACE.problem(3)


def test_a_problem_says_which_of_its_variables_are_discrete():
    kinds = kinds_of(SPACE.problem(len))
    assert kinds.grid.where.tolist() == [False, False, True, True, False]
    assert kinds.grid.high.tolist() == [7, 4]
    assert kinds.choices.tolist() == [0, 0, 0, 0, 3]


# searching a space


def wanted(point):
    """0 at rate 0.01, width 3, layers 4, act gelu."""
    off = abs(math.log10(point["rate"]) + 2) + abs(point["decay"] - 0.5)
    return off + abs(point["width"] - 3) + abs(point["layers"] - 4) + (point["act"] != "gelu")


@pytest.mark.parametrize("algorithm", ["auto", "cma-es", "ma-es"])
def test_minimize_finds_the_best_point_of_a_space(algorithm):
    result = evoopt.minimize(
        wanted, space=SPACE, algorithm=algorithm, budget=2000, target=1e-3, seed=3
    )
    assert result.reason.criterion == "ftarget"
    assert result.point == SPACE.point(result.x)
    named = {name: result.point[name] for name in ("width", "layers", "act")}
    assert named == {"width": 3.0, "layers": 4, "act": "gelu"}
    assert "layers=4" in str(result)
    assert wanted(result.point) == result.f


def test_random_search_tries_all_cells_of_a_space_alike():
    """4 of the 8 values of width cover half: 1000 draws leave 0.43 to 0.57 by chance 1e-5."""
    seen = []
    evoopt.minimize(
        lambda p: seen.append(p) or 0.0, space=SPACE, algorithm="random", budget=1000, seed=1
    )
    assert abs(np.mean([p["width"] in (1, 2, 7, 8) for p in seen]) - 0.5) < 0.07
    assert abs(np.mean([p["layers"] in (1, 5) for p in seen]) - 0.4) < 0.07
    assert abs(np.mean([p["act"] is None for p in seen]) - 1 / 3) < 0.07


def test_a_search_starts_at_a_given_point_and_may_be_resumed(tmp_path):
    words = {"space": dict(SPACE.parameters), "budget": 60, "seed": 5}
    first = evoopt.minimize(wanted, POINT, run_dir=tmp_path / "run", **words)
    again = evoopt.minimize(wanted, POINT, run_dir=tmp_path / "run", **words)
    assert again.point == first.point
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["problem"]["space"] == SPACE.plain()
    other = {**SPACE.parameters, "layers": Integer(1, 6)}
    with pytest.raises(StateError, match=r"run \(space: layers: high=6, there 5\); give"):
        evoopt.minimize(wanted, POINT, run_dir=tmp_path / "run", **{**words, "space": other})


def test_an_earlier_search_of_the_space_starts_the_next_one():
    first = evoopt.minimize(wanted, space=SPACE, budget=200, seed=1)
    points = [{**first.point, "decay": d, "layers": n} for d in (0.4, 0.5, 0.6) for n in (3, 4)]
    told = (points, [wanted(p) for p in points])
    result = evoopt.minimize(wanted, space=SPACE, budget=100, seed=2, warm_start=told)
    assert result.f < first.f + 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bounds": (0, 1)}, "minimize(bounds=...) must be left out with space"),
        ({"x0": [1, 2]}, "minimize(x0=...) must be a dict of parameters with space"),
        ({"algorithm": "canonical-es"}, "minimize(algorithm=...) must be one of auto, cma-es"),
    ],
)
def test_words_that_a_space_does_not_go_with_are_refused(words, message):
    with pytest.raises(ConfigurationError) as refusal:
        evoopt.minimize(wanted, space=SPACE, budget=10, **words)
    assert message in str(refusal.value)

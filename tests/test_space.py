"""Laws of named parameters: what is evaluated is what is logged, and nothing leaves its range."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evoopt.errors import ConfigurationError
from evoopt.problem import FunctionProblem
from evoopt.space import Float, Space

UNIT = st.floats(0, 1)


@st.composite
def floats(draw):
    """Any parameter that `Float` takes."""
    log = draw(st.booleans())
    side = st.floats(1e-300 if log else -1e300, 1e300)
    low, high = sorted((draw(side), draw(side)))
    assume(0 < high - low < math.inf)
    step = draw(st.none() | st.floats(1e-3, 1).map(lambda part: part * (high - low)))
    assume(step is None or 0 < step <= high - low)
    return Float(low, high, log=log, step=step)


@given(floats(), UNIT)
def test_a_decoded_value_survives_the_way_back(parameter, u):
    value = parameter.decode(np.array([u]))
    assert parameter.decode(parameter.encode(value)) == value


@given(floats(), st.floats(-1e300, 1e300))
def test_decoded_values_stay_between_low_and_high_even_for_points_outside(parameter, u):
    assert parameter.low <= parameter.decode(np.array([u])) <= parameter.high


@given(floats(), UNIT, UNIT)
def test_decoding_keeps_the_order(parameter, u, v):
    low, high = (parameter.decode(np.array([t])) for t in sorted((u, v)))
    assert low <= high or math.isclose(low, high, rel_tol=1e-14)  # rounding of pow


@given(floats())
def test_coordinates_lie_in_the_unit_interval_and_the_ends_are_the_ends(parameter):
    assert parameter.encode(parameter.low) == 0
    assert parameter.encode(parameter.high) <= 1
    assert parameter.decode(np.array([0.0])) == parameter.low
    if parameter.step is None:
        assert parameter.decode(np.array([1.0])) == parameter.high


def test_a_log_parameter_is_linear_in_the_logarithm():
    rate = Float(1e-6, 1e2, log=True)
    exponents = [math.log10(rate.decode(np.array([u]))) for u in (0, 0.25, 0.5, 0.75, 1)]
    np.testing.assert_allclose(exponents, [-6, -4, -2, 0, 2], atol=1e-14)  # rounding of pow


def test_a_step_rounds_to_the_nearest_point_of_the_grid_from_low():
    parameter = Float(1, 2, step=0.3)  # 1, 1.3, 1.6, 1.9
    values = {parameter.decode(np.array([u])) for u in np.linspace(0, 1, 101)}
    assert values == {1 + 0 * 0.3, 1 + 1 * 0.3, 1 + 2 * 0.3, 1 + 3 * 0.3}
    assert parameter.decode(np.array([0.14])) == 1
    assert parameter.decode(np.array([0.16])) == 1.3


def test_high_is_on_the_grid_where_the_step_divides_the_range_up_to_rounding():
    assert Float(0, 0.3, step=0.1).decode(np.array([1.0])) == 0.3  # 0.3 / 0.1 is below 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1, "high": 1}, "low=...) must be < high"),
        ({"low": 2, "high": 1}, "low=...) must be < high"),
        ({"low": -1e308, "high": 1e308}, "difference finite"),
        ({"low": math.nan, "high": 1}, "low=...) must be a finite number; got nan"),
        ({"low": 0, "high": math.inf}, "high=...) must be a finite number; got inf"),
        ({"low": "0", "high": 1}, "low=...) must be a finite number; got '0' (str)"),
        ({"low": 0, "high": 1, "log": True}, "log=True) must be > 0; got 0"),
        ({"low": 0, "high": 1, "step": 0}, "step=...) must be > 0"),
        ({"low": 0, "high": 1, "step": 2}, "<= high - low; got 2"),
        ({"low": 0, "high": 1, "step": 10**400}, "step=...) must be a finite number"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigurationError) as refusal:
        Float(**arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


SPACE = Space(
    {"rate": Float(1e-4, 1, log=True), "decay": Float(0, 1), "width": Float(1, 8, step=1)}
)


@given(st.tuples(UNIT, UNIT, UNIT))
def test_a_decoded_point_survives_the_way_back(x):
    (point,) = SPACE.decode(np.array([x]))
    assert SPACE.decode(SPACE.encode(point)[None]) == [point]


def test_the_order_of_the_mapping_is_the_order_of_the_vector():
    assert SPACE.dim == 3
    assert SPACE.names == ("rate", "decay", "width")
    assert SPACE.lower.tolist() == [0, 0, 0]
    assert SPACE.upper.tolist() == [1, 1, 1]
    assert SPACE.decode(np.eye(3)) == [
        {"rate": 1.0, "decay": 0.0, "width": 1.0},
        {"rate": 1e-4, "decay": 1.0, "width": 1.0},
        {"rate": 1e-4, "decay": 0.0, "width": 8.0},
    ]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"rate": 0.1, "decay": 0.1}, "must name rate, decay, width; got rate, decay"),
        ({"rate": 0.1, "decay": 0.1, "width": 1, "x": 1}, "got rate, decay, width, x"),
        ({}, "got nothing"),
        ({"rate": 2, "decay": 0.1, "width": 1}, "must be in [0.0001, 1]; got 2"),
        ({"rate": math.nan, "decay": 0.1, "width": 1}, "must be a finite number; got nan"),
    ],
)
def test_a_point_of_another_space_is_refused(point, message):
    with pytest.raises(ConfigurationError, match="encode") as refusal:
        SPACE.encode(point)
    assert message in str(refusal.value)


def test_a_space_without_parameters_is_refused():
    with pytest.raises(ConfigurationError, match="must name a parameter"):
        Space({})


def test_the_function_of_a_space_sees_the_decoded_dict():
    seen = []
    problem = SPACE.problem(lambda point: seen.append(point) or point["width"], name="net")
    X = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    assert problem.evaluate(X).F.tolist() == [point["width"] for point in seen]
    assert seen == SPACE.decode(X)
    assert (problem.name, problem.dim, problem.takes_seed) == ("net", 3, False)


def test_the_function_of_a_space_gets_its_seed_and_may_be_maximised():
    problem = SPACE.problem(lambda point, seed: point["decay"] + seed, maximize=True)
    assert isinstance(problem, FunctionProblem)
    assert problem.evaluate(np.full((2, 3), 0.5), [10, 20]).F.tolist() == [-10.5, -20.5]


def test_a_function_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigurationError, match="must be callable; got 3"):
        SPACE.problem(3)

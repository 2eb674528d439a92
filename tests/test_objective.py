"""What a user's function may return or do, value by value, and how it is found by its name."""

import math
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt.objective import load_function, takes_seed
from evoopt.problem import FunctionProblem
from evoopt.result import INTERRUPTED, INVALID, NAN, NEGINF, POSINF, RAISED

DIM = 3
X = np.arange(12.0).reshape(4, DIM)


def problem(fun, **options):
    return FunctionProblem(fun, DIM, np.full(DIM, -np.inf), np.full(DIM, np.inf), **options)


def returning(value, **options):
    """A problem that returns `value` at row 2 and the sum of x elsewhere."""
    return problem(lambda x: value if x[0] == 6 else float(x.sum()), **options)


GOOD = {
    "float": (2.5, 2.5),
    "int": (3, 3.0),
    "flat": (0, 0.0),
    "bool": (True, 1.0),
    "numpy bool": (np.bool_(True), 1.0),
    "float32": (np.float32(0.5), 0.5),
    "float64": (np.float64(0.5), 0.5),
    "longdouble": (np.longdouble("0.5"), 0.5),
    "int64": (np.int64(-7), -7.0),
    "array of shape ()": (np.array(1.5), 1.5),
    "array of shape (1,)": (np.array([1.5]), 1.5),
    "array of one object": (np.array([Fraction(1, 4)]), 0.25),
    "list of one number": ([1.5], 1.5),
    "Fraction": (Fraction(1, 8), 0.125),
    "Decimal": (Decimal("0.25"), 0.25),
    "complex without imaginary part": (2 + 0j, 2.0),
    "complex64 without imaginary part": (np.complex64(2), 2.0),
    "huge": (1e308, 1e308),
    "1e160": (1e160, 1e160),
    "tiny": (1e-320, 1e-320),
    "large int": (2**70, float(2**70)),
}


@pytest.mark.parametrize(("value", "expected"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("maximize", [False, True])
def test_a_real_number_of_any_type_is_taken_as_float64(value, expected, maximize):
    values = returning(value, maximize=maximize).evaluate(X)
    assert values.F.dtype == np.float64
    assert not values.failures
    sign = -1 if maximize else 1
    assert values.F.tolist() == [sign * f for f in (3.0, 12.0, expected, 30.0)]


FAILED = {
    "NaN": (math.nan, NAN),
    "float32 NaN": (np.float32("nan"), NAN),
    "Decimal NaN": (Decimal("nan"), NAN),
    "+inf": (math.inf, POSINF),
    "10**400": (10**400, POSINF),
    "Fraction out of range": (Fraction(10**400), POSINF),
    "Decimal out of range": (Decimal("1e400"), POSINF),
    "longdouble out of range": (np.longdouble("1e400"), POSINF),
    "-inf": (-math.inf, NEGINF),
    "-10**400": (-(10**400), NEGINF),
}
SWAPPED = {NAN: NAN, POSINF: NEGINF, NEGINF: POSINF}


@pytest.mark.parametrize(("value", "kind"), FAILED.values(), ids=FAILED)
@pytest.mark.parametrize("maximize", [False, True])
def test_what_is_not_finite_is_a_failure_of_its_row_alone(value, kind, maximize):
    values = returning(value, maximize=maximize).evaluate(X)
    assert list(values.failures) == [2]
    assert values.failures[2].kind == (SWAPPED[kind] if maximize else kind)
    np.testing.assert_array_equal(np.abs(values.F), [3, 12, np.nan, 30])


class Stubborn:
    def __float__(self):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


INVALID_VALUES = {
    "None": (None, "got None at"),
    "numeric text": ("0.25", "got '0.25' (str)"),
    "digit": ("3", "got '3' (str)"),
    "text": ("abc", "got 'abc' (str)"),
    "bytes": (b"1", "got b'1' (bytes)"),
    "bytearray": (bytearray(b"1"), "(bytearray)"),
    "array of shape (2,)": (np.ones(2), "got an array of shape (2,) and type float64"),
    "array of shape (1, 1)": (np.ones((1, 1)), "shape (1, 1)"),
    "array of text": (np.array(["1"]), "got '1' (str)"),
    "array of None": (np.array([None]), "got None at"),
    "list of two": ([1.0, 2.0], "got [1.0, 2.0] (list)"),
    "ragged list": ([[1], [1, 2]], "(list)"),
    "empty list": ([], "got [] (list)"),
    "complex": (1 + 1j, "got (1+1j) (complex)"),
    "complex64": (np.complex64(1j), "(complex64)"),
    "dict": ({"f": 1.0}, "(dict)"),
    "object": (Stubborn(), "(Stubborn)"),
    "long text": ("a\n" * 10_000, "(str)"),
}


@pytest.mark.parametrize(("value", "got"), INVALID_VALUES.values(), ids=INVALID_VALUES)
def test_what_is_no_real_number_is_invalid_and_the_message_names_it_and_x(value, got):
    values = returning(value).evaluate(X)
    assert {row: failure.kind for row, failure in values.failures.items()} == {2: INVALID}
    message = values.failures[2].message
    assert got in message
    assert message.startswith("the objective must return one real number, such as float(value)")
    assert " at x = [6 7 8]" in message
    assert "\n" not in message
    assert len(message) < 500
    np.testing.assert_array_equal(values.F, [3, 12, np.nan, 30])


class BrokenText(Exception):
    def __str__(self):
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ZeroDivisionError("division by\nzero"), "ZeroDivisionError: division by zero (test_"),
        (SystemExit(3), "SystemExit: 3 (test_objective.py:"),
        (BrokenText(), "BrokenText: (test_objective.py:"),
        (GeneratorExit(), "GeneratorExit: (test_objective.py:"),
        (MemoryError(), "MemoryError: (test_objective.py:"),
    ],
)
@pytest.mark.parametrize("vectorized", [False, True])
def test_an_exception_is_a_failure_that_says_what_and_where(error, says, vectorized):
    def fun(x):
        if np.any(x == 6):
            raise error
        return float(x.sum())

    values = problem(fun, vectorized=vectorized).evaluate(X)
    assert list(values.failures) == ([0, 1, 2, 3] if vectorized else [2])
    assert values.failures[2].kind == RAISED
    assert values.failures[2].message.startswith(says)


def test_an_error_in_the_call_itself_names_no_place_of_this_package():
    message = problem(lambda: 1.0).evaluate(X).failures[0].message
    assert message.startswith("TypeError:")
    assert "objective.py" not in message


def test_ctrl_c_interrupts_its_row_and_the_rest_and_keeps_what_is_finished():
    def fun(x):
        if x[0] == 6:
            raise KeyboardInterrupt
        return float(x.sum())

    values = problem(fun).evaluate(X)
    assert {row: failure.kind for row, failure in values.failures.items()} == {
        2: INTERRUPTED,
        3: INTERRUPTED,
    }
    np.testing.assert_array_equal(values.F, [3, 12, np.nan, np.nan])


@pytest.mark.parametrize("vectorized", [False, True])
def test_an_objective_that_writes_into_x_changes_nothing_but_its_copy(vectorized):
    def fun(x):
        x *= 2
        return x.sum(axis=-1)

    points = X.copy()
    values = problem(fun, vectorized=vectorized).evaluate(points)
    np.testing.assert_array_equal(points, X)
    np.testing.assert_array_equal(values.F, 2 * X.sum(axis=1))


COLUMNS = {
    "(k,)": lambda X: X.sum(axis=1),
    "(k, 1)": lambda X: X.sum(axis=1, keepdims=True),
    "list": lambda X: [float(x.sum()) for x in X],
    "float32": lambda X: X.sum(axis=1).astype(np.float32),
    "integers": lambda X: X.sum(axis=1).astype(int),
    "complex": lambda X: X.sum(axis=1) + 0j,
    "fractions": lambda X: [Fraction(x.sum()) for x in X],
    "read-only": lambda X: np.broadcast_to(X.sum(axis=1), (1, len(X)))[0],
}


@pytest.mark.parametrize("fun", COLUMNS.values(), ids=COLUMNS)
def test_a_vectorized_objective_gives_the_values_of_the_row_by_row_one(fun):
    values = problem(fun, vectorized=True).evaluate(X)
    assert not values.failures
    np.testing.assert_array_equal(values.F, X.sum(axis=1))


WRONG_COLUMNS = {
    "too few": (np.ones(3), "shape (3,)"),
    "transposed": (np.ones((1, 4)), "shape (1, 4)"),
    "a number": (1.0, "got 1.0 (float)"),
    "None": (None, "got None"),
    "text": (["a", "b", "c", "d"], "(str)"),
    "ragged": ([[1], [1, 2]], "(list)"),
}


@pytest.mark.parametrize(("returned", "got"), WRONG_COLUMNS.values(), ids=WRONG_COLUMNS)
def test_a_vectorized_objective_of_the_wrong_shape_is_invalid_for_the_whole_batch(returned, got):
    values = problem(lambda X: returned, vectorized=True).evaluate(X)
    assert [values.failures[row].kind for row in range(4)] == [INVALID] * 4
    assert got in values.failures[0].message
    assert "one real number per row" in values.failures[0].message
    assert np.isnan(values.F).all()


def test_one_bad_value_of_a_vectorized_objective_fails_its_row_alone():
    returned = [1.0, None, 10**400, math.nan]
    values = problem(lambda X: returned, vectorized=True).evaluate(X)
    kinds = {row: failure.kind for row, failure in values.failures.items()}
    assert kinds == {1: INVALID, 2: POSINF, 3: NAN}
    assert values.F[0] == 1.0


def test_a_vectorized_objective_is_not_called_for_no_rows():
    assert problem(lambda X: 1 / 0, vectorized=True).evaluate(X[:0]).F.shape == (0,)


@pytest.mark.parametrize(
    ("fun", "expected"),
    [
        (lambda x: 0, False),
        (lambda x, seed: 0, True),
        (lambda x, seed=None: 0, False),
        (lambda x, *, seed: 0, True),
        (lambda x, *, seed=None: 0, True),
        (lambda seed: 0, False),
        (lambda x, /, **options: 0, False),
        (max, False),
    ],
)
def test_a_function_takes_a_seed_where_its_signature_asks_for_one(fun, expected):
    assert takes_seed(fun) is expected


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder of its own; sys.path and sys.modules are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_is_found_in_a_module_or_a_file_beside_what_it_imports(folder):
    (folder / "ev_helper.py").write_text("two = 2.0\n")
    (folder / "ev_target.py").write_text(
        "from __future__ import annotations\nimport dataclasses\nfrom ev_helper import two\n"
        "@dataclasses.dataclass\nclass F:\n    a: float\n\n"
        "    @staticmethod\n    def s(x):\n        return x + two\n\n"
        "def f(x):\n    return x * two\n"
    )
    assert load_function("ev_target:f")(3) == 6
    assert load_function("ev_target.py:f")(3) == 6
    assert load_function(f"{folder}/ev_target.py:F.s")(3) == 5


def test_a_file_named_like_a_module_does_not_take_its_place(folder):
    (folder / "math.py").write_text("def f(x):\n    return x\n")
    assert load_function("math.py:f")(3) == 3
    assert sys.modules["math"] is math


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [
        ("ev_nowhere:f", "", "there is no module 'ev_nowhere'"),
        ("ev_nowhere.inner:f", "", "there is no module 'ev_nowhere'"),
        ("nowhere.py:f", "", "there is no file nowhere.py"),
        ("ev_bad.py:g", "f = 1", "ev_bad.py has no attribute 'g'"),
        ("ev_bad:f.g", "f = 1", "ev_bad has no attribute 'f.g'"),
        ("ev_bad.py:f", "f = 1", "f is not callable but 1 (int)"),
        ("ev_bad.py:f", "def f(:\n", "line 1: invalid syntax"),
        ("ev_bad:f", "def f(:\n", "line 1: invalid syntax"),
        ("ev_bad.py:f", "import ev_absent", "raised ModuleNotFoundError: No module named"),
        ("ev_bad.py:f", "1 / 0", "raised ZeroDivisionError: division by zero (ev_bad.py:1)"),
        ("ev_bad:f", "raise SystemExit(2)", "importing ev_bad raised SystemExit: 2"),
        ("ev_bad", "", "must read module:function or file.py:function"),
        (":f", "", "must read module:function"),
        ("ev_bad:", "", "must read module:function"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_refused_in_one_line(folder, target, source, message):
    (folder / "ev_bad.py").write_text(source)
    with pytest.raises(ConfigurationError) as refusal:
        load_function(target)
    assert message in str(refusal.value)
    assert f"load_function('{target}')" in str(refusal.value)
    assert "\n" not in str(refusal.value)

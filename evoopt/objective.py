"""The user's function: how it is found, called, and how what it returns is read.

What goes wrong in a call belongs to the rows of that call and is told as a `Failure` in one line;
nothing that a function does or returns gets past this module as an exception.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import os
import reprlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoopt.errors import ConfigurationError
from evoopt.result import INTERRUPTED, INVALID, RAISED, Failure

Array = NDArray[np.float64]
Function = Callable[..., Any]
Failures = dict[int, Failure]

_MESSAGE_LENGTH = 300  # a failure is one line of the log, whatever the exception says


def load_function(target: str) -> Function:
    """The function that `module:function` or `path/file.py:function` names.

    The current folder, or the folder of the file, is put on `sys.path`, so that what stands beside
    the function can be imported.

    Raises:
        ConfigurationError: there is no such module, file or function, or loading it raised.
    """
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise _unusable(target, "must read module:function or file.py:function")
    try:
        found: Any = _load_file(place) if place.endswith(".py") else _load_module(place)
    except FileNotFoundError:
        raise _unusable(target, f"there is no file {place}") from None
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise _unusable(target, f"syntax error in {where}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(f"{error.name}."):
            raise _unusable(target, f"there is no module '{error.name}'") from None
        raise _unusable(target, f"importing {place} raised {raised_text(error)}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _unusable(target, f"{place} has no attribute '{name}'") from None
    if not callable(found):
        raise _unusable(target, f"{name} is not callable but {described(found)}")
    return found  # type: ignore[no-any-return]  # a callable is all that can be known of it


def _load_module(name: str) -> ModuleType:
    _put_on_path(os.getcwd())
    return importlib.import_module(name)


def _load_file(place: str) -> ModuleType:
    """The module of a source file, run anew; it is known by its stem unless the name is taken."""
    path = Path(place).resolve(strict=True)
    _put_on_path(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a .py file always has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    owner = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses look their module up while it runs
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    finally:
        if owner is not None:
            sys.modules[path.stem] = owner
    return module


def _put_on_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _unusable(target: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"load_function('{target}'): {reason}")


def takes_seed(fun: Function) -> bool:
    """Whether `fun` asks for a seed: a parameter `seed` after the first one that has no default or
    can only be given by keyword."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):  # some built-in functions tell no signature
        return False
    return any(
        p.name == "seed"
        and (
            p.kind is p.KEYWORD_ONLY
            or (i > 0 and p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty)
        )
        for i, p in enumerate(parameters)
    )


def call_by_row(
    fun: Function, X: Array, seeds: Sequence[int] | None, n_obj: int = 1
) -> tuple[Array, Failures]:
    """F (k,), or (k, n_obj) of several objectives, and the failures of the rows of X (k, dim); what
    is infinite stays infinite."""
    F, one = np.full(values_shape(len(X), n_obj), math.nan), n_obj == 1
    failures: Failures = {}
    row = 0
    try:
        for row, x in enumerate(X.copy()):  # a copy: the objective may write into x
            try:
                value = fun(x) if seeds is None else fun(x, seed=seeds[row])
                kind = type(value)  # the two that nearly all objectives return need no more
                if one and (kind is float or kind is np.float64):
                    F[row] = value
                else:
                    F[row] = _real(value) if one else _reals(value, n_obj)
            except _NotReal as error:
                expected = f"{n_obj} real numbers"
                expected = "one real number, such as float(value)" if one else expected
                failures[row] = _invalid(expected, error, X[row])
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is the row's
                failures[row] = Failure(RAISED, raised_text(error))
    except KeyboardInterrupt:  # also one that comes between two rows
        F[row:] = math.nan
        failures |= dict.fromkeys(range(row, len(X)), Failure(INTERRUPTED, "KeyboardInterrupt"))
    return F, failures


def call_at_once(
    fun: Function, X: Array, seeds: Sequence[int] | None, n_obj: int = 1
) -> tuple[Array, Failures]:
    """As `call_by_row`, by one call; what goes wrong with the call goes wrong with all rows."""
    k = len(X)
    shape = values_shape(k, n_obj)
    if k == 0:
        return np.empty(shape), {}
    try:
        returned = fun(X.copy()) if seeds is None else fun(X.copy(), seed=seeds)
        return _table(returned, X, n_obj)
    except _NotReal as error:
        numbers = "one real number" if n_obj == 1 else f"{n_obj} real numbers"
        failure = _invalid(f"{numbers} per row, shape {shape}", error, X[0], rows=k)
    except KeyboardInterrupt:
        failure = Failure(INTERRUPTED, "KeyboardInterrupt")
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the batch's
        failure = Failure(RAISED, raised_text(error))
    return np.full(shape, np.nan), dict.fromkeys(range(k), failure)


def _table(returned: object, X: Array, n_obj: int) -> tuple[Array, Failures]:
    """What a vectorized objective returned as F (k,) or (k, n_obj), and the rows that are no real
    numbers."""
    shape = values_shape(len(X), n_obj)
    try:
        table = np.asarray(returned)
    except ValueError:  # rows of unequal lengths
        raise _NotReal(returned) from None
    if n_obj == 1 and table.shape == (len(X), 1):
        table = table[:, 0]
    if table.shape != shape:
        raise _NotReal(returned)
    if table.dtype.kind in "fiub":
        with np.errstate(over="ignore"):  # a long double may be too large: it is infinite then
            return table.astype(np.float64), {}
    F, failures = np.full(shape, np.nan), {}
    # numpy makes text of all entries of a list where one is text: look at what came itself
    rows: Any = table if isinstance(returned, np.ndarray) else returned
    for row, value in enumerate(rows):
        try:
            F[row] = _real(value) if n_obj == 1 else _reals(value, n_obj)
        except _NotReal as error:
            numbers = "one real number" if n_obj == 1 else f"{n_obj} real numbers"
            failures[row] = _invalid(f"{numbers} per row", error, X[row])
    return F, failures


def values_shape(k: int, n_obj: int) -> tuple[int, ...]:
    """The shape of F of k rows."""
    return (k,) if n_obj == 1 else (k, n_obj)


class _NotReal(Exception):
    """`args[0]` is what came instead of a real number, or of several."""


def _reals(value: Any, n_obj: int) -> list[float]:
    """n_obj real numbers: of a tuple, a list, or whatever numpy takes as (n_obj,). Raises:
    _NotReal."""
    if not isinstance(value, list | tuple) and hasattr(value, "__array__"):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        value = list(value) if value.ndim == 1 else value
    if not isinstance(value, list | tuple) or len(value) != n_obj:
        raise _NotReal(value)
    try:
        return [_real(part) for part in value]
    except _NotReal:
        raise _NotReal(value) from None


def _count(value: Any, rows: int | None) -> int:
    """How many real numbers `value` holds, per row where there are `rows`, if two or more; else
    0."""
    try:
        if rows is None:
            return len(_reals(value, len(value))) if len(value) > 1 else 0
        shape = np.shape(value)
    except (_NotReal, TypeError, ValueError):
        return 0
    return int(shape[1]) if len(shape) == 2 and shape[0] == rows and shape[1] > 1 else 0


def _real(value: Any) -> float:
    """One real number; infinite where it is out of the range of float64. Raises: _NotReal."""
    if isinstance(value, np.ndarray) and value.shape in ((), (1,)):
        value = value.item()
    elif isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, str | bytes | bytearray | np.ndarray | list | tuple):
        raise _NotReal(value)
    if isinstance(value, complex | np.complexfloating):
        if value.imag != 0:
            raise _NotReal(value)
        value = value.real
    try:
        return float(value)
    except OverflowError:  # an int or a Fraction out of range
        return math.inf if value > 0 else -math.inf
    except Exception:  # noqa: BLE001  # whatever its __float__ does, it is no real number
        raise _NotReal(value) from None


def _invalid(expected: str, error: _NotReal, x: Array, rows: int | None = None) -> Failure:
    """What came instead of numbers, and where. rows: in a call for as many."""
    got = f"{described(error.args[0])} at x = {point_text(x)}"
    numbers = _count(error.args[0], rows)
    way_out = f"; for {numbers} objectives say objectives={numbers}" if numbers else ""
    return Failure(INVALID, f"the objective must return {expected}; got {got}{way_out}", numbers)


def described(value: object) -> str:
    """A value of the wrong kind, in a few words of one line."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    return f"{one_line(reprlib.repr(value))} ({type(value).__name__})"


def point_text(x: Array, most: int = 8) -> str:
    """x: (dim,) as text, cut after `most` numbers."""
    return f"[{' '.join(f'{v:.6g}' for v in x[:most])}{' ...' if len(x) > most else ''}]"


def raised_text(error: BaseException) -> str:
    """One line: the type of an exception, what it says, and where it was raised."""
    try:
        says = str(error)
    except Exception:  # noqa: BLE001  # the exceptions of users may fail at this, too
        says = ""
    where, step = "", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file != __file__:  # the user's code, not the call of it
            where = f" ({os.path.basename(file)}:{step.tb_lineno})"
        step = step.tb_next
    return one_line(f"{type(error).__name__}: {says}") + where


def one_line(text: str) -> str:
    """The text without line breaks, cut to the length of a message."""
    return " ".join(text.split())[:_MESSAGE_LENGTH]

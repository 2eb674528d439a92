"""Black-box optimization by evolution strategies.

    >>> import evoopt
    >>> result = evoopt.minimize(lambda x: sum(x**2), x0=[1.0, 2.0], sigma0=0.5, seed=1)
    >>> bool(result.f < 1e-9)
    True

Each name below is loaded when it is first used, so that `import evoopt` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evoopt.api import minimize as minimize
    from evoopt.asktell import AskTell as AskTell
    from evoopt.errors import ConfigurationError as ConfigurationError
    from evoopt.errors import EvooptError as EvooptError
    from evoopt.errors import Interrupted as Interrupted
    from evoopt.errors import MissingDependencyError as MissingDependencyError
    from evoopt.errors import ObjectiveError as ObjectiveError
    from evoopt.errors import StateError as StateError
    from evoopt.evaluators.programs import Program as Program
    from evoopt.problem import FunctionProblem as FunctionProblem
    from evoopt.problem import Problem as Problem
    from evoopt.result import Failure as Failure
    from evoopt.result import Result as Result
    from evoopt.result import StopReason as StopReason
    from evoopt.result import Values as Values
    from evoopt.scipy_bridge import scipy_method as scipy_method
    from evoopt.space import Categorical as Categorical
    from evoopt.space import Float as Float
    from evoopt.space import Integer as Integer
    from evoopt.space import Space as Space

__version__ = "0.1.0"

_MODULES = {
    "evoopt.api": ("minimize",),
    "evoopt.asktell": ("AskTell",),
    "evoopt.errors": (
        "ConfigurationError",
        "EvooptError",
        "Interrupted",
        "MissingDependencyError",
        "ObjectiveError",
        "StateError",
    ),
    "evoopt.evaluators.programs": ("Program",),
    "evoopt.problem": ("FunctionProblem", "Problem"),
    "evoopt.result": ("Failure", "Result", "StopReason", "Values"),
    "evoopt.scipy_bridge": ("scipy_method",),
    "evoopt.space": ("Categorical", "Float", "Integer", "Space"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'evoopt' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

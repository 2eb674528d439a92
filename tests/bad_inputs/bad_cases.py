"""The matrix of bad inputs: a row for each case, how it is said, and what is good.

Good is: it works with the right answer, or it stops at once with one clear line that names the
argument, what was expected and what came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DIM, BUDGET, SEED = 5, 240, 1
LOWER, UPPER = [-5.0] * DIM, [5.0] * DIM
BASE = {"x0": [2.0] * DIM, "bounds": (LOWER, UPPER), "budget": BUDGET, "seed": SEED}
# the same for a command line; an entry of a case takes the place of the one of the same option
BASE_LINE = {
    "--x0": ["2,2,2,2,2"],
    "--bounds": ["-5", "5"],
    "--budget": [str(BUDGET)],
    "--seed": [str(SEED)],
}
NAN, INF = float("nan"), float("inf")

WORKS = "works"  # the optimum is found as well as by the budget can be expected
ENDS = "ends"  # a result, with the given reason
INVALID = "invalid"  # ObjectiveError, with the result up to there
INTERRUPTED = "interrupted"  # evoopt.Interrupted, with the result up to there


@dataclass(frozen=True)
class Returned:
    """A case of the objective.

    Attributes:
        name: in `bad_objectives`.
        good: one of the words above.
        f: WORKS: f (of the true sphere) is at most this.
        reasons: ENDS: the criteria one of which must be the reason.
        once: all evaluations but one succeed, and the result must count them.
        says: INVALID: what the line must contain.
        kind: which failure must have been counted; "" for none.
        isolated: the case needs worker processes.
        told: an ask/tell loop can meet it (what happens inside a call cannot be told).
    """

    name: str
    good: str = WORKS
    f: float = 0.5
    reasons: tuple[str, ...] = ()
    once: bool = False
    says: str = ""
    kind: str = ""
    isolated: bool = False
    told: bool = True


RETURNED = (
    Returned("ok"),
    Returned("nan_always", ENDS, reasons=("allfailed",), kind="nan"),
    Returned("nan_30", kind="nan", f=1.0),
    Returned("nan_half_space", kind="nan", f=1.0),
    Returned("nan_storm", kind="nan", f=1.0),
    Returned("inf_30", kind="posinf", f=1.0),
    Returned("inf_always", ENDS, reasons=("allfailed",), kind="posinf"),
    Returned("ninf_once", kind="neginf"),
    Returned("none_always", INVALID, says="None"),
    Returned("none_once", INVALID, once=True, says="None"),
    Returned("str_num", INVALID, says="(str)"),
    Returned("str_digit", INVALID, says="'3' (str)"),
    Returned("str_bad", INVALID, once=True, says="'abc' (str)"),
    Returned("shape0d"),
    Returned("shape1"),
    Returned("shape2", INVALID, says="shape ("),
    Returned("complex"),
    Returned("complex_imag", INVALID, says="(complex"),
    Returned("raise_once", kind="raised", told=False),
    Returned("hang_once", kind="timeout", isolated=True, told=False),
    Returned("exit_once", isolated=True, told=False),
    Returned("sysexit_once", kind="raised", told=False),
    Returned("kbd", INTERRUPTED, once=True, told=False),
    Returned("huge", ENDS, reasons=("allfailed", "maxfevals"), kind="posinf"),  # inf for v > 0.8
    Returned("f1e160"),
    Returned("tiny", f=0.5),  # few digits are left of f
    Returned("flat", ENDS, reasons=("maxfevals", "tolflatfitness")),
    Returned("bool", f=16.0),  # two values: v > 16 or not
    Returned("mutate"),
    Returned("f32"),
    Returned("frac"),
    Returned("dec"),
    Returned("bigint", kind="posinf"),
    Returned("segfault", isolated=True, told=False),
    Returned("memory", kind="raised", isolated=True, told=False),
)


@dataclass(frozen=True)
class Call:
    """A case of the call.

    Attributes:
        name: of the case.
        words: in place of those of `BASE`; None takes one out.
        line: options in place of those of `BASE_LINE`, [] takes one out; None where a command line
            cannot say it.
        refused: the argument that the message must name ("a or b"); "" where it must work.
        got: what the message must quote.
        f: where it works: at most this. dim: of the objective.
        told: `AskTell` takes the argument.
    """

    name: str
    words: Mapping[str, Any] = field(default_factory=dict)
    line: Mapping[str, Sequence[str]] | None = None
    refused: str = ""
    got: str = ""
    f: float = 0.5
    dim: int = DIM
    told: bool = True


def _x0(name: str, x0: Any, text: str | None, got: str = "", **more: Any) -> Call:
    line = None if text is None else {"--x0": [text]}
    return Call(f"x0 {name}", {"x0": x0}, line, "x0" if got else "", got, **more)


def _bounds(
    name: str, lower: Any, upper: Any, line: Sequence[str] | None, got: str = "", **more: Any
) -> Call:
    given = None if line is None else {"--bounds": line}
    return Call(
        f"bounds {name}", {"bounds": (lower, upper)}, given, "bounds" if got else "", got, **more
    )


def _word(word: str, value: Any, text: str, refused: bool, **more: Any) -> Call:
    got = f"{value!r}" if refused else ""
    line = {f"--{word}": [text]}
    return Call(f"{word} {value!r}", {word: value}, line, word if refused else "", got, **more)


_FOUR = [-5.0] * (DIM - 1)
_PAIRS = ["-5", "5"] * (DIM - 1)  # of --bounds, all variables but one

CALLS = (
    _x0("out", [9.0] * DIM, "9,9,9,9,9", got="9"),
    _x0("on_bound", [5.0] * DIM, "5,5,5,5,5", f=5.0),
    _x0("nan", [NAN] * DIM, "nan,nan,nan,nan,nan", got="nan"),
    _x0("inf", [INF] * DIM, "inf,inf,inf,inf,inf", got="inf"),
    _x0("str", "2,2,2,2,2", "two", got="2"),
    _x0("2d", np.full((DIM, 2), 2.0), None, got="array"),
    _x0("int", np.full(DIM, 2), "2,2,2,2,2"),
    _x0("list of int", [2] * DIM, None),
    _x0("f32", np.full(DIM, 2, dtype=np.float32), None),
    Call(
        "x0 length 4", {"x0": [2.0] * 4}, {"--x0": ["2,2,2,2"], "--dim": ["5"]}, "x0 or bounds", "4"
    ),
    Call("x0 none without bounds", {"x0": None, "bounds": None}, None, "x0 or bounds", ""),
    _bounds("lb>ub", [5.0] * DIM, [-5.0] * DIM, ["5", "-5"], got="5"),
    _bounds("lb>ub_one", [*_FOUR, 6.0], UPPER, [*_PAIRS, "6", "5"], got="6"),
    _bounds("lb==ub_one", [*_FOUR, 2.0], [*UPPER[1:], 2.0], [*_PAIRS, "2", "2"]),
    _bounds("lb==ub_all", [2.0] * DIM, [2.0] * DIM, ["2", "2"], got="lower == upper"),
    _bounds("infinite", [-INF] * DIM, [INF] * DIM, ["-inf", "inf"]),
    _bounds("nan", [NAN] * DIM, UPPER, ["nan", "5"], got="nan"),
    _bounds("wrong length", LOWER[1:], UPPER, _PAIRS, got="4"),
    _bounds("1e308", [-1e308] * DIM, [1e308] * DIM, ["-1e308", "1e308"], got="1e+308"),
    _bounds("width 1e-15", [2.0] * DIM, [2 + 1e-15] * DIM, ["2", "2.000000000000001"], f=17.0),
    Call("n 1", {"x0": [2.0], "bounds": (-5, 5)}, {"--x0": ["2"]}, dim=1, f=1e-8),
    Call("n 0", {"x0": None, "bounds": []}, {"--x0": [], "--dim": ["0"]}, "bounds", "", dim=0),
    Call("n 0 x0 []", {"x0": [], "bounds": None}, {"--x0": [""]}, "x0", "", dim=0),
    _word("sigma0", -1, "-1", refused=True),
    _word("sigma0", 0, "0", refused=True),
    _word("sigma0", NAN, "nan", refused=True),
    _word("sigma0", INF, "inf", refused=True),
    _word("sigma0", 1e300, "1e300", refused=True),
    _word("sigma0", 1e-300, "1e-300", refused=True),
    Call("sigma0 '0.5'", {"sigma0": "0.5"}, {"--sigma0": ["half"]}, "sigma0", ""),
    _word("popsize", 1, "1", refused=True, told=True),
    _word("popsize", 2, "2", refused=False),
    _word("popsize", 3, "3", refused=False),
    _word("popsize", 0, "0", refused=True),
    _word("popsize", -3, "-3", refused=True),
    _word("popsize", 4.5, "4.5", refused=True),
    _word("budget", 0, "0", refused=True, told=False),
    _word("budget", -5, "-5", refused=True, told=False),
    _word("budget", NAN, "nan", refused=True, told=False),
    _word("seed", 0, "0", refused=False),
    _word("seed", -1, "-1", refused=True),
    _word("seed", 2**40, str(2**40), refused=False),
    _word("seed", 1.5, "1.5", refused=True),
    _word("seed", "a", "a", refused=True),
    _word("seed", NAN, "nan", refused=True),
)

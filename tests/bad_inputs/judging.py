"""Says a case of the matrix through one of the interfaces, and judges what came of it."""

import contextlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bad_cases as cases
import bad_objectives as objectives
import numpy as np

import evoopt
from evoopt.cli import main

GOOD, LATE, OBSCURE, SILENT = "good", "late", "obscure", "silent"  # the verdicts, worst last
INTERFACES = ("minimize", "isolated", "ask/tell", "command line")
_TIMEOUT = 0.3  # seconds of an evaluation that hangs
_FLAT = ("tolflatfitness", "tolfun")  # what ends a search that sees but two values
RANDOM_F = 16.0  # what random search reaches instead of the bars of the cases
_FAILED = 3  # exit code


@dataclass
class Seen:
    """What came of a case.

    Attributes:
        error: what was raised: "" or the name of its class. said: its text.
        refused_by_us: the class is one of evoopt's own.
        result: of the search, or None. reason: its criterion.
        points: (k, dim) all that were evaluated.
        harm: side effects that must not be.
    """

    error: str = ""
    said: str = ""
    ours: bool = False
    x: Any = None
    reason: str = ""
    success: bool = False
    evaluations: int = -1  # of the result; -1 without one
    failures: Mapping[str, int] = field(default_factory=dict)
    points: Any = None
    harm: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """One of the words above, and why."""

    word: str
    why: str = ""


def verdict(
    case: cases.Returned | cases.Call, interface: str, algorithm: str, folder: Path
) -> Verdict:
    """A case, said through an interface in an empty folder, and judged."""
    if isinstance(case, cases.Returned):
        seen = say_returned(case, interface, algorithm, folder)
    else:
        seen = say_call(case, interface, algorithm, folder)
    return judge(case, interface, algorithm, seen)


def judge(case: cases.Returned | cases.Call, interface: str, algorithm: str, seen: Seen) -> Verdict:
    """What came of a case, against what is good."""
    if isinstance(case, cases.Returned):
        return judge_returned(case, interface, algorithm, seen)
    return judge_call(case, interface, algorithm, seen)


def say_returned(case: cases.Returned, interface: str, algorithm: str, folder: Path) -> Seen:
    """An objective of the matrix, minimized through the interface."""
    words: dict[str, Any] = {**cases.BASE, "x0": None}
    if case.isolated and case.name == "hang_once":
        words["eval_timeout"] = _TIMEOUT
    return _say(case.name, words, {"--x0": []}, interface, algorithm, folder, case.isolated)


def say_call(case: cases.Call, interface: str, algorithm: str, folder: Path) -> Seen:
    """A call of the matrix, made through the interface, with an objective that does no harm."""
    line = case.line or {}
    return _say("ok", {**cases.BASE, **case.words}, line, interface, algorithm, folder)


def _say(
    name: str,
    words: dict[str, Any],
    line: Mapping[str, Any],
    interface: str,
    algorithm: str,
    folder: Path,
    isolated: bool = False,
) -> Seen:
    record = folder / "points"
    record.write_bytes(b"")
    os.environ[objectives.RECORD] = str(record)
    words = {**words, "algorithm": algorithm}
    before = _fingerprint(words)
    fun = objectives.Objective(name)
    seen = Seen()
    if interface == "command line":
        _by_line(seen, name, words, line, folder, isolated)
    elif interface == "ask/tell":
        _by_hand(seen, fun, words)
    else:
        given = {word: value for word, value in words.items() if word != "x0"}
        isolate = interface == "isolated" or isolated or None
        _guarded(seen, lambda: evoopt.minimize(fun, words["x0"], isolate=isolate, **given))
    if _fingerprint(words) != before:
        seen.harm.append("the caller's arrays or numpy's global generator have changed")
    seen.points = objectives.points(str(record))
    low, high = _box(words)
    if ((seen.points < low) | (seen.points > high)).any():
        seen.harm.append("a point outside the box was evaluated")
    if "\n" in seen.said.strip():
        seen.harm.append(f"more than one line: {seen.said!r}")
    return seen


def _fingerprint(words: Mapping[str, Any]) -> bytes:
    """The bytes of all that the caller owns."""
    state: Any = np.random.get_state()  # noqa: NPY002  # the global generator is what is watched
    return repr((words, state[1].tobytes(), state[2:])).encode()


def _box(words: Mapping[str, Any]) -> tuple[Any, Any]:
    try:
        low, high = np.array(words["bounds"], dtype=float)
    except (TypeError, ValueError):
        return -math.inf, math.inf
    ordered = np.shape(low) in ((), (objectives.DIM,)) and np.all(low <= high)
    return (low, high) if ordered else (-math.inf, math.inf)


def _guarded(seen: Seen, search: Callable[[], evoopt.Result]) -> None:
    try:
        _take(seen, search())
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # whatever comes is judged
        seen.error, seen.said = type(error).__name__, str(error)
        seen.ours = isinstance(error, evoopt.EvooptError | evoopt.Interrupted)
        result = getattr(error, "result", None)
        if result is not None:
            _take(seen, result)


def _take(seen: Seen, result: evoopt.Result) -> None:
    seen.x, seen.reason = result.x, result.reason.criterion
    seen.success, seen.evaluations = result.success, result.evaluations
    seen.failures = dict(result.failures)


def _by_hand(seen: Seen, fun: Callable[[Any], Any], words: Mapping[str, Any]) -> None:
    """The loop that a user would write; what `tell` refuses is told as NaN after a look."""
    given = {word: value for word, value in words.items() if word != "budget"}

    def search() -> evoopt.Result:
        es = evoopt.AskTell(**given)
        while es.evaluations < cases.BUDGET and es.stop is None:
            X = es.ask(min(es.popsize, cases.BUDGET - es.evaluations))
            F = [fun(x.copy()) for x in X]
            before = frozen(es.state_dict())
            try:
                es.tell(X, F)
            except evoopt.EvooptError as error:
                seen.error, seen.said, seen.ours = type(error).__name__, str(error), True
                if frozen(es.state_dict()) != before:
                    seen.harm.append("a refused tell has changed the state")
                es.tell(X, [f if isinstance(f, float) else math.nan for f in F])
        return es.result

    kept = Seen()
    _guarded(kept, search)
    seen.x, seen.reason, seen.success = kept.x, kept.reason, kept.success
    seen.evaluations, seen.failures = kept.evaluations, kept.failures
    if kept.error:
        seen.error, seen.said, seen.ours = kept.error, kept.said, kept.ours


def _by_line(
    seen: Seen,
    name: str,
    words: Mapping[str, Any],
    changed: Mapping[str, Any],
    folder: Path,
    isolated: bool,
) -> None:
    options = {**cases.BASE_LINE, **changed, "--algorithm": [words["algorithm"]]}
    if "eval_timeout" in words:
        options["--eval-timeout"] = [f"{words['eval_timeout'] * 1000:.0f}ms"]
    target = f"{objectives.__file__}:{name}"
    args = ["minimize", target, "--out", str(folder / "run"), "--json", "--quiet"]
    for option, values in options.items():
        step = 2 if option == "--bounds" else 1
        for i in range(0, len(values), step):
            args += [option, *values[i : i + step]]
    if not options["--x0"] and "--dim" not in options:
        args += ["--dim", str(cases.DIM)]
    if not isolated:
        args.append("--no-isolate")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(args)
    lines = [line for line in err.getvalue().splitlines() if line.startswith("error:")]
    seen.said = "\n".join(lines)
    seen.error = {
        0: "",
        2: "ConfigurationError",
        _FAILED: "ObjectiveError",
        130: "Interrupted",
    }.get(code, f"exit code {code}")
    seen.ours = code in (0, 2, _FAILED, 130)
    if out.getvalue():
        document = json.loads(out.getvalue())
        seen.x, seen.reason = document["x"], document["reason"]["criterion"]
        seen.success, seen.evaluations = document["success"], document["evaluations"]
        seen.failures = document["failures"]
        if code == _FAILED and document["status"] == "done":
            seen.error = ""  # the search came to its end, and says so


def frozen(value: Any) -> Any:
    """A state as something that can be compared, arrays by their bytes."""
    if isinstance(value, Mapping):
        return {key: frozen(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value) if isinstance(value, float) else value


def judge_returned(case: cases.Returned, interface: str, algorithm: str, seen: Seen) -> Verdict:
    """What came of a case of the objective, against what is good."""
    faults = list(_faults_of(case, interface, algorithm, seen))
    if not faults:
        return Verdict(GOOD, _summary(seen))
    return _bad(seen, "; ".join(faults))


def _faults_of(case: cases.Returned, interface: str, algorithm: str, seen: Seen) -> Iterator[str]:
    yield from seen.harm
    calls, good = len(seen.points), case.good
    told = interface == "ask/tell"
    wanted = {cases.INVALID: "ObjectiveError", cases.INTERRUPTED: "Interrupted"}.get(good, "")
    if seen.error != wanted:
        yield f"raised {seen.error or 'nothing'}: {seen.said}"
        return
    if case.says and case.says not in seen.said:
        yield f"does not say {case.says!r}: {seen.said}"
    if case.kind and algorithm != "random" and not seen.failures.get(case.kind):
        yield f"no failure counted as {case.kind}"
    if good == cases.WORKS or (told and case.once):
        bar = RANDOM_F if algorithm == "random" else case.f
        f = math.inf if seen.x is None else objectives.sphere(seen.x)
        if not f <= bar:
            yield f"found {f:.3g} instead of {bar:g} ({seen.reason})"
        if seen.evaluations != cases.BUDGET and seen.reason not in _FLAT:
            yield f"{seen.evaluations} evaluations instead of {cases.BUDGET}"
    elif good == cases.ENDS:
        if seen.reason not in case.reasons and not (told or algorithm == "random"):
            yield f"ended by {seen.reason}"
        if seen.success:
            yield f"says success, {seen.reason}"
    elif not told and seen.evaluations not in ((calls - 1,) if case.once else (-1, 0)):
        yield f"{seen.evaluations} evaluations are left of {calls}"


def judge_call(case: cases.Call, interface: str, algorithm: str, seen: Seen) -> Verdict:
    """What came of a case of the call, against what is good."""
    faults = list(seen.harm)
    if case.refused:
        words = case.refused.split(" or ")
        if interface == "command line":
            words = [*(f"--{word}" for word in words), "--dim"]
        named = any(word in seen.said for word in words)
        if seen.error != "ConfigurationError":
            faults.append(f"raised {seen.error or 'nothing'}: {seen.said} {_summary(seen)}")
        elif not named:
            faults.append(f"does not name {case.refused}: {seen.said}")
        elif case.got not in seen.said and interface != "command line":
            faults.append(f"does not quote {case.got}: {seen.said}")
        if len(seen.points):
            faults.append(f"{len(seen.points)} evaluations before it was refused")
    else:
        bar = max(RANDOM_F, case.f) if algorithm == "random" else case.f
        f = math.inf if seen.x is None else objectives.sphere(seen.x)
        if seen.error:
            faults.append(f"raised {seen.error}: {seen.said}")
        elif not f <= bar:
            faults.append(f"found {f:.3g} instead of {bar:g} ({seen.reason})")
    if not faults:
        return Verdict(GOOD, seen.said if case.refused else _summary(seen))
    return _bad(seen, "; ".join(faults))


def _bad(seen: Seen, why: str) -> Verdict:
    if not seen.error:
        return Verdict(SILENT, why)
    if not seen.ours:
        return Verdict(OBSCURE, why)
    return Verdict(LATE if len(seen.points) else OBSCURE, why)


def _summary(seen: Seen) -> str:
    if seen.evaluations < 0:
        return seen.said
    f = math.nan if seen.x is None else objectives.sphere(seen.x)
    return (
        f"f {f:.3g} after {seen.evaluations}, {seen.reason}{' | ' if seen.said else ''}{seen.said}"
    )

"""The bad inputs, beside those of two peers: what came of each, as a table.

The table of cases, the objectives and the judge are those of tests/bad_inputs. Every case runs in a
process of its own that is ended after some seconds, so that a hang or a crash is an outcome, too.

    good       it works with the right answer, or stops at once with one clear line
    late       a clear error, but after evaluations that are lost with it
    obscure    an error from inside that does not name the argument
    silent     a wrong answer, or a nonsensical argument taken, without a word
    hang, died the process had to be killed, or is gone

    python benchmarks/robustness/bad_inputs.py -o bad_inputs.json > bad_inputs.md

Peers are driven by the ask/tell loop of their documentation for at most 240 evaluations; "-" is
where a case cannot be said to them. They are judged by what can be seen from outside, with the
benefit of the doubt: any error before the first evaluation counts as clear, and that pycma draws
from numpy's global generator is not held against it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "bad_inputs"))

import bad_cases as cases  # stands beside the tests
import bad_objectives as objectives
import judging

Case = cases.Returned | cases.Call
SECONDS = 20.0  # the longest good case takes two
WORDS = ("good", "late", "obscure", "silent", "hang", "died", "-")
ENGINES = (*judging.INTERFACES, "cma", "cmaes")


def applies(case: Case, engine: str) -> bool:
    """Whether the case can be said to the engine."""
    if engine == "command line":
        return isinstance(case, cases.Returned) or case.line is not None
    if engine == "ask/tell":
        return case.told
    if engine == "cmaes" and isinstance(case, cases.Call):
        return not {"budget"} & case.words.keys() and case.words.get("x0", 0) is not None
    peers_lack_it = engine in PEERS and case.name in ("n 0",)  # without x0
    return not peers_lack_it


def peer_cma(fun: Callable[[Any], Any], words: dict[str, Any]) -> tuple[Any, int]:
    """pycma's ask/tell loop. Returns: best x, evaluations."""
    import cma

    options: dict[str, Any] = {"verbose": -9, "seed": words["seed"], "maxfevals": words["budget"]}
    if words["bounds"] is not None:
        options["bounds"] = list(words["bounds"])
    if words.get("popsize") is not None:
        options["popsize"] = words["popsize"]
    es = cma.CMAEvolutionStrategy(words["x0"], words.get("sigma0", 2.0), options)
    while not es.stop():
        X = es.ask()
        es.tell(X, [fun(x) for x in X])
    return es.result.xbest, es.result.evaluations


def peer_cmaes(fun: Callable[[Any], Any], words: dict[str, Any]) -> tuple[Any, int]:
    """The ask/tell loop of cmaes. Returns: best x, evaluations."""
    import cmaes

    more: dict[str, Any] = {}
    if words["bounds"] is not None:
        low, high = words["bounds"]
        x0 = np.asarray(words["x0"])
        more["bounds"] = np.stack(
            [np.broadcast_to(low, x0.shape), np.broadcast_to(high, x0.shape)], 1
        )
    optimizer = cmaes.CMA(
        mean=np.asarray(words["x0"], dtype=float),
        sigma=words.get("sigma0", 2.0),
        seed=words["seed"],
        population_size=words.get("popsize"),
        **more,
    )
    best, spent = (np.inf, None), 0
    while spent < cases.BUDGET and not optimizer.should_stop():
        told = [(x, fun(x)) for x in (optimizer.ask() for _ in range(optimizer.population_size))]
        spent += len(told)
        optimizer.tell(told)
        best = min([best, *((value, x) for x, value in told)], key=lambda pair: pair[0])
    return best[1], spent


PEERS = {"cma": peer_cma, "cmaes": peer_cmaes}


def peer_outcome(case: Case, engine: str, folder: Path) -> judging.Verdict:
    """A case said to a peer, judged by what can be seen from outside."""
    record = folder / "points"
    record.write_bytes(b"")
    os.environ[objectives.RECORD] = str(record)
    returned = isinstance(case, cases.Returned)
    words = {**cases.BASE, **({} if returned else case.words)}
    fun = objectives.Objective(case.name if returned else "ok")
    before = repr(words)
    seen = judging.Seen()
    try:
        seen.x, seen.evaluations = PEERS[engine](fun, words)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  # is judged
        seen.error, seen.said = type(error).__name__, " ".join(str(error).split())
    seen.points = objectives.points(str(record))
    if repr(words) != before:
        seen.harm.append("the caller's arguments have changed")
    return _peer_verdict(case, seen)


def _peer_verdict(case: Case, seen: judging.Seen) -> judging.Verdict:
    returned = isinstance(case, cases.Returned)
    must_stop = case.good in (cases.INVALID, cases.INTERRUPTED) if returned else bool(case.refused)
    spent = len(seen.points)
    f = np.inf if seen.x is None else objectives.sphere(np.asarray(seen.x, dtype=float))
    if seen.error:
        word = "obscure" if not must_stop else "late" if spent else "good"
        return judging.Verdict(word, f"{seen.error}: {seen.said[:90]}")
    if seen.harm:
        return judging.Verdict("silent", "; ".join(seen.harm))
    if must_stop:
        return judging.Verdict("silent", f"goes on: f {f:.3g} after {spent}")
    if returned and case.good == cases.ENDS:
        return judging.Verdict("good", f"ends after {spent}")
    good = f <= case.f
    return judging.Verdict("good" if good else "silent", f"f {f:.3g} after {spent}")


def outcome(case: Case, engine: str, algorithm: str) -> tuple[str, str]:
    """What came of a case, found out in a process of its own: word and reason."""
    if not applies(case, engine):
        return "-", ""
    context = multiprocessing.get_context("fork")  # quick: all is imported, no thread runs
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(case.name, engine, algorithm, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            return "hang", f"killed after {SECONDS:g} s"
        word, why = ours.recv()
        return str(word), str(why)
    except EOFError:
        process.join()
        return "died", f"exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()


def _work(name: str, engine: str, algorithm: str, connection: Any) -> None:
    """In the process of a case. Cases go by name: their functions need not be pickled."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what peers print
    case = next(c for c in (*cases.RETURNED, *cases.CALLS) if c.name == name)
    with tempfile.TemporaryDirectory() as folder:
        if engine in PEERS:
            verdict = peer_outcome(case, engine, Path(folder))
        else:
            verdict = judging.verdict(case, engine, algorithm, Path(folder))
    connection.send((verdict.word, verdict.why))


def markdown(rows: dict[str, dict[str, tuple[str, str]]], engines: list[str]) -> str:
    """Two tables: the counts, and a row for each case."""
    names = [f"evoopt, {e}" if e in judging.INTERFACES else e for e in engines]
    head = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines = list(head)
    for word in WORDS:
        counts = [Counter(row[e][0] for row in rows.values())[word] for e in engines]
        lines.append(f"| {word} | {' | '.join(map(str, counts))} |")
    lines += ["", *head]
    for name, row in rows.items():
        cells = [row[e][0] if row[e][0] in ("good", "-") else f"**{row[e][0]}**" for e in engines]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    said = [(n, e, *row[e]) for n, row in rows.items() for e in engines]
    for engine, name in zip(engines, names, strict=True):
        lines += ["", f"What comes of it ({name}):", ""]
        lines += [
            f"- {n}: {word}: {why}" for n, e, word, why in said if e == engine and word != "-"
        ]
    return "\n".join(lines)


def main() -> int:
    """Returns: 0 if every case is good with evoopt, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--algorithm", default="auto", help="of evoopt")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    rows = {
        case.name: {engine: outcome(case, engine, args.algorithm) for engine in args.engines}
        for case in (*cases.RETURNED, *cases.CALLS)
    }
    print(markdown(rows, args.engines))
    if args.output:
        args.output.write_text(json.dumps({"algorithm": args.algorithm, "cases": rows}, indent=1))
    ours = [row[e][0] for row in rows.values() for e in args.engines if e in judging.INTERFACES]
    return 0 if set(ours) <= {"good", "-"} else 1


if __name__ == "__main__":
    sys.exit(main())

"""The file of a comparison: what ran, on what, and when it reached which value.

OUT/manifest.json     suite and seed, which all units share
OUT/runs.jsonl        a unit per line, whole or not there: a torn last line is cut off
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evoopt.errors import StateError
from evoopt.strategies import AUTO, STRATEGIES, claims_of
from evoopt_bench.biobj_peers import BIOBJ_PEERS
from evoopt_bench.peers import PEERS, Peer
from evoopt_bench.records import MANIFEST, SCHEMA, read_json, write_json
from evoopt_bench.suites import SUITES, ProblemId
from evoopt_bench.targets import Run

KIND = "comparison"
RUNS = "runs.jsonl"


@dataclass(frozen=True, slots=True)
class Unit:
    """One algorithm on one problem.

    Attributes:
        algorithm: a name of `STRATEGIES`, "auto", or a name of `PEERS` or `BIOBJ_PEERS`.
        problem: which.
        budget: evaluations.
    """

    algorithm: str
    problem: ProblemId
    budget: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a unit came to.

    Attributes:
        unit: what was asked for.
        run: its improvements that reached a target, and the best.
        seconds: of processor time, the benchmark function included.
        made_by: package and version.
    """

    unit: Unit
    run: Run
    seconds: float
    made_by: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What stands in a folder.

    Attributes:
        suite, seed: shared by all units.
        outcomes: one for each algorithm and problem, that of the largest budget.
    """

    suite: str
    seed: int
    outcomes: tuple[Outcome, ...]


def peers_of(n_obj: int) -> Mapping[str, Peer[Any]]:
    """Those of others that take so many objectives."""
    return PEERS if n_obj == 1 else BIOBJ_PEERS


def algorithms(n_obj: int = 1) -> tuple[str, ...]:
    """Our own that can be compared on problems with so many objectives."""
    own = [AUTO, *(name for name in STRATEGIES if _takes(name, n_obj))]
    return tuple(name for name in own if name not in peers_of(n_obj))


def _takes(name: str, n_obj: int) -> bool:
    claims = claims_of(name)
    return claims.least_obj <= n_obj and (claims.most_obj is None or n_obj <= claims.most_obj)


def is_comparison(out: Path) -> bool:
    """Whether the folder holds a comparison."""
    try:
        return read_json(out / MANIFEST).get("kind") == KIND
    except StateError:
        return False


def read_comparison(out: Path) -> Comparison:
    """What stands in the folder, while it grows, too.

    Raises:
        StateError: no comparison is there.
    """
    manifest = read_json(out / MANIFEST)
    if manifest.get("kind") != KIND:
        raise StateError(f"{out} must be the folder of a comparison; its manifest says otherwise")
    return Comparison(manifest["suite"], manifest["seed"], tuple(read_outcomes(out)))


def claim(out: Path, suite: str, seed: int) -> None:
    """Write the manifest, or see that it says the same."""
    if (out / MANIFEST).exists():
        there = read_comparison(out)
        if (there.suite, there.seed) != (suite, seed):
            raise StateError(
                f"{out} compares on {there.suite} with seed {there.seed}; got {suite} with seed "
                f"{seed}: name another folder"
            )
    else:
        content = {"schema": SCHEMA, "kind": KIND, "suite": suite, "seed": seed}
        write_json(out / MANIFEST, content)


def read_outcomes(out: Path) -> list[Outcome]:
    """The last line of each algorithm and problem, in the order of algorithm and problem."""
    best = {(o.unit.algorithm, o.unit.problem): o for o in map(_read, _lines(out / RUNS))}
    return [best[key] for key in sorted(best)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file that may be absent, or torn in its last line."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def mend(path: Path) -> None:
    """Cut off a last line that was torn when its writer was killed."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)


def as_line(outcome: Outcome) -> str:
    """The line of an outcome, its end included."""
    unit, run = outcome.unit, outcome.run
    line = {
        "algorithm": unit.algorithm,
        "problem": [unit.problem.suite, *_numbers(unit.problem)],
        "budget": unit.budget,
        "evaluations": run.evaluations,
        "f_opt": run.f_opt,
        "at": run.at.tolist(),
        "f": [f if math.isfinite(f) else None for f in run.f.tolist()],
        "seconds": round(outcome.seconds, 4),
        "made_by": outcome.made_by,
    }
    return json.dumps(line, allow_nan=False) + "\n"


def _numbers(problem: ProblemId) -> tuple[int, int, int]:
    return problem.dim, problem.function, problem.instance


def _read(line: dict[str, Any]) -> Outcome:
    suite, *numbers = line["problem"]
    problem = ProblemId(suite, *numbers)
    at, f = np.array(line["at"], dtype=np.int64), np.array(line["f"], dtype=np.float64)
    numbers = problem.function, problem.dim, problem.instance, line["evaluations"]
    run = Run(*numbers, line["f_opt"], at, f, SUITES[suite].n_obj)
    unit = Unit(line["algorithm"], problem, line["budget"])
    return Outcome(unit, run, line["seconds"], line["made_by"])


def by_algorithm(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes of each algorithm, ours first, then peers, in the order of their tables."""
    outcomes = list(outcomes)
    n_obj = outcomes[0].run.n_obj if outcomes else 1
    order = (*algorithms(n_obj), *peers_of(n_obj))
    groups: dict[str, list[Outcome]] = {name: [] for name in order}
    for outcome in outcomes:
        groups.setdefault(outcome.unit.algorithm, []).append(outcome)
    return {name: group for name, group in groups.items() if group}

"""A run that was killed, and taken up again, ends as if nothing had happened, bit for bit.

The objective appends the seed of each evaluation, which is a function of its id, to a file beside
the run: so it is known what was evaluated, how often, and when a process is in the midst of it.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt import rng
from evoopt.api import Settings, solve
from evoopt.journal import resume
from evoopt.observers.base import Observer
from evoopt.plan import build, resolve
from evoopt.rundir import RunDirectory
from evoopt.search import Search

SEED = 7
PROGRAM = """
import json, os, sys, time
import evoopt

def recorded(x, seed):
    file = os.open(os.environ["SIDE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, seed.to_bytes(8, "little"))
    os.close(file)
    time.sleep(float(os.environ["PAUSE"]))
    f = float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())
    return (f, float((x ** 2).sum())) if SEVERAL else f

SEVERAL = "objectives" in sys.argv[-1]

if __name__ == "__main__":
    try:
        evoopt.minimize(recorded, run_dir=sys.argv[1], **json.loads(sys.argv[2]))
    except evoopt.Interrupted as error:
        sys.exit(error.exit_code)
"""
CHEAP = {"bounds": [[-2.0] * 4, [2.0] * 4], "budget": 3000, "seed": SEED}
DEAR = {"x0": [-1.0] * 4, "sigma0": 0.5, "budget": 60, "seed": SEED, "algorithm": "cma-es"}
SCENARIOS: dict[str, tuple[dict[str, Any], float]] = {  # words, seconds per evaluation
    "cheap, BIPOP in a box": (CHEAP, 0.0),
    "cheap, ma-es": ({**CHEAP, "algorithm": "ma-es", "restarts": "ipop"}, 0.0),
    "dear, cma-es": (DEAR, 0.005),
    "dear, cobyqa": ({**DEAR, "algorithm": "cobyqa"}, 0.005),
    "dear, random": ({**DEAR, "algorithm": "random"}, 0.005),
    "two workers": ({**DEAR, "workers": 2, "budget": 90}, 0.005),
    "cheap, two objectives": ({**CHEAP, "objectives": 2, "budget": 900}, 0.0),
    "dear, two objectives": ({**DEAR, "algorithm": "mo-cma-es", "objectives": 2}, 0.005),
}


class Program:
    """The program above, run on a folder."""

    def __init__(self, folder: Path, words: Mapping[str, Any], pause: float) -> None:
        folder.mkdir()
        self.run, self.side = folder / "run", folder / "side"
        self.script = folder / "program.py"
        self.script.write_text(PROGRAM)
        self.words = json.dumps(words)
        self.environment = {**os.environ, "SIDE": str(self.side), "PAUSE": str(pause)}

    def start(self) -> subprocess.Popen[bytes]:
        args = [sys.executable, str(self.script), str(self.run), self.words]
        return subprocess.Popen(args, env=self.environment, stderr=subprocess.DEVNULL)

    def finish(self) -> None:
        assert self.start().wait(60) == 0

    def evaluated(self) -> list[int]:
        """The seeds of all evaluations that began, in order."""
        content = self.side.read_bytes() if self.side.exists() else b""
        return [int.from_bytes(content[i : i + 8], "little") for i in range(0, len(content), 8)]

    def killed(self, at: int, signum: int = signal.SIGKILL) -> int:
        """Runs until `at` more evaluations have begun, then sends the signal. Returns: the exit
        code."""
        at += len(self.evaluated())
        process = self.start()
        while process.poll() is None and len(self.evaluated()) < at:
            time.sleep(0.0005)
        process.send_signal(signum)
        return process.wait(60)

    def acknowledged(self) -> dict[int, int]:
        """The ids of the evaluations that the log holds, and how often each has begun so far."""
        ids: set[int] = set()
        if (self.run / "manifest.json").exists():
            for record in RunDirectory.read(self.run).records():
                if record["t"] == "gen":
                    ids |= set(range(record["i"], record["i"] + record["n"]))
                elif record["t"] == "eval":
                    ids |= set(record["i"])
        begun = Counter(self.evaluated())
        return {i: begun[rng.evaluation_seed(SEED, i)] for i in ids}


def end_of(run: Path) -> tuple[Any, ...]:
    """Result and last state of a run, in a form that compares bit for bit."""
    snapshot = RunDirectory.read(run).latest_snapshot()
    assert snapshot is not None
    arrays = {k: (a.dtype.str, a.shape, a.tobytes()) for k, a in snapshot.arrays.items()}
    result = (run / "result.json").read_text()
    return result, json.dumps(snapshot.meta, sort_keys=True), arrays


class Onlooker:
    """An observer that wants every row, so that the log is folded from its start."""

    wants_replay = True

    def started(self, search: Search) -> None: ...
    def told(self, search: Search, ids: Any, X: Any, values: Any) -> None: ...
    def finished(self, result: evoopt.Result) -> None: ...


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Program]:
    """The name of a scenario, and a run of it that nothing disturbed."""
    words, pause = SCENARIOS[request.param]
    program = Program(tmp_path_factory.mktemp("undisturbed") / "a", words, pause)
    program.finish()
    return request.param, program


def test_a_run_killed_at_random_moments_ends_as_the_undisturbed_one(
    scenario: tuple[str, Program], tmp_path: Path
) -> None:
    name, undisturbed = scenario
    words, pause = SCENARIOS[name]
    program = Program(tmp_path / "b", words, pause)
    chance, kept = random.Random(name), dict[int, int]()
    for _ in range(2):
        program.killed(chance.randrange(words["budget"] // 3, words["budget"] // 2))
        kept |= program.acknowledged()
    program.finish()

    assert end_of(program.run) == end_of(undisturbed.run)
    assert kept, "no kill came after the first acknowledged evaluation"
    final = program.acknowledged()
    assert {i: final.get(i) for i in kept} == kept  # there, and not evaluated again
    assert set(program.evaluated()) == set(undisturbed.evaluated())


def test_kills_at_random_moments_lose_no_result_of_an_asynchronous_run(tmp_path: Path) -> None:
    """Which value comes first is up to the clock, so that no two of these runs are alike."""
    words = {**DEAR, "workers": 2, "asynchronous": True}
    program = Program(tmp_path / "a", words, 0.005)
    kept = dict[int, int]()
    for at in (20, 15):
        assert program.killed(at) == -signal.SIGKILL
        kept |= program.acknowledged()
    program.finish()
    assert len(kept) >= 20
    final = program.acknowledged()
    assert sorted(final) == list(range(words["budget"]))
    assert {i: final[i] for i in kept} == kept  # there, and not evaluated again
    result = json.loads((program.run / "result.json").read_text())
    assert result["evaluations"] == words["budget"]
    assert f"all {words['budget']} results used" in result["notes"][-1]
    before = end_of(program.run)
    program.finish()  # the run has ended
    assert end_of(program.run) == before


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_in_the_midst_of_an_evaluation_and_loses_nothing(
    signum: int, code: int, tmp_path: Path
) -> None:
    undisturbed = Program(tmp_path / "a", DEAR, 0.0)
    undisturbed.finish()
    slow = Program(tmp_path / "b", DEAR, 0.02)
    assert slow.killed(20, signum) == code
    assert RunDirectory.read(slow.run).latest_snapshot() is not None
    kept = slow.acknowledged()
    assert len(kept) >= 19  # all but the one that was under way
    hanging = Program(tmp_path / "c", DEAR, 3600.0)
    assert hanging.killed(1, signum) == code
    slow.environment["PAUSE"] = "0"
    slow.finish()
    assert end_of(slow.run) == end_of(undisturbed.run)
    final = slow.acknowledged()
    assert {i: final.get(i) for i in kept} == kept == dict.fromkeys(kept, 1)


def rastrigin(x: np.ndarray) -> float:
    return float(10 * len(x) + (x**2 - 10 * np.cos(2 * np.pi * x)).sum())


class Stopping:
    """An objective that is interrupted at one call."""

    def __init__(self, at: int) -> None:
        self.__name__, self.calls, self.at = "rastrigin", 0, at

    def __call__(self, x: np.ndarray) -> float:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return rastrigin(x)


WORDS: dict[str, Any] = {"bounds": ([-5.0] * 3, [5.0] * 3), "budget": 900, "seed": 3}


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, evoopt.Result]:
    """The folder of a run that was interrupted, and the result that it has to come to."""
    with pytest.raises(evoopt.Interrupted):
        evoopt.minimize(Stopping(500), run_dir=tmp_path / "run", **WORDS)
    return tmp_path / "run", evoopt.minimize(rastrigin, **WORDS)


def same(a: evoopt.Result, b: evoopt.Result) -> bool:
    """Whether two results agree in every bit, but for the folder."""

    def plain(r: evoopt.Result) -> tuple[Any, ...]:
        assert r.x is not None
        parts = (r.history.f, r.history.sigma, r.history.axes, r.history.evaluations, r.x, r.mean)
        rest = (r.f, r.sigma, r.evaluations, r.generations, r.reason, r.success, r.restarts)
        return (*(p.tobytes() for p in parts), *rest, dict(r.failures), r.notes, r.algorithm)

    return plain(a) == plain(b)


def log_of(run: Path) -> Path:
    return run / "log.jsonl"


def test_an_interrupted_run_ends_as_one_that_kept_no_log(
    stopped: tuple[Path, evoopt.Result],
) -> None:
    run, expected = stopped
    objective = Stopping(-1)
    assert same(evoopt.minimize(objective, run_dir=run, **WORDS), expected)
    assert objective.calls == 900 - 499


@pytest.mark.parametrize("cut", [1, 7, 100, 1000, 5000])
def test_a_torn_log_is_mended_and_the_rest_evaluated_again(
    cut: int, stopped: tuple[Path, evoopt.Result]
) -> None:
    run, expected = stopped
    with log_of(run).open("rb+") as file:
        file.truncate(log_of(run).stat().st_size - cut)
    assert same(evoopt.minimize(rastrigin, run_dir=run, **WORDS), expected)


def test_snapshots_may_be_deleted(stopped: tuple[Path, evoopt.Result]) -> None:
    run, expected = stopped
    snapshots = list((run / "snapshots").iterdir())
    assert snapshots
    for file in snapshots:
        file.unlink()
    assert same(evoopt.minimize(rastrigin, run_dir=run, **WORDS), expected)


@pytest.mark.parametrize("damage", ["a byte", "half", "empty"])
def test_a_damaged_snapshot_is_left_aside(damage: str, stopped: tuple[Path, evoopt.Result]) -> None:
    run, expected = stopped
    for file in (run / "snapshots").iterdir():
        content = bytearray(file.read_bytes())
        if damage == "a byte":
            content[len(content) // 2] ^= 1
        file.write_bytes(content[: {"a byte": None, "half": len(content) // 2, "empty": 0}[damage]])
    assert same(evoopt.minimize(rastrigin, run_dir=run, **WORDS), expected)


def test_a_snapshot_of_another_search_is_left_aside(
    stopped: tuple[Path, evoopt.Result], tmp_path: Path
) -> None:
    run, expected = stopped
    with pytest.raises(evoopt.Interrupted):
        evoopt.minimize(Stopping(500), run_dir=tmp_path / "other", **{**WORDS, "seed": 4})
    for file in (run / "snapshots").iterdir():
        file.unlink()
    for file in (tmp_path / "other" / "snapshots").iterdir():
        (run / "snapshots" / file.name).write_bytes(file.read_bytes())
    assert same(evoopt.minimize(rastrigin, run_dir=run, **WORDS), expected)


def test_the_log_alone_folds_into_the_state_of_the_snapshot(
    stopped: tuple[Path, evoopt.Result],
) -> None:
    run, _ = stopped
    problem = evoopt.FunctionProblem(rastrigin, 3, *WORDS["bounds"], name="rastrigin")
    plan = resolve(problem, Settings(budget=900, seed=3))

    def folded(*observers: Observer) -> Search:
        search = Search(build(plan), plan.x0, plan.sigma0, plan.seed)
        pending = resume(RunDirectory.read(run), search, observers)
        assert len(pending) + search.evaluations == 499
        return search

    from_log, from_snapshot = folded(Onlooker()), folded()
    assert from_log.evaluations > 480
    X = from_log.open_rows, from_snapshot.open_rows
    assert X[0] is not None
    assert X[1] is not None
    assert X[0].X.tobytes() == X[1].X.tobytes()
    assert from_log.history().f.tobytes() == from_snapshot.history().f.tobytes()


def test_points_that_differ_from_those_of_the_log_are_refused(
    stopped: tuple[Path, evoopt.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine or BLAS may draw other points: that is said, and nothing is overwritten."""
    run, _ = stopped
    for file in (run / "snapshots").iterdir():
        file.unlink()
    before = log_of(run).read_bytes()
    draw = rng.normals
    monkeypatch.setattr(rng, "normals", lambda *a: np.nextafter(draw(*a), 9.0))
    with pytest.raises(evoopt.StateError, match="the points drawn again are not those of the log"):
        evoopt.minimize(rastrigin, run_dir=run, **WORDS)
    assert log_of(run).read_bytes() == before


def test_a_run_is_stopped_and_taken_up_at_every_single_evaluation(tmp_path: Path) -> None:
    words = {**WORDS, "budget": 40, "algorithm": "cma-es"}
    expected = evoopt.minimize(rastrigin, **words)
    for calls in range(1, 40):
        with pytest.raises(evoopt.Interrupted) as raised:  # one is evaluated, the next is not
            evoopt.minimize(Stopping(2), run_dir=tmp_path / "run", **words)
        assert raised.value.result is not None
        assert raised.value.result.evaluations == calls
    assert same(evoopt.minimize(rastrigin, run_dir=tmp_path / "run", **words), expected)


def test_an_asynchronous_run_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    problem = evoopt.FunctionProblem(Stopping(60), 3, [-5.0] * 3, [5.0] * 3, name="f")
    settings = Settings(algorithm="cma-es", budget=100, seed=1, asynchronous=True)
    with pytest.raises(evoopt.Interrupted):
        solve(problem, settings, run_dir=tmp_path / "run")
    whole = evoopt.FunctionProblem(rastrigin, 3, [-5.0] * 3, [5.0] * 3, name="f")
    result = solve(whole, settings, run_dir=tmp_path / "run")
    assert same(result, solve(whole, settings))

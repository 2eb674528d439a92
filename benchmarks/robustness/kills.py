"""Kills searches at random moments, resumes them to their end, and compares with undisturbed ones.

Single runs (cheap and expensive objectives, all algorithms, boxes, restarts, worker processes, no
barrier, through Python and through the command line) and suite runs are killed several times each,
also while they start and while they are being resumed: by SIGKILL, now and then by SIGTERM or
SIGINT. What must hold:

    equal    the result and the last state of a single run, the COCO data, the table and the traces
             of a suite run are those of the undisturbed run, byte for byte
    kept     the log at each kill, up to its last whole line, is the beginning of the final log
    once     what stands in the log at a kill is not evaluated again (single runs: each evaluation
             writes its seed, which is a function of its id, to a file)
    quick    SIGTERM and SIGINT end the process within two seconds, with exit code 143 or 130

    python benchmarks/robustness/kills.py --kills 200 --seed 1 -o kills.json

It goes on where it was stopped if the output is there, and ends after --minutes in any case. The
exit code is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evoopt import rng
from evoopt.rundir import RunDirectory

RUN_SEED = 7
MOST_KILLS = 4  # of one run
SIGNALS = (signal.SIGKILL,) * 8 + (signal.SIGTERM, signal.SIGINT)
EXIT_CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
QUICK_SECONDS = 2.0
PROGRAM = """
import json, os, sys, time

def f(x, seed):
    file = os.open(os.environ["SIDE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, seed.to_bytes(8, "little"))
    os.close(file)
    time.sleep(float(os.environ["PAUSE"]))
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())

def two(x, seed):
    return f(x, seed), float(((x - 1.5) ** 2).sum())

if __name__ == "__main__":
    import evoopt
    from evoopt.api import Settings, solve
    words = json.loads(sys.argv[2])
    box, n_obj = words.pop("box"), words.pop("objectives", 1)
    problem = evoopt.FunctionProblem(two if n_obj > 1 else f, 4, *box, name="f", n_obj=n_obj)
    try:
        solve(problem, Settings(**words), run_dir=sys.argv[1])
    except evoopt.Interrupted as error:
        sys.exit(error.exit_code)
"""
_OPEN = [[float("-inf")] * 4, [float("inf")] * 4]
_BOX = [[-2.0] * 4, [2.0] * 4]
_CHEAP = {"box": _BOX, "budget": 8000, "seed": RUN_SEED}
_DEAR = {"box": _OPEN, "x0": [-1.0] * 4, "sigma0": 0.5, "budget": 150, "seed": RUN_SEED}
_TWO = {**_DEAR, "objectives": 2}
_LINE = ("--algorithm", "cma-es", "--dim", "4", "--bounds", "-2", "2", "--seed", str(RUN_SEED))
_BIPOP = ("--algorithm", "cma-es", "--restarts", "bipop")
_RANDOM = ("--algorithm", "random")
_PAIRS = ("--dim", "2", "--instance", "1", "--seed", str(RUN_SEED), "--quiet", "--workers", "2")
_SUITE = ("minimize", "bbob", "--dim", "2,3", "--instance", "1", "--seed", str(RUN_SEED), "--quiet")


@dataclass(frozen=True)
class Scenario:
    """A run that is killed.

    Attributes:
        words: of `Settings`, and the box, for a run through Python.
        line: of the command line, for one through that; "TARGET" stands for the function.
        pause: seconds per evaluation.
    """

    words: dict[str, Any] = field(default_factory=dict)
    line: tuple[str, ...] = ()
    pause: float = 0.0

    @property
    def is_suite(self) -> bool:
        return any(word.startswith("bbob") for word in self.line)


SCENARIOS = {
    "cheap, auto in a box": Scenario(_CHEAP),
    "cheap, ma-es, IPOP": Scenario({**_CHEAP, "algorithm": "ma-es", "restarts": "ipop"}),
    "cheap, random": Scenario({**_CHEAP, "algorithm": "random"}),
    "dear, cma-es": Scenario({**_DEAR, "algorithm": "cma-es"}, pause=0.005),
    "dear, ma-es": Scenario({**_DEAR, "algorithm": "ma-es"}, pause=0.005),
    "dear, random in a box": Scenario(
        {**_DEAR, "box": _BOX, "algorithm": "random", "sigma0": None}, pause=0.005
    ),
    "two workers": Scenario({**_DEAR, "workers": 2}, pause=0.005),
    "one slot, no barrier": Scenario({**_DEAR, "asynchronous": True}, pause=0.005),
    "command line, isolated": Scenario(
        line=("minimize", "TARGET", *_LINE, "--budget", "250", "--quiet"), pause=0.005
    ),
    "suite, cma-es with BIPOP": Scenario(
        line=(*_SUITE, "--function", "1,8", "--budget", "400D", "--workers", "2", *_BIPOP)
    ),
    "suite, ma-es": Scenario(
        line=(*_SUITE, "--function", "1,2", "--algorithm", "ma-es", "--budget", "400D")
    ),
    "two objectives, hmo-cma-es": Scenario({**_TWO, "budget": 400}, pause=0.002),
    "two objectives, mo-cma-es": Scenario({**_TWO, "algorithm": "mo-cma-es"}, pause=0.005),
    "two objectives, two workers": Scenario(
        {**_TWO, "algorithm": "up-mo-cma-es", "popsize": 4, "workers": 2}, pause=0.005
    ),
    "two objectives, suite": Scenario(
        line=("minimize", "bbob-biobj", *_PAIRS, "--function", "1,46", "--budget", "200D")
    ),
    "suite, random": Scenario(
        line=(*_SUITE, "--function", "1,15", "--budget", "200D", "--workers", "2", *_RANDOM)
    ),
}


class Trial:
    """One run in a folder of its own."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.scenario = scenario
        self.run, self.side, self.script = folder / "run", folder / "side", folder / "program.py"
        self.script.write_text(PROGRAM)
        self.environment = {
            **os.environ,
            "SIDE": str(self.side),
            "PAUSE": str(scenario.pause),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> subprocess.Popen[bytes]:
        """The run from its beginning, or from where it is."""
        return subprocess.Popen(
            self._command(),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _command(self) -> list[str]:
        if not self.scenario.line:
            return [
                sys.executable,
                str(self.script),
                str(self.run),
                json.dumps(self.scenario.words),
            ]
        target = f"{self.script}:f"
        command = [sys.executable, "-m", "evoopt"]
        if self._has_begun():
            more = [] if self.scenario.is_suite else [target]
            return [*command, "resume", str(self.run), *more, "--quiet"]
        words = [target if word == "TARGET" else word for word in self.scenario.line]
        return [*command, *words, "--out", str(self.run)]

    def _has_begun(self) -> bool:
        if self.scenario.is_suite:
            return (self.run / "manifest.json").exists()
        log = self.run / "log.jsonl"
        return log.exists() and b"\n" in log.read_bytes()

    def finish(self) -> str:
        """Runs to the end. Returns: what went wrong, or ""."""
        with self.start() as process:
            try:
                _, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "did not end within 120 s"
        # 1: a target that was missed; 3 is a failure of the objective, 4 of the state
        return "" if process.returncode == 0 else f"exit code {process.returncode}: {err!r}"

    def kill(self, seconds: float, signum: int) -> tuple[int, float, str]:
        """Runs for so many seconds, then sends the signal. Returns: exit code, seconds from the
        signal to the end (-1 if the run had ended before), and stderr."""
        with self.start() as process:
            try:
                _, err = process.communicate(timeout=seconds)
                return process.returncode, -1.0, err.decode()
            except subprocess.TimeoutExpired:
                pass
            since = time.monotonic()
            process.send_signal(signum)
            try:
                _, err = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait(), 60.0, "hangs"
        return process.returncode, time.monotonic() - since, err.decode()

    def logs(self) -> dict[str, bytes]:
        """Each log up to its last whole line."""
        paths = self.run.rglob("log.jsonl") if self.run.exists() else ()
        found = {str(path.relative_to(self.run)): path.read_bytes() for path in paths}
        return {name: text[: text.rfind(b"\n") + 1] for name, text in found.items()}

    def acknowledged(self) -> dict[int, int]:
        """id -> how often its evaluation has begun, for all that are in the log."""
        ids: set[int] = set()
        if self.scenario.is_suite or not self._has_begun():
            return {}
        for record in RunDirectory.read(self.run).records():
            if record["t"] == "gen":
                ids |= set(range(record["i"], record["i"] + record["n"]))
            elif record["t"] == "eval":
                ids |= set(record["i"])
        content = self.side.read_bytes() if self.side.exists() else b""
        seeds = (content[i : i + 8] for i in range(0, len(content) - 7, 8))
        begun = Counter(int.from_bytes(seed, "little") for seed in seeds)
        return {i: begun[rng.evaluation_seed(RUN_SEED, i)] for i in ids}

    def end(self) -> dict[str, bytes]:
        """All that has to be equal at the end, as bytes."""
        if not self.scenario.is_suite:
            snapshot = RunDirectory.read(self.run).latest_snapshot()
            assert snapshot is not None
            arrays = {name: array.tobytes() for name, array in snapshot.arrays.items()}
            state = json.dumps(snapshot.meta, sort_keys=True).encode()
            return {"result": (self.run / "result.json").read_bytes(), "state": state, **arrays}
        files = [self.run / "table.json", *sorted(self.run.glob("coco/**/*"))]
        files += sorted(self.run.glob("problems/*/trace.json"))
        return {str(f.relative_to(self.run)): f.read_bytes() for f in files if f.is_file()}


def disturbed(trial: Trial, usual: float, chance: random.Random) -> dict[str, Any]:
    """Kills and resumes until the run ends. usual: seconds of an undisturbed run."""
    seen: dict[str, Any] = {"kills": [], "faults": []}
    kept: dict[int, int] = {}
    before: dict[str, bytes] = {}
    for _ in range(chance.randint(1, MOST_KILLS)):
        signum = chance.choice(SIGNALS)
        moment = chance.uniform(0.0, 0.95) * usual
        code, seconds, err = trial.kill(moment, signum)
        if seconds < 0:  # it was quicker than usual
            if code != 0:
                seen["faults"].append(f"exit code {code}: {err}")
            break
        after = trial.logs()
        name = signal.Signals(signum).name
        seen["kills"].append([name, round(moment, 4), round(seconds, 4), code])
        # while the interpreter starts, a signal does what it always does; 0: it was at its end
        if code not in (EXIT_CODES[signum], -signum, 0, 1):
            seen["faults"].append(f"{signal.Signals(signum).name}: exit code {code}: {err}")
        if signum != signal.SIGKILL and seconds > QUICK_SECONDS:
            seen["faults"].append(f"{signal.Signals(signum).name}: took {seconds:.2f} s")
        seen["faults"] += shortened(before, after)
        before, kept = after, kept | trial.acknowledged()
    wrong = trial.finish()
    if wrong:
        seen["faults"].append(wrong)
        return seen
    seen["faults"] += shortened(before, trial.logs())
    final = trial.acknowledged()
    again = [i for i in kept if final.get(i) != kept[i]]
    if again:
        seen["faults"].append(
            f"{len(again)} acknowledged evaluations lost or made again: {again[:5]}"
        )
    seen["acknowledged"] = len(kept)
    return seen


def shortened(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """The logs that are not continued by what is there now."""
    return [
        f"{name}: what was in the log is gone"
        for name, text in before.items()
        if not after.get(name, b"").startswith(text)
    ]


def differences(expected: dict[str, bytes], got: dict[str, bytes]) -> list[str]:
    """The parts of the end that differ."""
    names = sorted(expected.keys() | got.keys())
    return [f"{name} differs" for name in names if expected.get(name) != got.get(name)]


def campaign(args: argparse.Namespace) -> dict[str, Any]:
    """Trials, round robin over the scenarios, until there were enough kills or the time is over."""
    report: dict[str, Any] = {"seed": args.seed, "trials": []}
    if args.output.exists():
        report = json.loads(args.output.read_text())
    deadline = time.monotonic() + 60 * args.minutes
    undisturbed: dict[str, tuple[dict[str, bytes], float]] = {}
    names = [name for name in SCENARIOS if args.only in name]
    while kills_of(report) < args.kills and time.monotonic() < deadline:
        number = len(report["trials"])
        name = names[number % len(names)]
        scenario = SCENARIOS[name]
        if name not in undisturbed:
            undisturbed[name] = measured(Trial(scenario, args.folder / "undisturbed"))
        end, usual = undisturbed[name]
        trial = Trial(scenario, args.folder / "trial")
        seen = disturbed(trial, usual, random.Random(f"{args.seed}|{number}"))
        if not seen["faults"]:
            seen["faults"] = differences(end, trial.end())
        if seen["faults"]:
            shutil.copytree(args.folder / "trial", args.folder / f"failed-{number}")
        report["trials"].append({"number": number, "scenario": name, **seen})
        args.output.write_text(json.dumps(report, indent=1))
        said = "; ".join(seen["faults"]) or "equal"
        print(f"{number:3} {name:26} {len(seen['kills'])} kills: {said}", flush=True)
    return report


def measured(trial: Trial) -> tuple[dict[str, bytes], float]:
    """The end of an undisturbed run, and how long it took (the second time, when all is cached)."""
    for _ in range(2):
        shutil.rmtree(trial.run, ignore_errors=True)
        since = time.monotonic()
        wrong = trial.finish()
        seconds = time.monotonic() - since
        if wrong:
            raise SystemExit(f"the undisturbed run failed: {wrong}")
    return trial.end(), seconds


def kills_of(report: dict[str, Any]) -> int:
    """How many kills hit a running process."""
    return sum(len(trial["kills"]) for trial in report["trials"])


def table(report: dict[str, Any]) -> str:
    """Markdown: a row per scenario."""
    lines = [
        "| scenario | runs | kills | acknowledged at the kills | not as it must be |",
        "|---|---|---|---|---|",
    ]
    trials = report["trials"]
    for name in [*SCENARIOS, "all"]:
        mine = [t for t in trials if name in (t["scenario"], "all")]
        kills = sum(len(t["kills"]) for t in mine)
        held = sum(t.get("acknowledged", 0) for t in mine)
        bad = sum(bool(t["faults"]) for t in mine)
        lines.append(f"| {name} | {len(mine)} | {kills} | {held or ''} | {bad} |")
    signals = Counter(kill[0] for t in trials for kill in t["kills"])
    slowest = max((k[2] for t in trials for k in t["kills"] if k[0] != "SIGKILL"), default=0.0)
    said = ", ".join(f"{n} {name}" for name, n in signals.most_common())
    codes = Counter((k[0], k[3]) for t in trials for k in t["kills"] if k[0] != "SIGKILL")
    said += "; exit codes " + ", ".join(f"{s} {c}: {n}" for (s, c), n in sorted(codes.items()))
    return "\n".join([*lines, "", f"{said}; slowest exit after SIGTERM or SIGINT {slowest:.2f} s"])


def main(argv: Sequence[str] | None = None) -> int:
    """Returns: 0 if all held, 1 if something did not, 2 if the time was over too early."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--folder", type=Path, help="where runs are kept; default: a temporary one")
    parser.add_argument("-o", "--output", type=Path, default=Path("kills.json"))
    args = parser.parse_args(argv)
    # a shell has its background jobs ignore SIGINT, and what they start would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary:
        args.folder = args.folder or Path(temporary)
        report = campaign(args)
    print(table(report))
    if any(trial["faults"] for trial in report["trials"]):
        return 1
    return 0 if kills_of(report) >= args.kills else 2


if __name__ == "__main__":
    sys.exit(main())

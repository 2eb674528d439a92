"""Kills actors of the engine `ray` at random moments, and compares with the serial search.

    python benchmarks/robustness/ray_kills.py --kills 30 --seed 1 -o ray_kills.json

Searches run in this process, on two actors of a cluster of their own; a thread sends SIGKILL to one
of them every now and then, also while they start. Searches follow one another until each kind was
run and there were as many kills as asked for. What must hold of each:

    equal    the result is that of the serial engine, bit for bit
    kept     no evaluation has failed and none is missing: each writes its seed to a file

Evaluations made again, those that were under way on an actor that died, are counted. The exit code
is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import evoopt
from evoopt.evaluators import make_evaluator
from evoopt.problem import FunctionProblem

WORKERS = 2
PAUSES = (0.5, 6.0)  # seconds between two kills: an actor takes one or two to start
CASES: dict[str, dict[str, Any]] = {  # seconds of an evaluation, and words of `minimize`
    "cma-es, 20 ms": {"pause": 0.02, "budget": 1200, "algorithm": "cma-es"},
    "ma-es, 2 ms": {"pause": 0.002, "budget": 6000, "algorithm": "ma-es"},
    "cma-es with BIPOP, no pause": {
        "pause": 0.0, "budget": 40000, "algorithm": "cma-es", "restarts": "bipop",
    },
    "cma-es, a deadline": {
        "pause": 0.01, "budget": 1500, "algorithm": "cma-es", "eval_timeout": 60,
    },
    "canonical-es, candidates by id": {
        "pause": 0.01, "budget": 2000, "algorithm": "canonical-es",
    },
}  # fmt: skip


class Objective:
    """Rosenbrock's function after a pause; each call adds its seed to a file."""

    def __init__(self, path: str, pause: float) -> None:
        self._path, self._pause = path, pause

    def __call__(self, x: np.ndarray, seed: int) -> float:
        """F at x: (dim,)."""
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, seed.to_bytes(8, "little"))
        os.close(file)
        if self._pause:
            time.sleep(self._pause)
        return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


class Killer(threading.Thread):
    """Kills an actor every now and then, until it is stopped."""

    def __init__(self, seed: int) -> None:
        super().__init__(daemon=True)
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self.kills = 0

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped.wait(self._random.uniform(*PAUSES)):
            actors = descendants("ray::Actor")
            if actors:
                os.kill(self._random.choice(actors), signal.SIGKILL)
                self.kills += 1

    def stop(self) -> None:
        """No more kills."""
        self._stopped.set()
        self.join()


def descendants(name: str) -> list[int]:
    """Processes below this one whose command line begins with `name`."""
    parents: dict[int, int] = {}
    named = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(name.encode()):
                named.append(pid)
        except (OSError, ValueError):
            continue  # it has ended

    def is_ours(pid: int) -> bool:
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == os.getpid():
                return True
        return False

    return sorted(pid for pid in named if is_ours(pid))


def campaign(name: str, number: int, seed: int) -> dict[str, Any]:
    """One search under fire, and the same one undisturbed. Returns: what is to be reported."""
    words = dict(CASES[name])
    pause = words.pop("pause")
    words |= {"x0": [-1.0] * 4, "sigma0": 0.5, "seed": 1000 * seed + number}
    with tempfile.TemporaryDirectory() as folder:
        calls = Path(folder) / "calls"
        killer = Killer(seed + number)
        killer.start()
        start = time.perf_counter()
        shot = evoopt.minimize(Objective(str(calls), pause), engine="ray", workers=WORKERS, **words)
        seconds = time.perf_counter() - start
        killer.stop()
        made = np.fromfile(calls, dtype="<u8")
        words.pop("eval_timeout", None)
        whole = evoopt.minimize(Objective(str(Path(folder) / "whole"), 0.0), **words)
        wanted = np.fromfile(Path(folder) / "whole", dtype="<u8")
    again = len(made) - len(np.unique(made))
    return {
        "case": name,
        "kills": killer.kills,
        "equal": shot.x.tobytes() == whole.x.tobytes()
        and shot.mean.tobytes() == whole.mean.tobytes()
        and shot.history.f.tobytes() == whole.history.f.tobytes()
        and (shot.f, shot.evaluations) == (whole.f, whole.evaluations),
        "kept": not shot.failures and set(made.tolist()) == set(wanted.tolist()),
        "evaluations": shot.evaluations,
        "again": again,
        "seconds": seconds,
    }


def main() -> None:
    """Searches until there were enough kills; prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    free = np.full(1, np.inf)
    first = make_evaluator("ray", FunctionProblem(float, 1, -free, free), WORKERS + 1)
    first.submit(np.arange(1), np.zeros((1, 1)), None, None)  # starts Ray for all searches
    while first.poll(1.0) is None:
        pass
    done: list[dict[str, Any]] = []
    while len(done) < len(CASES) or sum(one["kills"] for one in done) < arguments.kills:
        name = list(CASES)[len(done) % len(CASES)]
        done.append(campaign(name, len(done), arguments.seed))
        one = done[-1]
        print(
            f"{one['case']:28s} {one['kills']:3d} kills  "
            f"{'equal' if one['equal'] else 'DIFFERENT'}  {'kept' if one['kept'] else 'LOST'}  "
            f"{one['evaluations']} evaluations, {one['again']} of them again, "
            f"{one['seconds']:.0f} s",
            flush=True,
        )
    first.close()
    kills = sum(one["kills"] for one in done)
    good = all(one["equal"] and one["kept"] for one in done)
    print(f"{len(done)} searches, {kills} kills: {'all equal, nothing lost' if good else 'WRONG'}")
    if arguments.output:
        arguments.output.write_text(json.dumps(done, indent=1))
    sys.exit(not good)


if __name__ == "__main__":
    main()

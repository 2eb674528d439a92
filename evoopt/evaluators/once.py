"""A problem of Python in the engine `process`: a fresh interpreter for each evaluation.

The problem is pickled once, into a private folder; a row is a file of JSON there, the standard
input of the interpreter that evaluates it. The answer is the last line on stdout.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evoopt.evaluators.base import failed, guarded
from evoopt.evaluators.pool import pickled, unpickled
from evoopt.evaluators.tasks import Outcome, Task
from evoopt.problem import Problem
from evoopt.result import KILLED, RAISED, Failure, Values

Array = NDArray[np.float64]

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from evoopt.evaluators.once import main; main(sys.argv[2])"
)
_ANSWER = "evoopt: "  # how the line of the answer begins


class FunctionTasks:
    """Makes programs of the rows of any problem, see `evoopt.evaluators.tasks.Tasked`."""

    def __init__(self, problem: Problem) -> None:
        """Raises: ConfigurationError: the problem cannot be pickled."""
        self._problem = problem
        self._pickled = pickled(problem)
        self._folder: Path | None = None

    def task(self, id_: int, x: Array, seed: int | None) -> Task:
        """The interpreter that evaluates candidate `id_` at x: (dim,)."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="evoopt-"))  # for this user alone
            (self._folder / "problem").write_bytes(self._pickled)
        row = self._folder / str(id_)
        row.write_text(json.dumps({"x": x.tolist(), "seed": seed}))
        path = json.dumps([str(folder) for folder in sys.path])
        argv = [sys.executable, "-c", _BOOT, path, str(self._folder / "problem")]
        return Task(argv, input=str(row))

    def value(self, outcome: Outcome, deadline: float | None) -> Values:
        """The values of one row, from what its interpreter said."""
        failure = outcome.failure(deadline)
        last = outcome.out.rstrip("\n").rpartition("\n")[2]
        if failure is None and last.startswith(_ANSWER):
            said = json.loads(last.removeprefix(_ANSWER))
            failures = {} if said["failure"] is None else {0: Failure(*said["failure"])}
            G = None if said["G"] is None else np.array(said["G"], dtype=np.float64)
            return Values(np.array(said["F"], dtype=np.float64), G, failures)
        if failure is None:
            failure = Failure(KILLED, "its process ended with exit code 0 and without an answer")
        elif failure.kind == RAISED:
            failure = Failure(KILLED, failure.message.replace("the program", "its process"))
        return failed(self._problem, 1, failure)

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def main(place: str) -> None:
    """In the fresh interpreter: evaluate the row on stdin. place: where the problem lies."""
    from threadpoolctl import threadpool_limits

    row = json.load(sys.stdin)
    problem = unpickled(Path(place).read_bytes())
    threadpool_limits(limits=int(os.environ.get("OMP_NUM_THREADS", "1")))
    X = np.array([row["x"]])
    values = guarded(problem, X, None if row["seed"] is None else [row["seed"]])
    failure = values.failures.get(0)
    answer = {
        "F": values.F.tolist(),
        "G": None if values.G is None else values.G.tolist(),
        "failure": None if failure is None else list(dataclasses.astuple(failure)),
    }
    sys.stdout.flush()
    os.write(1, f"\n{_ANSWER}{json.dumps(answer)}\n".encode())

"""Bytes and seconds per generation of workers that make their points, beside sending the points.

    python benchmarks/perf/seeds.py traffic -o traffic.json
    python benchmarks/perf/seeds.py memory --popsize 64 -o memory.json

`traffic`: canonical-es and openai-es on two workers of the engine `pool`; the objective costs one
look at x. Bytes are counted where the driver hands messages to the sockets and where it takes
answers from them. `memory`: the most memory that the driver holds at n = 1.7e6, beyond what it
holds after its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np

from evoopt.evaluators.pool import PoolEvaluator
from evoopt.evaluators.process import LocalCrew
from evoopt.problem import FunctionProblem
from evoopt.runner import Limits, Runner
from evoopt.search import Search
from evoopt.strategies import strategy_class

DIMS = (100, 1_000, 10_000, 100_000, 1_000_000)
POLICY = 1_700_000  # weights of the network of arXiv:1802.08842


class CountedLine:
    """A line to a worker that counts the bytes that pass."""

    def __init__(self, line: Any, crew: CountingCrew) -> None:
        self._line, self._crew = line, crew

    def send(self, message: Any) -> None:
        data = ForkingPickler.dumps(message)  # as `Connection.send`
        self._crew.sent += len(data)
        self._line.send_bytes(data)

    def recv(self) -> Any:
        data = self._line.recv_bytes()
        self._crew.received += len(data)
        return ForkingPickler.loads(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


class CountingCrew(LocalCrew):
    """Processes of this machine whose messages are counted."""

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.pids: list[int] = []

    def launched(self, pickled: bytes) -> tuple[Any, Any]:
        process, line = super().launched(pickled)
        self.pids.append(process.pid)
        return process, CountedLine(line, self)

    def seconds(self) -> float:
        """Processor time of all workers so far (Linux)."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime; field 3 comes first
        return ticks / os.sysconf("SC_CLK_TCK")


class Sender(PoolEvaluator):
    """The pool as it is for all other strategies: the driver makes the points and sends them."""

    follow = None  # type: ignore[assignment]


def glance(x: np.ndarray) -> float:
    """As cheap as can be."""
    return float(x[0])


def unbounded(dim: int) -> FunctionProblem:
    return FunctionProblem(glance, dim, np.full(dim, -np.inf), np.full(dim, np.inf))


def measured(algorithm: str, dim: int, popsize: int, generations: int, follow: bool) -> Any:
    """Bytes and seconds of each generation but the first three, in which workers start."""
    crew, problem = CountingCrew(), unbounded(dim)
    pool = (PoolEvaluator if follow else Sender)(problem, 2, crew)
    strategy = strategy_class(algorithm).default(dim, popsize=popsize)
    search = Search(strategy, np.zeros(dim), 0.02, 1)
    marks = []

    def seen(_: Search) -> None:
        spent = time.process_time(), crew.seconds()
        marks.append((time.perf_counter(), crew.sent, crew.received, *spent))

    try:
        limits = Limits(budget=popsize * (3 + generations))
        Runner(search, pool, limits, callback=seen).run()
    finally:
        pool.close()
    columns = (np.diff(column)[2:] for column in zip(*marks, strict=True))
    seconds, sent, received, driver, workers = columns
    return {
        "algorithm": algorithm, "dim": dim, "popsize": popsize,
        "way": "ids" if follow else "points", "generations": len(seconds),
        "seconds": statistics.median(seconds), "sent": statistics.median(sent.tolist()),
        "received": statistics.median(received.tolist()), "f": search.best_f,
        "driver": float(np.mean(driver)), "workers": float(np.mean(workers)),
    }  # fmt: skip


def traffic(arguments: argparse.Namespace) -> list[Any]:
    rows = []
    for algorithm in ("canonical-es", "openai-es"):
        for dim in arguments.dims:
            generations = 4 if dim >= 100_000 else 20
            for follow in (True, False):
                row = measured(algorithm, dim, arguments.popsize, generations, follow)
                rows.append(row)
                print(
                    f"{algorithm:13s} n {dim:8d} popsize {row['popsize']} {row['way']:6s} "
                    f"{row['sent']:12.0f} bytes sent {row['received']:6.0f} received "
                    f"{1e3 * row['seconds']:10.2f} ms a generation, of processors: driver "
                    f"{1e3 * row['driver']:.2f}, workers {1e3 * row['workers']:.1f}",
                    flush=True,
                )
    return rows


def peak_bytes() -> int:
    """Of this process, so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory(arguments: argparse.Namespace) -> Any:
    """One algorithm, two workers, at the size of the network of the paper."""
    dim, popsize = POLICY, arguments.popsize
    own = {} if arguments.mu is None else {"mu": arguments.mu}
    strategy = strategy_class(arguments.algorithm).default(dim, popsize=popsize, **own)
    pool = PoolEvaluator(unbounded(dim), 2)
    before, start, spent = peak_bytes(), time.perf_counter(), time.process_time()
    search = Search(strategy, np.zeros(dim), 0.01, 1)
    try:
        Runner(search, pool, Limits(budget=popsize * arguments.generations)).run()
    finally:
        pool.close()
    row = {
        "algorithm": arguments.algorithm, "dim": dim, "popsize": popsize, "mu": arguments.mu,
        "generations": arguments.generations, "before": before,
        "driver": peak_bytes() - before, "points": 8 * popsize * dim,
        "seconds": (time.perf_counter() - start) / arguments.generations,
        "driver_seconds": (time.process_time() - spent) / arguments.generations,
    }  # fmt: skip
    print(
        f"{row['algorithm']}, n = {dim}, popsize {popsize}: the driver's peak rose by "
        f"{row['driver'] / 1e6:.0f} MB = {row['driver'] / 8 / dim:.1f} n numbers, all points would "
        f"take {row['points'] / 1e6:.0f} MB; {row['seconds']:.1f} s a generation, "
        f"{row['driver_seconds']:.2f} s of them the driver computes"
    )
    return row


def main() -> None:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("traffic", "memory"))
    parser.add_argument("--popsize", type=int, default=40)
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument("--algorithm", default="canonical-es")
    parser.add_argument("--mu", type=int, help="of canonical-es")
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    result = (traffic if arguments.what == "traffic" else memory)(arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

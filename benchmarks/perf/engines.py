"""What the engines add to an evaluation, beside plain Ray, in one run.

    python benchmarks/perf/engines.py -o engines.json

Generations of 16 rows are submitted and polled until all values are in, by two workers. Overhead is
the wall-clock time of a generation beyond its evaluation time divided by the workers, and CPU the
processor time of the driver (all its threads); both per evaluation, in microseconds, the medians
over generations. "once" gives each row a deadline, so that it travels alone; without deadlines,
cheap rows travel together. The objective is a sum, after a sleep of 0, 1 or 20 ms; the program of
the engine `process` is a shell that sleeps as long (10 variables only, they are words of its
command line). Plain Ray: one call of an actor, or one task, for each row, waited for together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evoopt.evaluators import Evaluator, make_evaluator
from evoopt.evaluators.programs import Program, ProgramProblem
from evoopt.problem import FunctionProblem

POPSIZE, WORKERS = 16, 2
DIMENSIONS = (10, 1000)
PAUSES = (0.0, 1e-3, 20e-3)
GENERATIONS = {0.0: 100, 1e-3: 60, 20e-3: 12}
PATIENCE = 600.0  # seconds: a deadline that nothing reaches
Submit = Callable[[np.ndarray], float]  # X (k, dim) -> seconds of evaluation


def objective(pause: float) -> Callable[[np.ndarray], float]:
    """A sum after a pause, in seconds."""

    def total(x: np.ndarray) -> float:
        if pause:
            time.sleep(pause)
        return float(x.sum())

    return total


def by_evaluator(evaluator: Evaluator, deadline: float | None) -> Submit:
    """A generation through one of our engines."""

    def generation(X: np.ndarray) -> float:
        evaluator.submit(np.arange(len(X)), X, None, deadline)
        left, seconds = len(X), 0.0
        while left:
            batch = evaluator.poll(1.0)
            if batch is not None:
                left -= len(batch.ids)
                seconds += batch.seconds
        return seconds

    return generation


def by_ray(call: Callable[[int, np.ndarray], Any]) -> Submit:
    """A generation through plain Ray. call: (row, x) -> a reference to (f, seconds)."""
    import ray

    def generation(X: np.ndarray) -> float:
        answers = ray.get([call(row, x) for row, x in enumerate(X)])
        return float(sum(seconds for _, seconds in answers))

    return generation


def ways(dim: int, pause: float) -> Iterator[tuple[str, Submit, int, Callable[[], None]]]:
    """Name, generation, workers and end of each way to evaluate."""
    free = np.full(dim, np.inf)
    function = FunctionProblem(objective(pause), dim, -free, free)
    serial = make_evaluator("serial", function)
    yield "serial", by_evaluator(serial, None), 1, serial.close
    for name in ("pool", "ray"):
        evaluator = make_evaluator(name, function, WORKERS)
        yield name, by_evaluator(evaluator, None), WORKERS, lambda: None
        yield f"{name}, once", by_evaluator(evaluator, PATIENCE), WORKERS, evaluator.close
    if dim == DIMENSIONS[0]:
        text = f"sleep {pause}; echo $1" if pause else "echo $1"
        program = ProgramProblem(Program(["sh", "-c", text, "sh", "{x}"]), dim, -free, free)
        slots = make_evaluator("process", program, WORKERS)
        yield "process", by_evaluator(slots, None), WORKERS, slots.close
    yield from plain_ray(pause)


def plain_ray(pause: float) -> Iterator[tuple[str, Submit, int, Callable[[], None]]]:
    """What a user of Ray would write."""
    import ray

    fun = objective(pause)

    def timed(x: np.ndarray) -> tuple[float, float]:
        start = time.perf_counter()
        return fun(x), time.perf_counter() - start

    class Server:
        def answer(self, x: np.ndarray) -> tuple[float, float]:
            return timed(x)

    actors = [ray.remote(num_cpus=1)(Server).remote() for _ in range(WORKERS)]
    ray.get([actor.answer.remote(np.zeros(1)) for actor in actors])

    def call(row: int, x: np.ndarray) -> Any:
        return actors[row % WORKERS].answer.remote(x)

    yield "Ray: actor call", by_ray(call), WORKERS, lambda: [ray.kill(a) for a in actors] and None
    task = ray.remote(num_cpus=2)(timed)  # of five: two at a time
    yield "Ray: task", by_ray(lambda row, x: task.remote(x)), WORKERS, lambda: None


def measured(generation: Submit, dim: int, pause: float, workers: int) -> dict[str, float]:
    """Overhead and driver's CPU per evaluation, in microseconds; and their quartiles."""
    X = np.random.default_rng(1).normal(size=(POPSIZE, dim))
    for _ in range(5):  # starts the workers, and finds the pace
        generation(X)
    overhead, cpu = [], []
    for _ in range(GENERATIONS[pause]):
        start, before = time.perf_counter(), time.process_time()
        seconds = generation(X)
        overhead.append(time.perf_counter() - start - seconds / workers)
        cpu.append(time.process_time() - before)
    low, middle, high = statistics.quantiles(overhead, n=4)
    scale = 1e6 / POPSIZE
    return {
        "overhead": scale * middle,
        "lower_quartile": scale * low,
        "upper_quartile": scale * high,
        "cpu": scale * statistics.median(cpu),
    }


def main() -> None:
    """Measures all, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    start = time.perf_counter()
    free = np.full(1, np.inf)
    # the first evaluator starts Ray, with processors for the actors of two ways at a time
    first = make_evaluator("ray", FunctionProblem(objective(0.0), 1, -free, free), 3 * WORKERS)
    by_evaluator(first, None)(np.zeros((1, 1)))
    rows = [{"way": "Ray: start", "seconds": time.perf_counter() - start}]
    print(f"{'Ray: start':18s} {rows[0]['seconds']:.1f} s")
    print(f"{'':18s} {'n':>5s} {'pause':>6s} {'overhead':>9s} {'quartiles':>17s} {'cpu':>8s}  us")
    for dim in DIMENSIONS:
        for pause in PAUSES:
            for way, generation, workers, end in ways(dim, pause):
                row = measured(generation, dim, pause, workers)
                end()
                rows.append({"way": way, "dim": dim, "pause": pause, **row})
                quartiles = f"{row['lower_quartile']:.0f} - {row['upper_quartile']:.0f}"
                print(
                    f"{way:18s} {dim:5d} {1e3 * pause:4.0f}ms {row['overhead']:9.1f} "
                    f"{quartiles:>17s} {row['cpu']:8.1f}",
                    flush=True,
                )
    first.close()
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

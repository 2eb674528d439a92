"""Run times: expected, simulated, their distribution, and the area under it.

The run time to a target is the number of evaluations until it was reached. Where some of the runs
on a function missed it, restarts are simulated: runs are drawn one after the other until one
reached it, and their evaluations add up. The runs on a function are those on its instances.

Source: Hansen, Auger, Ros, Mersmann, Tusar, Brockhoff, COCO: a platform for comparing continuous
optimizers in a black-box setting, doi:10.1080/10556788.2020.1808977.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evoopt import rng
from evoopt.errors import ConfigurationError
from evoopt.result import Array
from evoopt_bench.targets import Run

SAMPLES = 60  # simulated run times per function and target; a multiple of 1-6, 10, 12 and 15 runs


def run_times(runs: Sequence[Run], targets: Array | None = None) -> tuple[Array, Array]:
    """(n, t) evaluations of each run to each target, and (n,) evaluations that each run spent.

    targets: default: those of COCO.
    """
    times = np.array([run.times(targets) for run in runs])
    return times, np.array([run.evaluations for run in runs], dtype=np.float64)


def by_function(runs: Iterable[Run]) -> dict[tuple[int, int], list[Run]]:
    """Runs on the instances of each (dim, function), in ascending order."""
    groups: dict[tuple[int, int], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.dim, run.function, run.instance)):
        groups[run.dim, run.function].append(run)
    return dict(groups)


def ert(times: Array, spent: Array) -> Array:
    """Expected run time with restarts: all evaluations spent, over the number of successes.

    Args:
        times: (n, t) evaluations to each target; inf where a run missed it.
        spent: (n,) evaluations of each run.

    Returns:
        (t,) evaluations; inf where no run reached the target.
    """
    used = np.minimum(times, spent[:, None]).sum(axis=0)
    successes = np.isfinite(times).sum(axis=0)
    return np.where(successes > 0, used / np.maximum(successes, 1), np.inf)


def simulated_run_times(
    times: Array, spent: Array, *, samples: int = SAMPLES, seed: int = 1, path: rng.Path = ()
) -> Array:
    """Run times with simulated restarts, drawn as cocopp draws them.

    The first runs are taken in turn, so that each is the first equally often where `samples` is a
    multiple of n; after a miss the next run is drawn at random.

    Args:
        times: (n, t) evaluations to each target; inf where a run missed it.
        spent: (n,) evaluations of each run.
        samples: how many run times per target.
        seed: the same seed and path give the same sample.
        path: which of the streams under this seed.

    Returns:
        (t, samples) run times; inf where no run reached the target.
    """
    n, n_targets = times.shape
    used = np.minimum(times, spent[:, None])
    missed = np.isinf(times)
    target, _ = np.indices((n_targets, samples))
    run = np.broadcast_to(np.arange(samples) % n, target.shape)
    total: Array = used[run, target]
    hopeless = np.asarray(missed.all(axis=0))
    total[hopeless] = np.inf
    rows, cols = np.nonzero(missed[run, target] & ~hopeless[:, None])
    draws = 0
    while rows.size:
        again = (rng.uniforms(seed, path, draws, 1, rows.size)[0] * n).astype(np.int64)
        total[rows, cols] += used[again, rows]
        missed_again = missed[again, rows]
        rows, cols = rows[missed_again], cols[missed_again]
        draws += 1
    return total


def run_time_distribution(
    runs: Iterable[Run], *, targets: Array | None = None, samples: int = SAMPLES, seed: int = 1
) -> Array:
    """All simulated run times, each divided by its dimension, in ascending order.

    The share of (function, target) pairs reached within b evaluations per dimension is the share
    of entries that are at most b.

    Returns:
        (functions * t * samples,) evaluations over dimension; inf where a target was never reached.
    """
    drawn = [
        simulated_run_times(*run_times(group, targets), samples=samples, seed=seed, path=key)
        / key[0]
        for key, group in by_function(runs).items()
    ]
    return np.sort(np.ravel(drawn))


def area(times: Array, dim: int, b: float) -> Array:
    """Area under the run-time distribution up to b evaluations per dimension, on a log axis.

    1 - log10(t / dim) / log10(b), clipped to [0, 1]: 1 where the target was reached within `dim`
    evaluations, 0 where it took b * dim or was missed.

    Args:
        times: (..., t) evaluations to each target.
        dim: number of variables.
        b: the budget in evaluations per dimension, above 1.

    Returns:
        (...) the mean over the targets.
    """
    part: Array = np.clip(1 - np.log10(np.asarray(times) / dim) / np.log10(b), 0, 1)
    return np.asarray(part.mean(axis=-1))


def mean_area(runs: Iterable[Run], b: float, targets: Array | None = None) -> float:
    """Mean of `area` over the runs: over functions and instances."""
    return float(np.mean([area(run.times(targets), run.dim, b) for run in runs]))


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two means with its 95 % bootstrap interval.

    Attributes:
        first, second: the two means.
        difference: first - second.
        low, high: ends of the interval of the difference.
        pairs: number of paired runs.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    pairs: int


def compare_areas(
    first: Iterable[Run], second: Iterable[Run], b: float, *, resamples: int = 10_000, seed: int = 1
) -> Difference:
    """`compare_means` of the areas to b evaluations per dimension."""
    return compare_means(
        first,
        second,
        lambda run: float(area(run.times(), run.dim, b)),
        resamples=resamples,
        seed=seed,
    )


def compare_means(
    first: Iterable[Run],
    second: Iterable[Run],
    measure: Callable[[Run], float],
    *,
    resamples: int = 10_000,
    seed: int = 1,
) -> Difference:
    """Paired bootstrap of the difference of two algorithms' mean figures.

    A pair is the same function, dimension and instance; pairs are drawn with replacement, and the
    interval reaches from the 2.5th to the 97.5th percentile of the mean difference.

    Raises:
        ConfigurationError: the two were not run on the same problems.
    """
    one, two = (
        {(r.dim, r.function, r.instance): measure(r) for r in runs} for runs in (first, second)
    )
    if one.keys() != two.keys() or not one:
        common = len(one.keys() & two.keys())
        raise ConfigurationError(
            "compare_means(first, second) must hold runs on the same problems; got"
            f" {len(one)} and {len(two)}, {common} of them common"
        )
    a = np.array([one[key] for key in sorted(one)])
    pairs = a - np.array([two[key] for key in sorted(one)])
    n = pairs.size
    means = pairs[_resamples(n, resamples, seed)].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Difference(
        float(a.mean()), float((a - pairs).mean()), float(pairs.mean()), float(low), float(high), n
    )


def interval_of_mean(
    values: Sequence[float], *, resamples: int = 10_000, seed: int = 1
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of independent values: 2.5th to 97.5th percentile."""
    means = np.asarray(values)[_resamples(len(values), resamples, seed)].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@lru_cache(maxsize=2)
def _resamples(n: int, resamples: int, seed: int) -> NDArray[np.int32]:
    """(resamples, n) which pairs each resample takes."""
    drawn = [(rng.uniforms(seed, (), k, 1, n)[0] * n).astype(np.int32) for k in range(resamples)]
    return np.array(drawn)

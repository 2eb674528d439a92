"""What a comparison came to: areas with their intervals, solved problems and cost, by dimension.

area(b) is the mean over functions, instances and COCO's 51 targets of 1 - log10(t/D) / log10(b),
clipped to [0, 1], t the evaluations to the target; see `runtime.area`. With two objectives share(b)
stands in its place, see `measure`; "area" below is either. An algorithm whose runs had a smaller
budget than b D has no area(b). Differences to the reference are paired by problem.

The virtual best of 2009 enters with its expected run times, a COCO data set with its own instances
and starts, an algorithm of 2016 with its published curve; these are shown for orientation, and no
interval is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evoopt_bench import best2009, published
from evoopt_bench.biobj import INSTANCES
from evoopt_bench.catalogue import SUITES
from evoopt_bench.coco_read import DataSet
from evoopt_bench.measure import Measure, covers, measure_of
from evoopt_bench.runtime import Difference, area, compare_means, interval_of_mean
from evoopt_bench.shares import known as known_shares
from evoopt_bench.targets import Run
from evoopt_bench.units import Comparison, Outcome, by_algorithm

OURS, PEER, VIRTUAL, DATA = "ours", "peer", "virtual best", "data set"
PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Row:
    """An algorithm in one dimension.

    Attributes:
        name: of the algorithm.
        kind: "ours", "peer", "virtual best", "published" or "data set".
        made_by: package and version; "" if not known.
        problems: how many it was run on, or its functions for the virtual best.
        solved: of them to 1e-8; None for the virtual best.
        microseconds: of processor time for an evaluation, the function included; None if unknown.
        areas: b -> area(b), for each b that its budget covers.
        groups: name of a function group -> the same.
        differences: b -> its area less that of the reference, on the problems of both.
        intervals: b -> 95 % bootstrap interval of its area, its problems drawn with replacement.
    """

    name: str
    kind: str
    made_by: str
    problems: int
    solved: int | None
    microseconds: float | None
    areas: Mapping[int, float]
    groups: Mapping[str, Mapping[int, float]]
    differences: Mapping[int, Difference] = field(default_factory=dict)
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """All algorithms in one dimension, the best first.

    Attributes:
        suite, dim: where.
        functions, instances: on which the reference was run.
        reference: name of the algorithm that the others are compared with.
        rows: by the area at the b that most of them have, the largest of these.
    """

    suite: str
    dim: int
    functions: tuple[int, ...]
    instances: tuple[int, ...]
    reference: str
    rows: tuple[Row, ...]

    @property
    def measure(self) -> Measure:
        """What the areas are."""
        return measure_of(self.suite)

    @property
    def budgets(self) -> tuple[int, ...]:
        """The b that some algorithm which was run here has an area for."""
        run_here = [row for row in self.rows if row.kind in (OURS, PEER)]
        return tuple(b for b in self.measure.budgets if any(b in row.areas for row in run_here))

    @property
    def most(self) -> int:
        """The number of problems that the reference was run on."""
        return next(row.problems for row in self.rows if row.name == self.reference)


def standings(
    comparison: Comparison,
    reference: str | None = None,
    data: Sequence[DataSet] = (),
) -> list[Standing]:
    """A standing for each dimension, in ascending order.

    Args:
        comparison: what was run.
        reference: default: cma-bipop, or the first algorithm where it was not run.
        data: COCO data sets to show beside it.
    """
    groups = by_algorithm(comparison.outcomes)
    dims = sorted({o.unit.problem.dim for o in comparison.outcomes})
    found = []
    for dim in dims:
        here = {
            name: kept
            for name, group in groups.items()
            if (kept := [o for o in group if o.unit.problem.dim == dim])
        }
        found.append(_standing(comparison.suite, dim, here, reference, data))
    return found


def _standing(
    suite: str,
    dim: int,
    here: Mapping[str, Sequence[Outcome]],
    reference: str | None,
    data: Sequence[DataSet],
) -> Standing:
    wanted = (reference, "cma-bipop", *here)
    chosen = next(name for name in wanted if name is not None and name in here)
    base = here[chosen]
    functions = tuple(sorted({o.run.function for o in base}))
    rows = [_row(suite, name, group, base) for name, group in here.items()]
    instances = tuple(sorted({o.run.instance for o in base}))
    rows += _known(suite, dim, functions, instances, data)
    order = _by_frequency(rows, measure_of(suite).budgets)
    rows.sort(key=lambda row: [-row.areas.get(b, -1.0) for b in order])
    return Standing(suite, dim, functions, instances, chosen, tuple(rows))


def _by_frequency(rows: Sequence[Row], budgets: Sequence[int]) -> list[int]:
    """Budgets, those first for which most rows have an area, of these the largest."""
    counts = {b: sum(b in row.areas for row in rows if row.kind in (OURS, PEER)) for b in budgets}
    return sorted(budgets, key=lambda b: (-counts[b], -b))


def _row(suite: str, name: str, group: Sequence[Outcome], base: Sequence[Outcome]) -> Row:
    runs = [o.run for o in group]
    measure = measure_of(suite)
    budgets = [b for b in measure.budgets if all(_covers(o, b) for o in group)]
    shared = {o.unit.problem for o in group} & {o.unit.problem for o in base}
    own, other = ([o.run for o in side if o.unit.problem in shared] for side in (group, base))
    paired = [b for b in budgets if shared and all(_covers(o, b) for o in base)]
    return Row(
        name=name,
        kind=OURS if group[0].made_by.startswith("evoopt ") else PEER,
        made_by=group[0].made_by,
        problems=len(group),
        solved=sum(run.solved for run in runs),
        microseconds=1e6 * sum(o.seconds for o in group) / max(1, sum(r.evaluations for r in runs)),
        areas={b: measure.mean(runs, b) for b in budgets},
        groups=_by_group(suite, runs, budgets),
        differences={}
        if group is base
        else {b: compare_means(own, other, measure.at(b)) for b in paired},
        intervals={b: interval_of_mean([measure.of(run, b) for run in runs]) for b in budgets},
    )


def _covers(outcome: Outcome, b: int) -> bool:
    """Whether more budget would not change the area at b."""
    if outcome.run.is_complete:
        return True
    dim = outcome.unit.problem.dim
    if outcome.run.n_obj > 1:
        return covers(outcome.unit.budget, dim, b)
    return outcome.unit.budget >= b * dim


def _by_group(
    suite: str, runs: Sequence[Run], budgets: Sequence[int]
) -> dict[str, dict[int, float]]:
    found = {}
    for name, functions in SUITES[suite].groups:
        own = [run for run in runs if run.function in functions]
        if own:
            found[name] = {b: measure_of(suite).mean(own, b) for b in budgets}
    return found


def _known(
    suite: str,
    dim: int,
    functions: Sequence[int],
    instances: Sequence[int],
    data: Sequence[DataSet],
) -> list[Row]:
    """The virtual best, what is published, and the data sets, on these functions."""
    rows = []
    measure = measure_of(suite)
    if suite == "bbob" and dim in best2009.DIMENSIONS:
        rows.append(_virtual(dim, functions))
    if SUITES[suite].n_obj > 1 and set(instances) <= set(INSTANCES):
        for line in known_shares(suite, dim, functions):
            kind = VIRTUAL if line.name == published.BEST else PUBLISHED
            rows.append(Row(line.name, kind, "", len(functions), None, None, line.shares, {}))
    for found in data:
        runs = [run for run in found.runs if run.dim == dim and run.function in functions]
        if {run.function for run in runs} == set(functions):
            longest = max(run.evaluations for run in runs)
            budgets = [b for b in measure.budgets if longest >= b * dim]
            rows.append(
                Row(
                    name=found.name,
                    kind=DATA,
                    made_by="",
                    problems=len(runs),
                    solved=sum(run.solved for run in runs),
                    microseconds=None,
                    areas={b: measure.mean(runs, b) for b in budgets},
                    groups=_by_group(suite, runs, budgets),
                )
            )
    return rows


def _virtual(dim: int, functions: Sequence[int]) -> Row:
    times = {f: best2009.best2009(f, dim) for f in functions}

    def areas(chosen: Sequence[int]) -> dict[int, float]:
        budgets = measure_of("bbob").budgets
        return {b: float(np.mean([area(times[f], dim, b) for f in chosen])) for b in budgets}

    groups = {
        name: areas(own)
        for name, members in SUITES["bbob"].groups
        if (own := [f for f in members if f in times])
    }
    return Row("best 2009", VIRTUAL, "", len(times), None, None, areas(functions), groups)

"""A standing as Markdown and as JSON, and the files that close a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evoopt.errors import MissingDependencyError, StateError
from evoopt_bench.coco_read import DataSet, read_data
from evoopt_bench.records import SCHEMA, write_json
from evoopt_bench.standing import PUBLISHED, VIRTUAL, Row, Standing, standings
from evoopt_bench.suites import number_list
from evoopt_bench.targets import Run
from evoopt_bench.units import by_algorithm, read_comparison

TABLE, DOCUMENT, PICTURE, GROUPS = "compare.md", "compare.json", "ecdf.png", "ecdf-groups.png"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison came to, and where it is written.

    Attributes:
        standings: by dimension.
        table, document: Markdown and JSON.
        pictures: run-time distributions; none where matplotlib is not installed.
    """

    standings: tuple[Standing, ...]
    table: Path
    document: Path
    pictures: tuple[Path, ...]


def conclude(
    out: Path, reference: str | None = None, data: Sequence[Path] = (), *, pictures: bool = True
) -> Verdict:
    """Write tables and pictures of all that stands in the folder of a comparison.

    Args:
        out: the folder.
        reference: the algorithm that the others are compared with; see `standings`.
        data: COCO data sets to show beside it.
        pictures: whether to draw.

    Raises:
        StateError: no comparison is there, nothing is done in it, or a data set cannot be read.
    """
    comparison = read_comparison(out)
    if not comparison.outcomes:
        raise StateError(f"{out} has no unit that is done yet")
    sets = [read_data(path) for path in data]
    found = standings(comparison, reference, sets)
    table, document = out / TABLE, out / DOCUMENT
    title = f"# {comparison.suite}, seed {comparison.seed}"
    table.write_text("\n\n".join([title, *map(markdown, found)]) + "\n", encoding="utf-8")
    write_json(document, {"schema": SCHEMA, "dimensions": [plain(s) for s in found]})
    drawn: list[Path] = []
    if pictures:
        drawn = _pictures(out, comparison.suite, by_algorithm(comparison.outcomes), sets)
    return Verdict(tuple(found), table, document, tuple(drawn))


def _pictures(
    out: Path, suite: str, groups: dict[str, list[Any]], data: Sequence[DataSet]
) -> list[Path]:
    from evoopt_bench.plots import draw_ecdf, draw_ecdf_groups

    runs = {name: [o.run for o in group] for name, group in groups.items()}
    dims = {run.dim for own in runs.values() for run in own}
    functions = {run.function for own in runs.values() for run in own}
    budget = max(o.unit.budget / o.unit.problem.dim for group in groups.values() for o in group)
    for found in data:
        kept = [r for r in found.runs if r.dim in dims and r.function in functions]
        if kept:
            runs[found.name] = [_cut(run, int(budget * run.dim)) for run in kept]
    try:
        return [
            draw_ecdf(runs, out / PICTURE, suite=suite),
            draw_ecdf_groups(runs, out / GROUPS, suite=suite),
        ]
    except MissingDependencyError:  # the numbers are there
        return []


def _cut(run: Run, budget: int) -> Run:
    """The run as far as its first `budget` evaluations."""
    kept = run.at <= budget
    return replace(run, evaluations=min(run.evaluations, budget), at=run.at[kept], f=run.f[kept])


def markdown(standing: Standing) -> str:
    """A title and two tables: all functions, and areas by function group."""
    head = (
        f"## {standing.dim}-D: functions {number_list(standing.functions)}, "
        f"instances {number_list(standing.instances)}"
    )
    return "\n\n".join([head, _table(*_main(standing)), _table(*_groups(standing))])


def _main(standing: Standing) -> tuple[list[str], list[list[str]]]:
    budgets = standing.budgets
    headings = ["algorithm", "kind", "problems", "solved", "us/evaluation"]
    word = standing.measure.name
    headings += [f"{word}({b}), less {standing.reference} [95 %]" for b in budgets]
    body = []
    for row in standing.rows:
        micros = "" if row.microseconds is None else f"{row.microseconds:.3g}"
        solved = "" if row.solved is None else f"{row.solved}"
        complete = row.kind in (VIRTUAL, PUBLISHED) or row.problems >= standing.most
        problems = f"{row.problems}" if complete else f"{row.problems} of {standing.most}"
        cells = [_area(row, b) for b in budgets]
        body.append([f"`{row.name}`", row.kind, problems, solved, micros, *cells])
    return headings, body


def _area(row: Row, b: int) -> str:
    if b not in row.areas:
        return ""
    text = _number(row.areas[b])
    if b in row.differences:
        d = row.differences[b]
        ends = f"[{_signed(d.low)}, {_signed(d.high)}]"
        away = d.low > 0 or d.high < 0
        text += f" {_signed(d.difference)} {f'**{ends}**' if away else ends}"
    elif b in row.intervals:  # the reference: of its own mean
        text += " [{}, {}]".format(*map(_number, row.intervals[b]))
    return text


def _groups(standing: Standing) -> tuple[list[str], list[list[str]]]:
    names = list(next(row.groups for row in standing.rows if row.name == standing.reference))
    rows = [row for row in standing.rows if row.areas]
    b = max((max(r.areas) for r in rows if r.name == standing.reference), default=0)
    headings = [f"{standing.measure.name}({b}) by group", *names]
    body = [
        [f"`{row.name}`", *(_number(row.groups.get(name, {}).get(b)) for name in names)]
        for row in rows
        if b in row.areas and row.groups
    ]
    return headings, body


def _number(value: float | None) -> str:
    """.1234, as tables of areas have it."""
    return "" if value is None else f"{value:.4f}".removeprefix("0")


def _signed(value: float) -> str:
    sign = "-" if value < 0 else "+"
    return sign + _number(abs(value))


def _table(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(standing: Standing) -> dict[str, Any]:
    """As JSON values: mappings by number become mappings by text."""
    values: dict[str, Any] = _texts(asdict(standing))
    return values


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list | tuple) else value

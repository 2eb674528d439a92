"""`evoopt bench`: our algorithms beside those of others, on benchmark suites.

What runs stands above this package (`evoopt_bench`), so it is named by strings.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import rich_click as click

from evoopt.cli import console
from evoopt.cli.options import as_json, quiet
from evoopt.cli.words import cores, suites, workers
from evoopt.errors import OK, ConfigurationError, Interrupted

_COMPARE = (
    "Example:  evoopt bench compare --suite bbob --algorithms cma-es,ma-es --peers cma-bipop "
    "--dim 2,5 --budget 100D --out runs/compare"
)
_RUN = click.Path(path_type=Path)
_reference = click.option(
    "--reference",
    metavar="NAME",
    help="What the others are compared with [default: cma-bipop, or the first].",
)
_data = click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A COCO data set, folder or .tgz, to show beside; may be repeated.",
)


def _module(name: str) -> Any:
    return importlib.import_module(f"evoopt_bench.{name}")


@click.group("bench", epilog="Example:  evoopt bench list")
def bench() -> None:
    """Compare algorithms, ours and those of others, on the same problems."""


@bench.command("list", epilog="Example:  evoopt bench list")
@as_json
def listing(json: bool) -> None:
    """What can be compared: algorithms of ours, and peers."""
    units = _module("units")
    own = {n: dict.fromkeys(units.algorithms(n)) for n in (1, 2)}
    peers = {n: units.peers_of(n) for n in (1, 2)}
    headings = ("name", "kind", "objectives", "what it is", "package")
    about = "see evoopt list algorithms"
    rows = [(name, "ours", _where(name, own), about, "") for name in own[1] | own[2]]
    rows += [
        (name, "peer", _where(name, peers), peer.about, peer.package)
        for name, peer in (peers[1] | peers[2]).items()
    ]
    if json:
        console.document({"algorithms": [dict(zip(headings, row, strict=True)) for row in rows]})
    else:
        console.table(headings, rows, left=len(headings))


def _where(name: str, tables: dict[int, Any]) -> str:
    """The numbers of objectives whose table has the name."""
    return ", ".join(str(n_obj) for n_obj, table in tables.items() if name in table)


@bench.command("compare", epilog=_COMPARE)
@click.option("--suite", default="bbob", show_default=True, metavar="NAME")
@click.option("--algorithms", default="", metavar="NAME,...", help="Of ours.")
@click.option("--peers", default="", metavar="NAME,...", help="Of others; see evoopt bench list.")
@click.option("--dim", metavar="LIST", help="2,3,5 [default: the suite's small ones].")
@click.option("--function", metavar="LIST", help="1-24 [default: all].")
@click.option("--instance", metavar="LIST", help="1-5 [default: 1-3].")
@click.option("--budget", default="100D", show_default=True, metavar="N", help="For each problem.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N")
@click.option("--workers", "worker_text", metavar="N", help="Processes [default: all cores].")
@_reference
@_data
@click.option("--out", type=_RUN, required=True, metavar="DIR", help="New, or there already.")
@as_json
@quiet
def compare(
    suite: str,
    algorithms: str,
    peers: str,
    out: Path,
    reference: str | None,
    data: tuple[Path, ...],
    json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Run algorithms on the same problems, from the same starts, with the same budgets.

    What stands in DIR is not run again: the same call goes on after an interruption, and another
    one adds algorithms, problems or budget. The tables are made of all that is there; area(B) is
    the area under the run-time distribution, over log evaluations, to B per dimension; 1 at best.
    With two objectives share(B) takes its place: the share of COCO's 58 targets met by then.
    """
    names = [name for text in (algorithms, peers) for name in text.replace(" ", "").split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise ConfigurationError(
            "--algorithms or --peers must be given, such as --algorithms cma-es,ma-es; got neither"
        )
    chosen = suites().select(
        suite, function=given["function"], dim=given["dim"], instance=given["instance"]
    )
    crew = cores() if given["worker_text"] is None else workers(given["worker_text"])
    from evoopt.cli.suite import SuiteProgress

    title = f"{suite}, {len(names)} algorithms"
    with SuiteProgress(title, crew, enabled=not quiet, what="runs") as progress:
        try:
            _module("compare").compare(
                chosen,
                names,
                out,
                budget=given["budget"],
                seed=given["seed"],
                workers=crew,
                progress=progress.report,
            )
        except Interrupted as error:
            console.note("interrupted: nothing is lost; the same command goes on")
            return error.exit_code
    return _concluded(out, reference, data, json=json)


@bench.command("report", epilog="Example:  evoopt bench report runs/compare --reference cma-es")
@click.argument("out", metavar="DIR", type=_RUN)
@_reference
@_data
@as_json
def report(out: Path, reference: str | None, data: tuple[Path, ...], json: bool) -> int:
    """Tables and pictures of a comparison, as far as it is."""
    return _concluded(out, reference, data, json=json)


def comparison_facts(out: Path) -> dict[str, Any]:
    """How far a comparison is, by names."""
    from evoopt.cli.stored import in_use

    units = _module("units")
    found = units.read_comparison(out)
    groups = units.by_algorithm(found.outcomes)
    lock = out / ".lock"
    running = lock.exists() and in_use(lock)
    return {
        "run": str(out),
        "state": "running" if running else "stopped",
        "suite": found.suite,
        "seed": found.seed,
        "algorithms": {name: len(group) for name, group in groups.items()},
        "problems": len({o.unit.problem for o in found.outcomes}),
        "runs": len(found.outcomes),
        "solved": sum(o.run.solved for o in found.outcomes),
        "evaluations": sum(o.run.evaluations for o in found.outcomes),
    }


def comparison_status(out: Path, *, json: bool) -> None:
    """How far a comparison is."""
    facts = comparison_facts(out)
    if json:
        console.document(facts)
        return
    runs = ", ".join(f"{name} {count}" for name, count in facts["algorithms"].items())
    console.pairs([(name, str(value)) for name, value in (facts | {"algorithms": runs}).items()])


def show_comparison(out: Path, *, json: bool) -> None:
    """The tables of a comparison as far as it is; nothing is written."""
    found = _module("standing").standings(_module("units").read_comparison(out))
    if json:
        facts = comparison_facts(out)
        console.document({**facts, "dimensions": [_module("verdict").plain(s) for s in found]})
        return
    for standing in found:
        _show(standing)
    comparison_status(out, json=False)


def _concluded(out: Path, reference: str | None, data: tuple[Path, ...], *, json: bool) -> int:
    """Write and show what a comparison came to."""
    verdict = _module("verdict").conclude(out, reference, data)
    if json:
        console.document({"run": str(out), **_module("records").read_json(verdict.document)})
        return OK
    for standing in verdict.standings:
        _show(standing)
    console.pairs(
        [
            ("run", str(out)),
            ("table", str(verdict.table)),
            ("data", str(verdict.document)),
            ("pictures", ", ".join(map(str, verdict.pictures)) or "none: pip install '.[plot]'"),
        ]
    )
    return OK


def _show(standing: Any) -> None:
    """A standing as text: areas, and against the reference."""
    budgets = standing.budgets
    headings = [f"{standing.dim}-D", "problems", "solved", "us/eval"]
    for b in budgets:
        headings += [f"{standing.measure.name}({b})", f"less {standing.reference}"]
    rows = []
    for row in standing.rows:
        micros = "" if row.microseconds is None else f"{row.microseconds:.3g}"
        line = [row.name, str(row.problems), "" if row.solved is None else str(row.solved), micros]
        for b in budgets:
            d = row.differences.get(b)
            line.append(f"{row.areas[b]:.4f}" if b in row.areas else "")
            line.append("" if d is None else f"{d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]")
        rows.append(line)
    console.table(headings, rows, left=1)
    print()

"""`evoopt list`: what there is to choose from, and which runs there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import rich_click as click

from evoopt.cli import console
from evoopt.cli.options import as_json
from evoopt.cli.words import RUNS, choose, suites
from evoopt.errors import ConfigurationError, StateError

Table = tuple[Sequence[str], Sequence[Sequence[str]]]

# engine -> what it does, when to use it (orders of magnitude: reports/), how it is chosen
_ENGINES = {
    "serial": (
        "row by row in this process",
        "under 20 us an evaluation, a function that can be trusted",
        "--no-isolate",
    ),
    "vectorized": (
        "all rows at once in this process",
        "a function of X (k, dim)",
        "--vectorized --no-isolate",
    ),
    "pool": (
        "worker processes that stay",
        "whatever may hang or crash; 20 us and more",
        "the default for functions; --workers N",
    ),
    "process": (
        "a process for each evaluation, on its own processors or GPU",
        "programs, training runs; 10 ms and more",
        "a program after --; --engine process, --gpus 0,1",
    ),
    "ray": (
        "actors of a Ray cluster that stay",
        "several machines; 50 ms and more",
        "--engine ray, --ray-address ADDRESS",
    ),
}

_ELSEWHERE = {  # what else there is to list, and where it stands
    "peers": "see evoopt bench list",
    "functions": "see evoopt list suites",
    "problems": "see evoopt list suites",
    "options": "see evoopt list algorithms --options",
    "kinds": "see evoopt plot --help",
    "plots": "see evoopt plot --help",
}


@click.command("list", epilog="Example:  evoopt list algorithms")
@click.argument("what", metavar="algorithms|suites|engines|runs")
@click.option(
    "--in",
    "folder",
    type=click.Path(path_type=Path),
    default=RUNS,
    show_default=True,
    metavar="DIR",
    help="Where to look for runs.",
)
@click.option("--options", is_flag=True, help="Which options each algorithm takes.")
@as_json
def listing(what: str, folder: Path, options: bool, json: bool) -> None:
    """Algorithms, suites, engines (ways to evaluate), or runs."""
    tables: dict[str, Callable[[], Table]] = {
        "algorithms": _options if options else _algorithms,
        "suites": _suites,
        "engines": _engines,
        "runs": lambda: _runs(folder),
    }
    if options and what != "algorithms":
        raise ConfigurationError(f"--options is for algorithms; got '{what}'")
    if what in _ELSEWHERE:
        raise ConfigurationError(
            f"list must be one of {', '.join(tables)}; got '{what}': {_ELSEWHERE[what]}"
        )
    headings, rows = tables[choose(what, tables, "list")]()
    if json:
        console.document({what: [dict(zip(headings, row, strict=True)) for row in rows]})
    elif rows:
        console.table(headings, rows, left=len(headings))
    else:
        console.note(f"there are no {what} in {folder}")


def _algorithms() -> Table:
    from evoopt.strategies import AUTO, STRATEGIES

    auto = "a quadratic model, then BIPOP restarts of what fits the dimension: start here"
    rows = [(AUTO, auto, "evoopt.choice")]
    for name, place in STRATEGIES.items():
        module = place.partition(":")[0]
        rows.append((name, _sentence(importlib.import_module(module).__doc__), module))
    return ("algorithm", "what it is", "module"), rows


def _options() -> Table:
    from evoopt.options import table

    return table()


def _suites() -> Table:
    number_list = suites().number_list
    rows = [
        (
            suite.name,
            suite.about,
            number_list(suite.functions),
            number_list(suite.dimensions),
            f"--dim {number_list(suite.default_dimensions)} "
            f"--instance {number_list(suite.default_instances)}",
        )
        for suite in suites().SUITES.values()
    ]
    return ("suite", "what it is", "functions", "dimensions", "chosen if you do not"), rows


def _engines() -> Table:
    from evoopt.evaluators import EVALUATORS

    rows = [(name, *_ENGINES[name]) for name in EVALUATORS]
    return ("engine", "what it does", "when to use it", "how it is chosen"), rows


def _runs(folder: Path) -> Table:
    rows = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (path / "manifest.json").exists():
            rows.append((str(path), *_about(path)))
    return ("run", "problem", "algorithm", "state", "evaluations", "f"), rows


def _about(path: Path) -> tuple[str, str, str, str, str]:
    """Problem, algorithm, state, evaluations, best f (or hypervolume) of a run."""
    from evoopt.cli.stored import read
    from evoopt.cli.suite import is_comparison, is_suite_run, suite_facts

    try:
        if is_comparison(path):
            from evoopt.cli.bench import comparison_facts

            facts = comparison_facts(path)
            problems = f"{facts['suite']}, {facts['problems']} problems"
            names = f"{len(facts['algorithms'])} algorithms"
            return problems, names, facts["state"], str(facts["evaluations"]), ""
        if is_suite_run(path):
            facts = suite_facts(path)
            problems = f"{facts['done']} of {facts['problems']} problems"
            solved = f"{facts['solved']} solved"
            return problems, facts["algorithm"], facts["state"], str(facts["evaluations"]), solved
        stored = read(path)
    except StateError:
        return "?", "?", f"damaged: see evoopt show {path}", "?", "?"
    problem = stored.manifest.get("problem", {})
    several = f", {problem['objectives']} objectives" if "objectives" in problem else ""
    return (
        f"{problem.get('name')}, {problem.get('dim')}-D{several}",
        str(stored.manifest.get("label")),
        stored.state,
        str(stored.evaluations),
        console.number(stored.f),
    )


def _sentence(docstring: str | None) -> str:
    """The first sentence."""
    text = " ".join((docstring or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")

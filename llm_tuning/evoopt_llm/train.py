"""`evoopt-train`: one training run in this process, from a config to a result.

    evoopt-train CONFIG --set optimizer.lr=3e-3 --out runs/first
    torchrun --nproc-per-node 2 -m evoopt_llm.train CONFIG --out runs/second

Exit codes: 0 all steps done; 2 usage or config; 3 the run ended otherwise (nan, diverged, out of
memory, out of time): the result says how; 4 a checkpoint or folder that cannot be used; 5 a package
or device is missing; 130, 143 a signal came, and a checkpoint was written.
"""

from __future__ import annotations

import importlib
import json as json_text
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from evoopt.cli import console
from evoopt.cli.group import CONTEXT
from evoopt.cli.options import as_json, quiet
from evoopt.cli.words import Target, fresh_run
from evoopt.errors import missing
from evoopt_llm.order import Order

if TYPE_CHECKING:
    from evoopt_llm.accounts import Mode, Progress
    from evoopt_llm.checkpoint import Checkpoint
    from evoopt_llm.config import TrainConfig
    from evoopt_llm.distributed import Group
    from evoopt_llm.result import TrainResult

_EPILOG = "Example:  evoopt-train llm_tuning/configs/tiny.toml --set run.steps=200 --out runs/tiny"


@click.command(context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="A value that goes before the file's, such as optimizer.lr=3e-3; repeatable.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Folder of the run [default: runs/<date>-<config>].",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out from its checkpoint.")
@click.option(
    "--previous", is_flag=True, help="With --resume: from the checkpoint before the last one."
)
@click.option(
    "--branch-from",
    type=click.Path(path_type=Path),
    metavar="CKPT",
    help="Begin at a checkpoint of another run (its file, or the run for its last one).",
)
@click.option(
    "--branch",
    "branches",
    multiple=True,
    metavar='"NAME: KEY=VALUE ..."',
    help="With --branch-from: a branch of this name, in a folder of --out; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Parameters, tokens, FLOPs and memory; no training.")
@click.option("--keys", is_flag=True, help="List all keys of a config with their defaults.")
@as_json
@quiet
def train(**given: Any) -> int:
    """Train the language model that CONFIG describes, a .toml or .json file.

    Without CONFIG, --resume and --branch-from take the config of the run that they go on with. The
    run is kept in a folder: config.json, metrics.jsonl, checkpoints, result.json.
    """
    _check_packages()
    order = Order(**given)
    order.check()
    if order.keys:
        return _list_keys(order.json)
    from evoopt_llm.distributed import Told, group

    with group() as processes:
        try:
            return _done(order, processes)
        except Told as error:
            return error.exit_code


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line. args: without the program's name; default: those of the process.

    Returns:
        The exit code.
    """
    from evoopt.cli.exits import run

    return run(train, args, name="evoopt-train", reworded=str)


def _done(order: Order, processes: Group) -> int:
    """The order, carried out. Returns: the exit code."""
    start, before = processes.by_all(lambda: _beginning(order))
    if start is not None and processes.is_first:
        from evoopt_llm.shown import changed

        for line in changed(start.more, str(start.path)):
            console.note(line)
    if order.dry_run:
        return _dry_run(order, before, processes)
    if order.branch_from is not None and start is not None:
        return _run_branches(order, start, processes)
    result = _run_one(order, start, before, processes)
    _tell(result, order, processes)
    return result.exit_code


def _beginning(order: Order) -> tuple[Checkpoint | None, dict[str, Any] | None]:
    """The checkpoint that the run begins at, and the config of the run that it goes on with."""
    from evoopt_llm import checkpoint
    from evoopt_llm.config import check_stored
    from evoopt_llm.runfolder import CHECKPOINTS, CONFIG, read_config

    if order.branch_from is not None:
        start = checkpoint.load(checkpoint.find(order.branch_from))
        check_stored(start.config, start.path)
        return start, start.config
    if not order.resume or order.out is None:
        return None, None
    before = read_config(order.out)
    check_stored(before, order.out / CONFIG)
    if not (order.previous or checkpoint.listed(order.out / CHECKPOINTS)):
        return None, before  # killed before its first checkpoint
    return checkpoint.load(checkpoint.find(order.out, before_last=order.previous)), before


def _check_packages() -> None:
    """Refuses to begin where one of the extra's packages is missing."""
    for name in ("torch", "safetensors", "pydantic"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise missing(name, "llm", "evoopt-train") from error


def _config(
    order: Order, processes: Group, before: dict[str, Any] | None, own: Sequence[str] = ()
) -> TrainConfig:
    """The config, resolved by the first process for all of them.

    Args:
        order: names the file; without one the config of before is taken.
        processes: that get it.
        before: config of the run that goes on; a seed that was drawn then is kept.
        own: overrides of a branch.
    """
    from evoopt_llm.config import config_of
    from evoopt_llm.tables import overridden, read_tables

    def resolved() -> str:
        tables = read_tables(order.config) if order.config is not None else before or {}
        tables = overridden(tables, (*order.overrides, *own))
        run = tables.get("run")
        if before is not None and isinstance(run, dict) and "seed" not in run:
            tables["run"] = {**run, "seed": before["run"]["seed"]}
        place = str(order.config or "config")
        return json_text.dumps(config_of(tables, place).resolved().plain())

    text = processes.shared(processes.by_first(resolved) or "")
    return config_of(json_text.loads(text), "the first process")


def _run_one(
    order: Order, start: Checkpoint | None, before: dict[str, Any] | None, processes: Group
) -> TrainResult:
    """A run from its start, or on from its checkpoint."""
    config = _config(order, processes, before)
    mode: Mode = "resume" if order.resume else "new"
    return _run(config, _folder(order, processes), mode, start, order, processes)


def _run_branches(order: Order, start: Checkpoint, processes: Group) -> int:
    """Branches of a trunk, one after another; all are checked before the first one begins."""
    from evoopt_llm import branches

    def checked() -> list[TrainConfig]:
        for config in configs:
            branches.check(start, config)
        return configs

    named = processes.by_all(order.named_branches)
    processes.by_all(lambda: branches.check_names([name for name, _ in named]))
    configs = [_config(order, processes, start.config, own) for _, own in named]
    processes.by_all(checked)
    folder, results = _folder(order, processes), []
    for (name, _), config in zip(named, configs, strict=True):
        result = _run(config, folder / name, "branch", start, order, processes)
        results.append(result)
        if not order.json:
            _tell(result, order, processes)
        if result.status == "killed":
            break
    if order.json and processes.is_first:
        console.document({"branches": [result.plain() for result in results]})
    return max(result.exit_code for result in results)


def _run(
    config: TrainConfig,
    folder: Path,
    mode: Mode,
    start: Checkpoint | None,
    order: Order,
    processes: Group,
) -> TrainResult:
    """One run, shown on stderr while it goes on."""
    from evoopt.observers.progress import Display
    from evoopt_llm.shown import facts
    from evoopt_llm.trial import train as trained

    display = Display(str(folder), enabled=processes.is_first and not order.quiet)

    def watch(progress: Progress) -> None:
        now = time.monotonic()
        if display.is_due(now):
            display.show(facts(progress, bar=sys.stderr.isatty()), now)

    display.open(f"{config.model.kind}, {config.total_steps} steps, seed {config.seed}")
    try:
        return trained(config, folder, mode=mode, start=start, group=processes, watch=watch)
    finally:
        display.close()


def _tell(result: TrainResult, order: Order, processes: Group) -> None:
    """The result on stdout."""
    from evoopt_llm.shown import rows

    if processes.is_first:
        console.document(result.plain()) if order.json else console.pairs(rows(result))


def _dry_run(order: Order, before: dict[str, Any] | None, processes: Group) -> int:
    """What a run would take, on stdout."""
    from evoopt_llm.estimate import estimate

    config = _config(order, processes, before)
    if processes.is_first:
        found = estimate(config, processes.size)
        console.document(found.plain()) if order.json else console.pairs(found.table())
    return 0


def _list_keys(json: bool) -> int:
    """Every key of a config, on stdout."""
    from evoopt_llm.keys import keys

    found = keys()
    if json:
        console.document({key.name: {"default": key.default, "is": key.text} for key in found})
    else:
        rows = [(key.name, key.default, key.text) for key in found]
        console.table(("key", "default", "what it is"), rows, left=3)
    return 0


def _folder(order: Order, processes: Group) -> Path:
    """That of --out, or one that is not there yet, of the name of the config."""
    if order.out is not None:
        return order.out
    stem = order.config.stem if order.config is not None else "train"
    return Path(processes.shared(str(fresh_run(Target(stem, "function", stem)))))


if __name__ == "__main__":
    sys.exit(main())

"""`evoopt verify` and `evoopt repair`: is a run as it was written, and a copy of what still is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from evoopt.cli import console
from evoopt.cli.options import as_json, run_argument
from evoopt.errors import OK, STATE, ConfigurationError

if TYPE_CHECKING:
    from evoopt.rundir import Report


@click.command(epilog="Example:  evoopt verify runs/first")
@run_argument
@as_json
def verify(run: Path, json: bool) -> int:
    """Check every record of RUN, its manifest and its snapshots.

    Nothing is changed.
    Exit code 4 if something is damaged. The end that a crash has torn off is no damage.
    """
    from evoopt.cli.suite import is_suite_run, problem_folders
    from evoopt.rundir import verify as check

    folders = problem_folders(run) if is_suite_run(run) else [run]
    reports = [check(folder) for folder in folders]
    sound = all(report.is_sound for report in reports)
    if json:
        console.document({"sound": sound, "runs": [asdict(report) for report in reports]})
    elif len(reports) == 1 and folders == [run]:
        console.pairs(_pairs(reports[0]))
    else:
        rows = [(Path(r.path).name, str(r.records), _verdict(r)) for r in reports]
        console.table(("problem", "records", "verdict"), rows, left=3)
    return OK if sound else STATE


@click.command(epilog="Example:  evoopt repair runs/f --to 120 --into runs/f-copy")
@run_argument
@click.option("--to", type=int, metavar="K", help="Last record to keep [default: all valid ones].")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The copy: a folder that does not exist or is empty.",
)
@as_json
def repair(run: Path, to: int | None, into: Path, json: bool) -> None:
    """Copy the valid start of RUN into a new folder.

    The copy can be resumed; RUN itself is left as it is.
    """
    from evoopt.cli.suite import is_suite_run
    from evoopt.rundir import repair as copy

    if is_suite_run(run):
        raise ConfigurationError(
            f"repair takes the run of one problem; {run} is a suite run: see evoopt verify {run}"
        )
    with copy(run, into, to_record=to) as made:
        records, manifest = made.count, made.manifest
    if json:
        console.document({"run": str(into), "records": records})
        return
    from evoopt.cli.resume import resume_command

    console.pairs([("run", str(into)), ("records", str(records))])
    console.note(f"next: {resume_command(into, manifest)}")


def _pairs(report: Report) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(report.kinds.items()))
    rows = [
        ("verdict", _verdict(report)),
        ("records", f"{report.records} ({kinds})"),
        ("bytes", f"{report.valid} valid of {report.size}"),
    ]
    rows += [("torn", f"{report.torn} bytes, cut off when the run goes on")] if report.torn else []
    for name, fault in report.snapshots.items():
        rows.append(("snapshot", f"{name}: {fault or 'sound'}"))
    return rows


def _verdict(report: Report) -> str:
    return report.damage or report.manifest or "sound"

"""`evoopt doctor`: is everything there that a run needs, and if not, what brings it."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import rich_click as click

import evoopt as package
from evoopt.cli import console
from evoopt.cli.options import as_json
from evoopt.cli.words import RUNS, cores
from evoopt.errors import MISSING_DEPENDENCY, OK, STATE

# extra -> the packages it brings, by the names under which they are imported and distributed
EXTRAS = {
    "bench": {"cocoex": "coco-experiment", "cocopp": "cocopp"},
    "bobyqa": {"pybobyqa": "Py-BOBYQA"},
    "hv": {"moocore": "moocore"},
    "llm": {"torch": "torch", "safetensors": "safetensors", "pydantic": "pydantic"},
    "plot": {"matplotlib": "matplotlib"},
    "ray": {"ray": "ray"},
}
_CORE = (
    "numpy", "scipy", "click", "rich", "rich-click", "cloudpickle", "threadpoolctl",
)  # fmt: skip


@click.command(epilog="Example:  evoopt doctor --need plot --need bench")
@click.option(
    "--need",
    type=click.Choice([*EXTRAS]),
    multiple=True,
    help="Exit code 5 if this extra is missing; may be repeated.",
)
@as_json
def doctor(need: tuple[str, ...], json: bool) -> int:
    """Versions, cores, linear algebra, extras, and the run folder."""
    facts = {**_versions(), **_machine()}
    missing = {extra: _missing(extra) for extra in EXTRAS}
    folder, fault = _run_folder()
    if json:
        problems = {"missing": missing, "run_folder": folder, "run_folder_fault": fault or None}
        console.document({**facts, **problems})
    else:
        rows = [(name, str(value)) for name, value in facts.items()]
        rows += [(f"extra {extra}", _verdict(extra, names)) for extra, names in missing.items()]
        rows.append(("run folder", f"{folder}: {fault or 'writable, with locks'}"))
        console.pairs(rows)
    lacking = [extra for extra in need if missing[extra]]
    for extra in lacking:
        names = ", ".join(missing[extra])
        console.note(f"error: {names} missing; install with: pip install '.[{extra}]'")
    if lacking:
        return MISSING_DEPENDENCY
    return STATE if fault else OK


def _versions() -> dict[str, str]:
    import platform
    from importlib import metadata

    found = {"evoopt": package.__version__, "python": platform.python_version()}
    for name in (*_CORE, *(d for extra in EXTRAS.values() for d in extra.values())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _machine() -> dict[str, object]:
    """Cores and linear algebra."""
    import platform

    import numpy as np
    import threadpoolctl

    np.linalg.eigh(np.eye(2))  # loads the library, if nothing has done so yet
    blas = "; ".join(
        f"{info['internal_api']} {info['version']}, {info['num_threads']} threads"
        for info in threadpoolctl.threadpool_info()
        if info["user_api"] == "blas"
    )
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "linear algebra": f"{blas or 'unknown'} (a search uses 1)",
        "executable": sys.executable,
    }


def _missing(extra: str) -> list[str]:
    from importlib.util import find_spec

    return [d for name, d in EXTRAS[extra].items() if find_spec(name) is None]


def _verdict(extra: str, names: list[str]) -> str:
    return f"{', '.join(names)} missing: pip install '.[{extra}]'" if names else "installed"


def _run_folder() -> tuple[str, str]:
    """Where runs are kept that get no name, and what is wrong with it."""
    import tempfile

    folder = Path(RUNS) if Path(RUNS).is_dir() else Path()
    where = str(folder.resolve())
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fsync(file.fileno())
    except OSError as error:
        return where, f"runs cannot be kept here: {error.strerror}"
    return where, ""

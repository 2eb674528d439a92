"""What starting costs, as facts that do not depend on the clock: which packages get loaded."""

import json
import subprocess
import sys
from pathlib import Path

HEAVY = {
    "cloudpickle",
    "cocoex",
    "cocopp",
    "matplotlib",
    "multiprocessing",
    "optuna",
    "pebble",
    "pydantic",
    "scipy",
    "torch",
}
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def loaded_after(code: str, cwd: Path) -> set[str]:
    """Names of all modules in a fresh interpreter that ran `code` with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{REPORT}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_import_evoopt_loads_neither_numpy_nor_any_module_of_its_own(tmp_path: Path) -> None:
    loaded = loaded_after("import evoopt", tmp_path)
    assert not loaded & {*HEAVY, "numpy", "click", "rich"}
    assert {name for name in loaded if name.startswith("evoopt")} == {"evoopt"}


def test_help_loads_neither_numpy_nor_anything_heavy(tmp_path: Path) -> None:
    code = """
import sys
sys.argv = ["evoopt", "--help"]
from evoopt.cli import main
try:
    sys.exit(main())
except SystemExit as exit:
    assert not exit.code, exit.code
"""
    assert not loaded_after(code, tmp_path) & {*HEAVY, "numpy"}


def test_minimize_in_one_process_loads_nothing_heavy(tmp_path: Path) -> None:
    code = """
import evoopt
evoopt.minimize(lambda x: float(x @ x), [1.0, 2.0], sigma0=0.5, budget=50, seed=1)
"""
    assert not loaded_after(code, tmp_path) & HEAVY


def test_every_public_name_is_what_its_module_defines(tmp_path: Path) -> None:
    code = """
import evoopt
for name in evoopt.__all__:
    assert getattr(evoopt, name) is not None, name
    assert name in dir(evoopt), name
"""
    loaded_after(code, tmp_path)


def test_importing_every_module_has_no_side_effect(tmp_path: Path) -> None:
    code = """
import os, pkgutil, sys, threading, importlib
before = dict(os.environ)
import evoopt, evoopt_bench, evoopt_llm
for package in (evoopt, evoopt_bench, evoopt_llm):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
assert dict(os.environ) == before, "the environment was changed"
assert threading.active_count() == 1, "a thread was started"
"""
    loaded_after(code, tmp_path)
    assert not list(tmp_path.iterdir())

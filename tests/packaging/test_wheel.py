"""The wheel as a user gets it: installed elsewhere without extras, run from another folder."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_CODE = "def sphere(x):\n    return sum(v * v for v in x)\n"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def built(folder: Path) -> Path:
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    done = run(sys.executable, *build, ROOT, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = archive.read("evoopt_toolkit-0.1.0.dist-info/entry_points.txt").decode()
    assert wheel.name == "evoopt_toolkit-0.1.0-py3-none-any.whl"
    tops = {name.split("/")[0] for name in names}
    assert tops == {"evoopt", "evoopt_bench", "evoopt_llm", "evoopt_toolkit-0.1.0.dist-info"}
    assert {"evoopt/py.typed", "evoopt_bench/py.typed", "evoopt_llm/py.typed"} <= set(names)
    assert "evoopt_bench/data/biobj_references.csv" in names
    assert "evoopt_toolkit-0.1.0.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if "__pycache__" in name]
    assert "evoopt = evoopt.cli:main" in entry_points


@pytest.mark.slow
def test_wheel_installed_elsewhere_runs_its_commands(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    wheel = built(tmp_path)
    venv.create(tmp_path / "environment", with_pip=True, symlinks=True)
    scripts = tmp_path / "environment" / "bin"
    pip = (scripts / "python", "-m", "pip", "install", "--quiet", "--no-input")
    done = run(*pip, "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mine.py").write_text(USER_CODE)
    evoopt = scripts / "evoopt"

    with subtests.test("the version"):
        done = run(evoopt, "--version", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "0.1.0" in done.stdout

    with subtests.test("help, also as a module"):
        done = run(scripts / "python", "-m", "evoopt", "--help", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "minimize" in done.stdout

    with subtests.test("the list of algorithms"):
        done = run(evoopt, "list", "algorithms", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert {"cma-es", "ma-es", "random"} <= set(done.stdout.split())

    with subtests.test("a user's function"):
        options = ("--dim", "3", "--bounds", "-5", "5", "--seed", "1", "--target", "1e-8")
        done = run(evoopt, "minimize", "mine:sphere", *options, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["f"] <= 1e-8

    with subtests.test("a suite without its extra"):
        done = run(evoopt, "minimize", "bbob:f1:d2:i1", "--out", "run", cwd=folder)
        assert done.returncode == 5
        assert "bench" in done.stderr
        assert "Traceback" not in done.stderr

    with subtests.test("nothing that was installed is left over or lacking"):
        done = run(scripts / "python", "-m", "pip", "check", cwd=folder)
        assert done.returncode == 0, done.stdout

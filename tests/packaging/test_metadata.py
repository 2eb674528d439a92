"""What pyproject.toml, constraints.txt and README.md promise one another."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import evoopt

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NOT_IMPORTED = {"six"}  # cocopp's, which does not ask for it
PART_OF = {"pydantic_core": "pydantic"}  # a package of the same project, always at its version
BY_NAME = ("import_module", "find_spec")
MODULE_OF = {"coco-experiment": "cocoex", "Py-BOBYQA": "pybobyqa"}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    for requirement in wanted:
        assert re.fullmatch(r"==[\w.+!]+", str(requirement.specifier)), requirement
    return {canonicalize_name(r.name): str(r.specifier)[2:] for r in wanted}


def modules(requirements: Iterable[str]) -> set[str]:
    names = {Requirement(text).name for text in requirements} - NOT_IMPORTED
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in names}


def third_party(folder: str) -> set[str]:
    """Top-level names of what the package imports beyond the standard library and the house."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(BY_NAME):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
                found.update(str(text).split(".")[0] for text in texts)
    house = {"evoopt", "evoopt_bench", "evoopt_llm"}
    return {PART_OF.get(name, name) for name in found} - sys.stdlib_module_names - house


def needed(requirement: Requirement, seen: dict[str, str]) -> None:
    """Fill `seen` with the installed version of all that `requirement` brings, itself included."""
    for extra in ("", *requirement.extras):
        key = f"{canonicalize_name(requirement.name)}[{extra}]"
        if key in seen:
            continue
        found = metadata.distribution(requirement.name)
        seen[key] = found.version.split("+")[0]  # torch says which build it is
        for text in found.requires or ():
            child = Requirement(text)
            if child.marker is None or child.marker.evaluate({"extra": extra}):
                needed(child, seen)


def test_versions_agree() -> None:
    assert evoopt.__version__ == PROJECT["version"] == metadata.version("evoopt-toolkit")


def test_every_package_that_the_extras_bring_is_pinned_at_the_installed_version() -> None:
    seen: dict[str, str] = {}
    needed(Requirement("evoopt-toolkit[all]"), seen)
    installed = {key.split("[")[0]: version for key, version in seen.items()}
    del installed["evoopt-toolkit"]
    known = pins()
    assert installed == {name: known.get(name) for name in installed}


def test_the_packages_import_what_the_project_depends_on_and_nothing_else() -> None:
    extras = [
        line for extra in ("bench", "bobyqa", "hv", "llm", "plot", "ray") for line in EXTRAS[extra]
    ]
    promised = modules([*PROJECT["dependencies"], *extras])
    packages = ("evoopt", "benchmarks/evoopt_bench", "llm_tuning/evoopt_llm")
    assert set().union(*map(third_party, packages)) == promised
    # pypop7 brings half of the field: what is measured against it says how to install it
    elsewhere = {"numpy", "scipy", "ray", "pypop7", "moarchiving", "moocore", "torch"}
    assert third_party("benchmarks/perf") - elsewhere == modules(EXTRAS["peers"])


@pytest.mark.parametrize("name", ["main-command", "test-command"])
def test_readme_marks_its_two_commands(name: str) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(rf"^<!-- {name} -->\n+```sh\n(.+?)\n```$", text, re.M | re.S)
    assert len(blocks) == 1
    assert "-c constraints.txt" in blocks[0]


def test_each_line_of_an_extra_names_what_needs_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    table = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    bare = [line for line in table.splitlines() if re.match(r'\s+"', line) and "#" not in line]
    assert not bare

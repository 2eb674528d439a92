"""House rules that a syntax tree or a search can check, file by file."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("evoopt", "benchmarks/evoopt_bench", "llm_tuning/evoopt_llm")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NOT_OURS = re.compile(r"(\.(?!ci/)[^/]+|build|dist|runs|exdata|ppdata)/|.*__pycache__/")
SHARED_PARTS = {  # of evoopt/strategies/
    "base", "biquadratic", "callback", "collect", "conversation", "course", "drawn", "fronts",
    "initial", "isotropic", "quadmodel", "reflections", "selection", "stopping", "valley",
    "weights",
}  # fmt: skip
SOLVERS = {"bobyqa.py": {"pybobyqa"}, "cobyqa.py": {"scipy"}}  # of others, behind ask and tell
NO_STRATEGIES = {*SHARED_PARTS, "__init__", "states"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=name_of)


def dotted(node: ast.AST) -> str:
    """`np.random.default_rng` for the attribute node that reads so; "" for any other node."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def imported(tree: ast.AST) -> Iterator[str]:
    """Full name of every module that is imported, and of every name imported from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}


@each([path for path in MODULES if name_of(path) != "evoopt/rng.py"])
def test_random_numbers_come_from_rng_alone(path: Path) -> None:
    tree = ast.parse(path.read_text())
    used = {name for name in map(dotted, ast.walk(tree)) if name.startswith("np.random")}
    pattern = re.compile(r"(numpy\.random|random|secrets|uuid)\b")
    assert not used | {name for name in imported(tree) if pattern.match(name)}


@each(MODULES)
def test_no_code_is_read_from_data(path: Path) -> None:
    tree = ast.parse(path.read_text())
    allowed = {"cloudpickle"} if name_of(path) == "evoopt/evaluators/pool.py" else set()
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"} - allowed
    assert not roots(path) & banned
    for function, call in calls(tree):
        assert function not in {"eval", "exec", "compile", "builtins.eval", "builtins.exec"}
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                assert isinstance(keyword.value, ast.Constant)
                assert keyword.value.value is False


@each([p for p in MODULES if not {"observers", "cli"} & set(p.relative_to(ROOT).parts)])
def test_only_observers_and_commands_print(path: Path) -> None:
    used = {function for function, _ in calls(ast.parse(path.read_text()))}
    assert not used & {"print", "sys.stdout.write", "sys.stderr.write"}


@each([p for p in (ROOT / "evoopt/strategies").glob("*.py") if p.stem not in NO_STRATEGIES])
def test_a_strategy_imports_only_numpy_and_the_shared_parts(path: Path) -> None:
    names = {name for name in imported(ast.parse(path.read_text())) if name[:6] == "evoopt"}
    parts = "|".join(SHARED_PARTS)
    below = "rng|result|errors|archive|hypervolume"
    allowed = re.compile(rf"evoopt\.({below}|strategies\.({parts}))\b")
    assert not {name for name in names if not allowed.match(name)}
    solver = SOLVERS.get(path.name, set())
    assert roots(path) - {"evoopt", "numpy"} - solver <= set(sys.stdlib_module_names)


def repository_texts() -> Iterator[tuple[str, str]]:
    for path in ROOT.rglob("*"):
        if path.is_file() and not NOT_OURS.match(name_of(path)):
            # errors: a picture or an archive is searched too
            yield name_of(path), path.read_text(errors="replace")


def test_no_file_names_a_folder_of_one_machine_or_a_package_index() -> None:
    folders = "|".join(("home", "root", "work", "Users", "mnt"))
    hosts = "|".join(("pypi", "pythonhosted", "npmjs"))
    pattern = re.compile(rf"(?<![\w.~*-])/(?:{folders})/|\b(?:{hosts})\.org\b")
    found = {name: pattern.findall(text) for name, text in repository_texts()}
    assert not {name: hits for name, hits in found.items() if hits}


def test_no_file_tells_to_install_the_distribution_of_somebody_else() -> None:
    pattern = re.compile(r"(?:pip|uv|pipx)\s+install\s+(?:-\S+\s+)*['\"]?evoopt(?![-\w/])")
    found = {name for name, text in repository_texts() if pattern.search(text)}
    assert found <= {"CONTRIBUTING.md"}  # which says not to

"""Nothing read from a run directory can become code."""

import ast
from pathlib import Path

import evoopt.rundir

MODULES = sorted(Path(evoopt.rundir.__file__).parent.glob("*.py"))
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "importlib"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def test_no_module_can_turn_data_into_code():
    names = imports = calls = 0
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                origin = getattr(node, "module", None) or ""
                roots = {name.split(".")[0] for name in [origin, *(a.name for a in node.names)]}
                assert not roots & UNSAFE_MODULES, f"{module.name}:{node.lineno}"
                imports += 1
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    assert node.func.id not in UNSAFE_CALLS, f"{module.name}:{node.lineno}"
                    names += 1
                unsafe = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert all(k.value.value is False for k in unsafe), f"{module.name}:{node.lineno}"
                calls += 1
    assert len(MODULES) >= 9
    assert imports > 50
    assert calls > 200
    assert names > 100


def test_only_the_floor_below_is_imported():
    allowed = {"errors", "result", "rundir"}
    found = 0
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("evoopt"):
                assert node.module.split(".")[1] in allowed, f"{module.name}:{node.lineno}"
                found += 1
    assert found > 10

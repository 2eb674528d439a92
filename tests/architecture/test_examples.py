"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "evoopt": ROOT / "evoopt",
    "evoopt_bench": ROOT / "benchmarks/evoopt_bench",
    "evoopt_llm": ROOT / "llm_tuning/evoopt_llm",
}


def with_examples() -> list[str]:
    return sorted(
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for package, folder in SOURCES.items()
        for path in folder.rglob("*.py")
        if ">>>" in path.read_text()
    )


@pytest.mark.parametrize("module", with_examples())
def test_examples_print_what_they_say(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed


def test_the_package_itself_has_an_example() -> None:
    assert "evoopt" in with_examples()


def test_the_example_of_the_readme_prints_what_it_says() -> None:
    """Digits may differ with the processor; the fields, the success and the reason do not."""
    text = (ROOT / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    shown = text.split("```text\n")[1].split("```")[0].splitlines()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed = done.stdout.splitlines()
    assert [line.split()[0] for line in printed] == [line.split()[0] for line in shown]
    fields = dict(line.split(maxsplit=1) for line in printed)
    assert float(fields["f"]) <= 1e-8
    assert fields["success"] == "True"
    assert fields["reason"].startswith("ftarget")

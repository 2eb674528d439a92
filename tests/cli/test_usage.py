"""Every error is one line on stderr that names what was wrong, and has its exit code."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoopt.cli import COMMANDS

Cli = Callable[..., Any]

SPHERE = ("minimize", "obj.py:sphere", "--dim", "3", "--bounds", "-5", "5")
BAD = [
    ("minimise bbob", "'minimize'"),
    ("minimize", "TARGET"),
    ("minimize bbbob", "TARGET"),
    ("minimize bbbob", "'bbob'"),
    ("minimize obj.py", "obj.py:NAME"),
    ("minimize obj.py:shpere --dim 3 --bounds -5 5", "obj.py:shpere"),
    ("minimize nothere:f --dim 3 --bounds -5 5", "nothere"),
    ("minimize obj.py:sphere --dim 3 --bounds 5 -5", "--bounds"),
    ("minimize obj.py:sphere --dim 3 --bounds a 5", "'a'"),
    ("minimize obj.py:sphere --dim 3 --bounds nan 5", "--bounds"),
    ("minimize obj.py:sphere --dim 3 --bounds -5", "--bounds"),
    ("minimize obj.py:sphere --bounds -5 5", "--dim"),
    ("minimize obj.py:sphere --dim 3", "--x0"),
    ("minimize obj.py:sphere --dim 0 --bounds -5 5", "--dim"),
    ("minimize obj.py:sphere --dim 2,3 --bounds -5 5", "--dim"),
    ("minimize obj.py:sphere --dim 3 --bounds 1 1", "--bounds"),
    ("minimize obj.py:sphere --dim 3 --bounds -5 5 --bounds -1 1", "--bounds"),
    ("minimize bbob --x0 1,2", "--x0"),
    ("minimize bbob --bounds -5 5", "--bounds"),
    ("minimize bbob --target 1", "--target"),
    ("minimize bbob --maximize", "--maximize"),
    ("minimize bbob --no-isolate", "--isolate"),
    ("minimize bbob --time-limit 5", "--time-limit"),
    ("minimize bbob --dim 7", "--dim"),
    ("minimize bbob --function 25", "--function"),
    ("minimize bbob --instance 0", "--instance"),
    ("minimize bbob --budget 0", "--budget"),
    ("minimize bbob --algorithm cmaes", "'cma-es'"),
    ("minimize bbob --seed -1", "--seed"),
    ("minimize bbob --sigma0 0", "--sigma0"),
    ("minimize bbob --workers 0", "--workers"),
    ("minimize bbob:f8:d10:i1 --dim 3", "--dim"),
    ("minimize bbob:f8:d7:i1", "--dim"),
    ("minimize bbob:f8:d10:i1 --workers 2", "--workers"),
    ("minimize bbob:g8", "'g8'"),
    ("list algos", "'algorithms'"),
    ("plot anytim runs/a", "'anytime'"),
    ("plot anytime", "RUN"),
    ("plot anytime runs/a -o a.jpg", ".svg"),
    ("completion tcsh", "bash, zsh, fish"),
    ("doctor --need cuda", "cuda"),
    ("repair runs/a", "--into"),
]
BAD += [
    ("list peers", "evoopt bench list"),
    ("list functions", "evoopt list suites"),
    ("list algorithm", "did you mean 'algorithms'?"),
]
BAD_WITH_SPHERE = [
    ("--algorithm cmaes", "--algorithm"),
    ("--algorithm cmaes", "'cma-es'"),
    ("--algoritm cma-es", "'--algorithm'"),
    ("--x0 6,0,0", "--x0"),
    ("--x0 1,2", "--x0"),
    ("--x0 1,a,2", "--x0"),
    ("--x0 nan,1,2", "--x0"),
    ("--budget 0", "--budget"),
    ("--budget -5", "--budget"),
    ("--budget nan", "--budget"),
    ("--budget 100X", "--budget"),
    ("--sigma0 -1", "--sigma0"),
    ("--sigma0 nan", "--sigma0"),
    ("--sigma0 1,2", "--sigma0"),
    ("--seed a", "--seed"),
    ("--seed -1", "--seed"),
    ("--popsize 1", "--popsize"),
    ("--popsize 4.5", "--popsize"),
    ("--restarts bipp", "--restarts"),
    ("--workers 0", "--workers"),
    ("--workers many", "--workers"),
    ("--workers 2 --no-isolate", "--isolate"),
    ("--time-limit 0", "--time-limit"),
    ("--time-limit 3x", "--time-limit"),
    ("--eval-timeout 1 --no-isolate", "--isolate"),
    ("--max-failures -1", "--max-failures"),
    ("--target abc", "--target"),
    ("--target 1,2", "--target"),
    ("--function 3", "--function"),
    ("--instance 3", "--instance"),
    ("--out a*b", "--out"),
]


def check_one_line(said: Any, names: str) -> None:
    lines = said.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert names in lines[0]
    assert said.out == ""


@pytest.mark.parametrize(("words", "names"), BAD)
def test_bad_usage_is_one_line_naming_the_argument(
    words: str, names: str, cli: Cli, workplace: Path
) -> None:
    said = cli(*words.split())
    assert said.code == 2
    check_one_line(said, names)
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize(("words", "names"), BAD_WITH_SPHERE)
def test_a_bad_option_is_one_line_naming_it(
    words: str, names: str, cli: Cli, workplace: Path
) -> None:
    said = cli(*SPHERE, *words.split())
    assert said.code == 2
    check_one_line(said, names)
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize("command", ["show", "status", "verify", "resume", "plot anytime"])
def test_a_run_that_is_not_there_has_exit_code_4(command: str, cli: Cli) -> None:
    said = cli(*command.split(), "nothere")
    assert said.code == 4
    check_one_line(said, "nothere")


def test_a_missing_package_has_exit_code_5_and_names_the_extra(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = cli("plot", "anytime", "runs/a", "-o", "a.svg")
    assert said.code == 5
    check_one_line(said, ".[plot]")


def test_an_unexpected_exception_says_that_it_is_a_bug(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evoopt.cli.listing._engines", lambda: 1 / 0)
    said = cli("list", "engines")
    assert said.code == 70
    check_one_line(said, "this is a bug of evoopt: please report it")
    assert "ZeroDivisionError: division by zero at test_usage.py" in said.err


def test_a_traceback_is_shown_where_it_is_asked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOOPT_DEBUG", "1")
    assert "Traceback" in cli("show", "nothere").err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_page_shows_an_example_of_its_command(name: str, cli: Cli) -> None:
    said = cli(name, "--help")
    assert said.code == 0
    example = " ".join(said.out.split("Example:")[1].split())
    assert f"evoopt {name}" in example


def test_the_first_page_lists_all_commands(cli: Cli) -> None:
    said = cli("--help")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.split("Commands:\n")[1].splitlines() if line][
        : len(COMMANDS)
    ] == list(COMMANDS)


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    from evoopt import __version__

    assert __version__ in cli("--version").out


def test_no_words_at_all_show_the_first_page(cli: Cli) -> None:
    said = cli()
    assert (said.code, said.err) == (0, "")
    assert said.out == cli("--help").out


def test_a_reader_that_leaves_early_is_no_error(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start("list", "algorithms")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_a_disk_that_is_full_is_said(start: Callable[..., subprocess.Popen[str]]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as out:
        process = start("list", "algorithms", stdout=out)
        assert process.wait(timeout=60) == 4
    assert process.stderr is not None
    assert process.stderr.read() == "error: [Errno 28] No space left on device\n"

"""`evoopt minimize ... -- PROGRAM`: programs are searched, kept and resumed like functions."""

import json
from pathlib import Path

import pytest

import evoopt
from evoopt.evaluators import EVALUATORS

AWK = ("awk", "-v", "x={x1}", "-v", "y={x2}")
SPHERE = (*AWK, 'BEGIN { print "step 1"; printf "%.17g\\n", x * x + y * y }')
SEARCH = (
    "--algorithm", "cma-es", "--bounds", -3, 5, "--budget", 60, "--seed", 1, "--json", "-q",
)  # fmt: skip
WORDS = {"algorithm": "cma-es", "budget": 60, "seed": 1}


def sphere(x):
    return float(x[0] * x[0] + x[1] * x[1])


def test_a_program_is_searched_as_the_function_that_it_computes(cli):
    said = cli("minimize", *SEARCH, "--out", "r", "--", *SPHERE)
    assert said.code == 0, said.err
    function = evoopt.minimize(sphere, bounds=([-3] * 2, [5] * 2), **WORDS)
    assert said.document["f"] == function.f
    assert said.document["x"] == function.x.tolist()
    trials = Path("r/trials")
    assert len(list(trials.iterdir())) == 60
    assert (trials / "59" / "stdout").read_text().startswith("step 1\n")
    assert cli("verify", "r").code == 0


def test_workers_and_the_python_interface_give_the_same_search(cli):
    one = cli("minimize", *SEARCH, "--out", "one", "--", *SPHERE).document
    two = cli("minimize", *SEARCH, "--workers", 2, "--out", "two", "--", *SPHERE).document
    program = evoopt.Program(list(SPHERE))
    python = evoopt.minimize(program, bounds=(-3, 5), engine="process", **WORDS)
    assert one["f"] == two["f"] == python.f
    assert one["x"] == two["x"] == python.x.tolist()


def test_a_run_that_was_cut_off_is_resumed_with_its_program_given_again(cli):
    whole = cli("minimize", *SEARCH, "--out", "whole", "--", *SPHERE).document
    assert cli("repair", "whole", "--to", 40, "--into", "part").code == 0
    refused = cli("resume", "part")
    assert refused.code == 2
    assert "resume needs the program once more" in refused.err
    hint = refused.err.rstrip().partition("run: ")[2]
    assert hint.startswith("evoopt resume part -- awk -v 'x={x1}' -v 'y={x2}' 'BEGIN { print ")
    other = cli("resume", "part", "--", "echo", "{x1}", "{x2}")
    assert other.code == 2
    assert "TARGET must be the program of part, which is 'awk -v" in other.err
    rest = cli("resume", "part", "--json", "-q", "--workers", 2, "--", *SPHERE)
    assert rest.document["x"] == whole["x"]
    assert rest.document["evaluations"] == 60


def test_the_engine_may_differ_when_a_run_goes_on(cli):
    words = ("obj.py:linear", "--dim", 2, *SEARCH, "--engine", "process", "--gpus", "0")
    function = evoopt.minimize(lambda x: float(x[0]), bounds=([-3] * 2, [5] * 2), **WORDS)
    Path("r").mkdir()
    stopped = cli("minimize", *words, "--time-limit", "1ms", "--out", "r")
    assert stopped.document["evaluations"] < 60
    rest = cli("resume", "r", "obj.py:linear", "--engine", "serial", "--time-limit", 60, "--json")
    assert rest.document["x"] == function.x.tolist()
    refused = cli("resume", "r", "obj.py:linear", "--ray-address", "auto")
    assert "--ray-address must be left out but with engine='ray'" in refused.err


def test_no_program_is_run_that_only_a_folder_names(cli):
    cli("minimize", *SEARCH, "--out", "r", "--", *SPHERE)
    Path("r/result.json").unlink()
    manifest = json.loads(Path("r/manifest.json").read_text())
    manifest["argv"] = ["evoopt", "minimize", "--", "touch", "evil", "{x1}"]
    manifest["problem"]["name"] = "touch evil {x1}"
    Path("r/manifest.json").write_text(json.dumps(manifest))
    for command in ("show", "status", "verify", "resume"):
        cli(command, "r")
    assert not Path("evil").exists()


def test_a_hang_costs_one_evaluation_and_a_seed_reaches_the_program(cli):
    text = 'case $2 in *[05]) sleep 1000;; esac; echo "$1"'
    program = ("sh", "-c", text, "sh", "{x1}", "{seed}")
    limits = ("--workers", 2, "--eval-timeout", "250ms")
    words = ("--algorithm", "cma-es", "--bounds", -1, 1, "--budget", 20, "--seed", 3)
    said = cli("minimize", *words, *limits, "--json", "-q", "--", *program).document
    assert said["evaluations"] == 20
    assert 0 < said["failures"]["timeout"] < 20
    assert said["first_failure"] == "timeout: did not end within 0.25 s"


def test_a_program_that_always_fails_ends_the_search_with_its_words(cli):
    program = ("sh", "-c", "echo no mesh >&2; exit 4", "{x}")
    said = cli("minimize", "--dim", 2, "--bounds", -1, 1, "--seed", 1, "-q", "--", *program)
    assert said.code == 3
    assert "raised: the program ended with exit code 4; it said: no mesh" in said.err


BOX = ("--bounds", -1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*BOX, "obj.py:sphere", "--", "echo", "{x1}"), "TARGET must be left out with a program"),
        ((*BOX, "--", "echo", "{x}"), "--dim must be given, or --x0"),
        ((*BOX, "--dim", 3, "--", "echo", "{x1}"), "PROGRAM must hold {x1} to {x3}"),
        ((*BOX, "--x0", "1,2,3", "--", "echo", "{x1}"), "--x0 must be 1 numbers (--dim 1); got 3"),
        ((*BOX, "--", "echo", "{y}"), "PROGRAM may hold the placeholders {x}, {x1}, {x2}, ...,"),
        ((*BOX, "--", "no-such", "{x1}"), "PROGRAM must begin with a program that can be run"),
        ((*BOX, "--no-isolate", "--", "echo", "{x1}"), "--isolate must be left out for a program"),
        ((*BOX, "--vectorized", "--", "echo", "{x1}"), "--vectorized must be false for a program"),
        ((*BOX, "--engine", "pool", "--", "echo", "{x1}"), "--engine must be 'process' for a prog"),
        ((*BOX, "--gpus", "0", "--dim", 2, "obj.py:sphere"), "--gpus must be left out but with"),
        ((*BOX, "--gpus", "0,", "--", "echo", "{x1}"), "--gpus must be names between commas"),
        ((*BOX, "--function", "1", "--", "echo", "{x1}"), "--function cannot be used with 'echo {"),
        ((*BOX,), "TARGET must be given: module:function"),
        (("--", "echo", "{x1}"), "--x0 must be given where a variable has no finite bounds"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(cli, words, message):
    said = cli("minimize", *words)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not Path("runs").exists()


def test_a_relative_program_is_found_where_the_command_was_given(cli, workplace):
    (workplace / "sim").write_text('#!/bin/sh\necho "$1"\n')
    (workplace / "sim").chmod(0o700)
    said = cli("minimize", "--dim", 1, "--bounds", -1, 1, "--budget", 8, "--", "./sim", "{x}")
    assert said.code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.endswith("-sim-x")
    assert json.loads((run / "manifest.json").read_text())["problem"]["name"] == "sim {x}"


def test_list_engines_says_when_to_use_each(cli):
    rows = cli("list", "engines", "--json").document["engines"]
    assert [row["engine"] for row in rows] == list(EVALUATORS)
    assert all(row["when to use it"] and row["how it is chosen"] for row in rows)


def test_doctor_tells_of_ray(cli):
    assert "extra ray" in cli("doctor").out


def test_a_program_may_have_named_parameters():
    space = evoopt.Space.of({"rate": evoopt.Float(1e-3, 1.0, log=True), "n": evoopt.Integer(1, 5)})
    program = evoopt.Program(["echo", "{rate}{n}"], space=space)  # 0.5 and 3 print 0.53
    result = evoopt.minimize(program, budget=20, seed=1, algorithm="cma-es")
    assert result.f == float(f"{space.point(result.x)['rate']}{space.point(result.x)['n']}")
    with pytest.raises(
        evoopt.ConfigurationError, match=r"must hold \{rate\}, \{n\}, .* got no \{n\}"
    ):
        evoopt.Program(["echo", "{rate}"], space=space)
    with pytest.raises(
        evoopt.ConfigurationError, match=r"space=...\) must be left out with a prog"
    ):
        evoopt.minimize(program, space=space)

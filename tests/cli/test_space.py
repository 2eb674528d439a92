"""`evoopt minimize --space FILE`: a function of a dict from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.cli.spacefile import read_space, space_of
from evoopt.space import Categorical, Float, Integer, Space

Cli = Callable[..., Any]
TRAIN = """
import math


def train(point):
    off = abs(math.log10(point["rate"]) + 2) + abs(point["layers"] - 4)
    return off + (point["act"] != "gelu")
"""
TOML = """
act = ["relu", "gelu", false]

[rate]
type = "float"
low = 1e-5
high = 0.1
log = true

[layers]
type = "integer"
low = 1
high = 9
step = 1
"""
SPACE = Space(
    {
        "act": ["relu", "gelu", False],
        "rate": Float(1e-5, 0.1, log=True),
        "layers": Integer(1, 9),
    }
)


@pytest.fixture(autouse=True)
def files(cli: Cli) -> None:
    Path("train.py").write_text(TRAIN)
    Path("space.toml").write_text(TOML)


def minimize(cli: Cli, *words: str) -> Any:
    fixed = ("--space", "space.toml", "--seed", "1", "--no-isolate", "-q")
    return cli("minimize", "train.py:train", *fixed, *words)


def test_toml_and_json_say_the_same() -> None:
    Path("space.json").write_text(json.dumps(SPACE.plain()))
    for file in ("space.toml", "space.json"):
        read = read_space(Path(file))
        assert dict(read.parameters) == dict(SPACE.parameters)
    assert dict(space_of(SPACE.plain(), "here").parameters) == dict(SPACE.parameters)


def test_the_command_does_what_the_function_does(cli: Cli) -> None:
    said = minimize(cli, "--budget", "200", "--json", "--out", "r")
    result = evoopt.minimize("train.py:train", space=SPACE, budget=200, seed=1)
    assert said.code == 0
    assert said.document["point"] == result.point
    assert said.document["f"] == result.f
    assert "point        act=gelu rate=" in minimize(cli, "--budget", "30").out
    shown = cli("show", "r").out
    assert "point" in shown
    assert "[rate] float, low 1e-05, high 0.1, log" in " ".join(shown.split())
    assert cli("show", "r", "--json").document["point"] == result.point


def test_a_start_has_names(cli: Cli) -> None:
    said = minimize(cli, "--x0", "rate=0.01,layers=4,act=false", "--budget", "20", "--out", "r")
    assert said.code == 0
    start = json.loads(Path("r/manifest.json").read_text())["settings"]["x0"]
    assert SPACE.decode(np.array([start])) == [
        {"act": False, "rate": pytest.approx(0.01), "layers": 4}
    ]


def test_a_run_goes_on_with_the_space_of_its_manifest(cli: Cli) -> None:
    whole = minimize(cli, "--budget", "300", "--json", "--out", "whole").document
    minimize(cli, "--budget", "300", "--out", "part")
    log = Path("part/log.jsonl")
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) // 2]))
    Path("part/result.json").unlink()
    for snapshot in Path("part/snapshots").glob("*"):
        snapshot.unlink()
    Path("space.toml").unlink()
    said = cli("resume", "part", "train.py:train", "--json", "-q")
    assert said.code == 0
    assert said.document["point"] == whole["point"]
    assert said.document["evaluations"] == whole["evaluations"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "space.toml must name a parameter"),
        ("[a", "space.toml: "),
        ("[a]\nlow = 1", "[a] type must be one of float, integer, categorical; there is none"),
        ('[a]\ntype = "flaot"', "[a] type must be one of float, integer, categorical; got 'flaot'"),
        ('[a]\ntype = "float"\nlow = 1\nhihg = 2', "unknown key 'hihg'; did you mean 'high'?"),
        ('[a]\ntype = "float"\nlow = 1\nhihg = 2', "[a] high is missing"),
        ('[a]\ntype = "float"\nlow = 3\nhigh = 1', "[a] low must be < high"),
        ('[a]\ntype = "integer"\nlow = 3.5\nhigh = 7', "[a] low must be a whole number; got 3.5"),
        ('[a]\ntype = "categorical"\nchoices = []', "[a] choices must hold a value"),
        ('a = ["x", "x"]', "[a] choices must differ from one another"),
        ("a = 3", "[a] must be a table with a type, or a list of choices; got 3"),
        ("a = 3\n[b]\ntype = 1", "; [b] type must be one of"),
        ('[a]\ntype = "float"\nlow = 0\nhigh = 1\n[a]\nlow = 1', "space.toml: "),
    ],
)
def test_a_file_that_describes_no_space_is_refused_in_one_line(
    text: str, said: str, cli: Cli
) -> None:
    Path("space.toml").write_text(text)
    refused = minimize(cli, "--budget", "20")
    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_key_that_comes_twice_in_json_is_refused(cli: Cli) -> None:
    Path("space.json").write_text('{"a": [1, 2], "a": [3, 4]}')
    refused = cli("minimize", "train.py:train", "--space", "space.json")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "'a' comes twice" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--dim 3", "--dim cannot be used with --space"),
        ("--bounds 0 1", "--bounds cannot be used with --space"),
        ("--space none.toml", "none.toml cannot be read: No such file or directory"),
        ("--x0 rate=0.01,layer=3,act=relu", "got 'layer=3'; did you mean 'layers'?"),
        ("--x0 1,2,3", "--x0 must be like act=VALUE,..."),
        ("--x0 rate=0.01,layers=3,act=rule", "--x0 act must be one of relu, gelu, False"),
        ("--x0 rate=a,layers=3,act=relu", "--x0 rate must be a number; got 'a'"),
        ("--x0 rate=0.01", "must name act, rate, layers; got rate"),
        ("--algorithm canonical-es", "where a variable is discrete; got 'canonical-es'"),
    ],
)
def test_words_that_do_not_go_with_a_space_are_refused(words: str, said: str, cli: Cli) -> None:
    refused = minimize(cli, *words.split())
    assert refused.code == 2
    assert said in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_suite_has_its_own_space(cli: Cli) -> None:
    refused = cli("minimize", "bbob:f1:d2:i1", "--space", "space.toml")
    assert refused.code == 2
    assert "--space cannot be used with 'bbob:f1:d2:i1'" in refused.err


def test_choices_of_a_file_may_be_of_any_type() -> None:
    space = space_of({"a": [1, "1", True, None, 1.5, [1, 2]]}, "here")
    assert space.parameters["a"] == Categorical((1, "1", True, None, 1.5, [1, 2]))


def test_the_names_of_a_space_are_the_placeholders_of_a_program(cli: Cli) -> None:
    Path("sim").write_text('#!/bin/sh\necho "$1 $2 $3" >> seen\necho 1 "$3"\n')
    Path("sim").chmod(0o755)
    program = ("--", "./sim", "{act}", "--rate={rate}", "{layers}")
    words = ("--space", "space.toml", "--seed", "1", "--budget", "9", "-q", "--out", "r")
    said = cli("minimize", *words, "--json", *program)
    assert said.code == 0
    assert said.document["f"] == said.document["point"]["layers"]
    seen = [line.split() for line in Path("seen").read_text().splitlines()]
    assert len(seen) == 9
    assert {act for act, _, _ in seen} <= {"relu", "gelu", "False"}
    assert all(1e-5 <= float(rate.removeprefix("--rate=")) <= 0.1 for _, rate, _ in seen)
    assert all(layers.isdecimal() for _, _, layers in seen)
    assert cli("resume", "r", "-q", *program).code == 0
    for wrong, what in (("{layer}", "got {layer}"), ("", "got no {layers}")):
        refused = cli("minimize", *words, *program[:-1], wrong)
        assert refused.code == 2
        assert "must hold {act}, {rate}, {layers}, and may hold" in refused.err
        assert what in refused.err

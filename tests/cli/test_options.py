"""Options that not every algorithm takes, as the command line has them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.cli.words import options
from evoopt.errors import ConfigurationError
from evoopt.options import SHARED, own_options, takes
from evoopt.strategies import STRATEGIES

Cli = Callable[..., Any]
SPHERE = ("minimize", "obj.py:sphere", "--bounds", -5, 5, "--seed", 1, "--no-isolate")
HERE = (*SPHERE, "--dim", 3, "--algorithm", "cma-es", "--budget", 60)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=3", 3),
        ("a=-1e-3", -1e-3),
        ("a=true", True),
        ("a = False", False),
        ("a=none", None),
        ("a=csa", "csa"),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_a_value_is_a_number_a_truth_nothing_or_text(pair: str, value: object) -> None:
    read = options((pair,))
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


def test_without_options_there_are_none() -> None:
    assert options(()) is None
    assert options(("a=1", "b=2")) == {"a": 1, "b": 2}


@pytest.mark.parametrize("pairs", [("a",), ("=1",), ("a=1", "a=2")])
def test_what_is_no_option_is_refused(pairs: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="--set must"):
        options(pairs)


def test_set_gives_an_option_to_the_algorithm(cli: Cli) -> None:
    said = cli(*HERE, "--set", "active=false", "--json").document
    words: dict[str, Any] = {"algorithm": "cma-es", "seed": 1, "budget": 60}
    box = (np.full(3, -5.0), np.full(3, 5.0))
    same = evoopt.minimize(lambda x: float(x @ x), bounds=box, options={"active": False}, **words)
    other = evoopt.minimize(lambda x: float(x @ x), bounds=box, **words)
    assert said["f"] == same.f != other.f


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "activ=1"), "--set must be options of algorithm 'cma-es'; got 'activ'; did you"),
        (("--set", "active=3"), "--set must be given with active = true or false; got 3"),
        (("--engine", "sreial"), "--engine must be one of serial, "),
        (("--ray-address", "x"), "--ray-address must be left out but with engine='ray'"),
        (("--warm-start", "no"), "--warm-start must be a run directory, or a .csv or .json file"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_as_it_was_given(
    cli: Cli, words: tuple[str, ...], says: str
) -> None:
    said = cli(*HERE, *words)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_the_engine_can_be_named(cli: Cli) -> None:
    words = [word for word in HERE if word != "--no-isolate"]
    assert cli(*words, "--engine", "serial").code == 0
    said = cli(*words, "--engine", "serial", "--workers", 2)
    assert said.code == 2
    assert "with more than one worker" in said.err


def test_a_search_begins_with_what_an_earlier_one_has_seen(cli: Cli) -> None:
    cli(*HERE, "--out", "first")
    from_run = cli(*HERE, "--warm-start", "first", "--json").document
    assert "x0 and the first covariance from 60 evaluations" in from_run["notes"]
    x = [[0.1 * i, 0.0, 0.0] for i in range(30)]
    Path("seen.json").write_text(json.dumps({"X": x, "F": [row[0] ** 2 for row in x]}))
    from_file = cli(*HERE, "--warm-start", "seen.json", "--json").document
    assert "x0 and the first covariance from 30 evaluations" in from_file["notes"]


def test_a_warm_run_goes_on_without_the_file_it_began_with(cli: Cli) -> None:
    x = [[0.1 * i, 0.0, 0.0] for i in range(30)]
    Path("seen.json").write_text(json.dumps({"X": x, "F": [row[0] ** 2 for row in x]}))
    words = (*HERE, "--warm-start", "seen.json", "--json")
    whole = cli(*words, "--out", "whole").document
    cut = cli(*words, "--out", "cut", "--time-limit", "1ms").document
    assert cut["evaluations"] < 60
    Path("seen.json").unlink()
    again = cli("resume", "cut", "obj.py:sphere", "--time-limit", "1h", "--json").document
    assert again["f"] == whole["f"]


def test_each_value_may_be_used_as_it_comes(cli: Cli) -> None:
    assert cli(*HERE, "--asynchronous").code == 0
    said = cli(*SPHERE, "--dim", 3, "--algorithm", "cobyqa", "--asynchronous")
    assert said.code == 2
    assert "--asynchronous must be left out with algorithm 'cobyqa'; it is for cma-es" in said.err


def test_the_table_of_options_is_listed(cli: Cli) -> None:
    rows = cli("list", "algorithms", "--options", "--json").document["algorithms"]
    assert [row["algorithm"] for row in rows] == list(STRATEGIES)
    for row in rows:
        name = row["algorithm"]
        assert {word for word in SHARED if row[word]} == {w for w in SHARED if takes(name, w)}
        assert all(option in row["options of its own"] for option in own_options(name))
    assert cli("list", "suites", "--options").code == 2

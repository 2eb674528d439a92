"""Configs: what a file says, what goes before it, and all problems at once, each with its place."""

import json
from pathlib import Path

import pytest
from training import tables, tiny

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm.config import check_stored, config_of, decisive, differences, load
from evoopt_llm.keys import keys
from evoopt_llm.tables import overridden, read_tables

TOML = """
[model]
kind = "gpt"
dim = 64
[run]
steps = 20
keep_steps = [5, 10]
"""


def written(tmp_path: Path, text: str, name: str = "c.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def said(plain: dict) -> str:
    with pytest.raises(ConfigurationError) as caught:
        config_of(plain, "the file")
    text = str(caught.value)
    assert text.startswith("the file: ")
    assert "\n" not in text
    return text.removeprefix("the file: ")


def test_a_file_in_toml_and_one_in_json_are_the_same_config(tmp_path: Path) -> None:
    path = written(tmp_path, TOML)
    other = written(tmp_path, json.dumps(read_tables(path)), "c.json")
    assert load(path) == load(other)
    assert load(path).run.keep_steps == (5, 10)


def test_a_config_comes_back_from_its_json(tiny_cache: str) -> None:
    config = tiny(tiny_cache, precision={"kind": "nvfp4"}, optimizer={"kind": "adamwn"})
    assert config_of(json.loads(json.dumps(config.plain())), "it") == config


def test_values_on_the_command_line_go_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, TOML)
    words = ["optimizer.lr=3e-3", "run.steps = 30", "model.tie=true", "run.keep_steps=none"]
    config = load(path, [*words, "optimizer.kind=adamwn", "optimizer.target_ratio=[1, 2.5]"])
    assert (config.optimizer.lr, config.run.steps, config.model.tie) == (3e-3, 30, True)
    assert config.optimizer.target_ratio == (1.0, 2.5)
    assert config.run.keep_steps == ()


def test_the_tables_that_were_read_are_left_as_they_are(tmp_path: Path) -> None:
    plain = {"run": {"steps": 1}}
    assert overridden(plain, ["run.steps=2"]) == {"run": {"steps": 2}}
    assert plain == {"run": {"steps": 1}}


@pytest.mark.parametrize("text", ["optimizer.lr", "=3", ".lr=3", "optimizer.=3"])
def test_a_word_that_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--set must be like optimizer\.lr=3e-3; got"):
        overridden({}, [text])


def test_an_assignment_through_a_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'lr' is no table"):
        overridden({"optimizer": {"lr": 1}}, ["optimizer.lr.more=3"])


def test_all_problems_are_told_at_once_with_their_places(tiny_cache: str) -> None:
    plain = tables(tiny_cache, optimizer={"kind": "adamw", "lr": -1.0, "beta3": 1})
    plain |= {"schedule": {"kind": "wsq"}, "modle": {}}
    plain["run"] |= {"steps": "x", "clip": "y", "compile": 1}
    assert said(plain).split("; ") == [
        "optimizer.lr must be greater than 0",
        "got -1.0",
        "unknown key 'optimizer.beta3' with kind adamw",
        "did you mean 'beta2'?",
        "schedule.kind must be one of constant, linear, cosine, sgdr, wsd, power",
        "got 'wsq'",
        "did you mean 'wsd'?",
        "run.steps must be a whole number",
        "got 'x'",
        "run.clip must be a number",
        "got 'y'",
        "run.compile must be true or false",
        "got 1",
        "unknown key 'modle'",
        "did you mean 'model'?",
    ]


@pytest.mark.parametrize(
    ("table", "key", "value", "expected"),
    [
        ("run", "steps", 0, "run.steps must be greater than 0; got 0"),
        ("run", "steps", 1.5, "run.steps must be a whole number"),
        ("run", "clip", float("nan"), "run.clip must be a finite number; got"),
        ("run", "clip", float("inf"), "run.clip must be a finite number; got"),
        ("run", "tokens", 100, "run: steps and tokens are both given: leave one out"),
        ("run", "steps", None, "run: either steps or tokens must be given"),
        ("run", "steps", 10**30, "run.steps must be at most 9223372036854775807; got 1000"),
        ("run", "tokens", 10**400, "run.tokens must be at most 9223372036854775807; got 1000"),
        ("run", "batch", 10**19, "run.batch must be at most 2147483648; got 1000"),
        ("run", "valid_windows", 10**30, "run.valid_windows must be at most"),
        ("run", "device", "gpu", "run.device must be 'auto', 'cpu' or 'cuda'; got 'gpu'"),
        ("run", "accumulation", 3, "run: batch must be a multiple of accumulation, 3; got 4"),
        ("run", "keep_steps", [99], "run.keep_steps must be 1 to 12; got 99"),
        ("model", "vocabulary", 8, "model.vocabulary must be at least 16"),
        ("model", "heads", 3, "model: dim must be an even multiple of heads"),
        ("model", "kind", 3, "model.kind must be one of gpt, ngpt, nemotron; got 3"),
    ],
)
def test_each_problem_is_a_sentence(
    table: str, key: str, value: object, expected: str, tiny_cache: str
) -> None:
    plain = tables(tiny_cache)
    plain[table] = {**plain[table], key: value}
    assert expected in said(plain)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "must be a number or a list; got 'a'"),
        (-1.0, "must be at least 0; got -1.0"),
        ([1], "must have at least 2 items, not 1; got [1]"),
        ([1, "a"], ".1 must be a number; got 'a'"),
        ([1, -2], ".1 must be at least 0; got -2"),
    ],
)
@pytest.mark.parametrize("key", ["target_ratio", "target_norm", "update_rate"])
def test_a_value_that_may_be_a_number_or_a_list_is_refused_in_one_sentence(
    key: str, value: object, expected: str, tiny_cache: str
) -> None:
    text = said(tables(tiny_cache, optimizer={"kind": "adamwn", key: value}))
    between = "" if expected.startswith(".") else " "
    assert text == f"optimizer.{key}{between}{expected}"


def test_very_many_tokens_become_whole_steps_exactly(tiny_cache: str) -> None:
    plain = tables(tiny_cache, schedule={"kind": "constant"})
    del plain["run"]["steps"]
    plain["run"]["tokens"] = 2**62 + 1
    assert config_of(plain, "it").total_steps == 2**56 + 1


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000], ids=["digits", "lists"])
def test_a_value_that_cannot_be_read_is_refused_in_a_line(value: str) -> None:
    with pytest.raises(ConfigurationError, match="--set has a value that cannot be read") as caught:
        overridden({}, [f"run.steps={value}"])
    assert len(str(caught.value)) < 300


def test_a_number_of_very_many_digits_is_refused_in_a_line(tiny_cache: str) -> None:
    plain = overridden(tables(tiny_cache), [f"run.steps=0x1{'0' * 5000}"])
    assert "Exceeds the limit (4300 digits)" in said(plain)


def test_a_key_that_comes_twice_is_refused_in_json_as_in_toml(tmp_path: Path) -> None:
    for name, text in (
        ("c.json", '{"run": {"steps": 6, "steps": 7}}'),
        ("d.json", '{"run": {"steps": 6}, "run": {"batch": 2}}'),
        ("c.toml", "[run]\nsteps = 6\nsteps = 7\n"),
    ):
        with pytest.raises(ConfigurationError, match=f"{name}: .*(comes twice|overwrite)"):
            read_tables(written(tmp_path, text, name))


def test_a_schedule_that_does_not_fit_into_the_run_is_refused(tiny_cache: str) -> None:
    plain = tables(tiny_cache, schedule={"kind": "cosine", "warmup_steps": 12})
    assert "schedule(warmup_steps=...)" in said(plain)


def test_a_table_that_is_none_is_refused(tiny_cache: str) -> None:
    assert "run must be a table" in said({**tables(tiny_cache), "run": 3})


@pytest.mark.parametrize("text", ["[model", "model = 1\nmodel = 2", ""])
def test_a_file_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"c\.toml"):
        load(path)
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


def test_a_table_that_names_no_kind_is_of_the_usual_one(tiny_cache: str) -> None:
    config = tiny(tiny_cache, optimizer={"lr": 0.5})
    assert (config.optimizer.kind, config.schedule.kind) == ("adamw", "linear")


def test_tokens_become_whole_steps(tiny_cache: str) -> None:
    plain = tables(tiny_cache)
    del plain["run"]["steps"]
    plain["run"]["tokens"] = 4 * 16 * 10 + 1
    assert config_of(plain, "it").total_steps == 11


def test_the_digest_is_of_what_decides_the_curve_alone(tiny_cache: str) -> None:
    config = tiny(tiny_cache)
    same = tiny(tiny_cache, run={"timeout_seconds": 3.0, "checkpoint_every": 4})
    other = tiny(tiny_cache, run={"clip": 2.0})
    assert config.digest == same.digest != other.digest
    assert differences(config.plain(), same.plain()) == []
    assert differences(config.plain(), other.plain()) == ["run.clip 1.0; 2.0"]
    assert "cache" not in decisive(config.plain())["data"]


def test_a_seed_is_drawn_where_none_is_given_and_then_stays(tiny_cache: str) -> None:
    plain = tables(tiny_cache)
    del plain["run"]["seed"]
    config = config_of(plain, "it")
    one, other = config.resolved(), config.resolved()
    assert one.seed != other.seed
    assert one.resolved() == one
    assert one.data_seed == one.seed


def test_every_key_is_listed_with_what_it_is() -> None:
    found = {key.name: key for key in keys()}
    assert found["optimizer[adamw].lr"].default == "0.001"
    assert found["optimizer[adamw].decay_of.head"].default == "0.0"  # of the field, not its class
    assert found["precision[nvfp4].policy.block"].default == "16"
    assert found["run.steps"].default == "none"
    assert [name for name, key in found.items() if not key.text] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"run": 3}, "its run is no table"),
        ({"data": []}, "its data is no table"),
        ({"model": None}, "its model is no table"),
        ({"run": {"steps": 3}}, "its run.seed is no whole number"),
        ({"run": {"seed": "x"}}, "its run.seed is no whole number"),
    ],
)
def test_what_no_run_has_stored_is_refused_in_a_line(
    change: dict, expected: str, tiny_cache: str
) -> None:
    plain = tiny(tiny_cache).plain()
    check_stored(plain, Path("it"))
    with pytest.raises(StateError, match=f"it holds no config of a run: {expected}"):
        check_stored({**plain, **change}, Path("it"))

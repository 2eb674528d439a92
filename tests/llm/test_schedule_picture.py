"""Pictures of schedules: the curves drawn are those that a run would set."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evoopt.cli import main
from evoopt.errors import ConfigurationError, MissingDependencyError
from evoopt_llm import schedule_picture
from evoopt_llm.config import TrainConfig, load
from evoopt_llm.optimizers import course
from evoopt_llm.schedule_picture import NORM, RATE, RATIO, REPLAY, K, curves, draw, figure
from evoopt_llm.schedules import multiplier

STEPS = 60
KNOTS = [1.0, 2.0, 1.5]
WSD = {"kind": "wsd", "warmup_steps": 5, "tail": "minus-sqrt"}
WN = {"kind": "adamwn", "lr": 3e-3, "target_ratio": KNOTS, "update_rate": 0.1}
ADAMW = {"kind": "adamw", "lr": 2e-3, "weight_decay": 0.1}


def file_of(folder: Path, name: str, optimizer: dict[str, Any], steps: int = STEPS) -> Path:
    path = folder / f"{name}.json"
    plain = {"optimizer": optimizer, "schedule": WSD, "run": {"steps": steps}}
    path.write_text(json.dumps(plain))
    return path


def config(folder: Path, optimizer: dict[str, Any], steps: int = STEPS) -> TrainConfig:
    return load(file_of(folder, "config", optimizer, steps))


def test_the_rates_drawn_are_those_of_the_schedule(tmp_path: Path) -> None:
    of = config(tmp_path, ADAMW)
    steps, rates = curves(of)[RATE]
    assert steps.tolist() == list(range(STEPS))
    assert rates.tolist() == [2e-3 * multiplier(of.schedule, step, STEPS) for step in range(STEPS)]


def test_targets_and_update_rate_of_adamwn_have_their_panels(tmp_path: Path) -> None:
    found = curves(config(tmp_path, WN))
    shares = np.arange(STEPS) / (STEPS - 1)
    assert found[RATIO][1].tolist() == [course(tuple(KNOTS), share) for share in shares]
    assert set(found[K][1]) == {0.1}
    axes = figure({"a": found}).axes
    assert [axis.get_title(loc="left") or axis.get_title() for axis in axes] == [RATE, RATIO, K]
    drawn = np.asarray(axes[1].lines[0].get_xydata())
    assert drawn.tolist() == np.transpose(found[RATIO]).tolist()


def test_without_norm_control_there_is_one_panel(tmp_path: Path) -> None:
    assert len(figure({"a": curves(config(tmp_path, ADAMW))}).axes) == 1


def test_the_decay_of_adamw_is_drawn_beside_the_update_rate_of_adamwn(tmp_path: Path) -> None:
    plain, steered = (curves(config(tmp_path, optimizer)) for optimizer in (ADAMW, WN))
    assert plain[K][1] == pytest.approx(0.1 * plain[RATE][1], rel=1e-15)
    axes = figure({"plain": plain, "steered": steered}).axes
    assert [len(axis.lines) for axis in axes] == [2, 1, 2]


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"target_norm": 3.0}, NORM),
        ({"replay": "norms.npz", "target_ratio": 1.1}, REPLAY),
    ],
)
def test_absolute_targets_and_replays_are_told_apart(
    options: dict[str, Any], title: str, tmp_path: Path
) -> None:
    found = curves(config(tmp_path, {"kind": "adamwn", "update_rate": 1.0, **options}))
    assert set(found) == {RATE, K, title}
    assert set(found[title][1]) == {next(v for v in options.values() if isinstance(v, float))}


def test_the_decay_of_sgd_is_no_update_rate(tmp_path: Path) -> None:
    assert set(curves(config(tmp_path, {"kind": "sgd"}))) == {RATE}


@pytest.mark.parametrize("kind", ["wsd", "sgdr"])
def test_a_run_of_as_many_steps_as_may_be_is_drawn(kind: str, tmp_path: Path) -> None:
    words = ["schedule.kind=sgdr", "schedule.t_0=1", "schedule.t_mult=1.0", "schedule.tail=none"]
    last = 2**63 - 2
    path = file_of(tmp_path, "long", WN, last + 1)
    steps, rates = curves(load(path, words if kind == "sgdr" else []))[RATE]
    assert steps[0] == 0
    assert steps[-1] == float(last)
    assert len(steps) < 8000
    assert np.isfinite(rates).all()
    assert draw([path], tmp_path / "long.svg").stat().st_size > 1000


def test_of_a_long_run_some_steps_are_drawn_and_all_corners(tmp_path: Path) -> None:
    steps, _ = curves(config(tmp_path, ADAMW, steps=100_003))[RATE]
    assert len(steps) < 2010
    assert {0, 5, 100_002 - 20_001, 100_002} <= set(steps.tolist())


def test_of_a_long_run_the_steps_before_and_at_each_restart_are_drawn(tmp_path: Path) -> None:
    of = load(
        file_of(tmp_path, "long", ADAMW, 100_003),
        ["schedule.kind=sgdr", "schedule.t_0=1234", "schedule.tail=none"],
    )
    steps, rates = curves(of)[RATE]
    fall = rates[np.flatnonzero(steps == 1238)[0]]
    assert fall < 1e-3 * 2e-3
    assert rates[np.flatnonzero(steps == 1239)[0]] == 2e-3


def test_the_command_draws_several_configurations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path, "one", ADAMW)
    file_of(tmp_path, "two", WN)
    code = main(["plot", "schedule", "one.json", "two.json", "-o", "s.svg"])
    assert (code, capsys.readouterr().out) == (0, "s.svg\n")
    text = (tmp_path / "s.svg").read_text()
    assert all(re.search(f"<!-- {name} -->", text) for name in ("one", "two", RATE))


def test_the_same_configurations_give_the_same_bytes(tmp_path: Path) -> None:
    path = file_of(tmp_path, "one", WN)
    first, second = (draw([path], tmp_path / f"{name}.svg").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothere.toml"], "CONFIG nothere.toml cannot be read: No such file or directory"),
        (["one.json", "--dim", "3"], "--dim cannot be used with schedule: leave it out"),
        (["one.json", "-o", "s.gif"], "must end in .svg, .png, .pdf; got 's.gif'"),
        (["one.json"] * 8, "must be 1 to 7 files; got 8"),
    ],
    ids=repr,
)
def test_what_cannot_be_drawn_is_one_line_and_exit_code_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path, "one", ADAMW)
    assert main(["plot", "schedule", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["one.json"]


def test_without_the_extra_a_line_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = file_of(tmp_path, "one", ADAMW)
    monkeypatch.setitem(sys.modules, "evoopt_llm.config", None)
    with pytest.raises(MissingDependencyError, match=r"\.\[llm\]"):
        schedule_picture.draw([path], tmp_path / "s.svg")


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[run]\nsteps = 3\n[schedule]\nkind = 'linear'\nfinale = 0.1\n")
    with pytest.raises(ConfigurationError, match="final"):
        draw([path], tmp_path / "s.svg")


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    paths = [Path("a/c.toml"), Path("b/c.toml")]
    assert schedule_picture._names(paths) == ["a/c.toml", "b/c.toml"]
    assert schedule_picture._names([Path("a/c.toml"), Path("d.toml")]) == ["c", "d"]

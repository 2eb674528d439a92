"""Several processes: they share a batch, take the config of the first one, and prove that they
have it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed
from training import curve, tables, tiny

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm.distributed import Group, Told, group
from evoopt_llm.learner import Learner
from evoopt_llm.runfolder import read_config
from evoopt_llm.train import main
from evoopt_llm.trial import train


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def environment(rank: int, port: int) -> dict[str, str]:
    """What torchrun sets."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def written(path: Path, plain: dict) -> str:
    path.write_text(json.dumps(plain))
    return str(path)


@pytest.mark.slow
def test_two_processes_are_one_with_two_parts_and_the_config_is_that_of_the_first(
    tmp_path: Path, tiny_cache: str, tiny_corpus: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tables(tiny_cache)
    del plain["run"]["seed"]  # drawn, by the first
    mine = written(tmp_path / "mine.json", plain)
    theirs = written(tmp_path / "theirs.json", {**plain, "optimizer": {"kind": "sgd"}})
    port, folder = free_port(), str(tmp_path / "two")
    words = [sys.executable, "-m", "evoopt_llm.train", theirs, "--out", folder, "-q"]
    env = {**os.environ, **environment(1, port)}
    other = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True)
    for name, value in environment(0, port).items():
        monkeypatch.setenv(name, value)
    code = main([mine, "--out", folder, "-q"])
    said = other.communicate(timeout=60)[1]
    assert (code, other.returncode) == (0, 0), said
    seed = read_config(tmp_path / "two")["run"]["seed"]
    assert read_config(tmp_path / "two")["optimizer"]["kind"] == "adamw"
    train(tiny(tiny_cache, run={"seed": seed, "accumulation": 2}), tmp_path / "one")
    for (kind, step, two), one in zip(
        curve(tmp_path / "two"), curve(tmp_path / "one"), strict=True
    ):
        assert (kind, step) == one[:2]
        assert two == pytest.approx(one[2], rel=1e-5)


def test_a_process_with_another_config_stops_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(box: list, own: str) -> None:
        box[:] = [own, "another"]

    monkeypatch.setattr(distributed, "all_gather_object", gather)
    with pytest.raises(StateError, match="the config of process 1 is not that of process 0"):
        Group(rank=0, size=2).check_equal("the config", "a text")


@pytest.mark.parametrize("error", [ConfigurationError("wrong key"), StateError("damaged")])
def test_what_stops_the_first_process_stops_the_others_with_its_words(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def broadcast(box: list, src: int) -> None:
        if box[0] is None:
            box[0] = sent[0]
        else:
            sent.append(box[0])

    def fail() -> None:
        raise error

    monkeypatch.setattr(distributed, "broadcast_object_list", broadcast)
    with pytest.raises(type(error), match=str(error)):
        Group(0, size=2).by_first(fail)
    with pytest.raises(Told) as caught:
        Group(1, size=2).by_first(fail)
    assert caught.value.exit_code == error.exit_code


@pytest.mark.parametrize("rank", [0, 1])
def test_what_stops_any_process_stops_all_and_the_first_one_alone_tells_it(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(texts: list, own: str) -> None:
        texts[:] = ["", "4 damaged"]

    monkeypatch.setattr(distributed, "all_gather_object", gather)
    with pytest.raises(Told if rank else StateError, match="damaged") as caught:
        Group(rank, size=2).by_all(lambda: 3)
    assert caught.value.exit_code == 4
    assert Group().by_all(lambda: 3) == 3


@pytest.mark.slow
def test_an_error_under_torchrun_is_one_line_of_the_first_process(
    tmp_path: Path,
    tiny_cache: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = tables(tiny_cache, model={**tables(tiny_cache)["model"], "context": 150_000})
    path, port = written(tmp_path / "c.json", plain), free_port()
    words = [path, "--out", str(tmp_path / "run"), "-q"]
    command = [sys.executable, "-m", "evoopt_llm.train", *words]
    env = {**os.environ, **environment(1, port)}
    other = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    for name, value in environment(0, port).items():
        monkeypatch.setenv(name, value)
    code = main(words)
    said = other.communicate(timeout=60)[1]
    assert (code, other.returncode) == (2, 2), said
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: train_windows") for line in lines) == 1
    assert "error:" not in said


def test_a_batch_that_cannot_be_dealt_out_is_refused(tiny_cache: str, tiny_corpus) -> None:
    with pytest.raises(ConfigurationError, match="multiple of 3, accumulation times processes"):
        Learner(tiny(tiny_cache), tiny_corpus, Group(0, size=3), torch.device("cpu"))


def test_half_an_environment_of_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigurationError, match="has RANK but no WORLD_SIZE"), group():
        pass

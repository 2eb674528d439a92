"""What the tests of the trainer train: a Transformer of 3 000 numbers, in milliseconds a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoopt_llm.config import TrainConfig, config_of
from evoopt_llm.runfolder import read_metrics

GPT = {"kind": "gpt", "vocabulary": 16, "dim": 16, "layers": 1, "heads": 2, "context": 16}
NGPT = {**GPT, "kind": "ngpt", "normalise_every": 3}
NEMOTRON = {
    "kind": "nemotron",
    "vocabulary": 16,
    "dim": 16,
    "pattern": "ME*",
    "context": 16,
    "heads": 2,
    "kv_heads": 1,
    "head_dim": 8,
    "mamba": {"heads": 2, "head_dim": 8, "state": 4, "chunk": 8},
    "moe": {"experts": 4, "active": 2, "hidden": 16, "shared": 16},
    "ahead": {"depths": 1},
}


def tables(cache: str, **parts: dict[str, Any]) -> dict[str, Any]:
    """A config of 12 steps of 4 windows; `parts` go before, table by table."""
    run = {"steps": 12, "batch": 4, "seed": 7, "report_every": 3, "eval_every": 6}
    run |= {"valid_windows": 8, "device": "cpu"}
    data = {"kind": "markov", "states": 16, "size": 200_000, "cache": cache}
    full: dict[str, Any] = {"model": GPT, "data": data, **parts}
    return {**full, "run": {**run, **parts.get("run", {})}}


def tiny(cache: str, **parts: dict[str, Any]) -> TrainConfig:
    """The config of these tables."""
    return config_of(tables(cache, **parts), "the test")


def curve(folder: Path) -> list[tuple[str, int, float]]:
    """Kind, step and loss of each report, without the times."""
    return [(row["kind"], row["step"], row["loss"]) for row in read_metrics(folder)]

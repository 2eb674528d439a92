"""Runs of small language models, one factor at a time; what is done already is not done again.

    python experiments.py runs --only schedules
    python experiments.py runs --collect runs.jsonl

A run is `evoopt-train base.toml --set ...` in a process of its own with one thread; its folder is
OUT/QUESTION/LABEL-SEED.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
WN = ("optimizer.kind=adamwn", "optimizer.update_rate=1.0", "optimizer.apply=after")
NGPT = (
    "model.kind=ngpt",
    "optimizer.weight_decay=0.0",
    "schedule.warmup_share=none",
    "model.s_z_init=4.0",
)
FP4 = ("precision.kind=nvfp4", "precision.rest=bf16", "precision.keep_last=1")
SHORT = "run.tokens=614_400"
RATE = 6e-3  # of gpt: chosen from the runs of `rates`
RATIOS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
# of AdamWN by target ratio: a first value, to be chosen from the runs of `rates of norms`
WN_RATE = dict.fromkeys(RATIOS, 0.003)


class Run(NamedTuple):
    """One run."""

    question: str
    label: str
    seed: int
    settings: tuple[str, ...]


def runs() -> Iterator[Run]:
    """All of them, question by question."""
    yield from rates()
    yield from schedules()
    yield from norms()
    yield from four_bits()
    yield from spheres()
    yield from hybrids()


def each(question: str, label: str, *settings: str) -> Iterator[Run]:
    """Of all seeds, at the tuned rate."""
    for seed in SEEDS:
        yield Run(question, label, seed, settings)


def rates() -> Iterator[Run]:
    """Learning rates, one seed."""
    for lr in (1.5e-3, 3e-3, 6e-3, 1e-2, 2e-2):
        yield Run("rates", f"adamw {lr:g}", 1, (f"optimizer.lr={lr}",))
    for ratio in RATIOS:
        for lr in (7.5e-4, 1.5e-3, 3e-3, 6e-3):
            words = (*WN, f"optimizer.target_ratio={ratio}", f"optimizer.lr={lr}")
            yield Run("rates of norms", f"ratio {ratio:g} lr {lr:g}", 1, words)


def schedules() -> Iterator[Run]:
    """Equal tokens and peak rates; WSD also at half the rate, as is usual."""
    lr = RATE
    yield from each("schedules", "linear", f"optimizer.lr={lr}")
    yield from each("schedules", "cosine", f"optimizer.lr={lr}", "schedule.kind=cosine")
    for share in (1.0, 0.5):
        yield from each(
            "schedules", f"wsd {share:g}", f"optimizer.lr={share * lr}", "schedule.kind=wsd"
        )
    # 570 steps after warm-up are 10 + 20 + 40 parts of 8.14 steps
    sgdr = ("schedule.kind=sgdr", "schedule.t_0_share=0.142857", "schedule.t_mult=2.0")
    yield from each("schedules", "sgdr", f"optimizer.lr={lr}", *sgdr)
    yield from each("schedules", "constant", f"optimizer.lr={lr}", "schedule.kind=constant")


def norms() -> Iterator[Run]:
    """Decay, targets of the norm, and a run whose norms are played back."""
    for decay in (0.0, 0.3, 1.0, 3.0):
        words = (f"optimizer.lr={RATE}", f"optimizer.weight_decay={decay}")
        record = ("run.norms_every=1",) if decay == 1.0 else ()
        yield from each("norms", f"decay {decay:g}", *words, *record)
    for ratio in RATIOS:
        words = (*WN, f"optimizer.lr={WN_RATE[ratio]}", f"optimizer.target_ratio={ratio}")
        yield from each("norms", f"ratio {ratio:g}", *words)
    for seed in SEEDS:
        source = f"OUT/norms/decay_1-{seed}/norms.npz"
        words = (*WN, f"optimizer.lr={RATE}", f"optimizer.replay='{source}'")
        yield Run("norms", "replay of decay 1", seed, words)


def four_bits() -> Iterator[Run]:
    """The recipe without each of its parts."""
    lr = f"optimizer.lr={RATE}"
    found = {
        "bf16": ("precision.kind=bf16",),
        "recipe": FP4,
        "no transform": (*FP4, "precision.rht=off"),
        "gradients to nearest": (*FP4, "precision.stochastic_gradients=false"),
        "weights in rows": (*FP4, "precision.two_d_weights=false"),
        "all blocks": (*FP4, "precision.keep_last=0"),
        "4/6": (*FP4, "precision.policy.four_six=mse", "precision.policy.bound=256.0"),
        "forward in bf16 from 82 %": (*FP4, "precision.switch_at=0.82", "precision.switch=forward"),
        "mxfp4": ("precision.kind=mxfp4", *FP4[1:]),
    }
    for label, words in found.items():
        yield from each("four-bits", label, lr, SHORT, *words)


def spheres() -> Iterator[Run]:
    """nGPT and GPT at two context lengths, rates tuned at each."""
    for context, batch in ((64, 32), (256, 8)):
        words = (f"model.context={context}", f"run.batch={batch}", "run.valid_windows=256")
        for lr in (3e-3, 6e-3, 1.2e-2):
            for name, model in (("gpt", ()), ("ngpt", NGPT)):
                label = f"{name} {context} {lr:g}"
                yield from each("spheres", label, *words, *model, f"optimizer.lr={lr}")


def hybrids() -> Iterator[Run]:
    """Layers of equal active parameters."""
    common = (
        "model.kind=nemotron",
        "model.layers=none",
        "model.kv_heads=2",
        "model.head_dim=16",
        "model.mamba.heads=4",
        "model.mamba.head_dim=16",
        "model.mamba.state=16",
        SHORT,
    )
    found = {
        "dense": ("model.pattern='*-*-*-'", "model.mlp=256"),
        "moe": ("model.pattern='*E*E*E'", "model.moe.hidden=64", "model.moe.shared=128"),
        "latent": (
            "model.pattern='*E*E*E'",
            "model.moe.hidden=64",
            "model.moe.shared=128",
            "model.moe.latent=16",
        ),
        "hybrid dense": ("model.pattern='M-M-*-'", "model.mlp=256"),
        "hybrid moe": ("model.pattern='MEME*E'", "model.moe.hidden=64", "model.moe.shared=128"),
        "hybrid moe, mtp": (
            "model.pattern='MEME*E'",
            "model.moe.hidden=64",
            "model.moe.shared=128",
            "model.ahead.depths=1",
        ),
    }
    for label, words in found.items():
        yield from each("hybrids", label, f"optimizer.lr={RATE}", *common, *words)


def folder(out: Path, run: Run) -> Path:
    """Of a run."""
    return out / run.question / f"{run.label.replace(' ', '_').replace('/', '')}-{run.seed}"


def ended(to: Path) -> bool:
    """Whether a run has ended by itself."""
    result = to / "result.json"
    return result.exists() and json.loads(result.read_text())["status"] != "killed"


def done(out: Path, run: Run) -> None:
    """Does a run, or what is left of it."""
    to = folder(out, run)
    if ended(to):
        return
    go_on = ["--resume"] if (to / "config.json").exists() else []
    words = [word.replace("OUT", str(out)) for word in (*run.settings, f"run.seed={run.seed}")]
    settings = [part for word in words for part in ("--set", word)]
    command = [sys.executable, "-m", "evoopt_llm.train", str(HERE / "base.toml"), *settings, "-q"]
    process = subprocess.run(
        [*command, "--out", str(to), *go_on],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in process.stdout.splitlines() if line.startswith("held out")]
    print(*run[:3], process.returncode, *said, process.stderr.strip(), flush=True)


def row(out: Path, run: Run) -> dict[str, Any] | None:
    """What a run came to, with its held-out losses: tokens, nats, seconds."""
    to = folder(out, run)
    if not ended(to):
        return None
    result = json.loads((to / "result.json").read_text())
    lines = [json.loads(line) for line in (to / "metrics.jsonl").read_text().splitlines()]
    curve = [
        (m["tokens"], round(m["loss"], 6), m["seconds"]) for m in lines if m["kind"] == "valid"
    ]
    kept = (
        "status",
        "bits_per_byte",
        "tokens",
        "seconds",
        "tokens_per_second",
        "parameters",
        "bits_per_weight",
        "precision",
    )
    return {**run._asdict(), **{key: result[key] for key in kept}, "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--only", help="a question")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--collect", type=Path, help="write what there is into this file")
    words = parser.parse_args()
    todo = [run for run in runs() if words.only in (None, run.question)]
    if words.collect is not None:
        found = [row(words.out, run) for run in todo]
        text = "".join(json.dumps(one) + "\n" for one in found if one is not None)
        words.collect.write_text(text)
        return
    with ThreadPoolExecutor(words.workers) as pool:
        list(pool.map(lambda run: done(words.out, run), todo))


if __name__ == "__main__":
    main()

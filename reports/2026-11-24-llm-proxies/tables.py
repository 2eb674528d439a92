"""Tables and pictures of runs.jsonl.

    python tables.py runs.jsonl > tables.md

Differences are of pairs of runs with the same seed, hence the same data and, where the models have
the same shapes, the same first weights; +- is half of the 95 % interval by Student's t.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy import stats

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
Rows = list[dict[str, Any]]


def of(rows: Rows, question: str) -> dict[str, dict[int, dict[str, Any]]]:
    """Label -> seed -> run."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        if row["question"] == question:
            found.setdefault(row["label"], {})[row["seed"]] = row
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of the 95 % interval."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), math.nan
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    return float(np.mean(values)), float(half)


def bits(runs: dict[int, dict[str, Any]]) -> list[float]:
    """Held-out bits a byte of all seeds."""
    return [run["bits_per_byte"] for run in runs.values()]


def table(
    labels: dict[str, dict[int, dict[str, Any]]], reference: str, relative: bool = False
) -> None:
    """Every label beside one of them."""
    unit = "%" if relative else "bits"
    print(f"| | bits a byte | less `{reference}`, {unit} | | tokens/s |")
    print("|---|---|---|---|---|")
    base = labels[reference]
    for label, runs in labels.items():
        if any(run["bits_per_byte"] is None for run in runs.values()):
            print(f"| {label} | {', '.join(run['status'] for run in runs.values())} | | | |")
            continue
        rate = np.median([run["tokens_per_second"] for run in runs.values()])
        shared = sorted(runs.keys() & base.keys())
        gaps = [runs[s]["bits_per_byte"] - base[s]["bits_per_byte"] for s in shared]
        if relative:
            pairs = zip(gaps, shared, strict=True)
            gaps = [100 * gap / base[s]["bits_per_byte"] for gap, s in pairs]
        mean, half = interval(gaps)
        known, gap = ("", "") if label == reference else ("one seed", f"{mean:+.4f}")
        if label != reference and len(gaps) > 1:
            known = "resolved" if abs(mean) > half else "not resolved"
            gap = f"{mean:+.4f} +- {half:.4f}"
        print(f"| {label} | {np.mean(bits(runs)):.4f} | {gap} | {known} | {rate:.0f} |")
    print()


def curves(labels: dict[str, dict[int, dict[str, Any]]], name: str) -> None:
    """Held-out bits a byte against tokens, medians of the seeds."""
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for label, runs in labels.items():
        all_of = [np.array(run["curve"]) for run in runs.values()]
        losses = np.median([curve[:, 1] for curve in all_of], axis=0) / math.log(2)
        axis.plot(all_of[0][:, 0] / 1e6, losses, label=label)
    axis.set(xlabel="tokens, millions", ylabel="bits a byte, held out", ylim=(None, 4.0))
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(HERE / name, dpi=120)


def spheres(rows: Rows) -> None:
    """Steps and seconds to GPT's final loss, each model at its best rate."""
    labels = of(rows, "spheres")
    print("| context | gpt | ngpt | steps to gpt's final loss | seconds a step, ngpt / gpt |")
    print("|---|---|---|---|---|")
    for context in sorted({int(label.split()[1]) for label in labels}):
        best = {}
        for model in ("gpt", "ngpt"):
            tried = {k: v for k, v in labels.items() if k.startswith(f"{model} {context} ")}
            best[model] = min(tried, key=lambda label: np.mean(bits(labels[label])))
        gpt, ngpt = (labels[best[model]] for model in ("gpt", "ngpt"))
        shares = []
        for seed in sorted(gpt.keys() & ngpt.keys()):
            curve = np.array(ngpt[seed]["curve"])
            met = curve[curve[:, 1] <= gpt[seed]["curve"][-1][1]]
            total = gpt[seed]["tokens"]
            shares.append(met[0, 0] / total if len(met) else math.inf)
        cells = [f"{np.mean(bits(labels[b])):.4f} (lr {b.split()[2]})" for b in best.values()]
        said = ", ".join("not met" if s == math.inf else f"{s:.2f}" for s in shares)
        speed = np.median([r["tokens_per_second"] for r in gpt.values()]) / np.median(
            [r["tokens_per_second"] for r in ngpt.values()]
        )
        print(f"| {context} | {cells[0]} | {cells[1]} | {said} | {speed:.2f} |")
    print()


def main() -> None:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    for title, question, reference, relative in (
        ("Learning rates, one seed", "rates", "adamw 0.006", False),
        ("Rates of AdamWN, one seed", "rates of norms", "ratio 1 lr 0.003", False),
        ("Schedules", "schedules", "linear", False),
        ("Decay and norms", "norms", "decay 0.3", False),
        ("Four bits", "four-bits", "bf16", True),
        ("Layers", "hybrids", "dense", False),
    ):
        labels = of(rows, question)
        if reference in labels:
            print(f"## {title}\n")
            table(labels, reference, relative)
    if of(rows, "schedules"):
        curves(of(rows, "schedules"), "schedules.png")
    if of(rows, "spheres"):
        print("## nGPT\n")
        spheres(rows)


if __name__ == "__main__":
    main()

"""A training run in words: while it goes on, and when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evoopt.observers.progress import duration
from evoopt_llm.accounts import Progress
from evoopt_llm.machine import threads, versions
from evoopt_llm.result import TrainResult

Rows = list[tuple[str, str]]

_BAR = 20  # characters


def facts(progress: Progress, *, bar: bool) -> Rows:
    """What there is to say of a run that goes on, as names and texts. bar: with one to look at."""
    share = progress.step / progress.total
    found = [("step", f"{progress.step} of {progress.total}")]
    if bar:
        full = round(share * _BAR)
        found.append(("done", f"{'█' * full}{'░' * (_BAR - full)} {share:.0%}"))
    for name, loss in (("loss", progress.train_loss), ("held out", progress.valid_loss)):
        if loss is not None:
            found.append((name, f"{loss:.4f} nats"))
    left = (progress.total - progress.step) * progress.step_seconds
    return [*found, ("tokens/s", f"{progress.tokens_per_second:.4g}"), ("ETA", duration(left))]


def changed(more: Mapping[str, Any], place: str) -> list[str]:
    """What there is to say where a run goes on with other versions or threads than before.

    Args:
        more: of the checkpoint that it goes on from. place: where that stands.
    """
    before, now = more.get("versions"), {**versions(), "threads": threads()}
    then = {**(before if isinstance(before, dict) else {}), "threads": more.get("threads")}
    other = [f"{name} {then.get(name)}; {now[name]}" for name in now if then.get(name) != now[name]]
    if not other:
        return []
    return [
        f"note: {place} was written with {', '.join(other)} (then; now): the run goes on with the "
        f"same curve up to rounding, not to the bit"
    ]


def rows(result: TrainResult) -> Rows:
    """What there is to say of a run that has ended, as names and texts."""
    held_out = "not measured"
    if result.valid_loss is not None and result.bits_per_byte is not None:
        held_out = f"{result.bits_per_byte:.4f} bits a byte ({result.valid_loss:.4f} nats)"
    return [
        ("status", f"{result.status}: {result.reason}"),
        ("held out", held_out),
        ("steps", f"{result.steps} of {result.total_steps}"),
        ("tokens", f"{result.tokens}"),
        ("seconds", f"{result.seconds:.1f}"),
        ("tokens/s", f"{result.tokens_per_second:.4g}"),
        ("peak memory", f"{result.peak_memory_bytes / 1e6:.0f} MB"),
        ("parameters", f"{result.parameters}"),
        ("precision", f"{result.precision}; {result.bits_per_weight:.3g} bits a weight"),
        ("seed", str(result.seed)),
        ("run", result.folder),
    ]

"""Training speed of a Mamba-2 layer beside an attention layer of equal width.

    python benchmarks/perf/llm_mamba.py                             # two CPU cores, a minute
    python benchmarks/perf/llm_mamba.py --contexts 256 1024 4096 -o mamba.json
    python benchmarks/perf/llm_mamba.py --device cuda --dtype bfloat16 --dim 1024 --batch 8 \
        --state 64 --chunk 128

Both are layers of width dim: attention with as many heads of queries as of keys, through
`scaled_dot_product_attention` and without positions; Mamba-2 with dim coordinates in its heads, as
in attention, and with 2 dim of them, the default of its authors. Each turn makes one forward and
backward pass of each on the same input, so that a slower moment of the machine meets all; medians
of the turns and of the ratios within a turn count, the quartiles stand beside them. `work` is the
layer's multiplications and additions beside those of attention.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from evoopt_llm.models.base import seeded
from evoopt_llm.models.mamba2 import Mamba2, MambaSettings
from evoopt_llm.models.stack import Attention

Pass = Callable[[], object]
STD = 0.02  # of the weights


def layers(args: argparse.Namespace) -> dict[str, Mamba2 | Attention]:
    """By name, attention first."""
    heads = args.dim // args.head_dim
    found: dict[str, Mamba2 | Attention] = {
        "attention": Attention(args.dim, heads, heads, args.head_dim)
    }
    for times in (1, 2):
        settings = MambaSettings(
            heads=times * heads, head_dim=args.head_dim, state=args.state, chunk=args.chunk
        )
        found[f"mamba2 x{times}"] = Mamba2(args.dim, settings)
    for layer in found.values():
        layer.draw(STD, STD, seeded(1))
        layer.to(args.device)
    return found


def pass_of(layer: Mamba2 | Attention, x: Tensor, gradient: Tensor, dtype: torch.dtype) -> Pass:
    """Forward and backward. x, gradient: (batch, length, dim)."""

    def both() -> None:
        layer.zero_grad()
        with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
            y = layer(x)
        y.backward(gradient.to(y.dtype))
        if x.is_cuda:
            torch.cuda.synchronize()

    return both


def measured(args: argparse.Namespace, context: int) -> dict[str, dict[str, object]]:
    """All layers at one length."""
    shape = (args.batch, context, args.dim)
    x, gradient = (torch.randn(shape, generator=seeded(s)).to(args.device) for s in (2, 3))
    x.requires_grad_()
    every = layers(args)
    passes = {n: pass_of(m, x, gradient, getattr(torch, args.dtype)) for n, m in every.items()}
    times: dict[str, list[float]] = {name: [] for name in every}
    for turn in range(args.warm + args.turns):
        for name, both in passes.items():
            start = time.perf_counter()
            both()
            if turn >= args.warm:
                times[name].append(time.perf_counter() - start)
    results = {}
    for name, layer in every.items():
        ratios = [a / b for a, b in zip(times[name], times["attention"], strict=True)]
        results[name] = {
            "parameters": sum(p.numel() for p in layer.parameters()),
            "ms": [1e3 * t for t in statistics.quantiles(times[name], n=4)],
            "times_attention": statistics.quantiles(ratios, n=4),
            "work": layer.flops(context) / every["attention"].flops(context),
        }
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "dim": 256, "head-dim": 64, "state": 16, "chunk": 32, "batch": 1, "turns": 25, "warm": 3,
        "threads": torch.get_num_threads(),
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    contexts = {context: measured(args, context) for context in args.contexts}
    for context, results in contexts.items():
        for name, r in results.items():
            low, mid, high = r["ms"]
            first, ratio, third = r["times_attention"]
            print(
                f"context {context:>6}  {name:10} {r['parameters']:>9,} parameters"
                f"  {mid:8.1f} ms [{low:.1f}, {high:.1f}]"
                f"  {ratio:.2f} x attention [{first:.2f}, {third:.2f}], work {r['work']:.2f} x"
            )
    if args.output:
        document = {
            "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "arguments": {k: v for k, v in vars(args).items() if k != "output"},
            "contexts": contexts,
        }
        args.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Generation after long contexts: time of a token and bytes of state, by the pattern of layers.

    python benchmarks/perf/llm_generate.py                          # two CPU cores, a minute
    python benchmarks/perf/llm_generate.py --patterns 'MEME*ME' 'MEMEMEM' '*E*E*E*' -o generate.json
    python benchmarks/perf/llm_generate.py --device cuda --dim 512 --heads 8 --kv-heads 2

Weights are as drawn: what a token costs does not depend on them. The context is not computed, its
keys and values are zeros; a token enters the cache and is taken back. Models take turns, a token
each, so that a slower moment of the machine meets all; medians count, quartiles stand beside them.
`state` is what the cache holds of one sequence.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from evoopt_llm.models.attention import KeyValueCache
from evoopt_llm.models.mamba2 import MambaSettings
from evoopt_llm.models.moe import MoESettings
from evoopt_llm.models.nemotron import Nemotron, NemotronCache, NemotronSettings

Figures = dict[str, dict[str, Any]]  # by pattern


def model_of(pattern: str, args: argparse.Namespace) -> Nemotron:
    """With as many coordinates in the heads of Mamba-2 as in those of attention."""
    head_dim = args.dim // args.heads
    settings = NemotronSettings(
        dim=args.dim,
        pattern=pattern,
        heads=args.heads,
        kv_heads=args.kv_heads,
        head_dim=head_dim,
        mlp=4 * args.dim,
        mamba=MambaSettings(heads=args.heads, head_dim=head_dim, state=args.state),
        moe=MoESettings(hidden=args.dim, shared=2 * args.dim),
    )
    return Nemotron(settings, 1).to(args.device).eval()


def after(model: Nemotron, context: int) -> NemotronCache:
    """A cache as after this many tokens, all of whose keys and values are zeros."""
    cache = model.cache(1, context + 1)
    for layer in cache.trunk.layers:
        if isinstance(layer, KeyValueCache):
            layer.keys.zero_()
            layer.values.zero_()
            layer.advanced(context)
    cache.trunk.advanced(context)
    return cache


def seconds(model: Nemotron, cache: NemotronCache, token: torch.Tensor) -> float:
    """Of one token."""
    start = time.perf_counter()
    model.advance(token, cache)
    if token.is_cuda:
        torch.cuda.synchronize()
    taken = time.perf_counter() - start
    cache.rewind(0)
    return taken


def measured(models: dict[str, Nemotron], context: int, args: argparse.Namespace) -> Figures:
    """All models after one context."""
    token = torch.zeros(1, 1, dtype=torch.int64, device=args.device)
    caches = {pattern: after(model, context) for pattern, model in models.items()}
    times: dict[str, list[float]] = {pattern: [] for pattern in models}
    for turn in range(args.warm + args.turns):
        for pattern, model in models.items():
            taken = seconds(model, caches[pattern], token)
            if turn >= args.warm:
                times[pattern].append(taken)
    return {
        pattern: {
            "parameters": sum(p.numel() for p in model.parameters()),
            "active": model.active(),
            "ms": [1e3 * t for t in statistics.quantiles(times[pattern], n=4)],
            "tokens_per_second": 1 / statistics.median(times[pattern]),
            "state_bytes": caches[pattern].size_bytes,
        }
        for pattern, model in models.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", nargs="+", default=["MEME*ME", "*E*E*E*"])
    contexts = [1024, 4096, 16384, 65536]
    parser.add_argument("--contexts", type=int, nargs="+", default=contexts)
    for name, default in {
        "dim": 128, "heads": 4, "kv-heads": 2, "state": 16, "turns": 50, "warm": 5,
        "threads": torch.get_num_threads(),
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    models = {pattern: model_of(pattern, args) for pattern in args.patterns}
    results = {}
    for context in args.contexts:
        results[context] = measured(models, context, args)
        for pattern, r in results[context].items():
            low, mid, high = r["ms"]
            print(
                f"context {context:>6}  {pattern:10} {r['active']:>10,} active parameters"
                f"  {mid:7.2f} ms a token [{low:.2f}, {high:.2f}]"
                f"  {r['tokens_per_second']:6.0f} tokens/s"
                f"  state {r['state_bytes']:>12,} bytes, {r['state_bytes'] / context:8.1f} a token"
            )
    if args.output:
        document = {
            "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
            "torch": torch.__version__,
            "arguments": {k: v for k, v in vars(args).items() if k != "output"},
            "contexts": results,
        }
        args.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

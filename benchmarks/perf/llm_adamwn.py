"""What a step of AdamWN costs, beside torch's AdamW in its forms.

    python benchmarks/perf/llm_adamwn.py --dims 64 256 --turns 40 -o adamwn.json

Parameters are those of a model of `--layers` blocks: matrices (4 dim, dim) and (dim, dim), gains
(dim,); gradients are random. Milliseconds of a step, the median of the turns; optimizers take
turns. `target 0` is AdamW by our code, `tensor`, `row` and `global` control norms.
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
from torch.optim import AdamW, Optimizer

from evoopt_llm.adamwn import AdamWN

MAKERS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "AdamW foreach": lambda params: AdamW(params, foreach=True),
    "AdamW single": lambda params: AdamW(params, foreach=False),
    "AdamW fused": lambda params: AdamW(params, fused=True),
    "target 0": lambda params: AdamWN(params, target_ratio=0.0),
    "tensor": lambda params: AdamWN(params, scope="tensor"),
    "row": lambda params: AdamWN(params, scope="row"),
    "global": lambda params: AdamWN(params, scope="global"),
}


def parameters(dim: int, layers: int) -> list[Tensor]:
    """With gradients."""
    draw = torch.Generator().manual_seed(dim)
    shapes = [(4 * dim, dim), (dim, dim), (dim, 4 * dim), (dim,)] * layers
    params = [torch.randn(s, generator=draw).requires_grad_() for s in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=draw)
    return params


def measured(dim: int, layers: int, turns: int) -> dict[str, float]:
    """Milliseconds of a step, by optimizer."""
    optimizers = {name: make(parameters(dim, layers)) for name, make in MAKERS.items()}
    spent: dict[str, list[float]] = {name: [] for name in MAKERS}
    for _ in range(turns + 1):
        for name, optimizer in optimizers.items():
            start = time.perf_counter()
            optimizer.step()
            spent[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(times[1:]) for name, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("adamwn.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = {}
    for dim in args.dims:
        found[dim] = measured(dim, args.layers, args.turns)
        count = sum(p.numel() for p in parameters(dim, args.layers))
        print(f"dim {dim}, {count / 1e6:.2f} million numbers")
        for name, ms in found[dim].items():
            print(f"  {name:<14}{ms:9.3f} ms {ms / found[dim]['AdamW foreach']:7.2f}")
    args.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

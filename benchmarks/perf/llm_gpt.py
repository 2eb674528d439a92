"""Training speed of our dense models beside a plain one of equal size, and of the machine's peak.

    python benchmarks/perf/llm_gpt.py                               # two CPU cores, a minute
    python benchmarks/perf/llm_gpt.py --dim 256 --layers 6 -o gpt.json
    python benchmarks/perf/llm_gpt.py --device cuda --dtype bfloat16 --dim 768 --layers 12 \
        --heads 12 --context 1024 --batch 16

The plain model is GPT-2 without biases, as short as torch allows: LayerNorm, learned positions,
GELU over 4 dim hidden units, one matrix for q, k, v, `scaled_dot_product_attention`. Ours has at
least as many weights in its matrices: SwiGLU over 8/3 dim hidden units. Each turn makes one step of
each model, forward, backward and AdamW, on the same tokens, so that a slower moment of the machine
meets all; medians count, and the quartiles stand beside them. The peak is the best of a few square
products of matrices in the same dtype, between the turns.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoopt_llm.models.base import LanguageModel, cross_entropy, seeded
from evoopt_llm.models.gpt import GPT, GPTSettings
from evoopt_llm.models.ngpt import NGPT, NGPTSettings

Step = Callable[[Tensor], None]
PEAK_SIZES = (512, 1024, 2048)


def equal_ratio(dim: int) -> float:
    """Of hidden units: the three matrices of the gated MLP are as large as two of 4 dim, or a bit
    larger, for they come in multiples of 16."""
    return 16 * math.ceil(8 / 3 * dim / 16) / dim


class Plain(nn.Module):
    """GPT-2 without biases."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, args.dim)
        self.positions = nn.Embedding(args.context, args.dim)
        self.blocks = nn.ModuleList(PlainBlock(args.dim, args.heads) for _ in range(args.layers))
        self.norm = nn.LayerNorm(args.dim, bias=False)
        self.head = nn.Linear(args.dim, 256, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of tokens (batch, context)."""
        h = self.tokens(tokens) + self.positions.weight
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


class PlainBlock(nn.Module):
    """Attention and MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, bias=False), nn.LayerNorm(dim, bias=False)
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = (
            nn.Linear(dim, 4 * dim, bias=False),
            nn.Linear(4 * dim, dim, bias=False),
        )

    def forward(self, h: Tensor) -> Tensor:
        """h: (batch, length, dim)."""
        batch, length, dim = h.shape
        qkv = self.qkv(self.norm1(h)).view(batch, length, 3, self.heads, -1)
        q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.out(y.transpose(1, 2).reshape(batch, length, dim))
        return h + self.down(functional.gelu(self.up(self.norm2(h))))


def step_of(model: nn.Module, args: argparse.Namespace) -> Step:
    """One step of training on windows (batch, context + 1)."""
    model.to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)
    call = torch.compile(model) if args.compile else model
    dtype = getattr(torch, args.dtype)

    def step(windows: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(args.device, dtype=dtype, enabled=dtype != torch.float32):
            logits = call(windows[:, :-1])
        cross_entropy(logits, windows[:, 1:]).backward()
        optimizer.step()
        if isinstance(model, LanguageModel):
            model.after_step()

    return step


def seconds(work: Callable[[], object], device: str) -> float:
    """Of one call, the device's work included."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(args: argparse.Namespace) -> float:
    """Operations a second of the best square product."""
    best = 0.0
    for n in PEAK_SIZES:
        a = torch.randn(n, n, generator=seeded(n)).to(args.device, getattr(torch, args.dtype))
        best = max(best, 2 * n**3 / seconds(lambda a=a: a @ a, args.device))
    return best


def measured(args: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    sizes = {n: getattr(args, n) for n in ("dim", "layers", "heads", "context")}
    ratio = equal_ratio(args.dim)
    models: dict[str, nn.Module] = {
        "plain": Plain(args),
        "gpt": GPT(GPTSettings(mlp_ratio=ratio, **sizes), 1),
        "ngpt": NGPT(NGPTSettings(mlp_ratio=ratio, **sizes), 1),
    }
    shape = (args.batch, args.context + 1)
    windows = torch.randint(256, shape, generator=seeded(0)).to(args.device)
    steps = {name: step_of(model, args) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    peaks = []
    for turn in range(args.warm + args.turns):
        peaks.append(peak(args))
        for name, step in steps.items():
            taken = seconds(lambda step=step: step(windows), args.device)
            if turn >= args.warm:
                times[name].append(taken)
    tokens = args.batch * args.context
    gemm = max(peaks)
    work = models["gpt"].flops(args.context)
    results: dict[str, object] = {
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "arguments": {k: v for k, v in vars(args).items() if k != "output"},
        "peak_gflops": gemm / 1e9,
    }
    for name, model in models.items():
        low, mid, high = statistics.quantiles(times[name], n=4)
        flops = model.flops(args.context) if isinstance(model, LanguageModel) else work
        results[name] = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "step_ms": [1e3 * t for t in (low, mid, high)],
            "tokens_per_second": tokens / mid,
            "share_of_peak": flops * tokens / mid / gemm,
            "times_plain": math.nan,
        }
    for name in models:
        ratios = [a / b for a, b in zip(times[name], times["plain"], strict=True)]
        results[name]["times_plain"] = statistics.median(ratios)  # type: ignore[index]
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "dim": 128, "layers": 4, "heads": 4, "context": 256, "batch": 8, "turns": 25, "warm": 3,
        "threads": torch.get_num_threads(),
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = measured(args)
    print(f"peak {results['peak_gflops']:.1f} GFLOP/s, {results['threads']} threads")
    for name in ("plain", "gpt", "ngpt"):
        r = results[name]
        low, mid, high = r["step_ms"]
        print(
            f"{name:6} {r['parameters']:>11,} parameters  {mid:8.1f} ms a step"
            f" [{low:.1f}, {high:.1f}]  {r['tokens_per_second']:>9,.0f} tokens/s"
            f"  {r['share_of_peak']:6.1%} of peak  {r['times_plain']:.2f} x plain"
        )
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The tables of this report, as text and as JSON: what rounding to four bits gives, and costs.

python reports/2026-11-24-nvfp4-format/tables.py -o tables.json > tables.txt
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/llm"))

import reference_fp4

from evoopt_llm import fourbit, fp4linear, hadamard, models, mxfp4, nvfp4
from evoopt_llm.fp4settings import FP32Settings, MXFP4Settings, NVFP4Settings
from evoopt_llm.models.gpt import GPTSettings

MILLION = 2**20
EXPECTED = {  # one cast of 65 536 numbers, seed 0; by another program, before this one
    "normal": (20.45, 21.23, 21.36, 19.89, 19.51, 18.74, 18.72),
    "student-t(4)": (20.79, 21.24, 22.10, 19.70, 18.68, 17.69, 17.15),
    "laplace": (20.63, 21.19, 21.91, 19.63, 18.94, 17.95, 17.49),
}
COLUMNS = {
    "NVFP4": nvfp4.Policy(),
    "4/6": nvfp4.FOUR_SIX,
    "block 8": nvfp4.Policy(block=8),
    "block 32": nvfp4.Policy(block=32),
    "block 64": nvfp4.Policy(block=64),
    "MXFP4 floor": mxfp4.Policy(),
    "MXFP4 ceil": mxfp4.Policy(scale="ceil"),
}
KNOBS = {
    **COLUMNS,
    "block 128": nvfp4.Policy(block=128),
    "4/6 by MAE": nvfp4.Policy(bound=256.0, four_six="mae"),
    "4/6 by largest error": nvfp4.Policy(bound=256.0, four_six="max"),
    "4/6, bound 448": nvfp4.Policy(four_six="mse"),
    "always 4": nvfp4.Policy(clip=1.5, bound=256.0),
    "scales rounded up": nvfp4.Policy(scale_rounding="up"),
    "clip 0.9": nvfp4.Policy(clip=0.9),
    "clip 17/16": nvfp4.Policy(clip=17 / 16),
    "E5M2 scales": nvfp4.Policy(scale_format="e5m2"),
    "UE5M3 scales": nvfp4.Policy(scale_format="ue5m3"),
    "E8M0 scales, up": nvfp4.Policy(scale_format="e8m0", scale_rounding="up"),
    "FP32 scales": nvfp4.Policy(scale_format="fp32"),
    "no tensor scale": nvfp4.Policy(tensor_scale="none"),
    "squares of 16": nvfp4.Policy(two_d=True),
}
MODEL = GPTSettings(dim=128, layers=4, heads=4, context=128)
RECIPES = {
    "float32": FP32Settings(),
    "NVFP4, the recipe": NVFP4Settings(keep_last=0),
    "NVFP4, no transform": NVFP4Settings(keep_last=0, rht="off"),
    "NVFP4, all to nearest": NVFP4Settings(keep_last=0, rht="off", stochastic_gradients=False),
    "NVFP4 with 4/6": NVFP4Settings(keep_last=0, policy=nvfp4.FOUR_SIX),
    "MXFP4": MXFP4Settings(keep_last=0),
}


def mixed(count, seed=0):
    """Blocks of 32 at magnitudes of their own, with outliers and zeros of either sign."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count // 32, 32)) * 10 ** random.uniform(-6, 4, (count // 32, 1))
    x *= np.where(random.random(x.shape) < 0.01, 100, 1)
    x[random.random(x.shape) < 0.02] = -0.0
    x[:, 0] += 1e-9  # no block of zeros: MXFP4's oracle takes logarithms
    return x.astype(np.float32)


def different(x, policy, expected):
    """Numbers and scales whose bits are not the oracle's."""
    kept = policy.rounded(torch.from_numpy(x))
    values = kept.dequantized().numpy().view(np.int32) != expected.restored.view(np.int32)
    scales = kept.scales.flatten().numpy() != expected.scales
    return int(values.sum()), int(scales.sum())


def oracle():
    x, square = mixed(MILLION), mixed(MILLION, 1).reshape(1024, 1024)
    mse = lambda e: (e.astype(np.float64) ** 2).sum(1)  # noqa: E731
    names = reference_fp4.nvfp4, reference_fp4.mxfp4
    cases = {
        "NVFP4": (x, nvfp4.Policy(), names[0](x)),
        "bound 256": (x, nvfp4.Policy(bound=256.0), names[0](x, bound=256)),
        "4/6": (x, nvfp4.FOUR_SIX, names[0](x, bound=256, four_six=mse)),
        "squares of 16": (square, nvfp4.Policy(two_d=True), names[0](square, two_d=True)),
        "MXFP4 floor": (x, mxfp4.Policy(), names[1](x)),
        "MXFP4 ceil": (x, mxfp4.Policy(scale="ceil"), names[1](x, rule="ceil")),
    }
    for block in (8, 32, 64, 128):
        policy = nvfp4.Policy(block=block)
        cases[f"block {block}"] = (square, policy, names[0](square, block))
    return {name: different(*case) for name, case in cases.items()}


def sqnr_db(x, policy):
    return fourbit.statistics(fourbit.tally(x, policy.rounded(x), policy.axes)).sqnr_db


def samples():
    random, n = np.random.default_rng(0), 65536
    drawn = (random.standard_normal(n), random.standard_t(4, n), random.laplace(size=n))
    return {
        name: torch.from_numpy(x.astype(np.float32)).reshape(256, 256)
        for name, x in zip(EXPECTED, drawn, strict=True)
    }


def outliers():
    """SQNR of normal numbers, one in 256 of them 20 times as large, and of their transforms."""
    random = np.random.default_rng(2)
    x = random.standard_normal((1024, 1024))
    x = torch.from_numpy(np.where(random.random(x.shape) < 1 / 256, 20 * x, x).astype(np.float32))
    found = {}
    for name, policy in (("NVFP4", nvfp4.Policy()), ("MXFP4 floor", mxfp4.Policy())):
        found[name] = {"none": sqnr_db(x, policy)}
        for size in hadamard.SIZES:
            H = hadamard.matrix(size, hadamard.signs(size))
            found[name][str(size)] = sqnr_db(hadamard.transform(x, H), policy)
    return found


def stochastic():
    """Mean error of a million draws, in its standard deviations, and the share saturated."""
    x = torch.randn(4096, generator=torch.Generator().manual_seed(4))
    found = {}
    for name, policy in (("NVFP4", nvfp4.Policy()), ("clip 17/16", nvfp4.Policy(clip=17 / 16)),
                         ("scales rounded up", nvfp4.Policy(scale_rounding="up"))):  # fmt: skip
        kept = policy.rounded(x)
        unit = (kept.scales * kept.tensor_scale).double()
        sign = x.sign().reshape(-1, 16)
        draws = [policy.rounded(x, fourbit.Draw(1, call=k)).elements for k in range(256)]
        scaled = x.reshape(-1, 16).abs() / unit
        step = torch.where(scaled < 2, 0.5, torch.where(scaled < 4, 1.0, 2.0))
        place = (scaled / step) % 1 * (scaled < 6)
        error = (torch.stack(draws).double().mean(0) * sign - scaled).sum()  # towards zero if < 0
        deviation = (place * (1 - place) * step**2).sum().sqrt() / 16
        found[name] = {
            "z": (error / deviation).item(),
            "mean error": (error / scaled.sum()).item(),
            "saturated": fourbit.statistics(fourbit.tally(x, kept, (-1,))).saturated_share,
        }
    return found


def costs(rounds):
    """Processor seconds of a step of training, in turns: median, and its ratio to float32."""
    windows = torch.randint(0, 256, (8, 129), generator=torch.Generator().manual_seed(0))
    taken = {name: [] for name in RECIPES}
    made = {}
    for name, settings in RECIPES.items():
        made[name] = models.build(MODEL, 0)
        fp4linear.convert(made[name], settings)
    for turn in range(rounds + 1):
        for name, model in made.items():
            begin = time.process_time()
            fp4linear.set_step(model, turn, 0.0)
            model.losses(windows).total.backward()
            taken[name].append(time.process_time() - begin)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
    return {name: (seconds, seconds / medians["float32"]) for name, seconds in medians.items()}


def table(rows, heads):
    text = ["| " + " | ".join(("", *heads)) + " |", "|---" * (len(heads) + 1) + "|"]
    text += ["| " + " | ".join((name, *cells)) + " |" for name, cells in rows.items()]
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", type=Path, default=Path("tables.json"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = samples()
    found = {
        "oracle": oracle(),
        "sqnr_db": {n: {c: sqnr_db(x, p) for c, p in KNOBS.items()} for n, x in data.items()},
        "zero_share": {n: (nvfp4.quantize_dequantize(x) == 0).double().mean().item()
                       for n, x in data.items()},
        "outliers": outliers(),
        "stochastic": stochastic(),
        "costs": costs(options.rounds),
        "torch": torch.__version__,
    }  # fmt: skip
    options.o.write_text(json.dumps(found, indent=1) + "\n")
    cells = {n: (str(v), str(s)) for n, (v, s) in found["oracle"].items()}
    print(table(cells, ("numbers that differ", "scales that differ")))
    rows = {}
    for name, values in found["sqnr_db"].items():
        got = [values[column] for column in COLUMNS]
        rows[name] = [f"{a:.2f} ({b:.2f})" for a, b in zip(got, EXPECTED[name], strict=True)]
    print(table(rows, COLUMNS))
    rows = {knob: (f"{KNOBS[knob].bits:.2f}", *(f"{found['sqnr_db'][n][knob]:.2f}" for n in data))
            for knob in KNOBS}  # fmt: skip
    print(table(rows, ("bits", *data)))
    rows = {n: [f"{x:.2f}" for x in v.values()] for n, v in found["outliers"].items()}
    print(table(rows, ("none", *map(str, hadamard.SIZES))))
    rows = {n: (f"{v['z']:.1f}", f"{100 * v['mean error']:.3f} %", f"{100 * v['saturated']:.2f} %")
            for n, v in found["stochastic"].items()}  # fmt: skip
    print(table(rows, ("z", "mean error", "saturated")))
    rows = {n: (f"{1000 * s:.0f}", f"{r:.2f}") for n, (s, r) in found["costs"].items()}
    print(table(rows, ("ms a step", "to float32")))


if __name__ == "__main__":
    main()

"""The picture of this report, from asynchronous.json.

python reports/2026-11-23-asynchronous/figure.py
"""

import json
import statistics
from collections import Counter
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatterSciNotation, NullLocator

HERE = Path(__file__).parent
COLORS = {"every": "#0072b2", "drop": "#d55e00", "barrier": "#7f7f7f"}
LABELS = {
    "every": "every result used",
    "drop": "late results dropped",
    "barrier": "barrier, popsize ≥ workers",
}
TITLES = {
    "ellipsoid": "ellipsoid, condition 1e3",
    "rosenbrock": "Rosenbrock",
    "f8": "bbob f8, Rosenbrock",
    "f10": "bbob f10, rotated ellipsoid",
    "f15": "bbob f15, rotated Rastrigin",
}


def main() -> None:
    """Median and quartiles of the best value against the workers; how late; how long."""
    rows = json.loads((HERE / "asynchronous.json").read_text())["rows"]
    workers = sorted({row["workers"] for row in rows})
    figure, axes = plt.subplots(2, 4, figsize=(15, 7), layout="constrained")
    for axis, (problem, title) in zip(axes.flat, TITLES.items(), strict=False):
        for way, color in COLORS.items():
            mine = [r for r in rows if (r["problem"], r["way"]) == (problem, way)]
            best = [[r["best"][0] for r in mine if r["workers"] == w] for w in workers]
            quartiles = [statistics.quantiles(values, n=4) for values in best]
            axis.plot(workers, [q[1] for q in quartiles], "o-", color=color, label=LABELS[way])
            low, high = [q[0] for q in quartiles], [q[2] for q in quartiles]
            axis.fill_between(workers, low, high, color=color, alpha=0.15, lw=0)
        axis.set(xscale="log", yscale="log", title=title, xlabel="workers")
        axis.set_xticks(workers, [str(w) for w in workers])
        axis.set_ylabel("f - f* after 2000 evaluations")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 0.7)))
        axis.grid(alpha=0.3)
    late, time, empty = axes.flat[5:]
    bottoms = [0.0] * len(workers)
    for age, shade in ((0, 0.25), (1, 0.45), (2, 0.65), (3, 0.85), (4, 1.0)):
        shares = []
        for w in workers:
            counts: Counter[int] = Counter()
            for r in rows:
                if (r["workers"], r["way"]) == (w, "every"):
                    for a, n in r["staleness"].items():
                        counts[min(int(a), 4)] += n
            shares.append(100 * counts[age] / counts.total())
        label = f"{age} generations late" if age < 4 else "4 and more"
        places = range(len(workers))
        late.bar(places, shares, bottom=bottoms, color=COLORS["every"], alpha=shade, label=label)
        bottoms = [b + s for b, s in zip(bottoms, shares, strict=True)]
    late.set_xticks(range(len(workers)), [str(w) for w in workers])
    late.set(title="how late the results come", xlabel="workers", ylabel="% of results")
    for way in ("every", "barrier"):
        ends = [
            statistics.median(r["time"] for r in rows if (r["workers"], r["way"]) == (w, way))
            for w in workers
        ]
        time.plot(workers, ends, "o-", color=COLORS[way], label=LABELS[way])
    time.set(xscale="log", yscale="log", title="time of 5000 evaluations", xlabel="workers")
    time.set_xticks(workers, [str(w) for w in workers])
    time.set_ylabel("in median durations of an evaluation")
    time.xaxis.set_minor_locator(NullLocator())
    time.grid(alpha=0.3)
    empty.axis("off")
    ways = empty.legend(*axes.flat[0].get_legend_handles_labels(), loc="upper center", fontsize=12)
    empty.add_artist(ways)
    empty.legend(*late.get_legend_handles_labels(), loc="lower center", fontsize=11)
    figure.savefig(HERE / "asynchronous.png", dpi=110)


if __name__ == "__main__":
    main()

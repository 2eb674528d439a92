"""Areas of a comparison at a budget that its table does not have, and their differences.

python reports/2026-11-23-mixint/areas.py FOLDER BUDGET_PER_DIMENSION REFERENCE
"""

import sys
from pathlib import Path

from evoopt_bench.runtime import compare_areas
from evoopt_bench.units import read_comparison

folder, b, reference = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
runs = {}
for outcome in read_comparison(folder).outcomes:
    runs.setdefault((outcome.run.dim, outcome.unit.algorithm), []).append(outcome.run)
for (dim, name), mine in sorted(runs.items()):
    d = compare_areas(mine, runs[dim, reference], b)
    print(f"{dim}-D {name:14s} {d.first:.4f}  {d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]")

"""How long `evoopt --help`, `import evoopt` and a first search take, each in a fresh interpreter.

    python benchmarks/perf/start.py --runs 21 -o start.json

Wall-clock milliseconds: minimum, median, maximum. The command is the one on the path. The last
row is an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

_SEARCH = (
    "import evoopt; evoopt.minimize(lambda x: float(x @ x), [1.0, 1.0], sigma0=1.0, budget=100)"
)


def commands() -> dict[str, list[str]]:
    """Name -> argv."""
    evoopt = shutil.which("evoopt")
    if evoopt is None:
        sys.exit("there is no evoopt command on the path; install the project first")
    return {
        "evoopt --help": [evoopt, "--help"],
        "import evoopt": [sys.executable, "-c", "import evoopt"],
        "import evoopt, minimize": [sys.executable, "-c", "from evoopt import minimize"],
        "a search of 100 evaluations": [sys.executable, "-c", _SEARCH],
        "python, nothing": [sys.executable, "-c", "pass"],
    }


def main() -> None:
    """Measures the commands in turn, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    spent: dict[str, list[float]] = {name: [] for name in commands()}
    for run in range(arguments.runs + 1):
        for name, argv in commands().items():
            start = time.perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            if run:  # the first run fills the file cache
                spent[name].append(1e3 * (time.perf_counter() - start))
    for name, times in spent.items():
        low, middle, high = min(times), statistics.median(times), max(times)
        print(f"{name:28s} {low:7.1f} {middle:7.1f} {high:7.1f} ms")
    if arguments.output:
        arguments.output.write_text(json.dumps(spent, indent=1))


if __name__ == "__main__":
    main()

"""The schedules of IPOP and BIPOP as simulations: which run comes next, and how it is set up.

Sources: A. Auger and N. Hansen, A restart CMA evolution strategy with increasing population size,
CEC 2005 (IPOP). N. Hansen, Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed,
GECCO 2009 (BIPOP). As in pycma's `fmin2(bipop=True)`, the first run is booked on the small side,
and a small run may spend half of what the large runs have spent together.
"""

from __future__ import annotations

import math
from types import SimpleNamespace


def ipop(default_popsize, runs):
    """Population sizes of the first `runs` runs: doubled at each restart."""
    return [default_popsize * 2**r for r in range(runs)]


def bipop(default_popsize, spent, draws):
    """The run after each finished run.

    Args:
        default_popsize: of the first run, which is booked on the small side.
        spent: evaluations of each finished run, in order.
        draws: (u, v) in [0, 1) of each run after the first; only small runs use them.

    Returns:
        For each run after the first: regime, popsize, sigma over the sigma of the first run, and
        the most evaluations that it may spend (infinite for a large run).
    """
    budget = {"small": spent[0], "large": 0}
    large_restarts = 0
    large_popsize = default_popsize
    schedule = []
    for (u, v), evaluations in zip(draws, [*spent[1:], 0], strict=False):
        if budget["small"] < budget["large"]:
            popsize = math.floor(default_popsize * (0.5 * large_popsize / default_popsize) ** u**2)
            run = SimpleNamespace(
                regime="small",
                popsize=popsize,
                sigma_factor=10 ** (-2 * v),
                most=budget["large"] / 2,
            )
        else:
            large_restarts += 1
            large_popsize = default_popsize * 2**large_restarts
            run = SimpleNamespace(
                regime="large", popsize=large_popsize, sigma_factor=1.0, most=math.inf
            )
        budget[run.regime] += evaluations
        schedule.append(run)
    return schedule

"""Pictures of runs. `KINDS` names them; each is a function (runs, out) -> out, loaded when drawn.

`runs` are folders of runs, `out` is the picture; its suffix says the format. What `SUITE_KINDS`
names is drawn of whole suite runs and comparisons, the rest of single runs.
"""

from __future__ import annotations

KINDS = {
    "anytime": "evoopt.plots.anytime:draw",
    "eaf": "evoopt.plots.eaf:draw",
    "ecdf": "evoopt_bench.plots:ecdf",
    "ert": "evoopt_bench.ert_plot:ert_against_dimension",
    "hypervolume": "evoopt.plots.hypervolume:draw",
    "pareto": "evoopt.plots.pareto:draw",
}
SUITE_KINDS = {
    "anytime": "evoopt_bench.anytime_plot:anytime_of_suites",
    "ecdf": KINDS["ecdf"],
    "ert": KINDS["ert"],
}
SINGLE = ("anytime", "eaf", "hypervolume", "pareto")  # that are drawn of single runs

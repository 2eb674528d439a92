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
    "loss": "evoopt_llm.pictures:draw",
    "pareto": "evoopt.plots.pareto:draw",
    "schedule": "evoopt_llm.schedule_picture:draw",
}
SUITE_KINDS = {
    "anytime": "evoopt_bench.anytime_plot:anytime_of_suites",
    "ecdf": KINDS["ecdf"],
    "ert": KINDS["ert"],
}
SINGLE = ("anytime", "eaf", "hypervolume", "pareto")  # that are drawn of single runs
OF_CONFIGS = ("schedule",)  # that are drawn of configuration files instead of runs
OF_TRAINING = ("loss",)  # that are drawn of training runs

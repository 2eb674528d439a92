"""Pictures of runs. `KINDS` names them; each is a function (runs, out) -> out, loaded when drawn.

`runs` are folders of runs, `out` is the picture; its suffix says the format.
"""

from __future__ import annotations

KINDS = {
    "anytime": "evoopt.plots.anytime:draw",
    "ecdf": "evoopt_bench.plots:ecdf",
}

"""The suites there are, as COCO's C code defines them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """What a suite offers and how a search on it starts.

    Attributes:
        name: the name cocoex knows it by.
        about: what it is, in a few words.
        n_obj: number of objectives.
        functions: all function numbers.
        dimensions: all dimensions.
        default_dimensions: those taken when the user names none: small enough for a first try.
        default_instances: those taken when the user names none.
        start: lower and upper end of the box in which a search starts, the same for each variable
            that ranges over `box`; variables of another range are scaled alike.
        sigma0: initial step size, scaled as `start`.
        box: lower and upper end of the region of interest of a continuous variable.
        bounds_apply: whether points outside the region of interest are infeasible.
        coco_id: template of the id that cocoex gives a problem.
        first_function: the number of the function that cocoex's options call 1.
        is_noisy: a point has another value each time.
        groups: names and functions of COCO's groups.
        x0: each variable of the first point of every search; None where starts are drawn.
    """

    name: str
    about: str
    n_obj: int
    functions: tuple[int, ...]
    dimensions: tuple[int, ...]
    default_dimensions: tuple[int, ...]
    default_instances: tuple[int, ...]
    start: tuple[float, float]
    sigma0: float
    box: tuple[float, float]
    bounds_apply: bool
    coco_id: str
    first_function: int
    is_noisy: bool
    groups: tuple[tuple[str, tuple[int, ...]], ...]
    x0: float | None = None


# names as in Hansen, Finck, Ros, Auger (2009), INRIA RR-6829 and RR-6869
_GROUPS = (
    ("separable", tuple(range(1, 6))),
    ("moderate", tuple(range(6, 10))),
    ("ill-conditioned", tuple(range(10, 15))),
    ("multimodal, structured", tuple(range(15, 20))),
    ("multimodal, weak structure", tuple(range(20, 25))),
)
_NOISY_GROUPS = (
    ("moderate noise", tuple(range(101, 107))),
    ("severe noise", tuple(range(107, 122))),
    ("severe noise, multimodal", tuple(range(122, 131))),
)


# functions of bbob that bbob-biobj pairs: two of each group; suite_biobj.c of COCO
_PAIRED = (1, 2, 6, 8, 13, 14, 15, 17, 20, 21)
_SHORT = ("separable", "moderate", "ill-conditioned", "multimodal", "weak structure")
_LEFT_OUT = 16  # Weierstrass has many optima, hence no nadir point


def _suite(
    name: str,
    about: str,
    dimensions: tuple[int, ...] = (2, 3, 5, 10, 20, 40),
    default_dimensions: tuple[int, ...] = (2, 3, 5),
    functions: tuple[int, ...] = tuple(range(1, 25)),
    *,
    bounds_apply: bool = False,
    coco_id: str = "",
    is_noisy: bool = False,
) -> SuiteSpec:
    """A suite of single-objective functions on [-5, 5]^D."""
    return SuiteSpec(
        name=name,
        about=about,
        n_obj=1,
        functions=functions,
        dimensions=dimensions,
        default_dimensions=default_dimensions,
        default_instances=(1, 2, 3),
        start=(-4.0, 4.0),
        sigma0=2.0,
        box=(-5.0, 5.0),
        bounds_apply=bounds_apply,
        coco_id=coco_id or name + "_f{function:03d}_i{instance:02d}_d{dim:02d}",
        first_function=functions[0],
        is_noisy=is_noisy,
        groups=_NOISY_GROUPS if is_noisy else _GROUPS,
    )


def _biobj(name: str, about: str, *, extended: bool = False) -> SuiteSpec:
    """A suite of pairs of bbob's functions.

    COCO's region of interest is [-100, 100]^D; the optima of the halves lie in [-5, 5]^D, and that
    is the box of those that need one. As COCO's example does, all begin at its middle.
    """
    pairs = list(combinations_with_replacement(_PAIRED, 2))
    if extended:  # all other pairs inside a group
        inside = [pair for _, group in _GROUPS for pair in combinations(group, 2)]
        pairs += [pair for pair in inside if pair not in pairs and _LEFT_OUT not in pair]
    group_of = {f: short for short, (_, group) in zip(_SHORT, _GROUPS, strict=True) for f in group}
    groups: dict[str, list[int]] = {
        f"{one} - {two}": [] for one, two in combinations_with_replacement(_SHORT, 2)
    }
    for function, (one, two) in enumerate(pairs, 1):
        groups[f"{group_of[one]} - {group_of[two]}"].append(function)
    return SuiteSpec(
        name=name,
        about=about,
        n_obj=2,
        functions=tuple(range(1, len(pairs) + 1)),
        dimensions=(2, 3, 5, 10, 20, 40),
        default_dimensions=(2, 3, 5),
        default_instances=(1, 2, 3),
        start=(-4.0, 4.0),
        sigma0=2.0,
        box=(-5.0, 5.0),
        bounds_apply=False,
        coco_id="bbob-biobj_f{function:02d}_i{instance:02d}_d{dim:02d}",
        first_function=1,
        is_noisy=False,
        groups=tuple((name, tuple(members)) for name, members in groups.items()),
        x0=0.0,
    )


SUITES: dict[str, SuiteSpec] = {
    suite.name: suite
    for suite in (
        _suite("bbob", "24 noiseless functions"),
        _suite(
            "bbob-mixint",
            "the same over integers and reals: a fifth of the variables each with 2, 4, 8 and 16 "
            "values, and continuous",
            (5, 10, 20, 40, 80, 160),
            (5, 10),
            bounds_apply=True,
        ),
        _suite(
            "bbob-largescale",
            "the same with rotations of blocks, to 640 variables",
            (20, 40, 80, 160, 320, 640),
            (20, 40),
            coco_id="bbob_f{function:03d}_i{instance:02d}_d{dim:04d}",
        ),
        _suite("bbob-boxed", "the same, with optima at bounds that apply", bounds_apply=True),
        _suite(
            "bbob-noisy",
            "30 functions under three kinds of noise",
            functions=tuple(range(101, 131)),
            coco_id="bbob_noisy_f{function:03d}_i{instance:02d}_d{dim:02d}",
            is_noisy=True,
        ),
        _biobj("bbob-biobj", "55 pairs of ten functions: two objectives"),
        _biobj("bbob-biobj-ext", "92 pairs: these, and more inside the groups", extended=True),
    )
}

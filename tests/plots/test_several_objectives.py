"""Pictures of runs with several objectives show the numbers of the runs, and can be read."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

import evoopt
from evoopt.cli import main
from evoopt.errors import ConfigurationError, MissingDependencyError, StateError
from evoopt.hypervolume import hypervolume as volume
from evoopt.plots import anytime, eaf, hypervolume, pareto, style
from evoopt.plots.course import read_course
from evoopt.plots.told import Told, common_reference, read_told
from evoopt.plots.values import choose_values

pytest.importorskip("moocore")
Array = Any
KINDS = {"pareto": pareto, "hypervolume": hypervolume, "eaf": eaf}


def spheres(x: Array) -> list[float]:
    if x[0] < -1.9:
        raise ValueError("out of its depth")
    return [float(x @ x), float(((x - 1) ** 2).sum())]


def run(path: Path, seed: int = 1, m: int = 2, **words: Any) -> evoopt.Result:
    """A finished run of random search; of it about one evaluation in forty fails."""

    def fun(x: Array) -> list[float]:
        return [*spheres(x), float(abs(x[0]) + 3)][:m]

    words = {"algorithm": "random", "budget": 80, "objectives": m, "seed": seed, **words}
    return evoopt.minimize(fun, bounds=([-2.0] * 2, [2.0] * 2), run_dir=path, **words)


def told(F: Array, label: str = "random", **words: Any) -> Told:
    """A made-up run."""
    F = np.array(F, dtype=float)
    words = {"known": 0, "maximize": (False,) * F.shape[1], "reference": None, **words}
    return Told(name=f"{label}-{len(F)}", problem="f, 2-D", label=label, F=F, **words)


def drawn(module: Any, argument: Any) -> Figure:
    with rc_context(style.RC):
        figure: Figure = module.figure(argument)
        return figure


def curved(k: int, label: str, away: float) -> list[Told]:
    """k runs whose fronts lie at different distances from one another."""
    at = np.linspace(0, 1, 9)
    return [
        told(np.column_stack((at, (1 - at) ** 2)) + away * (1 + i / k), label) for i in range(k)
    ]


def test_the_values_of_a_run_are_those_it_was_told_in_order(tmp_path: Path) -> None:
    seen: list[list[float]] = []

    def fun(x: Array) -> list[float]:
        seen.append([np.nan, np.nan])
        seen[-1] = spheres(x)
        return seen[-1]

    bounds = ([-2.0] * 2, [2.0] * 2)
    words: dict[str, Any] = {"objectives": 2, "algorithm": "random", "budget": 150, "seed": 3}
    evoopt.minimize(fun, bounds=bounds, run_dir=tmp_path / "run", **words)
    found = read_told(tmp_path / "run")
    np.testing.assert_array_equal(found.F, seen)
    assert np.isnan(found.F).any()
    assert (found.evaluations, found.known, found.label) == (150, 0, "random")


def test_front_reference_and_hypervolume_are_those_of_the_result(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    found = read_told(tmp_path / "run")
    np.testing.assert_array_equal(found.front(), result.front_f)
    np.testing.assert_array_equal(found.worst(), result.reference)
    at, volumes = found.volumes(found.worst())
    assert volumes[-1] == pytest.approx(result.hypervolume, rel=1e-13)
    assert (at[0], at[-1]) == (1, 80)
    assert (np.diff(volumes) >= 0).all()


def test_maximised_objectives_are_shown_in_the_users_sign(tmp_path: Path) -> None:
    def fun(x: Array) -> list[float]:
        return [-float(x @ x), float(((x - 1) ** 2).sum())]

    words: dict[str, Any] = {"algorithm": "random", "budget": 60, "seed": 1}
    words |= {"maximize": [True, False], "reference": [-9.0, 9.0]}
    path = tmp_path / "run"
    result = evoopt.minimize(fun, bounds=([-2.0] * 2, [2.0] * 2), run_dir=path, **words)
    found = read_told(path)
    assert found.shown(found.front()).tolist() == result.front_f.tolist()
    reference, is_given = common_reference([found])
    assert (found.shown(reference).tolist(), is_given) == ([-9.0, 9.0], True)
    axis = drawn(pareto, [found]).axes[0]
    assert axis.get_xlabel() == "f1, maximised"
    assert marks(axis)["ideal"] == pytest.approx(result.front.ideal)  # type: ignore[union-attr]


def test_what_was_known_before_is_part_of_the_front_and_no_evaluation(tmp_path: Path) -> None:
    known = [[0.5, 0.5], [1.5, 1.5]], [[-0.5, 0.5], [-9.0, 0.2]]
    words: dict[str, Any] = {"maximize": [True, False], "warm_start": known}
    result = run(tmp_path / "run", **words)
    found = read_told(tmp_path / "run")
    assert (found.known, found.evaluations) == (2, 80)
    assert found.shown(found.F[:2]).tolist() == known[1]
    assert found.shown(found.front()).tolist() == result.front_f.tolist()
    assert found.volumes(found.worst())[0][-1] == 80


def marks(axis: Any) -> dict[str, Array]:
    """Label -> the points that are drawn with it."""
    lines = {line.get_label(): np.squeeze(line.get_xydata()) for line in axis.get_lines()}
    return {label: xy for label, xy in lines.items() if not label.startswith("_")}


def test_pareto_marks_front_knee_ideal_and_nadir() -> None:
    F = np.array([[0, 9], [1, 2], [4, 1], [5, 5], [np.nan, np.nan], [3, 8]])
    picture = drawn(pareto, [told(F)])
    found = marks(picture.axes[0])
    np.testing.assert_array_equal(found["random (3 points)"], F[:3])
    assert {k: v.tolist() for k, v in found.items() if k in ("knee", "ideal", "nadir")} == {
        "knee": [1, 2],
        "ideal": [0, 1],
        "nadir": [4, 9],
    }
    (others,) = picture.axes[0].collections
    assert len(others.get_offsets()) == 5
    assert picture.get_suptitle() == (
        "f, 2-D; random\nhypervolume 21, reference (4, 9), the worst ever on a front"
    )


def test_a_front_of_one_point_is_drawn_and_named_as_one() -> None:
    axis = drawn(pareto, [told([(1.0, 2.0), (1.0, 2.0), (3.0, 2.0)])]).axes[0]
    assert "random (1 point)" in [line.get_label() for line in axis.get_lines()]


def test_the_stairs_of_a_front_bound_what_it_attains() -> None:
    front = np.array([[0.0, 9.0], [1.0, 2.0], [4.0, 1.0]])
    assert pareto.stairs(front).tolist() == [[0, 9], [1, 9], [1, 2], [4, 2], [4, 1]]


def test_each_pair_of_objectives_has_a_panel() -> None:
    F = np.random.default_rng(1).random((30, 4))
    axes = drawn(pareto, [told(F), told(F[:20], "other")]).axes
    names = [f"{axis.get_xlabel()}{axis.get_ylabel()}" for axis in axes]
    assert names == ["f1f2", "f1f3", "f1f4", "f2f3", "f2f4", "f3f4"]


def test_the_hypervolume_grows_as_that_of_the_first_points_does() -> None:
    rng = np.random.default_rng(2)
    for m, exact in ((2, True), (3, False)):
        F = rng.random((250, m))
        F[::7] = np.nan
        run = told(F)
        at, volumes = run.volumes(np.ones(m))
        assert [at[0], at[-1]] == [1, 250]
        for now, found in zip(at.tolist(), volumes.tolist(), strict=True):
            assert found == pytest.approx(volume(F[:now], np.ones(m)), rel=1e-13)
        if exact:  # between two of them there was nothing better
            before = [volume(F[: now - 1], np.ones(m)) for now in at.tolist()[1:]]
            np.testing.assert_allclose(before, volumes[:-1], rtol=1e-13)


def test_what_is_missing_is_missing_to_all_runs_together() -> None:
    runs = [told([[3, 3], [0, 2]], "a"), told([[2, 0], [5, 5]], "b")]
    picture = drawn(hypervolume, runs)
    left, right = picture.axes
    for k, expected in enumerate(([0, 3], [3, 3])):  # up to (3, 3), the worst on a front
        line = left.get_lines()[k].get_ydata()
        assert [line[0], line[-1]] == expected
        np.testing.assert_array_equal(right.get_lines()[k].get_ydata(), 5 - np.asarray(line))
    assert "worst ever on a front" in picture.get_suptitle()


def test_of_many_runs_the_median_and_the_quartiles_are_drawn() -> None:
    picture = drawn(hypervolume, [*curved(4, "a", 0.1), *curved(3, "b", 0.2)])
    names = [text.get_text() for text in picture.legends[0].get_texts()]
    assert names == ["a (4 runs)", "b (3 runs)"]
    for axis in picture.axes:
        assert len(axis.get_lines()) == len(axis.collections) == 2


def test_a_surface_is_attained_by_its_share_of_the_runs() -> None:
    fronts = [np.random.default_rng(seed).random((12, 2)) for seed in range(8)]
    points = np.random.default_rng(99).random((300, 2))
    attained = np.mean([attains(front, points) for front in fronts], axis=0)
    for share, surface in zip((25, 50, 75), eaf.surfaces(fronts, (25, 50, 75)), strict=True):
        np.testing.assert_array_equal(attains(surface, points), attained >= share / 100)


def attains(front: Array, points: Array) -> Array:
    """(p,) whether a member of the front is no worse than each point."""
    found: Array = (front[:, None, :] <= points).all(axis=2).any(axis=0)
    return found


def test_the_differences_are_those_of_the_shares_of_runs_that_attain_a_point() -> None:
    rng = np.random.default_rng(5)
    one, two = ([rng.random((6, 2)) + away for _ in range(4)] for away in (0.0, 0.1))
    table = eaf.differences(one, two)
    points = rng.random((400, 2)) * 1.2
    shares = [
        np.mean([attains(front, points) for front in fronts], axis=0) for fronts in (one, two)
    ]
    found = np.zeros(len(points))
    for low1, low2, high1, high2, share in table.tolist():
        within = (points > [low1, low2]).all(axis=1) & (points < [high1, high2]).all(axis=1)
        found[within] = share
    np.testing.assert_allclose(found, shares[0] - shares[1], atol=1e-12)
    assert found.max() > 0.5


def test_two_algorithms_have_panels_of_their_differences_and_three_have_none() -> None:
    groups = {name: curved(4, name, away) for name, away in (("a", 0.1), ("b", 0.3))}
    surfaces, better, worse = drawn(eaf, groups).axes[:3]
    assert [axis.get_title(loc="left") for axis in (better, worse)] == [
        "a attains more",
        "b attains more",
    ]
    assert rectangles(better) > 5
    assert rectangles(worse) == 0
    assert len(surfaces.get_lines()) == 2
    assert len(drawn(eaf, groups | {"c": curved(3, "c", 0.0)}).axes) == 1


def test_runs_are_compared_after_as_many_evaluations_as_all_of_them_had() -> None:
    short = [told([[1.0, 1.0]] * 5, "a") for _ in range(3)]
    long = [told([[2.0, 2.0]] * 5 + [[0.0, 0.0]], "b") for _ in range(3)]
    picture = drawn(eaf, {"a": short, "b": long})
    assert picture.get_suptitle() == "f, 2-D; attained after 5 evaluations"
    assert rectangles(picture.axes[1]) > 0
    assert rectangles(picture.axes[2]) == 0


def rectangles(axis: Any) -> int:
    """How many are coloured."""
    return sum(len(each.get_paths()) for each in axis.collections)


def test_a_long_front_is_worse_by_less_than_a_cell_of_its_grid() -> None:
    at = np.linspace(0, 1, 3000)
    front = np.column_stack((at, (1 - at) ** 2))
    limits = np.array([[-0.1, -0.1], [1.1, 1.1]])
    coarse = eaf.rounded(front, limits)
    assert len(coarse) < 400
    assert attains(front, coarse).all()
    assert attains(coarse, front + 1.2 / 300).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_runs_give_the_same_bytes(tmp_path: Path, kind: str, suffix: str) -> None:
    runs = [tmp_path / f"run{seed}" for seed in range(3)]
    for seed, path in enumerate(runs):
        run(path, seed)
    one, two = (KINDS[kind].draw(runs, tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert one == two


def test_a_run_that_goes_on_can_be_drawn(tmp_path: Path) -> None:
    result = run(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    found = read_told(tmp_path / "run")
    assert found.front().tolist() == result.front_f.tolist()


def test_the_course_of_a_run_says_that_its_values_are_hypervolumes(tmp_path: Path) -> None:
    run(tmp_path / "run")
    shown = choose_values([read_course(tmp_path / "run")])
    assert "hypervolume" in shown.title


def test_the_courses_of_several_runs_count_from_one_reference(tmp_path: Path) -> None:
    runs = [tmp_path / str(seed) for seed in (1, 2)]
    own = [run(path, seed) for seed, path in enumerate(runs, 1)]
    assert own[0].reference.tolist() != own[1].reference.tolist()
    told = [read_told(path) for path in runs]
    reference, _ = common_reference(told)
    for course, each in zip(anytime.read(runs), told, strict=True):
        at = course.history.evaluations[::20].tolist()
        expected = [volume(each.front(n), reference) for n in at]
        assert course.history.f[::20].tolist() == pytest.approx(expected)


def test_runs_with_one_and_with_several_objectives_share_no_picture(tmp_path: Path) -> None:
    run(tmp_path / "two")
    evoopt.minimize(lambda x: x[0], bounds=(-2, 2), x0=[0], budget=9, run_dir=tmp_path / "one")
    with pytest.raises(ConfigurationError, match="as many objectives each; got 2 in two, 1 in one"):
        anytime.draw([tmp_path / "two", tmp_path / "one"], tmp_path / "a.svg")


@pytest.mark.parametrize("kind", KINDS)
def test_runs_on_several_problems_are_refused(tmp_path: Path, kind: str) -> None:
    run(tmp_path / "two")
    run(tmp_path / "three", m=3)
    with pytest.raises(ConfigurationError, match="must be runs on one problem; got fun, 2-D in"):
        KINDS[kind].draw([tmp_path / "two", tmp_path / "three"], tmp_path / "a.svg")


@pytest.mark.parametrize("kind", KINDS)
def test_runs_with_one_objective_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    evoopt.minimize(lambda x: float(x @ x), [1.0, 1.0], sigma0=1.0, budget=20, run_dir=path)
    with pytest.raises(ConfigurationError, match="has one: draw anytime"):
        KINDS[kind].draw([path], tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("kind", "runs", "m", "message"),
    [
        ("pareto", 8, 2, "must be 1 to 7 runs; got 8: draw eaf or hypervolume"),
        ("pareto", 1, 5, "must have 2 to 4 objectives; got 5"),
        ("hypervolume", 0, 2, "must be at least one run; got none"),
        ("eaf", 2, 2, "at least 3 runs of each algorithm"),
        ("eaf", 3, 3, "must have two objectives; got 3: draw pareto"),
    ],
)
def test_what_a_picture_cannot_show_is_refused(
    tmp_path: Path, kind: str, runs: int, m: int, message: str
) -> None:
    def fun(x: Array) -> list[float]:
        return [float(((x - i) ** 2).sum()) for i in range(m)]

    if runs:
        words: dict[str, Any] = {"objectives": m, "algorithm": "random", "budget": 20}
        bounds = ([-2.0] * 2, [2.0] * 2)
        evoopt.minimize(fun, bounds=bounds, run_dir=tmp_path / "run0", **words)
    for i in range(1, runs):
        shutil.copytree(tmp_path / "run0", tmp_path / f"run{i}")
    with pytest.raises(ConfigurationError, match=message):
        KINDS[kind].draw([tmp_path / f"run{i}" for i in range(runs)], tmp_path / "a.svg")


def test_a_run_without_a_success_is_refused(tmp_path: Path) -> None:
    def fun(x: Array) -> list[float]:
        return [np.nan, 1.0]

    words: dict[str, Any] = {"objectives": 2, "algorithm": "random", "budget": 20}
    path = tmp_path / "run"
    evoopt.minimize(fun, bounds=([-2.0] * 2, [2.0] * 2), run_dir=path, **words)
    with pytest.raises(StateError, match="no evaluation that succeeded"):
        pareto.draw([path], tmp_path / "a.svg")


def test_attainment_without_moocore_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [tmp_path / f"run{seed}" for seed in range(3)]
    for seed, path in enumerate(runs):
        run(path, seed)
    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[hv\]'"):
        eaf.draw(runs, tmp_path / "a.svg")


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_is_a_kind_of_the_plot_command(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(tmp_path / f"run{seed}") for seed in range(3)]
    for seed, path in enumerate(runs):
        run(Path(path), seed)
    out = str(tmp_path / "a.svg")
    assert main(["plot", kind, *runs, "-o", out]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert Path(out).stat().st_size > 1000
    assert main(["plot", kind, *runs, "-o", out, "--dim", "2"]) == 2
    assert f"--dim cannot be used with {kind}" in capsys.readouterr().err

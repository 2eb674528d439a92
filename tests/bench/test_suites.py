"""Suites: the user's words for problems, and the problems themselves, against cocoex."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt.result import NAN, POSINF
from evoopt_bench.suites import (
    SUITES,
    CocoProblem,
    ProblemId,
    is_suite,
    parse_ids,
    select,
)

cocoex = pytest.importorskip("cocoex", reason="needs the extra bench")


each_suite = pytest.mark.parametrize("name", SUITES)


@each_suite
def test_every_suite_lists_the_problems_of_the_installed_cocoex_in_its_order(name: str) -> None:
    dimensions = SUITES[name].dimensions[:3]  # cocoex makes each problem to list it
    chosen = select(name, dim=",".join(map(str, dimensions)), instance="1-2")
    wanted = ",".join(map(str, dimensions))
    installed = cocoex.Suite(name, "instances: 1-2", f"dimensions: {wanted}")
    assert [problem.coco_id for problem in chosen.problems()] == list(installed.ids())
    assert len(chosen) == len(installed)


@each_suite
def test_every_suite_has_the_dimensions_of_the_installed_cocoex(name: str) -> None:
    everything = cocoex.Suite(name, "instances: 1", "function_indices: 1")
    assert list(everything.dimensions) == list(SUITES[name].dimensions)


@each_suite
def test_the_functions_of_a_suite_are_those_of_its_groups(name: str) -> None:
    members = [function for _, group in SUITES[name].groups for function in group]
    assert sorted(members) == list(SUITES[name].functions)


@each_suite
def test_values_box_and_integers_are_those_of_cocoex(name: str) -> None:
    if SUITES[name].is_noisy:
        pytest.skip("its values are tested in test_noise.py")
    for function in (1, 7, 20):
        problem = ProblemId(name, SUITES[name].dimensions[1], function, 3)
        theirs = cocoex.Suite(name, *problem.coco_options).get_problem(problem.coco_id)
        ours = CocoProblem(problem)
        X = np.random.default_rng(function).uniform(ours.lower, ours.upper, (7, problem.dim))
        assert ours.evaluate(X).F.tolist() == np.array([theirs(x) for x in X]).tolist()
        if ours.n_obj == 1:
            assert ours.value(X[0]) == theirs(X[0])
            assert ours.lower.tolist() == list(theirs.lower_bounds)
            assert ours.upper.tolist() == list(theirs.upper_bounds)
        assert ours.integers.sum() == theirs.number_of_integer_variables
        theirs.free()


@each_suite
def test_a_search_starts_well_inside_the_box_with_a_fifth_of_its_width(name: str) -> None:
    problem = CocoProblem(select(name).problems()[0])
    width = problem.upper - problem.lower
    np.testing.assert_allclose(problem.start_lower, problem.lower + 0.1 * width, rtol=1e-12)
    np.testing.assert_allclose(problem.start_upper, problem.upper - 0.1 * width, rtol=1e-12)
    np.testing.assert_allclose(problem.sigma0 * np.ones(problem.dim), 0.2 * width, rtol=1e-12)


def test_integers_come_first_and_have_two_to_sixteen_values() -> None:
    problem = CocoProblem(ProblemId("bbob-mixint", 10, 1, 1))
    assert problem.integers.tolist() == [True] * 8 + [False] * 2
    counts = (problem.upper - problem.lower + 1)[problem.integers]
    assert counts.tolist() == [2, 2, 4, 4, 8, 8, 16, 16]
    X = np.zeros((2, 10))
    X[1, :8] += 0.4  # rounded away
    F = problem.evaluate(X).F
    assert F[0] == F[1]


def test_outside_the_box_a_boxed_problem_has_no_value() -> None:
    problem = CocoProblem(ProblemId("bbob-boxed", 2, 1, 1))
    values = problem.evaluate(np.array([[5.0, -5.0], [5.0001, 0.0]]))
    assert np.isfinite(values.F).tolist() == [True, False]
    assert values.failures[1].kind == POSINF
    assert problem.bounds_apply


@pytest.mark.parametrize("name", [name for name in SUITES if SUITES[name].n_obj == 1])
def test_the_optimal_value_is_below_what_a_crowd_finds_and_cocoex_agrees(name: str) -> None:
    for function in SUITES[name].functions[:8]:
        problem = CocoProblem(ProblemId(name, SUITES[name].dimensions[0], function, 2))
        X = np.random.default_rng(1).uniform(problem.lower, problem.upper, (200, problem.dim))
        seeds = list(range(200)) if problem.takes_seed else None
        F = problem.judged(X, problem.evaluate(X, seeds).F)
        assert (problem.f_opt < F.min()).all()
    if name in ("bbob-largescale", "bbob-boxed"):  # the same optimal values by COCO's design
        bare = cocoex.BareProblem("bbob", function, SUITES[name].dimensions[0], 2)
        assert problem.f_opt == bare.best_value()


def test_with_two_objectives_the_box_is_that_of_the_optima_and_all_begin_in_its_middle() -> None:
    for name in ("bbob-biobj", "bbob-biobj-ext"):
        problem = CocoProblem(ProblemId(name, 3, 9, 2))
        assert problem.n_obj == 2
        assert problem.start is not None
        assert problem.start.tolist() == [0.0] * 3
        assert (problem.lower.tolist(), problem.upper.tolist()) == ([-5.0] * 3, [5.0] * 3)
        assert not problem.bounds_apply
        values = problem.evaluate(np.array([[1.0, 2.0, 3.0], [np.nan, 0.0, 0.0]]))
        assert values.F.shape == (2, 2)
        assert np.isnan(values.F).tolist() == [[False, False], [True, True]]
        assert values.failures[1].kind == NAN


def test_pairs_of_functions_are_those_of_cocoex_and_lie_in_the_groups_of_its_halves() -> None:
    names = ("separable", "moderate", "ill-conditioned", "multimodal", "weak structure")
    group_of = {
        function: short
        for short, (_, members) in zip(names, SUITES["bbob"].groups, strict=True)
        for function in members
    }
    for name in ("bbob-biobj", "bbob-biobj-ext"):
        found = cocoex.Suite(name, "", "dimensions: 2 instance_indices: 1")
        for function, problem in enumerate(found, 1):
            first, second = (int(half[6:9]) for half in problem.name.split("__"))
            title = f"{group_of[first]} - {group_of[second]}"
            assert function in dict(SUITES[name].groups)[title]


def test_values_equal_those_of_the_cocoex_suite() -> None:
    suite = cocoex.Suite("bbob", "instances: 2,15", "dimensions: 2,20")
    for problem in select("bbob", dim="2,20", instance="2,15").problems():
        X = np.random.default_rng(problem.function).uniform(-6, 6, (7, problem.dim))
        theirs = suite.get_problem(problem.name)
        F = CocoProblem(problem).evaluate(X).F
        assert F.tolist() == [theirs(x) for x in X]
        theirs.free()


def test_the_target_is_hit_exactly_when_cocoex_says_so() -> None:
    problem = ProblemId("bbob", 2, 1, 1)
    ours = CocoProblem(problem)
    theirs = cocoex.Suite("bbob", "instances: 1", "dimensions: 2").get_problem(problem.name)
    rng = np.random.default_rng(1)
    optimum = cocoex.BareProblem("bbob", 1, 2, 1).best_parameter()
    for radius in (2e-4, 1.2e-4, 1.01e-4, 1.0001e-4, 1e-4, 0.9999e-4):
        for _ in range(20):
            step = rng.normal(size=2)
            x = optimum + radius * step / np.linalg.norm(step)
            best = min(ours.evaluate(x[None]).F[0], theirs.best_observed_fvalue1)
            theirs(x)
            assert bool(theirs.final_target_hit) == (best <= ours.target)
    assert theirs.final_target_hit  # both sides of the target were seen
    theirs.free()


def test_the_optimal_value_lies_below_every_value_seen() -> None:
    for function in range(1, 25):
        problem = CocoProblem(ProblemId("bbob", 3, function, 4))
        X = np.random.default_rng(function).uniform(-5, 5, (50, 3))
        assert (problem.evaluate(X).F > problem.f_opt).all()


def test_rows_without_a_finite_value_are_failures_and_the_others_are_not() -> None:
    problem = CocoProblem(ProblemId("bbob", 2, 1, 1))
    X = np.array([[0.0, 0.0], [np.nan, 0.0], [np.inf, 0.0], [1e200, 0.0]])
    values = problem.evaluate(X)
    assert np.isnan(values.F).tolist() == [False, True, True, True]
    assert {row: failure.kind for row, failure in values.failures.items()} == {
        1: NAN,
        2: POSINF,
        3: POSINF,
    }


def test_points_are_neither_modified_nor_required_to_be_writable_or_contiguous() -> None:
    problem = CocoProblem(ProblemId("bbob", 2, 8, 1))
    X = np.arange(12.0).reshape(2, 6).T
    expected = [problem.evaluate(np.array([x])).F[0] for x in X]
    X.flags.writeable = False
    assert problem.evaluate(X).F.tolist() == expected


def test_a_problem_survives_pickling() -> None:
    problem = CocoProblem(ProblemId("bbob", 2, 8, 7))
    twin = pickle.loads(pickle.dumps(problem))
    X = np.ones((1, 2))
    assert twin.name == problem.name == "bbob_f008_i07_d02"
    assert twin.evaluate(X).F == problem.evaluate(X).F


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1-24", tuple(range(1, 25))),
        ("2,3,5,10", (2, 3, 5, 10)),
        ("8", (8,)),
        ("5, 1-3 ,2", (1, 2, 3, 5)),
    ],
)
def test_ids_are_numbers_and_ranges_in_ascending_order(text: str, expected: object) -> None:
    assert parse_ids(text) == expected


def test_a_range_of_dimensions_takes_those_that_exist() -> None:
    assert parse_ids("2-10", "--dim", (2, 3, 5, 10, 20)) == (2, 3, 5, 10)


def test_parts_of_a_target_and_options_say_the_same() -> None:
    by_target = select("bbob:f1-4,8:d10:i1")
    assert by_target == select("bbob", function="1-4,8", dim="10", instance="1")
    assert by_target == select("bbob:f1-4,8:d10", instance="1")
    assert [p.name for p in by_target.problems()][-1] == "bbob_f008_i01_d10"


def test_a_selection_reads_back_as_it_is_written() -> None:
    chosen = select("bbob", function="1-4,8,9", dim="2-20", instance="1-15,71")
    assert str(chosen) == "bbob:f1-4,8,9:d2,3,5,10,20:i1-15,71"
    assert select(str(chosen)) == chosen


def test_a_bare_suite_means_all_functions_and_small_defaults() -> None:
    chosen = select("bbob")
    assert chosen.functions == tuple(range(1, 25))
    assert chosen.dimensions == (2, 3, 5)
    assert chosen.instances == (1, 2, 3)


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("bbobb", {}, ("bbobb", "did you mean 'bbob'")),
        ("bbob:x3", {}, ("x3", "f8, d10 or i1")),
        ("bbob:", {}, ("''",)),
        ("bbob:f25", {}, ("--function", "1-24", "'25'")),
        ("bbob:f3-1", {}, ("--function", "go up", "3-1")),
        ("bbob:f", {}, ("--function", "1-4,8", "''")),
        ("bbob:f3:f4", {}, ("--function", "twice")),
        ("bbob:f3", {"function": "3"}, ("--function", "twice", "'f3'")),
        ("bbob", {"dim": "7"}, ("--dim", "2,3,5,10,20,40", "'7'")),
        ("bbob", {"dim": "2.5"}, ("--dim", "2.5")),
        ("bbob", {"dim": "3-4"}, ("--dim", "'3-4'")),
        ("bbob", {"instance": "0"}, ("--instance", "1 or more", "'0'")),
        ("bbob", {"instance": "0-3"}, ("--instance", "'0-3'")),
        ("bbob", {"instance": "1;2"}, ("--instance", "1;2")),
        ("bbob", {"function": "-1"}, ("--function", "-1")),
    ],
)
def test_a_wrong_selection_is_one_line_that_names_what_came(
    target: str, options: dict[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        select(target, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_only_the_word_before_the_colon_decides_on_a_suite() -> None:
    assert is_suite("bbob")
    assert is_suite("bbob:f8")
    assert not is_suite("mymodule:f")
    assert not is_suite("bbob.py:f")


def test_making_a_problem_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for name in SUITES:
        CocoProblem(select(name).problems()[0])
    assert capfd.readouterr() == ("", "")

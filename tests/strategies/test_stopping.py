"""Every stopping criterion from both sides: silent just before its bar, firing just past it, and
equal to its naive form, which looks at the whole record of the run, in between."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import stopping_literal

from evoopt.strategies.course import Course
from evoopt.strategies.stopping import Shape, Tolerances, first_reason

TINY = 1e-6  # how far from a bar "just before" and "just past" are
POPSIZE = 6
PLAIN = [3.0, 4.0, 5.0, 6.0, 7.0, 9.0]  # values of a generation about which nothing is special


def only(**bars):
    """All criteria off but these."""
    return dataclasses.replace(Tolerances.off(), allfailed=None, **bars)


def course_of(generations, means=None, bar=None, start=(0.0, 0.0)):
    """The course after these generations of values; an empty one failed whole."""
    course = Course.start(np.array(start))
    for g, values in enumerate(generations):
        mean = np.array(start if means is None else means[g])
        ordered = [float(v) for v in np.sort(values)]  # NaN last
        course = course.after(ordered, mean, bar) if len(ordered) else course.after_failed()
    return course


def shape_of(C=((1.0, 0.0), (0.0, 1.0)), sigma=1.0, sigma0=1.0, mean=(0.0, 0.0), path=(0.0, 0.0)):
    C = np.array(C)
    values, B = np.linalg.eigh(C)
    return Shape(
        np.array(mean), sigma, sigma0, np.sqrt(np.diag(C)), np.array(path), np.sqrt(values), B
    )


def fired(tolerances, course=None, shape=None):
    """Name of the criterion that fires, or None."""
    course = course_of([PLAIN]) if course is None else course
    reason = first_reason(tolerances, course, POPSIZE, shape_of() if shape is None else shape)
    if reason is None:
        return None
    assert reason.message
    assert "\n" not in str(reason)
    assert not math.isnan(reason.value)
    return reason.criterion


def both_sides(bar):
    """(factor on the bar, whether a quantity that must lie below it fires)."""
    return [(bar * (1 - TINY), True), (bar * (1 + TINY), False)]


# --- criteria on the size and the shape of the distribution ---


@pytest.mark.parametrize("sigma0", [1.0, 1e5])
def test_tolx_fires_when_all_steps_and_the_path_are_small(sigma0):
    bar = 1e-3 * sigma0
    C = np.array([[4.0, 1.0], [1.0, 9.0]])  # steps of 2 and 3 sigma
    for length, expected in both_sides(bar):
        for sigma, path in (
            (length / 3, (0.0, 0.0)),
            (length / 9, (0.0, -9.0)),
            (length / 9, (9.0, 0)),
        ):
            literal = stopping_literal.tolx(sigma, C, path, bar)
            shape = shape_of(C, sigma, sigma0, path=path)
            assert literal == expected
            assert fired(only(tolx=1e-3), shape=shape) == ("tolx" if expected else None)


def test_tolx_of_a_method_without_path_looks_at_the_steps_alone():
    shape = shape_of(sigma=1e-4)._replace(path=None)
    assert fired(only(tolx=1e-3), shape=shape) == "tolx"
    assert fired(only(tolx=1e-5), shape=shape) is None


def test_tolfacupx_fires_when_one_step_outgrows_the_start():
    C = np.array([[4.0, 1.0], [1.0, 9.0]])
    for length, below in both_sides(1e3 * 0.5):
        sigma = length / 3
        assert stopping_literal.tolfacupx(sigma, C, 0.5, 1e3) == (not below)
        expected = None if below else "tolfacupx"
        assert fired(only(tolfacupx=1e3), shape=shape_of(C, sigma, 0.5)) == expected


def test_tolupsigma_fires_when_sigma_outgrows_the_longest_axis():
    C = np.array([[4.0, 3.0], [3.0, 9.0]])
    axis = math.sqrt(np.linalg.eigvalsh(C)[1])
    for ratio, below in both_sides(1e20):
        sigma = ratio * 0.5 * axis
        assert stopping_literal.tolupsigma(sigma, C, 0.5, 1e20) == (not below)
        expected = None if below else "tolupsigma"
        assert fired(only(tolupsigma=1e20), shape=shape_of(C, sigma, 0.5)) == expected


def test_tolconditioncov_speaks_of_the_covariance_and_not_of_its_square_root():
    for condition, below in both_sides(1e14):
        C = np.diag([condition, 1.0])
        assert stopping_literal.tolconditioncov(C, 1e14) == (not below)
        expected = None if below else "tolconditioncov"
        assert fired(only(tolconditioncov=1e14), shape=shape_of(C)) == expected
    assert (
        fired(only(tolconditioncov=1e14), shape=shape_of(np.diag([1.0, 0.0]))) == "tolconditioncov"
    )


def test_noeffectcoord_fires_when_a_fifth_of_a_step_is_lost_in_one_coordinate():
    C = np.diag([4.0, 1.0])
    for mean in ((0.0, 1.0), (2.0, 0.0), (-3.0, 1e-30)):
        for exponent in range(-20, -12):
            sigma = 1.3 * 10.0**exponent
            expected = stopping_literal.noeffectcoord(mean, sigma, C)
            shape = shape_of(C, sigma, mean=mean)._replace(B=None)
            assert (fired(only(noeffect=True), shape=shape) == "noeffectcoord") == expected
    for factor, lost in ((0.99, True), (1.01, False)):
        sigma = factor * 2.0**-53 / 0.2  # half a unit in the last place of 1
        shape = shape_of(np.eye(2), sigma, mean=(1.0, 0.0))._replace(B=None)
        assert (fired(only(noeffect=True), shape=shape) == "noeffectcoord") == lost


def test_noeffectaxis_looks_at_one_axis_in_turn():
    angle = 0.5
    R = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    C = R @ np.diag([1e-8, 1.0]) @ R.T  # steps of 1e-4 and 1 along the axes
    mean = (5.0, 7.0)
    seen = set()
    for exponent in np.arange(-18, -8, 0.25):
        sigma = 10.0**exponent
        shape = shape_of(C, sigma, mean=mean)
        if stopping_literal.noeffectcoord(mean, sigma, C):
            continue
        for g in range(1, 5):
            expected = stopping_literal.noeffectaxis(mean, sigma, C, g)
            course = course_of([PLAIN] * g)
            assert (fired(only(noeffect=True), course, shape) == "noeffectaxis") == expected
            seen.add((g % 2, expected))
    assert seen == {(0, True), (0, False), (1, False)}  # the long axis still has an effect


# --- criteria on f ---


def test_tolfun_fires_when_the_values_and_their_history_span_little():
    for span, expected in both_sides(1e-3):
        flat = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        spread = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0 + span]  # in the last generation
        rise = [v + span for v in flat]  # in the history of best values
        for last in (spread, rise):
            generations = [PLAIN] * 20 + [flat] * 10 + [last]
            best = [min(g) for g in generations]
            literal = stopping_literal.tolfun(last, best[20:], 2, POPSIZE, 1e-3)
            assert literal == expected
            tolerances = only(tolfun=1e-3, history=11)
            assert fired(tolerances, course_of(generations)) == ("tolfun" if expected else None)


def test_tolfun_forgets_values_older_than_its_history():
    early = [0.5] * 6
    late = [1.0] * 6
    for more, expected in ((9, None), (10, "tolfun")):
        course = course_of([PLAIN, early] + [late] * more)
        assert fired(only(tolfun=1e-3, history=10), course) == expected


def test_tolfunhist_needs_ten_generations():
    for generations, expected in ((9, None), (10, "tolfunhist")):
        wide = [[1.0, 2.0, 3.0, 4.0, 5.0, 9.0]] * generations
        best = [min(g) for g in wide]
        assert stopping_literal.tolfunhist(best, 2, POPSIZE, 1e-3) == (expected is not None)
        assert fired(only(tolfunhist=1e-3, history=20), course_of(wide)) == expected
    for span, expected in both_sides(1e-3):
        course = course_of([[1.0, *PLAIN]] * 15 + [[1.0 + span, *PLAIN]])
        reason = fired(only(tolfunhist=1e-3, history=20), course)
        assert reason == ("tolfunhist" if expected else None)


@pytest.mark.parametrize("first_range", [1e-6, 0.5, 1.0, 1e6])
def test_bars_on_f_shrink_with_the_range_of_the_first_generation(first_range):
    bar = stopping_literal.bar_on_f(1e-3, first_range)
    first = [0.0, 0, 0, 0, 0, first_range]
    for span, expected in both_sides(bar):
        wide = [5.0, 5, 5, 5, 5, 5 + first_range]
        hist = course_of([first] + [wide] * 12 + [[v + span for v in wide]])
        assert fired(only(tolfunhist=1e-3, history=10), hist) == (
            "tolfunhist" if expected else None
        )
        flat = [0.0, 0, 0, 0, 0, span]
        assert fired(only(tolfun=1e-3), course_of([first, flat])) == (
            "tolfun" if expected else None
        )


def test_a_first_generation_of_equal_values_leaves_the_bars_as_they_are():
    course = course_of([[1.0] * 6, [1.0] * 5 + [1.0 + 1e-4]])
    assert fired(only(tolfun=1e-3), course) == "tolfun"


def test_tolfunrel_compares_with_the_progress_of_the_median():
    for span, expected in both_sides(0.01 * (100 - 10)):
        generations = [[100.0] * 6, [10.0] * 6, [50.0] * 5 + [50.0 + span]]
        median = [sorted(g)[3] for g in generations]
        assert stopping_literal.tolfunrel(generations[-1], median, 0.01) == expected
        assert fired(only(tolfunrel=0.01), course_of(generations)) == (
            "tolfunrel" if expected else None
        )


@pytest.mark.parametrize(("popsize", "equal"), [(4, 4), (6, 5), (8, 7), (10, 8), (11, 9)])
def test_a_generation_is_flat_when_its_best_equals_its_75_percent_quantile(popsize, equal):
    for count, flat in ((equal, True), (equal - 1, False)):
        values = [1.0] * count + [2.0 + k for k in range(popsize - count)]
        assert stopping_literal.flat_generations([values]) == flat
        assert course_of([values]).flat == flat


@pytest.mark.parametrize("most", [1, 3])
def test_tolflatfitness_counts_successive_flat_generations(most):
    flat = [1.0] * 6
    tolerances = only(tolflatfitness=most)
    assert fired(tolerances, course_of([flat] * most)) is None
    assert fired(tolerances, course_of([flat] * (most + 1))) == "tolflatfitness"
    broken = [flat] * most + [PLAIN] + [flat] * most
    assert fired(tolerances, course_of(broken)) is None


small_numbers = st.integers(0, 3).map(float)
courses = st.lists(st.lists(small_numbers, min_size=6, max_size=6), min_size=1, max_size=40)


@given(generations=courses, history=st.integers(10, 20))
def test_criteria_on_f_equal_their_naive_forms_on_any_record(generations, history):
    """Small whole numbers, so that ties and equal ranges are frequent."""
    course = course_of(generations)
    best = [min(g) for g in generations]
    median = [sorted(g)[3] for g in generations]
    first_range = max(generations[0]) - min(generations[0])
    bar = stopping_literal.bar_on_f(2.0, first_range)
    n = (history - 10) * POPSIZE / 30 + 1e-9  # the dimension with this history
    varied = not stopping_literal.constant_so_far(generations)
    cases = {
        "tolfun": (2.0, varied and stopping_literal.tolfun(generations[-1], best, n, POPSIZE, bar)),
        "tolfunhist": (2.0, varied and stopping_literal.tolfunhist(best, n, POPSIZE, bar)),
        "tolfunrel": (1.0, varied and stopping_literal.tolfunrel(generations[-1], median, 1.0)),
        "tolflatfitness": (1, stopping_literal.tolflatfitness(generations, 1)),
    }
    for criterion, (value, expected) in cases.items():
        found = fired(only(**{criterion: value}, history=history), course)
        assert found == (criterion if expected else None), criterion


# --- criteria on time ---


def test_maxiter_fires_at_its_generation():
    for generations, expected in ((6, None), (7, "maxiter")):
        assert fired(only(maxiter=7), course_of([PLAIN] * generations)) == expected


def test_allfailed_counts_successive_generations_that_failed_whole():
    """Four times as many are borne with once something has succeeded."""
    tolerances = dataclasses.replace(only(), allfailed=3)
    for generations, expected in (
        ([[]] * 2, None),
        ([[]] * 3, "allfailed"),
        ([PLAIN] + [[]] * 11, None),
        ([PLAIN] + [[]] * 12, "allfailed"),
        ([[], [], PLAIN] + [[]] * 11, None),
        ([PLAIN] + [[]] * 11 + [PLAIN] + [[]] * 11, None),
    ):
        assert fired(tolerances, course_of(generations)) == expected


def test_a_constant_objective_is_called_flat_and_not_converged():
    constant = [[1.0] * 6] * 30
    everything = dataclasses.replace(Tolerances.default(2, POPSIZE), tolxstagnation=None)
    reason = first_reason(everything, course_of(constant[:2]), POPSIZE, shape_of())
    assert (reason.criterion, reason.converged) == ("tolflatfitness", False)
    unaware = dataclasses.replace(everything, tolflatfitness=None)
    assert fired(unaware, course_of(constant)) is None
    assert fired(unaware, course_of([PLAIN, *constant])) == "tolfun"
    assert fired(unaware, course_of([[1.0] * 5 + [1.0 + 1e-14], *constant])) == "tolfun"
    assert fired(unaware, course_of([[math.nan, *[1.0] * 5]] * 30)) is None


def test_nothing_but_allfailed_fires_while_whole_generations_fail():
    flat = [1.0] * 6
    everything = dataclasses.replace(Tolerances.default(2, POPSIZE), maxiter=3)
    assert fired(everything, course_of([flat] * 2)) is not None
    assert fired(everything, course_of([flat, flat, []])) is None
    assert fired(everything, Course.start(np.zeros(2))) is None


def stagnating(seed, generations, rate, last):
    """Values that improve up to generation `last`, then only vary."""
    random = np.random.default_rng(seed)
    rows = []
    for g in range(generations):
        level = math.exp(-rate * min(g, last))
        rows.append((level * (1 + 0.3 * random.random(POPSIZE))).tolist())
    return rows


@pytest.mark.parametrize(("rate", "last"), [(0.01, 150), (0.01, 600), (0.001, 10**6), (0.0, 0)])
def test_tolstagnation_equals_its_naive_form_at_every_generation(rate, last):
    n = 2
    tolerances = only(tolstagnation=stopping_literal.stagnation_length(n, POPSIZE))
    course, best, median, answers = Course.start(np.zeros(n)), [], [], []
    for values in stagnating(1, 900, rate, last):
        ordered = sorted(values)
        course = course.after(ordered, np.zeros(n), None)
        best.append(ordered[0])
        median.append(ordered[3])
        expected = stopping_literal.tolstagnation(best, median, n, POPSIZE)
        assert (fired(tolerances, course) == "tolstagnation") == expected
        answers.append(expected)
    assert not any(answers[:500])
    assert any(answers) == (last < 10**6)


def test_tolxstagnation_equals_its_naive_form_at_every_generation():
    bar = (1e-3, 20, 0.1)
    random = np.random.default_rng(2)
    answers = []
    for step in (1e-5, 1e-4, 3e-4, 1e-3):
        means = [np.zeros(2)]
        course = Course.start(means[0])
        for _ in range(150):
            means.append(means[-1] + step * random.standard_normal(2))
            course = course.after(PLAIN, means[-1], bar)
            expected = stopping_literal.tolxstagnation(means, *bar, every=5)
            assert (fired(only(tolxstagnation=bar), course) == "tolxstagnation") == expected
            answers.append(expected)
    assert 100 < sum(answers) < 500


def test_tolxstagnation_waits_as_long_as_its_bar_says():
    bar = (1e-9, 20, 0.1)
    for generations, expected in ((22, None), (23, "tolxstagnation")):  # 22.3 = 20 + 0.1 * 23
        course = course_of([PLAIN] * generations, bar=bar)
        assert fired(only(tolxstagnation=bar), course) == expected


# --- what surrounds them ---


def test_failed_values_are_no_evidence_of_a_small_range():
    nan = math.nan
    one_left = course_of([PLAIN, [1.0, nan, nan, nan, nan, nan]])
    assert fired(only(tolfun=1e3), one_left) is None
    assert one_left.flat == 0
    two_left = course_of([PLAIN, [1.0, 1.5, nan, nan, nan, nan]])
    assert two_left.spread == 0.5
    infinite = course_of([PLAIN, [1.0, 1.5, math.inf, math.inf, nan, nan]])
    assert infinite.spread == 0.5


@pytest.mark.parametrize("dim", [1, 2, 10, 40])
@pytest.mark.parametrize("popsize", [2, 6, 15, 200])
def test_default_bars_are_those_of_pycma(dim, popsize):
    t = Tolerances.default(dim, popsize)
    assert t.maxiter == stopping_literal.maxiter(dim, popsize)
    assert t.tolstagnation == stopping_literal.stagnation_length(dim, popsize)
    assert t.history == stopping_literal.history_length(dim, popsize)
    assert (t.tolx, t.tolfacupx, t.tolupsigma) == (1e-11, 1e3, 1e20)
    assert (t.tolfun, t.tolfunhist, t.tolflatfitness) == (1e-11, 1e-12, 1)
    assert t.tolxstagnation == (1e-9, 20, 0.1)
    assert t.tolconditioncov == 1e14
    assert not t.tolfunrel
    assert t.noeffect


def test_a_reason_reports_what_was_measured_and_the_bar_it_passed():
    flat = [PLAIN] + [[1.0] * 6] * 2
    reason = first_reason(only(tolflatfitness=1), course_of(flat), POPSIZE, shape_of())
    assert (reason.value, reason.threshold, reason.converged) == (2, 1, True)
    reason = first_reason(only(tolx=1e-3), course_of([PLAIN]), POPSIZE, shape_of(sigma=1e-4))
    assert (reason.value, reason.threshold) == pytest.approx((1e-4, 1e-3))
    shape = shape_of(np.diag([2e14, 1.0]))
    reason = first_reason(only(tolconditioncov=1e14), course_of([PLAIN]), POPSIZE, shape)
    assert (reason.value, reason.threshold) == pytest.approx((2e14, 1e14))
    assert reason.advice
    reason = first_reason(only(tolfacupx=1e3), course_of([PLAIN]), POPSIZE, shape_of(sigma=3e3))
    assert (reason.value, reason.threshold, reason.converged) == (3e3, 1e3, False)

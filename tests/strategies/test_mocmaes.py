"""MO-CMA-ES: against its literal transcription, its constants, and fronts that are known."""

import math

import numpy as np
import pytest
from reference import driving, mocmaes_literal, objectives

from evoopt.errors import ConfigurationError
from evoopt.result import Values
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.mocmaes import MOCMAES, default_popsize

SEED, SIGMA0 = 20260801, 0.1
BOTH = ("population", "individual")
KINDS = [(success, steady) for success in BOTH for steady in (False, True)]


def spheres(m, R=None, condition=1.0):
    """|R (x - e_i)|^2 for i < m, with axes of unequal length."""

    def fun(x):
        n = len(x)
        scales = condition ** (np.arange(n) / (n - 1))
        steps = x - np.eye(n)[:m]
        steps = steps if R is None else steps @ R.T
        return (scales * steps**2).sum(axis=1)

    return fun


def twins_of(strategy, state, twins):
    """The literal point in each slot, found by its x; fails if one is missing."""
    by_place = {twin.x.tobytes(): twin for twin in twins}
    assert len(by_place) == len(twins) == len(state.points.X)
    return [by_place[x.tobytes()] for x in state.points.X]


def assert_equal(points, twins):
    for i, twin in enumerate(twins):
        A = points.A[i]
        # rtol: the same operations in another order, over 50 generations
        np.testing.assert_allclose(points.sigma[i], twin.sigma, rtol=1e-10)
        np.testing.assert_allclose(points.p[i], twin.p, rtol=1e-10)
        np.testing.assert_allclose(A @ points.z_c[i], twin.p_c, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(A @ A.T, twin.C, rtol=1e-8, atol=1e-10)


def parents_of(strategy, state, rows):
    return [int(slot) for slot in state.slots[-len(rows) :]]


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize(("success", "steady"), KINDS)
def test_fifty_generations_equal_the_literal_transcription(success, steady, m):
    n, mu = 4, 7
    if m == 3:
        pytest.importorskip("moocore")
    strategy = MOCMAES.default(n, objectives=m, popsize=mu, success=success, steady=steady)
    c, fun = mocmaes_literal.constants(n), spheres(m, objectives.rotation(n, 3), 100.0)
    state = strategy.init(np.full(n, 3.0), SIGMA0, SEED)
    _, _, state = driving.generation(strategy, state, fun)
    points = state.points
    twins = [
        mocmaes_literal.founder(c, x, tuple(f), SIGMA0)
        for x, f in zip(points.X, points.F.tolist(), strict=True)
    ]
    random, successes, rates = np.random.default_rng(4), 0, []
    for _ in range(30 * mu if steady else 50):
        rows, state = strategy.ask(state, 1 if steady else mu)
        F = np.array([fun(x) for x in rows.X])
        F[random.random(len(F)) < 0.1] = np.nan
        if not steady and np.isnan(F).all():
            continue
        twins = twins_of(strategy, state, twins)
        parents = parents_of(strategy, state, rows)
        assert steady or parents == [i % mu for i in rows.id]
        offspring = [
            (parent, x, None if np.isnan(f).any() else tuple(f.tolist()))
            for parent, x, f in zip(parents, rows.X, F, strict=True)
        ]
        twins, won = mocmaes_literal.step(c, mu, twins, offspring, success)
        state = strategy.tell(state, rows, driving.values_of(F))
        successes += sum(won)
        rates.append(state.points.p.copy())
        assert_equal(state.points, twins_of(strategy, state, twins))
    rates = np.concatenate(rates)
    assert successes > 20  # and both branches of the update of C were taken
    assert (rates > strategy.p_thresh).sum() > 20 < (rates < strategy.p_thresh).sum()


# n: d, c_c, c_cov; by hand from the formulas of Table 1 for one offspring of each parent
TABLE = {
    2: (2.0, 0.5, 0.2),
    10: (6.0, 1 / 6, 2 / 106),
    100: (51.0, 2 / 102, 2 / 10006),
}


@pytest.mark.parametrize("n", TABLE)
def test_defaults_equal_the_table_of_the_paper(n):
    s = MOCMAES.default(n)
    assert (s.d, s.c_c, s.c_cov) == pytest.approx(TABLE[n], rel=1e-12)
    assert s.p_target == pytest.approx(2 / 11, rel=1e-12)
    assert s.c_p == pytest.approx(1 / 12, rel=1e-12)
    assert s.p_thresh == 0.44


def test_the_population_grows_with_the_dimension_of_the_front():
    assert [default_popsize(m) for m in (2, 3, 4)] == [20, 40, 60]
    assert MOCMAES.default(5).popsize == 20
    assert MOCMAES.default(5, popsize=7).popsize == 7


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"objectives": 1}, r"MOCMAES(objectives=...) must be 2 or more; got 1"),
        (
            {"success": "both"},
            r"MOCMAES(success=...) must be population or individual; got 'both'",
        ),
        ({"popsize": 1}, r"MOCMAES(popsize=...) must be at least 2; got 1"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_in_one_line(words, expected):
    with pytest.raises(ConfigurationError) as caught:
        MOCMAES.default(3, **words)
    assert str(caught.value) == expected


def middle(generations=6, n=4, **words):
    """A strategy and a state in the middle of a search."""
    words = {"popsize": 8, "success": "population", "steady": False, **words}
    strategy = MOCMAES.default(n, **words)
    state = strategy.init(np.full(n, 2.0), 0.3, SEED)
    return strategy, driving.run(strategy, state, spheres(2), generations)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_update_of_the_covariance_is_that_of_the_paper(free, sign):
    """Also where no entry of the path is positive, and with the factor c_cov that others lose."""
    s, n, random = MOCMAES.default(4), 4, np.random.default_rng(1)
    A = random.standard_normal((3, n, n))
    z_c, Z = sign * np.abs(random.standard_normal((2, 3, n)))
    paths, factors = s._adapted(z_c, A, Z, np.full(3, free))
    variance = s.c_c * (2 - s.c_c)
    for i in range(3):
        C, p_c = A[i] @ A[i].T, (1 - s.c_c) * A[i] @ z_c[i]
        if free:
            p_c += math.sqrt(variance) * A[i] @ Z[i]
        C = (1 - s.c_cov) * C + s.c_cov * (
            np.outer(p_c, p_c) + (0 if free else variance) * C
        )  # fmt: skip
        np.testing.assert_allclose(factors[i] @ factors[i].T, C, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(factors[i] @ paths[i], p_c, rtol=1e-10, atol=1e-12)


def test_a_path_of_length_0_leaves_the_shape_as_it_is():
    s = MOCMAES.default(3)
    A = np.random.default_rng(2).standard_normal((1, 3, 3))
    zero = np.zeros((1, 3))
    path, factor = s._adapted(zero, A, zero, np.array([True]))
    assert path.tolist() == zero.tolist()
    np.testing.assert_allclose(factor, math.sqrt(1 - s.c_cov) * A, rtol=1e-14)


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("steady", [True, False])
def test_both_notions_of_success_mean_the_same_in_steady_state_as_in_generations(steady, m):
    """An offspring that survives is a success of the population though its parent is ahead of it:
    dominated by its parent, it takes the place of what is worse than both."""
    if m == 3:
        pytest.importorskip("moocore")
    outcome = {}
    for success in BOTH:
        strategy = MOCMAES.default(3, objectives=m, popsize=2, success=success, steady=steady)
        state = strategy.init(np.zeros(3), 1.0, SEED)
        rows, state = strategy.ask(state, 2)
        state = strategy.tell(state, rows, Values(np.array([[1.0] * m, [9.0] * m])))
        rows, state = strategy.ask(state, 1 if steady else 2)
        F = np.full((len(rows), m), np.nan)
        F[0] = 5.0  # of the parent in slot 0
        state = strategy.tell(state, rows, driving.values_of(F))
        assert state.points.F.tolist() == [[1.0] * m, [5.0] * m]
        outcome[success] = state.points.p[0] > strategy.p_target
    assert outcome == {"population": True, "individual": False}


def test_an_offspring_without_success_teaches_its_parent_nothing_but_the_rate():
    strategy, state = middle()
    rows, asked = strategy.ask(state, 8)
    after = strategy.tell(asked, rows, Values(np.full((8, 2), 1e9)))
    before, points = state.points, after.points
    for field in ("X", "F", "z_c", "A", "born", "level"):
        np.testing.assert_array_equal(getattr(points, field), getattr(before, field))
    np.testing.assert_allclose(points.p, (1 - strategy.c_p) * before.p, rtol=1e-14)
    shrunk = np.exp((points.p - strategy.p_target) / (strategy.d * (1 - strategy.p_target)))
    np.testing.assert_allclose(points.sigma, before.sigma * shrunk, rtol=1e-14)


@pytest.mark.parametrize("steady", [True, False])
def test_a_failed_evaluation_is_a_failure_of_its_parent(steady):
    strategy, state = middle(steady=steady)
    rows, state = strategy.ask(state, 1 if steady else 8)
    parent = state.slots[-len(rows)]
    F = np.full((len(rows), 2), 1e9)
    dominated = strategy.tell(state, rows, Values(F))
    F[0] = [np.nan, 0.0]  # one objective is enough
    failed = strategy.tell(state, rows, driving.values_of(F))
    assert driving.fingerprint(failed.points) == driving.fingerprint(dominated.points)
    assert failed.points.p[parent] < state.points.p[parent]
    assert failed.failed == int(steady)


def test_dominated_offspring_are_no_success_while_there_are_places_left():
    """All survive: else step sizes would grow for as long as evaluations fail."""
    strategy = MOCMAES.default(3, popsize=6, success="population", steady=True)
    state = strategy.init(np.zeros(3), 1.0, SEED)
    for k in range(6):
        rows, state = strategy.ask(state, 1)
        F = np.full((1, 2), 0.0 if k == 0 else np.nan)
        state = strategy.tell(state, rows, driving.values_of(F))
    for k in range(3):
        rows, state = strategy.ask(state, 1)
        state = strategy.tell(state, rows, Values(np.full((1, 2), 1.0 + k)))
    assert len(state.points.X) == 4
    assert (state.points.p < strategy.p_target).all()


def foreign(X):
    nobody = np.full(len(X), INJECTED)
    return Population(nobody, nobody, np.array(X, dtype=float))


@pytest.mark.parametrize("steady", [True, False])
def test_injected_points_compete_for_a_place_with_the_first_step_size_and_shape(steady):
    strategy, state = middle(20, steady=steady)
    assert np.abs(state.points.A - np.eye(4)).max() > 0.1
    X = np.arange(32.0).reshape(8, 4)
    F = np.full((8, 2), 1e9)
    F[2] = -1.0  # ahead of all
    after = strategy.tell(state, foreign(X), Values(F))
    i = int(np.flatnonzero((after.points.X == X[2]).all(axis=1))[0])
    points = after.points
    assert len(points.X) == 8
    assert not (points.F == 1e9).any()
    assert points.sigma[i] == state.sigma0 == 0.3
    assert points.p[i] == strategy.p_target
    assert points.A[i].tolist() == np.eye(4).tolist()
    assert points.z_c[i].tolist() == [0.0] * 4
    others = np.arange(8) != i  # nobody else has learnt anything
    np.testing.assert_array_equal(points.sigma[others], state.points.sigma[others])


def test_points_injected_before_the_first_ask_stand_for_the_first_generation():
    strategy = MOCMAES.default(3, popsize=5, steady=False)
    state = strategy.init(np.zeros(3), 0.1, SEED)
    X, t = np.arange(15.0).reshape(5, 3), np.linspace(0, 1, 5)
    state = strategy.tell(state, foreign(X), Values(np.stack([t, 1 - t], axis=1)))
    rows, _ = strategy.ask(state, 5)
    np.testing.assert_allclose(rows.X, X, atol=0.1 * 5)  # an offspring of each, no x0


def test_the_first_candidate_is_the_start_itself():
    x0 = np.array([1.0, 2.0, 3.0])
    strategy = MOCMAES.default(3)
    rows, state = strategy.ask(strategy.init(x0, 0.5, SEED), 4)
    assert rows.X[0].tolist() == x0.tolist()
    assert not (rows.X[1:] == x0).any()
    again, _ = strategy.ask(state, 1)
    assert again.X[0].tolist() != x0.tolist()


def test_a_late_offspring_inherits_from_its_parent_while_that_survives():
    strategy, state = middle(steady=True, generations=8)
    late, state = strategy.ask(state, 1)
    slot, parent = state.slots[-1], state.points
    for _ in range(30):
        rows, state = strategy.ask(state, 1)
        state = strategy.tell(state, rows, Values(np.full((1, 2), 1e9)))
    state = strategy.tell(state, late, Values(np.full((1, 2), -1.0)))  # ahead of all
    child = int(np.flatnonzero((state.points.X == late.X[0]).all(axis=1))[0])
    p_c, C = mocmaes_literal.constants(4), parent.A[slot] @ parent.A[slot].T
    assert state.points.p[child] < strategy.p_thresh
    path = (1 - p_c.c_c) * parent.A[slot] @ parent.z_c[slot]
    path += math.sqrt(p_c.c_c * (2 - p_c.c_c)) * late.Y[0]
    C = (1 - p_c.c_cov) * C + p_c.c_cov * np.outer(path, path)
    A = state.points.A[child]
    np.testing.assert_allclose(A @ A.T, C, rtol=1e-10, atol=1e-12)


def test_an_offspring_that_outlived_its_parent_inherits_from_what_is_in_its_slot():
    strategy, state = middle(steady=True, generations=8)
    late, state = strategy.ask(state, 1)
    slot = state.slots[-1]
    t = np.linspace(0, 1, 8)
    others = Values(np.stack([t - 5, -4 - t], axis=1))
    state = strategy.tell(state, foreign(np.arange(32.0).reshape(8, 4)), others)
    before = state.points  # all are new
    state = strategy.tell(state, late, Values(np.full((1, 2), -9.0)))
    child = int(np.flatnonzero((state.points.X == late.X[0]).all(axis=1))[0])
    grown = strategy._rated(1.0, before.p[[slot]], before.sigma[[slot]], np.array([True]))
    assert state.points.p[child] == grown[0][0]
    assert state.points.sigma[child] == grown[1][0]
    others = np.arange(8) != child  # and the one in the slot has learnt nothing
    np.testing.assert_array_equal(state.points.p[others], before.p[others])


def test_a_row_older_than_what_is_remembered_is_taken_all_the_same():
    strategy, state = middle()
    late, state = strategy.ask(state, 8)
    for _ in range(3):
        _, state = strategy.ask(state, 1000)
    assert len(state.slots) == 1024
    state = strategy.tell(state, late, Values(np.full((8, 2), -1.0)))
    assert (state.points.F == -1.0).all(axis=1).any()


def test_extremes_of_the_front_are_never_lost():
    strategy, fun = MOCMAES.default(3, popsize=4), spheres(2)
    state, seen = strategy.init(np.full(3, 2.0), 0.5, SEED), []
    for _ in range(60):
        _, F, state = driving.generation(strategy, state, fun)
        seen.extend(F.tolist())
        assert state.points.F.min(axis=0).tolist() == np.min(seen, axis=0).tolist()

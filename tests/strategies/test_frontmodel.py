"""Candidates between neighbours of the front: the first design, the gaps, and exact models."""

import copy
import math

import numpy as np
import pytest
from reference import driving, fronts, objectives

from evoopt.result import Values
from evoopt.strategies.base import INJECTED, Population
from evoopt.strategies.biquadratic import Curve, fitted, least
from evoopt.strategies.frontmodel import Evaluated, FrontModel

SEED, N = 20260801, 3


def foreign(X):
    nobody = np.full(len(X), INJECTED)
    return Population(nobody, nobody, np.array(X, dtype=float))


def told(strategy, state, X, F):
    return strategy.tell(state, foreign(X), driving.values_of(F))


def fresh(n=N, sigma=0.5, designed=False, seed=SEED):
    strategy = FrontModel.default(n)
    state = strategy.init(np.zeros(n), sigma, seed)
    return strategy, strategy.designed(state) if designed else state


def answered(strategy, state, f):
    """The next candidate, and the state after it was told."""
    rows, state = strategy.ask(state, 1)
    return rows.X[0], strategy.tell(state, rows, driving.values_of([f]))


def test_the_design_is_the_start_and_a_step_along_each_coordinate():
    sides = set()
    for seed in range(12):
        strategy, state = fresh(seed=seed)
        rows, _ = strategy.ask(state, N + 1)
        assert np.abs(rows.X).tolist() == [[0.0] * N, *(0.5 * np.eye(N)).tolist()]
        sides |= {(i, math.copysign(1, rows.X[i + 1, i])) for i in range(N)}
    assert len(sides) == 2 * N  # each to either side


def test_the_design_steps_from_the_better_compromise():
    """Each objective counts by how much it has changed so far: sums of the values would say the
    reverse, both times."""
    strategy, state = fresh()
    _, state = answered(strategy, state, [5.0, 5.0])
    x, state = answered(strategy, state, [5.1, -45.0])  # as much worse as it is better: no move
    assert np.abs(x).tolist() == [0.5, 0, 0]
    x, state = answered(strategy, state, [4.94, 6.0])  # 0.06 of 0.16 won, 1 of 51 lost
    assert np.abs(x).tolist() == [0, 0.5, 0]
    best = x
    x, state = answered(strategy, state, [9.0, 9.0])
    assert np.abs(x - best).tolist() == [0, 0, 0.5]
    assert state.base.tolist() == best.tolist()
    assert state.spread.tolist() == pytest.approx([0.1 + 0.06, 50 + 1])


def test_the_design_stays_where_a_change_is_beyond_all_numbers():
    strategy, state = fresh()
    _, state = answered(strategy, state, [1.7e308, -1.7e308])
    _, state = answered(strategy, state, [-1.7e308, 1.7e308])
    assert state.base.tolist() == [0.0] * N


def test_the_design_stands_at_the_start_until_something_succeeds():
    strategy, state = fresh()
    _, state = answered(strategy, state, [np.nan, 1.0])
    x, state = answered(strategy, state, [7.0, np.inf])
    assert np.abs(x).tolist() == [0.5, 0, 0]
    best, state = answered(strategy, state, [9.0, 9.0])
    x, state = answered(strategy, state, [8.0, 8.0])
    assert np.abs(x - best).tolist() == [0, 0, 0.5]
    assert not len(state.open)


def test_without_a_design_and_without_any_point_candidates_are_near_the_start():
    strategy, state = fresh(designed=True)
    rows, _ = strategy.ask(state, 400)
    length = np.linalg.norm(rows.X, axis=1)
    assert 0.9 < np.sqrt((length**2).mean()) / 0.5 < 1.1
    assert len(np.unique(rows.X, axis=0)) == 400


def quadratics(n):
    """Two of different shape, and points of their Pareto set, close to one another."""
    R, S = objectives.rotation(n, 1), objectives.rotation(n, 2)
    axes = np.diag(np.linspace(1, 5, n))
    H = np.stack([R.T @ axes @ R, S.T @ axes @ S])
    optima = np.stack([np.zeros(n), np.full(n, 0.8)])

    def fun(x):
        return np.array([(x - o) @ h @ (x - o) for h, o in zip(H, optima, strict=True)])

    t = np.linspace(0, 1, 2001)
    w = t**3 / (t**3 + (1 - t) ** 3)  # closer together where they move fast
    curve = [
        np.linalg.solve(
            v * H[0] + (1 - v) * H[1], v * H[0] @ optima[0] + (1 - v) * H[1] @ optima[1]
        )
        for v in w
    ]
    return fun, np.array(curve)


@pytest.mark.parametrize("n", [2, 4])
def test_on_two_quadratics_nearly_all_candidates_enter_the_front_and_lie_on_the_pareto_set(n):
    fun, curve = quadratics(n)
    strategy = FrontModel.default(n)
    entered, away = [], []
    for seed in range(3):
        state = strategy.init(np.full(n, 2.0), 0.5, seed)
        state = driving.run(strategy, state, fun, 20 * n)
        for _ in range(100):
            before = state.next_tag
            rows, _, state = driving.generation(strategy, state, fun)
            entered.append(str(before) in state.points)
            away.append(np.linalg.norm(curve - rows.X[0], axis=1).min())
    assert np.mean(entered) > 0.9
    assert np.median(away) < 0.01 * n  # points along a curve say little of what is beside it
    assert np.quantile(away, 0.9) < 0.04 * n


@pytest.mark.parametrize("strangers", [0, 60])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_models_of_enough_points_are_exact_whatever_lies_far_away(n, strangers):
    """4 n points are no fewer than a quadratic has coefficients; measured: 0.0003, 0.0002, 0.0006
    as medians over where the gap is, 0.02 where the ball cuts the curve off."""
    fun, curve = quadratics(n)
    strategy, state = fresh(n, designed=True)
    random = np.random.default_rng(1)
    near, far = 0.4 + random.normal(size=(4 * n, n)), 50 + random.normal(size=(strangers, n))
    F = [*(fun(x) for x in near), *(1e6 * random.random((strangers, 2)))]
    state, away = told(strategy, state, np.concatenate([near, far]), F), []
    for which in (0.05, 0.2, 0.5, 0.8, 0.95):
        gap = strategy._gap(state.front, which, 0.5)
        x = (state.points[str(gap[0])] + state.points[str(gap[1])]) / 2
        proposed = strategy._modelled(state, gap, x, 0.5)
        assert len(proposed) == 1
        away.append(np.linalg.norm(curve - proposed[0], axis=1).min())
    assert np.median(away) < 1e-3
    assert max(away) < 0.03


LINE = np.stack([np.linspace(0, 1, 6), np.linspace(1, 0, 6) ** 2], axis=1)


def on_a_front(F, n=N):
    """A state whose front has these values, its points on a line."""
    strategy, state = fresh(n, designed=True)
    F = np.array(F, dtype=float)
    X = np.linspace(0, 1, len(F))[:, None] * np.ones(n)
    return strategy, told(strategy, state, X, F)


def order_of(state, tags):
    order = state.front.tags.tolist()
    return tuple(order.index(t) for t in tags)


def test_gaps_are_drawn_beside_members_drawn_by_their_contribution_and_beyond_the_extremes():
    """The interior members contribute 2 each; the larger gaps beside them are 0-1 and 2-3."""
    _, state = on_a_front([(0, 4), (1, 2), (2, 1), (4, 0)])
    u = (np.arange(200) + 0.5) / 200
    drawn = [order_of(state, FrontModel._gap(state.front, a, b)) for a in u for b in u]
    share = {gap: drawn.count(gap) / len(drawn) for gap in set(drawn)}
    expected = {(0, 0): 0.15, (3, 3): 0.15, (0, 1): 0.35, (2, 3): 0.35}
    assert share == pytest.approx(expected, abs=0.01)


def test_a_front_of_one_or_two_has_its_ends_and_one_gap():
    _, one = on_a_front([(1, 1)])
    assert {order_of(one, FrontModel._gap(one.front, a, 0.5)) for a in (0.1, 0.2, 0.9)} == {(0, 0)}
    _, two = on_a_front([(0, 1), (1, 0)])
    gaps = [order_of(two, FrontModel._gap(two.front, a, 0.5)) for a in (0.1, 0.2, 0.9)]
    assert gaps == [(0, 0), (1, 1), (0, 1)]


def aims_by_hand(state, i, most, x, scale, unit, within):
    """Every gap of the window, one by one."""
    F, tags = state.front.F, state.front.tags.tolist()
    others = []
    for j in range(max(0, i - most), min(i + most, len(F) - 1)):
        middle = (F[j, 0] + F[j + 1, 0]) / 2 / unit[0]
        between = (state.points[str(tags[j])] + state.points[str(tags[j + 1])]) / 2 - x
        near = np.linalg.norm(between) <= scale and within[0] < middle < within[1]
        area = (F[j + 1, 0] - F[j, 0]) * (F[j, 1] - F[j + 1, 1])
        if j != i and near:
            others.append((-area, j, middle))
    own = (F[i, 0] + F[i + 1, 0]) / 2 / unit[0]
    return [own, *(middle for _, _, middle in sorted(others)[: most - 1])]


@pytest.mark.parametrize("members", [4, 40, 200])
def test_a_model_aims_at_the_middle_of_its_gap_and_of_the_largest_around_it(members):
    random = np.random.default_rng(members)
    F = np.stack([np.sort(random.random(members)), -np.sort(random.random(members))], axis=1)
    strategy, state = on_a_front(F)
    most, unit = min(16, 1 + members // (3 * N)), np.array([0.25, 1.0])
    assert most == {4: 1, 40: 5, 200: 16}[members]
    counts = set()
    for i in (0, members // 2, members - 2):
        gap = tuple(state.front.tags.tolist()[i : i + 2])
        x = (state.points[str(gap[0])] + state.points[str(gap[1])]) / 2
        for scale, within in ((9.0, (-9.0, 9.0)), (0.1, (-9.0, 9.0)), (9.0, (1.0, 2.2))):
            aims = strategy._aims(state, gap, x, scale, unit, within).tolist()
            expected = aims_by_hand(state, i, most, x, scale, unit, within)
            assert aims == pytest.approx(expected, rel=1e-12)
            counts.add(len(aims))
    assert (1 in counts) == (members == 4) or len(counts) > 1


def missed(strategy, state, k):
    rows, state = strategy.ask(state, k)
    return strategy.tell(state, rows, Values(np.full((k, 2), 99.0)))


def test_two_misses_give_the_other_candidates_of_a_model_up():
    strategy, state = on_a_front(LINE)
    points = tuple(np.full(N, i + 5.0) for i in range(5))
    state = missed(strategy, state._replace(queue=points, misses=0), 1)
    assert len(state.queue) == 4
    state = told(strategy, state, np.ones((3, N)), np.full((3, 2), 99.0))  # of others
    x, state = answered(strategy, state, [-1.0, 3.0])  # enters
    assert x.tolist() == [6.0] * N
    assert len(state.queue) == 3
    state = missed(strategy, state, 1)
    assert state.queue == ()
    _, state = strategy.ask(state, 1)
    assert state.misses == 0  # of another model


def test_failures_are_misses():
    strategy, state = on_a_front(LINE)
    state = state._replace(queue=tuple(np.full(N, i + 5.0) for i in range(5)), misses=0)
    _, state = answered(strategy, state, [np.nan, np.nan])
    _, state = answered(strategy, state, [np.nan, 0.0])
    assert state.queue == ()


def assert_on_many_scales(steps, sigma0):
    """All six decades below sigma0 alike."""
    length = np.linalg.norm(steps, axis=1) / sigma0
    decades = np.histogram(np.log10(length), bins=np.arange(-6.0, 1))[0]
    assert decades.min() > 20
    assert decades.sum() > 280


def test_a_point_is_not_asked_again_while_it_is_open():
    strategy, state = on_a_front(LINE)
    x = np.full(N, 0.3)
    first, state = strategy.ask(state._replace(queue=(x,) * 400), 1)
    others, state = strategy.ask(state, 300)
    assert first.X[0].tolist() == x.tolist()
    assert len(np.unique(others.X, axis=0)) == 300
    assert_on_many_scales(others.X - x, state.sigma0)
    state = strategy.tell(state, first, Values(np.full((1, 2), 99.0)))
    again, state = strategy.ask(state, 1)
    assert again.X[0].tolist() == x.tolist()


def test_many_open_points_are_all_different_and_on_many_scales():
    strategy, state = on_a_front([(1.0, 1.0)])
    rows, _ = strategy.ask(state, 300)
    assert len(np.unique(rows.X, axis=0)) == 300
    assert_on_many_scales(rows.X, state.sigma0)


@pytest.mark.parametrize("F", [np.ones((20, 2)), np.stack([np.arange(20.0), np.ones(20)], axis=1)])
def test_where_an_objective_does_not_change_candidates_are_drawn_near_the_front(F):
    strategy, state = fresh(designed=True)
    X = np.random.default_rng(1).normal(size=(20, N))
    state = told(strategy, state, X, F)
    best = state.points[str(state.front.extremes[0])]
    rows, _ = strategy.ask(state, 50)
    assert np.isfinite(rows.X).all()
    length = np.linalg.norm(rows.X - best, axis=1) / state.sigma0
    assert (length < 4).all()
    assert length.min() < 1e-3


@pytest.mark.parametrize("apart", [0.0, 1e-14])
def test_points_that_coincide_make_no_model_but_candidates_beside_them(apart):
    """Next to nothing beside a gap, seven times in ten; on any scale beside an extreme."""
    strategy, state = fresh(designed=True)
    random = np.random.default_rng(1)
    t = np.linspace(0, 1, 20)
    X = 1 + apart * random.normal(size=(20, N))
    state = told(strategy, state, X, np.stack([t, 1 - t], axis=1))
    rows, _ = strategy.ask(state, 200)
    length = np.linalg.norm(rows.X - 1, axis=1)
    assert 0.6 < (length < 1e-11).mean() < 0.8
    assert length.max() > 0.1
    assert len(np.unique(rows.X, axis=0)) > 190


@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_candidates_are_the_compromises_of_a_model_in_which_near_points_weigh_more(spread):
    """By hand: the weights, the units, and a ball that reaches the ends of the gap at least."""
    random = np.random.default_rng(1)
    t = np.linspace(0, 1, 5)
    X = spread * np.linspace(-1, 1, 5)[:, None] * np.ones(N)
    strategy, state = fresh(designed=True)
    X = np.concatenate([X, random.normal(size=(7, N))])
    F = np.concatenate([np.stack([t, (1 - t) ** 2], axis=1), 2 + random.random((7, 2))])
    state = told(strategy, state, X, F * [1, 50])
    tags = state.front.tags.tolist()
    for i, j in ((0, 0), (4, 4), (1, 2), (3, 4)):
        x = (X[i] + X[j]) / 2
        squares = ((X - x) ** 2).sum(axis=1)
        scale = np.sqrt(np.sort(squares)[6])
        unit = np.abs(F * [1, 50] - (F * [1, 50]).mean(axis=0)).mean(axis=0)
        models = fitted((X - x) / scale, F * [1, 50] / unit, 1 / (1 + squares / scale**2))
        if i == j:
            expected = least(models, float(i == 0), 0.5)
        else:
            half = np.linalg.norm(X[i] - x) / scale
            aim = (F[i, 0] + F[j, 0]) / 2 / unit[0]
            expected = Curve(models, max(half, 0.5)).at(np.array([aim]))[0]
        (found,) = strategy._modelled(state, (tags[i], tags[j]), x, 0.7)
        np.testing.assert_allclose(found, x + scale * expected, rtol=1e-9, atol=1e-12)


def test_beyond_a_front_of_one_point_lies_each_least_value_and_the_compromise_of_both():
    fun, curve = quadratics(N)
    strategy, state = fresh(designed=True)
    X = 3 * np.random.default_rng(1).normal(size=(12, N))
    X[0] = 0.4
    state = told(strategy, state, X, [fun(x) for x in X])
    assert len(state.front) == 1
    gap = (int(state.front.tags[0]),) * 2
    middle, end = (strategy._modelled(state, gap, X[0], lot)[0] for lot in (0.4, 0.6))
    assert np.linalg.norm(end - curve[-1]) < 1e-3  # the optimum of the first
    assert np.linalg.norm(curve[200:-200] - middle, axis=1).min() < 1e-3


def test_units_of_the_objectives_change_nothing():
    strategy, fun = FrontModel.default(N), fronts.double(np.diag([1.0, 3.0, 9.0]))

    def scaled(F):
        return F * 2.0 ** np.array([20, -30])

    assert fronts.same_search(strategy, np.full(N, 2.0), fun, scaled, evaluations=150)


def test_evaluated_points_are_kept_in_the_order_told_and_copies_go_their_own_way():
    kept, random = Evaluated(2), np.random.default_rng(1)
    X, F = random.normal(size=(200, 2)), random.normal(size=(200, 2))
    for x, f in zip(X, F, strict=True):
        kept.append(x, *f)
    assert kept.count == 200
    for most in (1, 150, 1000):
        newest = kept.newest(most)
        assert newest[0].tolist() == X[-most:].tolist()
        assert newest[1].tolist() == F[-most:].tolist()
    twin = copy.deepcopy(kept)
    twin.append(np.zeros(2), 0.0, 0.0)
    kept.append(np.ones(2), 1.0, 1.0)
    assert (twin.newest(1)[0][0, 0], kept.newest(1)[0][0, 0]) == (0.0, 1.0)
    assert twin.newest(1000)[0][:200].tolist() == X.tolist()


def test_a_model_knows_no_more_than_the_newest_thousand():
    strategy, state = fresh(designed=True)
    random = np.random.default_rng(1)
    X = random.normal(size=(1100, N))
    F = np.full((1100, 2), 7.0)
    F[:100] = random.random((100, 2))  # the only ones that differ
    state = told(strategy, state, X, F)
    gap = strategy._gap(state.front, 0.0, 0.5)
    assert strategy._modelled(state, gap, X[0], 0.5) == []
    F[100:] = random.random((1000, 2)) + 7
    state = told(strategy, fresh(designed=True)[1], X, F)
    assert len(strategy._modelled(state, gap, X[0], 0.5)) == 1

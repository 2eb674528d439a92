"""Solvers that call the objective themselves, behind ask and tell: the laws of the contract that
hold for one candidate at a time, and the very points of the solver called directly. (Its threads:
test_solver_threads.)"""

import importlib.util
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import driving, objectives
from reference.cases import SEED, tilted

from evoopt.errors import StateError
from evoopt.result import Values
from evoopt.strategies import conversation, strategy_class
from evoopt.strategies.base import INJECTED, Population

missing = pytest.mark.skipif(
    importlib.util.find_spec("pybobyqa") is None, reason="needs the extra 'bobyqa'"
)
SOLVERS = ["cobyqa", pytest.param("bobyqa", marks=missing)]
each_solver = pytest.mark.parametrize("name", SOLVERS)


def prepared(name, dim, evaluations=7, **words):
    """A strategy and a state in the middle of a run."""
    strategy = strategy_class(name).default(dim, **words)
    state = strategy.init(np.linspace(1.0, 2.0, dim), 0.7, SEED)
    return strategy, driving.run(strategy, state, tilted, evaluations)


def told(strategy, state, f):
    """The state once the next question has been answered by f."""
    population, state = strategy.ask(state, 1)
    return strategy.tell(state, population, driving.values_of([f]))


def points(strategy, state, fun, evaluations):
    """The next points, fewer if the solver ends: (k, dim), and the state after them."""
    X = []
    while len(X) < evaluations and strategy.stop(state) is None:
        population, _, state = driving.generation(strategy, state, fun)
        X.append(population.X[0])
    return np.array(X), state


def called_directly(name, fun, x0, radius, box, evaluations):
    """The points at which the solver itself evaluates."""
    X = []

    def recorded(x):
        X.append(np.array(x))
        return fun(x)

    if name == "cobyqa":
        from scipy.optimize import Bounds, minimize

        options = {"initial_tr_radius": radius, "final_tr_radius": 1e-8 * radius}
        options |= {"maxfev": evaluations, "maxiter": 10**6}
        bounds = None if box is None else Bounds(*box)
        minimize(recorded, x0, method="COBYQA", bounds=bounds, options=options)
    else:
        import pybobyqa

        end = {"rhobeg": radius, "rhoend": 1e-8 * radius, "maxfun": evaluations}
        pybobyqa.solve(recorded, x0, bounds=box, do_logging=False, **end)
    return np.array(X)


@each_solver
@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize(
    ("fun", "dim"),
    [(objectives.sphere, 1), (objectives.ellipsoid, 2), (objectives.rosenbrock, 5)],
)
def test_it_evaluates_where_the_solver_called_directly_does(name, fun, dim, boxed):
    x0, most = np.linspace(-1.0, 2.0, dim), 90
    box = (np.full(dim, -3.0), np.linspace(2.5, 3.0, dim)) if boxed else None
    sides = {} if box is None else {"lower": box[0], "upper": box[1]}
    strategy = strategy_class(name).default(dim, **sides)
    ours, _ = points(strategy, strategy.init(x0, 0.5, 1), fun, most)
    theirs = called_directly(name, fun, x0, 0.5, box, most)
    assert len(ours) > min(most, 10)
    assert ours.tobytes() == theirs.tobytes()


@each_solver
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_one_row_is_open_at_a_time(name, dim):
    strategy, state = prepared(name, dim)
    first, state = strategy.ask(state, 5)
    assert first.X.shape == (1, dim)
    assert first.id.tolist() == [7]
    assert first.epoch.dtype == first.id.dtype == np.int64
    assert np.isfinite(first.X).all()
    none, waiting = strategy.ask(state, 5)
    assert none.X.shape == (0, dim)
    assert driving.fingerprint(waiting) == driving.fingerprint(state)
    state = strategy.tell(waiting, first, Values(np.array([1.0])))
    assert strategy.ask(state, 5)[0].id.tolist() == [8]
    assert strategy.batch(state) == 1
    assert strategy.generation(state) == 8


@each_solver
def test_ask_and_tell_leave_their_arguments_bit_identical(name):
    strategy = strategy_class(name).default(2)
    x0 = np.ones(2)
    state = strategy.init(x0, 0.7, SEED)
    for _ in range(8):
        population, asked = strategy.ask(state, 1)
        before = driving.fingerprint((state, asked, population, x0))
        values = Values(np.array([tilted(population.X[0])]))
        after = strategy.tell(asked, population, values)
        strategy.stop(after)
        assert driving.fingerprint((state, asked, population, x0)) == before
        population.X.fill(np.nan)
        values.F.fill(np.nan)
        assert np.isfinite(after.told.last_x).all()
        state = after


@each_solver
def test_an_old_state_gives_its_point_again_bit_for_bit(name):
    strategy, state = prepared(name, 3, evaluations=0)
    states, X = [], []
    for _ in range(12):
        states.append(state)
        population, _, state = driving.generation(strategy, state, tilted)
        X.append(population.X.tobytes())
    for old, x in zip(reversed(states), reversed(X), strict=True):
        assert strategy.ask(old, 1)[0].X.tobytes() == x


@each_solver
def test_two_answers_to_one_question_make_two_branches(name):
    strategy, state = prepared(name, 2, evaluations=6)
    f = tilted(state.question)
    low, high = told(strategy, state, f - 1), told(strategy, state, f + 1)
    assert driving.fingerprint(told(strategy, state, f - 1)) == driving.fingerprint(low)
    ends = [points(strategy, branch, tilted, 10) for branch in (low, high)]
    assert ends[0][0].tobytes() != ends[1][0].tobytes()
    for f_branch, (X, end) in zip((f - 1, f + 1), ends, strict=True):  # as without the other one
        fresh, start = prepared(name, 2, evaluations=6)
        again, alone = points(fresh, told(fresh, start, f_branch), tilted, 10)
        assert again.tobytes() == X.tobytes()
        assert driving.fingerprint(alone) == driving.fingerprint(end)


@each_solver
@pytest.mark.parametrize("evaluations", [0, 1, 9])
def test_a_state_restored_from_disk_continues_bit_identically(name, evaluations):
    strategy, state = prepared(name, 3, evaluations)
    asked = strategy.ask(state, 1)[1]
    assert driving.fingerprint(driving.restored(asked)) == driving.fingerprint(asked)
    restored = driving.restored(state)
    X, end = points(strategy, state, tilted, 12)
    conversation.live._renew()  # as in a new process: no solver is alive
    again, end_again = points(strategy, restored, tilted, 12)
    assert again.tobytes() == X.tobytes()
    assert driving.fingerprint(end_again) == driving.fingerprint(end)


def test_a_state_whose_points_are_not_the_solvers_is_refused():
    strategy, state = prepared("cobyqa", 2)
    plain = state.told.__pack__()
    plain["X"][2, 0] = np.nextafter(plain["X"][2, 0], 9)
    other = state._replace(told=conversation.Told.__unpack__(plain))
    with pytest.raises(StateError, match="asks other points"):
        told(strategy, other, 1.0)


@each_solver
def test_numpys_global_generator_is_neither_read_nor_written(name):
    ends = []
    for global_seed in (1, 2):
        np.random.seed(global_seed)  # noqa: NPY002 # the very thing under test
        before = driving.fingerprint(np.random.get_state())  # noqa: NPY002  # it is watched
        strategy, state = prepared(name, 3, evaluations=0)
        conversation.live._renew()
        X, _ = points(strategy, state, objectives.rosenbrock, 60)
        assert driving.fingerprint(np.random.get_state()) == before  # noqa: NPY002  # it is watched
        ends.append(X.tobytes())
    assert ends[0] == ends[1]


@each_solver
def test_late_and_injected_rows_teach_nothing(name):
    strategy, state = prepared(name, 3)
    old, later = strategy.ask(state, 1)
    later = strategy.tell(later, old, Values(np.array([3.0])))
    before = driving.fingerprint(later)
    foreign = Population(np.array([INJECTED]), np.array([INJECTED]), np.zeros((1, 3)))
    nobody = old.take(np.arange(0))
    for rows in (old, foreign, nobody):
        after = strategy.tell(later, rows, Values(np.zeros(len(rows))))
        assert driving.fingerprint(after) == before


@each_solver
def test_where_f_is_undefined_beside_the_optimum_the_search_still_finds_it(name):
    strategy = strategy_class(name).default(3)

    def partly(x):
        return np.nan if x[0] > 1.05 else objectives.rosenbrock(x)

    start = np.array([0.67, 0.34, 0.14])
    _, end = points(strategy, strategy.init(start, 0.5, SEED), partly, 300)
    assert end.best_f < 1e-6


@each_solver
def test_kinds_of_failure_are_all_one(name):
    ends = []
    for bad in (np.nan, np.inf, -np.inf):
        strategy, state = prepared(name, 2)
        population, state = strategy.ask(state, 1)
        bare = strategy.tell(state, population, Values(np.array([bad])))
        reported = strategy.tell(state, population, driving.values_of([bad]))
        ends += [driving.fingerprint(bare), driving.fingerprint(reported)]
    assert ends == [ends[0]] * 6


@each_solver
def test_a_start_that_fails_is_moved(name):
    strategy = strategy_class(name).default(2, lower=np.zeros(2), upper=np.full(2, np.inf))

    def fun(x):
        assert (x >= 0).all()
        return objectives.sphere(x - 1) if x[0] < 2.9 else np.nan

    _, end = points(strategy, strategy.init(np.full(2, 3.0), 0.5, SEED), fun, 200)
    assert end.best_f < 1e-6


@each_solver
def test_failures_everywhere_end_the_search_with_a_reason_that_says_so(name):
    strategy, state = prepared(name, 2, evaluations=0)
    X, state = points(strategy, state, lambda x: np.nan, 1000)
    assert strategy.stop(state).criterion == "allfailed"
    assert len({x.tobytes() for x in X}) == len(X) == 5 * 5  # 2 n + 1 points, five times
    strategy, state = prepared(name, 2, evaluations=8)
    _, state = points(strategy, state, lambda x: np.nan, 1000)
    assert not strategy.stop(state).converged


@each_solver
def test_the_box_is_never_left(name):
    lower, upper = np.array([-1.0, 0.3, -np.inf, -2.0]), np.array([1.0, 0.4, 0.5, np.inf])
    strategy = strategy_class(name).default(4, lower=lower, upper=upper)

    def fun(x):
        assert ((lower <= x) & (x <= upper)).all()
        return objectives.rosenbrock(x)

    for x0 in (np.array([1.0, 0.4, 0.5, -2.0]), np.array([0.2, 0.31, -7.0, 4.0])):
        _, end = points(strategy, strategy.init(x0, 0.7, SEED), fun, 60)
        assert np.isfinite(end.best_f)


@each_solver
def test_it_ends_on_the_optimum_and_says_so(name):
    strategy = strategy_class(name).default(3)
    X, end = points(strategy, strategy.init(np.ones(3), 0.5, SEED), objectives.sphere, 500)
    stop = strategy.stop(end)
    assert stop.criterion in ("tolradius", "tolslow")
    assert stop.converged
    assert len(strategy.ask(end, 3)[0]) == 0  # nothing more to ask
    portrait = strategy.portrait(end)
    assert objectives.sphere(portrait.mean) < 1e-12
    assert portrait.generation == len(X)


@each_solver
def test_a_constant_is_no_success(name):
    strategy = strategy_class(name).default(2)
    _, end = points(strategy, strategy.init(np.ones(2), 0.5, SEED), lambda x: 3.0, 500)
    stop = strategy.stop(end)
    assert stop.criterion == "tolflatfitness"
    assert not stop.converged


@each_solver
@pytest.mark.parametrize("unit", [2.0**500, 2.0**-500])
def test_a_unit_of_f_far_from_1_changes_nothing(name, unit):
    strategy = strategy_class(name).default(2)
    start = strategy.init(np.array([0.5, 1.5]), 0.5, SEED)
    ours, _ = points(strategy, start, lambda x: unit * tilted(x), 30)
    exponent = math.frexp(tilted(start.question))[1]  # of the first value, which becomes about 1
    plain, _ = points(strategy, start, lambda x: tilted(x) / 2.0**exponent, 30)
    assert ours.tobytes() == plain.tobytes()


any_float = st.floats(width=64, allow_nan=True, allow_infinity=True, allow_subnormal=True)


@settings(max_examples=15)
@given(F=st.lists(any_float, min_size=9, max_size=25))
@each_solver
def test_any_float64_may_be_told(name, F):
    strategy = strategy_class(name).default(2)
    state = strategy.init(np.zeros(2), 1.0, SEED)
    for f in F:
        if strategy.stop(state) is not None:
            break
        assert np.isfinite(state.question).all()
        state = told(strategy, state, f)
    assert not math.isnan(strategy.portrait(state).mean.sum())

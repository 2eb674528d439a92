"""`evoopt.AskTell`: a search driven by hand, and what it keeps."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import evoopt
from evoopt.checks import refuse
from evoopt.options import is_for, takes
from evoopt.strategies import STRATEGIES, claims_of
from evoopt.strategies.compose.restarts import POLICIES

METHODS = [
    (algorithm, policy)
    for algorithm in ("auto", *(name for name in STRATEGIES if is_for(name, 1)))
    if algorithm == "auto" or not claims_of(algorithm).sequential  # test_callback_solvers
    for policy in POLICIES
    if policy == "none" or algorithm == "auto" or takes(algorithm, "restarts")
]
each_method = pytest.mark.parametrize(("algorithm", "restarts"), METHODS)


def rastrigin(X: np.ndarray) -> np.ndarray:
    X = np.atleast_2d(X)
    return 10 * X.shape[1] + (X**2 - 10 * np.cos(2 * np.pi * X)).sum(axis=1)


def made(algorithm: str = "cma-es", restarts: str = "none", **words: Any) -> evoopt.AskTell:
    given: dict[str, Any] = {"seed": 5, "bounds": (-5, 5), **words}
    return evoopt.AskTell(algorithm, [2.0] * 3, 1.0, restarts=restarts, **given)


def driven(es: evoopt.AskTell, evaluations: int) -> evoopt.AskTell:
    """So many more evaluations, the last generation cut off."""
    end = es.evaluations + evaluations
    while es.evaluations < end:
        X = es.ask(min(es.popsize, end - es.evaluations))
        es.tell(X, rastrigin(X))
    return es


def frozen(value: Any) -> Any:
    """Something that compares bit for bit."""
    if isinstance(value, dict):
        return {key: frozen(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return repr(value)


def state(es: evoopt.AskTell) -> Any:
    return frozen(es.state_dict())


@each_method
def test_it_is_the_search_of_minimize(algorithm: str, restarts: str) -> None:
    es = driven(made(algorithm, restarts), 600)
    r = evoopt.minimize(
        lambda x: rastrigin(x)[0],
        [2.0] * 3,
        bounds=(-5, 5),
        sigma0=1.0,
        algorithm="cma-es" if algorithm == "auto" else algorithm,  # no model goes first here
        restarts=restarts,
        seed=5,
        budget=600,
    )
    assert r.x is not None
    assert es.result.x is not None
    if r.evaluations == 600:  # `minimize` obeys `stop`, this loop does not
        assert es.result.x.tobytes() == r.x.tobytes()
        assert es.result.history.f.tobytes() == r.history.f.tobytes()


@each_method
def test_a_restored_search_goes_on_bit_identically(algorithm: str, restarts: str) -> None:
    first = driven(made(algorithm, restarts), 333)  # in the midst of a generation
    first.ask(2)  # and with open rows
    saved = first.state_dict()
    stored = json.loads(json.dumps({k: v for k, v in saved.items() if k != "arrays"}))
    second = made(algorithm, restarts)
    second.load_state_dict({**stored, "arrays": dict(saved["arrays"])})
    assert state(second) == state(first)
    driven(first, 300)
    driven(second, 300)
    assert state(second) == state(first)
    assert second.result.f == first.result.f


def test_a_saved_state_is_a_copy() -> None:
    es = driven(made(), 100)
    saved = es.state_dict()
    before = frozen(saved)
    driven(es, 100)
    assert frozen(saved) == before
    es.load_state_dict(saved)
    for array in saved["arrays"].values():
        array.fill(0)
    assert state(es) == before


@pytest.mark.parametrize(
    "other",
    [{"seed": 6}, {"popsize": 9}, {"bounds": (-4, 4)}, {"algorithm": "ma-es"}, {"target": 0.0}],
)
def test_a_state_of_another_search_is_refused_and_changes_nothing(other: dict[str, Any]) -> None:
    es = driven(made(), 50)
    before = state(es)
    with pytest.raises(evoopt.StateError, match="the same arguments and seed"):
        es.load_state_dict(made(**other).state_dict())
    assert state(es) == before


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda s: None,
    "a list": lambda s: [s],
    "no arrays": lambda s: {k: v for k, v in s.items() if k != "arrays"},
    "an array missing": lambda s: {**s, "arrays": dict(list(s["arrays"].items())[1:])},
    "no content": lambda s: {**s, "content": {}},
    "content of another kind": lambda s: {**s, "content": [1, 2]},
    "a newer format": lambda s: {**s, "format": 99},
    "shorter arrays": lambda s: {**s, "arrays": {k: v[:1] for k, v in s["arrays"].items()}},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_refused_and_changes_nothing(damage: str) -> None:
    es = driven(made(), 50)
    before = state(es)
    with pytest.raises(evoopt.StateError, match=r"^[^\n]+$"):
        es.load_state_dict(DAMAGE[damage](es.state_dict()))
    assert state(es) == before


@each_method
def test_telling_by_id_in_any_order_equals_telling_at_once(algorithm: str, restarts: str) -> None:
    whole, single = made(algorithm, restarts), made(algorithm, restarts)
    order = np.random.default_rng(1)
    for _ in range(60):
        X = whole.ask()
        whole.tell(X, rastrigin(X))
        rows = single.ask_ids()
        for i in order.permutation(len(rows)):
            number, x = rows[i]
            single.tell(number, rastrigin(x)[0])
    assert state(single)["content"] == state(whole)["content"]
    assert state(single)["arrays"] == state(whole)["arrays"]


@each_method
def test_telling_rows_in_any_order_equals_telling_them_as_asked(
    algorithm: str, restarts: str
) -> None:
    straight, mixed = made(algorithm, restarts), made(algorithm, restarts)
    order = np.random.default_rng(2)
    for _ in range(60):
        X = straight.ask()
        straight.tell(X, rastrigin(X))
        Y = mixed.ask()[order.permutation(len(X))]
        mixed.tell(Y, rastrigin(Y))
    assert mixed.result.mean.tobytes() == straight.result.mean.tobytes()
    assert mixed.result.history.f.tobytes() == straight.result.history.f.tobytes()


def test_values_told_by_id_wait_for_the_rest_and_count_at_once() -> None:
    es = made(target=0.5)
    (first, _), (second, x), *rest = es.ask_ids()
    es.tell(first, math.nan)
    es.tell(second, 0.25)
    assert es.evaluations == es.result.evaluations == 2
    assert es.result.f == 0.25
    assert es.result.x is not None
    assert es.result.x.tolist() == x.tolist()
    assert es.stop is not None
    assert es.stop.criterion == "ftarget"
    assert es.result.generations == 0
    es.tell(np.array([x for _, x in rest]), [1.0] * len(rest))  # the rest by their coordinates
    assert es.result.generations == 1
    assert es.evaluations == es.result.evaluations == 2 + len(rest)


def test_values_that_wait_are_part_of_the_state() -> None:
    es, other = made(), made()
    rows = es.ask_ids()
    es.tell(rows[3][0], 1.5)
    es.tell(rows[1][0], math.inf)
    other.load_state_dict(es.state_dict())
    assert other.result.failures == {"posinf": 1}
    for number, x in (rows[i] for i in (0, 2, *range(4, len(rows)))):
        es.tell(number, rastrigin(x)[0])
        other.tell(number, rastrigin(x)[0])
    assert state(other) == state(es)
    assert other.result.generations == 1


def test_an_id_is_told_once() -> None:
    es = made()
    number, x = es.ask_ids()[0]
    es.tell(number, 1.0)
    before = state(es)
    for again in (number, x, 10**6, -1):
        with pytest.raises(evoopt.ConfigurationError, match=r"^tell\("):
            es.tell(again, 1.0)
    assert state(es) == before


def test_more_than_one_generation_may_be_open_and_each_makes_its_update() -> None:
    es = made("ma-es")
    A, B = es.ask(), es.ask()
    assert not (A == B).any()
    es.tell(B, rastrigin(B))
    es.tell(A, rastrigin(A))
    assert es.result.generations == 2
    assert es.evaluations == len(A) + len(B)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_any_number_of_points_may_be_asked_and_none_is_lost(k: int) -> None:
    es = made()
    X = es.ask(k)
    assert X.shape == (k, 3)
    es.tell(X, rastrigin(X))
    assert es.evaluations == k
    assert es.result.f == rastrigin(X).min()
    assert es.result.generations == k // 7  # popsize


@each_method
def test_no_point_lies_outside_the_bounds(algorithm: str, restarts: str) -> None:
    es = made(algorithm, restarts, bounds=([-1, 1.5, -5], [3, 2.5, 5]))
    for _ in range(100):
        X = es.ask()
        assert (np.array([-1, 1.5, -5]) <= X).all()
        assert (np.array([3, 2.5, 5]) >= X).all()
        es.tell(X, X.sum(axis=1))


@pytest.mark.parametrize("algorithm", ["cma-es", "ma-es", "auto"])
def test_a_good_point_found_elsewhere_speeds_the_search_up(algorithm: str) -> None:
    def evaluations(foreign: bool) -> int:
        es = evoopt.AskTell(algorithm, [30.0] * 5, 1.0, seed=1, target=1e-6)
        if foreign:
            es.tell(np.zeros((1, 5)) + 0.01, [0.0005])
        while es.stop is None:
            X = es.ask()
            es.tell(X, (X**2).sum(axis=1))
            if foreign and es.result.generations % 5 == 0 and es.result.sigma > 0.1:
                es.tell(np.zeros((1, 5)) + 0.01 + 1e-9 * es.evaluations, [0.0005])
        return es.evaluations

    assert evaluations(foreign=True) < evaluations(foreign=False)


@pytest.mark.parametrize("algorithm", ["cma-es", "ma-es", "auto"])
def test_wild_foreign_points_do_no_lasting_harm(algorithm: str) -> None:
    es = evoopt.AskTell(algorithm, [1.0] * 4, 1.0, seed=1, target=1e-8)
    rng = np.random.default_rng(3)
    while es.stop is None and es.evaluations < 4000:
        X = es.ask()
        es.tell(X, (X**2).sum(axis=1))
        if es.result.generations < 20:
            Y = rng.standard_normal((3, 4)) * 10.0 ** rng.integers(-8, 9)
            es.tell(Y, (Y**2).sum(axis=1))
    assert es.result.reason.criterion == "ftarget"


def test_foreign_points_are_learnt_from_after_a_restart_too() -> None:
    es = made("cma-es", "ipop")
    while es.result.restarts == 0:
        driven(es, es.popsize)
    Y = np.linspace(-1, 1, es.popsize)[:, None] * np.ones(3)
    generations, evaluations = es.result.generations, es.evaluations
    es.tell(Y, rastrigin(Y))
    assert es.result.generations == generations + 1
    assert es.evaluations == evaluations


def test_own_and_foreign_points_may_be_told_together() -> None:
    es = made()
    X = es.ask()
    Y = np.full((1, 3), 0.125)
    es.tell(np.vstack([Y, X]), np.concatenate([rastrigin(Y), rastrigin(X)]))
    assert es.evaluations == len(X)
    assert es.result.f == min(rastrigin(Y).min(), rastrigin(X).min())


def test_what_ask_returns_and_what_tell_is_given_stay_the_callers() -> None:
    es, other = made(), made()
    for _ in range(5):
        X, Y = es.ask(), other.ask()
        points, F = X.copy(), rastrigin(X)
        values = F.copy()
        es.tell(points, F)
        assert points.tobytes() == X.tobytes()
        assert F.tobytes() == values.tobytes()
        X[:], points[:], F[:] = np.nan, np.nan, np.nan  # no array is shared
        other.tell(Y, values)
    assert state(es) == state(other)


def test_asking_draws_nothing_from_numpys_global_generator() -> None:
    np.random.seed(3)  # noqa: NPY002  # the global generator is what is watched
    driven(made(), 50)
    assert np.random.rand() == np.random.RandomState(3).rand()  # noqa: NPY002  # the global generator is what is watched


def test_failed_values_rank_last_and_are_counted() -> None:
    es = made()
    X = es.ask()
    F = rastrigin(X)
    F[[1, 3, 5]] = math.nan, math.inf, -math.inf
    es.tell(X, F)
    assert es.result.failures == {"nan": 1, "posinf": 1, "neginf": 1}
    assert es.result.f == F[[0, 2, 4, 6]].min()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["1.0", *[1.0] * 6], "'1.0' (str)"),
        ([1.0, None, *[1.0] * 5], "None"),
        ([1.0] * 6 + [1j], "(complex"),
        ([1.0] * 6, "shape (7,)"),
        (1.0, "shape (7,)"),
        ({1: 2}, "shape (7,)"),
    ],
)
def test_what_is_no_real_number_is_refused_by_name(values: Any, says: str) -> None:
    es = made()
    X = es.ask()
    before = state(es)
    with pytest.raises(evoopt.ObjectiveError) as raised:
        es.tell(X, values)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert state(es) == before


@pytest.mark.parametrize("k", [0, -1, 2.5, "7", math.nan])
def test_a_number_of_points_that_makes_no_sense_is_refused(k: Any) -> None:
    es = made()
    before = state(es)
    for call in (es.ask, es.ask_ids):
        with pytest.raises(evoopt.ConfigurationError, match=r"k=\.\.\.\) must be a whole number"):
            call(k)
    assert state(es) == before


def test_the_example_of_the_documentation_runs() -> None:
    es = evoopt.AskTell("cma-es", [3.0, 3.0], 1.0, seed=1)
    while es.stop is None and es.evaluations < 2000:
        X = es.ask()
        es.tell(X, (X**2).sum(axis=1))
    assert es.result.f < 1e-9
    assert es.result.reason.criterion == es.stop.criterion if es.stop else False


def test_a_message_shows_an_array_in_one_line() -> None:
    message = str(refuse("call", "word", "smaller", np.zeros((40, 40))))
    assert message.startswith("call(word=...) must be smaller; got array([[0., 0.,")
    assert "\n" not in message
    assert len(message) < 150

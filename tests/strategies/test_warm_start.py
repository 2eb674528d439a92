"""Warm start: the first distribution from what an earlier search has seen."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.warm_literal import promising

import evoopt
from evoopt.earlier import evaluations
from evoopt.options import takers
from evoopt.plan import build, resolve
from evoopt.problem import FunctionProblem
from evoopt.settings import Settings
from evoopt.strategies import strategy_class
from evoopt.strategies.initial import ellipsoid

N = 4
LOWER, UPPER = np.full(N, -5.0), np.full(N, 5.0)
WARM = takers("warm_start")
AXES = 10.0 ** np.arange(N)  # of the valley, not along the coordinates
TURN = np.linalg.qr(np.random.default_rng(5).standard_normal((N, N)))[0]


def f(x: np.ndarray) -> float:
    return float((AXES * (TURN @ (x - 2)) ** 2).sum())


def seen(rows: int = 400, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Evaluations of a search that has found the valley."""
    draw = np.random.default_rng(1)
    X = 2 + spread * draw.standard_normal((rows, N)) / np.sqrt(AXES) @ TURN
    return X, np.array([f(x) for x in X])


def planned(words: Settings, lower: np.ndarray = LOWER, upper: np.ndarray = UPPER) -> Any:
    return resolve(FunctionProblem(f, len(lower), lower, upper, name="f"), words)


def first_state(algorithm: str, warm_start: Any, lower: Any = LOWER, upper: Any = UPPER) -> Any:
    plan = planned(Settings(algorithm, seed=1, warm_start=warm_start), lower, upper)
    strategy = build(plan)
    return strategy, strategy.init(plan.x0, plan.sigma0, 1)


def covariance(strategy: Any, state: Any) -> np.ndarray:
    """Of many candidates of the first generation, in the box."""
    X = np.asarray(strategy.ask(state, 200_000)[0].X)
    return np.cov(X.T)


@pytest.mark.parametrize("algorithm", ["cma-es", "ma-es"])
def test_the_first_distribution_is_that_of_the_paper(algorithm: str) -> None:
    X, F = seen()
    mean, sigma, C = promising((X + 5) / 10, F)
    strategy, state = first_state(algorithm, (X, F))
    portrait = strategy.portrait(state)
    # rtol: the same sums in another order
    assert np.allclose(portrait.mean, mean * 10 - 5, rtol=1e-12)
    assert np.isclose(portrait.sigma, sigma * 10, rtol=1e-12)
    assert np.allclose(portrait.axes**2, np.linalg.eigvalsh(C), rtol=1e-10)


@pytest.mark.parametrize("algorithm", WARM)
def test_the_first_candidates_are_drawn_from_it(algorithm: str) -> None:
    X, F = seen()
    _, sigma, C = promising((X + 5) / 10, F)
    wanted = (10 * sigma) ** 2 * C
    strategy, state = first_state(algorithm, (X, F))
    found = covariance(strategy, state)
    if algorithm == "sep-cma-es":
        wanted, found = np.diag(wanted), np.diag(found)
    # 2e5 samples: standard error of a variance 0.3 %
    assert np.allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


@pytest.mark.parametrize("algorithm", [name for name in WARM if name != "sep-cma-es"])
def test_a_shape_of_many_variables_does_not_overflow(algorithm: str) -> None:
    n = 400
    draw = np.random.default_rng(2)
    X = 1e-3 * draw.standard_normal((100, n))  # det of the covariance is 0 in floating point
    F = (X**2).sum(axis=1)
    strategy, state = first_state(algorithm, (X, F), np.full(n, -1.0), np.full(n, 1.0))
    portrait = strategy.portrait(state)
    assert np.isclose(portrait.sigma, 0.2, rtol=1e-3)  # alpha = 0.1 of the width
    assert np.isclose(np.log(portrait.axes).mean(), 0, atol=1e-12)


def test_an_ellipsoid_is_its_matrix_with_a_determinant_of_one() -> None:
    A = np.random.default_rng(3).standard_normal((5, 5))
    shape = A @ A.T
    factor, C, B, D = ellipsoid(shape, 5)
    assert np.allclose(factor**2 * C, shape, rtol=1e-10)
    assert np.isclose(np.linalg.det(C), 1, rtol=1e-10)
    assert np.allclose((B * D**2) @ B.T, C, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in WARM if name != "sep-cma-es"])
def test_the_identity_as_a_shape_changes_nothing(name: str) -> None:
    cls = strategy_class(name)
    plain, shaped = cls.default(3), cls.default(3, shape=4 * np.eye(3))
    a, b = plain.init(np.ones(3), 2.0, 1), shaped.init(np.ones(3), 1.0, 1)
    for _ in range(5):
        rows, a = plain.ask(a, 7)
        same, b = shaped.ask(b, 7)
        assert np.allclose(rows.X, same.X, rtol=1e-12)
        F = (rows.X**2).sum(axis=1)
        values = evoopt.Values(F)
        a, b = plain.tell(a, rows, values), shaped.tell(b, same, values)


@pytest.mark.parametrize("algorithm", WARM)
def test_it_saves_evaluations(algorithm: str) -> None:
    """On a valley that the earlier search has found: medians of 5 seeds, the ratio below 0.7."""

    def cost(**words: Any) -> float:
        runs = [
            evoopt.minimize(
                f,
                bounds=(LOWER, UPPER),
                algorithm=algorithm,
                seed=seed,
                target=1.0,
                budget=20_000,
                **words,
            ).evaluations
            for seed in range(5)
        ]
        return float(np.median(runs))

    assert cost(warm_start=seen()) < 0.7 * cost()


def test_restarts_begin_as_if_there_had_been_no_earlier_search() -> None:
    words: dict[str, Any] = {"seed": 1, "restarts": "ipop"}
    warm, cold = (
        build(planned(Settings("cma-es", warm_start=given, **words))) for given in (seen(), None)
    )
    assert warm.first.inner.shape is not None  # type: ignore[attr-defined]
    assert warm.build(14).inner.shape is None  # type: ignore[attr-defined]
    assert cold.first.inner.shape is None  # type: ignore[attr-defined]


def test_failed_evaluations_teach_nothing() -> None:
    X, F = seen(50)
    more = np.vstack([X, np.full((2, N), 4.0)])
    plans = [
        planned(Settings("cma-es", seed=1, warm_start=given))
        for given in ((X, F), (more, [*F, np.nan, -np.inf]))
    ]
    assert plans[0].x0.tobytes() == plans[1].x0.tobytes()
    assert plans[0].shape.tobytes() == plans[1].shape.tobytes()


def test_the_largest_values_count_where_they_are_sought() -> None:
    X, F = seen(50)
    least = planned(Settings("cma-es", seed=1, warm_start=(X, F)))
    most = planned(Settings("cma-es", seed=1, warm_start=(X, -F), maximize=True))
    assert least.x0.tobytes() == most.x0.tobytes()


def test_fixed_variables_stay_where_they_are() -> None:
    X, F = seen(50)
    lower, upper = LOWER.copy(), UPPER.copy()
    lower[1] = upper[1] = X[:, 1].mean()
    X[:, 1] = lower[1]
    plan = planned(Settings("cma-es", seed=1, warm_start=(X, F)), lower, upper)
    assert plan.x0[1] == lower[1]
    assert plan.shape.shape == (N - 1, N - 1)


def test_bounds_are_not_needed() -> None:
    r = evoopt.minimize(f, algorithm="cma-es", seed=1, budget=200, warm_start=seen())
    assert r.f < 5.0


X, F = (part.tolist() for part in seen(20))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (3, "must be (X, F) with X of shape (k, 4) and F of shape (k,); got 3"),
        ((X, F[:-1]), "got shapes (20, 4) and (19,)"),
        (([x[:3] for x in X], F), "got shapes (20, 3) and (20,)"),
        ((X[:0], F[:0]), "got shapes (0,) and (0,)"),
        ((X, ["a"] * 20), "must be (X, F) with X of shape"),
        ((X, [np.nan] * 20), "must hold finite points and a finite value; got no finite value"),
        (([[np.inf] * 4, *X[1:]], F), "got a point that is not finite"),
        (([[9.0] * 4, *X[1:]], F), "must lie within the bounds; got X[0, 0]=9.0 outside [-5, 5]"),
    ],
)
def test_what_is_no_earlier_search_is_refused_in_one_line(given: Any, says: str) -> None:
    with pytest.raises(evoopt.ConfigurationError) as raised:
        evoopt.minimize(f, bounds=(LOWER, UPPER), warm_start=given, algorithm="cma-es")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_x0_is_left_out_with_it() -> None:
    with pytest.raises(evoopt.ConfigurationError, match="must be left out with warm_start"):
        evoopt.minimize(f, [0.0] * N, warm_start=seen(), algorithm="cma-es")


def test_a_run_that_began_warm_resumes_exactly(tmp_path: Path) -> None:
    words: dict[str, Any] = {
        "bounds": (LOWER, UPPER),
        "algorithm": "cma-es",
        "seed": 1,
        "budget": 300,
        "warm_start": seen(),
    }
    whole = evoopt.minimize(f, **words)
    left: list[int] = [150]

    def stopping(x: np.ndarray) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return f(x)

    stopping.__name__ = "f"
    with pytest.raises(KeyboardInterrupt):
        evoopt.minimize(stopping, run_dir=tmp_path / "a", **words)
    again = evoopt.minimize(f, run_dir=tmp_path / "a", **words)
    assert again.x is not None
    assert whole.x is not None
    assert again.x.tobytes() == whole.x.tobytes()
    with pytest.raises(evoopt.StateError, match="holds another run"):
        evoopt.minimize(f, run_dir=tmp_path / "a", **{**words, "warm_start": seen(100)})


@pytest.mark.parametrize("maximize", [False, True])
def test_a_run_directory_is_an_earlier_search(tmp_path: Path, maximize: bool) -> None:
    told = []

    def g(x: np.ndarray) -> float:
        told.append((x.tolist(), -f(x) if maximize else f(x)))
        return told[-1][1]

    evoopt.minimize(
        g,
        bounds=(LOWER, UPPER),
        algorithm="cma-es",
        seed=1,
        budget=60,
        maximize=maximize,
        run_dir=tmp_path / "a",
    )
    points, values = evaluations(tmp_path / "a")
    assert points == [x for x, _ in told]
    assert values == [v for _, v in told]


def test_an_earlier_run_with_failures_is_kept_and_resumed(tmp_path: Path) -> None:
    X, F = seen(50)
    F[3], F[7] = np.nan, -np.inf
    words: dict[str, Any] = {
        "bounds": (LOWER, UPPER),
        "algorithm": "cma-es",
        "seed": 1,
        "budget": 60,
        "warm_start": (X, F),
    }
    first = evoopt.minimize(f, run_dir=tmp_path / "a", **words)
    again = evoopt.minimize(f, run_dir=tmp_path / "a", **words)
    assert again.f == first.f
    assert f"from {len(F) - 2} evaluations" in " ".join(first.notes)


def test_a_file_is_an_earlier_search(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"X": X, "F": F}))
    lines = [",".join(map(repr, [*x, v])) for x, v in zip(X, F, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (tmp_path / "b.csv").write_text("\n".join(["x1,x2,x3,x4,f", *lines, ""]))
    for name in ("a.json", "a.csv", "b.csv"):
        assert evaluations(tmp_path / name) == (X, F)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "1,2\nb,c\n"), ("a.json", "{"), ("a.json", '{"X": []}'), ("a.txt", "1"), ("b", "")],
)
def test_another_file_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(evoopt.ConfigurationError, match=r"^minimize\(warm_start=\.\.\.\) must "):
        evaluations(tmp_path / name)

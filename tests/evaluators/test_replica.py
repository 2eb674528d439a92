"""Workers that make their points themselves: the bits of every other engine, and short messages."""

import os
import shutil
import signal
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

import evoopt
from evoopt.api import solve
from evoopt.evaluators.pool import PoolEvaluator
from evoopt.evaluators.process import LocalCrew
from evoopt.evaluators.replica import Diverged, Ledger, Order, Replica
from evoopt.problem import FunctionProblem
from evoopt.result import Values
from evoopt.runner import Limits, Runner
from evoopt.search import Search
from evoopt.settings import Settings
from evoopt.strategies import strategy_class

ALGORITHMS = ("canonical-es", "openai-es")


def followed(algorithm="canonical-es", dim=5, **options):
    strategy = strategy_class(algorithm).default(dim, **options)
    search = Search(strategy, np.linspace(0.0, 1.0, dim), 0.3, 7)
    search.follower = Ledger(search)
    return search, search.follower


def travelled(message):
    """The message as it arrives in another process, and its length in bytes."""
    data = bytes(ForkingPickler.dumps(message))
    return ForkingPickler.loads(data), len(data)


def values(X):
    return Values(np.array([float((x**2).sum()) for x in X]))


class Follower:
    """A replica and what it has seen, as the pool keeps them for each worker."""

    def __init__(self, ledger):
        self.ledger, self.seen, self.replica = ledger, None, Replica()

    def points(self, ids):
        order, size = travelled(Order(self.ledger.news(self.seen), np.asarray(ids)))
        self.seen = self.ledger.number
        return self.replica.points(order), size


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_replica_makes_the_points_of_the_original_whatever_was_asked_told_or_injected(algorithm):
    search, ledger = followed(algorithm, popsize=6)
    eager, lazy = Follower(ledger), Follower(ledger)
    random = np.random.Generator(np.random.Philox(3))
    for round_ in range(40):
        search.ask(int(random.integers(1, 9)))
        rows = search.open_rows
        some = rows.take(random.permutation(len(rows))[: int(random.integers(1, len(rows) + 1))])
        followers = (eager, lazy) if round_ % 9 == 8 else (eager,)
        for follower in followers:
            X, _ = follower.points(some.id)
            assert X.tobytes() == some.X.tobytes()
        told = values(some.X)
        if round_ % 5 == 0:
            told.F[0] = np.nan
        search.tell(some.id, told)
        if round_ % 7 == 0:
            search.inject(np.full((2, 5), 0.1), Values(np.array([0.5, 0.6])))


def test_a_message_is_as_long_for_10_000_variables_as_for_10():
    sizes = {}
    for dim in (10, 10_000):
        search, ledger = followed(dim=dim, popsize=20)
        follower, sizes[dim] = Follower(ledger), []
        for _ in range(4):
            rows = search.ask()
            _, size = follower.points(rows.id[:10])
            sizes[dim].append(size)
            search.tell(rows.id, Values(np.arange(20.0)))
    assert max(sizes[10][1:] + sizes[10_000][1:]) < 800
    # pickle writes a checksum of 32 bits in two lengths
    np.testing.assert_allclose(sizes[10][1:], sizes[10_000][1:], atol=2)
    assert sizes[10_000][0] > 8 * 10_000  # the whole search, once


def test_a_replica_that_missed_more_than_is_kept_is_sent_the_whole_search(monkeypatch):
    monkeypatch.setattr("evoopt.evaluators.replica._LEAST_KEPT", 100)
    search, ledger = followed(popsize=10)
    eager, lazy = Follower(ledger), Follower(ledger)
    for generation in range(12):
        rows = search.ask()
        for follower in (eager, lazy) if generation in (0, 11) else (eager,):
            assert follower.points(rows.id)[0].tobytes() == rows.X.tobytes()
        assert (ledger.news(eager.seen).search, eager.seen) == (None, ledger.number)
        search.tell(rows.id, values(rows.X))
    assert ledger.news(0).search is not None
    assert len(ledger._events) < 24


def test_a_replica_that_computes_other_bits_says_so_and_is_mended_by_the_whole_search():
    search, ledger = followed(popsize=6)
    follower = Follower(ledger)
    rows = search.ask()
    follower.points(rows.id)
    other = follower.replica._search
    mean = np.nextafter(other.state.distribution.mean, 9)
    other.state = other.state._replace(distribution=other.state.distribution._replace(mean=mean))
    search.tell(rows.id, values(rows.X))
    rows = search.ask()
    with pytest.raises(Diverged, match="not that of the original"):
        follower.points(rows.id)
    with pytest.raises(Diverged, match="no search"):
        follower.points(rows.id)
    follower.seen = None
    assert follower.points(rows.id)[0].tobytes() == rows.X.tobytes()


def test_a_candidate_that_is_not_open_is_no_order():
    search, ledger = followed(popsize=6)
    search.ask()
    with pytest.raises(Diverged, match="candidate 99 is not open"):
        Follower(ledger).points(np.array([99]))


# in worker processes


class CountedLine:
    """A line to a worker that counts what is sent on it."""

    def __init__(self, line, sizes):
        self.line, self.sizes = line, sizes

    def send(self, message):
        self.sizes.append(travelled(message)[1])
        self.line.send(message)

    def __getattr__(self, name):
        return getattr(self.line, name)


class CountingCrew(LocalCrew):
    def __init__(self):
        self.sizes, self.pids = [], []

    def launched(self, pickled):
        process, line = super().launched(pickled)
        self.pids.append(process.pid)
        return process, CountedLine(line, self.sizes)


def sphere(x):
    return float(((x - 1) ** 2).sum())


def deadly(x):
    """Kills its worker at about every twentieth point."""
    if int(abs(x[0]) * 1e9) % 20 == 0 and not os.path.exists(f"{os.environ['TRACES']}/{x[0]}"):
        open(f"{os.environ['TRACES']}/{x[0]}", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return sphere(x)


def searched(fun, algorithm, dim, workers, budget=120, **words):
    """A run, and the crew of its pool; None for a run in this process."""
    problem = FunctionProblem(fun, dim, np.full(dim, -np.inf), np.full(dim, np.inf), name="f")
    settings = Settings(algorithm, x0=[0.0] * dim, sigma0=0.2, budget=budget, seed=4, popsize=20)
    if not workers:
        return solve(problem, settings), None
    crew = CountingCrew()
    pool = PoolEvaluator(problem, workers, crew)
    try:
        return solve(problem, settings, evaluator=pool, **words), crew
    finally:
        pool.close()


def same(a, b):
    return (a.x.tobytes(), a.f, a.mean.tobytes(), a.history.f.tobytes()) == (
        b.x.tobytes(), b.f, b.mean.tobytes(), b.history.f.tobytes()
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_workers_that_make_their_points_give_the_bits_of_one_process(algorithm):
    serial, _ = searched(sphere, algorithm, 300, 0)
    pool, crew = searched(sphere, algorithm, 300, 2)
    assert same(serial, pool)
    whole = [size for size in crew.sizes if size > 300 * 8]
    assert 1 <= len(whole) <= 2  # the search itself, once for each worker
    assert max(size for size in crew.sizes if size not in whole) < 2000


def test_a_search_that_cannot_travel_has_its_points_sent():
    words = {"x0": [0.0] * 3, "sigma0": 0.2, "algorithm": "canonical-es", "restarts": "ipop"}
    results = [evoopt.minimize(sphere, workers=w, budget=60, seed=3, **words) for w in (1, 2)]
    assert same(*results)


def test_a_worker_that_dies_is_followed_by_one_with_the_whole_search(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACES", str(tmp_path))
    serial, _ = searched(sphere, "openai-es", 300, 0, budget=60)
    pool, crew = searched(deadly, "openai-es", 300, 2, budget=60)
    deaths = len(list(tmp_path.iterdir()))
    assert deaths >= 2
    assert len(crew.pids) >= 1 + deaths
    assert same(serial, pool)


def test_an_asynchronous_search_is_followed_too_and_uses_every_result(monkeypatch):
    copies, replica = [], Search.replica
    monkeypatch.setattr(Search, "replica", lambda self: copies.append(1) or replica(self))
    problem = FunctionProblem(sphere, 50, np.full(50, -np.inf), np.full(50, np.inf))
    search = Search(strategy_class("openai-es").default(50, popsize=8), np.zeros(50), 0.2, 1)
    pool = PoolEvaluator(problem, 2)
    try:
        Runner(search, pool, Limits(budget=100), asynchronous=True).run()
    finally:
        pool.close()
    assert search.evaluations == 100
    assert search.strategy.generation(search.state) == 12
    assert sphere(search.best_x) == search.best_f
    assert 2 <= len(copies) <= 3  # to see that it can travel, and once for each worker at work


class Stopping:
    """An objective that is interrupted at its n-th call."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, x):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        return sphere(x)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_is_taken_up_from_its_snapshot_and_from_its_log_cut_anywhere(algorithm, tmp_path):
    words = {
        "x0": [0.0] * 6, "sigma0": 0.2, "algorithm": algorithm, "budget": 120, "seed": 3
    }  # fmt: skip
    expected = evoopt.minimize(Stopping(-1), **words)
    with pytest.raises(evoopt.Interrupted):
        evoopt.minimize(Stopping(57), run_dir=tmp_path / "run", **words)
    lines = (tmp_path / "run" / "log.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 6
    for n in range(2, len(lines) + 1):
        shutil.copytree(tmp_path / "run", tmp_path / str(n))
        if n < len(lines):
            shutil.rmtree(tmp_path / str(n) / "snapshots")
            (tmp_path / str(n) / "log.jsonl").write_bytes(b"".join(lines[:n]))
        assert same(evoopt.minimize(Stopping(-1), run_dir=tmp_path / str(n), **words), expected)


def test_a_log_does_not_grow_with_the_number_of_variables(tmp_path):
    sizes = []
    for dim in (4, 4000):
        words = {"x0": [0.0] * dim, "sigma0": 0.2, "budget": 60, "seed": 3, "popsize": 20}
        run = tmp_path / str(dim)
        evoopt.minimize(sphere, algorithm="openai-es", run_dir=run, isolate=True, **words)
        header, *records = (run / "log.jsonl").read_bytes().splitlines()
        assert b'"t":"header"' in header  # with the words of the user, x0 among them
        sizes.append(max(len(line) for line in records))
    assert max(sizes) < 1000

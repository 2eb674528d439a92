"""Laws of the worker pool: no objective can hang it, kill it, or cost a row of its siblings."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, EvooptError
from evoopt.evaluators import make_evaluator
from evoopt.evaluators.base import merged
from evoopt.problem import FunctionProblem
from evoopt.result import INTERRUPTED, INVALID, KILLED, NAN, NEGINF, POSINF, RAISED, TIMEOUT

DIM = 3
PATIENCE = 60.0  # seconds; reached only where something hangs


def problem(fun, dim=DIM, **options):
    return FunctionProblem(fun, dim, np.full(dim, -np.inf), np.full(dim, np.inf), **options)


def evaluated(evaluator, X, seeds=None, deadline=None):
    """All rows of X by one submit, in the order of X."""
    evaluator.submit(np.arange(len(X)), X, seeds, deadline)
    batches, end = [], time.monotonic() + PATIENCE
    while sum(len(batch.ids) for batch in batches) < len(X):
        assert time.monotonic() < end, "the pool hangs"
        batch = evaluator.poll(1.0)
        batches += [batch] if batch else []
    whole = merged(batches)
    assert sorted(whole.ids) == list(range(len(X)))
    order = np.argsort(whole.ids)
    failures = {int(whole.ids[row]): failure for row, failure in whole.values.failures.items()}
    return whole.values.F[order], failures


def kinds(failures):
    return {row: failure.kind for row, failure in failures.items()}


def points(k, dim=DIM):
    return np.arange(float(k * dim)).reshape(k, dim)


class Picky(Exception):
    """An exception that cannot be unpickled."""

    def __init__(self, one, two):
        super().__init__("picky")


def behaving(x):
    """x[0] says what to do; the return value is x[1]."""
    actions = {
        1: lambda: os._exit(0),
        2: lambda: os._exit(9),
        3: lambda: os.kill(os.getpid(), signal.SIGKILL),
        4: lambda: ctypes.string_at(0),
        5: lambda: sys.exit(1),
        6: lambda: time.sleep(1000),
        7: lambda: (_ for _ in ()).throw(Picky(1, 2)),
        8: lambda: (_ for _ in ()).throw(KeyboardInterrupt),
    }
    actions.get(int(x[0]), lambda: None)()
    returned = {11: None, 12: "3", 13: float("nan"), 14: 10**400, 15: -float("inf"), 16: [1, 2]}
    return returned.get(int(x[0]), float(x[1]))


@pytest.fixture(scope="module")
def shared_pool():
    """Two workers for `behaving`; whatever one test does to them, the next finds them usable."""
    evaluator = make_evaluator("pool", problem(behaving), 2)
    yield evaluator
    evaluator.close()


@pytest.fixture
def pool(shared_pool):
    yield shared_pool
    shared_pool.cancel()


def orders(*actions):
    return np.array([[action, 10.0 * row, 0.0] for row, action in enumerate(actions)])


def test_200_cheap_rows_have_the_values_of_the_serial_evaluator(pool):
    X = np.random.Generator(np.random.Philox(1)).normal(size=(200, DIM))
    X[:, 0] = 0
    F, failures = evaluated(pool, X)
    np.testing.assert_array_equal(F, evaluated(make_evaluator("serial", problem(behaving)), X)[0])
    assert not failures


def test_cheap_rows_travel_in_one_message_per_worker(pool):
    end = time.monotonic() + PATIENCE
    pool._pace.seconds = 1e-6  # cheap rows start the second worker, too
    while sum(worker.idle for worker in pool._workers) < 2:
        assert time.monotonic() < end, "the pool does not fill its slots"
        evaluated(pool, orders(0, 0))
    pool._pace.seconds = 1e-6
    pool.submit(np.arange(20), orders(*[0] * 20), None, None)
    assert sorted(len(worker.rows) for worker in pool._workers) == [10, 10]
    evaluated_ids = []
    while len(evaluated_ids) < 20:
        evaluated_ids += pool.poll(PATIENCE).ids.tolist()
    assert sorted(evaluated_ids) == list(range(20))


@pytest.mark.parametrize("action", [1, 2, 3, 4], ids=["exit 0", "exit 9", "SIGKILL", "segfault"])
def test_a_row_that_kills_its_worker_fails_alone_after_its_retries(pool, action):
    F, failures = evaluated(pool, orders(0, 0, action, 0, 0, 0))
    assert kinds(failures) == {2: KILLED}
    assert "its worker died 4 times" in failures[2].message
    how = {1: "exit code 0", 2: "exit code 9", 3: "SIGKILL", 4: "SIGSEGV"}[action]
    assert failures[2].message.endswith(how)
    np.testing.assert_array_equal(F, [0, 10, np.nan, 30, 40, 50])


def test_a_hang_is_stopped_at_its_deadline_and_rows_that_wait_do_not_lose_time(pool):
    F, failures = evaluated(pool, orders(6, 0, 6, 0, 6, 0), deadline=0.4)
    assert kinds(failures) == {0: TIMEOUT, 2: TIMEOUT, 4: TIMEOUT}
    assert failures[0].message == "did not end within 0.4 s"
    np.testing.assert_array_equal(F, [np.nan, 10, np.nan, 30, np.nan, 50])


def test_what_an_objective_returns_or_raises_in_a_worker_is_told_as_in_process(pool):
    X = orders(5, 7, 8, 11, 12, 13, 14, 15, 16, 0)
    F, failures = evaluated(pool, X, deadline=PATIENCE)  # with a deadline, each row is a message
    assert kinds(failures) == {
        0: RAISED, 1: RAISED, 2: INTERRUPTED, 3: INVALID, 4: INVALID,
        5: NAN, 6: POSINF, 7: NEGINF, 8: INVALID,
    }  # fmt: skip
    assert failures[1].message.startswith("Picky: picky (test_pool.py:")
    assert failures[3].message.endswith("got None at x = [11 30 0]")
    assert F[9] == 90


def test_cancel_kills_what_runs_and_keeps_idle_workers(pool):
    evaluated(pool, orders(0, 0, 0, 0))
    pool.submit(np.arange(5), orders(6, 0, 6, 6, 6), None, 1000.0)
    pool.poll(0.05)
    pool.cancel()
    assert pool.poll(0.0) is None
    F, failures = evaluated(pool, orders(0, 0))
    assert F.tolist() == [0, 10]
    assert not failures


def test_poll_returns_none_at_once_where_nothing_is_queued_and_in_time_where_nothing_is_ready(pool):
    assert pool.poll(PATIENCE) is None
    pool.submit(np.array([0]), orders(6), None, 1000.0)
    assert pool.poll(0.01) is None
    pool.cancel()


def test_a_worker_killed_while_idle_is_replaced(pool):
    evaluated(pool, orders(0, 0))
    for worker in pool._workers:
        os.kill(worker.process.pid, signal.SIGKILL)
    F, failures = evaluated(pool, orders(0, 0, 0))
    assert F.tolist() == [0, 10, 20]
    assert not failures


def test_an_attempt_after_a_death_has_the_same_x_and_seed(tmp_path):
    def dies_twice(x, seed):
        with open(tmp_path / f"{int(x[0])}", "a+") as attempts:
            attempts.write(f"{x.tolist()} {seed}\n")
            attempts.seek(0)
            if len(attempts.readlines()) < 3:
                attempts.flush()
                os._exit(1)
        return float(seed)

    evaluator = make_evaluator("pool", problem(dies_twice), 2)
    F, failures = evaluated(evaluator, points(2), seeds=[2**62, 7])
    evaluator.close()
    assert F.tolist() == [2.0**62, 7.0]
    assert not failures
    for file in tmp_path.iterdir():
        lines = file.read_text().splitlines()
        assert len(lines) == 3
        assert len(set(lines)) == 1


def test_the_life_of_a_pool_leaves_no_process_and_no_file(tmp_path):
    """Lambdas and closures travel, large rows come through, and nothing stays behind."""
    offset, dim = 3.0, 300_000
    files = len(os.listdir("/proc/self/fd"))
    evaluator = make_evaluator("pool", problem(lambda x: float(x.sum()) + offset, dim), 2)
    assert len(os.listdir("/proc/self/fd")) == files  # started when there is work
    X = np.ones((5, dim)) * np.arange(5)[:, None]
    F, _ = evaluated(evaluator, X)
    assert F.tolist() == [dim * i + offset for i in range(5)]
    assert not evaluator._done
    assert not evaluator._queue
    processes = [worker.process for worker in evaluator._workers]
    evaluator.close()
    evaluator.close()
    assert all(process.returncode == 0 for process in processes)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == files
    for process in processes:
        assert not Path(f"/proc/{process.pid}").exists()


def test_close_kills_a_busy_worker_and_what_it_started(tmp_path):
    def starts_a_program(x):
        program = subprocess.Popen(["sleep", "1000"])
        (tmp_path / "pid.new").write_text(str(program.pid))
        (tmp_path / "pid.new").rename(tmp_path / "pid")
        time.sleep(1000)

    evaluator = make_evaluator("pool", problem(starts_a_program), 1)
    evaluator.submit(np.array([0]), points(1), None, None)
    end = time.monotonic() + PATIENCE
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < end
        evaluator.poll(0.02)
    evaluator.close()
    assert gone(int((tmp_path / "pid").read_text()))


def gone(pid):
    """Whether a process ends within some seconds; a zombie counts as ended."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


SETTINGS = """
import os, signal, threadpoolctl
def settings(x):
    import numpy
    if x[0] == 0: return float(os.environ["OMP_NUM_THREADS"])
    if x[0] == 3: return float(max(p["num_threads"] for p in threadpoolctl.threadpool_info()))
    return float(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""


def test_a_worker_has_one_thread_and_leaves_ctrl_c_to_its_parent(tmp_path, monkeypatch):
    (tmp_path / "ev_settings.py").write_text(SETTINGS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    from ev_settings import settings

    evaluator = make_evaluator("pool", problem(settings), 1)
    assert evaluated(evaluator, points(3))[0].tolist() == [1, 1, 1]
    evaluator.close()


SCRIPT = """
import os, sys, time
import numpy as np
from evoopt.evaluators import make_evaluator
from evoopt.problem import FunctionProblem
print("main runs", flush=True)
class Offset:
    value = 1.0
def objective(x):
    print("worker", os.getpid(), flush=True)
    time.sleep(1000 if x[0] > 5 else 0)
    return float(x[0]) + Offset.value
pool = make_evaluator("pool", FunctionProblem(objective, 1, np.zeros(1), np.ones(1)), 1)
pool.submit(np.arange(1), np.zeros((1, 1)), None, None)
print("value", pool.poll(60).values.F[0], flush=True)
pool.submit(np.arange(1), np.full((1, 1), 9.0), None, None)
pool.poll(1000)
"""


def test_a_script_without_main_guard_works_and_its_workers_die_with_it(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    script = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    with script:
        lines = [script.stdout.readline().split() for _ in range(4)]
        script.kill()
        rest = script.stdout.read()  # ends when the worker has ended, too
    assert [line[0] for line in lines] == ["main", "worker", "value", "worker"]
    assert lines[2] == ["value", "1.0"]
    assert rest == ""
    assert gone(int(lines[1][1]))


def test_an_objective_that_cannot_be_pickled_is_refused_in_one_line():
    lock = threading.Lock()
    with pytest.raises(ConfigurationError) as refusal:
        make_evaluator("pool", problem(lambda x: lock), 1)
    assert "cannot be sent to worker processes: cannot pickle '_thread.lock'" in str(refusal.value)
    assert "\n" not in str(refusal.value)


class Unloadable:
    """Pickles here, and does in a worker whatever `text` says."""

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return exec, (self.text,)

    def __call__(self, x):
        return 0.0


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "import ev_absent",
            ConfigurationError,
            "ModuleNotFoundError: No module named 'ev_absent'",
        ),
        (
            "import os; os._exit(7)",
            EvooptError,
            "10 worker processes died while they started, with ",
        ),
    ],
)
def test_workers_that_cannot_load_the_problem_end_the_search_in_one_line(text, error, message):
    evaluator = make_evaluator("pool", problem(Unloadable(text)), 2)
    with pytest.raises(error) as refusal:
        evaluated(evaluator, points(4))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not evaluator._workers
    evaluator.close()

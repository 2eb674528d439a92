"""Worker processes: every task is done once, and nobody is left behind, however it ends.

Tasks are expressions and the work is `eval`: something that a new process finds by its name.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evoopt.errors import Interrupted, StateError
from evoopt_bench.crew import alone_in, run_tasks, stoppable

# a crew at two tasks that never end, each of which writes its process id; how they take SIGTERM
# is the first argument
ENDLESS = """
import ctypes, os, signal, sys, time
from pathlib import Path
from evoopt.errors import Interrupted
from evoopt_bench import crew

def work(name):
    if sys.argv[1] == "polite":
        signal.signal(signal.SIGTERM, lambda *_: (Path(name + ".bye").touch(), os._exit(0)))
    if sys.argv[1] == "stuck":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(name).write_text(str(os.getpid()))
    if sys.argv[1] == "stuck":
        ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock: no handler, no thread runs
    time.sleep(600)

if __name__ == "__main__":
    crew.PATIENCE_SECONDS = 0.2 if sys.argv[1] == "stuck" else 60
    try:
        crew.run_tasks(["a", "b"], work, workers=2, folder=Path(), done=lambda task, result: None)
    except Interrupted as error:
        sys.exit(error.exit_code)
"""


def _pids(folder: Path, timeout: float = 30.0) -> list[int]:
    """The process ids of both workers, once they are at their tasks."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        texts = [path.read_text() for path in (folder / "a", folder / "b") if path.exists()]
        if len(texts) == 2 and all(texts):
            return [int(text) for text in texts]
        time.sleep(0.02)
    raise AssertionError("the workers did not begin")


def _all_gone(pids: list[int], timeout: float = 10.0) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _endless(folder: Path, manner: str) -> subprocess.Popen[str]:
    script = folder / "endless.py"
    script.write_text(ENDLESS)
    return subprocess.Popen([sys.executable, str(script), manner], cwd=folder, text=True)


def test_every_task_is_done_once_by_no_more_processes_than_asked_for(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    tasks = [f"({k} ** 2, __import__('os').getpid())" for k in range(20)]
    run_tasks(tasks, eval, workers=2, folder=tmp_path, done=seen.__setitem__)
    assert sorted(seen) == sorted(tasks)
    assert [seen[task][0] for task in tasks] == [k**2 for k in range(20)]
    assert len({pid for _, pid in seen.values()} - {os.getpid()}) == 2
    assert _all_gone([pid for _, pid in seen.values()])


def test_no_task_needs_no_worker(tmp_path: Path) -> None:
    run_tasks([], eval, workers=2, folder=tmp_path, done=lambda task, result: None)


def test_what_a_task_raises_is_raised_with_the_place_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_tasks(["1", "1 / 0"], eval, workers=1, folder=tmp_path, done=lambda task, result: None)
    (note,) = caught.value.__notes__
    assert "in the worker process, at 1 / 0" in note
    assert "Traceback" in note


def test_a_task_whose_worker_died_is_begun_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    first_time = f"(open({str(mark)!r}, 'x').close(), __import__('os')._exit(7))"
    once = f"'done' if __import__('os').path.exists({str(mark)!r}) else {first_time}"
    seen: dict[str, str] = {}
    run_tasks([once, "'other'"], eval, workers=1, folder=tmp_path, done=seen.__setitem__)
    assert seen == {once: "done", "'other'": "other"}
    assert mark.exists()


def test_a_task_whose_workers_always_die_is_given_up_with_the_reason(tmp_path: Path) -> None:
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    with pytest.raises(StateError, match="its worker process died 3 times, last by signal 9"):
        run_tasks([kill], eval, workers=1, folder=tmp_path, done=lambda task, result: None)


def test_a_second_crew_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path),
        pytest.raises(StateError, match="in use by another process"),
        alone_in(tmp_path),
    ):
        raise AssertionError("two are alone")
    with alone_in(tmp_path):
        pass  # it is free again


def test_a_crew_waits_for_the_last_worker_of_the_one_before(tmp_path: Path) -> None:
    code = f"""
import fcntl, time, pathlib
file = open({str(tmp_path / ".workers")!r}, "a")
fcntl.flock(file, fcntl.LOCK_SH)
pathlib.Path({str(tmp_path / "here")!r}).touch()
time.sleep(0.15)
pathlib.Path({str(tmp_path / "left")!r}).touch()
"""
    holder = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "here").exists():
        time.sleep(0.01)
    with alone_in(tmp_path):
        assert (tmp_path / "left").exists()
    holder.wait()


def test_workers_hold_their_share_of_the_folder_while_they_live(tmp_path: Path) -> None:
    parent = _endless(tmp_path, "polite")
    _pids(tmp_path)
    with (tmp_path / ".workers").open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    parent.kill()
    parent.wait()
    with alone_in(tmp_path):  # waits until they are gone
        pass


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["sigint", "sigterm"]
)
def test_a_signal_ends_all_workers_and_says_which_signal_it_was(
    tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    parent = _endless(tmp_path, "polite")
    pids = _pids(tmp_path)
    parent.send_signal(signum)
    assert parent.wait(timeout=30) == code
    assert not any(_alive(pid) for pid in pids)
    assert (tmp_path / "a.bye").exists()  # they were asked, not killed
    assert (tmp_path / "b.bye").exists()


def test_workers_that_do_not_listen_are_killed(tmp_path: Path) -> None:
    parent = _endless(tmp_path, "stuck")
    pids = _pids(tmp_path)
    parent.terminate()
    assert parent.wait(timeout=30) == 143
    assert not any(_alive(pid) for pid in pids)


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["sigint", "sigterm"]
)
def test_a_stoppable_step_is_left_where_the_signal_finds_it(
    signum: signal.Signals, code: int
) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as caught, stoppable():
        signal.raise_signal(signum)
    assert caught.value.exit_code == code
    assert signal.getsignal(signum) == before


@pytest.mark.parametrize("manner", ["polite", "stuck"])
def test_workers_die_with_a_parent_that_was_killed(tmp_path: Path, manner: str) -> None:
    parent = _endless(tmp_path, manner)
    pids = _pids(tmp_path)
    parent.kill()
    parent.wait()
    assert _all_gone(pids)


def test_the_terminal_s_signals_reach_the_parent_alone(tmp_path: Path) -> None:
    seen: list[int] = []
    run_tasks(
        ["__import__('os').getpgrp()"],
        eval,
        workers=1,
        folder=tmp_path,
        done=lambda task, result: seen.append(result),
    )
    assert seen != [os.getpgrp()]


def test_handlers_of_signals_are_set_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run_tasks(["1"], eval, workers=1, folder=tmp_path, done=lambda task, result: None)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

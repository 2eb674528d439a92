"""One writer at a time; the lock ends with its holder, and with a failed open."""

import os
import signal
import time

import pytest

from evoopt.errors import StateError
from evoopt.rundir import RunDirectory
from evoopt.rundir.files import make_folder

FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 on threads


@pytest.fixture
def folder(tmp_path):
    RunDirectory.create(tmp_path / "run", {}).close()
    return tmp_path / "run"


def open_files():
    return len(os.listdir("/dev/fd"))


def test_a_second_writer_is_refused_at_once_and_readers_are_not(folder):
    files = open_files()
    with RunDirectory.open(folder) as directory:
        for _ in range(3):
            with pytest.raises(StateError, match=rf"{folder} is in use by .*process"):
                RunDirectory.open(folder)
        assert RunDirectory.read(folder).count == 1
        directory.append("eval", {})
    RunDirectory.open(folder).close()
    assert open_files() == files


def test_the_creator_has_the_lock(tmp_path):
    with RunDirectory.create(tmp_path / "run", {}), pytest.raises(StateError, match="in use"):
        RunDirectory.open(tmp_path / "run")


def test_of_two_that_found_the_folder_empty_one_creates_the_run(tmp_path, monkeypatch):
    rivals = []

    def make_folder_slowly(path):
        make_folder(path)
        if not rivals:
            rivals.append(path)
            rivals.append(RunDirectory.create(path, {"rival": True}))

    monkeypatch.setattr("evoopt.rundir.directory.make_folder", make_folder_slowly)
    with pytest.raises(StateError, match="File exists"):
        RunDirectory.create(tmp_path / "run", {})
    rivals[1].close()
    assert RunDirectory.read(tmp_path / "run").manifest["rival"] is True


def test_the_holder_is_named_where_the_system_tells(folder, tmp_path, monkeypatch):
    log = (folder / "log.jsonl").stat()
    place = f"{os.major(log.st_dev):02x}:{os.minor(log.st_dev):02x}:{log.st_ino}"
    other = (
        f"1: POSIX  ADVISORY  WRITE 7 {place} 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 00:01:2 0 EOF\n"
    )
    locks = tmp_path / "locks"
    monkeypatch.setattr("evoopt.rundir.lock._PROC_LOCKS", locks)
    with RunDirectory.open(folder):
        with pytest.raises(StateError, match="in use by another process;"):
            RunDirectory.open(folder)
        locks.write_text(other + f"3: FLOCK  ADVISORY  WRITE 4242 {place} 0 EOF\n")
        with pytest.raises(StateError, match="in use by process 4242;"):
            RunDirectory.open(folder)


def test_a_failed_open_leaks_neither_lock_nor_file(folder):
    files = open_files()
    log, manifest = folder / "log.jsonl", folder / "manifest.json"
    good = log.read_bytes(), manifest.read_bytes()
    failed = 0
    for bad in ((b"x" + good[0], good[1]), (good[0], b"{}"), (b"", good[1])):
        log.write_bytes(bad[0])
        manifest.write_bytes(bad[1])
        for _ in range(2):
            with pytest.raises(StateError, match=r"damaged|does not match|no record"):
                RunDirectory.open(folder)
            failed += 1
        log.write_bytes(good[0])
        manifest.write_bytes(good[1])
        RunDirectory.open(folder).close()
    assert failed == 6
    assert open_files() == files


def test_a_failed_create_leaks_neither_lock_nor_file(tmp_path, disk):
    files = open_files()
    with disk(1, "enospc"), pytest.raises(StateError, match="No space"):
        RunDirectory.create(tmp_path / "run", {})
    assert list((tmp_path / "run").iterdir()) == []
    RunDirectory.create(tmp_path / "run", {}).close()
    assert open_files() == files


@FORKS
def test_a_killed_writer_frees_the_lock_and_its_flushed_records_stay(folder):
    child = os.fork()
    if child == 0:
        directory = RunDirectory.open(folder)
        directory.append("eval", {"i": 1})
        directory.flush()
        directory.append("eval", {"i": 2})
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with RunDirectory.open(folder) as directory:
        assert [r.get("i") for r in directory.records()] == [None, 1]


@FORKS
def test_workers_that_outlive_a_killed_writer_do_not_keep_the_lock(folder):
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        with RunDirectory.open(folder):
            if os.fork() == 0:
                os.write(send, b"%d" % os.getpid())
            time.sleep(60)
    worker = int(os.read(receive, 20))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        RunDirectory.open(folder).close()
    finally:
        os.kill(worker, signal.SIGKILL)
        os.close(receive)
        os.close(send)


@FORKS
def test_a_forked_child_cannot_write(folder):
    with RunDirectory.open(folder) as directory:
        directory.append("eval", {"i": 1})
        child = os.fork()
        if child == 0:
            try:
                directory.append("eval", {"i": 2})
            except StateError:
                directory.close()
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        directory.append("eval", {"i": 3})
    assert [r.get("i") for r in RunDirectory.read(folder).records()] == [None, 1, 3]

"""Every call that changes the disk fails once, in every way: nothing acknowledged is lost."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from evoopt.errors import StateError
from evoopt.rundir import RunDirectory, verify
from evoopt.rundir.files import write_atomic

pytestmark = pytest.mark.usefixtures("clock")  # the cadence adds no calls

MANIFEST = {"algorithm": "cma-es", "seed": 1}
RESULT = {"f": 0.5}


@dataclass
class Witness:
    """What the run had been promised when it ended."""

    directory: RunDirectory | None = None
    acknowledged: int = 0
    snapshot: int = 0
    has_result: bool = False


def run(path, durability, witness):
    """A short run that meets every kind of write; record i has the field i."""
    directory = witness.directory = RunDirectory.create(path, MANIFEST, durability=durability)
    witness.acknowledged = 1
    for i in range(1, 13):
        directory.append("eval", {"i": i}, seconds=0.1 if i == 4 else 0.0)
        if i % 3 == 0:
            directory.flush()
            witness.acknowledged = directory.count
        if i % 4 == 0:
            directory.save_snapshot({"mean": np.full(3, float(i))}, {"i": i})
            witness.acknowledged = witness.snapshot = directory.count
    directory.write_result(RESULT)
    witness.has_result = True
    directory.append("stop", {"i": 13})
    directory.close()
    witness.acknowledged = 14


def fail(disk, path, durability, crash):
    """Run on a failing disk until the process is gone. Returns: what it had been promised."""
    witness = Witness()
    try:
        with disk:
            run(path, durability, witness)
    except (StateError, crash, KeyboardInterrupt):
        pass
    if witness.directory:
        witness.directory.let_go()
    return witness


def check(path, witness):
    """Open what is left, compare it with the promises, go on, and open it again."""
    with RunDirectory.open(path) as directory:
        found = [r["i"] for r in directory.records() if r["t"] in ("eval", "stop")]
        assert found == list(range(1, len(found) + 1))
        assert len(found) + 1 >= witness.acknowledged
        snapshot = directory.latest_snapshot()
        assert (snapshot.sequence if snapshot else 0) >= witness.snapshot
        if snapshot:
            assert snapshot.meta == {"i": snapshot.sequence - 1}
            assert snapshot.arrays["mean"].tolist() == [snapshot.meta["i"]] * 3
        result = directory.result()
        assert result == RESULT or (result is None and not witness.has_result)
        directory.append("eval", {"i": len(found) + 1})
    report = verify(path)
    assert report.is_sound
    assert report.torn == 0
    assert not any(fault for name, fault in report.snapshots.items() if name.endswith(".npz"))


def places(disk, path, durability, fault):
    """The calls of a whole run, counted from 1, that `fault` can befall."""
    with disk() as counting:
        run(path, durability, Witness())
    assert len(counting.events) > 25
    calls = enumerate((call for call, _ in counting.events), 1)
    return [at for at, call in calls if call == "write" or fault not in ("short", "eintr")]


@pytest.mark.parametrize("durability", ["auto", "eval", "none"])
@pytest.mark.parametrize("fault", ["crash", "enospc", "eio", "full", "short"])
def test_no_acknowledged_record_is_lost_whichever_call_fails(
    tmp_path, disk, crash, fault, durability
):
    calls = places(disk, tmp_path / "whole", durability, fault)
    tries = 3 if fault in ("crash", "eio") else 1  # these keep a random part of a write
    unborn = checked = 0
    for at, seed in itertools.product(calls, range(tries)):
        path = tmp_path / f"{at}-{seed}"
        failing = disk(at, fault, seed)
        witness = fail(failing, path, durability, crash)
        assert failing.has_met
        with disk():
            if witness.directory:
                check(path, witness)
                checked += 1
            else:
                unborn += 1
                if fault != "crash":
                    RunDirectory.create(path, MANIFEST).close()  # nothing is in the way
    assert checked + unborn == tries * len(calls)
    assert checked > 2 * unborn


def test_a_crash_during_the_repair_of_a_torn_tail_can_be_repaired(tmp_path, disk, crash):
    whole = tmp_path / "whole"
    with disk():
        run(whole, "none", Witness())
    log = (whole / "log.jsonl").read_bytes()
    checked = 0
    for cut, at in itertools.product((1, 2, 50), range(1, 6)):
        path = tmp_path / f"{cut}-{at}"
        path.mkdir()
        (path / "manifest.json").write_bytes((whole / "manifest.json").read_bytes())
        (path / "log.jsonl").write_bytes(log[:-cut])
        failing = disk(at, "crash")
        try:
            with failing:
                RunDirectory.open(path).close()
        except crash:
            checked += 1
        with disk():
            check(path, Witness(acknowledged=13))
    assert checked == 15


def test_a_signal_before_any_call_is_not_noticed(tmp_path, disk):
    calls = places(disk, tmp_path / "whole", "none", "eintr")
    assert len(calls) >= 10
    for at in calls:
        with disk(at, "eintr") as failing:
            run(tmp_path / f"{at}", "none", Witness())
        assert failing.has_met
        log = (tmp_path / f"{at}" / "log.jsonl").read_bytes()
        assert log == (tmp_path / "whole" / "log.jsonl").read_bytes()


def test_a_whole_file_is_written_in_as_many_parts_as_the_system_takes(tmp_path, disk):
    with disk(1, "short") as failing:
        write_atomic(tmp_path / "file", b"0123456789")
    assert [call for call, _ in failing.events] == ["write", "write", "fsync", "replace", "fsync"]
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_an_interrupt_during_a_write_leaves_the_records_waiting_once(tmp_path, disk):
    with disk() as counting:
        directory = RunDirectory.create(tmp_path / "run", MANIFEST)
        directory.append("eval", {"i": 1})
        counting.at, counting.fault = len(counting.events) + 1, "ctrl-c"
        with pytest.raises(KeyboardInterrupt):
            directory.flush()
        directory.append("eval", {"i": 2})
        directory.close()
    records = list(RunDirectory.read(tmp_path / "run").records())
    assert [r.get("i") for r in records] == [None, 1, 2]


def test_a_full_disk_is_named_with_its_free_space_and_ends_the_writing(tmp_path, disk):
    with disk() as failing:
        directory = RunDirectory.create(tmp_path / "run", MANIFEST)
        failing.at, failing.fault = len(failing.events) + 1, "enospc"
        directory.append("eval", {"i": 1})
        with pytest.raises(StateError, match=r"log\.jsonl cannot be written: No space.* MB free"):
            directory.flush()
        with pytest.raises(StateError, match="No space"):
            directory.append("eval", {"i": 2})
        with pytest.raises(StateError, match="No space"):
            directory.flush()
        directory.close()
        assert RunDirectory.read(tmp_path / "run").count == 1


def test_a_failed_sync_is_never_tried_again(tmp_path, disk):
    with disk() as failing:
        directory = RunDirectory.create(tmp_path / "run", MANIFEST)
        directory.append("eval", {"i": 1})
        failing.at, failing.fault = len(failing.events) + 2, "eio"
        with pytest.raises(StateError, match="Input/output error"):
            directory.sync()
        calls = len(failing.events)
        with pytest.raises(StateError, match="Input/output error"):
            directory.sync()
        directory.close()
        assert len(failing.events) == calls

"""Verifying changes nothing; repairing copies what is valid."""

import shutil

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir import RunDirectory, repair, verify

pytestmark = pytest.mark.usefixtures("sound_disk")


@pytest.fixture
def folder(tmp_path):
    """A run of 9 records with snapshots after 5 and 8 of them, and a result."""
    with RunDirectory.create(tmp_path / "run", {"seed": 1}) as directory:
        for i in range(1, 9):
            directory.append("gen", {"evaluations": 10 * i})
            if i in (4, 7):
                directory.save_snapshot({"a": np.full(2, i)}, {"i": i})
        directory.write_result({"f": 1.0})
    return tmp_path / "run"


def content(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def damage(folder, record):
    """Flip a bit in a record. Returns: the byte where the record starts."""
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    start = sum(map(len, lines[:record]))
    log = bytearray(b"".join(lines))
    log[start + 20] ^= 4
    (folder / "log.jsonl").write_bytes(log)
    return start


def test_a_sound_run_is_found_sound(folder):
    report = verify(folder)
    assert report.is_sound
    assert (report.records, report.kinds) == (9, {"header": 1, "gen": 8})
    assert report.evaluations == 80
    assert report.valid == report.size == (folder / "log.jsonl").stat().st_size
    assert (report.torn, report.damage, report.manifest) == (0, "", "")
    assert report.snapshots == {"0000000005.npz": "", "0000000008.npz": ""}


def test_damage_is_reported_with_its_place_and_nothing_is_changed(folder):
    start = damage(folder, 6)
    before = content(folder)
    report = verify(folder)
    assert not report.is_sound
    assert (report.records, report.evaluations, report.valid) == (6, 50, start)
    assert f"damaged at byte {start}, record 6" in report.damage
    assert report.snapshots["0000000005.npz"] == ""
    assert "ahead of the log, which has 6 valid" in report.snapshots["0000000008.npz"]
    assert content(folder) == before


def test_a_torn_tail_is_reported_and_left(folder):
    log = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(log[:-5])
    before = content(folder)
    report = verify(folder)
    assert report.is_sound
    assert report.records == 8
    assert report.torn == report.size - report.valid > 0
    assert content(folder) == before


def test_a_changed_manifest_and_a_bad_snapshot_are_reported(folder):
    (folder / "manifest.json").write_text("{}")
    (folder / "snapshots" / "0000000005.npz").write_bytes(b"x")
    (folder / "snapshots" / "0000000008.npz.tmp").write_bytes(b"x")
    report = verify(folder)
    assert "does not match the log header" in report.manifest
    assert not report.is_sound
    assert "checksum" in report.snapshots["0000000005.npz"]
    assert report.snapshots["0000000008.npz.tmp"] == "it is no snapshot"


def test_a_run_without_records_is_reported_not_raised(folder):
    (folder / "log.jsonl").write_bytes(b"")
    report = verify(folder)
    assert report.records == 0
    assert "no record of a run" in report.manifest
    with pytest.raises(StateError, match="no run directory"):
        verify(folder / "snapshots")


def test_a_repaired_copy_has_all_valid_records_and_goes_on(folder, tmp_path):
    damage(folder, 6)
    before = content(folder)
    with repair(folder, tmp_path / "copy") as copy:
        copy.append("gen", {"evaluations": 60})
        assert copy.latest_snapshot().sequence == 5
    assert content(folder) == before
    records = list(RunDirectory.read(tmp_path / "copy").records())
    assert [r.get("evaluations") for r in records] == [None, 10, 20, 30, 40, 50, None, 60]
    assert (records[6]["note"], records[6]["records_kept"]) == ("copied", 6)
    assert verify(tmp_path / "copy").is_sound
    assert not (tmp_path / "copy" / "result.json").exists()


@pytest.mark.parametrize(("last", "snapshot"), [(0, None), (4, 5), (8, 8), (None, 8)])
def test_a_copy_can_end_at_any_valid_record(folder, tmp_path, last, snapshot):
    with repair(folder, tmp_path / "copy", to_record=last) as copy:
        assert copy.count == (9 if last is None else last + 1) + 1
        found = copy.latest_snapshot()
    assert (found and found.sequence) == snapshot


def test_a_torn_tail_or_a_missing_newline_is_no_hindrance(folder, tmp_path):
    log = (folder / "log.jsonl").read_bytes()
    for cut, kept in ((1, 9), (2, 8)):
        (folder / "log.jsonl").write_bytes(log[:-cut])
        with repair(folder, tmp_path / f"copy{cut}") as copy:
            assert copy.count == kept + 1


def test_a_repair_that_cannot_be_is_refused(folder, tmp_path):
    damage(folder, 6)
    for last in (6, 100, -1):
        with pytest.raises(ConfigurationError, match=rf"records 0 to 5; got {last}"):
            repair(folder, tmp_path / "copy", to_record=last)
    with pytest.raises(StateError, match="is not empty"):
        repair(folder, folder)
    damage(folder, 0)
    with pytest.raises(StateError, match="damaged at byte 0"):
        repair(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    shutil.rmtree(folder)

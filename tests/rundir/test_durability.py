"""When records reach the system and the disk, and in which order files are made safe."""

import numpy as np
import pytest

from evoopt.errors import ConfigurationError
from evoopt.rundir import RunDirectory

pytestmark = pytest.mark.usefixtures("clock")

LOG = "log.jsonl"
WRITTEN_AND_SYNCED = [("write", LOG), ("fdatasync", LOG)]


def start(path, disk, durability):
    directory = RunDirectory.create(path / "run", {}, durability=durability)
    disk.events.clear()
    return directory


def test_a_file_is_synced_before_its_rename_and_its_folder_after(tmp_path, sound_disk):
    directory = start(tmp_path, sound_disk, "none")
    directory.write_result({"f": 1.0})
    written = [("write", "result.json.tmp"), ("fsync", "result.json.tmp")]
    renamed = [("replace", "result.json"), ("fsync", "run")]
    assert sound_disk.events[-4:] == written + renamed
    directory.save_snapshot({"a": np.zeros(2)}, {})
    name = "0000000001.npz"
    written = [("write", f"{name}.tmp"), ("fsync", f"{name}.tmp")]
    assert sound_disk.events[-4:] == [*written, ("replace", name), ("fsync", "snapshots")]
    directory.close()


def test_a_new_run_is_on_disk_when_create_returns(tmp_path, sound_disk):
    RunDirectory.create(tmp_path / "run", {}).close()
    assert sound_disk.events[:8] == [
        ("write", "manifest.json.tmp"),
        ("fsync", "manifest.json.tmp"),
        ("replace", "manifest.json"),
        ("fsync", "run"),
        *WRITTEN_AND_SYNCED,
        ("fsync", "run"),
        ("fsync", tmp_path.name),
    ]


def test_the_log_is_synced_before_a_snapshot_and_a_result_are_written(tmp_path, sound_disk):
    directory = start(tmp_path, sound_disk, "auto")
    directory.append("eval", {})
    directory.save_snapshot({}, {})
    assert sound_disk.events[:2] == WRITTEN_AND_SYNCED
    directory.append("eval", {})
    sound_disk.events.clear()
    directory.write_result({})
    assert sound_disk.events[:2] == WRITTEN_AND_SYNCED
    directory.close()


def test_auto_syncs_at_once_after_an_evaluation_above_50_ms_only(tmp_path, sound_disk, clock):
    directory = start(tmp_path, sound_disk, "auto")
    directory.append("eval", {}, seconds=0.05)
    directory.append("eval", {})
    assert sound_disk.events == []
    directory.append("eval", {}, seconds=0.051)
    assert sound_disk.events == WRITTEN_AND_SYNCED
    directory.close()


def test_auto_syncs_when_the_first_unsynced_record_is_50_ms_old(tmp_path, sound_disk, clock):
    directory = start(tmp_path, sound_disk, "auto")
    directory.append("eval", {})
    directory.flush()  # an acknowledgement, no sync: the cadence goes on
    clock.now += 0.049
    directory.append("eval", {})
    assert sound_disk.events == [("write", LOG)]
    clock.now += 0.0011
    directory.append("eval", {})
    assert sound_disk.events == [("write", LOG), *WRITTEN_AND_SYNCED]
    clock.now += 0.049
    directory.append("eval", {})
    assert len(sound_disk.events) == 3
    directory.close()


def test_auto_writes_when_a_megabyte_waits(tmp_path, sound_disk, clock):
    directory = start(tmp_path, sound_disk, "auto")
    directory.append("eval", {"text": "x" * 1_000_000})
    assert sound_disk.events == []
    directory.append("eval", {"text": "x" * 100_000})
    assert sound_disk.events == WRITTEN_AND_SYNCED
    directory.close()


def test_eval_syncs_every_record(tmp_path, sound_disk, clock):
    directory = start(tmp_path, sound_disk, "eval")
    for _ in range(3):
        directory.append("eval", {})
    assert sound_disk.events == 3 * WRITTEN_AND_SYNCED
    directory.close()


def test_none_writes_at_the_cadence_and_never_syncs_by_itself(tmp_path, sound_disk, clock):
    directory = start(tmp_path, sound_disk, "none")
    directory.append("eval", {})
    clock.now += 0.06
    directory.append("eval", {}, seconds=1.0)
    directory.append("eval", {})
    directory.close()
    assert sound_disk.events == [("write", LOG)] * 2


def test_several_records_are_one_write(tmp_path, sound_disk, clock):
    directory = start(tmp_path, sound_disk, "auto")
    for _ in range(5):
        directory.append("eval", {})
    directory.flush()
    directory.flush()
    assert sound_disk.events == [("write", LOG)]
    directory.close()


def test_an_unknown_durability_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="auto, eval, none; got 'often'"):
        RunDirectory.create(tmp_path / "run", {}, durability="often")
    with pytest.raises(ConfigurationError, match="auto, eval, none; got 'often'"):
        RunDirectory.open(tmp_path / "run", durability="often")
    assert not (tmp_path / "run").exists()

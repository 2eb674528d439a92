"""What a run directory accepts, keeps and refuses."""

import json
import os
import stat

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir import RunDirectory

pytestmark = pytest.mark.usefixtures("sound_disk")


@pytest.fixture
def folder(tmp_path):
    """A closed run with two records after its header."""
    with RunDirectory.create(tmp_path / "run", {"seed": 1}) as directory:
        directory.append("eval", {"i": 1})
        directory.append("eval", {"i": 2})
    return tmp_path / "run"


def test_what_was_written_is_read_back(folder):
    with RunDirectory.open(folder) as directory:
        directory.append("eval", {"i": 3})
        assert [r.get("i") for r in directory.records()] == [None, 1, 2, 3]
        assert directory.result() is None
        directory.write_result({"f": 0.1})
    directory = RunDirectory.read(folder)
    assert directory.manifest == {"seed": 1, "format_version": 1}
    assert directory.count == 4
    assert directory.result() == {"f": 0.1}
    assert not directory.repaired


def test_files_are_private_to_the_user(folder):
    with RunDirectory.open(folder) as directory:
        directory.save_snapshot({}, {})
        directory.write_result({})
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [folder, *folder.rglob("*")]}
    assert modes == {
        "run": 0o700,
        "snapshots": 0o700,
        "0000000003.npz": 0o600,
        "log.jsonl": 0o600,
        "manifest.json": 0o600,
        "result.json": 0o600,
    }


def test_an_empty_folder_is_used_and_made_private(tmp_path):
    (tmp_path / "run").mkdir(mode=0o755)
    RunDirectory.create(tmp_path / "run", {}).close()
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


def test_a_folder_in_use_is_refused_with_the_way_out(folder, tmp_path):
    with pytest.raises(StateError, match=rf"not empty; go on with: evoopt resume {folder}, or"):
        RunDirectory.create(folder, {})
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="exists"):
        RunDirectory.create(tmp_path / "link", {})
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be made"):
        RunDirectory.create(tmp_path / "file", {})


BAD_NAMES = ["", "..", "a b", "a\nb", "a\0b", "\u202ename", "x" * 101, "<script>", "run;rm"]
DEVICES = ["con", "NUL", "aux.txt", "com1", "LPT9.log"]


@pytest.mark.parametrize("name", BAD_NAMES + DEVICES)
def test_a_name_that_is_not_plain_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="must end in a name") as caught:
        RunDirectory.create(f"{tmp_path}/deep/{name}" if name else "", {})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "x" * 100, "2026-01-31_run.v2", "console", "-"])
def test_a_plain_name_is_taken(tmp_path, name):
    RunDirectory.create(tmp_path / "parents" / name, {}).close()
    assert RunDirectory.read(tmp_path / "parents" / name).count == 1


def test_a_manifest_that_is_no_json_is_refused_before_anything_is_made(tmp_path):
    for manifest in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(ConfigurationError, match=r"manifest\.json must hold JSON"):
            RunDirectory.create(tmp_path / "run", manifest)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_manifest_is_found(folder):
    text = (folder / "manifest.json").read_text()
    refused = 0
    for changed in (text.replace('"seed": 1', '"seed": 2'), text + " ", "", "{}"):
        (folder / "manifest.json").write_text(changed)
        with pytest.raises(StateError, match=r"manifest\.json does not match the log header"):
            RunDirectory.open(folder)
        refused += 1
    (folder / "manifest.json").unlink()
    with pytest.raises(StateError, match=r"manifest\.json cannot be opened: No such file"):
        RunDirectory.read(folder)
    (folder / "manifest.json").write_text(text)
    assert RunDirectory.read(folder).count == 3
    assert refused == 4


def test_a_newer_format_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr("evoopt.rundir.header.FORMAT_VERSION", 2)
    RunDirectory.create(tmp_path / "run", {}).close()
    monkeypatch.undo()
    for access in (RunDirectory.open, RunDirectory.read):
        with pytest.raises(
            StateError, match=r"format version 2; .* reads up to 1: install a newer"
        ):
            access(tmp_path / "run")


def test_a_run_that_never_began_says_so(folder):
    (folder / "log.jsonl").write_bytes(b"")
    with pytest.raises(StateError, match="ended before its first evaluation; remove it"):
        RunDirectory.open(folder)
    (folder / "log.jsonl").unlink()
    with pytest.raises(StateError, match=r"no run directory: it has no log\.jsonl"):
        RunDirectory.open(folder)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_is_neither_followed_nor_waited_for(folder, kind):
    log = folder / "log.jsonl"
    log.rename(folder / "real")
    if kind == "link":
        log.symlink_to("real")
    elif kind == "pipe":
        os.mkfifo(log)
    else:
        log.mkdir()
    for access in (RunDirectory.open, RunDirectory.read):
        with pytest.raises(StateError, match=r"log\.jsonl (cannot be opened|is not a regular)"):
            access(folder)


def test_fields_that_cannot_be_written_change_nothing(folder):
    loop = []
    loop.append(loop)
    refused = 0
    with RunDirectory.open(folder) as directory:
        for fields in (
            {"k": 1},
            {"p": ""},
            {"t": ""},
            {"f": float("nan")},
            {"x": b""},
            {"l": loop},
        ):
            with pytest.raises(ConfigurationError, match="append"):
                directory.append("eval", fields)
            refused += 1
        assert directory.count == 3
        directory.append("eval", {"i": 3})
    assert RunDirectory.read(folder).count == 4
    assert refused == 6


def test_a_directory_that_is_closed_or_for_reading_writes_nothing(folder):
    before = (folder / "log.jsonl").read_bytes()
    closed = RunDirectory.open(folder)
    closed.close()
    closed.close()
    for directory in (closed, RunDirectory.read(folder)):
        for write in (
            lambda d: d.append("eval", {}),
            lambda d: d.flush(),
            lambda d: d.sync(),
            lambda d: d.save_snapshot({}, {}),
            lambda d: d.write_result({}),
        ):
            with pytest.raises(StateError, match="is not open for writing: use"):
                write(directory)
    assert (folder / "log.jsonl").read_bytes() == before


def test_a_reader_meets_what_was_flushed_by_a_living_writer(folder):
    with RunDirectory.open(folder) as directory:
        directory.append("eval", {"i": 3})
        assert RunDirectory.read(folder).count == 3
        directory.flush()
        assert RunDirectory.read(folder).count == 4


def test_the_newest_two_snapshots_are_kept(folder):
    with RunDirectory.open(folder) as directory:
        for i in range(4):
            directory.append("eval", {})
            directory.save_snapshot({"a": np.full(2, i)}, {"i": i})
        (folder / "snapshots" / "0000000009.npz.tmp").touch()
        directory.save_snapshot({"a": np.full(2, 9)}, {"i": 9})
        names = sorted(p.name for p in (folder / "snapshots").iterdir())
        latest = directory.latest_snapshot()
    assert names == ["0000000006.npz", "0000000007.npz"]
    assert (latest.sequence, latest.meta) == (7, {"i": 9})
    assert latest.arrays["a"].tolist() == [9, 9]


def test_a_damaged_result_is_one_line(folder):
    (folder / "result.json").write_text("[1]")
    with pytest.raises(StateError, match="must hold a JSON object; it holds a list"):
        RunDirectory.read(folder).result()
    (folder / "result.json").write_text("{")
    with pytest.raises(StateError, match="is not valid JSON"):
        RunDirectory.read(folder).result()


def test_a_file_that_would_fill_the_memory_is_refused(folder):
    os.truncate(folder / "manifest.json", 1 << 40)  # takes no space on disk
    with pytest.raises(StateError, match=f"must have at most {1 << 26} bytes; it has {1 << 40}"):
        RunDirectory.read(folder)


def test_the_manifest_is_plain_json(folder):
    assert json.loads((folder / "manifest.json").read_text()) == {"seed": 1, "format_version": 1}

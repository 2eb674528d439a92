"""A snapshot is exact, found damaged in any bit, and never taken for that of another log."""

import io
import os
import shutil
import zipfile
import zlib

import numpy as np
import pytest

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir import RunDirectory, snapshot

pytestmark = pytest.mark.usefixtures("sound_disk")

ARRAYS = {
    "mean": np.array([0.1, -0.0, np.nan, np.inf]),
    "C": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "file": np.array(3, dtype=">i2"),
    "meta": np.zeros((0, 4), np.float32),
    "allow_pickle": np.array(["a", "bc"]),
}


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("trap-has-sprung",))


@pytest.fixture
def folder(tmp_path):
    """A run of 9 records with snapshots after 5 and 8 of them."""
    with RunDirectory.create(tmp_path / "run", {}) as directory:
        for i in range(1, 9):
            directory.append("eval", {"i": i})
            if i in (4, 7):
                directory.save_snapshot({"a": np.full(2, i)}, {"i": i})
    return tmp_path / "run"


def latest(folder):
    found = RunDirectory.read(folder).latest_snapshot()
    return found and found.sequence


def test_arrays_come_back_bit_for_bit_in_their_order(tmp_path):
    snapshot.save(tmp_path / "s.npz", ARRAYS, {"k": [1, None, "ä"]})
    arrays, meta = snapshot.load(tmp_path / "s.npz")
    assert meta == {"k": [1, None, "ä"]}
    assert list(arrays) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        got = arrays[name]
        assert (got.dtype, got.shape, got.tobytes("A")) == (
            expected.dtype,
            expected.shape,
            expected.tobytes("A"),
        )
        assert got.flags.c_contiguous == expected.flags.c_contiguous


def test_numpy_opens_a_snapshot_as_it_is(tmp_path):
    snapshot.save(tmp_path / "s.npz", {"C": ARRAYS["C"]}, {})
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        assert (file["array.C"] == ARRAYS["C"]).all()


def test_no_flipped_bit_of_a_snapshot_passes_unseen(tmp_path):
    path = tmp_path / "s.npz"
    snapshot.save(path, {"a": np.arange(2.0)}, {"k": 1})
    data = bytearray(path.read_bytes())
    found = 0
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(data)):
            file.seek(bit // 8)
            file.write(bytes([data[bit // 8] ^ 1 << bit % 8]))
            with pytest.raises(StateError, match="its checksum does not match"):
                snapshot.load(path)
            file.seek(bit // 8)
            file.write(data[bit // 8 : bit // 8 + 1])
            found += 1
    assert found == 8 * len(data) > 4000
    snapshot.load(path)


def test_a_snapshot_cut_at_any_byte_is_found(tmp_path):
    path = tmp_path / "s.npz"
    snapshot.save(path, {"a": np.arange(2.0)}, {"k": 1})
    found = 0
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        with pytest.raises(StateError, match=r"checksum|not a snapshot"):
            snapshot.load(path)
        found += 1
    assert found > 500


def test_python_objects_are_neither_saved_nor_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = np.array([Trap()], dtype=object)
    with pytest.raises(ConfigurationError, match="must hold no Python objects"):
        snapshot.save(tmp_path / "s.npz", {"a": trap}, {})
    buffer = io.BytesIO()
    np.savez(buffer, meta=np.frombuffer(b"{}", np.uint8), **{"array.a": trap})
    (tmp_path / "s.npz").write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(StateError, match="is not a snapshot"):
        snapshot.load(tmp_path / "s.npz")
    assert not (tmp_path / "trap-has-sprung").exists()


def sealed(data):
    return data + b"%08x" % zlib.crc32(data)


def npy(shape, dtype="<f8"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def forged(entries, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return sealed(buffer.getvalue())


META = npy((2,), "|u1") + b"{}"
FORGERIES = {
    "empty": b"",
    "no archive": sealed(b"hello"),
    "no meta": forged({"array.a.npy": npy((0,))}),
    "meta is no array": forged({"meta": b"{}"}),
    "meta is no JSON": forged({"meta.npy": npy((2,), "|u1") + b"{{"}),
    "deep JSON": forged({"meta.npy": npy((10**5,), "|u1") + b"[" * 10**5}),
    "a bomb": forged({"meta.npy": META, "array.a.npy": bytes(10**6)}, zipfile.ZIP_DEFLATED),
    "too few bytes": forged({"meta.npy": META, "array.a.npy": npy((3,)) + bytes(8)}),
    "a shape of 8 EB": forged({"meta.npy": META, "array.a.npy": npy((10**18,))}),
    "code as a header": forged({"meta.npy": META, "array.a.npy": npy("__import__('os').abort()")}),
    "no header": forged({"meta.npy": META, "array.a.npy": b"\x93NUMPY"}),
}


@pytest.mark.parametrize("data", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_snapshot_is_refused_without_harm(tmp_path, data):
    (tmp_path / "s.npz").write_bytes(data)
    with pytest.raises(StateError, match=r"checksum|not a snapshot"):
        snapshot.load(tmp_path / "s.npz")


def test_the_older_snapshot_stands_in_for_a_damaged_newer_one(folder):
    assert latest(folder) == 8
    newest, older = (folder / "snapshots" / f"000000000{k}.npz" for k in (8, 5))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert latest(folder) == 5
    older.unlink()
    assert latest(folder) is None
    shutil.rmtree(folder / "snapshots")
    assert latest(folder) is None


def test_a_snapshot_ahead_of_the_log_is_ignored(folder):
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "log.jsonl").write_bytes(b"".join(lines[:8]))
    assert latest(folder) == 8
    (folder / "log.jsonl").write_bytes(b"".join(lines[:7]))
    assert latest(folder) == 5


def test_a_snapshot_of_another_log_or_place_is_ignored(folder, tmp_path):
    with RunDirectory.create(tmp_path / "other", {"another": "run"}) as directory:
        for i in range(1, 9):
            directory.append("eval", {"i": i})
        assert directory.count == 9
        shutil.copytree(folder / "snapshots", tmp_path / "other" / "snapshots")
        assert directory.latest_snapshot() is None
    newest = folder / "snapshots" / "0000000008.npz"
    newest.rename(newest.with_name("0000000007.npz"))
    assert latest(folder) == 5


def test_files_of_other_names_among_the_snapshots_are_ignored(folder):
    for name in ("9.npz", "0000000009.npz.tmp", "000000000x.npz", "readme"):
        (folder / "snapshots" / name).write_text("x")
    assert latest(folder) == 8

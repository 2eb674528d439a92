"""A log says where it is damaged; only what a crash can leave at its end is mended."""

import io
import json
import zlib
from pathlib import Path

import pytest

from evoopt.errors import StateError
from evoopt.rundir import RunDirectory
from evoopt.rundir.records import LogReader

PATH = Path("log.jsonl")


@pytest.fixture
def folder(tmp_path, sound_disk):
    """A closed run of seven records after its header."""
    with RunDirectory.create(tmp_path / "run", {"seed": 1}) as directory:
        for i in range(7):
            directory.append("eval", {"i": i, "f": 0.1 * i, "text": "näh\n"})
    return tmp_path / "run"


def read(data):
    reader = LogReader(io.BytesIO(data), PATH)
    return list(reader.records()), reader


def line_of(k, previous, text):
    body = b'{"k":%d,"p":"%08x","t":"x"%s}' % (k, previous, text)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def test_a_log_cut_at_any_byte_keeps_every_whole_record(folder):
    log = (folder / "log.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(log) if byte == ord("\n")]
    checked = 0
    for cut in range(len(log) + 1):
        records, reader = read(log[:cut])
        whole = sum(end - 1 <= cut for end in ends)  # its newline alone may be missing
        assert [r["k"] for r in records] == list(range(whole))
        assert reader.end + reader.torn == cut
        checked += 1
    assert checked == len(log) + 1 > 700


def test_a_directory_cut_at_any_byte_of_its_last_two_records_goes_on(folder):
    log = (folder / "log.jsonl").read_bytes()
    lines = log.splitlines(keepends=True)
    ends = [len(b"".join(lines[: i + 1])) for i in range(8)]
    checked = 0
    for cut in range(ends[5], ends[7]):
        (folder / "log.jsonl").write_bytes(log[:cut])
        kept = sum(end - 1 <= cut for end in ends)
        with RunDirectory.open(folder) as directory:
            records = list(directory.records())
            directory.append("eval", {"i": kept})
        assert [r["k"] for r in records[:kept]] == list(range(kept))
        if directory.repaired:
            note = {"note": "repaired", "bytes_cut": max(0, cut - ends[kept - 1])}
            assert {key: records[kept][key] for key in note} == note
        assert directory.repaired is (cut not in ends)
        assert RunDirectory.read(folder).count == kept + directory.repaired + 1
        checked += 1
    assert checked == len(lines[6]) + len(lines[7])


def test_no_flipped_bit_passes_unseen(folder):
    log = bytearray((folder / "log.jsonl").read_bytes())
    refused = kept = 0
    for bit in range(8 * len(log)):
        log[bit // 8] ^= 1 << bit % 8
        try:
            records, reader = read(bytes(log))
        except StateError as error:
            refused += "damaged at byte" in str(error)
        else:  # the newline of the last record: a tail to be mended, and no record is lost
            assert bit // 8 == len(log) - 1
            assert len(records) == 8
            assert (reader.unterminated, reader.torn) == (True, 1)
            kept += 1
        log[bit // 8] ^= 1 << bit % 8
    assert (refused, kept) == (8 * len(log) - 8, 8)


def test_a_flip_is_reported_with_the_byte_where_its_record_starts(folder):
    log = bytearray((folder / "log.jsonl").read_bytes())
    start = log.index(b"\n") + 1
    log[start + 30] ^= 1
    (folder / "log.jsonl").write_bytes(log)
    with pytest.raises(StateError, match=f"damaged at byte {start}, record 1: its checksum"):
        RunDirectory.open(folder)
    assert (folder / "log.jsonl").read_bytes() == log


def test_repeated_lost_and_swapped_records_are_refused(folder):
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    n = len(lines)
    repeated = [[*lines[: i + 1], *lines[i:]] for i in range(n)]
    lost = [[*lines[:i], *lines[i + 1 :]] for i in range(n - 1)]  # a lost end is a shorter log
    swapped = [
        [*lines[:i], lines[j], *lines[i + 1 : j], lines[i], *lines[j + 1 :]]
        for i in range(n)
        for j in range(i + 1, n)
    ]
    refused = 0
    for damaged in repeated + lost + swapped:
        with pytest.raises(StateError, match="does not continue the chain"):
            read(b"".join(damaged))
        refused += 1
    assert refused == n + (n - 1) + n * (n - 1) // 2 == 43


def test_a_record_of_another_log_is_refused(folder):
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    with pytest.raises(StateError, match="record 3: it does not continue the chain"):
        read(b"".join([*lines[:3], line_of(3, 12345, b""), *lines[4:]]))


@pytest.mark.parametrize("text", [b"%08X ", b" %07x ", b"%08x\t", b"0x%06x ", b"%08x  "])
def test_a_checksum_in_another_spelling_is_refused(text):
    start = line_of(0, 0, b"")
    for i in range(1000):  # a checksum with a letter and a leading zero, which the spellings need
        body = b'{"k":1,"p":"%s","t":"x","i":%d}' % (start[:8], i)
        crc = zlib.crc32(body)
        if crc < 1 << 24 and any(c in b"abcdef" for c in b"%x" % crc):
            break
    assert len(read(start + b"%08x %s\n" % (crc, body))[0]) == 2
    with pytest.raises(StateError, match="record 1: its checksum does not match"):
        read(start + text % crc + body + b"\n")


def test_a_last_line_with_a_newline_and_a_wrong_checksum_is_damage(folder):
    log = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(log[:-3] + b"\n")
    with pytest.raises(StateError, match="record 7: its checksum does not match"):
        RunDirectory.open(folder)


@pytest.mark.parametrize("text", [b',"v":NaN', b',"v":', b',"v":"\xff"', b',"v":' + 10**5 * b"["])
def test_a_valid_checksum_over_what_is_no_json_is_one_line(text):
    with pytest.raises(StateError, match="cannot be decoded") as caught:
        read(line_of(0, 0, text))
    assert "\n" not in str(caught.value)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr("evoopt.rundir.records.RECORD_LIMIT", 100)
    with pytest.raises(StateError, match="longer than 100 bytes"):
        read(b"x" * 101)


def test_each_line_is_a_checksum_and_plain_json(folder):
    lines = (folder / "log.jsonl").read_text("ascii").splitlines()
    previous = "00000000"
    for k, line in enumerate(lines):
        checksum, text = line.split(" ", 1)
        record = json.loads(text)
        assert list(record)[:3] == ["k", "p", "t"]
        assert (record["k"], record["p"]) == (k, previous)
        assert checksum == f"{zlib.crc32(text.encode()):08x}"
        previous = checksum
    assert len(lines) == 8
    assert json.loads(lines[1].split(" ", 1)[1])["text"] == "näh\n"

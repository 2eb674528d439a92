"""Corpora: what is read, how it is split, and that no copy is taken for what it is not."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from evoopt.errors import ConfigurationError, EvooptError, StateError
from evoopt_llm import corpusfile, pieces
from evoopt_llm.corpus import Corpus, DataSettings, open_corpus
from evoopt_llm.markov import Source

Opened = tuple[Corpus, DataSettings]


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty files of lines that tell which they are, in two folders."""
    top = tmp_path / "texts"
    (top / "inner").mkdir(parents=True)
    for number in range(60):
        place = top / "inner" if number % 2 else top
        (place / f"{number:02}.txt").write_text(f"file {number}\n" * (number + 1))
    return top


def made(settings: DataSettings) -> Path:
    """The folder of the only copy in the cache."""
    assert settings.cache is not None
    (only,) = Path(settings.cache).iterdir()
    return only


def whole(corpus: Corpus) -> bytes:
    return corpus.train.tobytes() + corpus.valid.tobytes()


def test_the_standard_library_is_split_by_the_hashes_of_its_files(cache):
    corpus = open_corpus(DataSettings(cache=cache))
    top = Path(sysconfig.get_path("stdlib"))
    names = {name: [f.name for f in corpus.files if f.part == name] for name in ("train", "valid")}
    assert {"ast.py", "asyncio/__init__.py", "json/decoder.py"} <= {f.name for f in corpus.files}
    for part, data in (("train", corpus.train), ("valid", corpus.valid)):
        assert names[part] == sorted(names[part])
        assert data.tobytes() == b"".join((top / name).read_bytes() for name in names[part])
    for file in corpus.files:
        data = (top / file.name).read_bytes()
        assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        held_out = int(file.sha256, 16) / 2**256 < 0.1
        assert file.part == ("valid" if held_out else "train")


def test_the_standard_library_comes_without_tests_and_without_what_was_installed(cache):
    for file in open_corpus(DataSettings(cache=cache)).files:
        folders = set(file.name.split("/")[:-1])
        assert not folders & {"test", "tests", "idle_test", "site-packages", "dist-packages"}
        assert file.name.endswith(".py")
        assert not file.name.startswith("_sysconfigdata")


def test_the_share_of_files_held_out_is_the_share_asked_for(tmp_path, cache):
    """2000 files of one length, within five standard deviations: a false alarm in 1 of 10^6."""
    top = tmp_path / "many"
    top.mkdir()
    for number in range(2000):
        (top / f"{number}").write_text(f"{number:04}")
    corpus = open_corpus(DataSettings(kind="path", path=str(top), holdout=0.25, cache=cache))
    assert abs(len(corpus.valid) / 8000 - 0.25) < 5 * (0.25 * 0.75 / 2000) ** 0.5


def test_copies_of_a_file_lie_on_one_side(folder, cache):
    for name in ("00", "07", "31", "58"):
        (source,) = folder.rglob(f"{name}.txt")
        shutil.copy(source, folder / f"copy of {name}.txt")
    parts: dict[str, set[str]] = {}
    for file in open_corpus(DataSettings(kind="path", path=str(folder), cache=cache)).files:
        parts.setdefault(file.sha256, set()).add(file.part)
    assert len(parts) == 60
    assert all(len(sides) == 1 for sides in parts.values())


def test_a_file_is_split_at_its_tail(tmp_path, cache):
    text = tmp_path / "book.txt"
    text.write_bytes(b"0123456789" * 30)
    corpus = open_corpus(DataSettings(kind="path", path=str(text), holdout=0.25, cache=cache))
    assert (len(corpus.train), len(corpus.valid)) == (225, 75)
    assert whole(corpus) == text.read_bytes()
    assert (corpus.name, corpus.files[0].part) == ("book.txt", "both")


def test_the_tail_of_a_folder_is_that_of_its_files_in_the_order_of_their_names(folder, cache):
    settings = DataSettings(kind="path", path=str(folder), split="tail", holdout=0.5, cache=cache)
    corpus = open_corpus(settings)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.txt"))
    assert [file.name for file in corpus.files] == names
    assert whole(corpus) == b"".join((folder / name).read_bytes() for name in names)
    assert [file.part for file in corpus.files].count("both") <= 1


def test_packed_files_are_unpacked(tmp_path, cache):
    data = bytes(range(128)) * 20_000  # several chunks
    for name in ("a.txt.gz", "b.dict.dz"):
        (tmp_path / name).write_bytes(gzip.compress(data, 1))
        corpus = open_corpus(DataSettings(kind="path", path=str(tmp_path / name), cache=cache))
        assert whole(corpus) == data
        assert corpus.files[0].size_bytes == len(data)


def test_any_bytes_are_taken_where_the_name_ends_in_bin(tmp_path, cache):
    data = bytes(range(256)) * 4
    (tmp_path / "x.bin").write_bytes(data)
    (tmp_path / "x.bin.gz").write_bytes(gzip.compress(data))
    for name in ("x.bin", "x.bin.gz"):
        settings = DataSettings(kind="path", path=str(tmp_path / name), cache=cache)
        assert whole(open_corpus(settings)) == data


def test_a_character_may_lie_across_two_chunks(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(pieces, "_CHUNK", 3)
    text = tmp_path / "text"
    text.write_text("größer 字 " * 20, encoding="utf-8")
    settings = DataSettings(kind="path", path=str(text), cache=cache)
    assert whole(open_corpus(settings)) == text.read_bytes()


def test_hidden_files_and_those_of_other_names_are_left_out(folder, cache):
    (folder / ".git").mkdir()
    (folder / ".git/config.txt").write_text("hidden")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "picture.png").write_bytes(b"\xff\xd8")
    os.mkfifo(folder / "pipe.txt")
    (folder / "nowhere.txt").symlink_to("gone")
    settings = DataSettings(kind="path", path=str(folder), files="*.txt", cache=cache)
    assert len(open_corpus(settings).files) == 60


def test_the_dictionary_is_split_at_its_last_fiftieth(tmp_path, cache):
    data = b"headword \\pron\\ a definition\x92\n" * 1000  # as there, not quite UTF-8
    (tmp_path / "gcide.dict.dz").write_bytes(gzip.compress(data))
    path = str(tmp_path / "gcide.dict.dz")
    corpus = open_corpus(DataSettings(kind="gcide", path=path, cache=cache))
    assert len(corpus.valid) == 600
    assert whole(corpus) == data


def test_a_markov_corpus_is_what_the_source_draws(cache):
    settings = DataSettings(kind="markov", states=5, order=2, seed=4, size=3000, cache=cache)
    corpus = open_corpus(settings)
    assert whole(corpus) == Source(5, 4, order=2).draw(3000).tobytes()
    assert len(corpus.valid) == 300


def test_the_digest_depends_on_contents_and_split_and_not_on_place_or_time(folder, tmp_path, cache):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "00.txt").touch()
    digests = [
        open_corpus(DataSettings(kind="path", path=str(path), holdout=share, cache=cache)).digest
        for path, share in ((folder, 0.1), (elsewhere, 0.1), (folder, 0.5))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_corpus_whose_files_have_changed_is_read_again(folder, cache):
    settings = DataSettings(kind="path", path=str(folder), cache=cache)
    before = open_corpus(settings)
    with (folder / "00.txt").open("a") as file:
        file.write("more\n")
    after = open_corpus(settings)
    assert after.digest != before.digest
    assert len(whole(after)) == len(whole(before)) + 5


def test_a_copy_is_made_once(folder, cache, monkeypatch):
    settings = DataSettings(kind="path", path=str(folder), cache=cache)
    before = open_corpus(settings)
    monkeypatch.setattr(corpusfile, "make", None)  # not to be called
    after = open_corpus(settings)
    assert (after.digest, after.files, whole(after)) == (before.digest, before.files, whole(before))
    assert isinstance(after.train, np.memmap)


def test_copies_are_kept_in_the_cache_folder_of_the_user(folder, tmp_path, monkeypatch):
    settings = DataSettings(kind="path", path=str(folder))
    for variable, value, place in (
        ("XDG_CACHE_HOME", str(tmp_path / "xdg"), tmp_path / "xdg"),
        ("HOME", str(tmp_path / "home"), tmp_path / "home/.cache"),
    ):
        monkeypatch.setenv(variable, value)
        open_corpus(settings)
        assert len(list((place / "evoopt/corpora").iterdir())) == 1
        monkeypatch.setenv("XDG_CACHE_HOME", "")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def move_the_boundary(path: Path) -> None:
    manifest = json.loads(path.read_text())
    manifest["train_bytes"] += 1
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("data.bin", flip),
        ("data.bin", lambda path: os.truncate(path, 100)),
        ("data.bin", lambda path: os.truncate(path, 0)),
        ("data.bin", Path.unlink),
        ("manifest.json", flip),
        ("manifest.json", move_the_boundary),
        ("manifest.json", lambda path: path.write_text("[]")),
        ("manifest.json", lambda path: path.write_bytes(b"\xff")),
        ("manifest.json", Path.unlink),
    ],
)
def test_a_damaged_copy_is_made_again(folder, cache, name, damage):
    settings = DataSettings(kind="path", path=str(folder), cache=cache)
    before = open_corpus(settings)
    expected = before.digest, whole(before)
    file = made(settings) / name
    right = file.read_bytes()
    damage(file)
    after = open_corpus(settings)
    assert (after.digest, whole(after)) == expected
    assert file.read_bytes() == right
    assert {path.name for path in made(settings).iterdir()} == {"data.bin", "lock", "manifest.json"}


@pytest.mark.parametrize("name", ["data.bin", "manifest.json"])
def test_a_crash_at_a_rename_leaves_nothing_that_counts(folder, cache, monkeypatch, name):
    settings = DataSettings(kind="path", path=str(folder), cache=cache)
    replace = os.replace

    def crash(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            open_corpus(settings)
    assert corpusfile.kept(made(settings)) is None
    assert not (made(settings) / "data.bin.tmp").exists()
    assert len(open_corpus(settings).files) == 60


def test_of_two_who_open_a_corpus_at_once_one_makes_it(folder, cache, monkeypatch):
    settings = DataSettings(kind="path", path=str(folder), cache=cache)
    make, kept = corpusfile.make, corpusfile.kept
    calls, digests = [], []
    both_looked = threading.Barrier(2)
    looked = threading.local()

    def kept_after_both_looked(place):
        found = kept(place)
        if not hasattr(looked, "once"):
            looked.once = True
            both_looked.wait(30)
        return found

    monkeypatch.setattr(corpusfile, "kept", kept_after_both_looked)
    monkeypatch.setattr(corpusfile, "make", lambda *a: (calls.append(1), make(*a)))
    threads = [
        threading.Thread(target=lambda: digests.append(open_corpus(settings).digest))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1
    assert len(digests) == 2
    assert digests[0] == digests[1]


def test_a_file_that_changes_while_it_is_read_is_noticed(folder, cache, monkeypatch):
    chunks, first = pieces.Piece.chunks, folder / "00.txt"

    def grow(piece):
        yield from chunks(piece)
        with first.open("a") as file:
            file.write("more")

    monkeypatch.setattr(pieces.Piece, "chunks", grow)
    with pytest.raises(StateError, match=r"00\.txt changed while the corpus was read"):
        open_corpus(DataSettings(kind="path", path=str(folder), cache=cache))


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda t: {"path": str(t / "no")}, r"must be a file or a folder; .*no does not exist"),
        (lambda t: {"path": "/dev/null"}, r"must be a file or a folder; /dev/null is neither"),
        (lambda t: {"path": str(t), "files": "*.x"}, r"must match a file in .*; '\*\.x' matches"),
        (lambda t: {"path": written(t / "a", b"\xff")}, r"must hold UTF-8 text; .* \.bin to take"),
        (lambda t: {"path": written(t / "a", b"ab\xe5")}, r"must hold UTF-8 text; .*unexpected"),
        (lambda t: {"path": written(t / "a.gz", b"no")}, r"damaged or not packed by gzip"),
        (
            lambda t: {"path": written(t / "a.gz", gzip.compress(b"text" * 99)[:-9])},
            r"damaged or not packed by gzip .*; fetch it again",
        ),
        (lambda t: {"path": written(t / "a", b"")}, r"leave bytes on both sides; .* 0 held out"),
        (
            lambda t: {"path": written(t / "a", b"a")[:-1], "split": "files"},
            r"by files gives .* split = 'tail' takes the last bytes",
        ),
        (lambda t: {"kind": "gcide", "path": str(t / "g")}, r"apt-get install dict-gcide"),
        (
            lambda t: {"path": written(t / "a", b"text"), "cache": str(t / "a")},
            r"DataSettings\(cache=\.\.\.\) must be a folder that can be written to; .*Not a dir",
        ),
        (
            lambda t: {"path": "~nosuch/x"},
            r"\(path=\.\.\.\) must be a path; '~nosuch/x': there is no",
        ),
        (lambda t: {"path": "a\0b"}, r"\(path=\.\.\.\) must be a path; 'a\\x00b': it has a zero"),
        (lambda t: {"path": "x" * 5000}, r"\(path=\.\.\.\) must be a path; .*too long"),
        (
            lambda t: {"path": written(t / "a", b"text"), "cache": "~nosuch/x"},
            r"\(cache=\.\.\.\) must be a path; '~nosuch/x': there is no home folder",
        ),
        (
            lambda t: {"path": written(t / "a", b"text"), "cache": "a\0b"},
            r"\(cache=\.\.\.\) must be a path; 'a\\x00b': it has a zero",
        ),
        (lambda t: {"kind": "gcide", "path": "~nosuch/x"}, r"\(path=\.\.\.\) must be a path; "),
    ],
)
def test_a_corpus_that_cannot_be_had_is_refused_in_one_line(tmp_path, arrange, message):
    (tmp_path / "in").mkdir()
    settings = {"kind": "path", "cache": str(tmp_path / "cache"), **arrange(tmp_path / "in")}
    with pytest.raises(EvooptError, match=message) as caught:
        open_corpus(DataSettings(**settings))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, StateError if "damaged" in message else ConfigurationError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "x"}, "path is for kind path or gcide; got kind stdlib"),
        ({"kind": "path"}, "kind path needs path"),
        ({"kind": "gcide", "split": "files"}, "split is for kind stdlib or path; got kind gcide"),
        ({"states": 5}, "states is for kind markov"),
        ({"kind": "markov", "states": 64, "order": 2}, "at most 1024"),
        ({"holdout": 1.0}, "less than 1"),
        ({"pattern": "*"}, "Extra inputs"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        DataSettings(**settings)


@pytest.mark.parametrize("kind", ["stdlib", "gcide", "markov"])
def test_settings_written_out_in_full_are_read_back(kind):
    settings = DataSettings(kind=kind)
    assert DataSettings.model_validate_json(settings.model_dump_json()) == settings
    assert DataSettings.model_validate(settings.model_dump()) == settings

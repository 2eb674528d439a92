"""Corpora as bytes: read once, split into a training and a held-out part, kept in a cache folder.

What there is without a download: the sources of Python's standard library; any file or folder;
Debian's dictionary dict-gcide where it is installed; a Markov source (`markov`). When not: more
than a disk holds, or text that is to be cut into other tokens than bytes.
Cost: the files are read when they are first used, and the kept copy whenever it is opened, to check
its SHA-256; then it is mapped into memory.

Splits. "files": a file is held out if its SHA-256, read as a fraction, lies below `holdout`: so the
split depends on contents alone, and copies of a file lie on one side. "tail": the last share of the
bytes. Files follow one another in the order of their names, with nothing between them.

The kept copy is named by what it was made from: the settings, and the name, size and time of change
of each file. So a corpus whose files have changed is read again; a copy that is damaged is made
again. The standard library differs between versions of Python: compare losses where `digest` is
equal.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from evoopt.errors import ConfigurationError, StateError
from evoopt_llm import corpusfile, pieces
from evoopt_llm.corpusfile import File, Named, Split
from evoopt_llm.markov import MOST_CONTEXTS, Source
from evoopt_llm.settings import Settings

Bytes = NDArray[np.uint8]

_FORMAT = 1  # of the kept copy; another number is another copy
_HOLDOUT = {"stdlib": 0.1, "path": 0.1, "gcide": 0.02, "markov": 0.1}
_TAKES = {  # what a kind takes beside kind, holdout and cache
    "stdlib": {"split"},
    "path": {"path", "files", "split"},
    "gcide": {"path"},
    "markov": {"states", "order", "size", "seed"},
}


class DataSettings(Settings):
    """Which corpus, how it is split, and where its copy is kept."""

    kind: Literal["stdlib", "path", "gcide", "markov"] = Field(
        "stdlib",
        description="the standard library's sources, files of yours, Debian's dictionary "
        "dict-gcide, or a Markov source of known entropy",
    )
    path: str | None = Field(
        None,
        description="path: a file or folder, UTF-8 unless it ends in .bin, .gz is unpacked; "
        "gcide: where gcide.dict.dz lies if not where Debian puts it",
    )
    files: str = Field("*", description="path: names of the files in the folder, such as *.txt")
    split: Split | None = Field(
        None,
        description="what is held out: whole files, chosen by their contents, or the tail of the "
        "bytes; by default files of a folder, tail of a file",
    )
    holdout: float | None = Field(
        None, gt=0, lt=1, description="share held out; by default 0.1, of gcide 0.02"
    )
    states: int = Field(32, ge=2, le=256, description="markov: how many byte values occur")
    order: int = Field(1, ge=1, le=10, description="markov: how many bytes back the source looks")
    size: int = Field(1_000_000, ge=100, le=10**9, description="markov: bytes")
    seed: int = Field(0, ge=0, lt=2**64, description="markov: of the source and its bytes")
    cache: str | None = Field(
        None,
        description="folder of the kept copies; by default evoopt/corpora in XDG_CACHE_HOME or "
        "~/.cache",
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        takes = {"kind", "holdout", "cache", *_TAKES[self.kind]}
        for name, field in type(self).model_fields.items():
            if name not in takes and getattr(self, name) != field.default:
                kinds = " or ".join(kind for kind, names in _TAKES.items() if name in names)
                raise ValueError(f"{name} is for kind {kinds}; got kind {self.kind}")
        if self.kind == "path" and self.path is None:
            raise ValueError("kind path needs path, a file or a folder")
        if self.states**self.order > MOST_CONTEXTS:
            raise ValueError(f"states^order must be at most {MOST_CONTEXTS}")
        return self


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus, split; not to be written to.

    Attributes:
        name: what it is, for a table.
        train, valid: (n,) bytes, mapped into memory.
        digest: SHA-256 of the list of files and of all bytes; equal means the same data and split.
        files: what it was made from, in the order of the bytes.
    """

    name: str
    train: Bytes
    valid: Bytes
    digest: str
    files: tuple[File, ...]


class _Content(NamedTuple):
    """What a corpus is to be made from, and what a copy of it is known by."""

    name: str
    parts: list[Named]
    split: Split
    stamps: list[Any]


def open_corpus(settings: DataSettings) -> Corpus:
    """The corpus, made and kept if it is not there yet; of several processes, one makes it.

    Raises:
        ConfigurationError: the corpus is missing, is not text, cannot be split, or cannot be kept.
        StateError: a packed file is damaged, or a file changed while it was read.
    """
    content = _content(settings)
    holdout = settings.holdout or _HOLDOUT[settings.kind]
    made_from = [_FORMAT, settings.kind, content.split, holdout, content.stamps]
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    folder = _cache(settings) / f"{settings.kind}-{key}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copy = corpusfile.kept(folder)
        if copy is None:
            with corpusfile.locked(folder):
                copy = corpusfile.kept(folder)  # another process may have made it meanwhile
                if copy is None:
                    corpusfile.make(content.parts, content.split, holdout, folder)
                    copy = corpusfile.kept(folder)
    except OSError as error:
        raise ConfigurationError(
            f"DataSettings(cache=...) must be a folder that can be written to; {folder}: "
            f"{error.strerror}"
        ) from error
    if copy is None:
        raise StateError(f"{folder} does not give back what was written to it; check the disk")
    train, valid = copy.data[: copy.train_bytes], copy.data[copy.train_bytes :]
    return Corpus(content.name, train, valid, copy.digest, copy.files)


def _content(settings: DataSettings) -> _Content:
    if settings.kind == "markov":
        return _of_markov(settings)
    if settings.kind == "stdlib":
        name, found = "standard library", pieces.standard_library()
    elif settings.kind == "gcide":
        name, found = "gcide", pieces.gcide(settings.path)
    else:
        assert settings.path is not None  # the settings saw to it
        found = pieces.user_files(settings.path, settings.files)
        name = Path(settings.path).expanduser().resolve().name
    split: Split = settings.split or ("files" if len(found) > 1 else "tail")
    stamps = [[str(piece.path.resolve()), piece.name, *piece.stamp] for piece in found]
    return _Content(name, [Named(piece.name, piece.chunks) for piece in found], split, stamps)


def _of_markov(settings: DataSettings) -> _Content:
    source = Source(settings.states, settings.seed, settings.order)
    part = Named("markov.bin", lambda: iter([source.draw(settings.size).tobytes()]))
    name = f"markov({source.states} states, order {source.order}, seed {source.seed})"
    return _Content(name, [part], "tail", [source.states, source.order, source.seed, settings.size])


def _cache(settings: DataSettings) -> Path:
    if settings.cache is not None:
        return pieces.user_path("cache", settings.cache)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pieces.user_path("cache", home) / "evoopt" / "corpora"

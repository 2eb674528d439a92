"""The files that a corpus is made of: which they are, in which order, and their bytes in chunks.

A piece is a file as the corpus sees it: named relative to the corpus, unpacked if it ends in .gz or
.dz, and, where it is the user's, checked to be UTF-8 unless it ends in .bin or .bin.gz.
"""

from __future__ import annotations

import codecs
import gzip
import os
import sysconfig
import zlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from evoopt.checks import shown
from evoopt.errors import ConfigurationError, StateError

GCIDE = Path("/usr/share/dictd/gcide.dict.dz")  # where Debian's package dict-gcide puts it
_PACKED = (".gz", ".dz")
_CHUNK = 2**20  # bytes read at a time
# of the standard library: packages of others, and tests, which are much of the same text again
_NOT_THE_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
_BUILT = "_sysconfigdata"  # says how this Python was built, not what it does


class Piece(NamedTuple):
    """A file of a corpus.

    Attributes:
        name: relative to the corpus, with "/" on every system.
        path: where it lies.
        text: whether it must be UTF-8.
        stamp: size in bytes and time of the last change in ns; others after any change.
    """

    name: str
    path: Path
    text: bool
    stamp: tuple[int, int]

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, unpacked.

        Raises:
            ConfigurationError: it cannot be read, or is not UTF-8 where it must be.
            StateError: it is packed and damaged.
        """
        decoder = codecs.getincrementaldecoder("utf-8")() if self.text else None
        unpack = gzip.open if self.path.name.endswith(_PACKED) else open
        try:
            with unpack(self.path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    if decoder is not None:
                        decoder.decode(chunk)
                    yield chunk
            if decoder is not None:
                decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"DataSettings(path=...) must hold UTF-8 text; {self.path} does not "
                f"({error.reason}); leave it out by files = '*.txt', or call it .bin to take it "
                f"as bytes"
            ) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise StateError(
                f"{self.path} is damaged or not packed by gzip ({error}); fetch it again"
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"DataSettings(path=...) must hold files that can be read; {self.path}: "
                f"{error.strerror or error}"
            ) from error


def user_path(argument: str, text: str) -> Path:
    """The path that a user names, its ~ replaced.

    Raises:
        ConfigurationError: it can be no path; names `DataSettings(argument=...)`.
    """
    try:
        if "\0" in text:
            raise ValueError("it has a zero character")
        path = Path(text).expanduser()
        path.exists()  # raises where the system takes no such name
    except (RuntimeError, ValueError, OSError) as error:
        home = "there is no home folder for its ~" if isinstance(error, RuntimeError) else ""
        reason = getattr(error, "strerror", None) or home or str(error)
        raise ConfigurationError(
            f"DataSettings({argument}=...) must be a path; {shown(text)}: {reason}"
        ) from error
    return path


def standard_library() -> list[Piece]:
    """The .py files of this Python's standard library, without tests.

    Raises:
        ConfigurationError: this Python keeps them nowhere.
    """
    top = Path(sysconfig.get_path("stdlib"))
    names = [
        name
        for name in _names(top, skipped=_NOT_THE_LIBRARY)
        if name.endswith(".py") and not name.startswith(_BUILT)
    ]
    if not names:
        raise ConfigurationError(
            f"DataSettings(kind='stdlib') needs the sources of Python's standard library; {top} "
            f"has none; use kind = 'path' with a folder of text"
        )
    return [_piece(top, name, text=False) for name in names]


def user_files(path: str, pattern: str) -> list[Piece]:
    """A file, or all files of a folder whose name matches; hidden ones are left out.

    Raises:
        ConfigurationError: there is no such file or folder, or nothing in it matches.
    """
    top = user_path("path", path)
    if top.is_dir():
        names = [name for name in _names(top) if fnmatch(name.rpartition("/")[2], pattern)]
        if not names:
            raise ConfigurationError(
                f"DataSettings(files=...) must match a file in {top}; {pattern!r} matches none"
            )
        return [_piece(top, name) for name in names]
    if not top.is_file():
        state = "is neither" if top.exists() else "does not exist"
        raise ConfigurationError(
            f"DataSettings(path=...) must be a file or a folder; {top} {state}"
        )
    return [_piece(top.parent, top.name)]


def gcide(path: str | None) -> list[Piece]:
    """Debian's dictionary, the Collaborative International Dictionary of English (GPL).

    Raises:
        ConfigurationError: it is not there; says how to get it.
    """
    file = GCIDE if path is None else user_path("path", path)
    if not file.is_file():
        raise ConfigurationError(
            f"DataSettings(kind='gcide') needs the dictionary at {file}, which is not there; get "
            f"it by: apt-get install dict-gcide; or without installing: apt-get download "
            f"dict-gcide && dpkg-deb -x dict-gcide_*.deb . with path = '.{GCIDE}'"
        )
    return [_piece(file.parent, file.name, text=False)]  # a few bytes are of an older code page


def _names(top: Path, skipped: set[str] | None = None) -> list[str]:
    """All files below a folder, hidden and skipped ones left out, relative to it, in order."""
    names = []
    for folder, folders, files in os.walk(top, onerror=_refuse):
        folders[:] = [name for name in folders if name[0] != "." and name not in (skipped or ())]
        paths = [Path(folder, name) for name in files if name[0] != "."]
        # a pipe would be waited for, a link may lead nowhere
        names += [path.relative_to(top).as_posix() for path in paths if path.is_file()]
    return sorted(names)


def _refuse(error: OSError) -> None:
    raise ConfigurationError(
        f"DataSettings(path=...) must hold folders that can be read; {error.filename}: "
        f"{error.strerror}"
    ) from error


def _piece(top: Path, name: str, text: bool | None = None) -> Piece:
    path = top / name
    bare = path.with_suffix("") if name.endswith(_PACKED) else path
    status = path.stat()
    text = bare.suffix != ".bin" if text is None else text
    return Piece(name, path, text, (status.st_size, status.st_mtime_ns))

"""Reads the runs out of a COCO data set, an archive or a folder, of any of COCO's versions.

Each function and dimension has three lines in an .info file: settings, a comment, and the name of a
.dat file followed by ``, instance:evaluations|precision`` for each run. The .dat file has a block
for each run, begun by a line with %; a line of a block starts with the number of the evaluation,
another number, and the best precision so far. Nothing but text is read, and nothing is unpacked.
With two objectives a function and dimension have one line, and the second number of a line of a
block is the indicator.
"""

from __future__ import annotations

import functools
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from evoopt.errors import StateError
from evoopt_bench.biobj import INSTANCES
from evoopt_bench.targets import Run

_HEAD = re.compile(r"funcId = (?P<function>\d+), DIM = (?P<dim>\d+)")
_HEAD_OF_TWO = re.compile(
    r"function = *(?P<function>\d+), dim = *(?P<dim>\d+), (?P<file>\S+), (?P<told>.*)"
)
_NAME = re.compile(r"alg(?:Id|orithm) = '(?P<name>[^']*)'")
_RUN = re.compile(r"(\d+):(\d+)\|")


@dataclass(frozen=True, slots=True)
class DataSet:
    """The runs of one algorithm.

    Attributes:
        name: of the algorithm.
        runs: with f_opt 0: their values are precisions.
    """

    name: str
    runs: tuple[Run, ...]


def read_data(path: Path) -> DataSet:
    """The runs in a data set.

    Args:
        path: a folder, or a .tgz, .tar.gz or .tar.

    Raises:
        StateError: it is not there, or no COCO data set.
    """
    try:
        texts = dict(_folder(path) if path.is_dir() else _archive(path))
    except (OSError, tarfile.TarError) as error:
        raise StateError(f"{path} cannot be read as a COCO data set: {error}") from error
    runs: list[Run] = []
    names = set()
    for place, read in texts.items():
        if place.suffix == ".info":
            text = read()
            names |= {match["name"] for match in _NAME.finditer(text)}
            runs += _runs(place, text, texts)
    if not runs:
        raise StateError(f"{path} must hold a COCO data set; it has no .info file with runs")
    return DataSet(sorted(names)[0] if names else path.name.split(".")[0], tuple(runs))


Texts = dict[PurePosixPath, Callable[[], str]]


def _folder(path: Path) -> Iterator[tuple[PurePosixPath, Callable[[], str]]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in (".info", ".dat"):
            place = PurePosixPath(file.relative_to(path).as_posix())
            yield place, functools.partial(file.read_text, encoding="utf-8", errors="replace")


def _archive(path: Path) -> Iterator[tuple[PurePosixPath, Callable[[], str]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            place = PurePosixPath(member.name)
            if member.isfile() and place.suffix in (".info", ".dat"):
                file = archive.extractfile(member)
                assert file is not None  # it is a regular file
                text = file.read().decode(errors="replace")  # comments may hold anything
                yield place, lambda text=text: text  # type: ignore[misc]  # bound now


def _runs(info: PurePosixPath, text: str, texts: Texts) -> Iterator[Run]:
    """The runs that an .info file tells of."""
    function = dim = 0
    for line in text.splitlines():
        head, of_two = _HEAD.search(line), _HEAD_OF_TWO.match(line)
        if of_two is not None:
            yield from _runs_of_two(info, of_two, texts)
        elif head is not None:
            function, dim = int(head["function"]), int(head["dim"])
        elif not line.startswith(("%", "suite = ")) and "," in line:
            file, _, told = line.partition(",")
            place = info.parent / file.strip().replace("\\", "/")
            if place not in texts:
                raise StateError(f"{info} tells of {file.strip()}, which is not there")
            blocks = _blocks(texts[place]())
            for (instance, evaluations), (at, f) in zip(_RUN.findall(told), blocks, strict=False):
                numbers = np.array(at, dtype=np.int64), np.array(f)
                yield Run(function, dim, int(instance), int(evaluations), 0.0, *numbers)


def _runs_of_two(info: PurePosixPath, head: re.Match[str], texts: Texts) -> Iterator[Run]:
    """The runs on a function of two objectives; instances without a reference are left out."""
    place = info.with_name(info.name.removesuffix("_hyp.info")) / head["file"]
    if place not in texts:
        raise StateError(f"{info} tells of {head['file']}, which is not there")
    blocks = _blocks(texts[place](), column=1)
    for (instance, evaluations), (at, f) in zip(_RUN.findall(head["told"]), blocks, strict=False):
        if int(instance) in INSTANCES:
            numbers = np.array(at, dtype=np.int64), np.array(f)
            which = int(head["function"]), int(head["dim"]), int(instance), int(evaluations)
            yield Run(*which, 0.0, *numbers, 2)


def _blocks(text: str, column: int = 2) -> Iterator[tuple[list[int], list[float]]]:
    """Evaluations and best precisions, which stand in that column, of each run in a .dat file."""
    at: list[int] = []
    f: list[float] = []
    begun = in_head = False
    for line in text.splitlines():
        if line.startswith("%"):
            if begun and not in_head:
                yield at, f
                at, f = [], []
            begun = in_head = True
        elif line:
            in_head = False
            words = line.split(None, 3)
            at.append(int(words[0]))
            f.append(float(words[column]))
    if begun:
        yield at, f

"""COCO's own data format: one part per problem, and the parts merged into one data folder.

The problem is the unit. Its evaluated points go, in the order in which the search was told them,
through cocoex's logger into a private folder; a part depends on these points alone. `merge_parts`
then joins the parts in the suite's order, so that neither workers nor interruptions can corrupt
the data: the merged folder is byte for byte what one undisturbed cocoex run over the suite writes.

The format (cocoex's logger "bbob-new2"): for each function one file ``bbobexp_f8.info``, in which
each dimension has three lines: a header, a comment, and ``data_f8/bbobexp_f8_DIM10.dat`` followed
by ``, instance:evaluations|best precision`` for each instance. Beside it, in ``data_f8``, the files
.dat (by target), .tdat (by evaluations), .rdat and .mdat, to which each instance is appended.
With two objectives an .info file is that of a group of functions: two lines, then a line for each
function and dimension.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from evoopt.errors import StateError
from evoopt.result import Array
from evoopt_bench.suites import SUITES, ProblemId, cocoex

_PART = "part"  # the folder that cocoex makes inside the recorder's own
_GROWING = re.compile(rb"^(.*\n.*\n[^,]*)(, .*)$")  # the three lines: what is shared, the instances
# with two objectives: the two lines of the file, the function's, the instances
_OF_TWO = re.compile(rb"^(suite = .*\n%.*)(\nfunction = .*\.dat)(, .*)$")
# with two objectives; an archive of all points not dominated is for submissions to COCO
OBSERVED = "log_nondominated: none log_decision_variables: none"


class CocoRecorder:
    """Feeds the points of one problem to cocoex's logger.

    `folder` exists only once `close` has completed it. Until then the files grow in a hidden folder
    beside it, which the next recorder of the same folder clears away.

    Args:
        problem: which problem the points were evaluated on.
        folder: where COCO's files of this problem go.
        algorithm: the algorithm's name in COCO's files; cocopp shows it in its legends.
        info: one line on how it was run.
    """

    def __init__(self, problem: ProblemId, folder: Path, algorithm: str, info: str = "") -> None:
        module = cocoex()
        self._folder = folder
        self._growing = folder.with_name(f".{folder.name}.growing")
        shutil.rmtree(self._growing, ignore_errors=True)
        self._growing.mkdir(parents=True)
        self._observed = f"{OBSERVED} " if SUITES[problem.suite].n_obj > 1 else ""
        self._directory = os.open(self._growing, os.O_RDONLY | os.O_DIRECTORY)
        with _only_errors_printed():
            self._observer = module.Observer(problem.suite, self._options(algorithm, info))
            self._suite = module.Suite(problem.suite, *problem.coco_options)
            self._problem = self._suite.get_problem(problem.coco_id, self._observer)

    def _options(self, algorithm: str, info: str) -> str:
        # cocoex takes ASCII paths only, and reads a key where its name first occurs, be it inside a
        # path: so it gets the folder under a name that is always plain, and the free texts last
        outer = f"/proc/self/fd/{self._directory}"
        if not os.path.isdir(outer):
            outer = str(self._growing.resolve())
        return (
            f'outer_folder: "{outer}" result_folder: {_PART} '
            f"{self._observed}"
            f'algorithm_name: "{_plain(algorithm)}" algorithm_info: "{_plain(info)}"'
        )

    def record(self, X: Array) -> None:
        """Log the rows of X: (k, dim), evaluated after all rows recorded so far."""
        problem = self._problem
        for x in np.ascontiguousarray(X, dtype=np.float64):
            problem(x)

    def close(self) -> None:
        """Complete the folder.

        Raises:
            StateError: cocoex could not write all of it; the disk may be full.
        """
        recorded = self._problem.evaluations
        self._release()
        part = self._growing / _PART
        if recorded_evaluations(part) != recorded:
            raise StateError(f"COCO data of {self._folder} is not complete; is the disk full?")
        shutil.rmtree(self._folder, ignore_errors=True)
        part.rename(self._folder)
        self._growing.rmdir()

    def discard(self) -> None:
        """Drop what was recorded."""
        self._release()
        shutil.rmtree(self._growing, ignore_errors=True)

    def _release(self) -> None:
        if self._directory < 0:
            return
        self._problem.free()  # writes the last lines and closes the files
        os.close(self._directory)
        self._directory = -1


def write_part(problem: ProblemId, X: Array, folder: Path, algorithm: str, info: str = "") -> None:
    """Write COCO's files of one problem, evaluated at the rows of X: (n, dim), into `folder`."""
    recorder = CocoRecorder(problem, folder, algorithm, info)
    recorder.record(X)
    recorder.close()


def recorded_evaluations(part: Path) -> int:
    """How many evaluations a part holds; 0 if it is absent or not complete.

    cocoex writes a last line at the last evaluation into .dat and .tdat, and their number into
    .info; a part is complete where the three agree.
    """
    infos = sorted(part.glob("*.info"))
    ends = [path for kind in ("dat", "tdat") for path in part.glob(f"*/*.{kind}")]
    if len(infos) != 1 or len(ends) != 2:
        return 0
    match = re.search(rb", \d+:(\d+)\|\S+$", infos[0].read_bytes())
    counts = {int(match[1]) if match else 0, *(_last_count(path) for path in ends)}
    return counts.pop() if len(counts) == 1 else 0


def _last_count(path: Path) -> int:
    """The evaluation number of the last line of a data file; 0 where that line is torn."""
    last = path.read_bytes().rsplit(b"\n", 2)
    return int(last[1].split()[0]) if len(last) == 3 and last[2] == b"" else 0


def merge_parts(parts: Sequence[Path], out: Path) -> Path:
    """Join the parts of single problems into one COCO data folder.

    The folder is built beside `out` and renamed; doing it again gives the same bytes.

    Args:
        parts: the folders of the problems, in the suite's order.
        out: the folder to make or to replace.

    Returns:
        `out`.

    Raises:
        StateError: a part is not complete, or two parts come from different versions of cocoex or
            different settings.
    """
    building = out.with_name(f".{out.name}.merging")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    shared: dict[str, bytes] = {}  # data file -> the lines that its instances share
    for part in parts:
        if recorded_evaluations(part) == 0:
            raise StateError(
                f"COCO data in {part} is not complete; resume the run to write it anew"
            )
        for path in part.rglob("*"):
            if path.suffix == ".info":
                _append_info(path, building / path.name, shared)
            elif path.is_file():
                _append(building / path.relative_to(part), path.read_bytes())
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
    return out


def _append_info(path: Path, merged: Path, shared: dict[str, bytes]) -> None:
    """Append an instance to the lines of its function and dimension, or begin these lines."""
    text = path.read_bytes()
    of_two = _OF_TWO.match(text)
    match = of_two or _GROWING.match(text)
    if match is None:
        raise StateError(f"{path} is not an info file of COCO's format 'bbob-new2'")
    if of_two:
        _append_info_of_two(path, merged, shared, of_two)
        return
    head, instances = match[1], match[2]
    data_file = head.rsplit(b"\n", 1)[1].decode()
    if data_file not in shared:
        _append(merged, b"\n" + head if merged.exists() else head)
        shared[data_file] = head
    elif shared[data_file] != head:
        raise _mixed(path)
    _append(merged, instances)


def _append_info_of_two(
    path: Path, merged: Path, shared: dict[str, bytes], found: re.Match[bytes]
) -> None:
    """The same with two objectives, where a file has one head for all functions and dimensions."""
    head, function, instances = found.groups()
    if shared.setdefault(merged.name, head) != head:
        raise _mixed(path)
    if not merged.exists():
        _append(merged, head)
    if function.decode() not in shared:
        shared[function.decode()] = b""
        _append(merged, function)
    _append(merged, instances)


def _mixed(path: Path) -> StateError:
    return StateError(
        f"{path.parent} was written by another version or with other settings; "
        "delete it and resume the run to write it anew"
    )


def _append(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


def _plain(text: str) -> str:
    """The text without what cocoex's options give a meaning to."""
    return re.sub(r"[^ -~]|[\":{}]", " ", text)


@contextmanager
def _only_errors_printed() -> Iterator[None]:
    """Keep cocoex from printing where its files go; its level is global, and set back."""
    module = cocoex()
    level = module.log_level("error")
    try:
        yield
    finally:
        module.log_level(level)

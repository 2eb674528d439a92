"""The folder of a training run: its config, a line of JSON for each report, checkpoints, a result.

`config.json` is the config as it was resolved, `metrics.jsonl` the reports, `result.json` how it
ended, `checkpoints/` what `checkpoint` writes. One process writes; a lock keeps a second one out.
A report is a JSON object with "kind" ("train" or "valid"), "step" (steps done), "tokens", "loss"
(nats a token) and "seconds"; a loss that is no number is null. A "valid" report of a model in four
bits has "rounding", what `fp4linear.plain` gives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from evoopt.errors import ConfigurationError, StateError
from evoopt.rundir.files import (
    JSON_LIMIT,
    TEMPORARY,
    from_json,
    read_file,
    sync_data,
    to_json,
    write_atomic,
)
from evoopt_llm.result import TrainResult

CONFIG = "config.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
CHECKPOINTS = "checkpoints"
NORMS = "norms.npz"  # of the weights, where they are recorded
_METRICS_LIMIT = 1 << 30  # bytes; a report has about 150


class RunFolder:
    """The folder while its run is written; a context manager that holds the lock.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, fd: int) -> None:
        """Made by `create` and `reopen`. fd: of the metrics file, locked."""
        self.path = path
        self._fd = fd

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> Self:
        """A new folder, or an empty one that is there.

        Raises:
            ConfigurationError: something is in it: no run is overwritten.
            StateError: the file system refused.
        """
        _check_unused(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"{path} cannot be made: {error.strerror}") from error
        fd = _locked(path, os.O_CREAT)
        with _closing_on_error(fd):
            _check_unused(path)  # another process may have been here before the lock was ours
            write_atomic(path / CONFIG, to_json(path / CONFIG, config))
        return cls(path, fd)

    @classmethod
    def reopen(cls, path: Path, last_step: int, drop: Callable[[], None] = lambda: None) -> Self:
        """The folder of a run that goes on after `last_step`: reports of later steps are dropped,
        for those steps will be done again.

        Args:
            path: of the folder.
            last_step: steps done.
            drop: what else of later steps goes; before the reports, since a later checkpoint
                without the reports up to it would be one of a run with a hole.

        Raises:
            StateError: there is no run, it is damaged, or another process writes it.
        """
        fd = _locked(path, 0)
        with _closing_on_error(fd):
            kept = sum(record["step"] <= last_step for record in read_metrics(path))
            lines = read_file(path / METRICS, _METRICS_LIMIT).split(b"\n")[:kept]  # steps ascend
            try:
                drop()
                os.ftruncate(fd, sum(len(line) + 1 for line in lines))
                (path / RESULT).unlink(missing_ok=True)
            except OSError as error:
                raise StateError(f"{path} cannot be written: {error.strerror}") from error
        return cls(path, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def report(self, record: Mapping[str, Any]) -> None:
        """Append a line; one write, so that a killed process leaves whole lines but for the last.

        Raises:
            StateError: the disk is full.
        """
        try:
            os.write(self._fd, _line(record).encode())
        except OSError as error:
            raise StateError(f"{self.path / METRICS} cannot be written: {error.strerror}") from None

    def sync(self) -> None:
        """Make the reports survive a loss of power, as a checkpoint of their steps does.

        Raises:
            StateError: the disk is full, or broken.
        """
        try:
            sync_data(self._fd)
        except OSError as error:
            raise StateError(f"{self.path / METRICS} cannot be written: {error.strerror}") from None

    def finish(self, result: TrainResult) -> None:
        """Write the result."""
        path = self.path / RESULT
        write_atomic(path, to_json(path, _finite(result.plain())))


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run, as it was resolved.

    Raises:
        StateError: there is no run, or the file holds no JSON object. `config.check_stored` tells
            whether it is that of a run.
    """
    return from_json(folder / CONFIG, read_file(folder / CONFIG, JSON_LIMIT))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The reports of a run, in their order; a last line that a killed process left torn is dropped.

    Raises:
        StateError: there is no run, or a line before the last one is damaged.
    """
    path = folder / METRICS
    lines = read_file(path, _METRICS_LIMIT).split(b"\n")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is torn
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not _is_report(record) or (found and record["step"] < found[-1]["step"]):
            raise StateError(f"{path}: line {number} is damaged; the run cannot be used")
        found.append({**record, "loss": math.nan} if record["loss"] is None else record)
    return found


def _is_report(record: object) -> bool:
    """Whether it has what every report has."""
    if not isinstance(record, dict) or record.get("kind") not in ("train", "valid"):
        return False
    counts = [record.get("step"), record.get("tokens")]
    loss = 0.0 if record.get("loss", "") is None else record.get("loss")  # null: no number
    return all(type(n) is int and n >= 0 for n in counts) and type(loss) in (int, float)


def read_result(folder: Path) -> TrainResult | None:
    """The result of a run; None of one that has not ended.

    Raises:
        StateError: it is damaged, or of another version.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    return TrainResult.of(from_json(path, read_file(path, JSON_LIMIT)), str(path))


def _locked(path: Path, flags: int) -> int:
    """The metrics file, open for appending; its lock is that of the run."""
    name = path / METRICS
    try:
        fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, 0o644)
    except OSError as error:
        raise StateError(f"{name} cannot be opened: {error.strerror}; is it a run?") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StateError(f"{path} is in use by another process; wait for it or stop it") from None
    return fd


@contextlib.contextmanager
def _closing_on_error(fd: int) -> Iterator[None]:
    """And with the file its lock."""
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _check_unused(path: Path) -> None:
    """Refuses a folder with anything in it but what a process leaves that was killed while it made
    the folder of a run: no report, and no config yet.

    Raises:
        ConfigurationError: no run is overwritten.
        StateError: the folder cannot be read.
    """
    try:
        found = [path] if path.exists() and not path.is_dir() else []
        found = found or ([*path.iterdir()] if path.exists() else [])
        used = [p for p in found if p.name != CONFIG + TEMPORARY and not _is_empty_metrics(p)]
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    if used:
        raise ConfigurationError(
            f"--out {path} exists and is not empty; go on with --resume, or choose another name"
        )


def _is_empty_metrics(path: Path) -> bool:
    return path.name == METRICS and path.is_file() and not path.stat().st_size


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(_finite(record), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: null instead."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

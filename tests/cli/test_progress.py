"""What is shown while a search goes on."""

import io
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from evoopt.observers import progress
from evoopt.observers.progress import Progress, duration
from evoopt.result import Values
from evoopt.strategies.base import Portrait


@dataclass
class Asked:
    label: str = "cma-es"
    budget: float = 1000.0
    time_limit: float = np.inf
    workers: int = 1
    maximize: bool = False


@dataclass
class Strategy:
    sigma: float = 0.5
    axes: tuple[float, ...] = (1.0, 4.0)
    restarts: int = 2

    def portrait(self, state: object) -> Portrait:
        return Portrait(np.zeros(2), self.sigma, np.array(self.axes), 7, self.restarts)


@dataclass
class Search:
    evaluations: int = 0
    best_f: float = np.inf
    seed: int = 3
    state: object = None
    failures: dict[str, int] = field(default_factory=dict)
    strategy: Strategy = field(default_factory=Strategy)
    found: None = None


class Clock:
    """Stands in for time.monotonic; counts how often it is read."""

    def __init__(self) -> None:
        self.now, self.reads = 100.0, 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def tell(shown: Progress, search: Any) -> None:
    shown.told(search, np.array([0]), np.zeros((1, 2)), Values(np.array([1.0])))


def test_a_line_comes_every_few_seconds_and_nothing_between(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    search, shown = Search(), Progress("sphere, 2-D", Asked())
    shown.started(search)
    assert capsys.readouterr().err == "sphere, 2-D: cma-es, seed 3\n"
    lines = []
    for _ in range(160):  # 20 s, an eighth each
        clock.now += 0.125
        search.evaluations += 2
        tell(shown, search)
        lines += capsys.readouterr().err.splitlines()
    at = [progress.FIRST_SECONDS + k * progress.LINE_SECONDS for k in range(4)]
    assert [int(line.split("evaluations ")[1].split()[0]) for line in lines] == [16 * s for s in at]
    assert lines[1] == (
        "sphere, 2-D: best f none yet, evaluations 96 of 1000, evals/s 16, sigma 0.5, "
        "axis ratio 4, restarts 2, ETA 56 s"
    )


def test_a_tell_before_its_time_only_reads_the_clock(clock: Clock) -> None:
    search, shown = Search(), Progress("f", Asked())
    shown.started(search)
    before = clock.reads
    tell(shown, None)  # it would fail if anything of the search were looked at
    assert clock.reads == before + 1


def test_nothing_is_shown_when_it_is_not_wanted(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    search, shown = Search(), Progress("f", Asked(), enabled=False)
    with shown:
        shown.started(search)
        clock.now += 1e6
        tell(shown, search)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_live_block_and_is_left_clean(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    search, shown = Search(best_f=-2.5), Progress("sphere, 2-D", Asked(workers=2, maximize=True))
    with shown:
        shown.started(search)
        clock.now += progress.LIVE_SECONDS
        search.evaluations = 500
        tell(shown, search)
        text = terminal.getvalue()
    for part in ("sphere, 2-D: cma-es, seed 3", "best f", "2.5", "500 of 1000", "workers"):
        assert part in text
    assert terminal.getvalue().endswith("\x1b[2K")  # the block is wiped


def test_facts_that_a_method_lacks_are_left_out(clock: Clock) -> None:
    search = Search(strategy=Strategy(np.nan, (), 0), failures={"nan": 2})
    shown = Progress("f", Asked(budget=np.inf))
    shown.started(search)
    clock.now += 1
    names = [name for name, _ in shown.facts(search, clock.now)]
    assert names == ["best f", "evaluations", "evals/s", "failed"]


def test_the_time_limit_bounds_the_eta(clock: Clock) -> None:
    search, shown = Search(), Progress("f", Asked(time_limit=60.0))
    shown.started(search)
    clock.now += 10
    search.evaluations = 10  # one a second: the budget would last for 990 s
    assert dict(shown.facts(search, clock.now))["ETA"] == "50 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185, "3:05 min"), (7500, "2:05 h")],
)
def test_a_duration_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text

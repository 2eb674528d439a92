"""Schedules: their very step numbers and end values, as the papers give them."""

from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from evoopt.errors import ConfigurationError
from evoopt_llm.schedules import (
    SGDR,
    WSD,
    Constant,
    Cosine,
    Linear,
    Power,
    Schedule,
    ScheduleSettings,
    decay_start,
    multiplier,
    period,
    restarts,
    warmup,
)

TOTAL, WARM = 200, 20
TAILS = ("linear", "cosine", "exponential", "minus-sqrt")
FALLING: list[Schedule] = [
    Linear(warmup_steps=WARM, final=0.1),
    Cosine(warmup_steps=WARM, final=0.1),
    Power(warmup_steps=WARM, final=0.1, exponent=1.2),
    Power(warmup_steps=WARM, final=0.1, exponent=0.5, decay_share=0.3),
    *(WSD(warmup_steps=WARM, final=0.1, tail=tail) for tail in TAILS),
]
ALL: list[Schedule] = [*FALLING, Constant(warmup_steps=WARM), SGDR(warmup_steps=WARM, t_0=10)]


def curve(settings: Schedule, total: int = TOTAL) -> list[float]:
    return [multiplier(settings, step, total) for step in range(total)]


@pytest.mark.parametrize("settings", ALL, ids=repr)
def test_the_warm_up_is_a_straight_line_and_the_first_step_after_it_is_at_the_peak(
    settings: Schedule,
) -> None:
    found = curve(settings)
    assert found[:WARM] == [(step + 1) / (WARM + 1) for step in range(WARM)]
    assert found[WARM] == 1
    assert max(found) == 1


@pytest.mark.parametrize("settings", FALLING, ids=repr)
def test_the_last_step_has_the_final_value_and_no_step_rises_before_it(settings: Schedule) -> None:
    found = curve(settings)
    assert found[-1] == pytest.approx(0.1, abs=1e-15)
    assert all(a >= b for a, b in zip(found[WARM:], found[WARM + 1 :], strict=False))


def test_without_warm_up_the_first_step_is_at_the_peak() -> None:
    assert multiplier(Linear(), 0, TOTAL) == 1
    assert multiplier(Linear(), 0, 1) == 1  # a run of a single step


def test_linear_to_zero_equals_its_formula() -> None:
    assert curve(Linear(), 5) == [1, 0.75, 0.5, 0.25, 0]


def test_cosine_equals_its_formula() -> None:
    expected = [0.1 + 0.45 * (1 + math.cos(math.pi * step / 4)) for step in range(5)]
    assert curve(Cosine(final=0.1), 5) == pytest.approx(expected, rel=1e-15)


def test_sgdr_restarts_at_10_30_70_and_150_steps() -> None:
    settings = SGDR(t_0=10, t_mult=2.0)
    found = curve(settings)
    assert [step for step, value in enumerate(found) if value == 1] == [0, 10, 30, 70, 150]
    assert restarts(settings, TOTAL) == [10, 30, 70, 150]
    assert [period(settings, step, TOTAL) for step in (0, 9, 10, 69, 70)] == [10, 10, 20, 40, 80]


@pytest.mark.parametrize("t_mult", [1, 2, 3])
def test_sgdr_equals_equation_5_counted_step_by_step(t_mult: int) -> None:
    settings = SGDR(t_0=7, t_mult=t_mult, final=0.05, warmup_steps=3)
    current, length = 0, 7  # T_cur, T_i
    for step in range(3, TOTAL):
        if current == length:
            current, length = 0, length * t_mult
        expected = 0.05 + 0.5 * 0.95 * (1 + math.cos(math.pi * current / length))
        assert multiplier(settings, step, TOTAL) == pytest.approx(expected, rel=1e-15)
        current += 1


@pytest.mark.parametrize("t_mult", [1 + 1e-9, 1.1, 1.3, 1.5, 2.5])
def test_every_period_of_a_fractional_growth_begins_at_the_peak_on_a_whole_step(
    t_mult: float,
) -> None:
    settings = SGDR(t_0=7, t_mult=t_mult)
    exact = [7 * sum(t_mult**j for j in range(i)) for i in range(1, 30)]
    found = restarts(settings, TOTAL)
    assert found == pytest.approx(exact[: len(found)], abs=0.5 + 1e-6)
    assert exact[len(found)] > TOTAL - 1
    peaks = [step for step, value in enumerate(curve(settings)) if value == 1]
    assert peaks == [0, *found]


def test_the_first_period_of_sgdr_may_be_a_share_of_the_steps_after_warm_up() -> None:
    settings = SGDR(t_0_share=1 / 15, warmup_steps=50)
    assert curve(settings) == curve(SGDR(t_0=10, warmup_steps=50))
    assert restarts(settings, TOTAL) == [60, 80, 120]
    assert restarts(SGDR(t_0_share=0.0544), TOTAL) == [11, 33, 76, 163]  # 10.88, 32.64, ...


def test_the_warm_up_may_be_a_share_of_all_steps() -> None:
    assert curve(Cosine(warmup_share=0.1)) == curve(Cosine(warmup_steps=20))
    assert warmup(Cosine(warmup_share=0.1), 1000) == 100


@pytest.mark.parametrize(
    ("tail", "half"),
    [
        ("linear", 0.5),
        ("cosine", 0.5),
        ("exponential", math.sqrt(2) - 1),
        ("minus-sqrt", 1 - math.sqrt(0.5)),
    ],
)
def test_wsd_is_stable_and_then_falls_by_its_tail_over_its_share_of_all_steps(
    tail: str, half: float
) -> None:
    settings = WSD(warmup_steps=10, decay_share=0.2, tail=tail)
    found = curve(settings)
    assert found[10:160] == [1] * 150  # the last of them is where the decay starts from
    assert found[160] < 1
    assert found[179] == pytest.approx(half, abs=1e-12)  # 20 of 40 steps
    assert found[199] == pytest.approx(0, abs=1e-15)
    assert decay_start(settings, TOTAL) == 159


def test_runs_of_wsd_of_different_length_are_one_run_up_to_the_decay() -> None:
    short, long = WSD(warmup_steps=10, decay_share=0.5), WSD(warmup_steps=10, decay_share=0.1)
    shared = decay_start(short, 100) + 1
    assert curve(short, 100)[:shared] == curve(long, 1000)[:shared]
    assert shared == 50


def test_power_with_exponent_1_is_linear_and_with_a_share_the_tail_of_wsd() -> None:
    assert curve(Power(warmup_steps=5)) == curve(Linear(warmup_steps=5))
    assert curve(Power(decay_share=0.3)) == curve(WSD(decay_share=0.3))
    cool = multiplier(Power(exponent=1.2), 50, 101)
    assert cool == pytest.approx(0.5**1.2, rel=1e-15)


def test_without_restarts_the_period_is_the_run() -> None:
    assert period(Linear(), 3, TOTAL) == TOTAL
    assert restarts(Linear(), TOTAL) == []


def test_a_single_step_after_the_warm_up_is_at_the_peak() -> None:
    for settings in (Linear(warmup_steps=4), Cosine(warmup_steps=4), Power(warmup_steps=4)):
        assert [multiplier(settings, step, 5) for step in (3, 4)] == [0.8, 1.0]


def test_of_many_restarts_the_first_are_told_at_once() -> None:
    settings = SGDR(t_0=1, t_mult=1.0)
    assert restarts(settings, 2**63 - 1, 3) == [1, 2, 3]
    assert restarts(settings, 3, 9) == [1, 2]


@pytest.mark.parametrize(
    ("settings", "step", "said"),
    [
        (Linear(warmup_steps=200), 0, "must leave a step of the 200 of the run; got 200"),
        (WSD(warmup_steps=170), 199, "must leave 170 steps of warm-up and one at the peak"),
        (Linear(), 200, "must be 0 to 199; got 200"),
        (Linear(), -1, "must be 0 to 199; got -1"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(settings: Schedule, step: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        multiplier(settings, step, TOTAL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "linear", "warmup_steps": 3, "warmup_share": 0.1},
        {"kind": "sgdr"},
        {"kind": "sgdr", "t_0": 3, "t_0_share": 0.1},
        {"kind": "sgdr", "t_0": 3, "t_mult": 0.5},
        {"kind": "wsd", "decay_share": 0.0},
        {"kind": "wsd", "tail": "sqrt"},
        {"kind": "cosine", "final": 1.5},
        {"kind": "power", "exponent": 0.0},
        {"kind": "linear", "peak": 3},
        {"kind": "step"},
    ],
    ids=repr,
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[Schedule](ScheduleSettings).validate_python(wrong)


@pytest.mark.parametrize("steps", [70, 100, 600, 1001])
@pytest.mark.parametrize(
    ("growth", "share", "count"), [(2.0, 1 / 7, 3), (1.0, 0.2, 5), (3, 1 / 13, 3)]
)
def test_periods_that_are_shares_fill_a_run_and_leave_no_rest(
    steps: int, growth: float, share: float, count: int
) -> None:
    settings = SGDR(t_0_share=share, t_mult=growth, warmup_share=0.05)
    assert len(restarts(settings, steps)) == count - 1
    last = multiplier(settings, steps - 1, steps)
    assert last < multiplier(settings, steps - 3, steps)

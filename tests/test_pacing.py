"""Pacing: pure functions, by table and by property."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pacing import FIRST_TICK_SECONDS, LADDER, Pace, automatic_size, next_tick
from state.burst_log import BurstRecord, Ending

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def bursts(*endings: Ending) -> list[BurstRecord]:
    return [
        BurstRecord(burst=str(at), started_at=MOMENT, ended_at=MOMENT, ended=ending, size=15)
        for at, ending in enumerate(endings)
    ]


@pytest.mark.parametrize(
    ("endings", "size"),
    [
        ((), 15),
        (("done",), 15),
        (("killed",), 5),
        (("killed", "killed"), 1),
        (("killed", "killed", "killed"), 1),
        (("killed", "killed", "done"), 5),
        (("killed", "done", "done"), 15),
        (("stopped",), 5),
        (("killed", "error", "deadline"), 5),
    ],
)
def test_automatic_size_goes_15_5_1_and_grows_back(endings: tuple[Ending, ...], size: int) -> None:
    assert automatic_size(bursts(*endings)) == size


@given(st.lists(st.sampled_from(["done", "killed", "stopped", "error", "deadline"])))
def test_automatic_size_is_always_one_of_the_protocols(endings: list[Ending]) -> None:
    assert automatic_size(bursts(*endings)) in LADDER


def ticks(expected: float | None, poll: float, count: int) -> list[float]:
    found: list[float] = []
    previous: float | None = None
    for _ in range(count):
        previous = next_tick(previous, expected_seconds=expected, poll_seconds=poll)
        found.append(previous)
    return found


def test_ticks_start_short_and_stretch_to_the_polling_interval() -> None:
    found = ticks(None, 5.0, 20)
    assert found[0] == FIRST_TICK_SECONDS
    assert found == sorted(found)
    assert found[-1] == 5.0


def test_the_first_wait_goes_most_of_the_way_to_the_expected_end() -> None:
    assert ticks(4.0, 5.0, 1) == [pytest.approx(3.2)]


def test_a_two_second_prompt_costs_at_most_three_questions() -> None:
    asked, at = 0, 0.0
    previous: float | None = None
    while at < 2.0:
        previous = next_tick(previous, expected_seconds=max(0.0, 2.0 - at), poll_seconds=5.0)
        at += previous
        asked += 1
    assert asked <= 3


@given(
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
    st.floats(0.01, 60),
)
def test_no_tick_is_longer_than_the_polling_interval_or_nothing(
    previous: float | None, expected: float | None, poll: float
) -> None:
    tick = next_tick(previous, expected_seconds=expected, poll_seconds=poll)
    assert 0 < tick <= poll


def test_pace_follows_what_prompts_take_and_never_goes_negative() -> None:
    pace = Pace()
    assert pace.seconds_per_item is None
    pace.note(2.0)
    assert pace.seconds_per_item == 2.0
    pace.note(-5.0)
    assert 0 < pace.seconds_per_item < 2.0

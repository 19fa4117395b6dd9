"""Times of day by the clock on the wall: across midnight, and where that clock is set forward and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from support.time_zones import BERLIN, time_zone

from orchestrator.errors import UsageError
from orchestrator.hours import Hours, next_time, parse_time


@pytest.fixture(autouse=True)
def berlin() -> Iterator[None]:
    with time_zone(BERLIN):
        yield


def at(text: str) -> datetime:
    """`2026-01-31 22:00`, in winter; with `+02:00` in summer."""
    return datetime.fromisoformat(text if "+" in text else f"{text}+01:00")


@pytest.mark.parametrize(
    ("wanted", "now", "expected"),
    [
        ("07:00", "2026-01-31 06:59", "2026-01-31 07:00"),
        ("07:00", "2026-01-31 07:00", "2026-02-01 07:00"),
        ("7:00", "2026-12-31 23:00", "2027-01-01 07:00"),
        ("24:00", "2026-01-31 23:59", "2026-02-01 00:00"),
        ("00:00", "2026-01-31 00:01", "2026-02-01 00:00"),
        ("07:00", "2026-03-28 22:00", "2026-03-29 07:00+02:00"),
        ("07:00", "2026-10-24 22:00+02:00", "2026-10-25 07:00"),
        # What the clock never shows that day: as soon as it shows a later time.
        ("02:30", "2026-03-29 01:00", "2026-03-29 03:00+02:00"),
        # What it shows twice: the next of the two.
        ("02:30", "2026-10-25 01:00+02:00", "2026-10-25 02:30+02:00"),
        ("02:30", "2026-10-25 02:40+02:00", "2026-10-25 02:30+01:00"),
        ("02:30", "2026-10-25 02:31+01:00", "2026-10-26 02:30"),
    ],
)
def test_the_next_time_that_the_clock_shows_it(wanted: str, now: str, expected: str) -> None:
    assert next_time(parse_time(wanted), after=at(now)) == at(expected)


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        ("22:00-07:00", "2026-01-31 21:59", None),
        ("22:00-07:00", "2026-01-31 22:00", "2026-02-01 07:00"),
        ("22:00-07:00", "2026-02-01 00:00", "2026-02-01 07:00"),
        ("22:00-07:00", "2026-02-01 06:59", "2026-02-01 07:00"),
        ("22:00-07:00", "2026-02-01 07:00", None),
        ("09:00-17:00", "2026-01-31 12:00", "2026-01-31 17:00"),
        ("09:00-17:00", "2026-01-31 18:00", None),
        ("22:00-24:00", "2026-01-31 23:59", "2026-02-01 00:00"),
        ("22:00-07:00", "2026-03-29 03:30+02:00", "2026-03-29 07:00+02:00"),
        ("22:00-07:00", "2026-10-25 02:30+01:00", "2026-10-25 07:00"),
        ("22:00-02:30", "2026-03-29 01:59", "2026-03-29 03:00+02:00"),
        ("22:00-02:30", "2026-03-29 03:00+02:00", None),
        ("02:30-03:15", "2026-03-29 03:10+02:00", "2026-03-29 03:15+02:00"),
        ("02:10-02:50", "2026-03-29 03:00+02:00", None),
        ("22:00-02:30", "2026-10-25 02:40+02:00", None),
        ("22:00-02:30", "2026-10-25 02:10+01:00", None),
    ],
)
def test_whether_it_is_within_the_hours_and_when_they_end(hours: str, now: str, end: str | None) -> None:
    assert Hours.parse(hours).end_after(at(now)) == (None if end is None else at(end))


@pytest.mark.parametrize(
    ("hours", "now", "begin"),
    [
        ("22:00-07:00", "2026-01-31 12:00", "2026-01-31 22:00"),
        ("22:00-07:00", "2026-01-31 22:30", "2026-02-01 22:00"),
        ("09:00-17:00", "2026-01-31 18:00", "2026-02-01 09:00"),
        ("02:10-02:50", "2026-03-28 12:00", "2026-03-30 02:10+02:00"),
    ],
)
def test_when_the_hours_begin_next(hours: str, now: str, begin: str) -> None:
    assert Hours.parse(hours).next_begin(at(now)) == at(begin)


def test_any_minute_of_a_year_is_within_the_hours_or_outside_of_them() -> None:
    """Whatever the clock does, within is from a begin to the end that was given for it."""
    hours, now = Hours.parse("22:00-02:30"), at("2025-12-31 12:00")
    for _ in range(365 * 12):
        now += timedelta(minutes=121)
        if (end := hours.end_after(now)) is not None:
            assert now < end
            assert hours.end_after(end) is None
        else:
            assert hours.end_after(hours.next_begin(now)) is not None


@pytest.mark.parametrize("text", ["", "7", "07:60", "25:00", "24:01", "07.00", "seven", "-07:00", "07:00:00", "٠٧:٠٠"])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(UsageError, match="write HH:MM"):
        parse_time(text)


@pytest.mark.parametrize(
    "text", ["22:00", "22:00-", "-07:00", "22:00-07:00-08:00", "22:00-22:00", "24:00-00:00", "a-b"]
)
def test_what_are_no_hours(text: str) -> None:
    with pytest.raises(UsageError):
        Hours.parse(text)

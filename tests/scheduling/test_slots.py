"""When runs start: cron's fields and systemd's calendar, against a walk over the minutes of two days."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from orchestrator.errors import UsageError
from orchestrator.hours import Hours
from orchestrator.scheduling.slots import Slots, parse_interval

MIDNIGHT = datetime(2026, 3, 2)
MINUTE = timedelta(minutes=1)
EXPRESSIBLE = ("1m", "2m", "3m", "4m", "5m", "6m", "10m", "12m", "15m", "20m", "30m")
OF_HOURS = ("1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d")


def slots(every: str, hours: str | None) -> Slots:
    return Slots(parse_interval(every), Hours.parse(hours) if hours else None)


def numbers(field: str, below: int) -> list[int]:
    """What a field of cron's means."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"0-{below - 1}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    assert max(found) < below
    return sorted(found)


def starts(fields: str, *, days: int = 2) -> list[datetime]:
    minutes, hours, *others = fields.split()
    assert others == ["*", "*", "*"]
    return [
        MIDNIGHT + timedelta(days=day, hours=hour, minutes=minute)
        for day in range(days)
        for hour in numbers(hours, 24)
        for minute in numbers(minutes, 60)
    ]


def is_open(at: datetime, hours: str | None) -> bool:
    if hours is None:
        return True
    begin, end = hours.split("-")
    now = f"{at:%H:%M}"
    return begin <= now < end if begin < end else now >= begin or now < end


def expected(every: str, hours: str | None) -> list[datetime]:
    """Within the hours: at their begin, and then as far apart as was asked for."""
    step, first = parse_interval(every) // 60, int(hours[:2]) * 60 + int(hours[3:5]) if hours else 0
    shown = [number for number in range(24 * 60) if (number - first) % (24 * 60) % step == 0]
    times = [MIDNIGHT + timedelta(days=day) + number * MINUTE for day in range(2) for number in shown]
    return [at for at in times if is_open(at, hours)]


@pytest.mark.parametrize("hours", [None, "22:00-07:00", "22:30-06:45", "09:00-17:00", "23:50-00:10"])
def test_cron_starts_exactly_then(hours: str | None) -> None:
    for every in (*EXPRESSIBLE, *OF_HOURS):
        plan = slots(every, hours)
        found = [at for at in starts(plan.cron()) if is_open(at, hours)]
        assert found == expected(every, hours), every


@pytest.mark.parametrize("hours", [None, "22:00-07:00", "22:30-06:45"])
def test_a_run_ends_before_the_next_start(hours: str | None) -> None:
    for every in (*EXPRESSIBLE, *OF_HOURS):
        plan = slots(every, hours)
        times = starts(plan.cron())
        apart = min(after - before for before, after in pairwise(times))
        assert 0 < plan.max_seconds <= apart.total_seconds() - 10, every


def test_the_last_run_ends_with_the_hours() -> None:
    plan = slots("5m", "22:00-07:00")
    last = max(at for at in starts(plan.cron()) if is_open(at, "22:00-07:00") and at.hour < 12)
    assert f"{last + timedelta(seconds=plan.max_seconds):%H:%M:%S}" == "06:59:50"
    assert slots("1h", "22:00-22:20").max_seconds == 20 * 60 - 10


@pytest.mark.parametrize("every", ["7m", "90m", "36h", "90s", "5h", "2d"])
def test_cron_refuses_what_it_cannot_express(every: str) -> None:
    with pytest.raises(UsageError, match=r"cron cannot start a run every .*Choose 1m, .*systemd"):
        slots(every, None).cron()
    assert slots(every, None).calendar() is None


@pytest.mark.parametrize("every", ["30s", "0m", "5", "m", "-5m", "5 weeks", "8d", "1.5h", ""])
def test_intervals_that_are_none(every: str) -> None:
    with pytest.raises(UsageError):
        parse_interval(every)


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="Debian's package systemd is not installed"
)


@needs_systemd
@pytest.mark.parametrize(
    ("every", "hours"), [("5m", None), ("1m", "22:30-06:45"), ("12m", "22:30-06:45"), ("2h", None)]
)
def test_systemd_starts_at_the_same_times(every: str, hours: str | None) -> None:
    plan, count = slots(every, hours), 150
    times = [at for at in starts(plan.cron(), days=30) if at > MIDNIGHT][:count]
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={MIDNIGHT}", str(plan.calendar())],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
    )
    lines = [
        line for line in done.stdout.splitlines() if "elapse:" in line or "Iter. #" in line or "Iteration #" in line
    ]
    found = [line.split(": ")[1].split()[1:3] for line in lines]
    assert found == [f"{at:%Y-%m-%d %H:%M:%S}".split() for at in times]

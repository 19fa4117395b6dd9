"""Runs that end at a time of day, or work within hours: the earliest end wins, and nothing is learned from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.time_zones import time_zone
from support.waiting import wait_until

from orchestrator.clock import Clock
from orchestrator.cycle.pacing import automatic_size, learned_limit
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run, run_burst
from orchestrator.cycle.time_limit import TimeLimit, closed_until
from orchestrator.errors import UsageError
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.burst_record import BurstRecord
from state.open_store import open_store, parts_of

NIGHT = datetime(2026, 2, 1, 3, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with time_zone("UTC"):
        yield


class WallClock(Clock):
    """The real one, but for the time of day."""

    def __init__(self, begin: datetime) -> None:
        self._begin, self._began = begin, self.monotonic()

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=self.monotonic() - self._began)

    def set(self, moment: datetime) -> None:
        self._begin, self._began = moment, self.monotonic()


def killed(*, after: float) -> list[BurstRecord]:
    """Two runs that were killed at that age."""
    begun = [NIGHT - timedelta(days=days) for days in (4, 2)]
    return [
        BurstRecord(
            burst=f"{at.day}",
            started_at=at,
            ended_at=at + timedelta(seconds=after),
            ended="killed",
            size=15,
            seconds=after,
            alive_seconds=after,
            host="h",
        )
        for at in begun
    ]


def seconds_of(limit: TimeLimit) -> float | None:
    return limit.seconds_left(age_seconds=0.0, now=NIGHT)


@pytest.mark.parametrize(
    ("asked", "records", "seconds", "how"),
    [
        ({}, [], None, None),
        ({"max_seconds": 60.0}, [], 60.0, "deadline"),
        ({"max_seconds": 0.0, "until": "03:30"}, killed(after=50), 1800.0, "deadline"),
        ({"until": "03:30"}, [], 1800.0, "deadline"),
        ({"until": "03:00"}, [], 86400.0, "deadline"),
        ({"until": "03:30", "max_seconds": 60.0}, [], 60.0, "deadline"),
        ({"until": "03:30", "max_seconds": 6000.0}, [], 1800.0, "deadline"),
        ({"until": "03:30", "between": "22:00-03:10"}, [], 600.0, "deadline"),
        ({"until": "03:05", "between": "22:00-03:10"}, [], 300.0, "deadline"),
        ({"until": "03:30"}, killed(after=50), 45.0, "limit"),
        ({"until": "03:30"}, killed(after=50_000), 1800.0, "deadline"),
        ({"between": "22:00-07:00"}, killed(after=50), 45.0, "limit"),
    ],
)
def test_the_earliest_end_wins(
    asked: dict[str, Any], records: list[BurstRecord], seconds: float | None, how: str | None
) -> None:
    limit = TimeLimit.of(Request(**asked), records, began_at=NIGHT)
    assert seconds_of(limit) == seconds
    if seconds is None:
        assert limit.ended(age_seconds=1e9, now=NIGHT + timedelta(days=1)) is None
        return
    just_before, end = (NIGHT + timedelta(seconds=late) for late in (seconds - 1, seconds))
    assert limit.ended(age_seconds=seconds - 1, now=just_before) is None
    assert limit.ended(age_seconds=seconds, now=end) == how


def test_a_time_of_day_is_that_of_the_clock_on_the_wall_also_when_that_is_set() -> None:
    limit = TimeLimit.of(Request(until="03:30"), [], began_at=NIGHT)
    assert limit.ended(age_seconds=1900.0, now=NIGHT + timedelta(minutes=20)) is None, "set back"
    assert limit.ended(age_seconds=60.0, now=NIGHT + timedelta(minutes=31)) == "deadline", "set forward, or suspended"


def test_a_run_that_so_ended_teaches_no_limit_and_changes_no_size() -> None:
    at = NIGHT
    ended = [
        BurstRecord(burst=name, started_at=at, ended_at=at, ended="deadline", size=15, seconds=50, alive_seconds=50)
        for name in "abc"
    ]
    assert learned_limit(ended) is None
    assert automatic_size(ended) == 15


@pytest.mark.parametrize("text", ["", "soon", "7", "25:00"])
def test_a_library_s_caller_is_told_which_argument_is_wrong(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"^until: "):
        run_burst(tmp_path / "state.json", until=text)
    with pytest.raises(UsageError, match=r"^between: "):
        run_burst(tmp_path / "state.json", between=f"{text}-07:00")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def state_of(tmp_path: Path, *, items: int) -> Path:
    path = tmp_path / "re_render_state.json"
    path.write_text(json.dumps({f"{n}": {"status": "pending", "prompt_text": "a fox"} for n in range(items)}))
    return path


def run(state: Path, sandbox: Sandbox, clock: Clock, **asked: Any) -> BurstReport:
    overrides = Overrides(template="smoke", servers=(sandbox.url,))
    return Run(Request(state=state, overrides=overrides, **asked), clock=clock).execute()


@pytest.mark.parametrize("asked", [{"until": "07:00"}, {"between": "22:00-07:00"}], ids=["until", "between"])
def test_a_run_ends_at_that_time_and_the_next_one_collects(
    tmp_path: Path, sandbox: Sandbox, asked: dict[str, str]
) -> None:
    state, clock = state_of(tmp_path, items=3), WallClock(NIGHT)
    sandbox.hold("render")
    with in_background(run, state, sandbox, clock, until_done=True, **asked) as end:
        wait_until(lambda: _submitted(state) >= 3)
        clock.set(datetime(2026, 2, 1, 7, 0, tzinfo=UTC))
        report = end()
    assert (report.ended, report.exit_code, report.reason, report.completed) == ("deadline", 0, None, 0)
    assert "stopped at the time limit" in report.as_text()
    assert parts_of(state).bursts.read()[-1].ended == "deadline"
    sandbox.release()
    later = run(state, sandbox, Clock(), until_done=True)
    assert (later.completed, later.recovered) == (3, 3)


def _submitted(state: Path) -> int:
    with open_store(state, read_only=True) as store:
        return store.counts().submitted


def test_outside_of_the_hours_nothing_is_started_and_no_lock_is_taken(tmp_path: Path, sandbox: Sandbox) -> None:
    state = state_of(tmp_path, items=3)
    noon = WallClock(datetime(2026, 2, 1, 12, 0, tzinfo=UTC))
    with open_store(state) as store, store.lease():
        report = run(state, sandbox, noon, between="22:00-07:00")
    assert (report.ended, report.exit_code, report.bursts, report.requests) == ("deadline", 0, 0, 0)
    assert report.as_text().startswith(
        "Nothing was started: outside of 22:00-07:00, which begins at 2026-02-01 22:00:00\nProgress: 0/3 (0 %)"
    )
    assert report.as_json()["reason"].startswith("outside of 22:00-07:00")
    assert report.as_json()["next_batch"]["size"] == 3
    assert parts_of(state).bursts.read() == []
    assert run(state, sandbox, WallClock(NIGHT), between="22:00-07:00").completed == 3


def test_when_the_hours_begin() -> None:
    assert closed_until(None, now=NIGHT) is None
    assert closed_until("22:00-07:00", now=NIGHT) is None
    assert closed_until("22:00-02:00", now=NIGHT) == NIGHT.replace(hour=22)

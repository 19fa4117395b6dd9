"""The wall clock is set in mid-burst, an hour back or a day forward: nothing that lasts is measured by it."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from support.background import in_background
from support.projects import MakeProject, Project
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.clock import Clock
from orchestrator.cycle.in_flight import InFlight
from orchestrator.cycle.pacing import learned_limit
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.doctor import examine
from orchestrator.sandbox import Sandbox
from orchestrator.status import read_status
from state.burst_record import BurstRecord
from state.holder import Holder
from state.item import Item, Status
from state.json.run_lock import FileRunLock

JUMPS = [pytest.param(timedelta(hours=-1), id="an hour back"), pytest.param(timedelta(days=1), id="a day forward")]


class SetClock(Clock):
    """The real one, whose wall clock somebody sets. `monotonic` and waiting are not concerned."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def run(project: Project, clock: Clock, **asked: Any) -> BurstReport:
    times: dict[str, Any] = {"poll_seconds": 0.2, "in_doubt_seconds": 2.0}
    return Run(Request(state=project.state, **times | asked), clock=clock).execute()


def numbers_below_zero(document: object) -> Iterator[float]:
    """Every negative number in a JSON document."""
    if isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from numbers_below_zero(value)
    elif isinstance(document, int | float) and document < 0:
        yield document


def check_sane(project: Project, report: BurstReport) -> None:
    """No record, report or page shows a negative second, or one that the jump made."""
    status, doctor = read_status(project.state), examine(project.state)
    shown = [report.as_json(), status.as_json(), doctor.as_json(), json.loads(project.state.read_text())]
    assert list(numbers_below_zero([*shown, msgspec.to_builtins(project.bursts())])) == []
    for text in (report.as_text(), status.as_text(), doctor.as_text()):
        assert re.findall(r"(?<![\w.-])-\d.*", text) == []
    assert report.seconds < 60
    assert all(item.seconds is not None and item.seconds < 60 for item in project.items(Status.COMPLETED))
    for record in project.bursts():
        assert record.seconds <= (record.alive_seconds or 0) < 60
        assert (record.seconds_per_item or 0) < 60


def queue_numbers(sandbox: Sandbox) -> dict[str, float]:
    """By item, in the order of rendering, the number under which its prompt was queued."""
    history = requests.get(f"{sandbox.url}/history", timeout=10).json().values()
    return {entry["prompt"][3]["burst"]["item"]: entry["prompt"][0] for entry in history}


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_set_in_mid_burst_changes_nothing(
    make_project: MakeProject, sandbox: Sandbox, clock: SetClock, jump: timedelta
) -> None:
    project = make_project(count=9)
    sandbox.hold("render")
    with in_background(run, project, clock, size=3, until_done=True, max_seconds=60.0) as end:
        wait_until(lambda: sum(item.accepted for item in project.items()) >= 3)
        clock.ahead = jump
        assert read_status(project.state).holders
        sandbox.release()
        report = end()
    assert (report.ended, report.exit_code, report.completed, report.notes) == ("done", 0, 9, ())
    check_sane(project, report)
    numbers = queue_numbers(sandbox)
    assert list(numbers) == [item.key for item in project.items()]
    assert sorted(numbers.values()) == list(numbers.values())
    assert learned_limit(project.bursts()) is None
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("jump", JUMPS)
def test_a_lost_post_is_waited_for_as_long_as_ever(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, set_times: Any, clock: SetClock, jump: timedelta
) -> None:
    """It arrives a second after its sender gave it up. Given up too soon, the item would be rendered twice."""
    set_times(read_timeout_seconds=0.3)
    project = make_project(server=proxy.url, count=1)
    proxy.hold("POST /api/prompt", times=1)
    posts = lambda: sum(head.startswith("POST /api/prompt") for head in proxy.requests)  # noqa: E731
    with in_background(run, project, clock) as end:
        proxy.wait_for_held()
        clock.ahead = jump
        began = clock.monotonic()
        wait_until(lambda: posts() > 1 or clock.monotonic() > began + 1.3)
        proxy.release()
        report = end()
        seconds = clock.monotonic() - began
    assert (report.completed, report.rendered_twice, posts()) == (1, 0, 1)
    assert seconds < 10
    check_sane(project, report)
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("jump", JUMPS)
def test_an_intent_that_a_killed_burst_left_is_waited_for_no_longer_than_the_limit(
    make_project: MakeProject, sandbox: Sandbox, clock: SetClock, jump: timedelta
) -> None:
    project = make_project(count=1)
    killed = project.run(launch=["--kill", "before:orchestrator.comfyui.client:ComfyUI.submit"])
    assert killed.code == 137
    assert [item.in_doubt for item in project.items()] == [True]
    clock.ahead = jump
    began = clock.monotonic()
    report = run(project, clock)
    assert report.completed == 1
    assert clock.monotonic() - began < 10
    check_sane(project, report)
    project.check_all_done(sandbox.counts())


def test_the_end_of_a_doubt_stays_when_the_record_changes() -> None:
    waits = [10.0, 3600.0, 3600.0]

    class HandClock(Clock):
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    clock = HandClock()
    in_flight = InFlight(clock, lambda item: waits.pop(0))
    item = Item(key="a", status=Status.SUBMITTED, prompt_id="one")
    in_flight.take_in(item)
    clock.seconds = 4.0
    in_flight.take_in(item.request_cancel())
    assert in_flight.seconds_in_doubt() == 6.0
    assert in_flight.items() == [item.request_cancel()]
    in_flight.take_in(msgspec.structs.replace(item, prompt_id="two"))
    assert in_flight.seconds_in_doubt() == 3600.0


# What killed bursts teach


def killed_after_the_clock_was_set(folder: Path, clock: SetClock, *, lived: timedelta, jump: timedelta) -> Holder:
    """What a burst leaves that was begun so long ago, saw the clock set, and was killed then."""
    lock = FileRunLock(folder, clock=clock)
    lock.acquire()
    began = clock.now() - lived
    lock.hold(burst="b", started_at=began, size=15, run_started_at=began)
    clock.ahead += jump
    wait_until(lambda: (found := lock.holder()) and found.started_at != began, what="the beginning told anew")
    keeper = lock._keeper
    assert keeper is not None
    keeper._ended.set()
    lock._lock.release()  # what the system does at a kill
    now = clock.now().timestamp()
    os.utime(lock.holder_path, (now, now))
    left = FileRunLock(folder, clock=clock).acquire()
    assert left is not None
    return left[0]


@pytest.mark.parametrize("jump", JUMPS)
def test_the_learned_limit_is_not_fooled(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    """Two runs were killed after a minute, and then a third whose clock was set meanwhile."""
    monkeypatch.setattr("state.json.holder.TOUCH_SECONDS", 0.01)
    holder = killed_after_the_clock_was_set(tmp_path, clock, lived=timedelta(seconds=60), jump=jump)
    record = holder.killed_record(clock.now())
    assert record.seconds == pytest.approx(60, abs=10)
    assert record.alive_seconds == pytest.approx(60, abs=10)
    assert record.started_at < record.ended_at
    earlier = [killed_record(number, alive_seconds=60) for number in range(2)]
    learned = learned_limit([*earlier, record])
    assert learned is not None
    assert (learned.seconds, learned.kills) == (60, 3)


def killed_record(number: int, *, alive_seconds: float) -> BurstRecord:
    began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    ended = began + timedelta(seconds=alive_seconds)
    return BurstRecord(
        burst=f"k{number}", started_at=began, ended_at=ended, ended="killed", size=15, alive_seconds=alive_seconds
    )


def test_a_holder_touched_in_the_future_is_not_shown_as_living(tmp_path: Path, clock: SetClock) -> None:
    """Its burst was killed on another host before the clock was set back."""
    began = datetime.now(UTC)
    holder = Holder(host="elsewhere", boot_id="another", pid=1, burst="b", started_at=began, size=1)
    (tmp_path / "holder.json").write_bytes(msgspec.json.encode(holder))
    looker = FileRunLock(tmp_path, clock=clock)
    assert looker.living_holder() == holder
    clock.ahead = timedelta(hours=-1)
    assert looker.living_holder() is None


def test_waiting_for_the_lock_is_not_cut_short_or_drawn_out(tmp_path: Path, clock: SetClock) -> None:
    first, second = FileRunLock(tmp_path), FileRunLock(tmp_path, clock=clock)
    first.acquire()
    never = threading.Event()
    with in_background(second.acquire, wait_seconds=60.0) as end:
        for jump in (timedelta(days=1), timedelta(hours=-1)):
            clock.ahead = jump
            never.wait(0.1)
        first.release()
        assert end() is None
    second.release()

"""`burst status` on a state in a database: the runs of all hosts, and what it costs to look on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from support.hand_clock import BEGINNING, HandClock
from support.leases import begin
from support.state_scenes import PENDING, cancel, item, submit
from support.stores import KINDS, State

from orchestrator.status import read_status, watch_status
from state.change import Change
from state.lease import Lease
from state.live import Live, Running

SQL = [kind for kind in KINDS if not kind.one_run]


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(6)])
        yield state


class WaitingClock(HandClock):
    """Each wait passes at once, after `meanwhile` was called with its number."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def meanwhile(self, number: int) -> None:
        """What others do in that wait."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits += 1
        self.seconds += seconds
        self.meanwhile(self.waits)
        return False


def at_work(state: State, burst: str, key: str, server: str) -> Lease:
    lease = state.open().lease()
    lease.renew_no_more()  # type: ignore[attr-defined]
    begin(lease, burst)
    (item,) = lease.claim(1)
    assert item.key == key
    lease.apply([Change(key, PENDING, submit())])
    lease.show(
        Live(
            burst=burst,
            at=BEGINNING,
            running=(Running(item=key, server=server, since=BEGINNING, node="KSampler", step=4, steps=20),),
        )
    )
    return lease


def test_the_runs_of_all_hosts_and_what_each_renders(state: State) -> None:
    with at_work(state, "b1", "0", "gpu1") as one, at_work(state, "b2", "1", "gpu2"):
        one.publish_wait("gpu3 does not answer")
        report = read_status(state.open().location.path)
        found = report.as_json()
        lines = report.as_text().splitlines()
    assert [(run["burst"], run["waits_for"]) for run in found["runs"]] == [("b1", "gpu3 does not answer"), ("b2", None)]
    assert [(one["item"], one["server"], one["step"]) for one in found["rendering"]] == [
        ("0", "gpu1", 4),
        ("1", "gpu2", 4),
    ]
    assert sum(line.startswith("A burst is at work: pid ") for line in lines) == 2
    assert [line.split(": KSampler")[0] for line in lines if line.startswith("Rendering")] == [
        "Rendering: 0 on gpu1",
        "Rendering: 1 on gpu2",
    ]
    assert sum("gpu3 does not answer" in line for line in lines) == 1


def test_looking_on_costs_little_while_nothing_changes_and_shows_each_change(state: State) -> None:
    """For a minute, twice a second; then somebody cancels an item, which is shown at once."""
    other, clock, made = state.open(), WaitingClock(), []
    counted = [0]

    def note(*rest: object) -> None:
        counted[0] += 1

    def meanwhile(number: int) -> None:
        if number == 1:
            counted[0] = 0
        if number == 121:
            made.append(counted[0])
            other.apply([Change(one.key, PENDING, cancel) for one in other.items(PENDING)])

    clock.meanwhile = meanwhile  # type: ignore[method-assign]
    event.listen(Engine, "before_cursor_execute", note)
    try:
        left = [report.remaining for report in watch_status(state.open().location.path, clock=clock)]
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert left == [6, 0]
    assert made[0] / 60 <= 5, "statements a second"
    assert clock.seconds <= 60 + timedelta(seconds=4).total_seconds()

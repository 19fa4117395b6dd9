"""Leases on a SQL state: runs at work at the same time, one that slept through its lease, and clocks that differ."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from support.background import Threads
from support.hand_clock import HandClock
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import NOON, PENDING, SUBMITTED, complete, item, submit
from support.stores import KINDS, State

from orchestrator.errors import LockHeld, StaleChange
from state.burst_record import BurstRecord
from state.change import Change
from state.lease import Lease
from state.sql.leases import LEASE_SECONDS
from state.sql.schema import events, items, leases

SQL = [kind for kind in KINDS if not kind.one_run]


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(40)])
        yield state


@pytest.fixture
def a(state: State) -> Iterator[Lease]:
    with state.open().lease() as lease:
        begin(lease, "a")
        yield lease


@pytest.fixture
def b(state: State) -> Iterator[Lease]:
    with state.open().lease() as lease:
        begin(lease, "b")
        yield lease


def rows(state: State, asked: Any) -> list[Any]:
    with state.open()._database.connect() as connection:  # type: ignore[attr-defined]
        return list(connection.execute(asked).all())


def sleep_through(state: State, lease: Lease) -> None:
    """As if its run had been stopped for longer than its lease, which nobody has ended yet."""
    with state.open()._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(
            update(leases)
            .where(leases.c.id == lease.id)  # type: ignore[attr-defined]
            .values(expires_at=leases.c.expires_at - LEASE_SECONDS - 1, host="another")
        )


def test_runs_at_the_same_time_share_nothing(a: Lease, b: Lease) -> None:
    first, second = keys_of(a.claim(5)), keys_of(b.claim(5))
    assert (first, second) == (["0", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"])
    a.apply([Change("0", PENDING, submit())])
    assert b.take_over(["0"]) == []
    with pytest.raises(StaleChange):
        b.apply([Change("0", SUBMITTED, complete)])
    with pytest.raises(StaleChange):
        b.apply([Change("1", PENDING, submit())])
    assert list(b.left_behind()) == []


def test_a_claim_never_returns_more_than_asked(state: State, a: Lease) -> None:
    with Threads(4) as threads:
        found = [keys_of(some) for some in threads.map(lambda _: a.claim(3), range(8))]
    assert [len(some) for some in found] == [3] * 8
    assert len({key for some in found for key in some}) == 24
    assert len(rows(state, select(items.c.key).where(items.c.lease.is_not(None)))) == 24


def test_a_run_that_slept_through_its_lease_changes_nothing(state: State, a: Lease, b: Lease) -> None:
    """Frozen after its intents; another run takes over and goes on; then it wakes up."""
    a.claim(1)
    a.apply([Change("0", PENDING, submit(prompt_id="of-a"))])
    sleep_through(state, a)
    assert keys_of(list(b.left_behind())) == ["0"]
    (taken,) = b.take_over(["0"])
    assert taken.prompt_id == "of-a"
    b.apply([Change("0", SUBMITTED, lambda now: now.put_back(charge=False))])
    b.apply([Change("0", PENDING, submit(prompt_id="of-b"))])
    before = rows(state, select(events.c.id))
    for attempt in (
        lambda: a.guard_post("0"),
        a.check,
        lambda: a.apply([Change("0", SUBMITTED, complete)]),
        lambda: a.claim(1),
    ):
        with pytest.raises(LockHeld, match=r"has ended: it did not renew it for 60 s.*burst b"):
            attempt()
    assert state.open().get("0").prompt_id == "of-b"
    assert rows(state, select(events.c.id)) == before


def test_a_lease_that_has_expired_is_not_renewed(state: State, a: Lease) -> None:
    """Also where nobody has ended it yet: somebody may be about to."""
    sleep_through(state, a)
    a._renew()  # type: ignore[attr-defined]
    with pytest.raises(LockHeld):
        a.check()


def test_a_lease_that_was_renewed_meanwhile_is_not_ended(state: State, a: Lease) -> None:
    """Between the look at it and its end."""
    a.claim(2)
    store = state.open()
    found = store._leases.open_in  # type: ignore[attr-defined]

    def look_then_renew(connection: Any) -> Any:
        seen = found(connection)
        now = leases.c.renewed_at + 1
        connection.execute(update(leases).where(leases.c.ended_at.is_(None)).values(renewed_at=now))
        return [type(row)(**{**vars(row), "is_alive": False}) for row in seen]

    store._leases.open_in = look_then_renew  # type: ignore[attr-defined]
    with store.lease():
        assert len(rows(state, select(leases.c.id).where(leases.c.ended_at.is_(None)))) == 2
    a.check()
    held = select(items.c.key).where(items.c.lease.is_not(None)).order_by(items.c.key)
    assert [row.key for row in rows(state, held)] == ["0", "1"]


def test_what_expired_runs_had_claimed_is_due_and_what_they_submitted_is_taken_over_once(
    state: State, a: Lease
) -> None:
    a.claim(3)
    a.apply([Change("0", PENDING, submit())])
    sleep_through(state, a)
    with state.open().lease() as b, state.open().lease() as c, Threads(2) as threads:
        taken = list(threads.map(lambda lease: keys_of(lease.take_over(["0"])), (b, c)))
        assert sorted(taken) == [[], ["0"]]
        assert keys_of(b.claim(2)) == ["1", "2"]
    assert rows(state, select(items.c.key).where(items.c.lease.is_not(None))) == []


def test_a_stale_change_leaves_no_event(state: State, a: Lease) -> None:
    before = rows(state, select(events.c.id))
    for target in (a, state.open()):
        with pytest.raises(StaleChange) as stale:
            target.apply([Change("0", PENDING, submit()), Change("1", SUBMITTED, complete)])
        assert stale.value.keys == ["1"]
    assert rows(state, select(events.c.id)) == before
    assert state.open().get("0").status is PENDING


def test_events_say_who_changed_what(state: State, a: Lease) -> None:
    a.apply([Change("0", PENDING, submit(prompt_id="p"))])
    asked = select(events.c.item, events.c.was, events.c.becomes, events.c.lease, events.c.server, events.c.prompt_id)
    last = rows(state, asked.order_by(events.c.id.desc()).limit(1))
    assert [tuple(row) for row in last] == [("0", "pending", "submitted", a.id, "s", "p")]  # type: ignore[attr-defined]


def test_clocks_of_hosts_do_not_count_where_several_share_a_state(tmp_path: Path) -> None:
    """An hour apart, they would end one another's leases."""
    (kind,) = [kind for kind in SQL if not kind.one_host]
    late = HandClock()
    late.seconds = 3600.0
    with State(kind, tmp_path) as state:
        store = state.open(create=True, clock=HandClock())
        store.add([item("a")])
        with store.lease() as ours, state.open(clock=late).lease() as theirs:
            begin(ours, "ours")
            assert [held.burst for held in state.open(clock=late).holders()] == ["ours"]
            assert keys_of(ours.claim(1)) == ["a"]
            assert theirs.claim(1) == []
            assert abs(ours.now() - theirs.now()) < timedelta(minutes=5)
            at = rows(state, select(events.c.at))[0].at
            assert abs(datetime.fromtimestamp(at, ours.now().tzinfo) - ours.now()) < timedelta(minutes=5)


def test_each_of_several_killed_runs_is_recorded_once_by_whoever_sweeps(state: State, a: Lease, b: Lease) -> None:
    """While another run works, whose burst is on record already."""
    with state.open().lease() as living:
        begin(living, "living")
        living.end_burst(BurstRecord(burst="living", started_at=NOON, ended_at=NOON, ended="done", size=1))
        for lease in (a, b):
            sleep_through(state, lease)
        assert [record.burst for record in state.open().killed_bursts()] == ["a", "b"]
        stores = [state.open() for _ in range(4)]
        with Threads(4) as threads:
            for lease in threads.map(lambda store: store.lease(), stores):
                lease.record_killed()
                lease.end()
        list(living.left_behind())
        assert state.open().killed_bursts() == []
        records = state.open().bursts.read()
    assert sorted((record.burst, record.ended) for record in records) == [
        ("a", "killed"),
        ("b", "killed"),
        ("living", "done"),
    ]


def test_a_run_that_lives_after_all_has_one_record_of_its_burst(state: State, a: Lease, b: Lease) -> None:
    """It slept through its lease, was taken for killed, and woke up."""
    sleep_through(state, a)
    list(b.left_behind())
    assert [record.ended for record in state.open().bursts.read()] == ["killed"]
    a.end_burst(BurstRecord(burst="a", started_at=NOON, ended_at=NOON, ended="error", size=1, completed=3))
    assert [(record.burst, record.ended) for record in state.open().bursts.read()] == [("a", "error")]

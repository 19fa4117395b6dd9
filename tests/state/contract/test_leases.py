"""The lease: what one run holds, what another may take over, and what guards a change and a POST."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest
from support.background import Threads
from support.hand_clock import HandClock
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import NOON, cancel, submit
from support.stores import State

from orchestrator.errors import LockHeld, StaleChange
from state.burst_record import BurstRecord
from state.change import Change, change_all
from state.item import Item, OutputRecord, Status
from state.lease import Lease
from state.live import Live, Running
from state.store import Store


@pytest.fixture
def store(store: Store) -> Store:
    """Of ten pending items."""
    store.add([Item(key=f"{number}", status=Status.PENDING) for number in range(10)])
    return store


def submitted(lease: Lease, *names: str) -> None:
    lease.apply([Change(name, Status.PENDING, submit()) for name in names])


# What a run shows


def test_what_a_run_shows_is_there_until_it_ends(state: State, store: Store) -> None:
    reader = state.open()
    live = Live(burst="b1", at=NOON, running=(Running(item="1", server="gpu1", since=NOON),), preview_of="1")
    with store.lease() as lease:
        assert reader.live() is None
        begin(lease, "b1")
        lease.show(live, preview=b"image")
        assert reader.live() == live
        assert reader.live_preview() == b"image"
        if state.one_run:
            lease.show(Live(burst="b1", at=NOON))
            assert reader.live() == Live(burst="b1", at=NOON)
        begin(lease, "b2")
        assert reader.live() is None, "of another burst"
    assert reader.live() is None
    assert reader.live_preview() is None


# Claim and release


def test_what_is_claimed_is_not_claimed_again_until_it_is_released(store: Store) -> None:
    with store.lease() as lease:
        assert keys_of(lease.claim(3)) == ["0", "1", "2"]
        assert keys_of(lease.claim(2)) == ["3", "4"]
        lease.release(["1", "4", "not held"])
        assert keys_of(lease.claim(3)) == ["1", "4", "5"]


def test_a_claim_passes_over_what_is_skipped_and_what_is_not_accepted(store: Store) -> None:
    with store.lease() as lease:
        found = lease.claim(3, skip={"0", "2"}, accept=lambda item: int(item.key) % 2 == 0)
        assert keys_of(found) == ["4", "6", "8"]
        assert keys_of(lease.claim(3)) == ["0", "1", "2"], "nothing else is held"


def test_these_are_claimed_where_they_are_due_and_free(store: Store) -> None:
    with store.lease() as lease:
        assert keys_of(lease.claim(2)) == ["0", "1"]
        submitted(lease, "0")
        assert keys_of(lease.claim_these(["1", "7", "0", "gone", "7", "5", "3"], limit=2)) == ["7", "5"]
        assert keys_of(lease.claim_these(["7"], limit=9)) == []
        assert keys_of(lease.claim(9)) == ["2", "3", "4", "6", "8", "9"]
        lease.release(["7"])
        assert keys_of(lease.claim_these(["7"], limit=9)) == ["7"]


def test_a_claim_changes_no_record_and_hides_nothing_from_readers(state: State, store: Store) -> None:
    reader = state.open()
    with store.lease() as lease:
        lease.claim(3)
        assert reader.changes().keys == []
        assert keys_of(reader.due(3)) == ["0", "1", "2"]
        assert reader.due_count() == 10


def test_threads_that_claim_at_once_share_nothing(store: Store) -> None:
    """They meet while each looks for items, which `accept` draws out."""
    met = threading.Barrier(4, timeout=30)
    waited = threading.local()

    def accept(_: Item) -> bool:
        if not getattr(waited, "once", False):
            waited.once = True
            met.wait()
        return True

    with store.lease() as lease, Threads(4) as threads:
        claimed = list(threads.map(lambda _: keys_of(lease.claim(2, accept=accept)), range(4)))
    found = [key for each in claimed for key in each]
    assert len(found) == len(set(found))
    assert all(claimed), "there was enough for each"


def test_what_ended_under_a_claim_is_not_due_again_by_its_release(store: Store) -> None:
    with store.lease() as lease:
        (item, *_) = lease.claim(1)
        change_all(lease, [item], cancel)
        lease.release([item.key])
        assert "0" not in keys_of(lease.claim(10))


def test_an_ended_lease_holds_nothing(store: Store) -> None:
    with store.lease() as lease:
        lease.claim(10)
    with store.lease() as lease:
        assert len(lease.claim(10)) == 10


# Taking over


def test_what_a_run_left_submitted_is_taken_over_once(state: State, store: Store) -> None:
    with store.lease() as lease:
        submitted(lease, "2", "5")
    with state.open().lease() as lease:
        assert keys_of(list(lease.left_behind())) == ["2", "5"]
        assert keys_of(lease.take_over(["5", "5", "7", "no such"])) == ["5"], "7 is pending"
        assert keys_of(list(lease.left_behind())) == ["2"]
        assert lease.take_over(["5"]) == []
        assert keys_of(lease.take_over(["2"])) == ["2"]
        lease.release(["5"])
        assert keys_of(list(lease.left_behind())) == ["5"]


def test_what_is_taken_over_stays_held_when_it_is_due_again(store: Store) -> None:
    with store.lease() as lease:
        submitted(lease, "0")
        (item,) = lease.take_over(["0"])
        change_all(lease, [item], lambda now: now.put_back(charge=False))
        assert "0" not in keys_of(lease.claim(10))
        lease.release(["0"])
        assert keys_of(lease.claim(10)) == ["0"]


def test_taken_over_is_the_record_as_it_is_now(state: State, store: Store) -> None:
    with store.lease() as lease:
        submitted(lease, "0", "1")
    with state.open().lease() as lease:
        seen = list(lease.left_behind())
        other = state.open()
        other.apply([Change("0", Status.SUBMITTED, lambda now: now.request_cancel())])
        other.apply([Change("1", Status.SUBMITTED, cancel)])
        lease.check()
        store.refresh()
        assert [item.cancel_requested for item in seen] == [False, False]
    with store.lease() as lease:
        (now,) = lease.take_over(["0", "1"])
        assert (now.key, now.cancel_requested) == ("0", True)


def test_a_run_alone_with_its_own_items_finds_nothing_left(state: State, store: Store) -> None:
    with store.lease() as lease:
        submitted(lease, "2")
        lease.take_over(["2"])
        lease.claim(3)
        assert not lease.is_any_left(["s"])


# One run at a time


def test_a_second_run_is_refused_and_told_who_works_where_only_one_may(state: State, store: Store) -> None:
    with store.lease() as lease:
        begin(lease, "b1", NOON)
        if state.one_run:
            with pytest.raises(LockHeld, match=r"pid \d+ on .* \(burst b1, started 20"):
                state.open().lease()
        else:
            state.open().lease().end()
        assert [holder.burst for holder in state.open().holders()] == ["b1"]
        assert state.open().is_leased()
    assert state.open().holders() == []
    assert not state.open().is_leased()
    state.open().lease().end()


def test_a_lease_begins_with_everything_that_others_wrote(state: State, store: Store) -> None:
    state.open().apply([Change("0", Status.PENDING, cancel)])
    with store.lease() as lease:
        assert keys_of(lease.claim(1)) == ["1"]


def test_others_change_items_beside_a_lease(state: State, store: Store) -> None:
    with store.lease() as lease:
        (item,) = lease.claim(1)
        state.open().apply([Change("0", Status.PENDING, cancel)])
        with pytest.raises(StaleChange):
            lease.apply([Change(item.key, item.status, submit())])
        assert store.get("0").status is Status.CANCELLED


# Bursts


def test_a_killed_run_leaves_its_items_and_its_burst_to_the_next(state: State, store: Store) -> None:
    killed = state.worker("lease", count=3)
    killed.wait_for(3)
    assert [holder.burst for holder in store.holders()] == ["killed"]
    assert (store.killed_bursts(), store.is_leased()) == ([], True)
    if state.one_run:
        with pytest.raises(LockHeld, match="burst killed"):
            store.lease()
    killed.kill()
    (record,) = store.killed_bursts()
    assert (record.burst, record.ended, record.size) == ("killed", "killed", 15)
    assert (store.holders(), store.is_leased()) == ([], False)
    # As if it had been killed after this checkpoint, which names it.
    made = OutputRecord(path="9.png", bytes=70, sha256="0")
    store.apply([Change("9", Status.PENDING, submit(server="gpu1"))], burst="killed")
    done = lambda item: item.complete(outputs=(made,), at=record.ended_at, seconds=2.5)  # noqa: E731
    store.apply([Change("9", Status.SUBMITTED, done)], burst="killed")
    with store.lease() as lease:
        lease.record_killed()
        lease.record_killed()
        assert keys_of(lease.take_over([item.key for item in lease.left_behind()])) == ["0", "1", "2"]
        assert keys_of(lease.claim(10)) == ["3", "4", "5", "6", "7", "8"]
    assert state.parts().killed_bursts() == []
    counted = msgspec.structs.replace(record, rendered=1, bytes=70, server_seconds={"gpu1": 2.5})
    assert store.bursts.read() == [counted]


def test_bursts_that_end_are_recorded_in_order(store: Store) -> None:
    with store.lease() as lease:
        for burst in ("b1", "b2"):
            begin(lease, burst, NOON)
            lease.end_burst(BurstRecord(burst=burst, started_at=NOON, ended_at=NOON, ended="done", size=1))
    assert [record.burst for record in store.bursts.read()] == ["b1", "b2"]
    with store.lease() as lease:
        lease.record_killed()
    assert [record.burst for record in store.bursts.read()] == ["b1", "b2"]


def test_a_run_that_is_killed_after_its_bursts_has_no_record_more(state: State, store: Store) -> None:
    killed = state.worker("record", count=1)
    killed.wait_for(1)
    killed.kill()
    assert store.killed_bursts() == []
    with store.lease() as lease:
        lease.record_killed()
    assert [(record.burst, record.ended) for record in store.bursts.read()] == [("killed", "done")]


def test_the_time_is_that_of_the_store(state: State, store: Store) -> None:
    clock = HandClock()
    with state.open(clock=clock).lease() as lease:
        before = lease.now()
        clock.seconds += 90
        assert ((lease.now() - before).total_seconds() == 90) == state.one_host
        assert lease.now() >= before


# A lease that is lost


@pytest.fixture
def lost(state: State, store: Store) -> Iterator[Lease]:
    with store.lease() as lease:
        begin(lease, "ours", NOON)
        submitted(lease, "0")
        state.lose_lease(store)
        yield lease


def test_no_post_starts_under_a_lost_lease(lost: Lease) -> None:
    """At once, not only after the next look at who holds the state."""
    with pytest.raises(LockHeld, match="burst theirs"):
        lost.guard_post("0")


def test_nothing_is_changed_under_a_lost_lease(lost: Lease, store: Store) -> None:
    with pytest.raises(LockHeld):
        lost.guard_post("0")
    before = store.get("0")
    for attempt in (lost.check, lambda: change_all(lost, [before], cancel)):
        with pytest.raises(LockHeld, match="burst theirs"):
            attempt()
    store.refresh()
    assert store.get("0") == before


def test_a_lost_lease_ends_without_touching_the_other_ones(lost: Lease, store: Store) -> None:
    with pytest.raises(LockHeld):
        lost.guard_post("0")
    lost.end()
    assert [holder.burst for holder in store.holders()] == ["theirs"]


def test_what_a_run_waits_for_is_seen_by_all_until_it_goes_on(store: Store, other: Store) -> None:
    with store.lease() as lease:
        begin(lease, "b1")
        lease.publish_wait("gpu1 does not answer")
        assert [(one.burst, one.waits_for) for one in other.holders()] == [("b1", "gpu1 does not answer")]
        lease.check()
        lease.publish_wait(None)
        assert [one.waits_for for one in other.holders()] == [None]
        lease.publish_wait("gpu1 does not answer")
        begin(lease, "b2")
        assert [(one.burst, one.waits_for) for one in other.holders()] == [("b2", None)]
    assert other.holders() == []

"""The lease: what one run holds, what another may take over, and what guards a change and a POST."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.hand_clock import HandClock
from support.leases import begin
from support.state_scenes import NOON

from orchestrator.errors import LockHeld, StaleChange
from state.burst_record import BurstRecord
from state.change import Change, change_all
from state.item import Item, Status
from state.lease import Lease
from state.open_store import open_store, parts_of
from state.store import Store

Open = Callable[[], Store]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the same state of ten pending items, as often as it is called."""
    stores: list[Store] = []

    def open_it() -> Store:
        stores.append(open_store(tmp_path / "state.json", create=True))
        return stores[-1]

    open_it().add([Item(key=f"{number}", status=Status.PENDING) for number in range(10)])
    yield open_it
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> Store:
    return opened()


def keys(items: list[Item]) -> list[str]:
    return [item.key for item in items]


def submit(lease: Lease, *names: str) -> None:
    lease.apply([Change(name, Status.PENDING, lambda now: _submitted(now)) for name in names])


def _submitted(now: Item) -> Item:
    return now.submit(prompt_id=f"p{now.key}", server="s", at=NOON, fingerprint="f")


def cancelled(now: Item) -> Item:
    return now.cancel()


# Claim and release


def test_what_is_claimed_is_not_claimed_again_until_it_is_released(store: Store) -> None:
    with store.lease() as lease:
        assert keys(lease.claim(3)) == ["0", "1", "2"]
        assert keys(lease.claim(2)) == ["3", "4"]
        lease.release(["1", "4", "not held"])
        assert keys(lease.claim(3)) == ["1", "4", "5"]


def test_a_claim_passes_over_what_is_skipped_and_what_is_not_accepted(store: Store) -> None:
    with store.lease() as lease:
        found = lease.claim(3, skip={"0", "2"}, accept=lambda item: int(item.key) % 2 == 0)
        assert keys(found) == ["4", "6", "8"]
        assert keys(lease.claim(3)) == ["0", "1", "2"], "nothing else is held"


def test_a_claim_changes_no_record_and_hides_nothing_from_readers(store: Store, opened: Open) -> None:
    reader = opened()
    with store.lease() as lease:
        lease.claim(3)
        assert reader.changes().keys == []
        assert keys(reader.due(3)) == ["0", "1", "2"]
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

    with store.lease() as lease, ThreadPoolExecutor(4) as threads:
        claimed = list(threads.map(lambda _: keys(lease.claim(2, accept=accept)), range(4)))
    found = [key for each in claimed for key in each]
    assert len(found) == len(set(found))
    assert all(claimed), "there was enough for each"


def test_what_ended_under_a_claim_is_not_due_again_by_its_release(store: Store) -> None:
    with store.lease() as lease:
        (item, *_) = lease.claim(1)
        change_all(lease, [item], cancelled)
        lease.release([item.key])
        assert "0" not in keys(lease.claim(10))


def test_an_ended_lease_holds_nothing(store: Store) -> None:
    with store.lease() as lease:
        lease.claim(10)
    with store.lease() as lease:
        assert len(lease.claim(10)) == 10


# Taking over


def test_what_a_run_left_submitted_is_taken_over_once(store: Store, opened: Open) -> None:
    with store.lease() as lease:
        submit(lease, "2", "5")
    with opened().lease() as lease:
        assert keys(list(lease.left_behind())) == ["2", "5"]
        assert keys(lease.take_over(["5", "5", "7", "no such"])) == ["5"], "7 is pending"
        assert keys(list(lease.left_behind())) == ["2"]
        assert lease.take_over(["5"]) == []
        assert keys(lease.take_over(["2"])) == ["2"]
        lease.release(["5"])
        assert keys(list(lease.left_behind())) == ["5"]


def test_what_is_taken_over_stays_held_when_it_is_due_again(store: Store) -> None:
    with store.lease() as lease:
        submit(lease, "0")
        (item,) = lease.take_over(["0"])
        change_all(lease, [item], lambda now: now.put_back(charge=False))
        assert "0" not in keys(lease.claim(10))
        lease.release(["0"])
        assert keys(lease.claim(10)) == ["0"]


def test_taken_over_is_the_record_as_it_is_now(store: Store, opened: Open) -> None:
    with store.lease() as lease:
        submit(lease, "0", "1")
    with opened().lease() as lease:
        seen = list(lease.left_behind())
        other = opened()
        other.apply([Change("0", Status.SUBMITTED, lambda now: now.request_cancel())])
        other.apply([Change("1", Status.SUBMITTED, cancelled)])
        lease.check()
        store.refresh()
        assert [item.cancel_requested for item in seen] == [False, False]
    with store.lease() as lease:
        (now,) = lease.take_over(["0", "1"])
        assert (now.key, now.cancel_requested) == ("0", True)


# One run at a time


def test_a_second_lease_is_refused_and_says_who_works(store: Store, opened: Open) -> None:
    with store.lease() as lease:
        begin(lease, "b1", NOON)
        with pytest.raises(LockHeld, match=r"pid \d+ on .* \(burst b1, started 20"):
            opened().lease()
        assert [holder.burst for holder in opened().holders()] == ["b1"]
        assert opened().is_leased()
    assert opened().holders() == []
    assert not opened().is_leased()
    opened().lease().end()


def test_a_lease_begins_with_everything_that_others_wrote(store: Store, opened: Open) -> None:
    opened().apply([Change("0", Status.PENDING, cancelled)])
    with store.lease() as lease:
        assert keys(lease.claim(1)) == ["1"]


def test_others_change_items_beside_a_lease(store: Store, opened: Open) -> None:
    with store.lease() as lease:
        (item,) = lease.claim(1)
        opened().apply([Change("0", Status.PENDING, cancelled)])
        with pytest.raises(StaleChange):
            lease.apply([Change(item.key, item.status, _submitted)])
        assert store.get("0").status is Status.CANCELLED


# Bursts


def test_the_burst_of_a_killed_run_is_known_until_it_is_recorded(store: Store, opened: Open, tmp_path: Path) -> None:
    folder = store.checkpoint_directory
    with store.lease() as lease:
        assert lease.killed is None
        begin(lease, "b1", NOON)
        left = (folder / "holder.json").read_bytes()
    (folder / "holder.json").write_bytes(left.replace(b'"pid":', b'"pid":999999'))
    killed = opened().killed_burst()
    assert killed is not None
    assert (killed.burst, killed.ended, killed.started_at) == ("b1", "killed", NOON)
    with store.lease() as lease:
        assert lease.killed == killed
        lease.end_burst(killed)
    assert parts_of(tmp_path / "state.json").killed_burst() is None
    assert [record.burst for record in store.bursts.read()] == ["b1"]


def test_bursts_that_end_are_recorded_in_order(store: Store) -> None:
    with store.lease() as lease:
        for burst in ("b1", "b2"):
            begin(lease, burst, NOON)
            lease.end_burst(BurstRecord(burst=burst, started_at=NOON, ended_at=NOON, ended="done", size=1))
    assert [record.burst for record in store.bursts.read()] == ["b1", "b2"]
    with store.lease() as lease:
        assert lease.killed is None


def test_the_time_is_that_of_the_store(tmp_path: Path) -> None:
    clock = HandClock()
    with open_store(tmp_path / "state.json", create=True, clock=clock) as store, store.lease() as lease:
        before = lease.now()
        clock.seconds += 90
        assert (lease.now() - before).total_seconds() == 90


# A lease that is lost: another host, whose locks this one does not see, took the state


@pytest.fixture
def lost(store: Store) -> Iterator[Lease]:
    with store.lease() as lease:
        begin(lease, "ours", NOON)
        submit(lease, "0")
        holder = store.checkpoint_directory / "holder.json"
        holder.write_bytes(holder.read_bytes().replace(b'"ours"', b'"theirs"').replace(b'"host":"', b'"host":"else'))
        yield lease


def test_no_post_starts_under_a_lost_lease(lost: Lease) -> None:
    """At once, not only after the next look at who holds the state."""
    with pytest.raises(LockHeld, match="burst theirs"):
        lost.guard_post()


def test_nothing_is_changed_under_a_lost_lease(lost: Lease, store: Store) -> None:
    with pytest.raises(LockHeld):
        lost.guard_post()
    before = store.get("0")
    for attempt in (lost.check, lambda: change_all(lost, [before], cancelled)):
        with pytest.raises(LockHeld, match="burst theirs"):
            attempt()
    store.refresh()
    assert store.get("0") == before


def test_a_lost_lease_ends_without_touching_the_other_ones(lost: Lease, store: Store) -> None:
    with pytest.raises(LockHeld):
        lost.guard_post()
    lost.end()
    assert [holder.burst for holder in store.holders()] == ["theirs"]

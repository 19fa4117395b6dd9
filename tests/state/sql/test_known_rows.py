"""What a run holds is changed without reading it again, and nothing that others do meanwhile is lost by that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import PENDING, SUBMITTED, complete, item, submit
from support.statements import statements_of
from support.stores import KINDS, State

from orchestrator.errors import LockHeld, StaleChange
from state.change import Change
from state.item import Item, ItemOutput
from state.lease import Lease
from state.sql.schema import items, leases
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item("a"), item("b")])
        yield state


@pytest.fixture
def store(state: State) -> Store:
    return state.open()


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    with store.lease() as lease:
        begin(lease, "ours")
        assert keys_of(lease.claim(2)) == ["a", "b"]
        yield lease


def moved(now: Item) -> Item:
    return now.move(server="moved")


def reads(made: list[str]) -> list[str]:
    """What it asks about items and leases before it writes."""
    return [text for text in made if text.lstrip().startswith("SELECT") and ("items" in text or "leases" in text)]


def test_what_a_run_holds_is_not_read_again(store: Store, lease: Lease) -> None:
    with statements_of(store._database) as made:  # type: ignore[attr-defined]
        lease.apply([Change(key, PENDING, submit()) for key in "ab"])
        lease.apply([Change("a", SUBMITTED, moved)])
        lease.apply([Change("a", SUBMITTED, complete)])
    assert (reads(made), store.get("a").server) == ([], "moved")


def test_what_others_changed_is_read_once_and_known_from_then_on(store: Store, lease: Lease, state: State) -> None:
    lease.apply([Change(key, PENDING, submit()) for key in "ab"])
    state.open().apply([Change("a", SUBMITTED, lambda now: now.request_cancel())])
    (changed,) = lease.apply([Change("a", SUBMITTED, moved)])
    assert (changed.server, changed.cancel_requested) == ("moved", True)
    assert state.open().get("a") == changed
    with statements_of(store._database) as made:  # type: ignore[attr-defined]
        lease.apply([Change("a", SUBMITTED, complete)])
    assert reads(made) == []


def test_what_others_ended_is_stale(lease: Lease, state: State) -> None:
    lease.apply([Change(key, PENDING, submit()) for key in "ab"])
    state.open().apply([Change("a", SUBMITTED, lambda now: now.cancel())])
    with pytest.raises(StaleChange) as stale:
        lease.apply([Change(key, SUBMITTED, complete) for key in "ab"])
    assert stale.value.keys == ["a"]
    assert state.open().get("b").status is SUBMITTED


def test_what_another_run_holds_by_now_is_stale(store: Store, lease: Lease) -> None:
    """And is otherwise as it was."""
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(items).where(items.c.key == "a").values(lease=99))
    for change in (Change("a", PENDING, submit()), Change("a", PENDING, moved)):
        with pytest.raises(StaleChange):
            lease.apply([change])
    assert store.get("a").status is PENDING


@pytest.mark.parametrize("count", [1, 2])
def test_a_lease_that_has_ended_writes_nothing(store: Store, lease: Lease, count: int) -> None:
    lease.apply([Change(key, PENDING, submit()) for key in "ab"])
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(leases).values(expires_at=0.0))
    with pytest.raises(LockHeld):
        lease.apply([Change(key, SUBMITTED, complete) for key in "ab"[:count]])
    assert [store.get(key).status for key in "ab"] == [SUBMITTED, SUBMITTED]


def test_an_item_that_was_made_from_it_meanwhile_is_due_when_it_ends(lease: Lease, state: State) -> None:
    lease.apply([Change("a", PENDING, submit())])
    other = state.open()
    other.add([item("stage", uploads={"image": ItemOutput(item="a", output=1)})])
    assert other.waiting() == ["stage"]
    lease.apply([Change("a", SUBMITTED, complete)])
    assert other.waiting() == []


def test_an_item_that_gets_another_batch_is_found_in_it(lease: Lease, store: Store) -> None:
    lease.apply([Change("a", PENDING, lambda now: msgspec.structs.replace(now, batch="new", index=3))])
    assert store.batch_keys("new", first=3) == ["a"]
    lease.apply([Change("a", PENDING, submit())])
    assert store.counts(batch="new").submitted == 1

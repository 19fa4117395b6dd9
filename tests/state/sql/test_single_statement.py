"""A change set that PostgreSQL makes in one statement: what others do between its reading and its writing counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import PENDING, SUBMITTED, item, submit
from support.stores import KINDS, State

from orchestrator.errors import LockHeld, StaleChange
from state.change import Change
from state.item import Item
from state.lease import Lease
from state.sql.schema import events, leases

(POSTGRESQL,) = (kind for kind in KINDS if not kind.one_host)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(POSTGRESQL, tmp_path) as state:
        state.open(create=True).add([item("a"), item("b")])
        yield state


@pytest.fixture
def lease(state: State) -> Iterator[Lease]:
    with state.open().lease() as lease:
        begin(lease, "ours")
        assert keys_of(lease.claim(2)) == ["a", "b"]
        lease.apply([Change(key, PENDING, submit()) for key in "ab"])
        yield lease


def test_what_others_write_meanwhile_is_not_overwritten(state: State, lease: Lease) -> None:
    """The whole change set is made again, on what is there then."""
    tries: list[str] = []

    def edit(now: Item) -> Item:
        tries.append(now.key)
        if len(tries) == 1:
            state.open().apply([Change("b", SUBMITTED, lambda other: other.request_cancel())])
        return now.move(server="moved")

    changed = lease.apply([Change(key, SUBMITTED, edit) for key in "ab"])
    assert tries == ["a", "b", "a", "b"]
    assert [(one.server, one.cancel_requested) for one in changed] == [("moved", False), ("moved", True)]
    assert list(state.open().items()) == changed


def test_what_others_end_meanwhile_is_stale_and_nothing_is_written(state: State, lease: Lease) -> None:
    def edit(now: Item) -> Item:
        if now.key == "a":
            state.open().apply([Change("b", SUBMITTED, lambda other: other.cancel())])
        return now.move(server="moved")

    with pytest.raises(StaleChange) as stale:
        lease.apply([Change(key, SUBMITTED, edit) for key in "ab"])
    assert stale.value.keys == ["b"]
    assert state.open().get("a").server != "moved"


def test_a_lease_that_expires_meanwhile_writes_nothing(state: State, lease: Lease) -> None:
    database = state.open()._database  # type: ignore[attr-defined]

    def edit(now: Item) -> Item:
        with database.transaction() as connection:
            connection.execute(update(leases).values(expires_at=0.0))
        return now.move(server="moved")

    with database.connect() as connection:
        before = len(connection.execute(select(events.c.id)).all())
    with pytest.raises(LockHeld):
        lease.apply([Change("a", SUBMITTED, edit)])
    assert state.open().get("a").server != "moved"
    with database.connect() as connection:
        assert len(connection.execute(select(events.c.id)).all()) == before

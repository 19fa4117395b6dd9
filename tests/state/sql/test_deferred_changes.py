"""What a run may lose is committed with what follows it: one commit for each item that is rendered, not two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support.hand_clock import HandClock
from support.leases import begin
from support.outages import is_lasting
from support.plain_walk import keys_of
from support.state_scenes import PENDING, SUBMITTED, complete, item, submit
from support.statements import statements_of
from support.stores import KINDS, State

from orchestrator.errors import StaleChange
from state.change import Change
from state.item import Item, Status
from state.lease import Lease
from state.sql.schema import events, items
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]
COUNT = 15


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(COUNT)])
        yield state


@pytest.fixture
def store(state: State) -> Store:
    return state.open()


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    with store.lease() as lease:
        begin(lease, "ours")
        yield lease


def accept(now: Item) -> Item:
    return now.accept_as(prompt_id=str(now.prompt_id))


def sent(lease: Lease, count: int) -> list[str]:
    """The keys of items that a server has accepted."""
    keys = keys_of(lease.claim(count))
    lease.apply([Change(key, PENDING, submit(prompt_id=f"of-{key}")) for key in keys])
    for key in keys:
        (accepted,) = lease.apply([Change(key, SUBMITTED, accept)], sync=False)
        assert (accepted.accepted, accepted.prompt_id) == (True, f"of-{key}")
    return keys


def commits_in(made: list[str]) -> int:
    """Of transactions, and of statements outside of one."""
    found, is_begun = 0, False
    for statement in made:
        found += is_lasting(statement) and (statement == "COMMIT" or not is_begun)
        is_begun = "BEGIN" in statement or (is_begun and statement != "COMMIT")
    return found


def test_a_burst_takes_one_commit_an_item_and_few_more(store: Store, lease: Lease, state: State) -> None:
    """The claim, and the intents of all; then each item's end with its acceptance."""
    with statements_of(store._database) as made:  # type: ignore[attr-defined]
        for key in sent(lease, COUNT):
            lease.guard_post(key)
            (done,) = lease.apply([Change(key, SUBMITTED, complete)])
            assert done.status is Status.COMPLETED
            lease.release([key])
    assert commits_in(made) == COUNT + 2
    found = state.open().items()
    assert [(one.status, one.prompt_id) for one in found] == [(Status.COMPLETED, f"of-{n}") for n in range(COUNT)]
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        asked: Any = select(items.c.key).where(items.c.lease.is_not(None))
        assert connection.execute(asked).all() == []
        assert len(connection.execute(select(events.c.id)).all()) == 3 * COUNT


def test_what_a_kill_loses_is_in_doubt(lease: Lease, state: State) -> None:
    """It is looked up before it is sent again."""
    (key,) = sent(lease, 1)
    found = state.open().get(key)
    assert (found.status, found.prompt_id, found.in_doubt) == (SUBMITTED, "of-0", True)


@pytest.mark.parametrize("then", ["let go", "the end"])
def test_what_is_left_for_later_is_written(lease: Lease, state: State, then: str) -> None:
    (key,) = sent(lease, 1)
    if then == "let go":
        lease.release([key])
    else:
        lease.end()
    assert not state.open().get(key).in_doubt


def test_each_change_builds_on_what_is_kept_and_on_what_others_wrote(lease: Lease, state: State) -> None:
    (key,) = sent(lease, 1)
    (running,) = lease.apply([Change(key, SUBMITTED, lambda now: now.note_running())], sync=False)
    assert (running.accepted, running.seen_running) == (True, True)
    state.open().apply([Change(key, SUBMITTED, lambda now: now.request_cancel())])
    (changed,) = lease.apply([Change(key, SUBMITTED, lambda now: now.move(server="other"))])
    assert (changed.accepted, changed.seen_running, changed.cancel_requested) == (True, True, True)
    assert state.open().get(key) == changed


def test_what_others_have_ended_is_stale_and_nothing_is_kept_of_it(store: Store, lease: Lease, state: State) -> None:
    first, second = sent(lease, 2)
    state.open().apply([Change(first, SUBMITTED, complete)])
    with pytest.raises(StaleChange):
        lease.apply([Change(first, SUBMITTED, lambda now: now.note_running())], sync=False)
    with pytest.raises(StaleChange):
        lease.apply([Change(first, SUBMITTED, complete)])
    lease.end()
    other = state.open()
    assert (other.get(first).accepted, other.get(second).accepted) == (False, True)


def test_nothing_is_kept_for_long(state: State) -> None:
    """A kill then loses the last seconds alone."""
    clock = HandClock()
    store = state.open(clock=clock)
    with store.lease() as lease:
        begin(lease, "ours")
        (key,) = sent(lease, 1)
        kept = lease._deferred  # type: ignore[attr-defined]
        assert not kept.is_older(10.0)
        clock.seconds += 11.0
        assert kept.is_older(10.0)
        lease._write_kept()  # type: ignore[attr-defined]
        assert not kept.is_older(10.0)
        assert not state.open().get(key).in_doubt

"""Whether others may have written to a SQL state: heard at once where it matters, and looked for every 2 s."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hand_clock import HandClock
from support.postgres import database_without_state
from support.state_scenes import NOON, PENDING, SUBMITTED, cancel, complete, item, submit
from support.statements import statements_of
from support.stores import KINDS, State
from support.waiting import wait_until

from state.change import Change
from state.facts import Pause, ServerHealth
from state.location import Location
from state.sql.change_detector import POLL_SECONDS
from state.sql.database import Database
from state.sql.notifications import Listener, is_heard
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(4)])
        yield state


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(state: State, clock: HandClock) -> Store:
    """One that looks on, and has looked just now."""
    store = state.open(read_only=True, clock=clock)
    while store.may_have_changed():
        clock.seconds += 0.01
    return store


def test_nothing_has_changed_for_two_seconds_and_then_it_may_have(store: Store, clock: HandClock) -> None:
    with statements_of(store._database) as made:  # type: ignore[attr-defined]
        clock.seconds += POLL_SECONDS
        assert store.may_have_changed()
        assert not store.may_have_changed()
        clock.seconds += POLL_SECONDS - 0.1
        assert not store.may_have_changed()
        clock.seconds += 0.2
        assert store.may_have_changed()
    assert made == []


ANNOUNCED: dict[str, Callable[[Store], object]] = {
    "added": lambda other: other.add([item("new")]),
    "cancelled": lambda other: other.apply([Change("0", PENDING, cancel)]),
    "paused": lambda other: other.facts.append(Pause(paused=True, at=NOON)),
}


@pytest.mark.parametrize("write", ANNOUNCED.values(), ids=ANNOUNCED)
def test_what_others_add_cancel_or_pause_is_heard_at_once(
    state: State, store: Store, write: Callable[[Store], object]
) -> None:
    """The clock stands still: nobody polls."""
    write(state.open())
    wait_until(store.may_have_changed, what="news")
    assert not store.may_have_changed()


def test_what_runs_do_with_their_items_is_announced_by_nobody(state: State) -> None:
    """It would cost four writers more than a third of their pace."""
    other = state.open()
    with statements_of(other._database) as made, other.lease() as lease:  # type: ignore[attr-defined]
        lease.claim(1)
        lease.apply([Change("0", PENDING, submit())])
        lease.apply([Change("0", SUBMITTED, complete)])
        other.facts.append(ServerHealth(server="gpu1", health="well", at=NOON))
        assert not [statement for statement in made if "NOTIFY" in statement]
        other.apply([Change("1", PENDING, cancel)])
    assert len([statement for statement in made if "NOTIFY" in statement]) == (0 if state.one_host else 1)


def test_what_was_not_written_after_all_is_not_announced(state: State) -> None:
    if state.one_host:
        pytest.skip("on SQLite nothing is announced")
    listener = Listener(state.open()._database)  # type: ignore[attr-defined]
    other = state.open()
    with pytest.raises(ZeroDivisionError):
        other.apply([Change("0", PENDING, lambda now: 1 // 0)])  # type: ignore[arg-type, return-value]
    assert not listener.heard(wait_seconds=0.05)
    other.apply([Change("0", PENDING, cancel)])
    assert listener.heard(wait_seconds=30)
    listener.close()


def test_a_run_hears_too_and_then_asks_with_one_statement(state: State) -> None:
    store, other = state.open(), state.open()
    with store.lease() as lease:
        lease.renew_no_more()  # type: ignore[attr-defined]
        wait_until(lambda: not store.may_have_changed(), what="nothing new")
        with statements_of(store._database) as made:  # type: ignore[attr-defined]
            assert not any(store.may_have_changed() for _ in range(20))
            assert made == []
            other.add([item("new")])
            wait_until(store.may_have_changed, what="news")
        assert 1 <= len(made) <= 2
        assert list(store.changes().keys) == ["new"]


def test_a_lost_connection_is_listened_to_again(state: State, store: Store, clock: HandClock) -> None:
    if state.one_host:
        pytest.skip("on SQLite nobody listens")
    other = state.open()
    with other._database.connect() as connection:  # type: ignore[attr-defined]
        listening = "datname = current_database() AND query LIKE 'LISTEN %%'"
        asked = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}"
        assert connection.exec_driver_sql(asked).all()
    detector = store._detector  # type: ignore[attr-defined]
    wait_until(lambda: (store.may_have_changed(), detector._listener is None)[1], what="the loss")
    clock.seconds += POLL_SECONDS + 0.1
    wait_until(lambda: not store.may_have_changed(), what="nothing new")
    other.add([item("new")])
    wait_until(store.may_have_changed, what="news")


def test_whether_notifications_arrive_is_tried() -> None:
    assert is_heard(_database(database_without_state()))


def _database(address: str) -> Any:
    return Database(Location.of(address))

"""PostgreSQL that goes away in the middle of anything: what was begun is made once, whole, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, select, update
from support.leases import begin
from support.outages import Cuts, Waits, is_lasting
from support.plain_walk import keys_of
from support.state_scenes import COMPLETED, PENDING, SUBMITTED, complete, item, submit
from support.stores import KINDS, State

from orchestrator.errors import LockHeld, StaleChange, StateAway
from state.batch import GrownRecord
from state.burst_record import BurstRecord
from state.change import Change
from state.facts import Pause, Spend
from state.item import Status
from state.lease import Lease
from state.sql.commits import Begun
from state.sql.leases import LEASE_SECONDS
from state.sql.schema import events, items, leases, lines
from state.store import Store

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
(POSTGRESQL,) = (kind for kind in KINDS if not kind.one_host)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(POSTGRESQL, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(6)])
        yield state


@pytest.fixture
def store(state: State) -> Store:
    return state.open()


@pytest.fixture
def cuts(store: Store) -> Cuts:
    return Cuts(store)


@pytest.fixture
def lease(store: Store, cuts: Cuts) -> Iterator[Lease]:
    with store.lease() as lease:
        begin(lease, "ours")
        assert keys_of(lease.claim(2)) == ["0", "1"]
        lease.apply([Change("0", PENDING, submit(prompt_id="of-0"))])
        store.wait_with(Waits(20))
        yield lease


def rows(store: Store, asked: Any) -> list[Any]:
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        return list(connection.execute(asked).all())


def figures(state: State) -> dict[str, Any]:
    """What is counted twice where something is done twice."""
    reader = state.open()
    found = rows(reader, select(items.c.key, items.c.status, items.c.lease.is_(None)).order_by(items.c.seq))
    return {
        "items": found,
        "events": len(rows(reader, select(events.c.id))),
        "lines": len(rows(reader, select(lines.c.id))),
        "leases": len(rows(reader, select(leases.c.id).where(leases.c.ended_at.is_(None)))),
    }


RECORD = BurstRecord(burst="b", started_at=NOON, ended_at=NOON, ended="done", size=1, completed=1)
SPEND = Spend(server="gpu", prompts=1, at=NOON)
WORK: dict[str, Callable[[Store, Lease], object]] = {
    "claim": lambda store, lease: keys_of(lease.claim(2)),
    "intent": lambda store, lease: keys_of(lease.apply([Change("1", PENDING, submit())])),
    "checkpoint": lambda store, lease: keys_of(lease.apply([Change("0", SUBMITTED, complete)])),
    "take over": lambda store, lease: keys_of(lease.take_over(["0", "2"])),
    "release": lambda store, lease: lease.release(["0", "1"]),
    "renewal": lambda store, lease: lease._renew(),  # type: ignore[attr-defined]
    "a burst begins": lambda store, lease: begin(lease, "next"),
    "a burst ends": lambda store, lease: lease.end_burst(RECORD),
    "the end": lambda store, lease: lease.end(),
    "a second run": lambda store, lease: type(store.lease()),
    "addition": lambda store, lease: keys_of(
        store.add([item("new", batch="b")], batch=GrownRecord(batch="b", total=1))
    ),
    "cancellation": lambda store, lease: keys_of(store.apply([Change("3", PENDING, lambda now: now.cancel())])),
    "pause": lambda store, lease: store.facts.append(Pause(paused=True, at=NOON)),
    "spending": lambda store, lease: store.facts.spend(SPEND, most=5, since=NOON),
    "settings": lambda store, lease: store.settings.write("version = 2"),
    "reading": lambda store, lease: (store.counts(), keys_of(store.items()), store.due_count()),
}


def statements_of(cuts: Cuts, work: Callable[[], object]) -> int:
    cuts.count()
    work()
    return len(cuts.statements)


@pytest.mark.parametrize("name", WORK)
def test_a_connection_that_is_cut_anywhere_changes_nothing_of_the_outcome(name: str, tmp_path: Path) -> None:
    """At each statement, before it is executed or before its answer arrives, also that of COMMIT."""
    expected: tuple[object, dict[str, Any]] | None = None
    places: list[tuple[int, bool]] = [(0, False)]
    while places:
        number, after = places.pop()
        with State(POSTGRESQL, tmp_path) as state:
            store = state.open(create=True)
            store.add([item(f"{number}") for number in range(6)])
            cuts = Cuts(store)
            with store.lease() as lease:
                begin(lease, "ours")
                lease.claim(2)
                lease.apply([Change("0", PENDING, submit(prompt_id="of-0"))])
                store.wait_with(Waits(20))
                if expected is None:
                    cuts.count()
                    expected = WORK[name](store, lease), figures(state)
                    places = [(at, False) for at in range(1, len(cuts.statements) + 1)]
                    # After any other it is as before the next one.
                    places += [(at, True) for at, text in enumerate(cuts.statements, 1) if is_lasting(text)]
                    continue
                cuts.cut(number, after=after)
                found = WORK[name](store, lease), figures(state)
            assert found == expected, f"cut {'after' if after else 'before'} statement {number}"


def test_a_commit_that_was_made_is_not_made_again(store: Store, cuts: Cuts, lease: Lease) -> None:
    cuts.cut(word="COMMIT", after=True)
    assert store.apply([Change("3", PENDING, lambda now: None)]) == []
    assert "3" not in store
    assert sum("pg_xact_status" in text for text in cuts.statements) == 1
    assert sum("COMMIT" in text for text in cuts.statements) == 1


def test_a_commit_of_which_postgresql_does_not_know_yet_is_waited_for(
    store: Store, cuts: Cuts, lease: Lease, state: State
) -> None:
    """The connection is gone on this side alone: its transaction may still be committed."""
    waits = Waits(20, meanwhile=lambda number: [one.finish() for one in cuts.kept] if number == 3 else None)
    store.wait_with(waits)
    cuts.cut(word="COMMIT", keeps=True)
    assert store.apply([Change("3", PENDING, lambda now: None)]) == []
    assert waits.tries >= 3
    assert "has not ended a transaction" in waits.reasons[0]
    assert [row.becomes for row in rows(state.open(), select(events.c.becomes).where(events.c.item == "3"))] == [
        "pending",
        None,
    ]


def test_a_checkpoint_that_was_written_is_not_written_again(
    store: Store, cuts: Cuts, lease: Lease, state: State
) -> None:
    """Its answer is lost, and somebody has changed the item since."""
    cuts.cut(word="WITH written AS", after=True)
    other = state.open()
    store.wait_with(Waits(20))

    def change_it(*_: object) -> None:
        if other.get("0").status is Status.COMPLETED and not other.get("0").favourite:
            other.apply([Change("0", COMPLETED, lambda now: msgspec.structs.replace(now, favourite=True))])

    event.listen(store._database.engine, "engine_connect", change_it)  # type: ignore[attr-defined]
    (done,) = lease.apply([Change("0", SUBMITTED, complete)])
    assert (done.status, other.get("0").favourite) == (Status.COMPLETED, True)
    becomes = rows(state.open(), select(events.c.becomes).where(events.c.item == "0").order_by(events.c.id))
    assert [row.becomes for row in becomes] == ["pending", "submitted", "completed", "completed"]


def test_no_transaction_of_a_process_that_is_gone_keeps_its_locks(store: Store) -> None:
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        shown = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one()
    assert shown == "1min"
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one() == "0"


# While it is away


def test_without_patience_it_is_said_at_once(store: Store, cuts: Cuts) -> None:
    cuts.is_away = True
    cuts.cut()
    with pytest.raises(
        StateAway, match=r"PostgreSQL does not answer .*; check that it runs and can be reached"
    ) as away:
        store.counts()
    assert away.value.exit_code == 75


def test_a_reader_notices_no_restart_that_is_over(store: Store, cuts: Cuts) -> None:
    """Its connection was kept open: it is found to be cut by the next question, which a new one answers."""
    store.counts()
    cuts.cut()
    assert store.counts().pending == 6


def test_it_is_waited_for_with_one_message(
    store: Store, cuts: Cuts, lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    def comes_back(number: int) -> None:
        cuts.is_away = number < 4

    waits = Waits(20, meanwhile=comes_back)
    store.wait_with(waits)
    cuts.is_away = True
    cuts.cut()
    with caplog.at_level(logging.WARNING):
        lease.apply([Change("0", SUBMITTED, complete)])
    assert (waits.tries, len(waits.reasons)) == (4, 1)
    assert [record.message for record in caplog.records] == ["the database answers again after 0 s"]


def test_the_end_of_patience_ends_it_at_once_for_all_that_follows(store: Store, cuts: Cuts, lease: Lease) -> None:
    waits = Waits(3)
    store.wait_with(waits)
    cuts.is_away = True
    cuts.cut()
    with pytest.raises(StateAway):
        lease.apply([Change("0", SUBMITTED, complete)])
    tried = len(cuts.statements)
    for attempt in (lambda: lease.claim(1), lease.check, store.counts, lambda: lease.end_burst(RECORD)):
        with pytest.raises(StateAway):
            attempt()
    assert len(cuts.statements) == tried
    cuts.is_away = False
    store._database.outages._refused = None  # type: ignore[attr-defined]
    assert store.get("0").status is Status.SUBMITTED


# Longer than the lease


def expire(state: State, number: int) -> None:
    """As if so much time had passed."""
    with state.open()._database.transaction() as connection:  # type: ignore[attr-defined]
        passed = leases.c.expires_at - LEASE_SECONDS - 1
        connection.execute(update(leases).where(leases.c.id == number).values(expires_at=passed, host="another"))


def outlast(store: Store, cuts: Cuts, meanwhile: Callable[[], object]) -> None:
    """The next statement finds the database away, for longer than a lease; others do this in the meantime."""

    def comes_back(number: int) -> None:
        if number == 1:
            meanwhile()
        cuts.is_away = False

    store.wait_with(Waits(20, meanwhile=comes_back))
    cuts.is_away = True
    cuts.cut()


def test_a_run_goes_on_after_an_outage_longer_than_its_lease(
    store: Store, cuts: Cuts, lease: Lease, state: State
) -> None:
    number = lease.id  # type: ignore[attr-defined]
    outlast(store, cuts, lambda: expire(state, number))
    assert keys_of(lease.apply([Change("0", SUBMITTED, complete)])) == ["0"]
    assert lease.id != number  # type: ignore[attr-defined]
    assert [holder.burst for holder in store.holders()] == ["ours"]
    assert keys_of(lease.apply([Change("1", PENDING, submit())])) == ["1"]
    with state.open().lease() as other:
        assert keys_of(other.claim(9)) == ["2", "3", "4", "5"]


def test_it_takes_back_what_was_freed_and_nobody_has_taken(
    store: Store, cuts: Cuts, lease: Lease, state: State
) -> None:
    number = lease.id  # type: ignore[attr-defined]
    lease.claim(2)  # 2 and 3

    def another_begins() -> None:
        expire(state, number)
        other = state.open().lease()  # ends the lease
        assert keys_of(other.claim(1)) == ["1"]
        assert keys_of(other.take_over(["0"])) == ["0"]

    outlast(store, cuts, another_begins)
    lease.check()
    with state.open().lease() as third:
        assert keys_of(third.claim(9)) == ["4", "5"]
    for change in (Change("0", SUBMITTED, complete), Change("1", PENDING, submit())):
        with pytest.raises(StaleChange):
            lease.apply([change])


def test_what_was_taken_meanwhile_is_not_sent(store: Store, cuts: Cuts, lease: Lease, state: State) -> None:
    """Between the intent and the POST the database was away for longer than the lease."""
    number = lease.id  # type: ignore[attr-defined]
    lease.apply([Change("1", PENDING, submit(prompt_id="of-1"))])

    def another_begins() -> None:
        expire(state, number)
        assert keys_of(state.open().lease().take_over(["1"])) == ["1"]

    outlast(store, cuts, another_begins)
    with pytest.raises(StaleChange):
        lease.guard_post("1")
    lease.guard_post("0")


def test_a_lease_that_ended_without_an_outage_stays_lost(store: Store, cuts: Cuts, lease: Lease, state: State) -> None:
    """The run itself slept: also where there was an outage before, after which it was renewed."""
    outlast(store, cuts, lambda: None)
    lease._renew()  # type: ignore[attr-defined]
    expire(state, lease.id)  # type: ignore[attr-defined]
    with pytest.raises(LockHeld):
        lease.check()


# A crash of PostgreSQL, which gives numbers of lost transactions to others


@pytest.fixture
def crashed(store: Store, lease: Lease, state: State, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Statistics begin anew, as after a crash."""
    waits = Waits(5)
    store.wait_with(waits)

    def crash() -> None:
        with state.open()._database.connect() as connection:  # type: ignore[attr-defined]
            connection.exec_driver_sql("SELECT pg_stat_reset_shared('bgwriter')")

    return crash


def test_after_a_crash_a_change_is_known_by_its_events(
    store: Store, cuts: Cuts, lease: Lease, crashed: Callable[[], None]
) -> None:
    begun: list[Begun] = []
    commits = store._database.commits  # type: ignore[attr-defined]
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        begun.append(commits.begin(connection))
        connection.execute(events.insert().values(moment=int(begun[0].number), item="0", at=0, writer=commits.writer))
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        begun.append(commits.begin(connection))
    crashed()
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        assert [commits.was_made(connection, one) for one in begun] == [True, False]


def test_a_number_that_is_given_again_was_lost(store: Store, cuts: Cuts, lease: Lease) -> None:
    commits = store._database.commits  # type: ignore[attr-defined]
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        begun = commits.begin(connection)
        commits.unanswered(begun)
        commits.begin(connection)
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        assert not commits.was_made(connection, begun)


def test_a_number_that_nobody_has_yet_was_lost(store: Store, lease: Lease) -> None:
    commits = store._database.commits  # type: ignore[attr-defined]
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        assert not commits.was_made(connection, Begun(str(2**40), "before"))

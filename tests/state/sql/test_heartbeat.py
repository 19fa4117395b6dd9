"""What a run on a SQL state shows to others and sees of them, with how many statements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from support.hand_clock import HandClock
from support.leases import begin
from support.plain_walk import keys_of
from support.state_scenes import NOON, PENDING, item, submit
from support.statements import statements_of
from support.stores import KINDS, State

from state.change import Change
from state.facts import Pause, ServerHealth
from state.live import Live, Running
from state.sql.change_detector import POLL_SECONDS
from state.sql.heartbeat import Heartbeat
from state.sql.leases import LEASE_SECONDS, RENEW_SECONDS
from state.sql.schema import leases
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]
HOUR = timedelta(hours=1)


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(4)])
        yield state


@dataclass
class Run:
    """A run at work whose lease nobody renews by itself."""

    store: Store
    lease: Any
    clock: HandClock
    found: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = self.store._database  # type: ignore[attr-defined]
        self.heartbeat = Heartbeat(
            self.database,
            lambda: self.lease.id,
            writer=self.store._writer,  # type: ignore[attr-defined]
            clock=self.clock,
            found=lambda: self.found.append(None),
        )
        self.heartbeat.look()
        self.found.clear()

    def show(self, shown: Live) -> None:
        if self.heartbeat.show(shown):
            self.heartbeat.look(renew=True)

    def look(self, *, after: float = POLL_SECONDS) -> bool:
        """A look so many seconds later: whether others have changed anything."""
        self.clock.seconds += after
        self.found.clear()
        self.heartbeat.look()
        return bool(self.found)


@pytest.fixture
def run(state: State) -> Iterator[Run]:
    clock = HandClock()
    store = state.open(clock=clock if state.one_host else None)
    with store.lease() as lease:
        lease.renew_no_more()  # type: ignore[attr-defined]
        begin(lease, "b1")
        yield Run(store, lease, clock)


def live(name: str, *, since: datetime = NOON) -> Live:
    return Live(burst="b1", at=since, running=(Running(item=name, server="gpu1", since=since, step=1, steps=9),))


def shown(reader: Store) -> str | None:
    found = reader.live()
    return found.running[0].item if found is not None else None


def expiry(run: Run) -> float:
    with run.database.connect() as connection:
        return float(connection.scalar(select(leases.c.expires_at).where(leases.c.id == run.lease.id)))


def test_one_statement_every_two_seconds_while_nothing_changes(run: Run) -> None:
    """Whether it shows something or not, and whether anybody looks on or not."""
    run.show(live("0"))
    with statements_of(run.database) as made:
        for number in range(30):
            run.show(live(f"{number}"))
            assert not run.look()
    assert len(made) == 30
    assert sum(statement.startswith("UPDATE") for statement in made) == 60 / RENEW_SECONDS
    assert 1 / POLL_SECONDS <= 0.6


def test_what_is_shown_first_is_there_at_once_and_what_follows_with_each_renewal(state: State, run: Run) -> None:
    reader = state.open(clock=run.clock if state.one_host else None)
    run.show(live("0"))
    assert shown(reader) == "0"
    run.show(live("1"))
    for _ in range(4):
        run.look()
        assert shown(reader) == "0"
    run.look()
    assert shown(reader) == "1"


def test_while_somebody_looks_it_is_there_within_two_seconds(state: State, run: Run) -> None:
    reader = state.open(clock=run.clock if state.one_host else None)
    run.show(live("0"))
    run.show(live("1"))
    reader.watch()
    run.look()
    assert shown(reader) == "1"
    run.show(live("2"))
    run.look()
    assert shown(reader) == "2"
    with statements_of(run.database) as made:
        run.look()
    assert not made[0].startswith("UPDATE"), "there was nothing new to show"


def test_nobody_looks_any_more_after_a_while(state: State, run: Run) -> None:
    reader = state.open(clock=run.clock if state.one_host else None)
    run.show(live("0"))
    reader.watch()
    run.look()
    with run.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE documents SET content = '1000.0' WHERE name = 'watched'")
    run.look()
    run.show(live("1"))
    run.look()
    assert shown(reader) == "0"


def test_those_who_look_write_at_most_every_few_seconds(state: State) -> None:
    clock = HandClock()
    store = state.open(clock=clock)
    with statements_of(store._database) as made:  # type: ignore[attr-defined]
        for _ in range(40):
            store.watch()
            clock.seconds += 0.5
    assert len([statement for statement in made if "INSERT" in statement]) == 4


def test_a_renewal_keeps_the_lease(run: Run) -> None:
    before = expiry(run)
    for _ in range(5):
        run.look()
    assert expiry(run) > before


def test_what_others_change_is_found_and_what_the_run_does_itself_is_not(state: State, run: Run) -> None:
    other = state.open()
    assert not run.look()
    other.add([item("new")])
    assert run.look()
    assert not run.look()
    run.store.apply([Change("0", PENDING, submit())])
    assert not run.look()
    other.facts.append(Pause(paused=True, at=NOON))
    assert run.look()
    other.facts.append(ServerHealth(server="gpu1", health="sick", at=NOON))
    assert run.look(after=RENEW_SECONDS), "a renewal sees it too"
    assert not run.look()


def test_a_change_of_a_slow_writer_is_found_when_it_ends(state: State, run: Run) -> None:
    """It began before others that had ended at an earlier look."""
    if state.one_host:
        pytest.skip("on SQLite nobody writes beside another one")
    slow, other = state.open(), state.open()
    follower_mark = run.store.changes().mark
    with slow._database.transaction() as connection:  # type: ignore[attr-defined]
        slow._add_in(connection, {"slow": item("slow")}, batch=None)  # type: ignore[attr-defined]
        other.add([item("quick")])
        run.look()
        seen = run.store.changes(follower_mark)
        assert "slow" not in seen.keys
    assert run.look()
    assert "slow" in run.store.changes(seen.mark).keys
    assert not run.look()


def test_a_lease_that_was_lost_is_found(run: Run) -> None:
    with run.database.transaction() as connection:
        connection.execute(update(leases).values(expires_at=leases.c.expires_at - LEASE_SECONDS - 1))
    assert run.look()
    assert run.look(after=RENEW_SECONDS), "and is not renewed"
    assert run.look()


def test_times_are_right_on_a_host_whose_clock_is_not(state: State, run: Run) -> None:
    """The run's host is months behind."""
    if state.one_host:
        pytest.skip("a state on SQLite is on one host")
    run.show(live("0", since=run.clock.now() - timedelta(seconds=40)))
    found = state.open().live()
    assert found is not None
    seconds = (datetime.now(UTC) - found.running[0].since).total_seconds()
    assert 38 <= seconds < HOUR.total_seconds()


def test_runs_of_all_hosts_are_shown_together(state: State, run: Run) -> None:
    run.lease.show(live("0"), preview=b"ours")
    elsewhere = state.open(clock=run.clock if state.one_host else None)
    with contextlib.ExitStack() as held:
        lease = held.enter_context(elsewhere.lease())
        begin(lease, "b2")
        other = Live(burst="b2", at=NOON, running=(Running(item="1", server="gpu2", since=NOON),), preview_of="1")
        lease.show(other)
        reader = state.open(clock=run.clock if state.one_host else None)
        found = reader.live()
        assert found is not None
        assert [(one.item, one.server) for one in found.running] == [("0", "gpu1"), ("1", "gpu2")]
        assert (found.preview_of, reader.live_preview()) == (None, None), "it is on the other host"
        lease.show(other, preview=b"theirs")
        assert (reader.live().preview_of, reader.live_preview()) == ("1", b"theirs")  # type: ignore[union-attr]
    assert shown(reader) == "0"


def test_a_look_finds_what_others_have_left_on_the_servers_of_a_run(state: State, run: Run) -> None:
    """Once it is nobody's; as long as they live nothing is left."""
    heartbeat, ours = run.heartbeat, run.lease
    assert not heartbeat.take_left(["gpu1"])
    with state.open(clock=run.clock if state.one_host else None).lease() as theirs:
        theirs.claim(1)
        theirs.apply([Change("0", PENDING, submit(server="gpu1"))])
        assert (run.look(), heartbeat.take_left(["gpu1"])) == (True, False)
        with run.database.transaction() as connection:
            now = run.database.seconds(connection)
            connection.execute(update(leases).where(leases.c.id == theirs.id).values(expires_at=now))  # type: ignore[attr-defined]
        run.look()
        assert heartbeat.take_left(["gpu1"]), "a run died, wherever it worked"
        assert not heartbeat.take_left(["gpu2"]), "said once"
        assert keys_of(list(ours.left_behind())) == ["0"]
        run.look()
        assert not heartbeat.take_left(["gpu2", "gpu1"]), "of another server"
        run.look()
        assert heartbeat.take_left(["gpu1"])
        ours.take_over(["0"])
        run.look()
        assert not heartbeat.take_left(["gpu1"])

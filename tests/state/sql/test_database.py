"""The database of a state: its plans, its messages, and transactions that wait for one another."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from support.plain_walk import keys_of
from support.state_scenes import PENDING, SUBMITTED, complete, item, submit
from support.statements import statements_of
from support.stores import KINDS, State

from orchestrator.crashes import as_burst_error
from orchestrator.errors import BurstError, Crashed, StateAway, StateError
from state.change import Change
from state.item import Item, ItemOutput
from state.location import DatabaseAddress, Location
from state.open_store import open_store, parts_of
from state.sql.database import Database
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]
GENEROUS_SECONDS = 60.0


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


def made_from(*sources: str) -> dict[str, str | ItemOutput]:
    return {f"image{number}": ItemOutput(item=source, output=1) for number, source in enumerate(sources)}


def test_a_connection_that_is_lost_in_a_transaction_is_an_error_of_the_state(tmp_path: Path) -> None:
    """Also while it is rolled back."""
    (kind,) = [kind for kind in SQL if not kind.one_host]
    with State(kind, tmp_path) as state:
        database = state.open(create=True)._database  # type: ignore[attr-defined]

        def lose_it(opened: Any) -> None:
            with opened() as connection:
                pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
                with database.connect() as other:
                    other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
                connection.exec_driver_sql("SELECT 1")

        for opened in (database.transaction, database.snapshot):
            with pytest.raises(StateAway, match="PostgreSQL does not answer"):
                lose_it(opened)


def test_postgresql_makes_all_tables_of_a_new_state_in_one_statement(tmp_path: Path) -> None:
    """Each takes a way to a server and back, which may be far."""
    (kind,) = [kind for kind in SQL if not kind.one_host]
    with State(kind, tmp_path) as state:
        database = Database(Location.of(state.address))
        with statements_of(database) as made:
            database.prepare()
        database.close()
    assert sum("CREATE" in statement for statement in made) == 1


def test_the_statement_of_an_addition_is_made_once_however_many_are_added(state: State) -> None:
    store = state.open(create=True)
    for first in ([item("a")], [item("b"), item("c")]):
        store.add(first)
    made: list[str] = []

    def see(*call: Any) -> None:
        if call[2].startswith("INSERT INTO items"):
            made.append(call[4].cache_hit.name)

    event.listen(store._database.engine, "before_cursor_execute", see)  # type: ignore[attr-defined]
    store.add([item(f"{number}") for number in range(20)])
    assert made == ["CACHE_HIT"]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_connection_that_is_in_use_while_it_is_closed_is_closed_after_it(state: State, keeps: bool) -> None:
    """A thread of a run may still read. Nothing is left to the garbage collector."""
    state.open(create=True)
    database = Database(Location.of(state.address), keeps=keeps)
    with database.connect() as idle:
        assert idle.exec_driver_sql("SELECT 1").scalar_one() == 1
    with database.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        database.close()
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    with pytest.raises(driver_errors(), match="closed"):
        driver.cursor()
    with database.connect() as again:
        assert again.exec_driver_sql("SELECT 1").scalar_one() == 1
    database.close()


def driver_errors() -> tuple[type[Exception], ...]:
    import psycopg

    return sqlite3.ProgrammingError, psycopg.OperationalError


def test_sources_that_end_at_once_leave_no_stage_waiting(state: State) -> None:
    """Each of two transactions sees the other one's source as it was before."""
    store, other = state.open(create=True), state.open()
    meet = threading.Barrier(2, timeout=GENEROUS_SECONDS)
    rounds = range(12)
    store.add([item(f"{name}{number}") for number in rounds for name in "ab"])
    store.add([item(f"c{number}", uploads=made_from(f"a{number}", f"b{number}")) for number in rounds])
    failed: list[BaseException] = []

    def finish(which: Store, name: str) -> None:
        try:
            for number in rounds:
                which.apply([Change(f"{name}{number}", PENDING, submit())])
                meet.wait()
                which.apply([Change(f"{name}{number}", SUBMITTED, complete)])
        except BaseException as error:  # noqa: BLE001 — reported by the test
            failed.append(error)
            meet.abort()

    threads = [threading.Thread(target=finish, args=pair) for pair in ((store, "a"), (other, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_SECONDS)
    assert failed == []
    assert (store.waiting(), keys_of(store.due(99))) == ([], [f"c{number}" for number in rounds])


def test_a_stage_that_is_added_while_its_source_ends_does_not_wait(state: State) -> None:
    store, other = state.open(create=True), state.open()
    meet = threading.Barrier(2, timeout=GENEROUS_SECONDS)
    rounds = range(12)
    store.add([item(f"a{number}") for number in rounds])
    failed: list[BaseException] = []

    def finish() -> None:
        try:
            for number in rounds:
                store.apply([Change(f"a{number}", PENDING, submit())])
                meet.wait()
                store.apply([Change(f"a{number}", SUBMITTED, complete)])
        except BaseException as error:  # noqa: BLE001 — reported by the test
            failed.append(error)
            meet.abort()

    def add() -> None:
        try:
            for number in rounds:
                stage = Item(key=f"c{number}", status=PENDING, uploads=made_from(f"a{number}"))
                meet.wait()
                other.add([stage])
        except BaseException as error:  # noqa: BLE001 — reported by the test
            failed.append(error)
            meet.abort()

    threads = [threading.Thread(target=finish), threading.Thread(target=add)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_SECONDS)
    assert failed == []
    assert (store.waiting(), sorted(keys_of(store.due(99)))) == ([], sorted(f"c{number}" for number in rounds))


def test_transactions_that_wait_for_one_another_are_repeated(state: State) -> None:
    """Change sets in opposite orders, while each holds what the other one needs."""
    store, other = state.open(create=True), state.open()
    store.add([item("a"), item("b", uploads=made_from("a")), item("c"), item("d", uploads=made_from("c"))])
    failed: list[BaseException] = []

    def touch(which: Store, keys: str) -> None:
        try:
            for _ in range(15):
                which.apply([Change(key, PENDING, lambda now: now.request_cancel()) for key in keys])
        except BaseException as error:  # noqa: BLE001 — reported by the test
            failed.append(error)

    threads = [threading.Thread(target=touch, args=pair) for pair in ((store, "ad"), (other, "cb"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_SECONDS)
    assert failed == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:s3cret@127.0.0.1:1/state",
        "postgresql://user:s3cret@127.0.0.1:1/state?application_name=x",
        "postgresql://127.0.0.1:1/state?user=user&password=s3cret",
        "postgresql://user:s3%40cret@127.0.0.1:1/state",
    ],
    ids=["password", "options", "as an option", "quoted"],
)
def test_no_message_has_the_password(address: str) -> None:
    assert "s3" not in parts_of(address).location.shown()
    with pytest.raises(StateAway, match="does not answer") as refused:
        open_store(address)
    assert "127.0.0.1:1/state" in str(refused.value)
    seen: BaseException | None = refused.value
    while seen is not None:
        if isinstance(seen, BurstError):
            assert "s3" not in str(seen)
        seen = seen.__cause__


def test_an_address_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to have a header" * 40)
    with pytest.raises(StateError, match="not a database"):
        open_store(f"sqlite:///{tmp_path}/state.db")
    with pytest.raises(StateError, match="there is no state here"):
        open_store(f"sqlite:///{tmp_path}/other.db")
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:s3cret@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require"),
        ("postgresql://h/d?user=u&password=s3cret", "postgresql://h/d?user=u"),
        ("postgresql://h/d?sslpassword=s3cret&host=/run", "postgresql://h/d?host=/run"),
        ("postgresql://h/d?passwort=s3cret", "postgresql://h/d"),
        ("postgresql://u:s3%2Fcr%40et@h/d", "postgresql://u@h/d"),
        ("postgresql://u:s3@cret@h/d", "postgresql://u@h/d"),
    ],
)
def test_only_what_is_no_secret_is_shown_of_an_address(address: str, shown: str) -> None:
    assert str(DatabaseAddress(address)) == shown


@pytest.mark.parametrize("said", ["s3/cr@et", "s3%2Fcr%40et", "pgpass-9f8e7d", "option-9f8e7c"])
def test_a_traceback_has_no_secret_of_any_address(said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever a library repeats: as it was written, or decoded."""
    monkeypatch.setenv("PGPASSWORD", "pgpass-9f8e7d")
    DatabaseAddress("postgresql://u:s3%2Fcr%40et@h/d?sslpassword=option-9f8e7c")
    error = as_burst_error(RuntimeError(f"cannot parse {said!r} in a connection string"), keep_at=tmp_path / "crash")
    assert isinstance(error, Crashed)
    assert "cannot parse '***'" in str(error)
    assert all(said not in text for text in (str(error), error.traceback, (tmp_path / "crash").read_text()))

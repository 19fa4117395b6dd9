"""Connections that stay open, and statements that the driver executes itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Dialect, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql.compiler import SQLCompiler
from support.stores import KINDS, State

from state.sql.connections import Connections
from state.sql.engines import engine_of
from state.sql.statement import Statement

SQL = [kind for kind in KINDS if not kind.one_run]
_ONE = Statement("SELECT 1 AS one")


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


@pytest.fixture
def connections(state: State) -> Iterator[Connections]:
    made = Connections(state.open(create=True)._database.engine, most=2)  # type: ignore[attr-defined]
    yield made
    made.close()


def driver_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def is_open(driver: Any) -> bool:
    try:
        driver.execute("SELECT 1").fetchall()
    except Exception:  # noqa: BLE001 — of either driver
        return False
    return True


def begin(connection: Connection) -> None:
    Statement("BEGIN").run(connection)
    assert _ONE.run(connection)[0].one == 1


def in_transaction(driver: Any) -> bool:
    if isinstance(driver, sqlite3.Connection):
        return driver.in_transaction
    return bool(driver.info.transaction_status)


def test_the_next_use_gets_the_connection_that_was_left_last(connections: Connections) -> None:
    with connections.one() as first, connections.one() as second:
        drivers = driver_of(first), driver_of(second)
    with connections.one() as first, connections.one() as second:
        assert (driver_of(first), driver_of(second)) == drivers


def test_no_more_stay_open_than_may(connections: Connections) -> None:
    with connections.one() as first, connections.one() as second, connections.one() as third:
        drivers = [driver_of(each) for each in (first, second, third)]
    assert [is_open(driver) for driver in drivers] == [False, True, True]


def test_what_is_used_when_all_are_closed_is_closed_when_it_is_left(connections: Connections) -> None:
    with connections.one() as kept:
        idle = driver_of(kept)
    with connections.one() as used, connections.one() as other:
        drivers = [driver_of(used), driver_of(other)]
        connections.close()
        assert _ONE.run(used)[0].one == 1
    assert idle in drivers
    assert not any(is_open(driver) for driver in drivers)


def test_nothing_of_a_transaction_is_left_for_the_next_use(connections: Connections) -> None:
    with connections.one() as connection:
        begin(connection)
        driver = driver_of(connection)
    with connections.one() as connection:
        assert driver_of(connection) is driver
        assert not in_transaction(driver)


def test_an_option_that_was_set_is_not_left_for_the_next_use(connections: Connections) -> None:
    """PostgreSQL would refuse the next statement: its cursor for `yield_per` needs a transaction."""
    with connections.one() as connection:
        connection.execution_options(yield_per=10)
    with connections.one() as connection:
        assert "yield_per" not in connection.get_execution_options()
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_one_that_was_lost_takes_the_idle_ones_with_it(connections: Connections) -> None:
    with connections.one() as idle, connections.one() as lost:
        drivers = [driver_of(idle), driver_of(lost)]
    with connections.one() as connection:
        driver_of(connection).close()
        with pytest.raises(DBAPIError) as refused:
            _ONE.run(connection)
        assert refused.value.connection_invalidated
    assert not any(is_open(driver) for driver in drivers)


def test_a_transaction_does_not_go_on_with_another_connection(connections: Connections) -> None:
    """As SQLAlchemy would do, and COMMIT would succeed."""
    with connections.one() as connection:
        begin(connection)
        driver_of(connection).close()
        for _ in range(2):
            with pytest.raises(SQLAlchemyError):
                Statement("COMMIT").run(connection)


def test_a_connection_that_was_interrupted_is_not_used_again(connections: Connections) -> None:
    class Interrupting(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise KeyboardInterrupt

    with connections.one() as connection:
        driver = driver_of(connection)
        with pytest.raises(KeyboardInterrupt):
            Statement(text("SELECT CAST(:value AS integer)")).run(connection, Interrupting(value=1))
        assert connection.invalidated
    assert not is_open(driver)


def test_an_error_is_that_of_sqlalchemy_and_the_connection_stays(connections: Connections) -> None:
    with connections.one() as connection:
        for send in (
            lambda: Statement("SELECT nothing").run(connection),
            lambda: connection.execute(text("SELECT no")),
        ):
            with pytest.raises(DBAPIError) as refused:
                send()
            assert not refused.value.connection_invalidated
        assert _ONE.run(connection)[0].one == 1


def test_a_second_state_makes_no_statement_anew(
    state: State, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one open of a state has worked out serves all others of this process, also those of another state."""
    kind = next(kind for kind in SQL if kind.name == request.node.callspec.params["state"].name)
    made: list[str] = []
    compiled = SQLCompiler.__init__

    def counted(self: SQLCompiler, dialect: Any, statement: Any, *given: Any, **named: Any) -> None:
        made.append(str(statement))
        compiled(self, dialect, statement, *given, **named)

    with state.open(create=True) as store:
        store.counts()
    with state.open() as store:
        store.counts()
    monkeypatch.setattr(SQLCompiler, "__init__", counted)
    with state.open() as store:
        store.counts()
    assert made == []
    if kind.one_host:
        with State(kind, tmp_path / "another") as another, another.open(create=True) as store:
            store.counts()
        assert made == []


def test_a_dialect_that_never_connected_is_not_kept(tmp_path: Path) -> None:
    """It has not asked its server yet what that can do."""
    url = make_url(f"sqlite:///{tmp_path / 'state.db'}")

    def refused(dialect: Dialect) -> Any:
        raise sqlite3.OperationalError("no such host")

    first = engine_of(url, refused, alike=str(tmp_path))
    with pytest.raises(SQLAlchemyError):
        first.connect()
    second, third = (engine_of(url, lambda _: sqlite3.connect(":memory:"), alike=str(tmp_path)) for _ in range(2))
    for engine in (second, third):
        with engine.connect() as connection:
            assert connection.dialect.default_schema_name == "main"
            assert driver_of(connection).isolation_level is None
    assert first.dialect is not second.dialect
    assert engine_of(url, refused, alike=str(tmp_path)).dialect in (second.dialect, third.dialect)

"""The statements that a database gets: at its driver, whoever sends them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

_Note = Callable[[Any, str], object]
"""Called with the connection of the driver and the text."""


@contextmanager
def statements_of(database: Any) -> Iterator[list[str]]:
    """Those that are made through this `state.sql.database.Database` meanwhile."""
    made: list[str] = []
    watch(fresh_engine(database), lambda connection, statement: made.append(statement))
    try:
        yield made
    finally:
        fresh_engine(database)


def fresh_engine(database: Any) -> Any:
    """Of this `Database`, which makes its connections anew from now on."""
    database.close()
    return database.engine


def watch(target: Any, before: _Note, after: _Note = lambda connection, statement: None) -> None:
    """Call these before and after each statement on connections that are made from now on.

    `target`: an engine, or the class of all pools. `after`: with PostgreSQL alone.
    """

    def connected(connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(lambda statement: before(connection, statement))
        else:
            connection.cursor_factory, connection.server_cursor_factory = _cursors(before, after)

    event.listen(target, "connect", connected)


def _cursors(before: _Note, after: _Note) -> tuple[type, type]:
    """As those of psycopg."""
    import psycopg

    class Watched(psycopg.Cursor[Any]):
        def execute(self, query: Any, *values: Any, **options: Any) -> Any:
            before(self.connection, query)
            found = super().execute(query, *values, **options)
            after(self.connection, query)
            return found

        def executemany(self, query: Any, *rows: Any, **options: Any) -> None:
            before(self.connection, query)
            super().executemany(query, *rows, **options)
            after(self.connection, query)

    class WatchedOnServer(psycopg.ServerCursor[Any]):
        def execute(self, query: Any, *values: Any, **options: Any) -> Any:
            before(self.connection, query)
            found = super().execute(query, *values, **options)
            after(self.connection, query)
            return found

    return Watched, WatchedOnServer

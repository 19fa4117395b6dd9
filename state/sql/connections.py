"""Connections that stay open: whoever is done with one leaves it for the next statement.

SQLAlchemy's pool does the same, and takes longer for it than SQLite takes for a statement.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from state.sql.engines import COMPILED


class Connections:
    """To one database. Any thread may use it; each use has a connection of its own."""

    def __init__(self, engine: Engine, *, most: int) -> None:
        """`engine`: without a pool. `most`: how many stay open that nobody uses."""
        self.engine = engine
        self._idle: list[Connection] = []
        self._most = most

    @contextlib.contextmanager
    def one(self) -> Iterator[Connection]:
        """The one that was used last, whose memory of the database is the freshest; or a new one.

        Errors: DBAPIError.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.engine.connect()
        try:
            yield connection
        finally:
            self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        if connection.invalidated:
            # It was lost, and the others with it.
            self._close_idle()
        if len(self._idle) >= self._most or not _is_as_new(connection):
            _close(connection)
            return
        self._idle.append(connection)
        if not self._most:
            # It was closed meanwhile.
            self._close_idle()

    def close(self) -> None:
        """What is still used is closed when it is left."""
        self._most = 0
        self._close_idle()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                _close(self._idle.pop())


def _is_as_new(connection: Connection) -> bool:
    """Nothing is left on it of what was done."""
    if connection.closed or connection.invalidated or connection.connection.is_detached:
        return False
    if any(value for name, value in connection.get_execution_options().items() if name != COMPILED):
        return False
    driver: Any = connection.connection.dbapi_connection
    try:
        connection.rollback()
        driver.rollback()
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error):
        return False
    return True


def _close(connection: Connection) -> None:
    with contextlib.suppress(SQLAlchemyError):
        connection.close()

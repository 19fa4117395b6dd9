"""Statements that a run sends for every item: made once, and executed by the driver itself.

SQLAlchemy takes longer from a statement to its rows than SQLite takes to answer. It still has the connections, and
an error is the one that it would have raised.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ClauseElement, Connection, text
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.sql.compiler import SQLCompiler

_T = TypeVar("_T")
_named: Any = namedtuple
"""Its fields are those of a result."""


class Statement:
    """Compiled once for each database. Tables of an older release are not read with it like today's.

    Values go to the driver as they are, so they must be of types that it knows; a list is one of PostgreSQL's arrays.
    """

    def __init__(self, made: ClauseElement | str) -> None:
        self.made = text(made) if isinstance(made, str) else made
        self._texts: dict[str, str] = {}
        self._row: Any = None

    def run(self, connection: Connection, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Its rows, with the names of its columns; none where it has no result. Errors: DBAPIError."""
        statement = self._text(connection)

        def rows(driver: Any) -> list[Any]:
            cursor = driver.execute(statement) if values is None else driver.execute(statement, values)
            if cursor.description is None:
                return []
            if self._row is None:
                self._row = _named("Row", [column[0] for column in cursor.description])
            return list(map(self._row._make, cursor.fetchall()))

        return _done(connection, statement, rows)

    def run_each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Once for each of these, of which there is at least one. How many rows were written. Errors: DBAPIError."""
        statement = self._text(connection)

        def written(driver: Any) -> int:
            cursor = driver.cursor()
            cursor.executemany(statement, rows)
            return int(cursor.rowcount)

        return _done(connection, statement, written)

    def _text(self, connection: Connection) -> str:
        dialect = connection.dialect
        made = self._texts.get(dialect.name)
        if made is None:
            compiled = self.made.compile(dialect=dialect)
            assert isinstance(compiled, SQLCompiler)
            made = self._texts[dialect.name] = compiled.string
        return made


def _done(connection: Connection, statement: str, work: Callable[[Any], _T]) -> _T:
    """With the driver's connection. Errors: DBAPIError; PendingRollbackError where it was lost before."""
    if connection.invalidated:
        # SQLAlchemy would make another one, which is not in this transaction.
        raise PendingRollbackError("the connection was lost in this transaction")
    driver, dialect = connection.connection.dbapi_connection, connection.dialect
    try:
        return work(driver)
    except dialect.loaded_dbapi.Error as error:
        is_lost = dialect.is_disconnect(error, driver, None)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, dialect.loaded_dbapi.Error, connection_invalidated=is_lost, dialect=dialect
        ) from error
    except BaseException:
        # By a signal, in the middle of an answer.
        connection.invalidate()
        raise

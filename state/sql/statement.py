"""Statements that are made once: those that a run sends for every item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Connection, CursorResult
from sqlalchemy.sql.compiler import SQLCompiler


class Statement:
    """Compiled once for each database, then sent as text.

    SQLAlchemy's own way from a statement to its text takes longer than SQLite takes to answer. Values go to the driver
    as they are, so they must be of types that it knows; a list is one of PostgreSQL's arrays.
    """

    def __init__(self, made: ClauseElement) -> None:
        self._made = made
        self._compiled: dict[str, SQLCompiler] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        compiled = self._of(connection)
        return connection.exec_driver_sql(compiled.string, _bound(compiled, values))

    def run_each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Once for each of these, of which there is at least one."""
        compiled = self._of(connection)
        connection.exec_driver_sql(compiled.string, [_bound(compiled, values) for values in rows])

    def _of(self, connection: Connection) -> SQLCompiler:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            found = self._made.compile(dialect=dialect)
            assert isinstance(found, SQLCompiler)
            compiled = self._compiled[dialect.name] = found
        return compiled


def _bound(compiled: SQLCompiler, values: Mapping[str, Any]) -> Any:
    if compiled.positiontup is None:
        return values
    return tuple(values[name] for name in compiled.positiontup)

"""Reading the tables of an older release, which only a writer upgrades: what they lack is empty, or has its default.

Each query is given `WITH items AS (SELECT …, NULL AS what_is_new FROM main.items)`, which hides the table of that name.
So nothing is written, and a role needs no right but to read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Connection, Engine, MetaData, Table, event

_HINT = re.compile(r" INDEXED BY \w+")
_OPTION = "with_older_tables"


def reads_older_tables(engine: Engine) -> None:
    """Let its connections do so, in `reading_as_of_today`."""
    event.listen(engine, "before_cursor_execute", _with_additions, retval=True)


@contextlib.contextmanager
def reading_as_of_today(connection: Connection, additions: str) -> Iterator[None]:
    connection.execution_options(**{_OPTION: additions})
    try:
        yield
    finally:
        connection.execution_options(**{_OPTION: ""})


def additions(connection: Connection, metadata: MetaData) -> str:
    """What the tables lack that the metadata has, as the beginning of a query; empty if nothing."""
    inspector = sqlalchemy.inspect(connection)
    there = {name: {column["name"] for column in inspector.get_columns(name)} for name in inspector.get_table_names()}
    schema = inspector.default_schema_name or "main"
    parts = [
        f"{table.name} AS ({_as_of_today(table, there.get(table.name), schema, connection)})"
        for table in metadata.sorted_tables
        if not there.get(table.name, set()) >= set(table.columns.keys())
    ]
    return ", ".join(parts)


def _as_of_today(table: Table, there: set[str] | None, schema: str, connection: Connection) -> str:
    columns = [
        column.name if there and column.name in there else f"{_missing(column, connection)} AS {column.name}"
        for column in table.columns
    ]
    source = f"FROM {schema}.{table.name}" if there is not None else "WHERE 1 = 0"
    return f"SELECT {', '.join(columns)} {source}"


def _missing(column: Column[Any], connection: Connection) -> str:
    default = getattr(column.server_default, "arg", "NULL")
    value = "'" + default.replace("'", "''") + "'" if isinstance(default, str) and default != "NULL" else str(default)
    kind, collated, collation = column.type.compile(dialect=connection.dialect).partition(" COLLATE ")
    return f"CAST({value} AS {kind}){collated}{collation}"


def _with_additions(
    connection: Connection, cursor: object, statement: str, parameters: object, context: Any, executemany: bool
) -> tuple[str, Any]:
    options = context.execution_options if context is not None else connection.get_execution_options()
    added = options.get(_OPTION)
    if added:
        # These are no tables, so they have no index.
        statement = _HINT.sub("", statement)
    first, _, rest = statement.lstrip().partition(" ")
    if added and first == "SELECT":
        statement = f"WITH {added} {statement}"
    elif added and first == "WITH":
        recursive = "RECURSIVE " if rest.startswith("RECURSIVE ") else ""
        statement = f"WITH {recursive}{added}, {rest.removeprefix(recursive)}"
    return statement, parameters

"""The rows of `events`: one for each change of an item, in its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from state.sql.statement import Statement

POSTGRESQL_NOW = "extract(epoch FROM clock_timestamp())"
INSERT = "INSERT INTO events (moment, item, was, becomes, at, writer, lease, server, prompt_id)"
OF_POSTGRESQL = (
    "CAST(CAST(pg_current_xact_id() AS text) AS bigint), "
    f"{{key}}, :was, :status, {POSTGRESQL_NOW}, :writer, :lease, :server, :prompt_id"
)
_POSTGRESQL = Statement(f"{INSERT} VALUES ({OF_POSTGRESQL.format(key=':key')})")
_SQLITE = Statement(f"{INSERT} VALUES (0, :key, :was, :status, :now, :writer, :lease, :server, :prompt_id)")


def note(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """`rows`, at least one: `key`, `was` and `status` (None where the item was not or is not there), `writer`, `lease`,
    `server`, `prompt_id`; and `now`, which counts on SQLite alone. Other values are ignored."""
    statement = _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE
    statement.run_each(connection, rows)

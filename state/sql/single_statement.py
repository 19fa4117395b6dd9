"""A change set as one statement, which PostgreSQL commits by itself: half of what a transaction of several costs.

For what a run does with its items, where nothing follows from it for others. It is all or nothing: an item that is not
as it was when it was read, or a lease that has ended, leaves everything as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from state.sql.rows import COLUMNS
from state.sql.statement import Statement

_TYPES = {
    "place": "integer",
    "seq": "bigint",
    "version": "text",
    "key": "text",
    "status": "text",
    "batch": "text",
    "number": "bigint",
    "recipe": "text",
    "priority": "smallint",
    "rank": "double precision",
    "waits": "boolean",
    "kind": "text",
    "server": "text",
    "seconds": "double precision",
    "completed_at": "bigint",
    "record": "text",
    "was": "text",
    "has_ended": "boolean",
    "prompt_id": "text",
}
_SET = ", ".join(f"{name} = new.{name}" for name in COLUMNS)
_NOW = "extract(epoch FROM clock_timestamp())"
_READ = Statement(
    text(
        "SELECT seq, key, status, lease, has_stages, record, CAST(xmin AS text) AS version, "
        "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS since "
        "FROM items WHERE key = ANY(:keys)"
    )
)
_WRITE = Statement(
    text(f"""
WITH new AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS row({", ".join(map(" ".join, _TYPES.items()))})
), same AS MATERIALIZED (
    SELECT items.seq FROM items JOIN new ON items.seq = new.seq
    WHERE CAST(items.xmin AS text) = new.version ORDER BY items.key FOR UPDATE OF items
), written AS (
    UPDATE items SET {_SET}, lease = CASE WHEN new.has_ended THEN NULL ELSE items.lease END FROM new
    WHERE items.seq = new.seq AND (SELECT count(*) FROM same) = (SELECT count(*) FROM new)
    AND EXISTS (SELECT FROM leases WHERE id = :lease AND ended_at IS NULL AND expires_at > {_NOW})
    RETURNING items.key, items.status, items.server, new.place, new.was, new.prompt_id
)
INSERT INTO events (moment, item, was, becomes, at, writer, lease, server, prompt_id)
SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint), key, was, status, {_NOW}, :writer, :lease, server, prompt_id
FROM written ORDER BY place RETURNING item
""")
)
_WRITTEN = Statement(
    text("""
SELECT count(DISTINCT events.item) FROM events
JOIN json_to_recordset(CAST(:rows AS json)) AS new(key text, was text, status text, prompt_id text)
ON events.item = new.key AND events.was = new.was AND events.becomes = new.status
AND events.prompt_id IS NOT DISTINCT FROM new.prompt_id
WHERE events.moment >= :since AND events.writer = :writer
""")
)


def rows_with_versions(connection: Connection, keys: Sequence[str]) -> dict[str, Any]:
    """By key; `version`: of the row, different after each change; `since`: no transaction before this one is open."""
    return {row.key: row for row in _READ.run(connection, {"keys": list(keys)}).all()}


class SingleStatement:
    """The new rows of a change set, to be written at once."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, since: int, writer: str, lease: int) -> None:
        """`rows`: as `row_of`, with `seq`, `version`, `was`, `has_ended` and `prompt_id`."""
        self._count = len(rows)
        encoded = msgspec.json.encode([{**row, "place": place} for place, row in enumerate(rows)]).decode()
        self._values = {"rows": encoded, "since": since, "writer": writer, "lease": lease}

    def write(self, connection: Connection) -> bool:
        """Whether everything was written, and not nothing."""
        return len(_WRITE.run(connection, self._values).all()) == self._count

    def is_written(self, connection: Connection) -> bool:
        """Whether it was, where `write` got no answer. What it is about was read before this is asked."""
        return bool(_WRITTEN.run(connection, self._values).scalar_one() == self._count)

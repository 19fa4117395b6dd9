"""Taking items for a run: those that nobody holds, under a lease that has not ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from state.item import Status
from state.sql.database import Database
from state.sql.statement import Statement

_POSTGRESQL = Statement("""
WITH alive AS MATERIALIZED (
    SELECT id FROM leases WHERE id = :lease AND ended_at IS NULL AND expires_at > extract(epoch FROM clock_timestamp())
    FOR SHARE
), free AS MATERIALIZED (
    SELECT seq FROM items
    WHERE seq IN (SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:seqs AS json)) AS value)
    AND status = :status AND lease IS NULL
    ORDER BY priority, rank, seq LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE items SET lease = :lease WHERE seq IN (SELECT seq FROM free) AND EXISTS (SELECT id FROM alive)
RETURNING seq, key, record
""")
"""`alive` is locked, so that nobody ends the lease before this is committed: its items would stay held by nobody.
`free` is materialized: PostgreSQL may read a bare subquery again, with another LIMIT's worth of rows."""
_SQLITE = Statement("""
UPDATE items SET lease = :lease
WHERE seq IN (
    SELECT seq FROM items NOT INDEXED
    WHERE seq IN (SELECT value FROM json_each(:seqs)) AND status = :status AND lease IS NULL
    ORDER BY priority, rank, seq LIMIT :most
) AND EXISTS (SELECT id FROM leases WHERE id = :lease AND ended_at IS NULL AND expires_at > :now)
RETURNING seq, key, record
""")
"""NOT INDEXED: by their numbers, and not by all that have the status."""


def take(
    database: Database, connection: Connection, seqs: Sequence[int], *, status: Status, most: int, lease: int
) -> Sequence[Any]:
    """Seq, key and record of the first `most` of these that have the status and that nobody holds; held from now on.

    None of them where the lease has ended. To be called in a transaction.
    """
    statement = _POSTGRESQL if database.is_postgresql else _SQLITE
    values: dict[str, Any] = {
        "seqs": msgspec.json.encode(seqs).decode(),
        "status": status.value,
        "most": most,
        "lease": lease,
    }
    if not database.is_postgresql:
        values["now"] = database.seconds(connection)
    return statement.run(connection, values)

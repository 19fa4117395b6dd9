"""A change set that is written where all of its rows are as they were known, and held by a lease that has not ended.

PostgreSQL takes a single row and its event in one statement, which it commits by itself: half of what a transaction of
several costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from state.sql.commits import Commits
from state.sql.edits import Edited
from state.sql.event_rows import INSERT, OF_POSTGRESQL, POSTGRESQL_NOW, note
from state.sql.known_rows import KnownRow
from state.sql.rows import COLUMNS, row_of
from state.sql.statement import Statement

_KEPT = ("batch", "number")
"""Not set, for that alone would be one more page of an index to write."""
_UPDATE = f"""
UPDATE items SET {", ".join(f"{name} = :{name}" for name in COLUMNS if name not in _KEPT)},
lease = CASE WHEN :has_ended THEN NULL ELSE lease END
WHERE seq = :seq AND record = :known AND lease = :lease AND NOT has_stages
AND EXISTS (SELECT id FROM leases WHERE id = :lease AND ended_at IS NULL AND expires_at > {{now}})
"""
_SQLITE = Statement(_UPDATE.format(now=":now"))
_POSTGRESQL = Statement(
    f"WITH written AS ({_UPDATE.format(now=POSTGRESQL_NOW)} RETURNING key) "
    f"{INSERT} SELECT {OF_POSTGRESQL.format(key='key')} FROM written RETURNING moment"
)
_WRITTEN = Statement(
    "SELECT max(moment) AS moment FROM events WHERE moment > :since AND writer = :writer AND item = :key "
    "AND was = :was AND becomes = :status AND prompt_id IS NOT DISTINCT FROM :prompt_id"
)


class GuardedWrite:
    """Of items that stay in their batch, and with which other items have nothing to do."""

    def __init__(
        self, edited: Sequence[Edited], known: Mapping[str, KnownRow], *, writer: str, lease: int, now: float
    ) -> None:
        """`now`: by the clock of SQLite's host."""
        self.rows: dict[str, KnownRow] = {}
        """As they are once this is written."""
        self._values: list[dict[str, Any]] = []
        self._since: int | None = None
        for key, was, item in edited:
            assert item is not None
            values = row_of(item)
            values["was"] = was
            values["seq"], _, values["known"] = known[key]
            values["has_ended"], values["prompt_id"] = item.has_ended, item.prompt_id
            values["writer"], values["lease"], values["now"] = writer, lease, now
            self._values.append(values)
            self.rows[key] = KnownRow(values["seq"], item, values["record"])

    def in_transaction(self, connection: Connection) -> bool:
        """False where not every row is as it was known: the transaction must be rolled back."""
        if connection.dialect.name == "postgresql":
            return _POSTGRESQL.run_each(connection, self._values) == len(self._values)
        if _SQLITE.run_each(connection, self._values) < len(self._values):
            return False
        note(connection, self._values)
        return True

    def at_once(self, connection: Connection, commits: Commits) -> bool:
        """PostgreSQL alone, a single row. Whether it was written; to be repeated where that was not answered."""
        (values,) = self._values
        if self._since is not None:
            (found,) = _WRITTEN.run(connection, {**values, "since": self._since})
            if found.moment is not None:
                commits.note(found.moment)
                return True
        self._since = commits.latest
        written = _POSTGRESQL.run(connection, values)
        for one in written:
            commits.note(one.moment)
        return bool(written)

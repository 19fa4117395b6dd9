"""What became of a transaction whose COMMIT was not answered. PostgreSQL alone: SQLite has no answer to lose."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, select, text

from orchestrator.errors import StateAway
from state.sql.schema import events
from state.sql.statement import Statement

_IDLE_SECONDS = 60.0
"""How long a transaction of a process that is gone may keep its locks, where its host cannot tell PostgreSQL."""
_BEGIN = Statement(
    "SELECT pg_current_xact_id()::text AS number, pg_stat_get_bgwriter_stat_reset_time()::text AS crash; BEGIN; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS:g}s'"
)
"""One round trip: BEGIN takes what is before it in one message into its transaction. Statistics begin anew with a crash
of PostgreSQL, and with nothing else that happens by itself."""
_FATE = text(
    "SELECT pg_stat_get_bgwriter_stat_reset_time()::text AS crash, CASE "
    "WHEN CAST(:number AS xid8) >= pg_current_xact_id() THEN 'lost' "
    "ELSE pg_xact_status(CAST(:number AS xid8)) END AS fate"
)


@dataclass(frozen=True)
class Begun:
    """A transaction."""

    number: str
    crash: str
    """Tells the time before a crash of PostgreSQL from that after it."""


class Commits:
    """Of one database. Any thread may use it."""

    def __init__(self, shown: str) -> None:
        """`shown`: the address, for messages."""
        self.writer: str | None = None
        """As the events name this process's open store, where it has one."""
        self._shown = shown
        self._guard = threading.Lock()
        self.latest = 0
        """The highest number that a transaction of this process is known to have had."""
        self._numbers: dict[str, int] = {}
        """Those that are asked about, and how often each has begun here: after a crash PostgreSQL gives the number of
        what it has lost to another transaction."""

    def begin(self, connection: Connection) -> Begun:
        (row,) = _BEGIN.run(connection)
        self.note(int(row.number))
        with self._guard:
            if row.number in self._numbers:
                self._numbers[row.number] += 1
        return Begun(row.number, row.crash)

    def note(self, number: int) -> None:
        """Of a transaction of this process."""
        with self._guard:
            self.latest = max(self.latest, number)

    def unanswered(self, begun: Begun) -> None:
        """Its COMMIT was sent."""
        with self._guard:
            self._numbers[begun.number] = 1

    def was_made(self, connection: Connection, begun: Begun) -> bool:
        """Errors: StateAway while that is not decided."""
        row = connection.execute(_FATE, {"number": begun.number}).one()
        has_crashed = row.crash != begun.crash
        if row.fate == "in progress" and not has_crashed:
            raise StateAway(
                f"{self._shown}: PostgreSQL has not ended a transaction whose connection was cut",
                advice="run again: what it changed is read again",
                was_connected=False,
            )
        made = row.fate == "committed" and (not has_crashed or self._has_events(connection, begun))
        with self._guard:
            return self._numbers.pop(begun.number, 1) == 1 and made

    def _has_events(self, connection: Connection, begun: Begun) -> bool:
        """After a crash the number may be that of somebody else's transaction. One of ours without events may be made
        again: it says what holds, not what is added."""
        ours: Any = exists().where(events.c.moment == int(begun.number), events.c.writer == self.writer)
        return bool(connection.scalar(select(ours)))

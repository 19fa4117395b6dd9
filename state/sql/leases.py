"""The rows of the runs at work: who they are, whether they live, and what becomes of those that were killed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Select, select, update

from orchestrator.clock import Clock
from state.attempts import with_what_was_made
from state.burst_record import BurstRecord
from state.holder import Holder
from state.processes import Process
from state.sql.attempt_rows import completions
from state.sql.database import Database
from state.sql.logs import SqlBurstLog
from state.sql.schema import items, leases

LEASE_SECONDS = 60.0
RENEW_SECONDS = 10.0
_LITTLE_SECONDS = 2.0

_Part = TypeVar("_Part", bound=msgspec.Struct)
_decode = msgspec.json.Decoder(Holder).decode


@dataclass(frozen=True)
class LeaseRow:
    """A run at work, or one that was killed."""

    id: int
    holder: Holder | None
    renewed_at: float
    live: str | None
    is_alive: bool
    now: float
    """When it was read. Times by the database's clock."""

    def killed_record(self) -> BurstRecord | None:
        if self.holder is None or self.holder.is_recorded:
            return None
        return self.holder.killed_record(datetime.fromtimestamp(self.renewed_at, UTC))


class LeaseRows:
    """Of one state."""

    def __init__(self, database: Database, bursts: SqlBurstLog) -> None:
        """`bursts`: where killed ones are recorded."""
        self._database = database
        self._bursts = bursts

    def living(self) -> list[LeaseRow]:
        """The runs at work, oldest first."""
        return [row for row in self._open() if row.is_alive]

    def living_but(self, lease: int) -> Select[Any]:
        """The ids of all leases that have not expired, without one; for use in another statement."""
        now = self._database.now_column()
        is_open = (leases.c.clean.is_(False), leases.c.ended_at.is_(None), leases.c.expires_at > now)
        return select(leases.c.id).where(*is_open, leases.c.id != lease)

    def killed(self) -> list[BurstRecord]:
        """The bursts of killed runs that nobody has recorded yet, oldest first."""
        return [record for row in self._open() if not row.is_alive and (record := row.killed_record())]

    def _open(self) -> Sequence[LeaseRow]:
        if not self._database.exists():
            return []
        with self._database.connect() as connection:
            return self.open_in(connection)

    def open_in(self, connection: Connection) -> list[LeaseRow]:
        """Those that did not end cleanly, living or not."""
        columns = [column for column in leases.c if column.name != "preview"]
        asked = select(*columns, self._database.now_column().label("now")).where(leases.c.clean.is_(False))
        rows = connection.execute(asked.order_by(leases.c.id)).all()
        return [
            LeaseRow(
                id=row.id,
                holder=_decode(row.holder) if row.holder is not None else None,
                renewed_at=row.renewed_at,
                live=row.live,
                is_alive=row.ended_at is None and row.expires_at > row.now and not is_dead_here(row),
                now=row.now,
            )
            for row in rows
        ]

    def sweep(self, connection: Connection) -> list[BurstRecord]:
        """End the leases of runs that were killed, make what they had claimed due again, and record their bursts, which
        are returned. In two steps, so that a run that renews its lease meanwhile keeps it."""
        found: list[BurstRecord] = []
        for row in self.open_in(connection):
            if row.is_alive:
                continue
            now = self._database.seconds(connection)
            ended = connection.execute(
                update(leases)
                .where(leases.c.id == row.id, leases.c.clean.is_(False), leases.c.renewed_at == row.renewed_at)
                .values(ended_at=now, clean=True, live=None)
                .returning(leases.c.id)
            ).all()
            if ended:
                connection.execute(update(items).where(items.c.lease == row.id).values(lease=None))
                if (record := row.killed_record()) is not None:
                    found.append(with_what_was_made(record, _Within(connection)))
        self._bursts.append_in(connection, found)
        return found


@dataclass(frozen=True)
class _Within:
    """Completions as a transaction sees them."""

    connection: Connection

    def completions(self, kind: type[_Part], *, since: datetime | None) -> Iterator[tuple[str, _Part]]:
        asked = completions(batch=None, since=since, until=None, servers=None)
        decode = msgspec.json.Decoder(kind).decode
        return ((row.key, decode(row.record)) for row in self.connection.execute(asked))


def clock_difference(now: float, clock: Clock) -> timedelta:
    """By how much a host's clock is behind the database's, whose time is `now`; nothing where that is little.

    In whole seconds, so that a time is the same whenever it is read.
    """
    seconds = now - clock.now().timestamp()
    return timedelta() if abs(seconds) < _LITTLE_SECONDS else timedelta(seconds=round(seconds))


def is_dead_here(row: Any) -> bool:
    """The process that holds this lease was one of this host and is gone; False where nobody here can say."""
    return Process(host=row.host, boot_id=row.boot_id, pid=row.pid, process=row.process).is_dead_here

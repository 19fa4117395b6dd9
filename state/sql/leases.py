"""The rows of the runs at work: who they are, whether they live, and what becomes of those that were killed."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, update

from state.burst_record import BurstRecord
from state.holder import Holder
from state.sql.database import Database
from state.sql.schema import items, leases

LEASE_SECONDS = 60.0
RENEW_SECONDS = 10.0

_decode = msgspec.json.Decoder(Holder).decode


@dataclass(frozen=True)
class LeaseRow:
    """A run at work, or one that was killed."""

    id: int
    holder: Holder | None
    renewed_at: float
    live: str | None
    preview: bytes | None
    is_alive: bool

    def killed_record(self) -> BurstRecord | None:
        if self.holder is None:
            return None
        return self.holder.killed_record(datetime.fromtimestamp(self.renewed_at, UTC))


class LeaseRows:
    """Of one state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def living(self, *, with_preview: bool = False) -> list[LeaseRow]:
        """The runs at work, oldest first."""
        return [row for row in self._open(with_preview=with_preview) if row.is_alive]

    def killed(self) -> BurstRecord | None:
        """The burst of a killed run that nobody has recorded yet; the last one, where there are several."""
        found = [record for row in self._open() if not row.is_alive and (record := row.killed_record())]
        return found[-1] if found else None

    def _open(self, *, with_preview: bool = False) -> Sequence[LeaseRow]:
        if not self._database.exists():
            return []
        with self._database.connect() as connection:
            return self.open_in(connection, with_preview=with_preview)

    def open_in(self, connection: Connection, *, with_preview: bool = False) -> list[LeaseRow]:
        """Those that did not end cleanly, living or not."""
        now = self._database.seconds(connection)
        left = [column for column in leases.c if with_preview or column.name != "preview"]
        rows = connection.execute(select(*left).where(leases.c.clean.is_(False)).order_by(leases.c.id)).all()
        return [
            LeaseRow(
                id=row.id,
                holder=_decode(row.holder) if row.holder is not None else None,
                renewed_at=row.renewed_at,
                live=row.live,
                preview=row.preview if with_preview else None,
                is_alive=row.ended_at is None and row.expires_at > now and not is_dead_here(row),
            )
            for row in rows
        ]

    def sweep(self, connection: Connection) -> list[BurstRecord]:
        """End the leases of runs that were killed and make what they had claimed due again; the records of their
        bursts. In two steps, so that a run that renews its lease meanwhile keeps it."""
        found = []
        for row in self.open_in(connection):
            if row.is_alive:
                continue
            now = self._database.seconds(connection)
            ended = connection.execute(
                update(leases)
                .where(leases.c.id == row.id, leases.c.clean.is_(False), leases.c.renewed_at == row.renewed_at)
                .values(ended_at=now, clean=True, live=None, preview=None)
                .returning(leases.c.id)
            ).all()
            if ended:
                connection.execute(update(items).where(items.c.lease == row.id).values(lease=None))
                found += [record] if (record := row.killed_record()) is not None else []
        return found


def this_process() -> dict[str, Any]:
    """What a lease's row says of the process that holds it."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "boot_id": boot_id(), "pid": pid, "process": started(pid)}


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def started(pid: int) -> str:
    """Tells a process from earlier ones of the same number; empty where it is not there or nobody can say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def is_dead_here(row: Row[Any]) -> bool:
    """The process was one of this host and is gone; False where nobody here can say."""
    here = this_process()
    if row.host != here["host"] or not row.boot_id:
        return False
    if row.boot_id != here["boot_id"]:
        return False
    return bool(row.process) and started(row.pid) != row.process

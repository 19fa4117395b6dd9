"""The append-only logs of a SQL state: batches, facts, notices and bursts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, delete, func, select

from state.batch import Batch, BatchChange, BatchNote, batches_of
from state.burst_record import MEMORY_RECORDS, BurstRecord
from state.facts import LONG_AGO, OLD_SPENDS_KEPT, Fact, Facts, Pause, ServerHealth, Spend, facts_of
from state.notices import Notice, Notices
from state.server import RegisteredServer
from state.sql.database import Database
from state.sql.notifications import announce
from state.sql.outage import repeats_all
from state.sql.rows import pieces
from state.sql.schema import lines

_T = TypeVar("_T")


class _Log(Generic[_T]):
    """The lines of one kind."""

    def __init__(self, database: Database, kind: str, types: Any) -> None:
        self._database = database
        self._kind = kind
        self._decode = msgspec.json.Decoder(types).decode

    def append(self, records: Iterable[_T]) -> None:
        with self._database.transaction() as connection:
            self.append_in(connection, records)

    def append_in(self, connection: Connection, records: Iterable[_T]) -> None:
        rows = [{"kind": self._kind, "line": msgspec.json.encode(record).decode()} for record in records]
        if rows:
            connection.execute(lines.insert(), rows)

    def stamp(self) -> int | None:
        if not self._database.exists():
            return None
        with self._database.connect() as connection:
            found = connection.scalar(select(func.max(lines.c.id)).where(lines.c.kind == self._kind))
        return int(found) if found is not None else None

    def read(self, *, last: int | None = None) -> list[_T]:
        """Oldest first. A line of an unknown kind is passed over: a newer burst may have written it."""
        if not self._database.exists():
            return []
        with self._database.connect() as connection:
            return list(self.read_in(connection, last=last))

    def read_in(self, connection: Connection, *, last: int | None = None) -> Iterator[_T]:
        asked = select(lines.c.id, lines.c.line).where(lines.c.kind == self._kind)
        rows = connection.execute(asked.order_by(lines.c.id.desc()).limit(last)).all()
        return (record for _, record in self._decoded(reversed(rows)))

    def read_on(self, connection: Connection, after: int) -> tuple[int, list[_T]]:
        """The records behind the line of this number, and the number of the last line."""
        rows = connection.execute(
            select(lines.c.id, lines.c.line).where(lines.c.kind == self._kind, lines.c.id > after).order_by(lines.c.id)
        ).all()
        return (rows[-1].id if rows else after), [record for _, record in self._decoded(rows)]

    def drop(self, connection: Connection, is_meant: Callable[[_T], bool]) -> None:
        """Delete the lines of these records. Reads all."""
        asked = select(lines.c.id, lines.c.line).where(lines.c.kind == self._kind)
        meant = [number for number, record in self._decoded(connection.execute(asked).all()) if is_meant(record)]
        for some in pieces(meant):
            connection.execute(delete(lines).where(lines.c.id.in_(some)))

    def _decoded(self, rows: Iterable[Any]) -> Iterator[tuple[int, _T]]:
        for row in rows:
            try:
                yield row.id, self._decode(row.line)
            except msgspec.DecodeError:
                continue


def log_lines(database: Database, kind: str) -> Iterator[bytes]:
    """As they are, oldest first."""
    if database.exists():
        with database.connect() as connection:
            asked = select(lines.c.line).where(lines.c.kind == kind).order_by(lines.c.id)
            yield from (line.encode() for line in connection.execute(asked).scalars())


@repeats_all(but=("append_in",))
class SqlBatchLog:
    """See `state.batch.BatchLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log: _Log[Any] = _Log(database, "batch", BatchChange | BatchNote)

    def append(self, *notes: BatchNote) -> None:
        self._log.append(notes)

    def append_in(self, connection: Connection, change: BatchChange) -> None:
        """With the items of the batch."""
        self._log.append_in(connection, [change])

    def read(self) -> dict[str, Batch]:
        return batches_of(self._log.read())

    def stamp(self) -> int | None:
        return self._log.stamp()


@repeats_all()
class SqlFactLog:
    """See `state.facts.FactLog`. Appends are made under a lock, so that lines appear in the order of their numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log: _Log[Any] = _Log(database, "fact", Fact)
        self._guard = threading.Lock()
        self._known = (0, Facts())
        """As of the line of a number."""

    def append(self, *facts: Fact) -> None:
        with self._changing() as connection:
            self._log.append_in(connection, facts)
            if any(isinstance(fact, Pause) for fact in facts):
                announce(self._database, connection)

    def change_health(self, server: str, edit: Callable[[ServerHealth], ServerHealth], *, at: datetime) -> ServerHealth:
        with self._changing() as connection:
            known = self._read_on(connection).health.get(server)
            known = known or ServerHealth(server=server, health="well", at=at)
            changed = edit(known)
            if changed is not known:
                self._log.append_in(connection, [changed])
        return changed

    def change_servers(
        self, edit: Callable[[Mapping[str, RegisteredServer]], Iterable[RegisteredServer]]
    ) -> tuple[RegisteredServer, ...]:
        with self._changing() as connection:
            changed = tuple(edit(self._read_on(connection).servers))
            self._log.append_in(connection, changed)
            announce(self._database, connection)
        return changed

    def spend(self, fact: Spend, *, most: int, since: datetime) -> bool:
        with self._changing() as connection:
            known = self._read_on(connection)
            fits = known.spent(since=since) + fact.prompts <= most
            if fits:
                self._log.append_in(connection, [fact])
        if known.spends_until(since - LONG_AGO) >= OLD_SPENDS_KEPT:
            self._drop_spends(until=since - LONG_AGO)
        return fits

    def read(self) -> Facts:
        if not self._database.exists():
            return Facts()
        with self._database.connect() as connection:
            return self._read_on(connection)

    def _drop_spends(self, *, until: datetime) -> None:
        with self._changing() as connection:
            self._log.drop(connection, lambda one: isinstance(one, Spend) and one.at <= until)
        with self._guard:
            self._known = (0, Facts())

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._database.transaction() as connection:
            self._database.lock(connection, "facts")
            yield connection

    def _read_on(self, connection: Connection) -> Facts:
        """Before anything is appended in this transaction, which may yet fail."""
        with self._guard:
            after, known = self._known
            last, news = self._log.read_on(connection, after)
            self._known = last, facts_of(news, before=known)
            return self._known[1]

    def stamp(self) -> int | None:
        return self._log.stamp()

    def last_pause(self) -> Pause | None:
        """The last one, in force or lifted."""
        return self.read().pause


@repeats_all()
class SqlNoticeLog:
    """See `state.notices.NoticeLog`. Changed under a lock, so that lines appear in the order of their numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log: _Log[Any] = _Log(database, "notice", Notice)
        self._guard = threading.Lock()
        self._known = (0, Notices())
        """As of the line of a number."""

    def change(self, edit: Callable[[Notices, datetime], Iterable[Notice]]) -> tuple[Notice, ...]:
        with self._database.transaction() as connection:
            self._database.lock(connection, "notices")
            now = datetime.fromtimestamp(self._database.seconds(connection), UTC)
            changed = tuple(edit(self._read_on(connection), now))
            self._log.append_in(connection, changed)
        return changed

    def read(self) -> Notices:
        if not self._database.exists():
            return Notices()
        with self._database.connect() as connection:
            return self._read_on(connection)

    def _read_on(self, connection: Connection) -> Notices:
        """Before anything is appended in this transaction, which may yet fail."""
        with self._guard:
            after, known = self._known
            last, news = self._log.read_on(connection, after)
            self._known = last, known.and_also(news)
            return self._known[1]

    def stamp(self) -> int | None:
        return self._log.stamp()


@repeats_all()
class SqlBurstLog:
    """See `state.burst_record.BurstLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log: _Log[BurstRecord] = _Log(database, "burst", BurstRecord)

    def append(self, record: BurstRecord) -> None:
        self._log.append([record])

    def append_in(self, connection: Connection, records: Iterable[BurstRecord]) -> None:
        self._log.append_in(connection, records)

    def drop_killed(self, connection: Connection, burst: str) -> None:
        """It was recorded as killed, and lives. Reads all records."""
        self._log.drop(connection, lambda one: one.burst == burst and one.ended == "killed")

    def read(self, *, last: int = MEMORY_RECORDS) -> list[BurstRecord]:
        return self._log.read(last=last)

    def stamp(self) -> int | None:
        return self._log.stamp()

"""The append-only logs of a SQL state: batches, facts and bursts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Connection, func, select

from state.batch import Batch, BatchChange, BatchNote, batches_of
from state.burst_record import MEMORY_RECORDS, BurstRecord
from state.facts import Fact, Facts, Pause, ServerHealth, Spend, facts_of
from state.sql.database import Database
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
        asked = select(lines.c.line).where(lines.c.kind == self._kind).order_by(lines.c.id.desc()).limit(last)
        for (line,) in reversed(connection.execute(asked).all()):
            try:
                yield self._decode(line)
            except msgspec.DecodeError:
                continue


class SqlBatchLog:
    """See `state.batch.BatchLog`."""

    def __init__(self, database: Database) -> None:
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


class SqlFactLog:
    """See `state.facts.FactLog`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log: _Log[Any] = _Log(database, "fact", Fact)
        self._pause: tuple[int | None, Pause | None] = (None, None)
        """As of a stamp."""

    def append(self, *facts: Fact) -> None:
        self._log.append(facts)

    def change_health(self, server: str, edit: Callable[[ServerHealth], ServerHealth], *, at: datetime) -> ServerHealth:
        with self._database.transaction() as connection:
            self._database.lock(connection, "facts")
            known = facts_of(self._log.read_in(connection)).health.get(server)
            known = known or ServerHealth(server=server, health="well", at=at)
            changed = edit(known)
            if changed is not known:
                self._log.append_in(connection, [changed])
        return changed

    def spend(self, fact: Spend, *, most: int, since: datetime) -> bool:
        with self._database.transaction() as connection:
            self._database.lock(connection, "facts")
            fits = facts_of(self._log.read_in(connection)).spent(since=since) + fact.prompts <= most
            if fits:
                self._log.append_in(connection, [fact])
        return fits

    def read(self) -> Facts:
        return facts_of(self._log.read())

    def stamp(self) -> int | None:
        return self._log.stamp()

    def last_pause(self) -> Pause | None:
        """The last one, in force or lifted."""
        stamp = self.stamp()
        if stamp is None:
            return None
        if stamp != self._pause[0]:
            self._pause = stamp, self.read().pause
        return self._pause[1]


class SqlBurstLog:
    """See `state.burst_record.BurstLog`."""

    def __init__(self, database: Database) -> None:
        self._log: _Log[BurstRecord] = _Log(database, "burst", BurstRecord)

    def append(self, record: BurstRecord) -> None:
        self._log.append([record])

    def read(self, *, last: int = MEMORY_RECORDS) -> list[BurstRecord]:
        return self._log.read(last=last)

    def stamp(self) -> int | None:
        return self._log.stamp()

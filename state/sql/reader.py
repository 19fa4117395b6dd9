"""Reading a SQL state. Nothing is kept in memory: every query is answered by the database as of that moment."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Select, and_, func, or_, select, tuple_

from orchestrator.clock import Clock
from state.counts import BatchFigures, Counts
from state.item import Item, Status
from state.location import Location
from state.sql.attempt_rows import completions, tried
from state.sql.change_detector import ChangeDetector
from state.sql.completed_items import SqlCompletedItems
from state.sql.due import due_count, due_pages
from state.sql.figures import Figures
from state.sql.news import changes_since, news_since
from state.sql.outage import repeats_all
from state.sql.parts import SqlParts
from state.sql.rows import IS_DUE, IS_PENDING, ORDER, item_of, moment_of, number_of, pieces, with_statuses
from state.sql.schema import items, sources
from state.sql.stage_rows import stuck_in
from state.store import FORMAT_VERSION, Backlog, Changes, News

_Part = TypeVar("_Part", bound=msgspec.Struct)
_READ_ROWS = 1000
_RECORD = (items.c.key, items.c.record)


@repeats_all()
class SqlReader(SqlParts):
    """The reading half of `SqlStore`. See `state.store.Store` for what each public method promises."""

    def __init__(self, location: Location, *, clock: Clock | None, read_only: bool) -> None:
        super().__init__(location, clock=clock, read_only=read_only, keeps=True)
        self.hand_edits: list[str] = []
        self.rewrite_seconds = 0.0
        self._read_only = read_only
        self._writer = self._database.commits.writer = uuid.uuid4().hex
        """Marks what this store changes, which is no news to it."""
        self._mutex = threading.RLock()
        self._moment = threading.local()
        """Of each thread: the figures of the moment that it is at."""
        self._detector = ChangeDetector(self._database, clock=self._clock)
        self._opened_at = 0
        """The mark of the opening: what was changed before it is no news."""

    def __contains__(self, key: str) -> bool:
        return self._scalar(select(items.c.seq).where(items.c.key == key)) is not None

    def __len__(self) -> int:
        return int(self._scalar(select(func.count()).select_from(items)))

    def get(self, key: str) -> Item:
        found = self._rows(select(*_RECORD).where(items.c.key == key))
        if not found:
            raise KeyError(key)
        return item_of(found[0])

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        wanted = list(keys)
        with self._database.connect() as connection:
            found = {row.key: row for row in _with_keys(connection, select(*_RECORD), wanted)}
        return [item_of(found[key]) for key in wanted if key in found]

    def items(self, *statuses: Status, batch: str | None = None, limit: int | None = None) -> Iterator[Item]:
        asked = select(*_RECORD).order_by(items.c.seq).limit(limit)
        if (chosen := with_statuses(statuses)) is not None:
            asked = asked.where(chosen)
        if batch is not None:
            asked = asked.where(items.c.batch == batch)
        return (item_of(row) for row in self._stream(asked))

    def batch_keys(self, batch: str, *statuses: Status, first: int = 0, limit: int | None = None) -> list[str]:
        asked = select(items.c.key).where(items.c.batch == batch, items.c.number >= number_of(first))
        if (chosen := with_statuses(statuses)) is not None:
            asked = asked.where(chosen)
        return [row.key for row in self._rows(asked.order_by(items.c.number, items.c.key).limit(limit))]

    def parts(self, kind: type[_Part]) -> Iterator[tuple[str, _Part]]:
        return self._parts(kind, select(*_RECORD).order_by(items.c.seq))

    def completions(
        self,
        kind: type[_Part],
        *,
        batch: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        servers: Collection[str] | None = None,
    ) -> Iterator[tuple[str, _Part]]:
        return self._parts(kind, completions(batch=batch, since=since, until=until, servers=servers))

    def tried(
        self, kind: type[_Part], *, batch: str | None = None, since: datetime | None = None
    ) -> Iterator[tuple[str, _Part]]:
        asked = tried(is_postgresql=self._database.is_postgresql, batch=batch, since=since)
        return self._parts(kind, asked)

    def _parts(self, kind: type[_Part], asked: Select[Any]) -> Iterator[tuple[str, _Part]]:
        decode = msgspec.json.Decoder(kind).decode
        return ((row.key, decode(row.record)) for row in self._stream(asked))

    @property
    def format_version(self) -> int | None:
        return FORMAT_VERSION

    def due_count(self, *, batch: str | None = None, without: Collection[str] = (), limit: int | None = None) -> int:
        with self._database.connect() as connection:
            return due_count(connection, batch=batch, without=without, limit=limit)

    def waiting(self) -> list[str]:
        asked = select(items.c.key).where(IS_PENDING, items.c.waits)
        return [row.key for row in self._rows(asked.order_by(items.c.seq))]

    def stuck(self) -> list[str]:
        with self._database.snapshot() as connection:
            return stuck_in(connection)

    def stages_of(self, key: str) -> list[str]:
        asked = select(items.c.key).join(sources, sources.c.stage == items.c.key).where(sources.c.source == key)
        return [row.key for row in self._rows(asked.order_by(items.c.seq))]

    @contextlib.contextmanager
    def at_one_moment(self) -> Iterator[None]:
        before = self._figures
        self._moment.figures = before or Figures(self._rows)
        try:
            yield
        finally:
            self._moment.figures = before

    @property
    def _figures(self) -> Figures | None:
        return getattr(self._moment, "figures", None)

    def last_completed_at(self) -> datetime | None:
        return (self._figures or Figures(self._rows)).last_completed_at()

    def counts(self, *, batch: str | None = None) -> Counts:
        if self._figures is not None:
            return self._figures.counts(batch)
        asked = select(items.c.status, func.count().label("many")).group_by(items.c.status)
        if batch is not None:
            asked = asked.where(items.c.batch == batch)
        return Counts({Status(row.status): row.many for row in self._rows(asked)})

    def counts_by_batch(self) -> dict[str, Counts]:
        if self._figures is not None:
            return self._figures.counts_by_batch()
        asked = select(items.c.batch, items.c.status, func.count().label("many")).where(items.c.batch.is_not(None))
        found: dict[str, dict[Status, int]] = {}
        for row in self._rows(asked.group_by(items.c.batch, items.c.status)):
            found.setdefault(row.batch, {})[Status(row.status)] = row.many
        return {batch: Counts(counts) for batch, counts in found.items()}

    def recipe_counts(self, *statuses: Status) -> dict[str | None, int]:
        if self._figures is not None:
            return self._figures.recipe_counts(statuses)
        asked = select(items.c.recipe, func.count().label("many")).group_by(items.c.recipe)
        if (chosen := with_statuses(statuses)) is not None:
            asked = asked.where(chosen)
        return {row.recipe: row.many for row in self._rows(asked)}

    def batch_figures(self, batch: str, *, without: Iterable[str] = ()) -> BatchFigures:
        without = list(without)
        if self._figures is not None and not without:
            return self._figures.of_batch(batch)
        own = items.c.batch == batch
        timed = and_(own, items.c.status == Status.COMPLETED.value, items.c.seconds != 0)
        with self._database.snapshot() as connection:
            counted = connection.execute(
                select(items.c.status, func.count().label("many")).where(own).group_by(items.c.status)
            ).all()
            recipes = connection.execute(select(items.c.recipe).where(own).distinct()).scalars().all()
            latest = connection.scalar(select(func.max(items.c.completed_at)).where(own))
            mean = connection.scalar(select(func.avg(items.c.seconds)).where(timed))
            due = connection.scalar(select(func.count()).select_from(items).where(own, IS_DUE))
            servers = connection.execute(select(items.c.server).where(timed).distinct()).scalars().all()
            up_to = _due_up_to(connection, batch, without)
        return BatchFigures(
            counts=Counts({Status(row.status): row.many for row in counted}),
            due=int(due or 0),
            due_up_to=up_to,
            recipes=tuple(recipes),
            completed_at=moment_of(latest) if latest is not None else None,
            mean_seconds=float(mean) if mean is not None else None,
            servers=tuple(server or "" for server in servers),
        )

    def due(
        self,
        limit: int,
        *,
        batch: str | None = None,
        skip: Collection[str] = (),
        without: Collection[str] = (),
        accept: Callable[[Item], bool] | None = None,
    ) -> list[Item]:
        chosen: dict[str, Item] = {}
        for page in due_pages(self._database, batch=batch, without=without, at_least=limit, held=True):
            for row in page:
                if len(chosen) < limit and row.key not in skip and (accept is None or accept(item_of(row))):
                    chosen[row.key] = item_of(row)
            if len(chosen) >= limit:
                break
        return list(chosen.values())

    def refresh(self) -> None:
        """Every query reads what is there."""

    def changes(self, since: int = 0) -> Changes:
        with self._database.connect() as connection:
            return changes_since(connection, max(since, self._opened_at), writer=self._writer)

    def news(self, since: int, *, of: Collection[str]) -> News:
        with self._database.connect() as connection:
            return news_since(connection, max(since, self._opened_at), writer=self._writer, of=of)

    def completed_items(self) -> SqlCompletedItems:
        return SqlCompletedItems(self._database)

    def may_have_changed(self) -> bool:
        return self._detector.may_have_changed()

    def is_edited(self) -> bool:
        return False

    def backlog(self) -> Backlog:
        return Backlog()

    def close(self) -> None:
        self._detector.close()
        self._database.close()

    def _scalar(self, asked: Select[Any]) -> Any:
        with self._database.connect() as connection:
            return connection.scalar(asked)

    def _rows(self, asked: Select[Any]) -> Sequence[Any]:
        with self._database.connect() as connection:
            return connection.execute(asked).all()

    def _stream(self, asked: Select[Any]) -> Iterator[Any]:
        """Rows as of this moment, read as they are needed."""
        rows = self._streamed(asked)
        next(rows)
        return rows

    def _streamed(self, asked: Select[Any]) -> Iterator[Any]:
        """`None` first, once the moment is fixed."""
        with self._database.snapshot() as connection:
            result = connection.execute(asked, execution_options={"yield_per": _READ_ROWS})
            # Its cursor is one of the server, also for a reader that stops before the end.
            with contextlib.closing(result):
                # SQLite takes its snapshot with the first row.
                first = result.fetchmany(_READ_ROWS)
                yield None
                yield from first
                yield from result


def _with_keys(connection: Connection, asked: Select[Any], keys: Iterable[str]) -> Iterator[Any]:
    for some in pieces(keys):
        yield from connection.execute(asked.where(items.c.key.in_(some)))


def _due_up_to(connection: Connection, batch: str, without: Iterable[str]) -> int:
    """See `BatchFigures.due_up_to`."""
    places = select(*ORDER).where(IS_DUE, items.c.batch == batch)
    last = connection.execute(places.order_by(*(column.desc() for column in ORDER)).limit(1)).first()
    if last is None:
        return 0
    up_to = and_(IS_DUE, or_(tuple_(*ORDER) <= tuple_(*last)))
    counted = select(func.count()).select_from(items).where(up_to)
    left_out = sum(
        int(connection.scalar(counted.where(items.c.key.in_(some))) or 0) for some in pieces(dict.fromkeys(without))
    )
    return int(connection.scalar(counted) or 0) - left_out

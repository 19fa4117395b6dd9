"""Stages in a SQL state: which items are made from which, and whether they wait.

Two transactions may change two sources of one stage at once, or a source while a stage of it is added. So whoever
changes a source holds the rows of its stages until the end, whoever adds a stage those of its sources, and `waits` is
worked out last, by a statement of its own, which sees what others have committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, or_, select, update

from state.item import Item, Status
from state.sql.rows import IS_PENDING, ROW, item_of, pieces
from state.sql.schema import items, sources
from state.stages import circle_of, followed

_source = items.alias("source")


class StageRows:
    """The rows that one transaction holds, and those that it looks at because of the stages among them."""

    def __init__(self, connection: Connection, held: dict[str, Any]) -> None:
        """`held`: by key; further ones are added."""
        self.held = held
        self._connection = connection
        self._seen: dict[str, Item | None] = {}
        self._stages: dict[str, list[str]] = {}

    def follow(self, asked: Mapping[str, Item | None]) -> dict[str, Item | None]:
        """These changes and those that follow from them. Holds the rows of all that change, and of their stages."""
        gained = {
            source
            for key, item in asked.items()
            if item is not None and item.uploads
            for source in set(item.sources).difference(self._sources_of(key))
        }
        self.hold_sources(gained)
        if not any((item is not None and item.uploads) or self._has_stages(key) for key, item in asked.items()):
            return dict(asked)
        return followed(asked, before=self.before, stages_of=self._hold_stages)

    def hold_sources(self, keys: Collection[str]) -> None:
        """Before an item that is made from these is added: their statuses stay as they are until it is there."""
        for some in pieces(sorted(set(keys) - set(self.held))):
            asked = select(*ROW).where(items.c.key.in_(some)).order_by(items.c.key).with_for_update()
            self.held |= {row.key: row for row in self._connection.execute(asked).all()}
        for some in pieces(sorted(keys)):
            self._connection.execute(
                update(items).where(items.c.key.in_(some), items.c.has_stages.is_(False)).values(has_stages=True)
            )

    def before(self, key: str) -> Item | None:
        """An item as it is without the changes; None where it is not there."""
        if key in self.held:
            return item_of(self.held[key])
        if key not in self._seen:
            row = self._connection.execute(select(*ROW).where(items.c.key == key)).first()
            self._seen[key] = item_of(row) if row is not None else None
        return self._seen[key]

    def write(self, changed: Mapping[str, Item | None]) -> None:
        """Once these are in their rows: note what is made from what, and which items wait."""
        self._write_sources(changed)
        stages = {key for key, item in changed.items() if item is not None and item.sources}
        stages.update(stage for key in changed for stage in self._stages.get(key, ()))
        find_waits(self._connection, stages)

    def _write_sources(self, changed: Mapping[str, Item | None]) -> None:
        lost = [key for key, item in changed.items() if self._sources_of(key) - set(item.sources if item else ())]
        for some in pieces(lost):
            self._connection.execute(delete(sources).where(sources.c.stage.in_(some)))
        add_sources(
            self._connection,
            [
                (source, key)
                for key, item in changed.items()
                if item is not None
                for source in item.sources
                if key in lost or source not in self._sources_of(key)
            ],
        )

    def _sources_of(self, key: str) -> set[str]:
        """As they are without the changes."""
        if key not in self.held:
            return set()
        return set(item_of(self.held[key]).sources)

    def _has_stages(self, key: str) -> bool:
        return key not in self.held or bool(self.held[key].has_stages)

    def _hold_stages(self, key: str) -> Sequence[str]:
        if key not in self._stages:
            self._stages[key] = []
            if self._has_stages(key):
                asked = select(*ROW).join(sources, sources.c.stage == items.c.key).where(sources.c.source == key)
                rows = self._connection.execute(asked.order_by(items.c.key).with_for_update(of=items)).all()
                self.held |= {row.key: row for row in rows if row.key not in self.held}
                self._stages[key] = [row.key for row in sorted(rows, key=lambda row: row.seq)]
        return self._stages[key]


def add_sources(connection: Connection, pairs: Sequence[tuple[str, str]]) -> None:
    """`pairs`: a source and what is made from it."""
    if pairs:
        connection.execute(sources.insert(), [{"source": source, "stage": stage} for source, stage in pairs])


def note_stages(connection: Connection, keys: Iterable[str]) -> None:
    """Of items that were added: there may be items that are made from an earlier one with the same key."""
    for some in pieces(keys):
        has_stages = exists().where(sources.c.source == items.c.key)
        connection.execute(update(items).where(items.c.key.in_(some), has_stages).values(has_stages=True))


def find_waits(connection: Connection, keys: Iterable[str]) -> None:
    """Which of these items, whose rows are held, wait for another one."""
    missing = select(1).select_from(sources.outerjoin(_source, _source.c.key == sources.c.source))
    missing = missing.where(
        sources.c.stage == items.c.key,
        or_(_source.c.status.is_(None), _source.c.status != Status.COMPLETED.value),
    ).correlate(items)
    for some in pieces(sorted(keys)):
        waits = and_(IS_PENDING, exists(missing))
        connection.execute(update(items).where(items.c.key.in_(some), items.c.waits != waits).values(waits=waits))


def sources_in(connection: Connection, keys: Iterable[str]) -> Callable[[str], Sequence[str]]:
    """What an item is made from, by its key. Those of `keys` are read at once, others when they are asked for."""
    found: dict[str, list[str]] = {}

    def read(some: Sequence[str]) -> None:
        found.update({key: [] for key in some})
        asked = select(sources.c.stage, sources.c.source).where(sources.c.stage.in_(some))
        for row in connection.execute(asked.order_by(sources.c.source)):
            found[row.stage].append(row.source)

    for some in pieces(keys):
        read(some)

    def sources_of(key: str) -> Sequence[str]:
        if key not in found:
            read([key])
        return found[key]

    return sources_of


def stuck_in(connection: Connection) -> list[str]:
    """See `state.store.Store.stuck`."""
    waiting = select(items.c.seq, items.c.key).where(IS_PENDING, items.c.waits).order_by(items.c.seq)
    keys = [row.key for row in connection.execute(waiting)]
    if not keys:
        return []
    lost = (Status.FAILED.value, Status.CANCELLED.value)
    asked = (
        select(items.c.key)
        .join(sources, sources.c.stage == items.c.key)
        .outerjoin(_source, _source.c.key == sources.c.source)
        .where(IS_PENDING, items.c.waits, or_(_source.c.status.is_(None), _source.c.status.in_(lost)))
    )
    hopeless = set(connection.execute(asked).scalars())
    sources_of = sources_in(connection, keys)
    return [key for key in keys if key in hopeless or circle_of(key, sources_of)]

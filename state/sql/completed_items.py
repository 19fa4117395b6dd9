"""Questions of a run about completed items of a SQL state, each answered from an index of these alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from datetime import datetime
from itertools import islice

import msgspec
from sqlalchemy import ColumnElement, and_, func, literal_column, or_, select

from state.completed_items import Completion, Kind, Made
from state.item import Item
from state.sql.database import Database
from state.sql.outage import repeats_all
from state.sql.rows import microseconds_of
from state.sql.schema import items

_IS_COMPLETED = items.c.status == literal_column("'completed'")
_READ_ROWS = 1000
_SPARE_ROWS = 3
"""Rows that are read beyond those that are needed: a few records do not say which prompt it was."""
_decode = msgspec.json.Decoder(Made).decode


@repeats_all()
class SqlCompletedItems:
    """See `state.completed_items.CompletedItems`. It keeps how many files came of each kind, and the servers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._counts: dict[Kind, set[int]] = {}
        self._servers: set[str] | None = None

    def note(self, item: Item) -> None:
        made = Made.of(item)
        with self._guard:
            if made.kind in self._counts:
                self._counts[made.kind].add(made.count)
            if self._servers is not None and made.server is not None:
                self._servers.add(made.server)

    def counts(self, item: Item) -> Collection[int]:
        kind = Made.of(item).kind
        with self._guard:
            if kind not in self._counts:
                self._counts[kind] = self._read_counts(kind)
            return set(self._counts[kind])

    def servers(self) -> list[str]:
        asked = select(items.c.server).where(items.c.completed_at.is_not(None)).distinct()
        with self._guard:
            if self._servers is None:
                self._servers = {row.server for row in self._database.rows(asked) if row.server is not None}
            return sorted(self._servers)

    def latest(
        self,
        server: str,
        most: int,
        *,
        until: datetime | None = None,
        recipes: Collection[str | None] | None = None,
    ) -> list[Completion]:
        asked = select(items.c.record).where(_IS_COMPLETED, items.c.server == server, items.c.completed_at.is_not(None))
        if until is not None:
            asked = asked.where(items.c.completed_at <= microseconds_of(until))
        if recipes is not None:
            asked = asked.where(_is_one_of(recipes))
        rows = self._database.rows(asked.order_by(items.c.completed_at.desc()).limit(most + _SPARE_ROWS))
        return list(islice((one for row in rows if (one := _decode(row.record).completion) is not None), most))

    def longest_seconds(self, recipe: str | None) -> float | None:
        asked = select(func.max(items.c.seconds)).where(_IS_COMPLETED, _is_one_of([recipe]))
        (row,) = self._database.rows(asked)
        return float(row[0]) if row[0] is not None else None

    def _read_counts(self, kind: Kind) -> set[int]:
        """Two are as good as any number: then nobody knows how many there are to be."""
        found: set[int] = set()
        asked = select(items.c.record).where(_IS_COMPLETED, _is_one_of([kind[0]]))
        with self._database.snapshot() as connection:
            rows = connection.execute(asked, execution_options={"yield_per": _READ_ROWS})
            # Its cursor is one of the server.
            with contextlib.closing(rows):
                for row in rows:
                    made = _decode(row.record)
                    if made.kind == kind:
                        found.add(made.count)
                    if len(found) > 1:
                        break
        return found


def _is_one_of(recipes: Collection[str | None]) -> ColumnElement[bool]:
    named = items.c.recipe.in_([recipe for recipe in recipes if recipe is not None])
    return or_(named, items.c.recipe.is_(None)) if None in recipes else and_(named)

"""The rows of a SQL state that have attempts on record, found by indices."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select, text

from state.sql.rows import microseconds_of
from state.sql.schema import items

_RECORD = (items.c.key, items.c.record)
_HAS_OTHERS = {
    True: text("(status = 'failed' OR strpos(record, '\"past_attempts\"') > 0)"),
    False: text("(status = 'failed' OR instr(record, '\"past_attempts\"') > 0)"),
}
"""As the index `items_tried` has it: written otherwise, it would not be used."""


def completions(
    *, batch: str | None, since: datetime | None, until: datetime | None, servers: Collection[str] | None
) -> Select[Any]:
    """See `Store.completions`."""
    asked = select(*_RECORD).where(items.c.completed_at.is_not(None)).order_by(items.c.completed_at, items.c.seq)
    if batch is not None:
        asked = asked.where(items.c.batch == batch)
    if since is not None:
        asked = asked.where(items.c.completed_at >= microseconds_of(since))
    if until is not None:
        asked = asked.where(items.c.completed_at < microseconds_of(until))
    if servers is not None:
        asked = asked.where(items.c.server.in_(servers))
    return asked


def tried(*, is_postgresql: bool, batch: str | None, since: datetime | None) -> Select[Any]:
    """See `Store.tried`."""
    asked = select(*_RECORD).where(_HAS_OTHERS[is_postgresql])
    if batch is not None:
        asked = asked.where(items.c.batch == batch)
    if since is not None:
        asked = asked.where(or_(items.c.completed_at.is_(None), items.c.completed_at >= microseconds_of(since)))
    return asked

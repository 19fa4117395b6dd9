"""What others did in a SQL state since a mark: which items they changed, or only what a run at work needs of that."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, literal_column, select, union_all

from state.item import recipe_of_kind
from state.sql.due import all_kinds
from state.sql.rows import IS_LEFT, pieces
from state.sql.schema import events, items
from state.store import Changes, News

_MOST_NAMED = 2000
"""Of more items than that the keys of all that changed are read, and not theirs alone."""


def mark_of(connection: Connection) -> int:
    """What is changed from now on comes after it."""
    return int(connection.execute(select(_mark(connection).label("mark"))).scalar_one())


def changes_since(connection: Connection, since: int, *, writer: str) -> Changes:
    """`writer`: whose own changes are no news."""
    latest = mark_of(connection)
    asked = select(events.c.item).where(*_by_others(connection, since, latest, writer)).group_by(events.c.item)
    return Changes(list(connection.execute(asked.order_by(func.max(events.c.id))).scalars()), latest)


def news_since(connection: Connection, since: int, *, writer: str, of: Collection[str]) -> News:
    """The same for a run: one statement, or three, and one row for each of its items and for each recipe."""
    mark = _mark(connection)
    is_any = exists(select(events.c.id).where(*_by_others(connection, since, mark, writer)).correlate(None))
    found = connection.execute(select(mark.label("mark"), is_any.label("is_any"))).one()
    if not found.is_any:
        return News(False, (), (), found.mark)
    if len(of) > _MOST_NAMED:
        keys = set(of).intersection(changes_since(connection, since, writer=writer).keys)
    else:
        asked = select(events.c.item).where(*_by_others(connection, since, found.mark, writer)).distinct()
        keys = {
            key for some in pieces(of) for key in connection.execute(asked.where(events.c.item.in_(some))).scalars()
        }
    recipes = {recipe_of_kind(kind) for kind in connection.execute(_kinds_to_do()).scalars()}
    return News(True, keys, recipes, found.mark)


@cache
def _kinds_to_do() -> Select[Any]:
    """Of items that are due or left behind on a server, and held by no run."""
    left = select(func.coalesce(items.c.recipe, literal_column("''"))).where(IS_LEFT).distinct()
    return select(union_all(all_kinds(), left).subquery("to_do"))


def _mark(connection: Connection) -> ColumnElement[int]:
    if _is_postgresql(connection):
        return literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery()


def _by_others(
    connection: Connection, since: int, latest: int | ColumnElement[int], writer: str
) -> tuple[ColumnElement[bool], ...]:
    """Of those up to the mark: on PostgreSQL a transaction that is still open may have an earlier number."""
    if _is_postgresql(connection):
        between = events.c.moment >= since, events.c.moment < latest
    else:
        between = events.c.id > since, events.c.id <= latest
    return (*between, events.c.writer != writer)


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"

"""Which items are due in a SQL state, in order, without reading those that nobody wants now.

Items of one kind (`Item.kind`) are a queue of their own. One look into an index finds the next kind, another one the
first items of it: however many of other kinds, of other batches or of other runs stand before them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    SmallInteger,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.sql.selectable import NamedFromClause

from state.sql.rows import URGENT
from state.sql.schema import items

if TYPE_CHECKING:
    from state.sql.database import Database

_BEFORE_ALL: dict[str, float] = {"priority": -1, "rank": 0.0, "seq": 0}
_LEAST_PAGE = 16
_ALL = 2**62


def due_pages(
    database: Database, *, batch: str | None, without: Collection[str], at_least: int, held: bool
) -> Iterator[Sequence[Any]]:
    """Key, record, priority, rank and seq of due items, in order, in pages, each as long as all before it.

    `batch`: those of it and urgent ones. `without`: kinds that are left out, read anew for each page. `held`: whether
    those that a run holds are among them. The last page may be empty.
    """
    statement = _page(database.is_postgresql, of_batch=batch is not None, held=held)
    looked_at, after = 0, _BEFORE_ALL
    while True:
        size = max(at_least, looked_at, _LEAST_PAGE)
        rows = database.rows(statement, {"size": size, "batch": batch, "without": list(without), **after})
        yield rows
        if len(rows) < size:
            return
        looked_at += size
        after = {"priority": rows[-1].priority, "rank": rows[-1].rank, "seq": rows[-1].seq}


def due_count(connection: Connection, *, batch: str | None, without: Collection[str], limit: int | None) -> int:
    """How many are due, those that runs hold among them; counted no further than `limit`. The rest as `due_pages`."""
    statement = _count(connection.dialect.name == "postgresql", of_batch=batch is not None)
    asked = {"size": _ALL if limit is None else limit, "batch": batch, "without": list(without), **_BEFORE_ALL}
    return int(connection.execute(statement, asked).scalar_one())


@cache
def all_kinds() -> Select[Any]:
    """The kinds of the items that are due and that no run holds, without reading these."""
    kinds = _kinds(items.alias("free"), true(), index="items_due")
    return select(kinds.c.kind).where(kinds.c.kind.is_not(None))


@cache
def _page(is_postgresql: bool, *, of_batch: bool, held: bool) -> Select[Any]:
    free = _free_of_batch if of_batch else _free
    parts = [free(is_postgresql)]
    if of_batch:
        parts.append(_urgent_of_others(is_postgresql))
    if held:
        parts.append(_held(of_batch=of_batch))
    found = union_all(*parts).subquery("found")
    return select(found).order_by(found.c.priority, found.c.rank, found.c.seq).limit(bindparam("size"))


@cache
def _count(is_postgresql: bool, *, of_batch: bool) -> Select[Any]:
    page = _page(is_postgresql, of_batch=of_batch, held=True).order_by(None)
    return select(func.count()).select_from(page.subquery("counted"))


def _free(is_postgresql: bool) -> Select[Any]:
    return _first_of_each_kind(items.alias("free"), true(), true(), is_postgresql=is_postgresql, index="items_due")


def _free_of_batch(is_postgresql: bool) -> Select[Any]:
    item = items.alias("own")
    own = item.c.batch == bindparam("batch")
    return _first_of_each_kind(item, own, own, is_postgresql=is_postgresql, index="items_due_in_batch")


def _urgent_of_others(is_postgresql: bool) -> Select[Any]:
    item = items.alias("urgent")
    others = or_(item.c.batch.is_(None), item.c.batch != bindparam("batch"))
    urgent = and_(_is_urgent(item), others)
    return _first_of_each_kind(item, true(), urgent, is_postgresql=is_postgresql, index="items_due")


def _first_of_each_kind(
    item: NamedFromClause, within: ColumnElement[bool], only: ColumnElement[bool], *, is_postgresql: bool, index: str
) -> Select[Any]:
    """`within`: where kinds are looked for. `only`: which items of these are meant."""
    kinds = _kinds(item, within, index=index)
    wanted = and_(kinds.c.kind.is_not(None), _is_wanted(kinds))
    page = (
        select(*_columns(item))
        .with_hint(item, f"INDEXED BY {index}", "sqlite")
        .where(_is_free(item), only, item.c.kind == kinds.c.kind, _is_later(item))
        .order_by(item.c.priority, item.c.rank, item.c.seq)
        .limit(bindparam("size"))
    )
    if is_postgresql:
        first = page.lateral(f"first_{item.name}")
        return select(first).select_from(kinds.join(first, true())).where(wanted)
    # SQLite has no LATERAL, but reads such a list again for each kind.
    found = items.alias(f"first_{item.name}")
    seqs = page.with_only_columns(item.c.seq).correlate(kinds)
    return select(*_columns(found)).select_from(kinds.join(found, found.c.seq.in_(seqs))).where(wanted)


def _kinds(item: NamedFromClause, within: ColumnElement[bool], *, index: str) -> CTE:
    """Each after the one before, down to None."""
    least = select(func.min(item.c.kind).label("kind")).where(_is_free(item), within)
    least = least.with_hint(item, f"INDEXED BY {index}", "sqlite")
    kinds = least.cte(f"kinds_{item.name}", recursive=True)
    following = least.where(item.c.kind > kinds.c.kind).correlate(kinds).scalar_subquery()
    return kinds.union_all(select(following).where(kinds.c.kind.is_not(None)))


def _held(*, of_batch: bool) -> Select[Any]:
    """Few: what runs have claimed and not sent yet."""
    item = items.alias("held")
    is_held = and_(_is_due(item), item.c.lease.is_not(None))
    found = select(*_columns(item)).where(is_held, _is_wanted(item), _is_later(item))
    found = found.with_hint(item, "INDEXED BY items_held", "sqlite")
    return found.where(or_(item.c.batch == bindparam("batch"), _is_urgent(item))) if of_batch else found


def _columns(item: NamedFromClause) -> tuple[ColumnElement[Any], ...]:
    return item.c.key, item.c.record, item.c.priority, item.c.rank, item.c.seq


def _is_due(item: NamedFromClause) -> ColumnElement[bool]:
    return and_(item.c.status == literal_column("'pending'"), not_(item.c.waits))


def _is_free(item: NamedFromClause) -> ColumnElement[bool]:
    """As the indices of what is due have it: written otherwise, they would not be used."""
    return and_(_is_due(item), item.c.lease.is_(None))


def _is_urgent(item: NamedFromClause) -> ColumnElement[bool]:
    return item.c.priority == literal_column(str(URGENT))


def _is_wanted(found: FromClause) -> ColumnElement[bool]:
    return found.c.kind.not_in(bindparam("without", expanding=True))


def _is_later(item: NamedFromClause) -> ColumnElement[bool]:
    place = tuple_(bindparam("priority", type_=SmallInteger), bindparam("rank"), bindparam("seq"))
    return tuple_(item.c.priority, item.c.rank, item.c.seq) > place

"""All counts and figures of a SQL state as of one moment: one pass over the items, however many batches there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Select, and_, func, literal_column, not_, select, union_all

from state.counts import BatchFigures, Counts
from state.item import Status
from state.sql.rows import moment_of
from state.sql.schema import items

_KEYS = (items.c.status, items.c.waits, items.c.batch, items.c.recipe, items.c.server)


class Figures:
    """Read when they are first asked for. Groups of equal items are kept, not the items."""

    def __init__(self, read: Callable[[Select[Any]], Sequence[Any]]) -> None:
        self._read = read

    def counts(self, batch: str | None = None) -> Counts:
        found: defaultdict[Status, int] = defaultdict(int)
        for row in self._rows if batch is None else self._by_batch.get(batch, ()):
            found[Status(row.status)] += row.many
        return Counts(found)

    def counts_by_batch(self) -> dict[str, Counts]:
        return {batch: self.counts(batch) for batch in self._by_batch}

    def recipe_counts(self, statuses: Collection[Status]) -> dict[str | None, int]:
        found: defaultdict[str | None, int] = defaultdict(int)
        for row in self._rows:
            if not statuses or Status(row.status) in statuses:
                found[row.recipe] += row.many
        return dict(found)

    def of_batch(self, batch: str) -> BatchFigures:
        rows = self._by_batch.get(batch, ())
        timed = [row for row in rows if row.status == Status.COMPLETED.value and row.timed]
        count = sum(row.timed for row in timed)
        due = sum(row.many for row in rows if row.status == Status.PENDING.value and not row.waits)
        return BatchFigures(
            counts=self.counts(batch),
            due=due,
            due_up_to=self._due_up_to.get(batch, 0) if due else 0,
            recipes=tuple(dict.fromkeys(row.recipe for row in rows)),
            completed_at=_latest(rows),
            mean_seconds=sum(row.seconds for row in timed) / count if count else None,
            servers=tuple(dict.fromkeys(row.server or "" for row in timed)),
        )

    def last_completed_at(self) -> datetime | None:
        return _latest(self._rows)

    @cached_property
    def _rows(self) -> Sequence[Any]:
        asked = select(
            *_KEYS,
            func.count().label("many"),
            func.count(func.nullif(items.c.seconds, 0.0)).label("timed"),
            func.sum(items.c.seconds).label("seconds"),
            func.max(items.c.completed_at).label("completed_at"),
        )
        return self._read(asked.group_by(*_KEYS))

    @cached_property
    def _by_batch(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for row in self._rows:
            if row.batch is not None:
                found.setdefault(row.batch, []).append(row)
        return found

    @cached_property
    def _due_up_to(self) -> dict[str, int]:
        """By batch: at which place among all due items its last one is."""
        due = union_all(_due(held=False), _due(held=True)).subquery()
        order = (due.c.priority, due.c.rank, due.c.seq)
        placed = select(due.c.batch, func.row_number().over(order_by=order).label("place")).subquery()
        asked = select(placed.c.batch, func.max(placed.c.place).label("place")).where(placed.c.batch.is_not(None))
        return {row.batch: row.place for row in self._read(asked.group_by(placed.c.batch))}


def _due(*, held: bool) -> Select[Any]:
    """In two parts, each of which is read from an index alone, or is small."""
    item = items.alias("held" if held else "free")
    is_due = and_(item.c.status == literal_column("'pending'"), not_(item.c.waits))
    found = select(item.c.batch, item.c.priority, item.c.rank, item.c.seq)
    found = found.with_hint(item, f"INDEXED BY {'items_held' if held else 'items_due_in_batch'}", "sqlite")
    return found.where(is_due, item.c.lease.is_not(None) if held else item.c.lease.is_(None))


def _latest(rows: Sequence[Any]) -> datetime | None:
    times = [row.completed_at for row in rows if row.completed_at is not None]
    return moment_of(max(times)) if times else None

"""From an item to its row, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, literal_column, not_

from state.item import PRIORITIES, Item, Status
from state.sql.schema import items

_T = TypeVar("_T")

PIECE = 500
"""How many values a statement compares with at a time: SQLite takes 32,766 in all."""
_LARGEST = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

COLUMNS = (
    "status",
    "batch",
    "number",
    "recipe",
    "priority",
    "rank",
    "waits",
    "kind",
    "server",
    "seconds",
    "completed_at",
    "record",
)
"""Those of `row_of` that may change."""
ROW = (items.c.seq, items.c.key, items.c.status, items.c.lease, items.c.has_stages, items.c.record)
"""What a change needs of an item."""
ORDER = (items.c.priority, items.c.rank, items.c.seq)
IS_SUBMITTED = items.c.status == literal_column("'submitted'")
IS_PENDING = items.c.status == literal_column("'pending'")
"""Not as a parameter: with one, PostgreSQL's plan may not use the index of those alone."""
IS_DUE = and_(IS_PENDING, not_(items.c.waits))
"""`NOT waits` and not `IS FALSE`, which no index serves."""
IS_LEFT = and_(IS_SUBMITTED, items.c.lease.is_(None))
"""Submitted, and held by no run."""
URGENT = PRIORITIES.index("urgent")


def row_of(item: Item) -> dict[str, Any]:
    """All columns but `seq`, `has_stages` and `lease`. `waits`: as if no source were completed."""
    return {
        "key": item.key,
        "status": item.status.value,
        "batch": item.batch,
        "number": number_of(item.index),
        "recipe": item.recipe,
        "priority": PRIORITIES.index(item.priority),
        "rank": item.rank,
        "waits": item.status is Status.PENDING and bool(item.sources),
        "server": item.server,
        "seconds": item.seconds,
        "kind": item.kind,
        "completed_at": None if item.completed_at is None else microseconds_of(item.completed_at),
        "record": item.to_record().decode(),
    }


def number_of(index: int | None) -> int:
    """The column `number`. A larger index than the column holds is as good as the largest."""
    return min(index or 0, _LARGEST)


def microseconds_of(moment: datetime) -> int:
    """For the column `completed_at`."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """Of the column `completed_at`."""
    return _EPOCH + microseconds * _MICROSECOND


def item_of(row: Any) -> Item:
    """Of a row with `key` and `record`."""
    return Item.from_record(row.key, row.record.encode())


def with_statuses(statuses: Iterable[Status]) -> ColumnElement[bool] | None:
    wanted = [status.value for status in statuses]
    return items.c.status.in_(wanted) if wanted else None


def pieces(values: Iterable[_T], size: int = PIECE) -> Iterator[list[_T]]:
    """The values in lists of at most `size`."""
    left = iter(values)
    while piece := list(islice(left, size)):
        yield piece

"""The rows that a run holds, as it last read or wrote them: their next change is computed without reading them again.

It is written where a row is still as it is known, and where the run still holds it: see `GuardedWrite`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from state.attempts import with_ended_attempt
from state.change import Change
from state.item import Item
from state.sql.edits import Edited, check


class KnownRow(NamedTuple):
    """A row of `items`."""

    seq: int
    item: Item
    record: str
    """As its column has it."""


def edits_of_known(
    changes: Sequence[Change],
    known: Mapping[str, KnownRow],
    *,
    burst: str | None,
    now: Callable[[], datetime],
) -> list[Edited] | None:
    """None where the rows must be read: not all are known, or other items may have to do with it.

    Errors: ValueError for what no store may write.
    """
    edited: dict[str, Edited] = {}
    for change in changes:
        row = known.get(change.key)
        if row is None or row.item.status is not change.expected or change.key in edited:
            return None
        before = row.item
        item = with_ended_attempt(before, change.edit(before), burst=burst, now=now)
        if item is None or item.uploads or before.uploads or (item.batch, item.index) != (before.batch, before.index):
            return None
        edited[change.key] = Edited(change.key, before.status, item)
    check(list(edited.values()))
    return list(edited.values())

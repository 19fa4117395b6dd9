"""From a change set and the rows that it is about to what is to be written; whichever way that is written then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from orchestrator.errors import StaleChange
from state.attempts import with_ended_attempt
from state.change import Change
from state.item import REMOVABLE, TRANSITIONS, Item, Status
from state.sql.rows import item_of


class Edited(NamedTuple):
    """An item that changes."""

    key: str
    was: Status | None
    """None: it is new."""
    item: Item | None
    """None: it is removed."""


def edits(
    changes: Sequence[Change],
    found: Mapping[str, Any],
    *,
    lease: int | None,
    burst: str | None,
    now: Callable[[], datetime],
) -> list[Edited]:
    """`found`: the rows by key, as `ROW`. With a lease, what another run holds is stale.

    Errors: StaleChange; ValueError for a change set that names an item twice.
    """
    stale = [change.key for change in changes if _is_stale(change, found.get(change.key), lease)]
    if stale:
        raise StaleChange(stale)
    if len({change.key for change in changes}) < len(changes):
        raise ValueError("one change set changes an item twice")
    edited = []
    for change in changes:
        before = _before(change, found)
        item = with_ended_attempt(before, change.edit(before), burst=burst, now=now)
        edited.append(Edited(change.key, change.expected, item))
    return edited


def is_plain(edited: Sequence[Edited], found: Mapping[str, Any]) -> bool:
    """Whether nothing follows for other items, and these are all there and stay."""
    return all(
        one.item is not None
        and one.was is not None
        and not (found[one.key].has_stages or one.item.uploads)
        and '"uploads"' not in found[one.key].record
        for one in edited
    )


def check(edited: Sequence[Edited]) -> None:
    """Errors: ValueError for what no store may write."""
    for key, was, item in edited:
        if item is None and was not in REMOVABLE:
            raise ValueError(f"{key}: cannot be removed while it is {was or 'not there'}")
        if item is not None and (item.key != key or item.status not in TRANSITIONS[was]):
            raise ValueError(f"{key}: {was} → {item.status} is not a transition")


def submitted(edited: Sequence[Edited]) -> list[Item]:
    """Those that become so."""
    return [
        one.item
        for one in edited
        if one.item is not None and one.item.status is Status.SUBMITTED and one.was is not Status.SUBMITTED
    ]


def status_of(row: Any) -> Status | None:
    return Status(row.status) if row is not None else None


def _is_stale(change: Change, row: Any, lease: int | None) -> bool:
    if row is None:
        return change.expected is not None
    if change.expected is None or row.status != change.expected.value:
        return True
    return lease is not None and row.lease is not None and row.lease != lease


def _before(change: Change, found: Mapping[str, Any]) -> Item:
    if change.expected is None:
        return Item(key=change.key, status=Status.PENDING)
    return item_of(found[change.key])

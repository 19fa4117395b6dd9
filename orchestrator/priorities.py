"""`burst priority`: which items and batches come first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from orchestrator.amendment import amend
from orchestrator.documents.lists import shortened
from orchestrator.errors import UsageError
from orchestrator.formatting import counted, in_lines, key_lines
from orchestrator.migration import open_for_writing
from orchestrator.retries import keys_of, settled
from orchestrator.selection import select
from orchestrator.settings import Overrides
from orchestrator.withdrawal import AskedServers
from state.counts import Counts
from state.item import DUE, Item, Priority, Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import PriorityDocument

FIRST: Final = "first"
"""In place of a priority: before all others."""
Level = Priority | Literal["first"]
LEVELS: tuple[Level, ...] = (*get_args(Priority), FIRST)


@dataclass(frozen=True)
class Prioritized:
    """Which items have another priority now."""

    priority: Priority
    """The one that they have now."""
    keys: tuple[str, ...]
    unchanged: int
    """Items that had it already."""
    left: int
    """Items that a server renders, or may have: they keep their place."""
    counts: Counts
    notes: tuple[str, ...] = ()
    is_first: bool = False
    """They were moved before all others too."""

    def as_json(self, *, everything: bool = False) -> PriorityDocument:
        """As `burst priority --json` prints it; `everything`: with all entries of its lists."""
        document: PriorityDocument = {
            "schema": "burst.priority/1",
            "priority": self.priority,
            "items": list(self.keys),
            "items_total": len(self.keys),
            "unchanged": self.unchanged,
            "left": self.left,
            "counts": self.counts.as_json(),
            "notes": list(self.notes),
        }
        return shortened(document, "items", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all items."""
        now = "now before all others" if self.is_first else f"{self.priority} now"
        lines = [f"{counted(len(self.keys))} {now}"] if self.keys else []
        lines += key_lines(self.keys, everything=everything)
        if self.unchanged:
            lines.append(f"{counted(self.unchanged)} {self.priority} before")
        if self.left:
            lines.append(f"{counted(self.left)} being rendered, or about to be: not changed")
        if not lines:
            lines.append("Nothing to change: none of these items is pending, submitted or failed")
        return in_lines([*lines, *(f"Note: {note}" for note in self.notes)])


def set_priority(
    state: Path, names: Collection[str], priority: Level, *, patience_seconds: float = 20.0
) -> Prioritized:
    """Give items and batches another priority, by which they are sent, and by which a server queues them.

    `first`: urgent, and before all other urgent ones.

    What waits on a server is taken back and sent again in its new place; what it renders is left. Of a batch, items
    that are completed or cancelled are not changed. Works while a burst runs. Errors: UsageError for an unknown name or
    priority; StateError.
    """
    if priority not in LEVELS:
        raise UsageError(f"priority: {priority!r} is not one of {', '.join(LEVELS)}")
    if not names:
        raise UsageError("name the items or batches to give a priority")
    with open_for_writing(state) as store:
        keys = select(store, names, *DUE, Status.FAILED)
        there = store.get_many(keys)
        level: Priority = "urgent" if priority == FIRST else priority
        rank = _first_rank(store, keys) if priority == FIRST else None

        def is_there(item: Item) -> bool:
            """An urgent one on a server is before all that is due."""
            return item.priority == level and (rank in (None, item.rank) or item.status is Status.SUBMITTED)

        other = [item.key for item in there if not is_there(item)]
        order: dict[str, Any] = {"priority": level} | ({"rank": rank} if rank is not None else {})
        servers = AskedServers(state, Overrides(), patience_seconds)
        done = amend(store, other, lambda now: msgspec.structs.replace(now, **order), servers=servers)
        return Prioritized(
            priority=level,
            keys=keys_of(done.changed),
            unchanged=len(there) - len(other),
            left=len(done.left),
            counts=store.counts(),
            notes=(*servers.notes, *settled(store)),
            is_first=priority == FIRST,
        )


def _first_rank(store: Store, keys: Collection[str]) -> float:
    """Before all other urgent items that are due."""
    ahead = next(iter(store.due(1, skip=keys)), None)
    return ahead.rank - 1.0 if ahead is not None and ahead.priority == "urgent" else 0.0

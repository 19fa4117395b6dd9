"""Items that are made from outputs of others, and wait for those: pending, and not due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from orchestrator.formatting import counted
from state.change import change_all
from state.item import Item, Status
from state.lease import Lease
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.parts import WaitingDocument

_SHOWN = 3


class WaitingItem(msgspec.Struct, frozen=True):
    """An item, and the first of those that it waits for."""

    key: str
    source: str
    """Key of the item that it is made from."""
    output: int
    """Which of its outputs, from 1."""
    status: Status | None
    """Of that item; None where it is not there."""

    @classmethod
    def of(cls, item: Item, store: Store) -> WaitingItem | None:
        """None where it waits for nothing any more."""
        for source in item.awaits:
            found = next(iter(store.get_many([source.item])), None)
            if found is None or found.status is not Status.COMPLETED:
                return cls(item.key, source.item, source.output, found.status if found is not None else None)
        return None

    def as_json(self) -> WaitingDocument:
        return {"item": self.key, "source": self.source, "output": self.output, "source_status": self.status}

    def as_text(self) -> str:
        """`b for a, which is pending`."""
        return f"{self.key} for {self.source}, which is {self.status or 'not there'}"


def waiting_items(store: Store, *, first: int | None = None) -> tuple[WaitingItem, ...]:
    """What waits, and what for; only the first ones, or all."""
    found = (WaitingItem.of(item, store) for item in store.get_many(store.waiting()[:first]))
    return tuple(one for one in found if one is not None)


def waiting_notes(store: Store) -> Iterator[str]:
    """What to report of them; nothing where there are none."""
    count = len(store.waiting())
    if count:
        yield waiting_line(count, waiting_items(store, first=_SHOWN))


def waiting_line(count: int, first: Sequence[WaitingItem]) -> str:
    """`2 items wait for outputs of others (b for a, which is pending; …)`."""
    shown = "; ".join(one.as_text() for one in first[:_SHOWN]) + ("; …" if count > _SHOWN else "")
    return f"{counted(count)} {'waits' if count == 1 else 'wait'} for outputs of others ({shown})"


def end_stuck(store: Store, lease: Lease) -> list[Item]:
    """After edits by hand: what waits for something that failed, was cancelled or is not there ends with it."""
    stuck = store.stuck()
    # The store's own rule decides, as for every change of such an item.
    return [item for item in change_all(lease, store.get_many(stuck), lambda now: now) if item.has_ended]

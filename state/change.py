"""Changes of items, and whatever makes them: a store, or the lease of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from orchestrator.errors import StaleChange
from state.item import Item, Status


class Change(msgspec.Struct, frozen=True):
    """A change of one item; its new record is computed from the current one, and written if that is still as it was.

    Otherwise it is computed again, so `edit` does nothing else.

    `expected` is the status that the item must still have; None adds an item. `edit` returns None to remove the item,
    which is allowed in a status of `state.item.REMOVABLE`.
    """

    key: str
    expected: Status | None
    edit: Callable[[Item], Item | None]


class Applies(Protocol):
    """A store; or a lease, which refuses changes of what another run holds."""

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        """See `state.store.Store.apply`."""


def change_all(target: Applies, items: Iterable[Item], edit: Callable[[Item], Item | None]) -> list[Item]:
    """Change items in one change set, without those that another process has changed in the meantime."""
    chosen = list(items)
    while chosen:
        try:
            return target.apply([Change(item.key, item.status, edit) for item in chosen])
        except StaleChange as stale:
            chosen = [item for item in chosen if item.key not in stale.keys]
    return []

"""What every store of items offers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.errors import StaleChange
from state.item import Item, Status


@dataclass(frozen=True)
class Change:
    """One item's next record, worked out from its current one while nobody else can write.

    `expected` is the status that the change was decided on; None adds an item. `edit` returns None to remove it, which
    a status of `state.item.REMOVABLE` allows.
    """

    key: str
    expected: Status | None
    edit: Callable[[Item], Item | None]


class Store(Protocol):
    """Items by key. Safe to use from several threads; several processes may write at once."""

    def __contains__(self, key: str) -> bool: ...

    def __len__(self) -> int: ...

    def get(self, key: str) -> Item:
        """Errors: KeyError."""

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        """Those of these items that are there: another process may have removed some."""

    def items(self, *statuses: Status) -> Iterator[Item]:
        """Items in their order, all or those of the given statuses, as they stand at the time of the call."""

    def counts(self) -> dict[Status, int]:
        """How many items stand where; every status is there."""

    def due(
        self, limit: int, *, skip: Collection[str] = (), accept: Callable[[Item], bool] | None = None
    ) -> list[Item]:
        """The next pending items: by priority, then in their order; those not accepted are looked past.

        `accept` is asked in that order, until there are enough, while other threads and processes go on.
        """

    def due_count(self) -> int:
        """How many pending items there are for `due`: all but those that wait for another item's output."""

    def waiting(self) -> list[str]:
        """The keys of pending items that wait for another item's output."""

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        """Make all of these changes or none; durable on return (with `sync`). Returns the changed items, in order.

        Items that were removed are not among them.

        Errors: StaleChange when a status is not the expected one (what others wrote is taken in then: `get` shows what
        it is now); DiskFull; StateError. Nothing was written then.
        """

    def add(self, items: Sequence[Item]) -> list[Item]:
        """Add those whose key is not there yet, all in one change set. Returns what was added. Safe to repeat."""

    def refresh(self) -> list[str]:
        """Take in what other processes wrote; the keys that they changed or removed since the last call, each once.

        What `apply`, `add` and `settle` took in meanwhile is named too, so one thread alone may hear the news.
        """

    def settle(self, *, at_end: bool = False) -> None:
        """Bring the file that people read up to date where that is cheap, or whatever it costs `at_end`."""

    def close(self) -> None:
        """Let go of files. Nothing is written. Safe to repeat."""


def change_all(store: Store, items: Iterable[Item], edit: Callable[[Item], Item | None]) -> list[Item]:
    """Change items in one change set; those that another process changed meanwhile are left out."""
    chosen = list(items)
    while chosen:
        try:
            return store.apply([Change(item.key, item.status, edit) for item in chosen])
        except StaleChange as stale:
            chosen = [item for item in chosen if item.key not in stale.keys]
    return []

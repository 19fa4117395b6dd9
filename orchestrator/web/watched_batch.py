"""A batch as the front end follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.waiting import WaitingItem
from state.batch import Batch, BatchRecord
from state.counts import Counts
from state.item import Item, Status
from state.store import Store

_CHUNK_ITEMS = 256


@dataclass(frozen=True)
class WatchedBatch:
    """A batch whose items are in a store, as they stood at the last refresh. Their order is by index, then key."""

    batch: Batch
    _store_now: Callable[[], Store | None]

    @property
    def id(self) -> str:
        return self.batch.id

    @property
    def record(self) -> BatchRecord:
        return self.batch.record

    @property
    def counts(self) -> Counts:
        store = self._store_now()
        return store.counts(batch=self.id) if store is not None else Counts()

    @property
    def is_listed(self) -> bool:
        """Whether it is not gone, and has items."""
        return not self.batch.gone and self.counts.total > 0

    @property
    def completed_at(self) -> datetime | None:
        """When the last of its items was completed."""
        store = self._store_now()
        return store.batch_figures(self.id).completed_at if store is not None else None

    @property
    def recipes(self) -> tuple[str | None, ...]:
        """Those of its items."""
        store = self._store_now()
        return store.batch_figures(self.id).recipes if store is not None else ()

    def waits_for(self, item: Item) -> str | None:
        """The item that a pending one is made from, while that is not completed."""
        store = self._store_now()
        if store is None or item.status is not Status.PENDING or not item.uploads:
            return None
        waiting = WaitingItem.of(item, store)
        return waiting.source if waiting is not None else None

    def keys(self, *statuses: Status, first: int = 0, limit: int | None = None) -> list[str]:
        """See `Store.batch_keys`."""
        store = self._store_now()
        return store.batch_keys(self.id, *statuses, first=first, limit=limit) if store is not None else []

    def items(self, *statuses: Status, first: int = 0, limit: int | None = None) -> Iterator[Item]:
        """The items with these keys, decoded as they are used. Those that were removed meanwhile are left out."""
        store = self._store_now()
        if store is None:
            return
        keys = store.batch_keys(self.id, *statuses, first=first, limit=limit)
        for start in range(0, len(keys), _CHUNK_ITEMS):
            yield from store.get_many(keys[start : start + _CHUNK_ITEMS])

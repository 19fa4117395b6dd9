"""The items that were shown last, so that a page that looks on does not have them decoded at each look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from state.item import Item
from state.store import Store

_AT_MOST = 1024


class ItemCache:
    """Decoded items of one store by key; the least recently used are dropped first. Used by one thread at a time."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}

    def __len__(self) -> int:
        return len(self._items)

    def get_many(self, store: Store, keys: Sequence[str]) -> list[Item]:
        """As `Store.get_many`."""
        known = {key: item for key in keys if (item := self._items.pop(key, None)) is not None}
        for item in store.get_many(key for key in keys if key not in known):
            known[item.key] = item
        self._items |= known
        for key in list(self._items)[: max(0, len(self._items) - _AT_MOST)]:
            del self._items[key]
        return [known[key] for key in keys if key in known]

    def forget(self, keys: Iterable[str]) -> None:
        """Those that were changed."""
        for key in keys:
            self._items.pop(key, None)

    def clear(self) -> None:
        self._items.clear()

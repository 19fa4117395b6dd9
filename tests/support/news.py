"""What others changed in a store since it was last asked here."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from state.store import Store

_marks: WeakKeyDictionary[Store, int] = WeakKeyDictionary()


def news(store: Store) -> Sequence[str]:
    """The keys that other processes changed since the last call, or since the store was opened."""
    keys, _marks[store] = store.changes(_marks.get(store, 0))
    return keys

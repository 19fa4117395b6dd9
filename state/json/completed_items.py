"""The completed items of a JSON state: read once, when somebody first asks, then kept up to date."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from state.completed_items import Completion, Kind, Made
from state.item import Item, Status
from state.store import Follower, Store


class _Entry(NamedTuple):
    """What an item adds to what is known."""

    kind: Kind
    files: int
    seconds: float | None
    server: str | None
    completion: Completion | None


class JsonCompletedItems:
    """See `state.completed_items.CompletedItems`. They are in memory anyway."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._others: Follower | None = None
        """None until the records were read."""
        self._entries: dict[str, _Entry] = {}
        self._kinds: dict[Kind, Kind] = {}
        """Each once in memory, however many items are of it."""
        self._counts: defaultdict[Kind, Counter[int]] = defaultdict(Counter)
        self._completions: defaultdict[str, list[Completion]] = defaultdict(list)
        """By name of the server, oldest first."""

    def note(self, item: Item) -> None:
        with self._guard:
            if self._others is not None:
                self._put(item.key, Made.of(item))

    def counts(self, item: Item) -> Collection[int]:
        with self._guard:
            self._read()
            counts = self._counts.get(Made.of(item).kind, Counter())
            return [count for count, items in counts.items() if items]

    def servers(self) -> list[str]:
        with self._guard:
            self._read()
            return [server for server, completions in self._completions.items() if completions]

    def latest(
        self,
        server: str,
        most: int,
        *,
        until: datetime | None = None,
        recipes: Collection[str | None] | None = None,
    ) -> list[Completion]:
        with self._guard:
            self._read()
            known = self._completions.get(server, [])
            end = len(known) if until is None else bisect_right(known, until, key=_time_of)
            found = (known[place] for place in range(end - 1, -1, -1))
            return list(islice((one for one in found if recipes is None or one.recipe in recipes), most))

    def longest_seconds(self, recipe: str | None) -> float | None:
        with self._guard:
            self._read()
            found = (one.seconds for one in self._entries.values() if one.kind[0] == recipe)
            return max((seconds for seconds in found if seconds is not None), default=None)

    def _read(self) -> None:
        if self._others is None:
            self._others = Follower(self._store)
            for key, made in self._store.parts(Made):
                self._put(key, made, enter=list.append)
            for completions in self._completions.values():
                completions.sort(key=_order_of)
            return
        news = self._others.news()
        there = {item.key: item for item in self._store.get_many(news)}
        for key in news:
            self._put(key, Made.of(there[key]) if key in there else None)

    def _put(
        self,
        key: str,
        made: Made | None,
        *,
        enter: Callable[[list[Completion], Completion], None] = lambda all, one: insort(all, one, key=_order_of),
    ) -> None:
        """The item as it is now; None: removed. `enter`: how its completion gets among those of its server."""
        self._take_out(key)
        if made is None or made.status is not Status.COMPLETED:
            return
        kind = self._kinds.setdefault(made.kind, made.kind)
        completion = made.completion
        if made.server is not None and completion is not None:
            enter(self._completions[made.server], completion)
        self._entries[key] = _Entry(kind, made.count, made.seconds, made.server, completion)
        self._counts[kind][made.count] += 1

    def _take_out(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._counts[entry.kind][entry.files] -= 1
        if entry.server is not None and entry.completion is not None:
            known = self._completions[entry.server]
            del known[bisect_left(known, _order_of(entry.completion), key=_order_of)]


def _time_of(one: Completion) -> datetime:
    return one.at


def _order_of(one: Completion) -> tuple[datetime, str]:
    return one.at, one.prompt_id

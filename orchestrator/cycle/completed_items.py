"""The completed items of a state: read once, when somebody first asks, then kept up to date with what completes."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from state.item import Item, OutputRecord, Status, TrashedOutput, UtcTime
from state.store import Follower, Store

_TEXTS_AND_SEED = frozenset({"prompt", "negative", "seed"})
"""The values that do not change how many files a prompt makes."""

Kind = tuple[str | None, bytes]


class _Made(msgspec.Struct, frozen=True):
    """The fields of a record that matter here."""

    status: Status
    server: str | None = None
    prompt_id: str | None = None
    recipe: str | None = None
    inputs: dict[str, Any] = {}
    uploads: dict[str, Any] = {}
    completed_at: UtcTime | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    trashed: tuple[TrashedOutput, ...] = ()
    sidecar: str | None = None

    @classmethod
    def of(cls, item: Item) -> _Made:
        fields = {name: getattr(item, name) for name in cls.__struct_fields__}
        return cls(**fields | {"uploads": msgspec.to_builtins(item.uploads)})

    @property
    def kind(self) -> Kind:
        """The same for all items that make the same number of files."""
        inputs = {name: value for name, value in self.inputs.items() if name not in _TEXTS_AND_SEED}
        return self.recipe, msgspec.json.encode((inputs, self.uploads), order="deterministic")

    @property
    def count(self) -> int:
        """Of its files that a server saved; texts are in its history alone."""
        paths = [one.path for one in (*self.outputs, *self.trashed) if one.path != self.sidecar]
        return sum(not path.endswith(".txt") for path in paths)


class Completion(NamedTuple):
    """A prompt that was completed; they sort by the time of it."""

    at: datetime
    prompt_id: str
    recipe: str | None


class _Entry(NamedTuple):
    """What an item adds to what is known."""

    kind: Kind
    files: int
    seconds: float | None
    server: str | None
    completion: Completion | None


class CompletedItems:
    """Of one run. Any thread may ask; whoever completes an item in this process calls `note`."""

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
        """This process completed it."""
        with self._guard:
            if self._others is not None:
                self._put(item.key, _Made.of(item))

    def counts(self, item: Item) -> Collection[int]:
        """How many files came of the completed items that differ from this one in texts and seed alone: each number."""
        with self._guard:
            self._read()
            counts = self._counts.get(_Made.of(item).kind, Counter())
            return [count for count, items in counts.items() if items]

    def servers(self) -> list[str]:
        """The names of all that completed any."""
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
        """The latest of the server of this name, latest first; those `until` then, of one of these `recipes`."""
        with self._guard:
            self._read()
            known = self._completions.get(server, [])
            end = len(known) if until is None else bisect_right(known, until, key=_time_of)
            found = (known[place] for place in range(end - 1, -1, -1))
            return list(islice((one for one in found if recipes is None or one.recipe in recipes), most))

    def longest_seconds(self, recipe: str | None) -> float | None:
        """The longest that an item of this recipe took to render, on any server; None where none is known."""
        with self._guard:
            self._read()
            found = (one.seconds for one in self._entries.values() if one.kind[0] == recipe)
            return max((seconds for seconds in found if seconds is not None), default=None)

    def _read(self) -> None:
        if self._others is None:
            self._others = Follower(self._store)
            for key, made in self._store.parts(_Made):
                self._put(key, made, enter=list.append)
            for completions in self._completions.values():
                completions.sort(key=_order_of)
            return
        news = self._others.news()
        there = {item.key: item for item in self._store.get_many(news)}
        for key in news:
            self._put(key, _Made.of(there[key]) if key in there else None)

    def _put(
        self,
        key: str,
        made: _Made | None,
        *,
        enter: Callable[[list[Completion], Completion], None] = lambda all, one: insort(all, one, key=_order_of),
    ) -> None:
        """The item as it is now; None: removed. `enter`: how its completion gets among those of its server."""
        self._take_out(key)
        if made is None or made.status is not Status.COMPLETED:
            return
        kind = self._kinds.setdefault(made.kind, made.kind)
        completion = None
        if made.server is not None and made.prompt_id is not None and made.completed_at is not None:
            completion = Completion(made.completed_at, made.prompt_id, made.recipe)
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

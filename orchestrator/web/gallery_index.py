"""The gallery's index: every image of every batch, newest first, and what it is found by.

Rows of all images are made once. After that only items that were changed are looked at again; a request that brings no
news costs a look at the disk or two for each state. Of what a page shows, items are fetched from their stores.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any

from orchestrator.errors import BurstError
from orchestrator.web.gallery_entries import Entry, common_of, entries_of, entry_of_orphan, text_of, words_of
from orchestrator.web.gallery_filter import Filter
from orchestrator.web.gallery_rows import Found, ImageRow, Rows, ShelfRow
from orchestrator.web.image_files import numbers_of
from orchestrator.web.orphaned_batches import OrphanedBatch, OrphanedBatches
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.watched_batch import WatchedBatch
from state.item import Item, Status
from state.store import Follower, Store

_ITEMS_TRIED = 20
_AT_ONCE = 256
EVERYTHING = Filter()


@dataclass(frozen=True)
class Shelf:
    """A batch in the gallery."""

    id: str
    state: WatchedState
    at: datetime
    """When it was requested."""
    source: WatchedBatch | OrphanedBatch
    model: str | None
    """Of the request; without it, of the first image that was looked for."""
    found: int
    """How many of its images were looked for."""
    first: Sequence[Entry]
    """The first few of those."""


@dataclass(frozen=True)
class Images:
    """Some of the images that were looked for."""

    total: int
    shown: Sequence[Entry]
    models: Sequence[str]
    """Of all images."""
    notes: Sequence[str]
    """Which states could not be read, and why."""


@dataclass(frozen=True)
class Shelves:
    """Some of the batches that were looked for; otherwise as `Images`."""

    total: int
    shown: Sequence[Shelf]
    models: Sequence[str]
    notes: Sequence[str]


@dataclass
class _Seen:
    """What was taken in of a state."""

    store: Store | None
    others: Follower | None
    version: int = -1
    shelves: dict[str, int] = field(default_factory=dict)
    """The shelf of each batch."""


class GalleryIndex:
    """Of all states of a front end. Any thread may use it."""

    def __init__(self, watched: WatchedStates, orphaned_batches: OrphanedBatches) -> None:
        self._watched = watched
        self._orphaned_batches = orphaned_batches
        self._mutex = threading.Lock()
        self._rows: Rows | None = None
        self._seen: dict[int, _Seen] = {}
        self._orphans_seen: tuple[object, ...] = ()
        self._orphans: dict[str, OrphanedBatch] = {}

    def images(self, wanted: Filter = EVERYTHING, *, offset: int = 0, limit: int) -> Images:
        """Newest first."""
        with self._mutex:
            rows, notes = self._look()
            total, found = rows.images(wanted, offset=offset, limit=limit)
            return Images(total, self._entries(rows, found), rows.models(), notes)

    def shelves(self, wanted: Filter = EVERYTHING, *, offset: int = 0, limit: int, first: int) -> Shelves:
        """Newest first, with at most `first` images of each that a browser shows."""
        with self._mutex:
            rows, notes = self._look()
            ids = rows.shelves(wanted)
            made = (self._shelf(rows, one, wanted, first) for one in ids[offset : offset + limit])
            return Shelves(len(ids), [shelf for shelf in made if shelf is not None], rows.models(), notes)

    def entry(self, batch_id: str, image: str) -> Entry | None:
        """The image of these ids. Errors: Refused if this is not the id of an image."""
        index, _ = numbers_of(image)
        with self._mutex:
            rows, _ = self._look()
            entries = self._entries(rows, rows.images_at(batch_id, index))
        return next((entry for entry in entries if entry.picture.image == image), None)

    def close(self) -> None:
        with self._mutex:
            self._forget()

    def _look(self) -> tuple[Rows, list[str]]:
        """The rows as the states are now, and which states could not be read."""
        try:
            rows = self._rows = self._rows or Rows()
            notes = [note for state in self._watched.states if (note := self._follow(rows, state)) is not None]
            self._take_in_orphans(rows)
            return rows, notes
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        if self._rows is not None:
            self._rows.close()
        self._rows, self._seen, self._orphans_seen = None, {}, ()

    def _follow(self, rows: Rows, state: WatchedState) -> str | None:
        """What is wrong with a state that cannot be read; what was read of it before is shown."""
        try:
            state.refresh()
            version, store, seen = state.version, state.store, self._seen.get(state.number)
            news: Sequence[str] = ()
            if seen is None or seen.store is not store:
                seen = _Seen(store, Follower(store) if store is not None else None)
            elif seen.version != version and seen.others is not None:
                news = seen.others.news()
        except BurstError as error:
            return str(error)
        if seen.version != version:
            self._take_in(rows, state, seen, news)
            seen.version = version
        return None

    def _take_in(self, rows: Rows, state: WatchedState, seen: _Seen, news: Sequence[str]) -> None:
        """`seen`: empty for a state that was opened since."""
        if self._seen.get(state.number) is not seen:
            rows.remove_all(state=state.number)
            self._seen[state.number] = seen
        rows.begin()
        self._change_items(rows, state, seen, news)
        batches = state.batches()
        for gone in seen.shelves.keys() - batches.keys():
            rows.remove_shelf(seen.shelves.pop(gone))
        for name in batches.keys() - seen.shelves.keys():
            seen.shelves[name] = _add(rows, state, batches[name])
        rows.commit()

    def _change_items(self, rows: Rows, state: WatchedState, seen: _Seen, keys: Sequence[str]) -> None:
        """Take in what was changed of batches that are there already."""
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for key in some:
                rows.remove_item(state.number, key)
            changed: dict[str, list[Item]] = {}
            for item in seen.store.get_many(some) if seen.store is not None else ():
                if _has_images(item) and item.batch in seen.shelves:
                    changed.setdefault(item.batch, []).append(item)
            for name, items in changed.items():
                self._change_batch(rows, state, seen, name, items)

    def _change_batch(self, rows: Rows, state: WatchedState, seen: _Seen, name: str, items: Sequence[Item]) -> None:
        batch = state.batches().get(name)
        if batch is None:
            return
        shelf = rows.shelf(seen.shelves[name])
        if shelf.common is None and common_of(state, islice(_finished(seen.store, name), _ITEMS_TRIED)) is not None:
            rows.remove_shelf(seen.shelves.pop(name))
            return
        rows.add(shelf, shelf.id, _rows_of(state, batch, items, _common(shelf)))

    def _take_in_orphans(self, rows: Rows) -> None:
        orphans = self._orphaned_batches.batches()
        seen = (self._orphaned_batches.version, *orphans)
        if seen == self._orphans_seen:
            return
        rows.remove_all(state=None)
        rows.begin()
        for one in orphans.values():
            _add_orphan(rows, one)
        rows.commit()
        self._orphans_seen, self._orphans = seen, orphans

    def _entries(self, rows: Rows, found: Sequence[Found]) -> list[Entry]:
        """Without those whose item was changed since by somebody else."""
        shelves = {one: rows.shelf(one) for one in dict.fromkeys(row.shelf for row in found)}
        keys: dict[int, list[str]] = {}
        for row in found:
            if row.item is not None:
                keys.setdefault(shelves[row.shelf].state, []).append(row.item)
        items = {
            (number, item.key): item
            for number, some in keys.items()
            for item in self._watched.states[number].items_with(list(dict.fromkeys(some)))
        }
        made = (self._entry(shelves[row.shelf], row, items) for row in found)
        return [entry for entry in made if entry is not None]

    def _entry(self, shelf: ShelfRow, row: Found, items: dict[tuple[int, str], Item]) -> Entry | None:
        if row.item is None:
            left = self._orphans[shelf.batch]
            return entry_of_orphan(left, left.pictures[row.number])
        state, item = self._watched.states[shelf.state], items.get((shelf.state, row.item))
        batch = state.batches().get(shelf.batch)
        if item is None or batch is None or not _has_images(item):
            return None
        entries = entries_of(state, batch.record, item, _common(shelf))
        return next(islice(entries, row.number - 1, None), None)

    def _shelf(self, rows: Rows, shelf_id: int, wanted: Filter, first: int) -> Shelf | None:
        shelf = rows.shelf(shelf_id)
        state = self._watched.states[shelf.state]
        source = self._orphans.get(shelf.batch) if shelf.orphan else state.batches().get(shelf.batch)
        if source is None:
            return None
        shown: list[Entry] = []
        model, found = shelf.model, rows.images_in(shelf_id, wanted)
        while len(shown) < first and (some := list(islice(found, first))):
            entries = self._entries(rows, some)
            model = model or next((entry.model for entry in entries), None)
            shown += [entry for entry in entries if entry.picture.has_thumbnail]
        count = rows.count_in(shelf_id, wanted)
        return Shelf(shelf.batch, state, shelf.at, source, model, count, shown[:first])


def _add(rows: Rows, state: WatchedState, batch: WatchedBatch) -> int:
    """A shelf with all its images; its id."""
    record, items = batch.record, _finished(state.store, batch.id)
    head = list(islice(items, _ITEMS_TRIED))
    common = common_of(state, head)
    shelf = ShelfRow(
        state=state.number,
        batch=batch.id,
        orphan=False,
        at=record.created_at,
        model=text_of(record.parameters.get("model")),
        words=words_of("\n".join(record.prompts), record.parameters),
        common=json.dumps(common) if common is not None else None,
    )
    shelf = replace(shelf, id=rows.add_shelf(shelf))
    rows.add(shelf, shelf.id, _rows_of(state, batch, chain(head, items), common or {}))
    return shelf.id


def _add_orphan(rows: Rows, left: OrphanedBatch) -> None:
    words = words_of("\n".join(left.prompts), left.parameters)
    model = text_of(left.parameters.get("model"))
    shelf = ShelfRow(left.state.number, left.id, orphan=True, at=left.created_at, model=model, words=words)
    at = left.ended_at or left.created_at
    images = (ImageRow(None, number, one.index, at, model, words) for number, one in enumerate(left.pictures))
    rows.add(shelf, rows.add_shelf(shelf), images)


def _rows_of(
    state: WatchedState, batch: WatchedBatch, items: Iterable[Item], common: dict[str, Any]
) -> Iterator[ImageRow]:
    for item in items:
        for number, entry in enumerate(entries_of(state, batch.record, item, common), 1):
            yield ImageRow(item.key, number, item.index or 0, entry.at, entry.model, entry.words)


def _finished(store: Store | None, batch_id: str) -> Iterator[Item]:
    return filter(_has_images, store.items(Status.COMPLETED, batch=batch_id)) if store is not None else iter(())


def _has_images(item: Item) -> bool:
    return item.status is Status.COMPLETED and bool(item.outputs)


def _common(shelf: ShelfRow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shelf.common) if shelf.common is not None else {}
    return found

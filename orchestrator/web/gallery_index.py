"""The gallery's index: every image of every state, and what it is found by, in a file that may be removed at any time.

It holds nothing that is not in states, sidecars and batch_info.json. What is new is taken in when somebody looks: so
much that the answer is not late, and the rest on a thread of its own, while what is there already is shown. A request
that brings no news costs a look at the disk or two for each state. Of what a page shows, items come from their stores.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.errors import BurstError
from orchestrator.web.gallery_entries import Entry, entry_of_orphan, text_of, words_of
from orchestrator.web.gallery_file import IndexFile, index_path
from orchestrator.web.gallery_filter import Filter, Order
from orchestrator.web.gallery_following import FollowedState, common_on, row_of, shelf_entries
from orchestrator.web.gallery_rows import Rows, ShelfRow
from orchestrator.web.gallery_search import Found, Offered, Search
from orchestrator.web.orphaned_batches import OrphanedBatch, OrphanedBatches
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.watched_batch import WatchedBatch
from state.item import Item, Status

_log = logging.getLogger(__name__)

AT_ONCE = 256
"""So many items are taken in before an answer: four of the gallery's pages, in less than a tenth of a second."""
EVERYTHING = Filter()
_T = TypeVar("_T")


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
class Indexing:
    """How far the index is, while items are still to be taken in."""

    done: int
    total: int


@dataclass(frozen=True)
class Standing:
    """What holds of all that is found."""

    models: Sequence[str]
    """Of all images."""
    notes: Sequence[str]
    """Which states could not be read, and why."""
    indexing: Indexing | None
    """None: everything is there."""


@dataclass(frozen=True)
class Images:
    """Some of the images that were looked for."""

    total: int
    shown: Sequence[Entry]
    standing: Standing


@dataclass(frozen=True)
class Shelves:
    """Some of the batches that were looked for."""

    total: int
    shown: Sequence[Shelf]
    standing: Standing


class _Open:
    """The file, and who reads and writes it."""

    def __init__(self, path: Path, states: Iterable[WatchedState]) -> None:
        self.file = IndexFile(path)
        self.rows = Rows(self.file.writer, has_words=self.file.has_words)
        self.search = Search(self.file.reader, has_words=self.file.has_words)
        self.states = [FollowedState(self.rows, state) for state in states]
        self.notes: list[str] = []
        self.orphans_seen: tuple[object, ...] | None = None
        self.orphans: dict[str, OrphanedBatch] = {}

    @property
    def is_current(self) -> bool:
        return all(one.is_current for one in self.states)

    def step(self) -> int:
        """Take in one piece of the first state that has one; how many items it had."""
        return next((one.step() for one in self.states if not one.is_current), 0)


class GalleryIndex:
    """Of all states of a front end. Any thread may use it."""

    def __init__(
        self,
        watched: WatchedStates,
        orphaned_batches: OrphanedBatches,
        *,
        give_way: Callable[[], None] | None = None,
    ) -> None:
        """`give_way`: called between two pieces that nobody waits for; returns once there is time."""
        self._give_way = give_way or (lambda: None)
        self._watched = watched
        self._orphaned_batches = orphaned_batches
        self._mutex = threading.Lock()
        """Of all that writes."""
        self._opening = threading.Lock()
        self._open: _Open | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def path(self) -> Path:
        """Where the index is kept: with the other caches of the first state."""
        first = self._watched.states[0].parts.location
        names = [state.parts.location.shown() for state in self._watched.states]
        return index_path(first.auxiliary("thumbnails").parent, names)

    def images(self, wanted: Filter = EVERYTHING, *, order: Order = "newest", offset: int = 0, limit: int) -> Images:
        def look(there: _Open) -> Images:
            total, found = there.search.images(wanted, order=order, offset=offset, limit=limit)
            return Images(total, self._entries(there, found), self._standing(there))

        return self._looking(look)

    def shelves(self, wanted: Filter = EVERYTHING, *, offset: int = 0, limit: int, first: int) -> Shelves:
        """Newest first, with at most `first` images of each that a browser shows."""

        def look(there: _Open) -> Shelves:
            total, found = there.search.shelves(wanted, offset=offset, limit=limit)
            made = (self._shelf(there, one, wanted, first) for one in found)
            return Shelves(total, [shelf for shelf in made if shelf is not None], self._standing(there))

        return self._looking(look)

    def common(self, state: int, batch: str) -> dict[str, Any]:
        """What the template of a batch says, as far as a sidecar told it."""
        shelf = self._looking(lambda there: there.search.shelf_of(state, batch))
        return common_on(shelf) if shelf is not None else {}

    def names(self) -> list[str]:
        """Of the parameters that images have, which are keys of a search."""
        return self._looking(lambda there: there.search.names())

    def values(self, key: str, beginning: str, *, limit: int) -> list[Offered]:
        """The values of a key that there are."""
        return self._looking(lambda there: there.search.values(key, beginning, limit=limit))

    def close(self) -> None:
        self._is_closed = True
        thread = self._thread
        if thread is not None:
            thread.join()
        with self._mutex:
            self._let_go()

    def _looking(self, look: Callable[[_Open], _T]) -> _T:
        """A file that turns out to be damaged is rebuilt, once."""
        there = self._current()
        try:
            return look(there)
        except sqlite3.DatabaseError as error:
            self._discard(there, error)
        return look(self._current())

    def _current(self) -> _Open:
        """With what is new taken in, as far as that is quick."""
        # Whoever builds it sees what is new, and is not waited for.
        if self._thread is not None and self._open is not None and self._open.file.is_there():
            return self._open
        with self._mutex:
            there = self._opened()
            try:
                self._take_in(there, most=AT_ONCE)
            except sqlite3.OperationalError as error:  # No room, say: what is there is shown.
                there.notes.append(f"The index of images cannot be written: {error}")
            except sqlite3.DatabaseError as error:
                self._let_go()
                there.file.remove()
                _log.warning("the gallery's index was damaged and is rebuilt: %s", error)
                there = self._opened()
                self._take_in(there, most=AT_ONCE)
            if not there.is_current and self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._go_on, args=[there], name="gallery-index", daemon=True)
                self._thread.start()
            return there

    def _opened(self) -> _Open:
        if self._open is not None and not self._open.file.is_there():
            self._let_go()
        if self._open is None:
            self._open = _Open(self.path, self._watched.states)
        return self._open

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.file.close()
        self._open = None

    def _discard(self, there: _Open, error: sqlite3.Error) -> None:
        """Errors: this one, where the file is not what is wrong."""
        with self._mutex:
            if there is not self._open:
                return
            if isinstance(error, sqlite3.OperationalError):
                raise error
            self._let_go()
            there.file.remove()

    def _take_in(self, there: _Open, *, most: int) -> None:
        there.notes = [note for one in there.states if (note := _looked(one)) is not None]
        self._take_in_orphans(there)
        while most > 0 and not there.is_current:
            most -= there.step()

    def _go_on(self, there: _Open) -> None:
        """Take in the rest, a piece at a time, so that nobody waits long."""
        self._give_way()
        while self._is_unfinished(there):
            self._give_way()

    def _is_unfinished(self, there: _Open) -> bool:
        """Take in one piece more. Once there is none, whoever looks takes in what is new."""
        with self._mutex:
            try:
                if not self._is_closed and there is self._open and not there.is_current:
                    there.step()
                    if not there.is_current:
                        return True
            except (BurstError, sqlite3.Error) as error:
                _log.warning("the gallery's index is not whole: %s", error)
            self._thread = None
            return False

    def _take_in_orphans(self, there: _Open) -> None:
        orphans = self._orphaned_batches.batches()
        seen = (self._orphaned_batches.version, *orphans)
        if seen == there.orphans_seen:
            return
        there.rows.begin()
        there.rows.remove_orphans()
        for one in orphans.values():
            _add_orphan(there.rows, one)
        there.rows.commit()
        there.orphans_seen, there.orphans = seen, orphans

    def _standing(self, there: _Open) -> Standing:
        indexing = None
        if not there.is_current:
            counts = (one.state.store.counts()[Status.COMPLETED] for one in there.states if one.state.store is not None)
            total = sum(counts)
            indexing = Indexing(min(total, sum(one.seen for one in there.states)), total)
        notes = list(there.notes)
        if there.file.refusal is not None:
            notes.append(f"The index of images cannot be kept, so the next start is slow: {there.file.refusal}")
        return Standing(there.search.models(), notes, indexing)

    def _entries(self, there: _Open, found: Sequence[Found]) -> list[Entry]:
        """Without those whose item was changed since by somebody else."""
        shelves = there.search.shelves_with(list({row.shelf for row in found}))
        keys: dict[int, dict[str, None]] = {}
        for row in found:
            if row.item is not None and row.shelf in shelves:
                keys.setdefault(shelves[row.shelf].state, {})[row.item] = None
        items = {
            (number, item.key): item
            for number, some in keys.items()
            for item in self._watched.states[number].items_with(list(some))
        }
        made = (self._entry(there, shelves.get(row.shelf), row, items) for row in found)
        return [entry for entry in made if entry is not None]

    def _entry(
        self, there: _Open, shelf: ShelfRow | None, row: Found, items: dict[tuple[int, str], Item]
    ) -> Entry | None:
        if shelf is None:
            return None
        if row.item is None:
            left = there.orphans.get(shelf.batch)
            return entry_of_orphan(left, left.pictures[row.number]) if left is not None else None
        item = items.get((shelf.state, row.item))
        if item is None or item.status is not Status.COMPLETED:
            return None
        entries = shelf_entries(self._watched.states[shelf.state], shelf, item)
        return next(islice(entries, row.number - 1, None), None)

    def _shelf(self, there: _Open, shelf: ShelfRow, wanted: Filter, first: int) -> Shelf | None:
        state = self._watched.states[shelf.state]
        source = there.orphans.get(shelf.batch) if shelf.orphan else state.batches().get(shelf.batch)
        if source is None:
            return None
        shown: list[Entry] = []
        model, offset = shelf.model, 0
        while len(shown) < first and (some := there.search.images_on(shelf.id, wanted, offset=offset, limit=first)):
            offset += len(some)
            entries = self._entries(there, some)
            model = model or next((entry.model for entry in entries), None)
            shown += [entry for entry in entries if entry.picture.has_thumbnail]
        count = there.search.count_on(shelf.id, wanted)
        return Shelf(shelf.batch, state, shelf.at, source, model, count, shown[:first])


def _looked(one: FollowedState) -> str | None:
    """What is wrong with a state that cannot be read; what was read of it before is shown."""
    try:
        one.look()
    except BurstError as error:
        return str(error)
    return None


def _add_orphan(rows: Rows, left: OrphanedBatch) -> None:
    words = words_of("\n".join(left.prompts), left.parameters)
    model = text_of(left.parameters.get("model"))
    shelf = ShelfRow(left.state.number, left.id, orphan=True, at=left.created_at, model=model, words=words)
    rows.add_shelf(shelf)
    made = rows.shelf_of(left.state.number, left.id, orphan=True)
    assert made is not None
    images = (
        row_of(number, one.index, entry_of_orphan(left, one), favorite=False)
        for number, one in enumerate(left.pictures)
    )
    rows.add(made, images)

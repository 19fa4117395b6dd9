"""The feed of the start page: every batch of every state, what is under way first.

It reads the states' stores alone, a page of batches at a time; a page is made once for all who look on, until something
changes.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from orchestrator.batches.batch_parameters import asked_parameters, effective_parameters, template_values
from orchestrator.errors import BurstError, StateAway
from orchestrator.outputs.containers import kind_of
from orchestrator.statistics import pictures_of
from orchestrator.web.batch_facts import facts_of
from orchestrator.web.batch_start import is_repeatable
from orchestrator.web.feed_schemas import FeedBatch, FeedImage, FeedPage
from orchestrator.web.image_files import Picture, addresses_of
from orchestrator.web.library import Library
from orchestrator.web.orphaned_batches import OrphanedBatch
from orchestrator.web.progress import images_of
from orchestrator.web.states import WatchedState
from orchestrator.web.thumbnails import Look
from orchestrator.web.watched_batch import WatchedBatch
from state.counts import Counts
from state.item import DUE, Status

FIRST_SIZE = 12
"""Batches of a page, unless more are asked for."""
SHOWN_IMAGES = 24
"""Of a batch."""
_FILLING_IMAGES = 60
"""With so many, the first batches fill a window; more would only make the first image late."""
_FIRST_THUMBNAILS = 4
"""Of one row. A browser has six connections, and needs some of them for the page's own files."""
_ACTIVE_SHOWN = 12
_PAGES_KEPT = 32
_START = ""


@dataclass(frozen=True)
class _Entry:
    """A batch and its place: the latest request first, of one moment by id."""

    at: datetime
    id: str
    state: WatchedState
    source: WatchedBatch | OrphanedBatch
    counts: Counts

    @property
    def place(self) -> str:
        return f"{round(self.at.timestamp() * 1_000_000):020d}-{self.id}"


@dataclass(frozen=True)
class _All:
    """Every batch as of one look."""

    active: Sequence[_Entry]
    """In the order in which they are shown."""
    entries: Sequence[_Entry]
    """All that `active` does not show, newest first."""
    notes: Sequence[str]


@dataclass(frozen=True)
class FirstPage:
    """What fills a window, to come with the page that shows it."""

    json: str
    """A FeedPage."""
    thumbnails: Sequence[str]
    """The addresses of the first ones."""


class Feed:
    """Of all states of a front end. Any thread may use it."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._mutex = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self._all = _All((), (), ())
        self._pages: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._first: FirstPage | None = None

    def page(self, *, after: str = _START, size: int) -> bytes:
        """A FeedPage as JSON. `after`: the `next` of the page before it."""
        with self._mutex:
            self._look()
            page = self._pages.get((after, size))
            if page is None:
                page = self._made(after, size).model_dump_json().encode()
                self._pages[after, size] = page
                while len(self._pages) > _PAGES_KEPT:
                    self._pages.popitem(last=False)
            return page

    def at_hand(self) -> FirstPage | None:
        """The latest batches; None while a state is not open, or cannot be read."""
        with contextlib.suppress(BurstError):
            if all(state.store is not None or not state.parts.exists() for state in self._library.watched.states):
                with self._mutex:
                    self._look()
                    self._first = self._first or _first(self._made(_START, self._filling()))
                    return self._first
        return None

    def _filling(self) -> int:
        """So many batches fill a window."""
        images = 0
        for count, entry in enumerate(self._all.entries[:FIRST_SIZE], 1):
            images += min(SHOWN_IMAGES, entry.counts.completed)
            if images >= _FILLING_IMAGES:
                return count
        return FIRST_SIZE

    def _look(self) -> None:
        """Take in what was changed; where nothing was, what there is stays."""
        notes, away = [], set()
        for state in self._library.watched.states:
            try:
                state.refresh()
            except BurstError as error:
                notes.append(str(error))
                if isinstance(error, StateAway):
                    away.add(state.number)
        orphans = self._library.orphaned_batches.batches()
        versions = [state.version for state in self._library.watched.states]
        seen = (*versions, self._library.orphaned_batches.version, *orphans, *notes)
        if seen == self._seen:
            return
        entries = sorted([*self._watched(away), *_orphaned(orphans.values())], key=_moment, reverse=True)
        active = sorted((one for one in entries if one.counts.remaining), key=_turn)
        shown = {one.id for one in active[:_ACTIVE_SHOWN]}
        self._all = _All(active, [one for one in entries if one.id not in shown], notes)
        self._seen = seen
        self._pages.clear()
        self._first = None

    def _watched(self, away: Collection[int]) -> Iterator[_Entry]:
        """Without those of states that are not there; of one that cannot be read, what was read before."""
        for state in (one for one in self._library.watched.states if one.number not in away):
            counts = state.counts_by_batch()
            for name, batch in state.batches().items():
                if name in counts:
                    yield _Entry(batch.record.created_at, name, state, batch, counts[name])

    def _made(self, after: str, size: int) -> FeedPage:
        entries = self._all.entries
        first = bisect_left(entries, True, key=lambda one: one.place < after) if after else 0
        shown = entries[first : first + size + 1]
        active = () if after else self._all.active[:_ACTIVE_SHOWN]
        return FeedPage(
            active=[self._batch(one) for one in active],
            activeTotal=len(self._all.active),
            batches=[self._batch(one) for one in shown[:size]],
            next=shown[size - 1].place if len(shown) > size else None,
            notes=list(self._all.notes),
        )

    def _batch(self, entry: _Entry) -> FeedBatch:
        source = entry.source
        images, made = self._images(entry)
        return FeedBatch(
            **facts_of(source, entry.counts, state=entry.state, at=entry.at),
            place=entry.place,
            stateName=entry.state.path.name if len(self._library.watched.states) > 1 else None,
            submittedImages=entry.counts.submitted,
            pictures=made,
            images=images,
            shape=self._shape(entry),
            parameters=source.parameters if isinstance(source, OrphanedBatch) else asked_parameters(source.record),
            isRepeatable=isinstance(source, WatchedBatch) and is_repeatable(source.record),
        )

    def _images(self, entry: _Entry) -> tuple[list[FeedImage], int]:
        """What is shown of a batch, and how many images it has."""
        source, is_active = entry.source, bool(entry.counts.remaining)
        if isinstance(source, OrphanedBatch):
            return [self._orphan(one.picture) for one in source.pictures[:SHOWN_IMAGES]], len(source.pictures)
        keys = source.keys(Status.COMPLETED)
        items = entry.state.items_with(keys[-SHOWN_IMAGES:] if is_active else keys[:SHOWN_IMAGES])
        found = []
        for item in items:
            for image, picture in zip(images_of(source, item), pictures_of(item), strict=False):
                told = Picture(entry.state, entry.id, image.image, item, picture.path, picture.sha256)
                found.append(self._image(image.model_dump(), told))
        made = round(len(found) * len(keys) / len(items)) if items else 0
        return (found[-SHOWN_IMAGES:] if is_active else found[:SHOWN_IMAGES]), made

    def _image(self, said: dict[str, Any], picture: Picture) -> FeedImage:
        look = self._look_of(picture)
        tint = look.tint if look is not None else None
        return FeedImage(**said, version=picture.version, file=picture.path, tint=tint)

    def _orphan(self, picture: Picture) -> FeedImage:
        url, thumbnail = addresses_of(picture.batch_id, picture.image, picture.path, picture.version)
        kind = kind_of(picture.path)
        said = {"image": picture.image, "number": 0, "status": "completed", "kind": kind}
        return self._image({**said, "url": url, "thumbnail": thumbnail}, picture)

    def _look_of(self, picture: Picture) -> Look | None:
        return self._library.thumbnails(picture.state).look(picture.digest) if picture.digest is not None else None

    def _shape(self, entry: _Entry) -> float | None:
        """By its first image, once a thumbnail of that was made; before that as was asked for, else by its template."""
        if isinstance(entry.source, OrphanedBatch):
            return None
        for item in entry.state.items_with(entry.source.keys(Status.COMPLETED, limit=1)):
            for picture in pictures_of(item)[:1]:
                look = self._library.thumbnails(entry.state).look(picture.sha256)
                if look is not None:
                    return round(look.width / look.height, 4)
        with contextlib.suppress(BurstError):
            values = template_values(entry.state.placement.recipes)
            sizes = effective_parameters(entry.source.record, (), values)
            width, height = sizes.get("width"), sizes.get("height")
            if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
                return round(width / height, 4)
        return None


def _first(page: FeedPage) -> FirstPage:
    images = (image for batch in (*page.active, *page.batches) for image in batch.images)
    thumbnails = islice((image.thumbnail for image in images if image.thumbnail is not None), _FIRST_THUMBNAILS)
    return FirstPage(page.model_dump_json(), tuple(thumbnails))


def _orphaned(found: Iterable[OrphanedBatch]) -> Iterator[_Entry]:
    for one in found:
        counts = Counts({status: max(0, one.totals.get(status, 0)) for status in Status if status not in DUE})
        yield _Entry(one.created_at, one.id, one.state, one, counts)


def _moment(entry: _Entry) -> tuple[datetime, str]:
    """Sorts as `place` does, and is quicker."""
    return entry.at, entry.id


def _turn(entry: _Entry) -> tuple[bool, str]:
    """What a server has comes first, then what was requested first."""
    return (not entry.counts.submitted, entry.place)

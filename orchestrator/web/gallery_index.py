"""The gallery's index: every picture of every batch, newest first, and what it is found by.

It is built once. After that only items that were changed are looked at again; a request that brings no news costs two
looks at the disk for each state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from orchestrator.batches.sidecars import read_sidecar
from orchestrator.errors import BurstError
from orchestrator.statistics import pictures_of
from orchestrator.web.image_files import Picture, image_id
from orchestrator.web.orphaned_batches import OrphanedBatch, OrphanedBatches
from orchestrator.web.states import WatchedBatch, WatchedState, WatchedStates
from state.batch import BatchRecord
from state.item import Item, Status

_SIDECARS_TRIED = 3
Order = tuple[datetime, str, int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture. Times are aware UTC."""

    picture: Picture
    batch_name: str | None
    order: Order
    """When it was completed; then its batch, its item's place in it, and its own in that."""
    prompt: str
    seed: int | None
    model: str | None
    parameters: Mapping[str, Any]
    """By binding or address: what its item was told, and what its template says in all of its batch."""
    template: str | None
    seconds: float | None
    words: str
    """Prompt and negative prompt, casefolded."""
    item: Item | None
    """None where no state knows it."""

    @property
    def at(self) -> datetime:
        return self.order[0]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A batch and its pictures, oldest first."""

    id: str
    state: WatchedState
    at: datetime
    """When it was asked for."""
    source: WatchedBatch | OrphanedBatch
    entries: Sequence[Entry]
    words: str
    """As of an entry: its first few prompts."""
    model: str | None


@dataclass(frozen=True)
class Filter:
    """What is looked for; the defaults let everything through."""

    words: tuple[str, ...] = ()
    """Casefolded; all of them must be there."""
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this moment."""
    state: int | None = None

    def takes(self, found: Entry | Shelf, *, state: int) -> bool:
        """Whether this one is looked for."""
        return (
            (self.state is None or self.state == state)
            and (self.model is None or self.model == found.model)
            and (self.since is None or found.at >= self.since)
            and (self.until is None or found.at < self.until)
            and all(word in found.words for word in self.words)
        )


@dataclass(frozen=True)
class Gallery:
    """The index at one moment."""

    entries: Sequence[Entry] = ()
    """Newest first."""
    shelves: Sequence[Shelf] = ()
    """Newest first."""
    models: Sequence[str] = ()
    notes: Sequence[str] = ()
    """Which states could not be read, and why."""

    def entry(self, batch_id: str, image: str) -> Entry | None:
        """The picture of these ids."""
        entries = (entry for shelf in self.shelves if shelf.id == batch_id for entry in shelf.entries)
        return next((entry for entry in entries if entry.picture.image == image), None)

    def pictures(self, wanted: Filter) -> list[Entry]:
        return [entry for entry in self.entries if wanted.takes(entry, state=entry.picture.state.number)]

    def batches(self, wanted: Filter) -> list[tuple[Shelf, list[Entry]]]:
        """With those of their pictures that are looked for; one without pictures goes by what it was asked to be."""
        found = []
        for shelf in self.shelves:
            entries = [entry for entry in shelf.entries if wanted.takes(entry, state=shelf.state.number)]
            if entries or (not shelf.entries and wanted.takes(shelf, state=shelf.state.number)):
                found.append((shelf, entries))
        return found


@dataclass
class _Known:
    """What was made of a batch's items."""

    common: Mapping[str, Any] | None = None
    """What its template says; None while no sidecar told."""
    entries: dict[str, tuple[Item, tuple[Entry, ...]]] = field(default_factory=dict)
    """By item key, with the item that they were made of."""


class GalleryIndex:
    """Of all states of a desk. Any thread may ask."""

    def __init__(self, watched: WatchedStates, orphaned_batches: OrphanedBatches) -> None:
        self._watched = watched
        self._orphaned_batches = orphaned_batches
        self._mutex = threading.Lock()
        self._known: dict[tuple[int, str], _Known] = {}
        self._versions: tuple[object, ...] = ()
        self._gallery = Gallery()

    def look(self) -> Gallery:
        """The gallery as it is now."""
        with self._mutex:
            notes = [note for state in self._watched.states if (note := _refresh(state)) is not None]
            left = self._orphaned_batches.batches()
            versions = (
                *(state.version for state in self._watched.states),
                self._orphaned_batches.version,
                *left,
                *notes,
            )
            if versions != self._versions:
                self._gallery = self._arranged(left.values(), notes)
                self._versions = versions
            return self._gallery

    def _arranged(self, left: Iterable[OrphanedBatch], notes: Sequence[str]) -> Gallery:
        batches = [(state, batch) for state in self._watched.states for batch in state.batches().values()]
        there = {(state.number, batch.id) for state, batch in batches}
        self._known = {place: known for place, known in self._known.items() if place in there}
        shelves = [self._shelf(state, batch) for state, batch in batches] + [_left_shelf(one) for one in left]
        shelves.sort(key=lambda shelf: (shelf.at, shelf.id), reverse=True)
        entries = sorted((entry for shelf in shelves for entry in shelf.entries), key=_order, reverse=True)
        models = sorted({entry.model for entry in entries if entry.model is not None}, key=str.casefold)
        return Gallery(entries, shelves, models, notes)

    def _shelf(self, state: WatchedState, batch: WatchedBatch) -> Shelf:
        known = self._known.setdefault((state.number, batch.id), _Known())
        items = [item for item in batch.items if item.status is Status.COMPLETED and item.outputs]
        if known.common is None and (common := _common(state, items)) is not None:
            known.common, known.entries = common, {}
        before, known.entries = known.entries, {}
        for item in items:
            made = before.get(item.key)
            if made is None or made[0] is not item:
                made = item, tuple(_entries(state, batch.record, item, known.common or {}))
            known.entries[item.key] = made
        entries = [entry for _, found in known.entries.values() for entry in found]
        words = "\n".join([*batch.record.prompts, str(batch.record.parameters.get("negative", ""))]).casefold()
        model = _text(batch.record.parameters.get("model"))
        return Shelf(batch.id, state, batch.record.created_at, batch, entries, words, model)


def _refresh(state: WatchedState) -> str | None:
    """What is wrong with a state that cannot be read; what was read of it before is shown."""
    try:
        state.refresh()
    except BurstError as error:
        return str(error)
    return None


def _common(state: WatchedState, items: Iterable[Item]) -> dict[str, Any] | None:
    """What the template of a batch says where its items say nothing, as the sidecar of one of them tells it.

    One that was told something by address is not asked: its sidecar may tell the same thing by name.
    """
    asked = (item for item in items if not any("." in name for name in item.inputs))
    for item in islice(asked, _SIDECARS_TRIED):
        inputs, _ = sidecar_of(state, item)
        if inputs:
            return {name: value for name, value in inputs.items() if name not in item.inputs and name != "prompt"}
    return None


def sidecar_of(state: WatchedState, item: Item) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and facts of an item's sidecar; empty where it has none that can be read."""
    is_there = item.sidecar is not None and any(output.path == item.sidecar for output in item.outputs)
    path = state.placement.found(item, item.sidecar) if item.sidecar is not None and is_there else None
    try:
        return read_sidecar(path) if path is not None else ({}, {})
    except (OSError, ValueError):
        return {}, {}


def _entries(state: WatchedState, record: BatchRecord, item: Item, common: Mapping[str, Any]) -> Iterator[Entry]:
    parameters = {**common, **item.inputs}
    prompt = str(item.prompt_text or parameters.pop("prompt", None) or "")
    seed = parameters.pop("seed", None)
    for number, output in enumerate(pictures_of(item), 1):
        name = image_id(item.index, number)
        picture = Picture(state, record.batch, name, item, output.path, output.sha256, output.bytes)
        yield Entry(
            picture=picture,
            batch_name=record.name,
            order=(item.completed_at or record.created_at, record.batch, item.index or 0, number),
            prompt=prompt,
            seed=seed if isinstance(seed, int) else None,
            model=_text(parameters.get("model")),
            parameters=parameters,
            template=item.template or record.template,
            seconds=item.seconds,
            words=_words(prompt, parameters),
            item=item,
        )


def _left_shelf(left: OrphanedBatch) -> Shelf:
    parameters = {name: value for name, value in left.parameters.items() if name not in ("prompt", "seed")}
    prompt, model = "\n".join(left.prompts), _text(parameters.get("model"))
    words = _words(prompt, parameters)
    entries = [
        Entry(
            picture=one.picture,
            batch_name=left.name,
            order=(left.ended_at or left.created_at, left.id, one.index, number),
            prompt=prompt,
            seed=one.seed,
            model=model,
            parameters=parameters,
            template=left.template,
            seconds=one.seconds,
            words=words,
            item=None,
        )
        for number, one in enumerate(left.pictures)
    ]
    return Shelf(left.id, left.state, left.created_at, left, entries, words, model)


def _words(prompt: str, parameters: Mapping[str, Any]) -> str:
    return f"{prompt}\n{parameters.get('negative', '')}".casefold()


def _order(entry: Entry) -> Order:
    return entry.order


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

"""How the gallery's index follows one state: looked through once, then what was changed, a piece at a time."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from orchestrator.batches.batch_parameters import TemplateValues, template_values
from orchestrator.marks import is_favourite
from orchestrator.outputs.containers import kind_of
from orchestrator.recipes import Recipes
from orchestrator.web.gallery_entries import Entry, common_of, entries_of, loose_entries_of, text_of, words_of
from orchestrator.web.gallery_rows import ImageRow, Rows, ShelfRow
from orchestrator.web.loose_items import is_shown_loose, loose_id, loose_keys, moment_of
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.item import Item, Status
from state.store import Follower, Store

PIECE = 256
"""So many items are taken in at once: others may write to the index between two pieces."""
_ITEMS_TRIED = 20


class FollowedState:
    """One state. Used by one thread at a time. Errors of its methods: BurstError, sqlite3.Error."""

    def __init__(self, rows: Rows, state: WatchedState) -> None:
        self._rows = rows
        self.state = state
        self._store: Store | None = None
        self._others: Follower | None = None
        self._version = -1
        self._is_looked_through = False
        self._known: set[str] = set()
        """The batches that are in the index, or are to be looked through."""
        self._unseen: deque[str] = deque()
        """Batches that are still to be looked through, the newest first; the loose items as one."""
        self._scan: Iterator[int] | None = None
        self._changed: deque[str] = deque()
        """Keys of items."""
        self._values: tuple[Recipes | None, TemplateValues] = (None, lambda recipe: {})
        """What templates say, and by which recipes."""
        self.seen = 0
        """How many items were looked at."""

    @property
    def is_current(self) -> bool:
        return not (self._changed or self._unseen or self._scan)

    def look(self) -> None:
        """See what is new; nothing is taken in yet. A state that was opened since is looked through as a whole."""
        self.state.refresh()
        version, store = self.state.version, self.state.store
        if store is not self._store or not self._is_looked_through:
            self._store, self._others = store, Follower(store) if store is not None else None
            self._known, self._scan, self.seen, self._is_looked_through = set(), None, 0, True
            self._changed.clear()
            self._unseen = deque([loose_id(self.state)])
        elif version != self._version and self._others is not None:
            self._changed.extend(self._others.news())
        if version != self._version or not self._known:
            self._see_batches()
        self._version = version

    def step(self) -> int:
        """Take in one piece; how many items were looked at."""
        if self._changed:
            some = [self._changed.popleft() for _ in range(min(PIECE, len(self._changed)))]
            self._take(some)
            return len(some)
        if self._scan is None and self._unseen:
            self._scan = self._look_through(self._unseen.popleft())
        done = next(self._scan, None) if self._scan is not None else None
        if done is None:
            self._scan = None
            return 1
        self.seen += done
        return done

    def _see_batches(self) -> None:
        batches = self.state.batches()
        there = self._rows.shelves_of(self.state.number)
        loose = loose_id(self.state)
        if gone := [shelf for name, shelf in there.items() if name not in batches and name != loose]:
            self._rows.begin()
            for shelf in gone:
                self._rows.remove_shelf(shelf)
            self._rows.commit()
        self._unseen.extendleft(name for name in batches if name not in self._known)
        self._known = set(batches)

    def _look_through(self, name: str) -> Iterator[int]:
        """All of a batch, or all without one."""
        is_loose = name == loose_id(self.state)
        batch = None if is_loose else self.state.batches().get(name)
        if batch is None and not is_loose:
            return
        shelf = self._shelf(name, batch)
        gone = self._rows.keys_on(shelf.id)
        keys = loose_keys(self.state) if batch is None else reversed(batch.keys(Status.COMPLETED))
        for some in _pieces(keys):
            gone.difference_update(some)
            self._take(some)
            yield len(some)
        for some in _pieces(list(gone)):
            self._take(some)
            yield len(some)

    def _shelf(self, name: str, batch: WatchedBatch | None) -> ShelfRow:
        """The shelf of a batch, or of all without one; made where it is missing."""
        found = self._rows.shelf_of(self.state.number, name)
        if found is not None:
            return found
        if batch is None:
            moment = moment_of(Item(key="", status=Status.PENDING))
            shelf = ShelfRow(self.state.number, name, orphan=False, at=moment, model=None, words="")
        else:
            shelf = _shelf_of(self.state, batch)
        self._rows.begin()
        self._rows.add_shelf(shelf)
        self._rows.commit()
        made = self._rows.shelf_of(self.state.number, name)
        assert made is not None
        return made

    def _take(self, keys: Sequence[str]) -> None:
        """Make the index say of these items what the state says of them now, and nothing of those that are gone."""
        try:
            self._rows.begin()
            # Another process may have written what is newer than what was read before it.
            self.state.refresh()
            marks = self._rows.marks(self.state.number, keys)
            found = self._store.get_many(keys) if self._store is not None else []
            shown = {item.key: item for item in found if _has_images(item)}
            for key in keys:
                if key not in shown:
                    self._rows.remove_item(self.state.number, key)
            self._put(shown.values(), marks)
            self._rows.commit()
        except BaseException:
            self._rows.roll_back()
            raise

    def _put(self, items: Iterable[Item], marks: dict[str, bytes]) -> None:
        batches = self.state.batches()
        shelves: dict[str | None, ShelfRow | None] = {}
        for item in items:
            if item.batch not in shelves:
                name = item.batch if item.batch is not None else loose_id(self.state)
                shelves[item.batch] = self._rows.shelf_of(self.state.number, name)
            shelf = shelves[item.batch]
            if shelf is None:  # A batch that is still to be looked through, or gone.
                continue
            if item.batch is not None and shelf.common is None and item.sidecar is not None:
                shelf = shelves[item.batch] = self._with_common(shelf, item)
            mark = _mark_of(item, shelf)
            if marks.get(item.key) == mark:
                continue
            if item.batch in batches or is_shown_loose(item):
                images = _rows_of(self.state, item, shelf, self._template_values())
                self._rows.put(shelf, item.key, mark, images, tags=item.tags)

    def _template_values(self) -> TemplateValues:
        recipes = self.state.placement.recipes
        if recipes is not self._values[0]:
            self._values = recipes, template_values(recipes)
        return self._values[1]

    def _with_common(self, shelf: ShelfRow, item: Item) -> ShelfRow:
        """With what the first sidecar tells of the batch: then all of it is looked at again."""
        common = common_of(self.state, [item])
        if common is None:
            return shelf
        told = msgspec.json.encode(common, enc_hook=str).decode()
        self._rows.tell(shelf.id, told)
        if shelf.batch not in self._unseen:
            self._unseen.append(shelf.batch)
        found = self._rows.shelf_of(self.state.number, shelf.batch)
        assert found is not None
        return found


def _shelf_of(state: WatchedState, batch: WatchedBatch) -> ShelfRow:
    record = batch.record
    head = list(islice(filter(_has_images, batch.items(Status.COMPLETED, limit=_ITEMS_TRIED)), _ITEMS_TRIED))
    common = common_of(state, head)
    return ShelfRow(
        state=state.number,
        batch=batch.id,
        orphan=False,
        at=record.created_at,
        model=text_of(record.parameters.get("model")),
        words=words_of("\n".join(record.prompts), record.parameters),
        name=record.name,
        common=json.dumps(common) if common is not None else None,
    )


def shelf_entries(state: WatchedState, shelf: ShelfRow, item: Item) -> Iterator[Entry]:
    """One for each image of a completed item on this shelf; none where its batch is gone."""
    if item.batch is None:
        return loose_entries_of(state, item)
    batch = state.batches().get(item.batch)
    return entries_of(state, batch.record, item, common_on(shelf)) if batch is not None else iter(())


def common_on(shelf: ShelfRow) -> dict[str, Any]:
    """What the template of a batch says."""
    found: dict[str, Any] = json.loads(shelf.common) if shelf.common is not None else {}
    return found


def row_of(
    number: int, place: int, entry: Entry, *, favorite: bool, template: Mapping[str, Any] | None = None
) -> ImageRow:
    """What an image is found and sorted by. `template`: what its template says where nothing else is known."""
    settings = {**(template or {}), **entry.parameters}
    settings.pop("negative", None)
    if entry.template is not None:
        settings["template"] = entry.template
    return ImageRow(
        number=number,
        place=place,
        at=entry.at,
        file=entry.picture.path,
        kind=str(kind_of(entry.picture.path)),
        words=words_of(entry.prompt, entry.parameters),
        settings=settings,
        seed=entry.seed,
        bytes=entry.picture.bytes,
        favorite=favorite,
    )


def _rows_of(state: WatchedState, item: Item, shelf: ShelfRow, values_of: TemplateValues) -> Iterator[ImageRow]:
    template = values_of(item.recipe)
    for number, entry in enumerate(shelf_entries(state, shelf, item), 1):
        favorite = is_favourite(item, entry.picture.path)
        yield row_of(number, item.index or 0, entry, favorite=favorite, template=template)


def _mark_of(item: Item, shelf: ShelfRow) -> bytes:
    """Another one whenever a row of the item would be another."""
    told = (
        shelf.common,
        [(output.path, output.sha256, output.bytes) for output in item.outputs],
        item.completed_at,
        item.index,
        item.inputs,
        item.own_text,
        item.template,
        item.recipe,
        item.sidecar,
        item.favourite,
        item.favourite_outputs,
        item.tags,
    )
    return hashlib.sha256(msgspec.json.encode(told)).digest()[:8]


def _pieces(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while some := list(islice(rest, PIECE)):
        yield some


def _has_images(item: Item) -> bool:
    return item.status is Status.COMPLETED and bool(item.outputs)

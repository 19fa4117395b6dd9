"""All batches that there are to look at, of every state, with their thumbnails and the gallery's index."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import msgspec

from orchestrator.clock import Clock
from orchestrator.web.gallery_entries import Entry, entries_of, entry_of_orphan, loose_entries_of
from orchestrator.web.gallery_index import GalleryIndex
from orchestrator.web.image_files import Picture, numbers_of, outputs_in, pictures_of_batch
from orchestrator.web.loose_items import is_loose, loose_outputs, loose_state
from orchestrator.web.orphaned_batches import OrphanedBatches
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.thumbnails import Thumbnails
from state.item import Item, OutputRecord


class Library:
    """Nothing in it matters: all of it is read from the disk and can be read again. Any thread may ask."""

    def __init__(
        self, watched: WatchedStates, *, clock: Clock | None = None, give_way: Callable[[], None] | None = None
    ) -> None:
        """`give_way`: as of `GalleryIndex`."""
        self.watched = watched
        self.orphaned_batches = OrphanedBatches(watched, clock=clock)
        self.index = GalleryIndex(watched, self.orphaned_batches, give_way=give_way)
        self._thumbnails = {
            state.number: Thumbnails(state.parts.location.auxiliary("thumbnails"), wanted=partial(_digests, state))
            for state in watched.states
        }

    def picture(self, batch_id: str, image: str) -> Picture | None:
        """The finished picture of these ids. Errors: StateError; Refused for what is no id."""
        found = self.outputs(batch_id, [image])
        if found is None:
            return self.pictures(batch_id).get(image)
        state, name, there = found
        if image not in there:
            return None
        item, output = there[image]
        return Picture(state, name, image, item, output.path, output.sha256, output.bytes)

    def outputs(
        self, batch_id: str, images: Collection[str]
    ) -> tuple[WatchedState, str, dict[str, tuple[Item, OutputRecord]]] | None:
        """The state of a batch, or of the items without one; its id; and the item and output of each of these images.

        None where no state knows the batch. Errors: StateError; Refused for what is no id.
        """
        if (state := loose_state(self.watched, batch_id)) is not None:
            state.refresh()
            return state, batch_id, loose_outputs(state, images)
        found = self.watched.find(batch_id)
        return (found[0], found[1].id, outputs_in(found[1], images)) if found is not None else None

    def entry(self, batch_id: str, image: str) -> Entry | None:
        """All that the gallery shows of a picture. Errors: as `picture`."""
        found = self.outputs(batch_id, [image])
        if found is None:
            numbers_of(image)
            left = self.orphaned_batches.batches().get(batch_id)
            pictures = left.pictures if left is not None else ()
            return next((entry_of_orphan(left, one) for one in pictures if left and one.picture.image == image), None)
        state, name, there = found
        if image not in there:
            return None
        item, _ = there[image]
        if is_loose(name):
            entries = loose_entries_of(state, item)
        else:
            batch = state.batch(name)
            common = self.index.common(state.number, name)
            entries = entries_of(state, batch.record, item, common) if batch is not None else iter(())
        return next((entry for entry in entries if entry.picture.image == image), None)

    def pictures(self, batch_id: str) -> dict[str, Picture]:
        """All finished pictures of a batch by their ids; empty for one that nobody knows. Errors: StateError."""
        found = self.watched.find(batch_id)
        if found is not None:
            pictures = pictures_of_batch(*found)
        else:
            left = self.orphaned_batches.batches().get(batch_id)
            pictures = [one.picture for one in left.pictures] if left is not None else []
        return {picture.image: picture for picture in pictures}

    def id_of(self, batch: str) -> str:
        """The id of the batch of this id or name; as it is where no state knows it. Errors: StateError."""
        found = self.watched.find(batch)
        return found[1].id if found is not None else batch

    def notes(self) -> list[str]:
        """What hinders it, but nobody else."""
        refused = dict.fromkeys(one.refusal for one in self._thumbnails.values() if one.refusal is not None)
        return [f"Thumbnails cannot be kept, so this page is slow: {reason}" for reason in refused]

    def thumbnails(self, state: WatchedState) -> Thumbnails:
        """Where the thumbnails of a state's pictures are kept."""
        return self._thumbnails[state.number]


class _Made(msgspec.Struct, frozen=True, gc=False):
    batch: str | None = None
    outputs: tuple[OutputRecord, ...] = ()


def _digests(state: WatchedState) -> set[str]:
    batches, store = state.batches(), state.store
    made = (
        (one for _, one in store.parts(_Made) if one.batch is None or one.batch in batches) if store is not None else ()
    )
    return {output.sha256 for one in made for output in one.outputs}

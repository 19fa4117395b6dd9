"""All batches that there are to look at, of every state, with their thumbnails and the gallery's index."""

from __future__ import annotations

from functools import partial

import msgspec

from orchestrator.clock import Clock
from orchestrator.web.gallery_index import GalleryIndex
from orchestrator.web.image_files import Picture, picture_in, pictures_of_batch
from orchestrator.web.orphaned_batches import OrphanedBatches
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.thumbnails import Thumbnails
from state.item import OutputRecord


class Library:
    """Nothing in it matters: all of it is read from the disk and can be read again. Any thread may ask."""

    def __init__(self, watched: WatchedStates, *, clock: Clock | None = None) -> None:
        self.watched = watched
        self.orphaned_batches = OrphanedBatches(watched, clock=clock)
        self.index = GalleryIndex(watched, self.orphaned_batches)
        self._thumbnails = {
            state.number: Thumbnails(state.parts.location.auxiliary("thumbnails"), wanted=partial(_digests, state))
            for state in watched.states
        }

    def picture(self, batch_id: str, image: str) -> Picture | None:
        """The finished picture of these ids. Errors: StateError; Refused for what is no id."""
        found = self.watched.find(batch_id)
        if found is not None:
            return picture_in(*found, image)
        return self.pictures(batch_id).get(image)

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
    made = (one for _, one in store.parts(_Made) if one.batch in batches) if store is not None else ()
    return {output.sha256 for one in made for output in one.outputs}

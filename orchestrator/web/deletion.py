"""Deleting pictures and batches, as `batches clean` does it, of what the browser was shown and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from orchestrator.batches.removal import Removed, remove_batches, remove_picture
from orchestrator.clock import Clock
from orchestrator.migration import open_for_writing
from orchestrator.outputs.placement import leads_out
from orchestrator.web.error_responses import Refused
from orchestrator.web.gallery_schemas import Deleted
from orchestrator.web.image_files import NOT_FOUND, output_in, version_of
from orchestrator.web.library import Library
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.counts import Counts
from state.store import Store


def delete_batch(library: Library, batch_id: str) -> Deleted:
    """Errors: Refused with 404 or 409; StateError, DiskFull, OSError."""
    state, batch = _found(library, batch_id)
    with _opened(state) as store:
        items = list(store.items(batch=batch.id))
        if left := Counts.of(items).remaining:
            raise Refused(409, f"This batch has work left ({left} images): cancel it first")
        gone = remove_batches(
            store,
            [batch.record],
            placement=state.placement,
            at=Clock().now(),
            spare=leads_out,
        )
    digests = {output.sha256 for item in items for output in item.outputs}
    return _deleted(library, state, gone, digests)


def delete_picture(library: Library, batch_id: str, image: str, *, version: str | None) -> Deleted:
    """`version`: what the browser was shown; another picture that has its id now is not deleted.

    Errors: Refused with 404 or 409; StateError, DiskFull, OSError.
    """
    state, batch = _found(library, batch_id)
    found = output_in(batch, image)
    if found is None:
        raise Refused(404, NOT_FOUND, "image")
    item, output = found
    if version is not None and version != version_of(output.sha256):
        raise Refused(409, "This is another image than the one that was shown: load the page again", "v")
    if state.placement.leads_out(item, output.path):
        raise Refused(404, NOT_FOUND, "image")
    with _opened(state) as store:
        gone = remove_picture(store, batch.batch, item.key, output, placement=state.placement)
    if output.path in gone.kept:
        raise Refused(409, f"{output.path} is not as it was saved any more, or another item's too: it stays", "image")
    return _deleted(library, state, gone, {output.sha256})


def _found(library: Library, batch_id: str) -> tuple[WatchedState, WatchedBatch]:
    found = library.watched.find(batch_id)
    if found is None and batch_id in library.orphaned_batches.batches():
        raise Refused(409, "No state knows this batch any more: remove its directory by hand", "batchId")
    if found is None:
        raise Refused(404, "Batch not found", "batchId")
    return found


@contextlib.contextmanager
def _opened(state: WatchedState) -> Iterator[Store]:
    with open_for_writing(state.path) as store:
        yield store


def _deleted(library: Library, state: WatchedState, gone: Removed, digests: set[str]) -> Deleted:
    for digest in digests:
        library.thumbnails(state).discard(digest)
    state.refresh()
    return Deleted(deleted=list(gone.files), bytes=gone.bytes, kept=list(gone.kept))

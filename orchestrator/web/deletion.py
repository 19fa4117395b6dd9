"""Deleting images and batches, of what the browser was shown and nothing else: to the trash, and back from there."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from orchestrator.migration import open_for_writing
from orchestrator.outputs.pictures import EXTENSIONS
from orchestrator.places import Place
from orchestrator.statistics import is_picture
from orchestrator.trash import KEPT_FOR, Moved, Trash, Trashed
from orchestrator.web.chosen_images import Choice
from orchestrator.web.chosen_schemas import DeletedImages, InTrash
from orchestrator.web.error_responses import Refused
from orchestrator.web.gallery_schemas import Deleted, Emptied, Restored, TrashedImage, TrashPage
from orchestrator.web.image_files import NOT_FOUND, version_of
from orchestrator.web.library import Library
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.counts import Counts
from state.item import OutputRecord, Status
from state.store import Store


def delete_batch(library: Library, batch_id: str) -> Deleted:
    """Errors: Refused with 404 or 409; LockHeld, StateError, DiskFull."""
    state, batch = _found(library, batch_id)
    with _opened(state) as (store, trash):
        items = list(store.items(batch=batch.id))
        if left := Counts.of(items).remaining:
            raise Refused(409, f"This batch has work left ({left} images): cancel it first")
        trash.empty_old()
        chosen: dict[str, Collection[OutputRecord]] = {
            item.key: item.outputs for item in items if item.status is Status.COMPLETED
        }
        moved = trash.put(chosen, batches=[batch.batch])
    return _deleted(library, state, moved)


def delete_picture(library: Library, batch_id: str, image: str, *, version: str | None) -> Deleted:
    """`version`: what the browser was shown; another picture that has its id now is not deleted.

    Errors: Refused with 404 or 409; LockHeld, StateError, DiskFull.
    """
    found = library.outputs(batch_id, [image])
    if found is None:
        _found(library, batch_id)
    if found is None or image not in found[2]:
        raise Refused(404, NOT_FOUND, "image")
    state, (item, output) = found[0], found[2][image]
    if version is not None and version != version_of(output.sha256):
        raise Refused(409, "This image has changed since it was shown: reload the page", "v")
    if state.placement.leads_out(item, output.path):
        raise Refused(404, NOT_FOUND, "image")
    with _opened(state) as (_, trash):
        trash.empty_old()
        moved = trash.put({item.key: [output]})
    for one in moved.kept:
        if one.path == output.path:
            raise Refused(409, f"{output.path} {one.reason}: it stays", "image")
    return _deleted(library, state, moved)


def delete_chosen(library: Library, choice: Choice) -> DeletedImages:
    """Errors: LockHeld, StateError, DiskFull: what was deleted in other states before it stays so."""
    undo, kept, deleted, size = [], [], 0, 0
    missing = list(choice.missing)
    for state, chosen in choice.by_state().items():
        inside = [one for one in chosen if not state.placement.leads_out(one.item, one.output.path)]
        missing += [one.ref for one in chosen if one not in inside]
        going: dict[str, list[OutputRecord]] = {}
        for one in inside:
            going.setdefault(one.item.key, []).append(one.output)
        with _opened(state) as (_, trash):
            trash.empty_old()
            moved = trash.put(going)
        done = _deleted(library, state, moved)
        undo.append(InTrash(state=state.number, trash=done.trash))
        kept += [f"{one.path} {one.reason}" for one in moved.kept]
        deleted += sum(one.output.path in done.deleted for one in inside)
        size += done.bytes
    return DeletedImages(deleted=deleted, bytes=size, kept=kept, missing=missing, readOnly=choice.read_only, undo=undo)


def trash_of(state: WatchedState, *, offset: int, limit: int) -> TrashPage:
    """The images in the trash of a state, the last deleted first; what was deleted with them is not shown."""
    state.refresh()
    files = Trash(state.store, state.placement).files() if state.store is not None else []
    images = [one for one in files if is_picture(one.output)]
    return TrashPage(
        total=len(images),
        page=offset // limit + 1,
        pages=max(1, -(-len(images) // limit)),
        bytes=sum(one.output.bytes for one in files),
        keptDays=KEPT_FOR.days,
        images=[_shown(state, one) for one in images[offset : offset + limit]],
    )


def trashed_file(state: WatchedState, trash_id: str) -> tuple[Place, str]:
    """The file of this id in the trash, and its digest. Errors: Refused with 404."""
    state.refresh()
    trash = Trash(state.store, state.placement) if state.store is not None else None
    for one in trash.files() if trash is not None else ():
        path = trash.path_of(one) if trash is not None and one.id == trash_id else None
        if path is not None:
            return path, one.output.sha256
    raise Refused(404, NOT_FOUND, "trash")


def restore(state: WatchedState, ids: Collection[str]) -> Restored:
    """Errors: LockHeld, StateError, DiskFull."""
    with _opened(state) as (_, trash):
        moved = trash.restore(ids)
    state.refresh()
    return Restored(
        restored=[one.output.path for one in moved.files],
        kept=[f"{one.path} {one.reason}" for one in moved.kept],
        batches=list(moved.batches),
    )


def empty(library: Library, state: WatchedState) -> Emptied:
    """Errors: LockHeld, StateError, DiskFull."""
    with _opened(state) as (_, trash):
        gone = trash.empty()
    for one in gone.files:
        library.thumbnails(state).discard(one.output.sha256)
    state.refresh()
    return Emptied(deleted=len(gone.files), bytes=gone.bytes)


def _shown(state: WatchedState, one: Trashed) -> TrashedImage:
    has_thumbnail = PurePosixPath(one.output.path).suffix.lower() in EXTENSIONS
    return TrashedImage(
        trash=one.id,
        batchId=one.item.batch,
        batchName=state.name_of(one.item.batch) if one.item.batch is not None else None,
        file=one.output.path,
        prompt=str(one.item.own_text or one.item.inputs.get("prompt") or ""),
        bytes=one.output.bytes,
        trashedAt=one.output.trashed_at,
        thumbnail=f"/api/states/{state.number}/trash/{one.id}/thumbnail" if has_thumbnail else None,
    )


def _found(library: Library, batch_id: str) -> tuple[WatchedState, WatchedBatch]:
    found = library.watched.find(batch_id)
    if found is None and batch_id in library.orphaned_batches.batches():
        raise Refused(409, "This batch belongs to no state any more: remove its directory by hand", "batchId")
    if found is None:
        raise Refused(404, "Batch not found", "batchId")
    return found


@contextlib.contextmanager
def _opened(state: WatchedState) -> Iterator[tuple[Store, Trash]]:
    with open_for_writing(state.path) as store:
        yield store, Trash(store, state.placement)


def _deleted(library: Library, state: WatchedState, moved: Moved) -> Deleted:
    for one in moved.files:
        library.thumbnails(state).discard(one.output.sha256)
    state.refresh()
    return Deleted(
        deleted=[one.output.path for one in moved.files],
        bytes=moved.bytes,
        kept=[one.path for one in moved.kept],
        trash=[one.id for one in moved.files if one.id],
        state=state.number,
    )

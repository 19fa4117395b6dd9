"""The trash: what was deleted in the browser or at the command line, and can be restored."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from orchestrator.web.batch_routes import WatchedStatesOf, state_numbered
from orchestrator.web.deletion import empty, restore, trash_of, trashed_file
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.gallery_schemas import Emptied, Restored, RestoreImages, TrashPage
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.states import WatchedState, WatchedStates

router = APIRouter(prefix="/api", tags=["trash"])


def _existing(watched: WatchedStates, number: int) -> WatchedState:
    """Errors: Refused."""
    state = state_numbered(watched, number)
    state.refresh()
    if state.store is None:
        raise Refused(404, "Nothing is in the trash: this state has no items")
    return state


@router.get("/states/{number}/trash", operation_id="listTrash", responses=errors(400, 404))
def list_trash(
    number: int,
    watched: WatchedStatesOf,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    size: Annotated[int, Query(ge=1, le=500)] = 60,
) -> TrashPage:
    """The images in the trash of a state, the last deleted first."""
    return trash_of(state_numbered(watched, number), offset=(page - 1) * size, limit=size)


@router.get(
    "/states/{number}/trash/{trash}/thumbnail",
    operation_id="getTrashedThumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **errors(404)},
)
def trashed_thumbnail(number: int, trash: str, watched: WatchedStatesOf, library: LibraryOf) -> Response:
    """A WebP of an image in the trash, of at most 320 pixels a side."""
    state = state_numbered(watched, number)
    path, digest = trashed_file(state, trash)
    try:
        data = library.thumbnails(state).get(path, digest)
    except OSError as error:
        raise Refused(404, "Image not found", "trash") from error
    if data is None:
        raise Refused(404, "This file does not decode as an image", "trash")
    return Response(data, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})


@router.post("/states/{number}/trash/restore", operation_id="restoreImages", responses=errors(400, 403, 404))
def restore_images(number: int, body: RestoreImages, watched: WatchedStatesOf) -> Restored:
    """Bring images back, each to the place that it had, if that is free, with the batches that were deleted."""
    return restore(_existing(watched, number), body.trash)


@router.post("/states/{number}/trash/empty", operation_id="emptyTrash", responses=errors(400, 403, 404))
def empty_trash(number: int, watched: WatchedStatesOf, library: LibraryOf) -> Emptied:
    """Delete all that is in the trash of a state for good."""
    return empty(library, _existing(watched, number))

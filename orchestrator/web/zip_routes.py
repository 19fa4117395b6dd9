"""Pictures of a batch as one ZIP."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestrator.batches.batch_info import NAME, batch_info
from orchestrator.batches.batch_parameters import template_values
from orchestrator.recipes import Recipes
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.image_files import NOT_FOUND, disposition
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.library import Library
from orchestrator.web.orphaned_batches import OrphanedBatch
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from orchestrator.web.zip_stream import names_in_zip, zipped
from state.counts import Counts

router = APIRouter(prefix="/api", tags=["images"])


@router.get(
    "/batches/{batchId}/zip",
    operation_id="downloadBatch",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **errors(404)},
)
def zip_of(batchId: str, library: LibraryOf, image: Annotated[list[str] | None, Query()] = None) -> StreamingResponse:
    """The chosen pictures of a batch, all without `image`, and its batch_info.json.

    A file that is not there any more is left out, and named in missing.txt.
    """
    found = _found(library, batchId)
    pictures = library.pictures(batchId)
    if image:
        if not pictures.keys() >= set(image):
            raise Refused(404, NOT_FOUND, "image")
        pictures = {name: picture for name, picture in pictures.items() if name in image}
    if not pictures:
        raise Refused(404, "This batch has no images", "batchId")
    directory = found.directory if isinstance(found, OrphanedBatch) else found[1].record.directory
    names = names_in_zip((picture.path for picture in pictures.values()), directory)
    files = ((names[picture.path], picture.found()) for picture in pictures.values())
    info = msgspec.json.format(msgspec.json.encode(_info(found, names)), indent=2) + b"\n"
    headers = {"Content-Disposition": disposition("attachment", f"{batchId}.zip")}
    return StreamedZip(zipped(files, beside={NAME: info}), headers=headers)


class StreamedZip(StreamingResponse):
    """Lets go of the file that is being read as soon as the client has left, not when memory is tidied."""

    media_type = "application/zip"

    def __init__(self, parts: Generator[bytes, None, None], *, headers: Mapping[str, str]) -> None:
        super().__init__(parts, headers=headers)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._parts.close()


def _found(library: Library, batch_id: str) -> tuple[WatchedState, WatchedBatch] | OrphanedBatch:
    found = library.watched.find(batch_id) or library.orphaned_batches.batches().get(batch_id)
    if found is None:
        raise Refused(404, "Batch not found", "batchId")
    return found


def _info(found: tuple[WatchedState, WatchedBatch] | OrphanedBatch, names: Mapping[str, str]) -> dict[str, Any]:
    """What is known of the batch now. Its files have the names that they have in the archive, if they are in it."""
    if isinstance(found, OrphanedBatch):
        info: dict[str, Any] = found.read_info()
    else:
        state, batch = found
        items, ends = list(batch.items()), batch.batch.ends
        ended_at = ends[-1].at if ends and not Counts.of(items).remaining else None
        recipes = Recipes(state.parts.recipes, state.path.parent)
        info = batch_info(
            batch.record,
            items,
            ended_at=ended_at,
            template_of=recipes.workflow_name,
            values_of=template_values(recipes),
        )
    images = info.get("images")
    listed = [image for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    return info | {"images": [image | {"file": names.get(str(image.get("file")))} for image in listed]}

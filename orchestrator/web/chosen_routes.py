"""What is done with many images at once: all that were found, deleted, downloaded."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from orchestrator.clock import Clock
from orchestrator.web.chosen_images import choice_of
from orchestrator.web.chosen_schemas import MOST_IMAGES, ChosenImages, DeletedImages, Download, FoundImages, ImageRef
from orchestrator.web.deletion import delete_chosen
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.gallery_filter import Order
from orchestrator.web.gallery_routes import Wanted
from orchestrator.web.image_files import Picture, disposition
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.library import Library
from orchestrator.web.zip_routes import StreamedZip
from orchestrator.web.zip_stream import different_names, zipped

router = APIRouter(prefix="/api", tags=["images"])

_DOWNLOADS_KEPT = 32


class Downloads:
    """The downloads that were asked for last, by ids that nobody guesses. Any thread may use it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, Sequence[Picture]] = OrderedDict()

    def keep(self, pictures: Sequence[Picture]) -> str:
        """What it goes by from now on."""
        name = secrets.token_urlsafe(16)
        with self._guard:
            self._kept[name] = pictures
            while len(self._kept) > _DOWNLOADS_KEPT:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> Sequence[Picture] | None:
        with self._guard:
            return self._kept.get(name)


async def downloads_of(request: Request) -> Downloads:
    """Those of this front end."""
    found = request.app.state.downloads
    assert isinstance(found, Downloads)
    return found


DownloadsOf = Annotated[Downloads, Depends(downloads_of)]


@router.get("/gallery/refs", operation_id="listFoundImages", responses=errors(400, 404))
def found_images(
    library: LibraryOf,
    wanted: Wanted,
    sort: Order = "newest",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    count: Annotated[int, Query(ge=1, le=MOST_IMAGES)] = MOST_IMAGES,
) -> FoundImages:
    """The ids of the images that match, to do something with all of them."""
    found = library.index.images(wanted, order=sort, offset=offset, limit=count)
    pictures = (entry.picture for entry in found.shown)
    refs = [ImageRef(batchId=one.batch_id, image=one.image, version=one.version) for one in pictures]
    return FoundImages(total=found.total, images=refs)


@router.post("/images/delete", operation_id="deleteImages", responses=errors(400, 403, 404, 503, 507))
def delete_images(body: ChosenImages, library: LibraryOf) -> DeletedImages:
    """Move images of any batches to the trash, as far as they still are as recorded. `undo` brings them back."""
    return delete_chosen(library, choice_of(library, body.images))


@router.post("/downloads", operation_id="prepareDownload", responses=errors(400, 403, 404))
def prepare_download(body: ChosenImages, library: LibraryOf, downloads: DownloadsOf) -> Download:
    """Images of any batches as one ZIP, which is at `url` until others were asked for or the server ends."""
    choice = choice_of(library, body.images)
    pictures = [
        Picture(
            one.state, one.ref.batchId, one.ref.image, one.item, one.output.path, one.output.sha256, one.output.bytes
        )
        for one in choice.found
    ]
    pictures += [one for ref in choice.read_only if (one := _orphaned(library, ref)) is not None]
    if not pictures:
        raise Refused(404, "None of these images is there any more", "images")
    return Download(
        url=f"/api/downloads/{downloads.keep(pictures)}",
        images=len(pictures),
        bytes=sum(picture.bytes or 0 for picture in pictures),
        missing=choice.missing,
    )


@router.get(
    "/downloads/{download}",
    operation_id="getDownload",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **errors(404)},
)
def download(download: str, downloads: DownloadsOf) -> StreamedZip:
    """The ZIP, with the files where their output directories have them.

    One that is not there any more is named in missing.txt.
    """
    pictures = downloads.get(download)
    if pictures is None:
        raise Refused(404, "This download was asked for too long ago: choose the images again", "download")
    names = different_names(one.path for one in pictures)
    files = ((name, one.found()) for name, one in zip(names, pictures, strict=True))
    headers = {"Content-Disposition": disposition("attachment", f"images-{Clock().now():%Y-%m-%d}.zip")}
    return StreamedZip(zipped(files, beside={}), headers=headers)


def _orphaned(library: Library, ref: ImageRef) -> Picture | None:
    return library.pictures(ref.batchId).get(ref.image)

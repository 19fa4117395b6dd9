"""The gallery's calls: all pictures and batches of all states, looked through, opened and deleted."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from orchestrator.marks import is_favourite
from orchestrator.outputs.containers import kind_of
from orchestrator.results.search_text import Query as Search
from orchestrator.results.search_text import WrongTerm, parsed
from orchestrator.web.batch_facts import facts_of
from orchestrator.web.batch_routes import WatchedStatesOf, state_numbered
from orchestrator.web.create_schemas import ImageSettings
from orchestrator.web.deletion import delete_batch, delete_picture
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.gallery_completion import completed
from orchestrator.web.gallery_entries import Entry
from orchestrator.web.gallery_filter import Filter, Order
from orchestrator.web.gallery_index import Shelf, Standing
from orchestrator.web.gallery_schemas import (
    BatchesPage,
    Completion,
    Deleted,
    GalleryBatch,
    GalleryImage,
    GalleryPage,
    ImageDetails,
    IndexingNow,
)
from orchestrator.web.image_details import details_of
from orchestrator.web.image_files import NOT_FOUND, addresses_of
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.image_settings import settings_of
from orchestrator.web.library import Library
from orchestrator.web.orphaned_batches import OrphanedBatch
from state.counts import Counts
from state.item import Status

router = APIRouter(prefix="/api", tags=["gallery"])

_SHOWN_THUMBNAILS = 6
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
Page = Annotated[int, Query(ge=1, le=1_000_000)]
Size = Annotated[int, Query(ge=1, le=500)]


def filter_of(
    watched: WatchedStatesOf,
    library: LibraryOf,
    text: Annotated[
        str, Query(max_length=1000, description="what is looked for, as docs/browser.md describes it")
    ] = "",
    model: str | None = None,
    since: Annotated[str, Query(alias="from", description="a day (UTC), or a moment such as 2030-01-01T12:00Z")] = "",
    to: Annotated[str, Query(description="as `from`: that day included, or before that moment")] = "",
    state: int | None = None,
) -> Filter:
    """Errors: Refused."""
    if state is not None:
        state_numbered(watched, state)
    try:
        query = parsed(text, names=library.index.names) if text else Search()
    except WrongTerm as error:
        raise Refused(400, str(error), "text") from error
    return Filter(
        query=query,
        model=model or None,
        since=_moment(since, "from"),
        until=_moment(to, "to", days=1),
        state=state,
        states=[one.parts.location.shown() for one in watched.states],
    )


Wanted = Annotated[Filter, Depends(filter_of)]


@router.get("/gallery", operation_id="listGallery", responses=errors(400, 404))
def pictures(
    library: LibraryOf, wanted: Wanted, page: Page = 1, size: Size = 60, sort: Order = "newest"
) -> GalleryPage:
    """Pictures of all batches and of items without one, newest first unless `sort` says otherwise."""
    found = library.index.images(wanted, order=sort, offset=(page - 1) * size, limit=size)
    return GalleryPage(
        total=found.total,
        page=page,
        pages=_pages(found.total, size),
        images=[image_of(entry) for entry in found.shown],
        **_standing(library, found.standing),
    )


@router.get("/gallery/batches", operation_id="listGalleryBatches", responses=errors(400, 404))
def batches(library: LibraryOf, wanted: Wanted, page: Page = 1, size: Size = 60) -> BatchesPage:
    """All batches, newest first; with a filter, those that have such pictures."""
    found = library.index.shelves(wanted, offset=(page - 1) * size, limit=size, first=_SHOWN_THUMBNAILS)
    return BatchesPage(
        total=found.total,
        page=page,
        pages=_pages(found.total, size),
        batches=[_batch(shelf) for shelf in found.shown],
        **_standing(library, found.standing),
    )


@router.get("/gallery/completion", operation_id="completeSearch", responses=errors(400))
def completion(
    library: LibraryOf,
    watched: WatchedStatesOf,
    text: Annotated[str, Query(max_length=1000, description="what is in the field")] = "",
    cursor: Annotated[int | None, Query(ge=0, le=1000, description="where the caret is, in characters")] = None,
) -> Completion:
    """What may stand where the caret is: keys, or the values of a key that there are."""
    states = [one.parts.location.shown() for one in watched.states]
    return completed(library.index, text, cursor if cursor is not None else len(text), states=states)


@router.get("/batches/{batchId}/images/{image}", operation_id="getImageDetails", responses=errors(404))
def picture(batchId: str, image: str, library: LibraryOf) -> ImageDetails:
    """One picture with all that is known of it."""
    found = library.entry(batchId, image)
    if found is None:
        raise Refused(404, NOT_FOUND, "image")
    return details_of(found, image_of(found))


@router.get("/batches/{batchId}/images/{image}/settings", operation_id="getImageSettings", responses=errors(404))
def image_settings(batchId: str, image: str, library: LibraryOf) -> ImageSettings:
    """What an image was made with, as the form takes it."""
    found = library.entry(batchId, image)
    if found is None:
        raise Refused(404, NOT_FOUND, "image")
    return settings_of(found)


@router.delete("/batches/{batchId}", operation_id="deleteBatch", responses=errors(403, 404, 409))
def remove_batch(batchId: str, library: LibraryOf) -> Deleted:
    """Move the files of a batch that has ended to the trash, as far as they still are as recorded."""
    return delete_batch(library, batchId)


@router.delete("/batches/{batchId}/images/{image}", operation_id="deleteImage", responses=errors(403, 404, 409))
def remove_picture(
    batchId: str,
    image: str,
    library: LibraryOf,
    v: Annotated[str | None, Query(description="the image's version: another one is not deleted")] = None,
) -> Deleted:
    """Move one image to the trash, if it still is as recorded; with the last one of its prompt, its sidecar too."""
    return delete_picture(library, batchId, image, version=v)


def image_of(entry: Entry) -> GalleryImage:
    """As it is told."""
    picture = entry.picture
    url, thumbnail = addresses_of(picture.batch_id, picture.image, picture.path, picture.version)
    return GalleryImage(
        batchId=picture.batch_id,
        batchName=entry.batch_name,
        image=picture.image,
        state=picture.state.number,
        kind=kind_of(picture.path),
        thumbnail=thumbnail,
        url=url,
        file=picture.path,
        version=picture.version,
        prompt=entry.prompt,
        seed=entry.seed,
        model=entry.model,
        parameters=dict(entry.parameters),
        template=entry.template,
        seconds=entry.seconds,
        completedAt=entry.at,
        readOnly=picture.digest is None,
        favorite=entry.item is not None and is_favourite(entry.item, picture.path),
        tags=list(entry.item.tags) if entry.item is not None else [],
    )


def _batch(shelf: Shelf) -> GalleryBatch:
    source = shelf.source
    record = source if isinstance(source, OrphanedBatch) else source.record
    addresses = [image_of(entry).thumbnail for entry in shelf.first]
    return GalleryBatch(
        **facts_of(source, _counts(shelf), state=shelf.state, at=shelf.at),
        pictures=shelf.found,
        directory=record.directory,
        template=record.template,
        model=shelf.model,
        thumbnails=[address for address in addresses if address is not None],
    )


def _counts(shelf: Shelf) -> Counts:
    if isinstance(shelf.source, OrphanedBatch):
        return Counts({status: max(0, shelf.source.totals.get(status, 0)) for status in Status})
    return shelf.source.counts


def _standing(library: Library, standing: Standing) -> dict[str, Any]:
    indexing = standing.indexing
    return {
        "models": list(standing.models),
        "notes": [*standing.notes, *library.notes()],
        "indexing": IndexingNow(done=indexing.done, total=indexing.total) if indexing is not None else None,
    }


def _pages(total: int, size: int) -> int:
    """At least one."""
    return max(1, -(-total // size))


def _moment(said: str, field: str, *, days: int = 0) -> datetime | None:
    """A day begins at midnight UTC; `days` are added to one. Errors: Refused with 400."""
    if not said:
        return None
    try:
        if _DAY.fullmatch(said):
            return datetime.combine(date.fromisoformat(said), time(), UTC) + timedelta(days=days)
        moment = datetime.fromisoformat(said)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(400, f"{field}: write a day such as 2030-01-31, or a moment such as 2030-01-31T12:00Z", field)
    return moment

"""A batch with all of its images: at once, however many, or part by part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, takewhile

from orchestrator.web.batch_schemas import BatchPart
from orchestrator.web.progress import completed_of, images_of
from orchestrator.web.watched_batch import WatchedBatch
from state.item import Status

_CHUNK_ITEMS = 256


def whole_as_json(batch: WatchedBatch) -> Iterator[bytes]:
    """A `CompletedBatch` as JSON, in pieces: of a large batch, only a few images are in memory at a time."""
    whole = completed_of(batch, [], failed=batch.items(Status.FAILED)).model_dump_json().encode()
    # In a JSON string a quotation mark has a backslash before it: only the field itself reads so.
    before, field, after = whole.partition(b'"images":[')
    return chain([before + field], _images_as_json(batch), [after])


def part_of(batch: WatchedBatch, *statuses: Status, first: int, count: int) -> BatchPart:
    """The images of so many items from number `first` on; of more where they have one number."""
    items = list(batch.items(*statuses, first=first, limit=count + 1))
    following = items[count].index or 0 if len(items) > count else None
    if following is None:
        shown = items
    elif following > (items[0].index or 0):
        shown = [item for item in items if (item.index or 0) < following]
    else:
        alike = batch.items(*statuses, first=following)
        shown = list(takewhile(lambda item: (item.index or 0) == following, alike))
        following += 1
    images = [image for item in shown for image in images_of(batch, item)]
    found = completed_of(batch, images, failed=(item for item in shown if item.status is Status.FAILED))
    return BatchPart(**dict(found), next=following)


def _images_as_json(batch: WatchedBatch) -> Iterator[bytes]:
    items, separator = batch.items(), b""
    while some := list(islice(items, _CHUNK_ITEMS)):
        images = (image.model_dump_json().encode() for item in some for image in images_of(batch, item))
        yield separator + b",".join(images)
        separator = b","

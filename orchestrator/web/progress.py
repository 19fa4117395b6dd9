"""How a batch stands, in the words of the browser's contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from orchestrator.cycle.set_aside import SetAside, waiting_for
from orchestrator.statistics import pictures_of
from orchestrator.time_left import batch_seconds_left
from orchestrator.web.batch_schemas import (
    BatchName,
    BatchProgress,
    BatchStatus,
    CompletedBatch,
    Image,
    Progress,
    SetAsideRecipe,
)
from orchestrator.web.image_files import addresses_of, image_id, version_of
from orchestrator.web.states import WatchedBatch, WatchedState
from state.counts import Counts
from state.item import DUE, Item, Status


def status_of(counts: Counts) -> BatchStatus:
    """Our items' five states as the contract's five of a batch.

    | items | batch |
    |---|---|
    | all pending | queued |
    | any left, any begun or ended | generating |
    | none left, any cancelled | cancelled |
    | none left, all failed | failed |
    | none left, any completed, others failed or none | complete |
    """
    if counts.remaining:
        return "generating" if counts.total > counts.pending else "queued"
    if counts.cancelled:
        return "cancelled"
    return "complete" if counts.completed else "failed"


def progress_of(state: WatchedState, batch: WatchedBatch, *, message: str | None = None) -> Progress:
    """`message`: why nothing goes on at the moment."""
    items = batch.items
    counts, images = Counts.of(items), images_of(batch)
    thumbnails = [image.thumbnail for image in images if image.thumbnail is not None]
    return Progress(
        progress=BatchProgress(
            batchId=batch.id,
            totalImages=len(items),
            completedImages=counts.completed,
            failedImages=_numbers(items, Status.FAILED),
            currentImage=next(iter(_numbers(items, Status.SUBMITTED)), None),
            status=status_of(counts),
            thumbnails=thumbnails,
        ),
        thumbnails=thumbnails,
        images=images,
        estimatedSecondsRemaining=seconds_left(state, batch),
        name=batch.record.name,
        prompt=_prompt(batch),
        parameters=batch.record.parameters,
        directory=", ".join(state.placement.shown_directories(batch.record, items)),
        message=message if counts.remaining else None,
        setAside=set_aside_of(state, waiting_for(state.set_aside, _remaining(items))),
    )


def set_aside_of(state: WatchedState, recipes: Sequence[SetAside]) -> list[SetAsideRecipe]:
    """As the API names them."""
    known = state.batches() if recipes else {}
    return [
        SetAsideRecipe(
            recipe=one.recipe,
            workflow=one.name,
            reason=one.reason,
            items=one.items,
            batches=[BatchName(batchId=name, name=name_of(known, name)) for name in one.batches],
            next=one.command(state.path),
        )
        for one in recipes
    ]


def name_of(batches: Mapping[str, WatchedBatch], batch_id: str) -> str | None:
    """What the batch's user calls it."""
    return batches[batch_id].record.name if batch_id in batches else None


def completed_of(batch: WatchedBatch) -> CompletedBatch:
    """The batch with all of its pictures, whether or not it is done."""
    items = batch.items
    counts = Counts.of(items)
    return CompletedBatch(
        batchId=batch.id,
        name=batch.record.name,
        prompt=_prompt(batch),
        images=images_of(batch),
        parameters=batch.record.parameters,
        createdAt=batch.record.created_at,
        completedAt=None if counts.remaining else _ended_at(batch, items),
        status=status_of(counts),
        totalImages=len(items),
        completedImages=counts.completed,
        failedImages=_numbers(items, Status.FAILED),
    )


def images_of(batch: WatchedBatch) -> list[Image]:
    """One for each picture that is there; one without addresses for a prompt that has none (yet)."""
    return [image for item in batch.items for image in _images(batch.id, item)]


def seconds_left(state: WatchedState, batch: WatchedBatch) -> float | None:
    """See `batch_seconds_left`."""
    if state.store is None:
        return None
    return batch_seconds_left(state.store, batch.id, pace=state.pace, waiting=state.waiting.batches)


def _images(batch_id: str, item: Item) -> list[Image]:
    said = Image(
        image=image_id(item.index, 1),
        number=item.index or 0,
        status=str(item.status),  # type: ignore[arg-type]
        seed=item.inputs.get("seed") if isinstance(item.inputs.get("seed"), int) else None,
        error=item.error.message if item.error is not None and item.status is Status.FAILED else None,
    )
    pictures = pictures_of(item) if item.status is Status.COMPLETED else []
    found = []
    for number, picture in enumerate(pictures, 1):
        name = image_id(item.index, number)
        url, thumbnail = addresses_of(batch_id, name, picture.path, version_of(picture.sha256))
        found.append(said.model_copy(update={"image": name, "thumbnail": thumbnail, "url": url}))
    return found or [said]


def _remaining(items: Sequence[Item]) -> Iterator[Item]:
    return (item for item in items if item.status in DUE)


def _numbers(items: Sequence[Item], status: Status) -> list[int]:
    return [item.index or 0 for item in items if item.status is status]


def _prompt(batch: WatchedBatch) -> str:
    return batch.record.prompts[0] if batch.record.prompts else ""


def _ended_at(batch: WatchedBatch, items: Sequence[Item]) -> datetime | None:
    times = [item.completed_at for item in items if item.completed_at is not None]
    return max([*times, *(end.at for end in batch.batch.ends)], default=None)

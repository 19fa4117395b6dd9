"""How a batch stands, in the words of the browser's contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.batches.batch_parameters import asked_parameters, effective_parameters, template_values
from orchestrator.batches.differences import differences, title_of
from orchestrator.batches.standing import standing_of
from orchestrator.cycle.set_aside import SetAside
from orchestrator.marks import is_favourite
from orchestrator.outputs.containers import kind_of
from orchestrator.statistics import pictures_of
from orchestrator.time_left import batch_seconds_left
from orchestrator.web.batch_schemas import (
    BatchName,
    BatchProgress,
    CompletedBatch,
    Image,
    LargeBatchProgress,
    Progress,
    RunningImage,
    SetAsideRecipe,
)
from orchestrator.web.batch_start import is_repeatable
from orchestrator.web.image_files import addresses_of, image_id, version_of
from orchestrator.web.running import queued_behind, running_of
from orchestrator.web.states import WatchedState
from orchestrator.web.troubles import trouble_of
from orchestrator.web.watched_batch import WatchedBatch
from state.item import DUE, Item, Status

SHOWN_ITEMS = 200
"""Of a larger batch, a progress call shows only so many."""


def progress_of(
    state: WatchedState, batch: WatchedBatch, *, message: str | None = None
) -> Progress | LargeBatchProgress:
    """`message`: why nothing goes on at the moment. Costs the same for all batches of more than 200 items."""
    counts = batch.counts
    is_large = counts.total > SHOWN_ITEMS
    submitted = state.items_with(batch.keys(Status.SUBMITTED, limit=1))
    first_out = submitted[0].index or 0 if submitted else None
    failed = state.items_with(batch.keys(Status.FAILED, limit=SHOWN_ITEMS))
    items = state.items_with(_around(batch, first_out) if is_large else batch.keys())
    images = [image for item in items for image in images_of(batch, item)]
    made = state.made_in(batch) if is_large else sum(image.url is not None for image in images)
    now = _now(state, batch, made=counts.completed if made is None else made)
    status = standing_of(counts).browser_status
    thumbnails = [image.thumbnail for image in images if image.thumbnail is not None]
    found = Progress(
        progress=BatchProgress(
            batchId=batch.id,
            totalImages=counts.total,
            completedImages=counts.completed,
            failedImages=[item.index or 0 for item in failed],
            currentImage=min((one.number for one in now.running), default=None),
            status="queued" if now.behind and status == "generating" and not counts.completed else status,
            thumbnails=thumbnails,
        ),
        thumbnails=thumbnails,
        images=images,
        madeImages=made,
        estimatedSecondsRemaining=seconds_left(state, batch) if now.has_estimate else None,
        name=batch.record.name,
        prompt=_prompt(batch),
        isRepeatable=is_repeatable(batch.record),
        title=title_of(batch.record.prompts),
        axes=list(batch.record.axes),
        parameters=asked_parameters(batch.record),
        effectiveParameters=effective_parameters(
            batch.record, items, template_values(state.placement.recipes), whole=not is_large
        ),
        directory=", ".join(_directories(state, batch, None if is_large else items)),
        message=(now.trouble or message) if counts.remaining else None,
        isWaiting=now.is_waiting,
        queuedBehind=now.behind,
        running=now.running,
        setAside=set_aside_of(state, state.waiting_in(batch.id)),
    )
    if not is_large:
        return found
    first = items[0].index or 0 if items else 0
    return LargeBatchProgress(**dict(found), firstImage=first, failedTotal=counts.failed)


@dataclass(frozen=True)
class _Now:
    """What is going on for a batch, by the live file."""

    trouble: str | None = None
    is_waiting: bool = False
    running: list[RunningImage] = field(default_factory=list)
    behind: int | None = None
    has_estimate: bool = True
    """How long the prompts of others take nobody knows."""


def _now(state: WatchedState, batch: WatchedBatch, *, made: int) -> _Now:
    """`made`: how many images are finished."""
    if not batch.counts.remaining:
        return _Now()
    live = state.live()
    trouble = trouble_of(state, live, completed=made)
    if trouble is not None and trouble.stops_all:
        return _Now(trouble.message, is_waiting=True, has_estimate=False)
    running = running_of(state, batch.id, live) if batch.counts.submitted else []
    behind = queued_behind(state, batch, live) if not running else None
    is_behind_others = behind is not None and live is not None and bool(live.lines)
    message = trouble.message if trouble is not None else None
    return _Now(message, running=running, behind=behind, has_estimate=not is_behind_others)


def set_aside_of(state: WatchedState, recipes: Sequence[SetAside]) -> list[SetAsideRecipe]:
    """As the API names them."""
    known = state.batches() if recipes else {}
    return [
        SetAsideRecipe(
            recipe=one.recipe,
            workflow=one.name,
            reason=one.reason,
            output=one.output,
            items=one.items,
            batches=[BatchName(batchId=name, name=name_of(known, name)) for name in one.batches],
            next=one.command(state.path),
        )
        for one in recipes
    ]


def name_of(batches: Mapping[str, WatchedBatch], batch_id: str) -> str | None:
    """What the batch's user calls it."""
    return batches[batch_id].record.name if batch_id in batches else None


def completed_of(batch: WatchedBatch, images: list[Image], *, failed: Iterable[Item]) -> CompletedBatch:
    """The batch with these of its images, whether or not it is done."""
    counts, completed_at = batch.counts, batch.completed_at
    times = [*([completed_at] if completed_at is not None else []), *(end.at for end in batch.batch.ends)]
    return CompletedBatch(
        batchId=batch.id,
        name=batch.record.name,
        prompt=_prompt(batch),
        images=images,
        parameters=asked_parameters(batch.record),
        createdAt=batch.record.created_at,
        completedAt=None if counts.remaining else max(times, default=None),
        status=standing_of(counts).browser_status,
        totalImages=counts.total,
        completedImages=counts.completed,
        failedImages=[item.index or 0 for item in failed],
    )


def seconds_left(state: WatchedState, batch: WatchedBatch) -> float | None:
    """See `batch_seconds_left`."""
    if state.store is None:
        return None
    at_work, waiting = state.parts.holders(), state.waiting.batches
    return batch_seconds_left(state.store, batch.id, pace=state.pace, waiting=waiting, at_work=at_work)


def images_of(batch: WatchedBatch, item: Item) -> list[Image]:
    """One for each image of an item that is there; one without addresses where it has none (yet)."""
    said = Image(
        image=image_id(item.index, 1),
        number=item.index or 0,
        status=str(item.status),  # type: ignore[arg-type]
        differs=differences(batch.record, item),
        seed=item.inputs.get("seed") if isinstance(item.inputs.get("seed"), int) else None,
        error=item.error.message if item.error is not None and item.status is Status.FAILED else None,
        attempt=item.attempts + 1 if item.status in DUE else 1,
        waitsFor=batch.waits_for(item),
        favorite=item.favourite,
        tags=list(item.tags),
    )
    pictures = pictures_of(item) if item.status is Status.COMPLETED else []
    found = []
    for number, picture in enumerate(pictures, 1):
        name = image_id(item.index, number)
        url, thumbnail = addresses_of(batch.id, name, picture.path, version_of(picture.sha256))
        told = {
            "image": name,
            "kind": kind_of(picture.path),
            "thumbnail": thumbnail,
            "url": url,
            "favorite": is_favourite(item, picture.path),
        }
        found.append(said.model_copy(update=told))
    return found or [said]


def _around(batch: WatchedBatch, current: int | None) -> list[str]:
    """The keys of so many items, with the current one, else the first that is due, in their middle."""
    if current is None:
        due = next(batch.items(Status.PENDING, limit=1), None)
        current = due.index or 0 if due is not None else 0
    return batch.keys(first=max(0, current - SHOWN_ITEMS // 2), limit=SHOWN_ITEMS)


def _directories(state: WatchedState, batch: WatchedBatch, items: Sequence[Item] | None) -> tuple[str, ...]:
    """`items`: all of the batch, where they are at hand."""
    recipes = batch.recipes if items is None else (item.recipe for item in items)
    return state.placement.shown_directories(batch.record, recipes)


def _prompt(batch: WatchedBatch) -> str:
    return batch.record.prompts[0] if batch.record.prompts else ""

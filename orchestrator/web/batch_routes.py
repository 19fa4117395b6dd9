"""The calls of the browser's contract: start a batch, its progress, cancel it; the whole batch, and one like it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from orchestrator.cancellation import cancel
from orchestrator.web.batch_schemas import (
    BatchPart,
    Cancelled,
    CompletedBatch,
    LargeBatchProgress,
    Progress,
    StartBatch,
    Started,
)
from orchestrator.web.batch_start import PATIENCE_SECONDS, again, idempotency_of, start
from orchestrator.web.create_schemas import CreateBatch, Forecast, Options
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.forecast import forecast
from orchestrator.web.form_options import FormOptions
from orchestrator.web.image_files import media_type_of
from orchestrator.web.progress import SHOWN_ITEMS, progress_of, seconds_left
from orchestrator.web.running import preview_of
from orchestrator.web.states import WatchedState, WatchedStates
from orchestrator.web.supervisor import Supervisor
from orchestrator.web.watched_batch import WatchedBatch
from orchestrator.web.webhooks import Webhooks
from orchestrator.web.whole_batch import part_of, whole_as_json
from state.batch import BatchRecord
from state.item import Status

router = APIRouter(prefix="/api", tags=["batches"])


async def watched_states_of(request: Request) -> WatchedStates:
    """The states of this front end."""
    found = request.app.state.watched
    assert isinstance(found, WatchedStates)
    return found


async def supervisor_of(request: Request) -> Supervisor:
    """What runs the bursts."""
    found = request.app.state.supervisor
    assert isinstance(found, Supervisor)
    return found


async def webhooks_of(request: Request) -> Webhooks:
    """Which ones a call may name."""
    found = request.app.state.webhooks
    assert isinstance(found, Webhooks)
    return found


def state_numbered(watched: WatchedStates, number: int) -> WatchedState:
    """Errors: Refused."""
    if not 0 <= number < len(watched.states):
        raise Refused(404, f"There is no state {number}")
    return watched.states[number]


def found_batch(
    batchId: str, watched: Annotated[WatchedStates, Depends(watched_states_of)]
) -> tuple[WatchedState, WatchedBatch]:
    """Errors: Refused."""
    found = watched.find(batchId)
    if found is None:
        raise Refused(404, "Batch not found", "batchId")
    return found


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="chosen by the caller: sent again with the same request, the answer is the same batch",
    ),
]
WatchedStatesOf = Annotated[WatchedStates, Depends(watched_states_of)]
SupervisorOf = Annotated[Supervisor, Depends(supervisor_of)]
WebhooksOf = Annotated[Webhooks, Depends(webhooks_of)]
Found = Annotated[tuple[WatchedState, WatchedBatch], Depends(found_batch)]


@router.post("/batches", operation_id="startBatchGeneration", responses=errors(400, 403, 404, 422, 503))
def start_batch(
    body: StartBatch, watched: WatchedStatesOf, supervisor: SupervisorOf, webhooks: WebhooksOf, key: Key = None
) -> Started:
    """Queue one prompt several times with different seeds; each call another batch, unless its key was sent before."""
    return _start(body, watched, supervisor, webhooks, key)


@router.post("/create", operation_id="createBatch", responses=errors(400, 403, 404, 422, 503))
def create_batch(
    body: CreateBatch, watched: WatchedStatesOf, supervisor: SupervisorOf, webhooks: WebhooksOf, key: Key = None
) -> Started:
    """As `startBatchGeneration`, with all that the page's form takes: lists, tables, images, LoRAs, axes."""
    return _start(body, watched, supervisor, webhooks, key)


@router.post("/forecast", operation_id="forecastBatch", responses=errors(400, 403, 404))
def forecast_batch(body: CreateBatch, watched: WatchedStatesOf) -> Forecast:
    """What `createBatch` would make of this request, and how long that takes. Adds nothing and asks no server."""
    return forecast(state_numbered(watched, body.state), body.batchRequest)


@router.get(
    "/batches/{batchId}/progress",
    operation_id="getBatchProgress",
    response_model=Progress | LargeBatchProgress,
    responses=errors(404),
)
def batch_progress(batchId: str, watched: WatchedStatesOf, supervisor: SupervisorOf) -> Response:
    """How a batch stands. Reads what bursts have written; asks ComfyUI nothing."""
    # On one thread, and as JSON: every page that is open asks for it twice a second.
    state, batch = found_batch(batchId, watched)
    found = progress_of(state, batch, message=supervisor.message(state.number))
    return Response(found.model_dump_json(), media_type="application/json")


@router.get(
    "/batches/{batchId}/preview",
    operation_id="getPreview",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}, "image/png": {}}},
        204: {"description": "Nothing is shown of this batch at the moment"},
        **errors(404),
    },
)
def preview(found: Found) -> Response:
    """The latest image that a server showed of what it is making for this batch.

    Its address may be older than it: an image that has ended meanwhile is nothing that went wrong.
    """
    state, batch = found
    data = preview_of(state, batch.id)
    kind = media_type_of(data) if data is not None else None
    if data is None or kind not in ("image/jpeg", "image/png"):
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    return Response(data, media_type=kind, headers={"Cache-Control": "no-store"})


@router.post("/batches/{batchId}/cancel", operation_id="cancelBatch", responses=errors(403, 404))
def cancel_batch(found: Found, supervisor: SupervisorOf) -> Cancelled:
    """Stop it; finished pictures stay."""
    state, batch = found
    cancel(state.path, [batch.id], overrides=state.overrides, patience_seconds=PATIENCE_SECONDS)
    supervisor.wake(state.number)
    state.refresh()
    return Cancelled(completedImages=batch.counts.completed)


@router.post("/batches/{batchId}/regenerate", operation_id="regenerateBatch", responses=errors(400, 403, 404, 422, 503))
def regenerate_batch(found: Found, watched: WatchedStatesOf, supervisor: SupervisorOf, key: Key = None) -> Started:
    """The same prompt and parameters with other seeds, as a new batch."""
    state, batch = found
    watched.refuse_key_elsewhere(key, state)
    idempotency = idempotency_of(key, {"regenerate": batch.id})
    return started(state, again(state, batch, idempotency=idempotency).record, supervisor)


@router.get(
    "/batches/{batchId}",
    operation_id="getBatch",
    response_model=CompletedBatch | BatchPart,
    responses=errors(400, 404),
)
def whole_batch(
    found: Found,
    first: Annotated[int | None, Query(alias="from", ge=0, le=10**9, description="the number to begin with")] = None,
    count: Annotated[int | None, Query(ge=1, le=500, description="images of so many prompts, 200 by default")] = None,
    status: Annotated[Status | None, Query(description="only prompts with this status")] = None,
) -> Response | BatchPart:
    """A batch with all of its images; with any of these, a part of them."""
    if first is None and count is None and status is None:
        return StreamingResponse(whole_as_json(found[1]), media_type="application/json")
    return part_of(found[1], *([status] if status else []), first=first or 0, count=count or SHOWN_ITEMS)


@router.get("/options", operation_id="getOptions", responses=errors(400, 404))
def options(
    request: Request, watched: WatchedStatesOf, template: str | None = None, state: Annotated[int, Query(ge=0)] = 0
) -> Options:
    """What the form offers."""
    offered = request.app.state.options
    assert isinstance(offered, FormOptions)
    return offered.of(state_numbered(watched, state), template)


def _start(
    body: StartBatch | CreateBatch,
    watched: WatchedStates,
    supervisor: Supervisor,
    webhooks: Webhooks,
    key: str | None,
) -> Started:
    state, notify = state_numbered(watched, body.state), webhooks.checked(body.notify)
    watched.refuse_key_elsewhere(key, state)
    idempotency = idempotency_of(key, body.batchRequest, notify=notify)
    made = start(state, body.batchRequest, idempotency=idempotency, notify=notify, secret_env=webhooks.secret_env)
    return started(state, made.record, supervisor)


def started(state: WatchedState, record: BatchRecord, supervisor: Supervisor) -> Started:
    """What a call answers that made a batch, which is rendered from now on."""
    supervisor.wake(state.number)
    state.refresh()
    # One that was made with the same key before may have been cleaned away since.
    batch = state.batch(record.batch)
    seconds = seconds_left(state, batch) if batch is not None else None
    return Started(
        batchId=record.batch,
        queuedImages=record.total,
        estimatedTime=round(seconds or 0.0, 1),
        estimateKnown=seconds is not None,
    )

"""The calls of the browser's contract: start a batch, its progress, cancel it; the whole batch, and one like it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from orchestrator.batches.batch_info import counts_of
from orchestrator.cancelling import cancel
from orchestrator.web.answers import Refused, errors
from orchestrator.web.desk import Desk, WatchedBatch, WatchedState
from orchestrator.web.models import Cancelled, CompletedBatch, Options, Progress, StartBatch, Started
from orchestrator.web.options import OptionsDesk
from orchestrator.web.progress import completed_of, progress_of, seconds_left
from orchestrator.web.starting import PATIENCE_SECONDS, again, start
from orchestrator.web.workers import Workers
from state.item import Status

router = APIRouter(prefix="/api", tags=["batches"])


def desk_of(request: Request) -> Desk:
    """The states of this front end."""
    found = request.app.state.desk
    assert isinstance(found, Desk)
    return found


def workers_of(request: Request) -> Workers:
    """What runs the bursts."""
    found = request.app.state.workers
    assert isinstance(found, Workers)
    return found


def state_numbered(desk: Desk, number: int) -> WatchedState:
    """Errors: Refused."""
    if not 0 <= number < len(desk.states):
        raise Refused(404, f"There is no state {number}")
    return desk.states[number]


def found_batch(batchId: str, desk: Annotated[Desk, Depends(desk_of)]) -> tuple[WatchedState, WatchedBatch]:
    """Errors: Refused."""
    found = desk.find(batchId)
    if found is None:
        raise Refused(404, "Batch not found", "batchId")
    return found


DeskOf = Annotated[Desk, Depends(desk_of)]
WorkersOf = Annotated[Workers, Depends(workers_of)]
Found = Annotated[tuple[WatchedState, WatchedBatch], Depends(found_batch)]


@router.post("/batches", operation_id="startBatchGeneration", responses=errors(400, 403, 404, 503))
def start_batch(body: StartBatch, desk: DeskOf, workers: WorkersOf) -> Started:
    """Queue one prompt several times with different seeds."""
    state = state_numbered(desk, body.state)
    return _started(state, start(state, body.batchRequest).record.batch, workers)


@router.get("/batches/{batchId}/progress", operation_id="getBatchProgress", responses=errors(404))
def batch_progress(found: Found, workers: WorkersOf) -> Progress:
    """How a batch stands. Reads what bursts have written; asks ComfyUI nothing."""
    state, batch = found
    return progress_of(state, batch, message=workers.message(state.number))


@router.post("/batches/{batchId}/cancel", operation_id="cancelBatch", responses=errors(403, 404))
def cancel_batch(found: Found, workers: WorkersOf) -> Cancelled:
    """Stop it; finished pictures stay."""
    state, batch = found
    cancel(state.path, [batch.id], overrides=state.overrides, patience_seconds=PATIENCE_SECONDS)
    workers.wake(state.number)
    state.refresh()
    return Cancelled(completedImages=counts_of(state.batches()[batch.id].items)[Status.COMPLETED])


@router.post("/batches/{batchId}/regenerate", operation_id="regenerateBatch", responses=errors(400, 403, 404, 503))
def regenerate_batch(found: Found, workers: WorkersOf) -> Started:
    """The same prompt and parameters with other seeds, as a new batch."""
    state, batch = found
    return _started(state, again(state, batch).record.batch, workers)


@router.get("/batches/{batchId}", operation_id="getBatch", responses=errors(404))
def whole_batch(found: Found) -> CompletedBatch:
    """A batch with all of its pictures."""
    return completed_of(found[1])


@router.get("/options", operation_id="getOptions", responses=errors(400, 404))
def options(
    request: Request, desk: DeskOf, template: str | None = None, state: Annotated[int, Query(ge=0)] = 0
) -> Options:
    """What the form offers."""
    offered = request.app.state.options
    assert isinstance(offered, OptionsDesk)
    return offered.of(state_numbered(desk, state), template)


def _started(state: WatchedState, batch_id: str, workers: Workers) -> Started:
    workers.wake(state.number)
    state.refresh()
    batch = state.batches()[batch_id]
    seconds = seconds_left(state, batch)
    return Started(
        batchId=batch_id,
        queuedImages=len(batch.items),
        estimatedTime=round(seconds or 0.0, 1),
        estimateKnown=seconds is not None,
    )

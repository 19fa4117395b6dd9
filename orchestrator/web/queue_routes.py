"""The queue that every page shows: at once, and as it changes; moving batches in it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from orchestrator.priorities import set_priority
from orchestrator.web.batch_routes import Found, SupervisorOf, WatchedStatesOf, state_numbered
from orchestrator.web.batch_start import PATIENCE_SECONDS
from orchestrator.web.error_responses import errors
from orchestrator.web.event_stream import EventStream
from orchestrator.web.queue_schemas import MoveBatch, Moved, Queue, RunLog
from orchestrator.web.queue_view import queue_of

router = APIRouter(prefix="/api", tags=["queue"])


@router.get("/queue", operation_id="getQueue")
def get_queue(watched: WatchedStatesOf, supervisor: SupervisorOf) -> Queue:
    """What is rendered at the moment and what comes next. Asks ComfyUI nothing."""
    return queue_of(watched.states, supervisor)


@router.get(
    "/events",
    operation_id="getEvents",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "events `queue`, each a Queue as JSON"}},
)
async def get_events(request: Request) -> StreamingResponse:
    """The same whenever it changes, at most twice a second, as server-sent events."""
    stream = request.app.state.events
    assert isinstance(stream, EventStream)
    return StreamingResponse(stream.hear(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/batches/{batchId}/priority", operation_id="moveBatch", responses=errors(400, 403, 404))
def move_batch(found: Found, body: MoveBatch, supervisor: SupervisorOf) -> Moved:
    """Give what remains of a batch another place in the queue."""
    state, batch = found
    done = set_priority(state.path, [batch.id], body.priority, patience_seconds=PATIENCE_SECONDS)
    supervisor.wake(state.number)
    return Moved(priority=done.priority, changed=len(done.keys), notes=list(done.notes))


@router.get("/states/{number}/log", operation_id="getRunLog", responses=errors(404))
def get_run_log(number: int, watched: WatchedStatesOf, supervisor: SupervisorOf) -> RunLog:
    """The last lines of what the last run that was started here said."""
    return RunLog(lines=supervisor.log(state_numbered(watched, number).number))

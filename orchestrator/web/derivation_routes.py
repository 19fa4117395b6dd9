"""Calls that make further images from those that are there: variations, stages, and what failed once more."""

from __future__ import annotations

from fastapi import APIRouter

from orchestrator.retries import retry
from orchestrator.web.batch_routes import Found, Key, SupervisorOf, WatchedStatesOf, started
from orchestrator.web.batch_schemas import Started
from orchestrator.web.batch_start import idempotency_of
from orchestrator.web.chosen_images import READ_ONLY, Chosen, choice_of, chosen_image
from orchestrator.web.chosen_schemas import ImageRef
from orchestrator.web.derivation_schemas import AddStage, Derivations, MakeVariations, RetriedBatch
from orchestrator.web.derivations import add_stage, derivations_of, vary
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.image_files import NOT_FOUND, numbers_of
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.library import Library
from orchestrator.web.state_routes import Retried
from state.item import Status

router = APIRouter(prefix="/api", tags=["images"])


@router.get(
    "/batches/{batchId}/images/{image}/derivations", operation_id="listDerivations", responses=errors(404, 409, 503)
)
def list_derivations(batchId: str, image: str, library: LibraryOf) -> Derivations:
    """What can be made from an image, and why what cannot: the servers are asked whether they have what it takes."""
    return derivations_of(chosen_image(library, batchId, image))


@router.post(
    "/batches/{batchId}/images/{image}/variations",
    operation_id="makeVariations",
    responses=errors(400, 403, 404, 409, 422, 503),
)
def make_variations(
    batchId: str,
    image: str,
    body: MakeVariations,
    library: LibraryOf,
    watched: WatchedStatesOf,
    supervisor: SupervisorOf,
    key: Key = None,
) -> Started:
    """More images like one, as a new batch: the same prompt and settings, other seeds.

    With `strength`, they start from the image itself.
    """
    chosen = chosen_image(library, batchId, image)
    watched.refuse_key_elsewhere(key, chosen.state)
    sent = {"variations of": f"{chosen.item.key} {chosen.number}", **body.model_dump(mode="json")}
    made = vary(chosen, count=body.count, strength=body.strength, idempotency=idempotency_of(key, sent))
    return started(chosen.state, made.record, supervisor)


@router.post("/stages", operation_id="addStage", responses=errors(400, 403, 404, 409, 422, 503))
def stage(
    body: AddStage, library: LibraryOf, watched: WatchedStatesOf, supervisor: SupervisorOf, key: Key = None
) -> Started:
    """A batch that is made from these images, as `burst stage` adds it: with a workflow that upscales, say."""
    images = _sources(library, body.images)
    state = images[0].state
    watched.refuse_key_elsewhere(key, state)
    made = add_stage(images, body.stage, model=body.model, idempotency=idempotency_of(key, body))
    return started(state, made.record, supervisor)


@router.post("/batches/{batchId}/images/{image}/retry", operation_id="retryImage", responses=errors(400, 403, 404))
def retry_image(found: Found, image: str, supervisor: SupervisorOf) -> Retried:
    """Make one that failed or was cancelled due again. Safe to repeat: what is there, or due, stays as it is."""
    state, batch = found
    index, _ = numbers_of(image)
    item = next(batch.items(first=index, limit=1), None)
    if item is None or (item.index or 0) != index:
        raise Refused(404, NOT_FOUND, "image")
    if item.status not in (Status.FAILED, Status.CANCELLED):
        return Retried(items=[])
    done = retry(state.path, [item.key])
    supervisor.wake(state.number)
    state.refresh()
    return Retried(items=list(done.keys))


@router.post("/batches/{batchId}/retry", operation_id="retryBatch", responses=errors(403, 404))
def retry_batch(found: Found, supervisor: SupervisorOf) -> RetriedBatch:
    """Make all of a batch that failed or was cancelled due again, as `burst retry --cancelled` does. Safe to repeat."""
    state, batch = found
    done = retry(state.path, [batch.id], cancelled=True)
    supervisor.wake(state.number)
    state.refresh()
    return RetriedBatch(items=list(done.keys), notes=list(done.notes))


def _sources(library: Library, refs: list[ImageRef]) -> list[Chosen]:
    """Errors: Refused for images that are gone, of batches that no state knows, or of several states."""
    choice = choice_of(library, refs)
    if choice.read_only:
        raise Refused(409, READ_ONLY, "images")
    if choice.missing:
        gone = ", ".join(f"{one.batchId}/{one.image}" for one in choice.missing[:3])
        raise Refused(404, f"{NOT_FOUND}: {gone}", "images")
    if len(choice.by_state()) > 1:
        raise Refused(400, "these images are of several states; choose those of one", "images")
    return choice.found

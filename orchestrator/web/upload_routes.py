"""Images that batches are made from, as a browser brings them: the body is the file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from orchestrator.web.batch_routes import WatchedStatesOf, state_numbered
from orchestrator.web.batch_schemas import Uploaded
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.uploads import LARGEST_BYTES, keep_upload

router = APIRouter(prefix="/api", tags=["batches"])
_BODY = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("/uploads", operation_id="uploadImage", responses=errors(400, 403, 404, 413), openapi_extra=_BODY)
async def upload_image(request: Request, watched: WatchedStatesOf, state: Annotated[int, Query(ge=0)] = 0) -> Uploaded:
    """Keep an image, the body of this call, for batches of this state. Safe to repeat."""
    found = state_numbered(watched, state)
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LARGEST_BYTES:
            raise Refused(413, f"This image is over {LARGEST_BYTES >> 20} MiB; choose a smaller one", "image")
    return Uploaded(upload=await run_in_threadpool(keep_upload, found, bytes(data)))

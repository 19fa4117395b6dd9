"""Files that a browser brings: the body of each call is the file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from orchestrator.web.batch_routes import WatchedStatesOf, state_numbered
from orchestrator.web.brought_tables import bring_table
from orchestrator.web.create_schemas import ImageSettings, Table, Uploaded
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.image_settings import settings_in
from orchestrator.web.uploads import LARGEST_BYTES, LARGEST_TABLE_BYTES, keep_upload

router = APIRouter(prefix="/api", tags=["batches"])
PATHS = ("/api/uploads", "/api/tables", "/api/settings")
"""They bound their bodies themselves."""


def _body(kind: str) -> dict[str, Any]:
    """In OpenAPI."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/uploads", operation_id="uploadImage", responses=errors(400, 403, 404, 413), openapi_extra=_body("image/*")
)
async def upload_image(request: Request, watched: WatchedStatesOf, state: Annotated[int, Query(ge=0)] = 0) -> Uploaded:
    """Keep an image, the body of this call, for batches of this state. Safe to repeat."""
    found = state_numbered(watched, state)
    data = await _read(request, LARGEST_BYTES, "image")
    return Uploaded(upload=await run_in_threadpool(keep_upload, found, data))


@router.post("/tables", operation_id="uploadTable", responses=errors(400, 403, 404, 413), openapi_extra=_body("*/*"))
async def upload_table(
    request: Request,
    watched: WatchedStatesOf,
    state: Annotated[int, Query(ge=0)] = 0,
    template: Annotated[
        str | None, Query(description="whose inputs its columns name; the state's own without it")
    ] = None,
) -> Table:
    """Read a table of prompts, CSV or .xlsx, the body of this call, and keep it for batches of this state.

    Safe to repeat.
    """
    found = state_numbered(watched, state)
    data = await _read(request, LARGEST_TABLE_BYTES, "table")
    return await run_in_threadpool(bring_table, found, data, template=template)


@router.post(
    "/settings", operation_id="readSettings", responses=errors(400, 403, 413), openapi_extra=_body("image/png")
)
async def read_settings(request: Request) -> ImageSettings:
    """What a PNG, the body of this call, says that it was made with. Nothing is kept."""
    return await run_in_threadpool(settings_in, await _read(request, LARGEST_BYTES, "file"))


async def _read(request: Request, most_bytes: int, field: str) -> bytes:
    """Errors: Refused for a larger body, which is not read to its end."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most_bytes:
            kind = "table" if field == "table" else "image"
            raise Refused(413, f"This {kind} is over {most_bytes >> 20} MiB; choose a smaller one", field)
    return bytes(data)

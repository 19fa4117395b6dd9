"""Errors as answers: one shape, one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from orchestrator.errors import (
    BurstError,
    DiskFull,
    NotAllowed,
    OutputRootAway,
    RequestConflict,
    ServerDown,
    StateAway,
    TransientError,
    UsageError,
)
from orchestrator.web.batch_schemas import ErrorAnswer
from orchestrator.web.error_pages import error_page, wants_page
from orchestrator.web.field_names import field_of

NO_SERVER = "Cannot connect to server"
NO_DATABASE = "The database does not answer"
_DESCRIBED = {
    "description": "Bad Request",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
}
_BODY = ("body", "query", "path", "header")


class Refused(Exception):
    """Why a call is answered with this status."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.field = status, field


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says in OpenAPI of the errors that it may answer with."""
    return {status: {"model": ErrorAnswer} for status in statuses}


def answer(status: int, message: str, field: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "field": field}}, status_code=status)


def answer_to(
    scope: Scope, status: int, message: str, field: str | None = None, *, page: Response | None = None
) -> Response:
    """The same to whoever asked: a page for a person, `page` if there is one of its own; JSON for a script."""
    if wants_page(scope):
        return page or error_page(scope["path"], status, message)
    return answer(status, message, field)


def install(app: FastAPI) -> None:
    """Every error that a route raises becomes such an answer, and OpenAPI says so."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        for calls in document["paths"].values():
            for call in calls.values():
                # What FastAPI would answer itself to what does not fit its types.
                if "HTTPValidationError" in str(call["responses"].get("422")):
                    del call["responses"]["422"]
                    call["responses"].setdefault("400", _DESCRIBED)
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return answer_to(request.scope, error.status, str(error), error.field)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answer(400, "the body is not JSON")
        return answer(400, _said(first), _field(first["loc"]))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        response = answer_to(request.scope, error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(BurstError)
    async def burst(request: Request, error: BurstError) -> Response:
        if isinstance(error, StateAway):
            return answer_to(request.scope, 503, f"{NO_DATABASE}: {error}")
        if isinstance(error, ServerDown | TransientError):
            return answer(503, f"{NO_SERVER}: {error}")
        if isinstance(error, OutputRootAway):
            return answer(503, str(error))
        if isinstance(error, NotAllowed):
            return answer(403, str(error))
        if isinstance(error, DiskFull):
            return answer(507, str(error))
        if isinstance(error, RequestConflict):
            return answer(422, str(error))
        return answer(400 if isinstance(error, UsageError) else 500, str(error), field_of(error))


def _field(place: Sequence[int | str]) -> str | None:
    names = [str(part) for part in place if part not in _BODY]
    return names[-1] if names else None


def _said(error: dict[str, Any]) -> str:
    field = _field(error["loc"])
    message = str(error["msg"])
    return f"{field}: {message}" if field else message

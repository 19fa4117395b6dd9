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

from orchestrator.error_kinds import API_KINDS
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
from orchestrator.web.batch_schemas import ErrorAnswer, Problem
from orchestrator.web.error_pages import error_page, wants_page
from orchestrator.web.field_names import field_of

NO_SERVER = "Cannot connect to server"
NO_DATABASE = "The database does not answer"
_KINDS = {kind.status: name for name, kind in API_KINDS.items()}
"""What the API itself refuses, by status."""
_KEY = "key"
_EVERYWHERE = {
    "401": "the token or a known API key is missing",
    "403": "a call that changes something, from a page of another site or without a key",
    "500": "a mistake of burst's, or a state that cannot be read",
    "503": "a server or the database does not answer",
}
_ABOUT_KEYS = (
    "a line of `burst serve --api-keys FILE`, or the token of a front end that listens elsewhere than on its machine. "
    "A page of the same origin needs none on this machine."
)
_STATUSES: tuple[tuple[type[BurstError] | tuple[type[BurstError], ...], int], ...] = (
    ((ServerDown, TransientError, OutputRootAway), 503),
    (NotAllowed, 403),
    (DiskFull, 507),
    (RequestConflict, 422),
    (UsageError, 400),
)
"""The first that fits; what else there is, is 500."""
_BODY = ("body", "query", "path", "header")


class Refused(Exception):
    """Why a call is answered with this status."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.field = status, field


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says in OpenAPI of the errors that it may answer with."""
    return {status: {"model": ErrorAnswer} for status in statuses}


def answer(status: int, message: str, field: str | None = None, *, kind: str | None = None) -> JSONResponse:
    """`kind`: where it is not that of the status."""
    kind = kind or _KINDS.get(status, "BadRequest" if status < 500 else "Broken")
    said = ErrorAnswer(error=Problem(kind=kind, message=message, field=field))
    return JSONResponse(said.model_dump(), status_code=status)


def answer_to(
    scope: Scope,
    status: int,
    message: str,
    field: str | None = None,
    *,
    kind: str | None = None,
    page: Response | None = None,
) -> Response:
    """The same to whoever asked: a page for a person, `page` if there is one of its own; JSON for a script."""
    if wants_page(scope):
        return page or error_page(scope["path"], status, message)
    return answer(status, message, field, kind=kind)


def install(app: FastAPI) -> None:
    """Every error that a route raises becomes such an answer, and OpenAPI says so."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        for calls in document["paths"].values():
            for call in calls.values():
                answers = call["responses"]
                # What FastAPI would answer itself to what does not fit its types.
                if "HTTPValidationError" in str(answers.get("422")):
                    del answers["422"]
                    answers.setdefault("400", _described("what was sent does not fit"))
                if "requestBody" in call:
                    answers.setdefault("413", _described("the body is too large"))
                # What the guard around all calls answers, the door to a database, and a mistake of ours.
                for status, reason in _EVERYWHERE.items():
                    answers.setdefault(status, _described(reason))
        components = document["components"]
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        components["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer", "description": _ABOUT_KEYS}}
        document["security"] = [{_KEY: []}, {}]
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
            return answer_to(request.scope, 503, f"{NO_DATABASE}: {error}", kind=kind_of(error))
        status, message = _status_of(error), str(error)
        if isinstance(error, ServerDown | TransientError):
            message = f"{NO_SERVER}: {message}"
        return answer(status, message, field_of(error), kind=kind_of(error))


def kind_of(error: BurstError) -> str:
    """As the command line names it with `--json`."""
    return type(error).__name__


def _status_of(error: BurstError) -> int:
    found = (status for kinds, status in _STATUSES if isinstance(error, kinds))
    return next(found, 500)


def _described(reason: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ErrorAnswer"}
    return {"description": reason, "content": {"application/json": {"schema": schema}}}


def _field(place: Sequence[int | str]) -> str | None:
    names = [str(part) for part in place if part not in _BODY]
    return names[-1] if names else None


def _said(error: dict[str, Any]) -> str:
    field = _field(error["loc"])
    message = str(error["msg"])
    return f"{field}: {message}" if field else message

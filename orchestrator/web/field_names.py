"""How the browser's API writes a parameter of the library: by the field of its body."""

from __future__ import annotations

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.errors import UsageError
from orchestrator.web.batch_schemas import BaseParameters, BatchRequest
from orchestrator.web.create_schemas import CreateRequest
from orchestrator.wording import process_words, speaks

_FIELDS = {"count": "batchCount", "seed": "baseSeed", "seed_mode": "seedMode"}
_FIELDS |= {"notify": "notify"}
_FIELDS |= {"csv": "table", "xlsx": "table", "lora": "loras", "sweeps": "axes"}
_FIELDS |= {name: name for schema in (BatchRequest, CreateRequest, BaseParameters) for name in schema.model_fields}
_ELSEWHERE = {
    "wildcards": "a folder `wildcards` beside the state",
    "sheet": "the order of its sheets",
    "bindings": "a binding of the state",
    "literal": "dynamic false",
    "combinatorial": "the command line",
    "layout": "a layout of the command line",
}
"""What the form has no field for, and where it is set instead."""


def as_field(name: str, value: object = None, *, key: str | None = None) -> str:
    """`batchCount`, `seedMode "random"`, `steps` for `sets['steps']`, `axis steps` for `sweeps['steps']`.

    What no field says is named by whatever started this front end: a server is its `--server`.
    """
    if name == "sweeps" and key is not None:
        # Not the name alone: a field and an axis may both set it, and a message then names the two.
        return f"axis {key}"
    field = _FIELDS.get(key if name == "sets" and key is not None else name)
    if field is None and name in _ELSEWHERE:
        return _ELSEWHERE[name]
    if field is None:
        return process_words()(name, value, key=key)
    return field if value is None else f"{field} {json.dumps(value)}"


def field_of(error: Exception) -> str | None:
    """The field that a library's error belongs at."""
    parameter = error.parameter if isinstance(error, UsageError) else None
    return _FIELDS.get(parameter) if parameter is not None else None


class SpeaksOfFields:
    """Middleware: what a call raises names the fields of its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with speaks(as_field):
            await self._app(scope, receive, send)

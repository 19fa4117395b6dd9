"""What an agent is answered: short, in time, and with how to get the rest."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec

import anyio
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ContentBlock, TextContent

from orchestrator.crashes import as_burst_error
from orchestrator.documents.others import ErrorDocument
from orchestrator.errors import EXIT_TRY_LATER, BurstError
from orchestrator.mcp_server.advice import for_agent
from orchestrator.wording import in_python, speaks

MOST_CHARACTERS = 8_000
"""Of one answer."""
_CUTS = ((600, 50), (300, 20), (120, 10), (60, 3))
"""Longest text and longest list, tried one after another until an answer is short enough."""
_P = ParamSpec("_P")


def text_of(document: Mapping[str, object]) -> str:
    """A document as JSON of at most `MOST_CHARACTERS`, with advice in words of these tools; `cut` where it was cut."""
    document = for_agent(document)
    text = _dumped(document)
    for longest, entries in _CUTS:
        if len(text) <= MOST_CHARACTERS and longest != _CUTS[0][0]:
            break
        shorter = _shortened(document, longest, entries)
        assert isinstance(shorter, dict)
        if shorter != document:
            shorter["cut"] = "texts or lists were cut; list_items and list_batches show them by pages"
        text = _dumped(shorter)
        if len(text) <= MOST_CHARACTERS:
            break
    return text[:MOST_CHARACTERS]


def answer(document: Mapping[str, object], *more: ContentBlock) -> CallToolResult:
    """A document, and what goes with it."""
    return CallToolResult(content=[TextContent(type="text", text=text_of(document)), *more])


def refusal(error: BurstError) -> CallToolResult:
    """An error as an agent gets it: the document that a command prints."""
    document: ErrorDocument = {
        "schema": "burst.error/1",
        "error": {"kind": type(error).__name__, "message": str(error)},
        "exit_code": error.exit_code,
    }
    return CallToolResult(content=[TextContent(type="text", text=text_of(document))], is_error=True)


def bounded(
    call: Callable[_P, Awaitable[CallToolResult]], *, seconds: float
) -> Callable[_P, Awaitable[CallToolResult]]:
    """The same call, answered within these seconds; every error is an answer."""

    @functools.wraps(call)
    async def answered(*arguments: _P.args, **named: _P.kwargs) -> CallToolResult:
        with speaks(in_python), anyio.move_on_after(seconds):
            try:
                return await call(*arguments, **named)
            except ToolError:
                raise
            except Exception as error:  # noqa: BLE001 — said in one message, whatever it is
                return refusal(as_burst_error(error))
        message = (
            f"no answer within {seconds:g} s; what was begun goes on. Call status, and this again if it is missing"
        )
        document: ErrorDocument = {
            "schema": "burst.error/1",
            "error": {"kind": "TransientError", "message": message},
            "exit_code": EXIT_TRY_LATER,
        }
        return CallToolResult(content=[TextContent(type="text", text=text_of(document))], is_error=True)

    return answered


def _dumped(document: Mapping[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _shortened(value: Any, longest: int, entries: int) -> Any:
    match value:
        case str() if len(value) > longest:
            return f"{value[:longest]}… ({len(value) - longest} characters more)"
        case Mapping():
            return {name: _shortened(inner, longest, entries) for name, inner in value.items()}
        case list() | tuple():
            kept = [_shortened(inner, longest, entries) for inner in value[:entries]]
            return [*kept, f"… ({len(value) - entries} more)"] if len(value) > entries else kept
    return value

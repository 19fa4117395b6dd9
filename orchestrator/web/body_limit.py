"""How large a request may be: what is read into memory has a bound."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.web.error_responses import answer

LARGEST_BYTES = 8 << 20
"""Of a prompt of some million letters."""
_TOO_LARGE = f"this request is over {LARGEST_BYTES >> 20} MiB; send less at once, or use `burst generate`"


class BodyLimit:
    """Middleware: a body over the limit is answered with 413, and is not read to its end."""

    def __init__(self, app: ASGIApp, *, but_for: Collection[str] = ()) -> None:
        """`but_for`: paths that have a limit of their own."""
        self._app = app
        self._but_for = frozenset(but_for)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._but_for:
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > LARGEST_BYTES:
            await answer(413, _TOO_LARGE)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            """For a body that does not say how long it is."""
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > LARGEST_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, counted, send)

"""Websockets: the connected clients, and the messages sent to them in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

_PREVIEW_IMAGE, _PREVIEW_IMAGE_WITH_METADATA = 1, 4
"""Kinds of binary messages, the first four bytes of each."""
_JPEG = 1


@dataclass(frozen=True)
class _Preview:
    """A preview of what a sampler makes, as JPEG, for the client of the running prompt."""

    jpeg: bytes
    metadata: dict[str, Any]
    client_id: str


_Message = tuple[str, dict[str, Any], str | None] | _Preview


def status_data(queue_remaining: int) -> dict[str, Any]:
    """The queue's status in `status` messages and GET /prompt."""
    return {"exec_info": {"queue_remaining": queue_remaining}}


class Events:
    """Messages from any thread, sent in order by the server's event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._messages: asyncio.Queue[_Message | None] | None = None
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._takes_metadata: set[str] = set()
        """The clients whose first message said so."""
        self.executing: tuple[str, str] | None = None
        """The client whose prompt is running, and its node; sent to that client when it reconnects."""

    @property
    def has_listeners(self) -> bool:
        return bool(self._sockets)

    def send(self, event: str, data: dict[str, Any], client_id: str | None = None) -> None:
        """Send to one client, or to all if `client_id` is None. Thread-safe."""
        if self._sockets:
            self._post((event, data, client_id))

    def send_preview(self, jpeg: bytes, metadata: dict[str, Any], client_id: str | None) -> None:
        """Send a preview, with its metadata if the client takes them. Thread-safe."""
        if client_id is not None and client_id in self._sockets:
            self._post(_Preview(jpeg, metadata, client_id))

    def drop_all(self) -> None:
        """Close every websocket, like a crashing server. Thread-safe."""
        self._post(None)

    async def publish(self) -> None:
        """Send posted messages until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._messages = asyncio.Queue()
        try:
            while True:
                message = await self._messages.get()
                if message is None:
                    await self.close_all()
                    continue
                if isinstance(message, _Preview):
                    await self._show(message)
                    continue
                event, data, client_id = message
                chosen = list(self._sockets) if client_id is None else [client_id]
                for each in chosen:
                    await self._deliver(each, event, data)
        finally:
            self._loop = None

    async def listen(
        self, request: web.Request, *, queue_remaining: int, server_features: dict[str, Any]
    ) -> web.WebSocketResponse:
        """Serve GET /ws?clientId=… until the client or the server closes it.

        As in ComfyUI, a second socket of a client replaces its first, and when the first then ends, the client gets
        nothing any more on the second.
        """
        from aiohttp import web

        # Kept here: when the server ends, the request has lost it before this ends.
        transport = request.transport
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets[client_id] = socket
        self._takes_metadata.discard(client_id)
        is_first = True
        try:
            await self._deliver(client_id, "status", {"status": status_data(queue_remaining), "sid": client_id})
            if self.executing is not None and self.executing[0] == client_id:
                await self._deliver(client_id, "executing", {"node": self.executing[1]})
            async for message in socket:
                if message.type is not web.WSMsgType.TEXT:
                    continue
                features = _features(message.data)
                if is_first and features is not None:
                    if features.get("supports_preview_metadata"):
                        self._takes_metadata.add(client_id)
                    await self._deliver(client_id, "feature_flags", server_features)
                is_first = False
        finally:
            self._sockets.pop(client_id, None)
            if transport is not None:
                # A client that has stopped reading would keep it open for what it has not read.
                transport.abort()
        return socket

    async def close_all(self) -> None:
        """Close every websocket. Only from the event loop."""
        for socket in list(self._sockets.values()):
            with contextlib.suppress(ConnectionError):
                await socket.close(code=1012, message=b"server restarts")

    async def _deliver(self, client_id: str, event: str, data: dict[str, Any]) -> None:
        socket = self._sockets.get(client_id)
        if socket is not None and not socket.closed:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.send_json({"type": event, "data": data})

    async def _show(self, preview: _Preview) -> None:
        socket = self._sockets.get(preview.client_id)
        if socket is None or socket.closed:
            return
        if preview.client_id in self._takes_metadata:
            metadata = json.dumps({**preview.metadata, "image_type": "image/jpeg"}).encode()
            head = struct.pack(">II", _PREVIEW_IMAGE_WITH_METADATA, len(metadata)) + metadata
        else:
            head = struct.pack(">II", _PREVIEW_IMAGE, _JPEG)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.send_bytes(head + preview.jpeg)

    def _post(self, message: _Message | None) -> None:
        loop, messages = self._loop, self._messages
        if loop is not None and messages is not None:
            # The loop may close between the check and the call.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(messages.put_nowait, message)


def _features(text: str) -> dict[str, Any] | None:
    """The features that a client says it has; None for any other message."""
    try:
        said = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not (isinstance(said, dict) and said.get("type") == "feature_flags"):
        return None
    features = said.get("data")
    return features if isinstance(features, dict) else {}

"""What a server tells over its websocket about running prompts: a hint, never the truth.

Whoever decides something asks `/history`. Messages were recorded from ComfyUI 0.3.64 and 0.33.0, which send the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Literal, Protocol

import msgspec

from orchestrator.clock import Clock
from orchestrator.errors import ServerUnreachable

log = logging.getLogger("burst")

PING_AFTER_SECONDS = 5.0
"""A socket that was silent for so long is asked for a sign of life, and given up after as long again."""
MOST_MESSAGES_A_SECOND = 5_000
"""Ten times what the fastest prompts cause. A server that sends more is not listened to for a while."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_STEADY_SECONDS = 10.0
"""A connection that lasted so long was a good one: the next is opened soon."""
_PREVIEW_IMAGE, _PREVIEW_IMAGE_WITH_METADATA = 1, 4
_MEDIA_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}

Kind = Literal["began", "node", "step", "ended", "over", "other"]
"""began: its execution starts; node: a node runs; step: a node is at step k of n; ended: it succeeded, failed or was
interrupted, and will be in the history in a moment; over: it is in the history."""
_KINDS: dict[str, Kind] = {
    "execution_start": "began",
    "execution_success": "ended",
    "execution_error": "ended",
    "execution_interrupted": "ended",
    "progress": "step",
    "executing": "node",
}


class Event(msgspec.Struct, frozen=True):
    """One message about a prompt. Without `prompt_id`: about the one that runs under our client_id."""

    kind: Kind
    prompt_id: str | None = None
    node: str | None = None
    step: int | None = None
    steps: int | None = None


class Preview(msgspec.Struct, frozen=True):
    """An image of what a node is making."""

    media_type: str
    image: bytes
    prompt_id: str | None = None
    """Servers before 0.3.57 do not name it."""


class _Data(msgspec.Struct):
    prompt_id: str | None = None
    node: str | msgspec.UnsetType | None = msgspec.UNSET
    display_node: str | None = None
    value: float | None = None
    max: float | None = None


class _Message(msgspec.Struct):
    type: str
    data: _Data = msgspec.field(default_factory=_Data)


class _Metadata(msgspec.Struct):
    prompt_id: str | None = None


_decode = msgspec.json.Decoder(_Message).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


def read_message(message: str | bytes) -> Event | Preview | None:
    """None for what tells nothing about a prompt, and for anything of another shape."""
    if isinstance(message, bytes):
        return _preview(message)
    # `progress_state` holds every node of the graph, and nothing that `progress` and `executing` do not tell.
    if '"progress_state"' in message[:32]:
        return Event("other")
    try:
        found = _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    kind, data = _KINDS.get(found.type), found.data
    if kind is None or (kind != "node" and not data.prompt_id):
        return None
    node = data.node if isinstance(data.node, str) else None
    if kind == "node":
        if data.node is msgspec.UNSET:
            return None
        if node is None:
            return Event("over", data.prompt_id) if data.prompt_id else None
        return Event("node", data.prompt_id, data.display_node or node)
    if kind == "step":
        if data.value is None or not data.max or data.max < 0:
            return None
        return Event("step", data.prompt_id, node, int(min(data.value, data.max)), int(data.max))
    return Event(kind, data.prompt_id)


def _preview(message: bytes) -> Preview | None:
    kind, length = int.from_bytes(message[:4], "big"), int.from_bytes(message[4:8], "big")
    prompt_id = None
    if kind == _PREVIEW_IMAGE:
        image = message[8:]
    elif kind == _PREVIEW_IMAGE_WITH_METADATA and 8 + length <= len(message):
        image = message[8 + length :]
        try:
            prompt_id = _decode_metadata(message[8 : 8 + length]).prompt_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    else:
        return None
    media_type = _MEDIA_TYPES.get(image[:3])
    return Preview(media_type, image, prompt_id) if media_type is not None else None


class EventSocket(Protocol):
    """An open connection; see `orchestrator.comfyui.event_socket`."""

    def receive(self, *, timeout_seconds: float) -> bytes | str | None: ...

    def ping(self) -> None: ...

    def cut(self) -> None: ...

    def close(self) -> None: ...


class _Flooded(ServerUnreachable):
    """It sends more than prompts can cause."""


class Hearer(Protocol):
    """Who listens. Every method is called by the listener's thread and must not block."""

    def connected(self) -> None:
        """From now on everything is heard that the server sends."""

    def disconnected(self) -> None:
        """From now on nothing is heard."""

    def hear(self, found: Event | Preview) -> None: ...

    @property
    def wants_another_connection(self) -> bool:
        """Things ended that the connection should have told."""


class Listener:
    """A thread that keeps one connection open, and opens it again when it breaks. Nothing depends on it."""

    def __init__(self, open_socket: Callable[[], EventSocket], hearer: Hearer, *, name: str, clock: Clock) -> None:
        self._open_socket = open_socket
        self._hearer = hearer
        self._name = name
        self._clock = clock
        self._ended = threading.Event()
        self._socket: EventSocket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Safe to repeat."""
        if self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._listen, name=f"events {self._name}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Hear nothing more; the connection ends. Safe to repeat."""
        self._ended.set()
        if (socket := self._socket) is not None:
            socket.cut()

    def _listen(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while not self._ended.is_set():
            began = self._clock.monotonic()
            try:
                with closing(self._open_socket()) as self._socket:
                    self._hearer.connected()
                    self._receive(self._socket)
            except ServerUnreachable as error:
                log.info("%s", error)
                if isinstance(error, _Flooded):
                    pause_seconds = _LONGEST_PAUSE_SECONDS
            except Exception:
                # A defect of the hint must not look like one of the work.
                log.info("events of %s: not heard any more", self._name, exc_info=True)
                return
            finally:
                self._hearer.disconnected()
            if self._clock.monotonic() - began >= _STEADY_SECONDS and pause_seconds < _LONGEST_PAUSE_SECONDS:
                pause_seconds = _FIRST_PAUSE_SECONDS
            self._clock.wait(self._ended, pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _receive(self, socket: EventSocket) -> None:
        """Until the connection is over. Errors: ServerUnreachable."""
        count, second, is_asked = 0, self._clock.monotonic(), False
        while not self._ended.is_set():
            message = socket.receive(timeout_seconds=PING_AFTER_SECONDS)
            if message is None:
                if is_asked or self._hearer.wants_another_connection:
                    raise ServerUnreachable(f"{self._name}: its events fell silent", may_have_arrived=False)
                socket.ping()
                is_asked = True
                continue
            is_asked = False
            count += 1
            if count > MOST_MESSAGES_A_SECOND:
                now = self._clock.monotonic()
                if now - second < 1.0:
                    raise _Flooded(f"{self._name}: too many events", may_have_arrived=False)
                count, second = 0, now
            if message and (found := read_message(message)) is not None:
                self._hearer.hear(found)


__all__ = ["Event", "EventSocket", "Hearer", "Listener", "Preview", "read_message"]

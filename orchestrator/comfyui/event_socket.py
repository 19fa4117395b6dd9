"""One open websocket of a server, with websocket-client. Loaded by runs alone, after their first POST."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

from websocket import ABNF, WebSocket, WebSocketException, WebSocketTimeoutException, create_connection

from orchestrator.errors import ServerUnreachable

LARGEST_MESSAGE_BYTES = 32 << 20
"""More than the largest preview or message; whoever announces more speaks another protocol."""
_READ_BYTES = 1 << 16
_HELLO = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
"""Newer servers then name the prompt of each preview."""


def open_event_socket(
    url: str, *, headers: Mapping[str, str], verify: bool | str, timeout_seconds: float, hide: Callable[[str], str]
) -> EventSocket:
    """Connect to `http://…/ws?clientId=…`. Redirects are not followed; proxies come from the environment.

    `verify`: as in requests, a file or directory of certificates, or True for the usual ones. `hide` removes secrets
    from messages. Errors: ServerUnreachable, which means nothing for any prompt.
    """
    with _failures(url, hide):
        socket = create_connection(
            "ws" + url.removeprefix("http"),
            timeout=timeout_seconds,
            header=dict(headers),
            # ComfyUI refuses a websocket whose Origin is not its own address, as behind a proxy.
            suppress_origin=True,
            redirect_limit=0,
            sslopt=_trusted(verify) if url.startswith("https:") else {},
            skip_utf8_validation=True,
        )
        with contextlib.ExitStack() as closing:
            closing.callback(socket.shutdown)
            opened = EventSocket(socket, url=url, hide=hide)
            socket.send(_HELLO)
            closing.pop_all()
    return opened


class EventSocket:
    """Used by one thread, except `cut`."""

    def __init__(self, socket: WebSocket, *, url: str, hide: Callable[[str], str]) -> None:
        self._socket = socket
        self._url = url
        self._hide = hide
        self._unread = bytearray()
        # It reads a frame in three small pieces, each a system call; and it would take a frame of any size.
        socket.frame_buffer.recv = self._received

    def receive(self, *, timeout_seconds: float) -> bytes | str | None:
        """The next message, a text as str; an empty text for a control frame; None if there is none in this time.

        Errors: ServerUnreachable when the connection is over.
        """
        with _failures(self._url, self._hide):
            self._socket.settimeout(timeout_seconds)
            try:
                opcode, data = self._socket.recv_data(control_frame=True)
            except (WebSocketTimeoutException, TimeoutError):
                return None
            if opcode == ABNF.OPCODE_CLOSE:
                raise WebSocketException("the server closed it")
            if opcode == ABNF.OPCODE_TEXT:
                return str(data, "utf-8", "replace") if isinstance(data, bytes) else str(data)
            return bytes(data) if opcode == ABNF.OPCODE_BINARY else ""

    def ping(self) -> None:
        """Ask for a sign of life. Errors: ServerUnreachable."""
        with _failures(self._url, self._hide):
            self._socket.ping()

    def cut(self) -> None:
        """End the connection at once, from any thread; `receive` then raises."""
        if (socket := self._socket.sock) is not None:
            with contextlib.suppress(OSError):
                socket.shutdown(SHUT_RDWR)

    def close(self) -> None:
        if (socket := self._socket.sock) is not None:
            socket.close()

    def _received(self, count: int) -> bytes:
        """At most `count` bytes, at least one. Errors: those of a socket; WebSocketException."""
        if (self._socket.frame_buffer.length or 0) > LARGEST_MESSAGE_BYTES:
            raise WebSocketException(f"a message of over {LARGEST_MESSAGE_BYTES >> 20} MiB was announced")
        if not self._unread:
            if self._socket.sock is None:
                raise WebSocketException("it is closed")
            data = self._socket.sock.recv(_READ_BYTES)
            if not data:
                raise WebSocketException("the connection ended")
            self._unread += data
        found = bytes(self._unread[:count])
        del self._unread[:count]
        return found


@contextlib.contextmanager
def _failures(url: str, hide: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except (OSError, WebSocketException, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ServerUnreachable(hide(f"{url.partition('?')[0]}: no events: {reason}"), may_have_arrived=False) from None


def _trusted(verify: bool | str) -> dict[str, Any]:
    if verify is True:
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        return {"ca_certs": DEFAULT_CA_BUNDLE_PATH}
    if isinstance(verify, str):
        return {"ca_cert_path": verify} if Path(verify).is_dir() else {"ca_certs": verify}
    return {}
